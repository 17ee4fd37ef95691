"""Trouble at a destination: remembered from its beginning, loop by loop, and told from what is left of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bridge.states import Move
from bridge.store import Store
from bridge.store.ledger import Ledger, Settlement, Verdicts
from bridge.store.moves import Shift
from bridge.store.reports import Reports
from bridge.store.troubles import Troubles
from tests.store import kit
from tests.support import START

LATER = START + timedelta(hours=1)


@pytest.fixture
def troubles(store: Store) -> Troubles:
    return Troubles(store, kit.TENANT)


async def test_trouble_keeps_its_beginning_and_its_last_error(store: Store, troubles: Troubles) -> None:
    """The first failure's time stays while it lasts, the text is the newest; both go when it is over."""
    await troubles.note(kit.ADS, "send", "Unavailable: 503", START)
    await troubles.note(kit.ADS, "send", "Unavailable: 502", LATER)
    report = await Reports(store).destination(kit.TENANT, kit.ADS)
    assert (report.failing_since, report.last_error) == (START, "Unavailable: 502")
    await troubles.clear(kit.ADS, "send")
    report = await Reports(store).destination(kit.TENANT, kit.ADS)
    assert (report.failing_since, report.last_error) == (None, None)


async def test_each_loop_tenant_and_destination_has_its_own(store: Store, troubles: Troubles) -> None:
    """Nobody clears another's; a report tells all of a destination, what is the same once."""
    await troubles.note(kit.ADS, "send", "AuthError: no", LATER)
    await troubles.note(kit.ADS, "verify", "Drift: HTML", START)
    await troubles.note("other", "send", "Unavailable: 503", START)
    await Troubles(store, "dom").note(kit.ADS, "send", "Refused: goal", START)
    report = await Reports(store).destination(kit.TENANT, kit.ADS)
    assert (report.failing_since, report.last_error) == (START, "AuthError: no; Drift: HTML")
    await troubles.note(kit.ADS, "verify", "AuthError: no", LATER)
    assert (await Reports(store).destination(kit.TENANT, kit.ADS)).last_error == "AuthError: no"
    await troubles.clear(kit.ADS, "send")
    assert await troubles.failing("send") == {"other"}
    assert await troubles.failing("verify") == {kit.ADS}
    assert await Troubles(store, "dom").failing("send") == {kit.ADS}


async def test_what_is_left_of_trouble_is_found(store: Store, troubles: Troubles) -> None:
    """Batches that wait with an error, before and after their answer, and rows that came back; not what is settled."""
    ledger = Ledger(store, kit.TENANT)

    async def left() -> tuple[bool, bool, bool]:
        batches = [await troubles.has_failed_batch(kit.ADS, settled=settled) for settled in (False, True)]
        return (batches[0], batches[1], await troubles.has_returned_row(kit.ADS))

    await kit.plan(store, kit.conversion(1), kit.conversion(2))
    sealed = await kit.sent(ledger)
    assert await left() == (False, False, False)
    await ledger.postpone(sealed, LATER, "Unavailable")
    assert await left() == (True, False, False)
    shifts = [Shift(kit.key(1), Move.ACCEPT), Shift(kit.key(2), Move.AGAIN)]
    await ledger.record(Settlement(sealed, shifts, {}, LATER), START)
    assert await left() == (False, False, True)
    await ledger.postpone(sealed, LATER, "Drift", settled=True)
    assert await left() == (False, True, True)
    assert not await troubles.has_failed_batch("other", settled=True)
    assert not await Troubles(store, "dom").has_failed_batch(kit.ADS, settled=True)
    await ledger.verified(Verdicts(sealed.label, []), LATER)
    await ledger.move([Shift(kit.key(2), Move.EXPIRE)], LATER)
    assert await left() == (False, False, False)
