"""Trouble of a destination, whichever loop has it: said once, shown until it is over, and over only when it is."""

from __future__ import annotations

import io
from datetime import timedelta

from bridge.errors import Ambiguous, BridgeError, Unavailable
from bridge.loops import deliver, reconcile, trouble, verify
from bridge.model import Outgoing
from bridge.ports import Accepted, Admission, Pass, Proof, RowVerdict, Seen
from bridge.store import Store
from bridge.store.reports import Reports
from tests.simulation.kit import events
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, Ads, Office, accept, office

DOWN, FAILED, RECOVERED = Unavailable("down"), "destination_failed", "destination_recovered"


def said(logs: io.StringIO) -> list[tuple[str, str]]:
    """What was told about destinations: event and loop."""
    return [(line["event"], line["loop"]) for line in events(logs, FAILED, RECOVERED)]


async def shown(made: Office) -> str | None:
    """What ``status`` shows of the destination."""
    return (await Reports(made.store).destination(TENANT, ADS)).last_error


async def turn(made: Office, by: timedelta) -> None:
    """Time passes and every loop of the right side has its turn, as in the daemon."""
    made.clock.advance(by)
    for loop in (reconcile, deliver, verify):
        await loop.once(made.tenant)


async def test_trouble_of_verify_is_said_once_and_shown_until_the_vendor_tells(store: Store, logs: io.StringIO) -> None:
    """Deliveries that go well meanwhile, or have nothing to do, do not wipe it."""
    ads = Ads(verifies=[DOWN])
    made = office(store, {ADS: ads})
    (key,) = await made.promise(1)
    await deliver.once(made.tenant)
    for number in range(2, 7):
        await turn(made, ads.traits.verify_every)
        assert await shown(made) == "Unavailable: down"
        await turn(made, MINUTE)
        await made.promise(number)
        await turn(made, MINUTE)
        assert await shown(made) == "Unavailable: down"
    assert said(logs) == [(FAILED, trouble.VERIFY)]
    assert (await Reports(store).destination(TENANT, ADS)).failing_since == START + ads.traits.verify_every
    ads.verifies = [[RowVerdict(key, Seen.VERIFIED)]]
    await turn(made, DAY)
    assert await shown(made) is None
    assert said(logs) == [(FAILED, trouble.VERIFY), (RECOVERED, trouble.VERIFY)]


async def test_another_batchs_verification_is_not_the_end_of_trouble(store: Store, logs: io.StringIO) -> None:
    """One batch cannot be verified, the others can: that is one trouble, not a new one after each success."""

    class Picky(Ads):
        is_well = False

        async def verify(self, accepted: Accepted) -> list[RowVerdict] | None:
            if not self.is_well and bad in accepted.deliveries:
                raise BridgeError("what receipt is this?")
            return [RowVerdict(row, Seen.VERIFIED) for row in accepted.deliveries]

    ads = Picky()
    made = office(store, {ADS: ads})
    (bad,) = await made.promise(1)
    for number in range(2, 7):
        await turn(made, MINUTE)
        await made.promise(number)
    await turn(made, ads.traits.verify_every)
    for _ in range(12):
        assert await shown(made) == "BridgeError: what receipt is this?"
        await turn(made, ads.traits.verify_every / 2)
    assert await made.states() == {"verified": 5, "accepted": 1}
    assert said(logs) == [(FAILED, trouble.VERIFY)]
    ads.is_well = True
    await turn(made, HOUR)
    assert await shown(made) is None
    assert said(logs) == [(FAILED, trouble.VERIFY), (RECOVERED, trouble.VERIFY)]


async def test_trouble_of_repair_is_said_once_and_shown_until_it_can_look(store: Store, logs: io.StringIO) -> None:
    """Whether the batch arrived cannot be asked; nothing else is due. When the vendor answers, though only that there
    is nothing to see yet, the trouble is over."""
    ads = Ads(sends=[Ambiguous("lost"), accept], lookups=[DOWN]).proving(Proof.TAG, visibility=3 * DAY)
    made = office(store, {ADS: ads})
    await made.promise(1)
    await deliver.once(made.tenant)
    assert await shown(made) is None
    for _ in range(10):
        await turn(made, 10 * MINUTE)
        assert await shown(made) == "Unavailable: down"
    ads.lookups = [None]
    await turn(made, DAY)
    assert (await shown(made), await made.states()) == (None, {"sealed": 1})
    assert said(logs) == [(FAILED, trouble.SEND), (RECOVERED, trouble.SEND)]


async def test_a_turn_with_nothing_to_send_is_no_recovery(store: Store, logs: io.StringIO) -> None:
    """The vendor is down for half a day; most turns only wait for the next try. The first answer ends the trouble."""
    ads = Ads(sends=[DOWN])
    made = office(store, {ADS: ads})
    await made.promise(1)
    for _ in range(12 * 12):
        await turn(made, 5 * MINUTE)
        assert await shown(made) == "Unavailable: down"
    assert said(logs) == [(FAILED, trouble.SEND)]
    ads.sends = [accept]
    await turn(made, DAY)
    assert await shown(made) is None
    assert said(logs) == [(FAILED, trouble.SEND), (RECOVERED, trouble.SEND)]


async def test_a_repetition_that_is_turned_away_is_the_same_trouble(store: Store, logs: io.StringIO) -> None:
    """Repair sends the bytes again and hears that the vendor is down; its rows wait to be delivered again. That is one
    trouble until they are, although the repair itself has nothing left to do."""
    ads = Ads(sends=[Ambiguous("lost"), DOWN]).proving(Proof.ROW)
    made = office(store, {ADS: ads})
    await made.promise(1)
    for _ in range(40):
        await turn(made, MINUTE)
    assert await shown(made) == "Unavailable: down"
    assert said(logs) == [(FAILED, trouble.SEND)]
    ads.sends = [accept]
    await turn(made, DAY)
    assert said(logs) == [(FAILED, trouble.SEND), (RECOVERED, trouble.SEND)]


async def test_trouble_ends_when_nothing_waits_for_the_destination(store: Store, logs: io.StringIO) -> None:
    """What could not be sent expires: there is nothing left that could fail."""

    class Strict(Ads):
        def admit(self, row: Outgoing, now: object) -> Admission:
            return Admission(Pass.EXPIRED if self.sent else Pass.SEND, "window")

    made = office(store, {ADS: Strict(sends=[DOWN])})
    await made.promise(1)
    await turn(made, MINUTE)
    assert await shown(made) == "Unavailable: down"
    await turn(made, HOUR)
    assert (await shown(made), await made.states()) == (None, {"expired": 1})
    assert said(logs) == [(FAILED, trouble.SEND), (RECOVERED, trouble.SEND)]
