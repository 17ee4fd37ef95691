"""Which moments count."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from bridge.rules.floor import Floor, Period
from tests.unit.rules.kit import hour

hours = st.integers(0, 30)
periods = st.tuples(hours, hours).map(lambda pair: Period(hour(pair[0]), hour(pair[1])))
starts = st.none() | hours.map(hour)


def opened(start: datetime | None, *asked: Period) -> Floor:
    floor = Floor(start)
    for period in asked:
        floor = floor.opening(period)
    return floor


@given(starts, st.lists(periods, max_size=6), st.lists(hours, min_size=1))
def test_open_is_what_was_asked_for_and_everything_since_the_start(
    start: datetime | None, asked: list[Period], moments: list[int]
) -> None:
    """Whatever was opened before or after, in whatever order, overlapping or not; without a start everything is."""
    floor = opened(start, *asked)
    for at in map(hour, moments):
        is_asked = any(period.since <= at < period.until for period in asked)
        assert floor.is_open(at) == (start is None or at >= start or is_asked)


@given(hours.map(hour), st.lists(periods, max_size=6), st.randoms(use_true_random=False))
def test_periods_are_kept_apart_in_order_and_below_the_start(
    start: datetime, asked: list[Period], random: object
) -> None:
    """Those that touch are one; the order they were asked for in leaves no trace; asking again changes nothing."""
    floor = opened(start, *asked)
    assert all(before.until < after.since for before, after in zip(floor.opened, floor.opened[1:], strict=False))
    assert all(period.since < period.until <= start for period in floor.opened)
    random.shuffle(asked)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert opened(start, *asked, *asked) == floor
