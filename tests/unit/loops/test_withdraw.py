"""A payment that is refunded before its conversion was sent: what becomes of the row that is still to be sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from bridge.frozen import replace
from bridge.loops import deliver
from bridge.ports import Fate
from bridge.rules.plan import RETRACTED
from bridge.store import Store
from bridge.store.reports import Reports
from tests.store import kit as rows_kit
from tests.store.kit import ADS, key
from tests.unit.loops.kit import HOUR, TRAITS, Ads, Crm, Office, accept, answered, office
from tests.unit.loops.test_payments import REFUNDED, at_work, paid, polled, sold


async def refunded(store: Store, ads: Ads) -> tuple[Crm, Office]:
    """A paid payment was read; ``ads`` is where it goes."""
    crm, made = await at_work(store, ads)
    await polled(made, crm, sold(paid(1)))
    return crm, made


@pytest.mark.parametrize(("was_tried", "adjusts"), [(False, True), (True, True), (True, False)])
async def test_what_was_retracted_before_it_was_sent_is_withdrawn(store: Store, was_tried: bool, adjusts: bool) -> None:
    """One that was on its way before may have been counted in a file that was split: where values are corrected it is
    sent, worth nothing; elsewhere it would count there for the first time.
    """
    ads = Ads(replace(TRAITS, adjusts=adjusts), [answered(Fate.AGAIN)] if was_tried else [accept])
    crm, made = await refunded(store, ads)
    if was_tried:
        await deliver.once(made.tenant)
        ads.sends = [accept]
    progress = await polled(made, crm, sold(paid(1, REFUNDED)))
    assert progress.done["withdrawn"] == int(not (was_tried and adjusts))
    made.clock.advance(HOUR)
    await deliver.once(made.tenant, force=True)
    (stored,) = (await made.rows()).values()
    if was_tried and adjusts:
        assert (stored["state"], stored["code"]) == ("accepted", None)
        assert b" 0.00 RUB" in ads.bodies[-1]
    else:
        assert (stored["state"], stored["code"], len(ads.sent)) == ("cancelled", RETRACTED, int(was_tried))
    assert await Reports(store).broken_chains() == 0


async def test_paid_again_it_is_sent_once_under_the_same_id(store: Store) -> None:
    """Refunded and paid twice before anything is sent; the last word counts, and is told once."""
    ads = Ads()
    crm, made = await refunded(store, ads)
    (row,) = await made.rows()
    for state in (REFUNDED, None, REFUNDED, None):
        await polled(made, crm, sold(paid(1, state) if state else paid(1)))
    for _ in range(2):
        made.clock.advance(HOUR)
        await deliver.once(made.tenant, force=True)
    assert {key: stored["state"] for key, stored in (await made.rows()).items()} == {row: "accepted"}
    assert [b" 1.00 RUB" in body for body in ads.bodies] == [True]
    assert await Reports(store).broken_chains() == 0


async def test_a_refund_between_reading_and_sealing_is_not_sent(store: Store) -> None:
    """The row was due when it was looked at: the batch is not sealed with it."""
    ads = Ads()
    crm, made = await refunded(store, ads)
    sealing = deliver._seal
    before: list[Callable[[], Awaitable[object]]] = [lambda: polled(made, crm, sold(paid(1, REFUNDED)))]

    async def meanwhile(*args: object) -> object:
        while before:
            await before.pop()()
        return await sealing(*args)  # type: ignore[arg-type]  # handed on as they came

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deliver, "_seal", meanwhile)
        await deliver.once(made.tenant, force=True)
    assert (before, ads.sent, await made.states()) == ([], [], {"cancelled": 1})


async def test_a_correction_is_no_moot_one_where_the_first_row_was_withdrawn(store: Store) -> None:
    """What was withdrawn and promised again is corrected like anything else."""
    ads = Ads()
    made = office(store, {ADS: ads})
    await made.promise(1)
    await rows_kit.withdraw(store, 1)
    await rows_kit.restore(store, 1)
    made.clock.advance(HOUR)
    await deliver.once(made.tenant)
    await rows_kit.plan(store, rows_kit.conversion(1, 1, value=2000))
    await deliver.once(made.tenant, force=True)
    assert (await made.rows())[key(1, 1)]["state"] == "accepted"
