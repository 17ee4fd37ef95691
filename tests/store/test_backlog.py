"""What is due and not done, and simulated time that waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from bridge.errors import BridgeError
from bridge.sim.pace import Pace
from bridge.store import Store
from bridge.store.backlog import oldest_due
from bridge.store.codec import EPOCH
from bridge.store.ledger import Ledger
from bridge.store.records import Records
from tests.store import kit
from tests.support import START

HOUR = timedelta(hours=1)
SOURCES = [(kit.TENANT, kit.SOURCE)]


async def polled(store: Store, due: datetime) -> None:
    await Records(store).set_source(kit.TENANT, kit.SOURCE, polled_at=START, due=due)


async def test_a_source_that_was_never_polled_is_due_since_ever(store: Store) -> None:
    """Once polled, it is due when the next poll is."""
    assert await oldest_due(store, SOURCES) == EPOCH
    await polled(store, START + HOUR)
    assert await oldest_due(store, SOURCES) == START + HOUR


async def test_a_pending_delivery_is_due_unless_its_destination_pauses(store: Store) -> None:
    """The pause is what a failed attempt leaves behind: it has been tried."""
    await polled(store, START + 9 * HOUR)
    await kit.plan(store, kit.conversion(1))
    assert await oldest_due(store, SOURCES) == START
    await Ledger(store, kit.TENANT).set_destination_due(kit.ADS, START + 2 * HOUR)
    assert await oldest_due(store, SOURCES) == START + 2 * HOUR


class Machine:
    """Real time and a daemon on it that polls once so many seconds have passed (never: it is stuck)."""

    def __init__(self, store: Store, polls_after: float | None) -> None:
        self.store, self.polls_after, self.seconds = store, polls_after, 0.0
        self.times: list[datetime] = []

    async def pause(self, seconds: float) -> None:
        self.seconds += seconds
        if self.polls_after is not None and self.seconds >= self.polls_after:
            await polled(self.store, self.times[-1] + HOUR)

    def pace(self, check: Callable[[], None] = lambda: None) -> Pace:
        pause: Callable[[float], Awaitable[None]] = self.pause
        return Pace(self.store, SOURCES, self.times.append, check, 10.0, pause, lambda: self.seconds)


async def test_time_is_not_held_up_by_a_daemon_that_keeps_pace(store: Store) -> None:
    """What is behind by no more than the leeway costs no look and no moment."""
    await polled(store, START)
    machine = Machine(store, None)
    assert await machine.pace().keep(START + HOUR, HOUR) == START + HOUR
    assert (machine.seconds, machine.times) == (0.0, [])


async def test_time_only_creeps_while_the_daemon_is_starved(store: Store) -> None:
    """Seven real seconds are weeks at the demo's pace; here they are less than an hour, after which it goes on."""
    await polled(store, START)
    machine = Machine(store, 7.0)
    now = START + 3 * HOUR
    after = await machine.pace().keep(now, HOUR)
    assert now < after < now + HOUR
    assert machine.seconds == pytest.approx(7.0, abs=0.1)
    assert after == machine.times[-1]


async def test_a_daemon_that_does_nothing_does_not_hang_the_demo(store: Store) -> None:
    """One that lives is waited for so long and no longer; one that ended is noticed at the first look."""
    stuck = Machine(store, None)
    with pytest.raises(BridgeError, match="got nothing done for 10 seconds"):
        await stuck.pace().keep(START, HOUR)
    dead = Machine(store, None)

    def check() -> None:
        raise BridgeError("the daemon ended with status 1")

    with pytest.raises(BridgeError, match="status 1"):
        await dead.pace(check).keep(datetime(2026, 3, 1, tzinfo=UTC), HOUR)
    assert dead.seconds == 0.0
