"""How fast one account may send: a leaky bucket, a number of requests in flight, and pauses the vendor asks for.

The bucket counts monotonic time, because vendors count real seconds. Pauses follow the injected clock, because they
come from vendor timestamps and headers, and simulations move that clock. Waiting requests go first come, first served.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from bridge.tools import Clock, Rate

Monotonic = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]

_NEVER = datetime.min.replace(tzinfo=UTC)
# An asyncio timer wakes up to about this late (seconds). Above _FAST requests a second the delay is given back.
_TIMER_SLACK = 0.003
_FAST = 25.0


class Bucket:
    """A leaky bucket (GCRA): any second holds at most ``burst + per_second`` grants."""

    def __init__(self, rate: Rate) -> None:
        self._interval = 1.0 / rate.per_second
        self._tolerance = (rate.burst - 1) * self._interval + _slack(rate.per_second)
        self._next = -math.inf  # when the bucket would be empty enough with no burst allowed

    def delay(self, now: float) -> float:
        """Seconds until one more request is allowed; 0 when it is allowed now."""
        return max(0.0, self._next - self._tolerance - now)

    def take(self, now: float) -> None:
        """Count a request that goes out now."""
        self._next = max(self._next, now) + self._interval


def _slack(per_second: float) -> float:
    """Lateness that may be caught up, small enough to keep the bound for one second exact."""
    if per_second < _FAST or math.isinf(per_second):
        return 0.0
    return min(_TIMER_SLACK, 0.5 * (1.0 - per_second % 1.0) / per_second)


class Limiter:
    """The limit of one account. ``acquire`` before a request, ``release`` after it, whatever happened.

    ``scopes``: limits that requests of a scope keep first, one after the other; then they queue like all others.
    """

    def __init__(
        self,
        rate: Rate,
        clock: Clock,
        monotonic: Monotonic | None = None,
        sleep: Sleep | None = None,
        scopes: Sequence[tuple[str, Rate]] = (),
    ) -> None:
        self._bucket = Bucket(rate)
        self._scopes = {scope: (Bucket(own), asyncio.Lock()) for scope, own in scopes}
        self._clock = clock
        self._monotonic = monotonic or (lambda: asyncio.get_running_loop().time())
        self._sleep = sleep or asyncio.sleep
        self._parallel = asyncio.Semaphore(rate.parallel)
        self._turn = asyncio.Lock()
        self._until: dict[str, datetime] = {}

    def pause(self, seconds: float, scope: str = "") -> None:
        """Hold back every later request (of this scope, or all with "") for so many seconds; never shortens."""
        until = self._clock.now() + timedelta(seconds=max(0.0, seconds))
        self._until[scope] = max(until, self._until.get(scope, _NEVER))

    async def acquire(self, scope: str = "") -> None:
        """Wait until one more request may go out."""
        if scope in self._scopes:
            await self._wait_scope(*self._scopes[scope])
        while True:
            if scope:
                await self._wait_pause(scope)
            await self._parallel.acquire()
            try:
                async with self._turn:
                    await self._wait_turn()
                    if not self._is_paused(scope):
                        self._bucket.take(self._monotonic())
                        return
            except BaseException:
                self._parallel.release()
                raise
            self._parallel.release()

    def release(self) -> None:
        """The request is over."""
        self._parallel.release()

    async def _wait_scope(self, bucket: Bucket, turn: asyncio.Lock) -> None:
        async with turn:
            while (delay := bucket.delay(self._monotonic())) > 0:
                await self._sleep(delay)
            bucket.take(self._monotonic())

    async def _wait_turn(self) -> None:
        while True:
            await self._wait_pause("")
            delay = self._bucket.delay(self._monotonic())
            if delay <= 0:
                return
            await self._sleep(delay)

    def _is_paused(self, scope: str) -> bool:
        return bool(self._until) and self._remaining(scope) > 0

    async def _wait_pause(self, scope: str) -> None:
        while self._until and (left := self._remaining(scope)) > 0:
            await self._clock.sleep(left)

    def _remaining(self, scope: str) -> float:
        until = self._until.get(scope)
        if until is None:
            return 0.0
        left = (until - self._clock.now()).total_seconds()
        if left <= 0:
            del self._until[scope]
        return left
