"""May this request be repeated now? Seconds, at most three attempts; longer waits belong to the loops.

Repeated: what the vendor certainly did not apply (``Throttled``, ``Unavailable``), and once a repeatable request whose
answer made no sense (``Drift``: cut JSON happens). Never ``Ambiguous``, ``Refused``, ``AuthError``.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, stop_after_attempt

from bridge.errors import Drift, Throttled, Unavailable
from bridge.tools import Clock

ATTEMPTS = 3
LONGEST_WAIT = 30.0  # seconds; a vendor that asks for more is left to the loop's schedule
_FIRST_WAIT = 0.5
_CAP = 8.0

T = TypeVar("T")
Attempt = Callable[[], Awaitable[T]]


class Retry:
    """The policy of one account. ``rng`` draws the jitter."""

    def __init__(self, clock: Clock, rng: random.Random | None = None) -> None:
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret

    async def run(self, attempt: Attempt[T], *, is_repeatable: bool) -> T:
        """Call ``attempt`` until it succeeds, fails for good, or has failed three times; raises its last error."""
        try:
            return await attempt()
        except (Throttled, Unavailable, Drift) as error:
            if not _may_repeat(error, 1, is_repeatable):
                raise
            first: Exception = error
        return await self._again(attempt, first, is_repeatable)

    async def _again(self, attempt: Attempt[T], first: Exception, is_repeatable: bool) -> T:
        """The attempts after a failed first one, which tenacity is told about but does not make."""
        pending: list[Exception] = [first]

        async def call() -> T:
            if pending:
                raise pending.pop()
            return await attempt()

        def may_repeat(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            return error is not None and _may_repeat(error, state.attempt_number, is_repeatable)

        retrying = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS), wait=self._wait, retry=may_repeat, sleep=self._clock.sleep, reraise=True
        )
        return await retrying(call)

    def _wait(self, state: RetryCallState) -> float:
        """Seconds before the next attempt: what the vendor asked for, else exponential with full jitter."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Throttled) and error.retry_after is not None:
            return max(0.0, error.retry_after)
        return self._rng.uniform(0.0, min(_CAP, _FIRST_WAIT * 2.0**state.attempt_number))


def _may_repeat(error: BaseException, attempts: int, is_repeatable: bool) -> bool:
    if isinstance(error, Throttled):
        return error.retry_after is None or error.retry_after <= LONGEST_WAIT
    if isinstance(error, Drift):
        return is_repeatable and attempts == 1
    return isinstance(error, Unavailable)
