"""Numbers that change at known moments: whether a condition holds (0 or 1), how many hold, how many points. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

# A number from each moment on, in time order; zero before the first. No two neighbours are equal.
Steps = tuple[tuple[datetime, int], ...]

EVER = datetime.min.replace(tzinfo=UTC)  # since when that holds whose beginning nobody knows
NEVER: Steps = ()
ALWAYS: Steps = ((EVER, 1),)


def since(moment: datetime) -> Steps:
    """One from this moment on."""
    return ((moment, 1),)


def total(parts: Iterable[Steps]) -> Steps:
    """Their sum, at each moment."""
    changes: dict[datetime, int] = defaultdict(int)
    for part in parts:
        before = 0
        for at, value in part:
            changes[at] += value - before
            before = value
    result, value = [], 0
    for at in sorted(changes):
        if changes[at]:
            value += changes[at]
            result.append((at, value))
    return tuple(result)


def where(steps: Steps, test: Callable[[int], bool]) -> Steps:
    """One while the number passes the test, else zero; also before the first step."""
    result: list[tuple[datetime, int]] = []
    now = 0
    for at, value in ((EVER, 0), *steps):
        passes = int(test(value))
        if passes != now:
            if result and result[-1][0] == at:
                result.pop()
            else:
                result.append((at, passes))
            now = passes
    return tuple(result)


def at(steps: Steps, moment: datetime) -> int:
    """The number at that moment."""
    value = 0
    for begins, number in steps:
        if begins > moment:
            break
        value = number
    return value


def first(steps: Steps, moment: datetime) -> datetime | None:
    """The first moment from this one on at which the number is not zero."""
    if at(steps, moment):
        return moment
    return next((begins for begins, number in steps if begins > moment and number), None)
