"""A payment that is refunded before its conversion was sent: what becomes of the row that is still to be sent."""

from __future__ import annotations

import pytest

from bridge.loops import deliver
from bridge.ports import Fate
from bridge.store import Store
from tests.store import kit as rows_kit
from tests.store.kit import ADS, key
from tests.unit.loops.kit import HOUR, Ads, accept, answered, office


@pytest.mark.parametrize("was_tried", [False, True])
async def test_what_was_retracted_before_it_was_sent_is_withdrawn(store: Store, was_tried: bool) -> None:
    """One that was on its way before may have been counted in a file that was split: it is sent, worth nothing."""
    ads = Ads(sends=[answered(Fate.AGAIN)] if was_tried else [accept])
    made = office(store, {ADS: ads})
    (row,) = await made.promise(1)
    if was_tried:
        await deliver.once(made.tenant)
        ads.sends = [accept]
    await rows_kit.retract(store, 1)
    made.clock.advance(HOUR)
    progress = await deliver.once(made.tenant, force=True)
    stored = (await made.rows())[row]
    if was_tried:
        assert (stored["state"], stored["code"]) == ("accepted", None)
        assert b" 0.00 RUB" in ads.bodies[-1]
    else:
        assert (stored["state"], stored["code"], ads.sent) == ("cancelled", "retracted", [])
        assert progress.done["withdrawn"] == 1


async def test_a_correction_is_no_moot_one_where_the_first_row_was_withdrawn(store: Store) -> None:
    """What was withdrawn and promised again is corrected like anything else."""
    ads = Ads()
    made = office(store, {ADS: ads})
    await made.promise(1)
    await rows_kit.retract(store, 1)
    await deliver.once(made.tenant)
    await rows_kit.plan(store, rows_kit.conversion(1, 1, value=2000))
    await deliver.once(made.tenant, force=True)
    assert (await made.rows())[key(1, 1)]["state"] == "accepted"
