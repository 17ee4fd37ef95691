"""The limiter never exceeds a rate, nearly reaches it, is fair, and obeys pauses. Time is virtual unless said."""

from __future__ import annotations

import asyncio
import heapq
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.net.limit import Limiter
from bridge.sim.clock import ManualClock
from bridge.tools import Rate

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class VirtualTime:
    """Monotonic time that jumps to the next sleeper when everybody sleeps; each wakes up ``lateness`` late."""

    def __init__(self, lateness: float = 0.0) -> None:
        self.now = 100.0
        self._lateness = lateness
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now + seconds + self._lateness, self._count, future))
        await future

    async def run(self, tasks: list[asyncio.Task[None]]) -> None:
        """Let time pass until all tasks are done."""
        while not all(task.done() for task in tasks):
            for _ in range(10):
                await asyncio.sleep(0)
            if self._sleepers and not all(task.done() for task in tasks):
                at, _, future = heapq.heappop(self._sleepers)
                self.now = max(self.now, at)
                if not future.cancelled():
                    future.set_result(None)
        for task in tasks:
            task.result()


def limiter(rate: Rate, virtual: VirtualTime, clock: ManualClock | None = None) -> Limiter:
    return Limiter(rate, clock or ManualClock(START), lambda: virtual.now, virtual.sleep)


async def departures(rate: Rate, gaps: list[float], virtual: VirtualTime, work: float = 0.0) -> list[float]:
    """When requests go out that arrive with these gaps and take ``work`` seconds each."""
    limit = limiter(rate, virtual)
    out: list[float] = []

    async def one() -> None:
        await limit.acquire()
        out.append(virtual.now)
        if work:
            await virtual.sleep(work)
        limit.release()

    tasks: list[asyncio.Task[None]] = []

    async def arrive() -> None:
        for gap in gaps:
            if gap:
                await virtual.sleep(gap)
            tasks.append(asyncio.create_task(one()))

    await virtual.run([asyncio.create_task(arrive())])
    await virtual.run(tasks)
    return out


def most_in(window: float, times: list[float]) -> int:
    """The largest number of departures inside any half-open span of ``window`` seconds."""
    return max(sum(1 for t in times if start <= t < start + window - 1e-9) for start in times)


rates = st.builds(
    Rate,
    per_second=st.one_of(st.integers(1, 60).map(float), st.floats(0.2, 80.0)),
    burst=st.integers(1, 20),
    parallel=st.integers(1, 8),
)


@settings(max_examples=60, deadline=None)
@given(rates, st.lists(st.floats(0, 0.5), min_size=1, max_size=60), st.sampled_from([0.0, 0.0005, 0.02]))
def test_never_exceeds(rate: Rate, gaps: list[float], lateness: float) -> None:
    """Whatever arrives when, and however late timers fire: no second holds more than burst + rate requests."""
    times = asyncio.run(departures(rate, gaps, VirtualTime(lateness), work=0.01))
    assert len(times) == len(gaps)
    assert most_in(1.0, times) <= rate.burst + rate.per_second


@settings(max_examples=40, deadline=None)
@given(rates)
def test_reaches_the_rate(rate: Rate) -> None:
    """With requests waiting and timers as late as asyncio's, at least 96 % of the allowed number go out."""
    waiting = 150
    times = asyncio.run(departures(rate, [0.0] * waiting, VirtualTime(lateness=0.0006)))
    ideal = (waiting - rate.burst) / rate.per_second
    assert times[-1] - times[0] <= ideal / 0.96 + 1e-6


async def test_real_time() -> None:
    """On the real clock never faster than the rate, and near it (loosely: the machine may be busy)."""
    limit = Limiter(Rate(50.0, burst=1, parallel=4), ManualClock(START))
    times: list[float] = []
    for _ in range(26):
        await limit.acquire()
        times.append(time.monotonic())
        limit.release()
    spent = times[-1] - times[0]
    assert 0.5 - 0.003 <= spent <= 0.5 * 2


async def test_first_come_first_served() -> None:
    """Waiting requests go out in the order they came, also when one gives up."""
    virtual = VirtualTime()
    limit = limiter(Rate(10.0, burst=1, parallel=2), virtual)
    order: list[int] = []

    async def one(number: int) -> None:
        await limit.acquire()
        order.append(number)
        limit.release()

    tasks = [asyncio.create_task(one(n)) for n in range(12)]
    await asyncio.sleep(0)
    tasks[4].cancel()
    await virtual.run([task for task in tasks if task is not tasks[4]])
    assert order == [n for n in range(12) if n != 4]


async def test_cancelled_waiters_leave_no_hole() -> None:
    """Cancelling every waiter gives all slots back."""
    virtual = VirtualTime()
    limit = limiter(Rate(1.0, burst=1, parallel=2), virtual)
    waiters = [asyncio.create_task(limit.acquire()) for _ in range(6)]
    for _ in range(5):
        await asyncio.sleep(0)
    for waiter in waiters:
        waiter.cancel()
    done = await asyncio.gather(*waiters, return_exceptions=True)
    for result in done:
        if result is None:
            limit.release()
    tasks = [asyncio.create_task(limit.acquire()) for _ in range(2)]
    await virtual.run(tasks)


async def test_pause_holds_everybody_by_the_clock() -> None:
    """A pause of the whole account is over when the injected clock says so; it is never shortened."""
    clock, virtual = ManualClock(START), VirtualTime()
    limit = limiter(Rate(1000.0, burst=10), virtual, clock)
    limit.pause(60)
    limit.pause(5)
    await limit.acquire("any")
    assert (clock.now() - START).total_seconds() == pytest.approx(60)
    assert virtual.now == 100.0


class FrozenClock(ManualClock):
    """Sleepers wait until the test moves the clock."""

    def __init__(self) -> None:
        super().__init__(START)
        self.moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        wanted = self.now() + timedelta(seconds=seconds)
        await self.moved.wait()
        self.set(wanted)


async def test_pause_of_one_scope_leaves_others_alone() -> None:
    """With every slot's worth of requests held back in one scope, another scope still goes out at once."""
    clock = FrozenClock()
    limit = Limiter(Rate(1e6, burst=100, parallel=2), clock)
    limit.pause(300, "crm.deal.list")
    held = [asyncio.create_task(limit.acquire("crm.deal.list")) for _ in range(5)]
    await asyncio.wait_for(limit.acquire("crm.lead.list"), 1)
    limit.release()
    assert not any(task.done() for task in held)
    clock.moved.set()
    for task in asyncio.as_completed(held):
        await task
        limit.release()
    assert (clock.now() - START).total_seconds() == pytest.approx(300)


async def test_pause_set_while_waiting_is_obeyed() -> None:
    """A request already in the queue for its turn does not slip past a pause of its scope."""
    clock, virtual = ManualClock(START), VirtualTime()
    limit = limiter(Rate(1.0, burst=1, parallel=2), virtual, clock)
    await limit.acquire("m")
    limit.release()
    waiting = asyncio.create_task(limit.acquire("m"))
    for _ in range(3):
        await asyncio.sleep(0)
    limit.pause(30, "m")
    await virtual.run([waiting])
    assert (clock.now() - START).total_seconds() == pytest.approx(30)


async def test_a_scope_keeps_its_own_limit_beside_the_accounts() -> None:
    """Four a second of one scope among a hundred of all: that scope is spaced, others do not wait for it."""
    virtual = VirtualTime()
    rate, own = Rate(100.0, burst=100, parallel=100), (("search", Rate(4.0)),)
    limit = Limiter(rate, ManualClock(START), lambda: virtual.now, virtual.sleep, own)
    out: dict[str, list[float]] = {"search": [], "": []}

    async def one(scope: str) -> None:
        await limit.acquire(scope)
        out[scope].append(virtual.now - 100.0)
        limit.release()

    await virtual.run([asyncio.create_task(one(scope)) for scope in ["search"] * 9 + [""] * 20])
    assert out["search"] == pytest.approx([number / 4 for number in range(9)])
    assert max(out[""]) == 0


async def test_a_scopes_limit_does_not_lift_the_accounts() -> None:
    """Requests of a fast scope still queue like all others."""
    virtual = VirtualTime()
    limit = Limiter(Rate(2.0), ManualClock(START), lambda: virtual.now, virtual.sleep, (("search", Rate(50.0)),))
    out: list[float] = []

    async def one() -> None:
        await limit.acquire("search")
        out.append(virtual.now)
        limit.release()

    await virtual.run([asyncio.create_task(one()) for _ in range(6)])
    assert min(b - a for a, b in pairwise(out)) >= 1 / 2 - 1e-9


def test_a_steady_stream_is_evenly_spaced() -> None:
    """Without burst the distance between requests is never less than one interval."""
    times = asyncio.run(departures(Rate(7.0), [0.0] * 30, VirtualTime(0.001)))
    assert min(b - a for a, b in pairwise(times)) >= 1 / 7 - 1e-9
