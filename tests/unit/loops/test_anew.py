"""A daemon begins: what waits for a person is tried at once, for that person has just restarted it."""

from __future__ import annotations

import io

import pytest

from bridge.daemon import cycle
from bridge.errors import AuthError, BridgeError, ConfigError, Drift, Unavailable
from bridge.frozen import replace
from bridge.loops import anew, deliver, poll
from bridge.loops.deliver import MENDED_BY_PEOPLE
from bridge.net.account import StoppedError
from bridge.store import Store
from tests.simulation.kit import events
from tests.store.kit import ADS
from tests.unit.loops.kit import TRAITS, Ads, Crm, accept, office

SAID = ("source_failed", "destination_failed")


async def test_what_failed_is_due_and_said_when_a_daemon_begins(store: Store, logs: io.StringIO) -> None:
    """Without a step of the clock, and without ``force``: new credentials are in place, and both sides work again."""
    ads = Ads(replace(TRAITS), sends=[AuthError("no"), accept])
    made = office(store, {ADS: ads}, {"crm": (crm := Crm(scans=[[Drift("HTML")], []]))})
    await made.promise(1)
    for loop in (poll, deliver):
        await loop.once(made.tenant)
        await loop.once(made.tenant)
    assert (len(crm.windows), len(ads.sent)) == (1, 1)
    assert [line["event"] for line in events(logs, *SAID)] == list(SAID)

    await anew.begin(made.tenant)
    again = events(logs, *SAID)[2:]
    assert [line["event"] for line in again] == list(SAID)
    assert [line["error"] for line in again] == ["Drift: HTML", "AuthError: no"]
    await poll.once(made.tenant)
    await deliver.once(made.tenant)
    assert await made.states() == {"accepted": 1}
    assert await made.tenant.troubles.failures() == []
    await anew.begin(made.tenant)
    assert len(events(logs, *SAID)) == 4


@pytest.mark.parametrize(
    ("error", "is_tried"),
    [(AuthError("no"), True), (StoppedError("no"), True), (ConfigError("no"), True), (Unavailable("down"), False)],
)
async def test_a_sync_tries_what_waits_for_people(error: BridgeError, is_tried: bool, store: Store) -> None:
    """A vendor that is down keeps its growing pauses: there nobody has mended anything."""
    ads = Ads(sends=[error, accept])
    made = office(store, {ADS: ads})
    await made.promise(1)
    await deliver.once(made.tenant)
    await cycle(made.tenant, force=True)
    assert await made.states() == {"accepted" if is_tried else "pending": 1}


async def test_what_waits_for_a_window_goes_on_waiting(store: Store) -> None:
    """Only what came back from a sending is tried; and nothing is where nothing has failed."""
    made = office(store, {ADS: Ads()})
    (key,) = await made.promise(1)
    await made.tenant.ledger.wait({key: (until := made.clock.now().replace(year=2027), "autherror")})
    await made.tenant.troubles.try_again(MENDED_BY_PEOPLE, made.clock.now())
    assert await made.tenant.ledger.due(ADS, until.replace(year=2026), 10) == []
