"""Where the time of a conversion went that came too late."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Money
from bridge.rules.late import Life, Phase, Turn, legs, losses, lost_in
from tests.support import START

DAY = timedelta(days=1)
CLICK = START - 30 * DAY


def life(*turns: tuple[float, str, str | None], occurred: float = 10, method: str | None = "field") -> Life:
    """Days after the click: when the goal was reached, and each move."""
    made = tuple(Turn(CLICK + at * DAY, after, code) for at, after, code in turns)
    at = CLICK + occurred * DAY
    value = Money(150_000, "RUB")
    return Life("d", "crm/deal:1", "sale", "metrica", "window_21d", value, CLICK, at, method, made)


def after(days: float) -> Callable[[datetime], bool]:
    """A window that closes so long after the click."""
    return lambda at: at >= CLICK + days * DAY


LONG = life(
    (11, "pending", None),
    (12, "sealed", None),
    (14, "pending", "throttled"),
    (17, "sealed", None),
    (18, "pending", "unavailable"),
    (20, "sealed", None),
    (21, "held", "answer_lost"),
    (25, "pending", None),
    (26, "expired", "window_21d"),
)


def test_every_leg_has_its_name() -> None:
    """From the click to the end without a gap, each wait by what was waited for."""
    found = legs(LONG)
    assert [(leg.phase, leg.length // DAY) for leg in found] == [
        (Phase.BUSINESS, 10),
        (Phase.READING, 1),
        (Phase.QUEUE, 1),
        (Phase.ANSWER, 2),
        (Phase.THROTTLED, 3),
        (Phase.ANSWER, 1),
        (Phase.OUTAGE, 2),
        (Phase.ANSWER, 1),
        (Phase.HELD, 4),
        (Phase.QUEUE, 1),
    ]
    assert (found[0].since, found[-1].until) == (CLICK, LONG.turns[-1].at)
    assert all(a.until == b.since for a, b in pairwise(found))


def test_it_is_lost_in_the_leg_in_which_its_window_closed() -> None:
    """Whatever came before had been in time still, whatever came after could not help any more."""
    ends = {5: Phase.BUSINESS, 10.5: Phase.READING, 15: Phase.THROTTLED, 19: Phase.OUTAGE, 22: Phase.HELD}
    assert {days: lost_in(legs(LONG), after(days)) for days in ends} == ends
    assert lost_in(legs(LONG), lambda _: False) is Phase.QUEUE


def test_a_click_that_others_told_of_was_waited_for() -> None:
    """Its deal was read long before; the promise came with the click."""
    found = legs(life((22, "pending", None), (22, "expired", "window_21d"), method="call"))
    assert [leg.phase for leg in found] == [Phase.BUSINESS, Phase.MATCHING]
    assert lost_in(found, after(21)) is Phase.MATCHING


def test_losses_add_up_by_goal_destination_and_reason() -> None:
    """Count, value by currency, phases and the median of the days spent in them."""
    lives = [life((days, "pending", None), (days, "expired", "window_21d"), occurred=days) for days in (22, 26, 40)]
    lives.append(LONG)
    (loss,) = losses((one, legs(one), lost_in(legs(one), after(21))) for one in lives)
    assert (loss.count, loss.value) == (4, (Money(600_000, "RUB"),))
    assert dict(loss.lost_in) == {Phase.BUSINESS: 3, Phase.ANSWER: 1}
    assert dict(loss.days)[Phase.BUSINESS] == 26
    assert losses([]) == []


@given(
    st.lists(st.tuples(st.floats(0, 9), st.sampled_from(["pending", "sealed", "held"])), min_size=1), st.floats(0, 99)
)
def test_legs_never_overlap_nor_leave_a_gap_on_our_side(steps: list[tuple[float, str]], occurred: float) -> None:
    """Whatever the order of facts (a goal dated later than its promise, too), no time is counted twice."""
    moves = sorted(steps)
    made = life(*((at, state, None) for at, state in moves), (9.5, "expired", "x"), occurred=occurred)
    found = legs(made)
    assert all(leg.until > leg.since for leg in found)
    own = [
        leg for leg in found if leg.since >= made.turns[0].at and leg.phase in (Phase.QUEUE, Phase.ANSWER, Phase.HELD)
    ]
    assert sum((leg.length for leg in own), timedelta(0)) == made.turns[-1].at - made.turns[0].at
