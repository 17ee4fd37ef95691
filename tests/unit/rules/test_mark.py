"""What a deal's mark says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from bridge.marks import LONGEST, Mark
from bridge.rules.mark import SHOWN, Told, mark_of
from bridge.states import DeliveryState

MOSCOW = ZoneInfo("Europe/Moscow")
AT = datetime(2026, 3, 10, 22, 30, tzinfo=UTC)  # in Moscow it is the eleventh


def told(state: DeliveryState = DeliveryState.VERIFIED, **values: Any) -> Told:
    plain = {"goal": "sale", "destination": "metrica", "occurrence": "once", "revision": 0, "code": "", "at": AT}
    return Told(state=state, **{**plain, **values})


def text(*items: Told) -> str:
    return mark_of("lead:1", items, MOSCOW).text


def test_each_goal_and_destination_has_its_part() -> None:
    """In order of their names, with the outcome and its day in the tenant's time zone."""
    items = [told(), told(DeliveryState.ACCEPTED, goal="good", at=AT - timedelta(days=1)), told(destination="ads")]
    assert mark_of("lead:1", items, MOSCOW) == Mark(
        "lead:1",
        "good → metrica: accepted 2026-03-10; sale → ads: verified 2026-03-11; sale → metrica: verified 2026-03-11",
        is_sent=True,
    )


def test_a_bad_end_says_why() -> None:
    """With the reason's code; nothing has been sent then."""
    mark = mark_of("lead:1", [told(DeliveryState.REJECTED, code="no_visit")], MOSCOW)
    assert mark == Mark("lead:1", "sale → metrica: rejected (no_visit) 2026-03-11", is_sent=False)


def test_what_has_no_outcome_is_not_told() -> None:
    """Pending and sealed rows show nothing, nor does a correction on its way hide what was sent."""
    assert text(told(DeliveryState.PENDING), told(DeliveryState.SEALED, destination="ads")) == ""
    assert text(told(), told(DeliveryState.PENDING, revision=1)) == "sale → metrica: verified 2026-03-11"


def test_a_correction_replaces_what_it_corrects() -> None:
    """Of several revisions the newest one with an outcome."""
    items = [told(DeliveryState.REJECTED, revision=1, code="late"), told(revision=0)]
    assert text(*items) == "sale → metrica: rejected (late) 2026-03-11"


def test_payments_are_counted() -> None:
    """Several occurrences of one goal: how many ended how, and the day of the latest."""
    items = [told(occurrence=f"payment:{number}", at=AT - timedelta(days=number)) for number in range(1, 4)]
    items.append(told(DeliveryState.REJECTED, occurrence="payment:9", code="late", at=AT - timedelta(days=9)))
    assert text(*items) == "sale → metrica: 3 verified, 1 rejected 2026-03-10"


_ITEMS = st.lists(
    st.builds(
        Told,
        goal=st.sampled_from(["qualified", "sale", "g" * 40]),
        destination=st.sampled_from([*(f"ads-{number}" for number in range(8)), "d" * 40]),
        occurrence=st.sampled_from(["once", "payment:1"]),
        revision=st.integers(0, 2),
        state=st.sampled_from(DeliveryState),
        code=st.text("abc_", max_size=200),
        at=st.integers(0, 300).map(lambda days: AT + timedelta(days=days)),
    ),
    max_size=30,
    unique_by=lambda item: (item.goal, item.destination, item.occurrence, item.revision),
)


@given(_ITEMS, st.randoms())
def test_a_text_fits_and_does_not_depend_on_the_order(items: list[Told], dice: Any) -> None:
    """Never longer than a field takes, one line, the same for the same facts; empty only without any outcome."""
    made = text(*items)
    mixed = list(items)
    dice.shuffle(mixed)
    assert text(*mixed) == made
    assert len(made) <= LONGEST
    assert "\n" not in made
    assert bool(made) == any(item.state in SHOWN for item in items)
