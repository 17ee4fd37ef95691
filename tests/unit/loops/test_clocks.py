"""The machine's clock was years ahead, or is years behind: what was stored by it silences nothing for good."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest

from bridge.config import SourceSettings
from bridge.loops import assess, deliver, poll
from bridge.store import Store
from bridge.store.codec import maybe
from tests.simulation.kit import events
from tests.store.kit import ADS
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, Ads, Crm, office
from tests.unit.loops.test_poll import lead, polled


async def test_a_first_reading_by_a_clock_that_was_years_ahead_is_undone(store: Store, logs: io.StringIO) -> None:
    """Its start lies in the future, before which nothing counts, and so does its next turn. By the true clock it is
    read without being asked, what it has brought is judged again, and a later turn changes nothing more."""
    crm = Crm()
    made = polled(store, crm)
    crm.scans = [[crm.shows(lead(1))], [crm.shows(lead(1))], [crm.shows(lead(1), lead(2))]]
    made.clock.advance(5 * 365 * DAY)
    await poll.once(made.tenant)
    assert await made.states() == {}
    made.clock.advance(START - made.clock.now())
    for _ in range(2):
        await poll.once(made.tenant)
        await assess.once(made.tenant)
        made.clock.advance(MINUTE)
    assert await made.states() == {"pending": 2}
    assert maybe((await made.source())["floor"]) == START - 10 * DAY
    (said,) = events(logs, "start_moved")
    assert said["start"] == (START - 10 * DAY).isoformat()


@pytest.mark.parametrize(("ahead", "behind"), [(2 * HOUR, 2 * HOUR), (timedelta(0), 3000 * DAY)])
async def test_a_start_stays_where_a_clock_is_behind_or_was_hardly_ahead(
    ahead: timedelta, behind: timedelta, store: Store
) -> None:
    """An hour harms nothing for long. A clock that begins years ago, as without a battery, opens no old times: it is
    the vendor that names times ahead of it."""
    crm = Crm()
    made = polled(store, crm)
    made.tenant.sources["crm"].settings = SourceSettings(kind="crm", start_from=HOUR)
    crm.scans = [[crm.shows(lead(1))]]
    made.clock.advance(ahead)
    await poll.once(made.tenant)
    made.clock.advance(-behind)
    await poll.once(made.tenant, force=True)
    assert maybe((await made.source())["floor"]) == START + ahead - HOUR


async def test_a_turn_put_off_by_a_clock_that_was_years_ahead_is_due(store: Store) -> None:
    """The destination does not wait for the day on which the clock believed to be."""
    made = office(store, {ADS: Ads()})
    await made.tenant.ledger.set_destination_due(ADS, START.replace(year=2031))
    await made.promise(1)
    await deliver.once(made.tenant)
    assert await made.states() == {"accepted": 1}
