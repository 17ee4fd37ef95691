"""Partial histories become one: what was truly seen stays, stand-ins give way, the present comes last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bridge.catalogue import Catalogue
from bridge.config import Goal
from bridge.frozen import frozen, replace
from bridge.loops import poll
from bridge.model import Deal, Money, Outcome, StageChange, ValueChange
from bridge.rules.histories import merge_history, merge_values
from bridge.store import Store, schema
from tests.store import kit as rows_kit
from tests.store.kit import ADS
from tests.support import START
from tests.unit.loops.kit import DAY, Ads, Crm, office
from tests.unit.loops.test_poll import lead

STAGES = "ABC"


def entered(stage: str, minute: float, source: str = "events") -> StageChange:
    return StageChange(START + timedelta(minutes=minute), "1", stage, Outcome.OPEN, source)


def record(stage: str, minute: float) -> StageChange:
    """What the record itself says of its present stage, for want of a history."""
    return entered(stage, minute, "record")


def test_what_was_known_and_what_is_new_are_joined_in_time_order() -> None:
    """Each entry once, whichever reading brought it first."""
    first, second, third = entered("A", 0), entered("B", 10), entered("A", 20)
    assert merge_history([first, second], [second, third]) == (first, second, third)
    assert merge_history([third], [first, second]) == (first, second, third)


def test_a_stand_in_gives_way_to_the_true_entry_of_its_stage() -> None:
    """The record was read before its history could be: the true, earlier time takes its place."""
    assert merge_history([entered("A", 0), record("B", 15)], [entered("B", 10)]) == (entered("A", 0), entered("B", 10))


def test_values_of_several_readings_become_one_history() -> None:
    """What was known stays, what a reading tells is added, and what nothing tells of came with the record."""
    first = replace(lead(1), value=Money(500, "RUB"))
    assert worth(first, first) == [(first.created_at, 500)]
    told = (ValueChange(START, Money(700, "RUB")),)
    second = replace(first, value=Money(700, "RUB"), value_changes=told, updated_at=START + DAY)
    assert worth(first, second) == [(first.created_at, 500), (START, 700)]
    known = replace(second, value_changes=merge_values(first, second))
    silent = replace(first, value=Money(900, "RUB"), updated_at=START + 2 * DAY)
    assert worth(known, silent) == [(first.created_at, 500), (START, 700), (START + 2 * DAY, 900)]
    assert worth(known, second) == [(first.created_at, 500), (START, 700)]


async def test_a_goal_reached_before_the_value_changed_keeps_its_own(store: Store) -> None:
    """Read at 500, later at 900: the qualified lead stays worth 500 and nothing is restated, the sale is worth 900."""
    goals = [
        Goal.model_validate({"name": "in", "when": {"stage": "10"}, "value": "deal_at_goal", "send": {ADS: "a"}}),
        Goal.model_validate({"name": "sale", "when": {"outcome": "won"}, "value": "deal", "send": {ADS: "b"}}),
    ]
    crm = Crm(names=Catalogue(is_open=True))
    made = office(store, {ADS: Ads()}, {"crm": crm}, goals)
    early = replace(lead(1, stage="10"), value=Money(500, "RUB"))
    sold = lead(1, START, version="v2")
    sold = replace(sold, value=Money(900, "RUB"), created_at=early.created_at)
    for deal in (early, sold):
        crm.scans = [[crm.shows(deal)], []]
        assert (await poll.once(made.tenant, force=True)).problems == []
        made.clock.advance(DAY)
    found = {row["goal"]: row["value_minor"] for row in await rows_kit.rows(store, schema.conversion)}
    assert found == {"in": 500, "sale": 900}


def worth(before: Deal, now: Deal) -> list[tuple[datetime, int]]:
    return [(change.at, change.value.minor) for change in merge_values(before, now)]


def test_a_stand_in_of_another_visit_stays() -> None:
    """The stage was entered again later: the first entry does not stand for the second."""
    known = [entered("A", 0), entered("B", 10), entered("C", 20)]
    assert merge_history(known, [record("B", 30)]) == (*known, record("B", 30))


def test_a_stand_in_goes_when_the_same_stage_was_truly_entered_before_it() -> None:
    """An edit moves the record's own time, not the entry's."""
    known = [entered("A", 0), entered("B", 10)]
    assert merge_history(known, [record("B", 30)]) == tuple(known)


@frozen
class Life:
    """A deal's true stage entries, and the readings of it: each with the entries it saw and its last word."""

    entries: tuple[StageChange, ...]
    readings: tuple[tuple[StageChange, ...], ...]


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Every reading sees any of the entries so far; where it misses the last one, the record stands in for it."""
    minutes = sorted(draw(st.sets(st.integers(0, 1000), min_size=1, max_size=8)))
    entries: list[StageChange] = []
    for minute in minutes:
        stage = draw(st.sampled_from([s for s in STAGES if not entries or s != entries[-1].stage]))
        entries.append(entered(stage, minute))
    readings = []
    for length in sorted(draw(st.lists(st.integers(1, len(entries)), min_size=1, max_size=4))):
        so_far = entries[:length]
        seen = [entry for entry in so_far if draw(st.booleans())]
        if so_far[-1] not in seen:
            after = minutes[length] - minutes[length - 1] if length < len(minutes) else 1000
            late = draw(st.floats(0, 0.9)) * after
            seen.append(record(so_far[-1].stage, minutes[length - 1] + late))
        readings.append(tuple(seen))
    return Life(tuple(entries), tuple(readings))


def merged(readings: Sequence[Sequence[StageChange]]) -> list[tuple[StageChange, ...]]:
    """The history after each reading."""
    history: tuple[StageChange, ...] = ()
    result = []
    for reading in readings:
        history = merge_history(history, reading)
        result.append(history)
    return result


@given(lives())
def test_every_true_entry_that_was_ever_read_stays(life: Life) -> None:
    """Once, and with its own time."""
    for number, history in enumerate(merged(life.readings)):
        read = {c for reading in life.readings[: number + 1] for c in reading if c.source != "record"}
        assert {c for c in history if c.source != "record"} == read
        assert len(set(history)) == len(history)


@given(lives())
def test_a_history_is_in_time_order_and_ends_in_the_present(life: Life) -> None:
    """The stage in which the last reading found the deal is the last one, true or standing in."""
    for reading, history in zip(life.readings, merged(life.readings), strict=True):
        assert list(history) == sorted(history, key=lambda c: c.at)
        assert history[-1].stage == reading[-1].stage


@given(lives())
def test_reading_the_same_again_changes_nothing(life: Life) -> None:
    """Nor does the order of two readings of one moment."""
    history = merged(life.readings)[-1]
    assert merge_history(history, life.readings[-1]) == history
    assert merge_history(history, history) == history


@given(lives())
def test_no_stand_in_survives_its_true_entry(life: Life) -> None:
    """When in the end the whole history is read, nothing but the truth is left."""
    assert merge_history(merged(life.readings)[-1], life.entries) == life.entries
