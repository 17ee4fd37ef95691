"""Stage entries told from events: any order, any repetition, holes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.amocrm import wire
from adapters.amocrm.history import LOST, WON, Change, Moves, entries_of, is_settled, until
from bridge.model import Outcome, utc
from bridge.rules.histories import merge_history

PIPELINE = 5
ALL = (11, 12, 13, WON, LOST)


def event(number: int, lead: int, at: int, before: int | None, after: int) -> wire.StatusEvent:
    def side(stage: int | None) -> list[wire.StatusValue]:
        return [] if stage is None else [wire.StatusValue(wire.LeadStatus(stage, PIPELINE))]

    return wire.StatusEvent(f"01j{number:023d}", lead, at, side(after), side(before))


def record(stage: int, *, created: int = 100, updated: int = 100, closed: int | None = None) -> wire.Lead:
    return wire.Lead(1, created, updated, PIPELINE, stage, closed_at=closed)


@st.composite
def walks(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    """A first stage and (time, stage) of each move, no move leading where the lead is."""
    first = stage = draw(st.sampled_from(ALL))
    at, moves = 100, []
    for _ in range(draw(st.integers(0, 6))):
        at += draw(st.integers(0, 5))
        stage = draw(st.sampled_from([item for item in ALL if item != stage]))
        moves.append((at, stage))
    return first, moves


@given(walks(), st.randoms(use_true_random=False))
def test_history_is_exact_whatever_the_order_and_repetition_of_events(
    walk: tuple[int, list[tuple[int, int]]], rng: object
) -> None:
    """Events shuffled, doubled by paging and mixed with another lead's give the walk itself."""
    first, moves = walk
    stages = [first, *(stage for _, stage in moves)]
    events = [event(n, 1, at, stages[n], stage) for n, (at, stage) in enumerate(moves)]
    noise = [event(100 + n, 2, at, 11, 12) for n, (at, _) in enumerate(moves)]
    mixed = [*events, *noise, *events]
    rng.shuffle(mixed)  # type: ignore[attr-defined]  # hypothesis hands out a random.Random
    kept = Moves()
    kept.add(mixed)
    updated = moves[-1][0] if moves else 100
    lead = record(stages[-1], updated=updated)
    changes = until(lead, kept.of(1))
    entries = entries_of(lead, changes, is_known=False)
    assert [(entry.at, entry.stage) for entry in entries] == [(utc(at), str(s)) for at, s in [(100, first), *moves]]
    assert is_settled(lead, changes, 101)
    known = entries_of(lead, changes, is_known=True)
    assert [(entry.at, entry.stage) for entry in known[1:]] == [(utc(at), str(s)) for at, s in moves]
    assert [(entry.stage, entry.source) for entry in known[:1]] == [(str(first), "record")][: len(moves)]


def test_a_move_that_no_reading_saw_is_known_from_the_one_that_left_it() -> None:
    """A known lead tells from where it came: told before, that changes nothing; else the stage is not lost."""
    stored = entries_of(record(11), [], is_known=False)
    seen = [Change(200, (PIPELINE, 11), (PIPELINE, 12))]
    unseen = [Change(300, (PIPELINE, 12), (PIPELINE, LOST))]
    whole = [(utc(100), "11", "created"), (utc(200), "12", "events")]
    both = merge_history(stored, entries_of(record(12, updated=200), seen, is_known=True))
    assert [(entry.at, entry.stage, entry.source) for entry in both] == whole
    lost = merge_history(stored, entries_of(record(LOST, updated=300, closed=300), unseen, is_known=True))
    after = [(utc(299), "12", "record"), (utc(300), "143", "events")]
    assert [(entry.at, entry.stage, entry.source) for entry in lost] == [whole[0], *after]


@given(walks(), st.data())
def test_a_hole_never_hides_the_current_stage_or_breaks_the_order(
    walk: tuple[int, list[tuple[int, int]]], data: st.DataObject
) -> None:
    """With any events missing, times do not go back and the last entry is the stage of the record."""
    first, moves = walk
    stages = [first, *(stage for _, stage in moves)]
    events = [event(n, 1, at, stages[n], stage) for n, (at, stage) in enumerate(moves)]
    kept = Moves()
    kept.add([item for item in events if data.draw(st.booleans())])
    lead = record(stages[-1], updated=moves[-1][0] if moves else 100)
    entries = entries_of(lead, until(lead, kept.of(1)), is_known=False)
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    assert entries[-1].stage == str(stages[-1])


def test_a_stage_whose_entry_is_missing_is_known_from_the_move_that_left_it() -> None:
    """A to B is lost, B to C is there: B was reached at the latest when it was left."""
    changes = [Change(200, (PIPELINE, 11), (PIPELINE, 12)), Change(300, (PIPELINE, 13), (PIPELINE, LOST))]
    lead = record(LOST, updated=300, closed=300)
    assert not is_settled(lead, changes, 101)
    entries = entries_of(lead, changes, is_known=False)
    assert [(entry.stage, entry.source) for entry in entries] == [
        ("11", "created"),
        ("12", "events"),
        ("13", "record"),
        ("143", "events"),
    ]
    assert entries[-1].outcome is Outcome.LOST


def test_a_sale_without_any_event_is_dated_by_its_closing_not_by_its_creation() -> None:
    """Events may be gone for old leads; then ``closed_at`` is the best that is known."""
    (entry,) = entries_of(record(WON, updated=900, closed=500), [], is_known=False)
    assert (entry.at, entry.source) == (utc(500), "record")
    (entry,) = entries_of(record(WON, updated=900), [], is_known=False)
    assert entry.at == utc(900)
    (entry,) = entries_of(record(WON), [], is_known=False)
    assert (entry.at, entry.source) == (utc(100), "created")


def test_a_known_lead_that_did_not_move_adds_nothing() -> None:
    """Its stages are stored already; its own record must not become a second entry."""
    assert entries_of(record(12, updated=900), [], is_known=True) == ()


def test_moves_made_after_the_lead_was_read_do_not_count() -> None:
    """The events are read later than the record; what leads away from its stage belongs to the next reading."""
    changes = [Change(200, (PIPELINE, 11), (PIPELINE, 12)), Change(300, (PIPELINE, 12), (PIPELINE, 13))]
    assert until(record(12, updated=200), changes) == changes[:1]
    assert until(record(13, updated=250), changes) == changes


@pytest.mark.parametrize("first", [11, None])
def test_what_came_after_the_lead_was_read_is_left_out_though_it_led_back(first: int | None) -> None:
    """Won, lost and reopened while its page was read: told with the record's old price the sale would be worth that."""
    kept = Moves()
    moves = [] if first is None else [event(1, 1, 200, first, 12)]
    later = [event(2, 1, 300, 12, WON), event(3, 1, 310, WON, LOST), event(4, 1, 320, LOST, 12)]
    kept.add([*moves, *later])
    assert until(record(12, updated=250), kept.of(1)) == kept.of(1)[: len(moves)]
    assert until(record(12, updated=320), kept.of(1)) == kept.of(1)


def test_an_event_without_a_new_stage_is_left_out() -> None:
    """Half an event says nothing about where the lead is."""
    kept = Moves()
    kept.add([wire.StatusEvent("x", 1, 5, None, None), wire.StatusEvent("y", 1, 5, [wire.StatusValue()], None)])
    assert kept.of(1) == []
