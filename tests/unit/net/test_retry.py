"""What is repeated, how often, and how long it waits."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Ambiguous, AuthError, BridgeError, Drift, Refused, Throttled, Unavailable
from bridge.net.retry import Retry
from bridge.sim.clock import ManualClock

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Script:
    """An attempt that fails in a scripted way, then answers "ok"."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "ok"


class NotingClock(ManualClock):
    """Remembers how long it was asked to sleep."""

    def __init__(self) -> None:
        super().__init__(START)
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await super().sleep(seconds)


@pytest.mark.parametrize("make", [lambda: Unavailable("x"), lambda: Throttled("x")])
async def test_three_attempts(make: Callable[[], Exception]) -> None:
    """Two failures are survived, the third is raised as it is; writes and reads alike."""
    for is_repeatable in (True, False):
        clock, good, bad = NotingClock(), Script(make(), make()), Script(*(make() for _ in range(9)))
        assert await Retry(clock).run(good, is_repeatable=is_repeatable) == "ok"
        last = bad.errors[2]
        with pytest.raises(type(last)) as caught:
            await Retry(clock).run(bad, is_repeatable=is_repeatable)
        assert caught.value is last
        assert (good.calls, bad.calls, len(clock.slept)) == (3, 3, 4)


@pytest.mark.parametrize("error", [Ambiguous("x"), Refused("x"), AuthError("x"), ValueError("x")])
async def test_never_repeated(error: Exception) -> None:
    """What may have been applied, or was refused, is not sent again."""
    for script in (Script(error), Script(Unavailable("first"), error)):
        attempts = len(script.errors)
        with pytest.raises(type(error)):
            await Retry(ManualClock(START)).run(script, is_repeatable=True)
        assert script.calls == attempts


async def test_drift_is_read_once_more() -> None:
    """Cut JSON happens: one more attempt of a repeatable request, none of a write."""
    clock = ManualClock(START)
    once, twice, write = Script(Drift("x")), Script(Drift("x"), Drift("x")), Script(Drift("x"))
    assert await Retry(clock).run(once, is_repeatable=True) == "ok"
    with pytest.raises(Drift):
        await Retry(clock).run(twice, is_repeatable=True)
    with pytest.raises(Drift):
        await Retry(clock).run(write, is_repeatable=False)
    assert (once.calls, twice.calls, write.calls) == (2, 2, 1)


async def test_the_vendor_names_the_wait() -> None:
    """Up to 30 seconds are slept exactly; more is left to the loop without waiting."""
    clock = NotingClock()
    assert await Retry(clock).run(Script(Throttled("x", retry_after=30)), is_repeatable=False) == "ok"
    assert clock.slept == [30]
    long = Script(Throttled("x", retry_after=30.5))
    with pytest.raises(Throttled):
        await Retry(clock).run(long, is_repeatable=True)
    assert (clock.slept, long.calls) == ([30], 1)


@given(st.integers(), st.lists(st.sampled_from(["u", "t", "d", "a"]), max_size=6), st.booleans())
async def test_waits_are_short_and_attempts_few(seed: int, kinds: list[str], is_repeatable: bool) -> None:
    """For any failures and any dice: at most three attempts and two waits, each between 0 and 2 seconds."""
    made: dict[str, Callable[[], BridgeError]] = {
        "u": lambda: Unavailable("x"),
        "t": lambda: Throttled("x"),
        "d": lambda: Drift("x"),
        "a": lambda: Ambiguous("x"),
    }
    clock, script = NotingClock(), Script(*(made[kind]() for kind in kinds))
    with suppress(BridgeError):
        await Retry(clock, random.Random(seed)).run(script, is_repeatable=is_repeatable)
    assert script.calls <= 3
    assert len(clock.slept) == script.calls - 1
    assert all(0 <= wait <= 2 for wait in clock.slept)


async def test_jitter_is_full() -> None:
    """Waits spread over the whole interval, so that many clients do not come back together."""
    clock = NotingClock()
    for seed in range(200):
        await Retry(clock, random.Random(seed)).run(Script(Unavailable("x")), is_repeatable=True)
    assert min(clock.slept) < 0.1
    assert max(clock.slept) > 0.9
