"""Who may come how often, and from where a request came."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.web.allowance import Allowance, visitor_of
from tests.support import START

KEY = ("okna", "93.158.134.3")


def test_so_many_at_once_and_as_many_a_minute() -> None:
    """A full bucket, then drops; one visitor's do not count for another."""
    allowance = Allowance()
    assert [allowance.take(KEY, 3, START) for _ in range(5)] == [True, True, True, False, False]
    assert allowance.take(("okna", "93.158.134.4"), 3, START)
    assert allowance.take(KEY, 3, START + timedelta(seconds=20))
    assert not allowance.take(KEY, 3, START + timedelta(seconds=20))


@given(st.lists(st.integers(0, 90), max_size=60), st.integers(1, 20))
def test_no_minute_brings_more_than_twice_the_limit(pauses: list[int], limit: int) -> None:
    """However they are spread: a full bucket and what drips in meanwhile."""
    allowance, now, taken = Allowance(), START, []
    for pause in pauses:
        now += timedelta(seconds=pause)
        if allowance.take(KEY, limit, now):
            taken.append(now)
    assert all(sum(one <= other < one + timedelta(minutes=1) for other in taken) <= 2 * limit for one in taken)


def test_memory_is_bounded() -> None:
    """Whoever has not come for longest is forgotten first."""
    allowance = Allowance(most=10)
    allowance.take(KEY, 1, START)
    for number in range(9):
        allowance.take(("okna", str(number)), 1, START)
    assert not allowance.take(KEY, 1, START)
    for number in range(10, 20):
        allowance.take(("okna", str(number)), 1, START)
    assert allowance.take(KEY, 1, START)
    assert len(allowance._left) == 10


@pytest.mark.parametrize(
    ("peer", "forwarded", "visitor"),
    [
        ("93.158.134.3", "", "93.158.134.3"),
        ("93.158.134.3", "77.88.8.8", "93.158.134.3"),
        ("127.0.0.1", "10.0.0.1, 77.88.8.8", "77.88.8.8"),
        ("10.1.2.3", "77.88.8.8", "77.88.8.8"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "unknown", ""),
        ("127.0.0.1", "77.88.8.8:50123", "77.88.8.8"),
        ("127.0.0.1", "[2a02:6b8:0:1::feed]:50123", "2a02:6b8:0:1::"),
        ("127.0.0.1", "77.88.8.8:", ""),
        ("::ffff:127.0.0.1", "77.88.8.8", "77.88.8.8"),
        ("::1", "2a02:6b8:0:1::feed", "2a02:6b8:0:1::"),
        ("::ffff:93.158.134.3", "", "93.158.134.3"),
        (None, "77.88.8.8", ""),
    ],
)
def test_only_a_proxy_near_by_may_name_the_visitor(peer: str | None, forwarded: str, visitor: str) -> None:
    """And of all that it names, the last: the others are the visitor's own words."""
    assert visitor_of(peer, forwarded) == visitor
