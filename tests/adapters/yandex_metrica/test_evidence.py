"""What statistics say of rows, as pure judgement."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.yandex_metrica.evidence import (
    Reaches,
    Visit,
    by_absence,
    by_reaches,
    by_visits,
    client_ids,
    doubt,
    goals_of,
    yclid_of,
)
from adapters.yandex_metrica.wire import Condition, Goal
from bridge.model import IdKind, Outgoing
from bridge.ports import Seen
from tests.adapters.yandex_metrica.helpers import CLIENT_ID, DAY, HOUR, YCLID, row
from tests.support import START

TARGETS = {"qualified_lead": (5,)}


def _goal(number: int, condition: str, url: str | None, kind: str = "action") -> Goal:
    return Goal(number, type=kind, conditions=[Condition(condition, url)])


def _reaches(counts: dict[str, int], *, days: int = 0, is_whole: bool = True) -> Reaches:
    """Each visitor's reaches, in a visit so many days from START."""
    day = (START + days * DAY).date()
    return Reaches(START, {visitor: [(day, count)] for visitor, count in counts.items()}, is_whole)


def test_an_event_reaches_exact_goals_and_those_it_contains() -> None:
    """A "contains" goal is reached by our event, too; a goal of another kind never."""
    goals = [
        _goal(1, "exact", "qualified_lead"),
        _goal(2, "contain", "lead"),
        _goal(3, "exact", "lead"),
        _goal(4, "exact", "qualified_lead", "url"),
        _goal(5, "contain", ""),
        _goal(6, "exact", None),
        Goal(7, type="action"),
    ]
    assert goals_of("qualified_lead", goals) == (1, 2)


def test_an_event_of_two_goals_is_not_counted_twice() -> None:
    """Two goals on one event are reached together: one reach each is one conversion."""
    rows = [row((IdKind.CLIENT_ID, CLIENT_ID), number=n, occurred_at=START - n * HOUR) for n in (1, 2)]
    once = {5: _reaches({CLIENT_ID: 1}), 6: _reaches({CLIENT_ID: 1})}
    assert by_reaches(rows, {"qualified_lead": (5, 6)}, once, START) == {}
    twice = {5: _reaches({CLIENT_ID: 1}), 6: _reaches({CLIENT_ID: 2})}
    assert len(by_reaches(rows, {"qualified_lead": (5, 6)}, twice, START)) == 2


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=12),
    st.dictionaries(st.integers(0, 3), st.integers(0, 4)),
)
def test_no_visitor_is_credited_with_more_conversions_than_reaches(
    pairs: list[tuple[int, int]], counts: dict[int, int]
) -> None:
    """However the rows repeat: of each visitor either all its distinct conversions are seen, or none."""
    rows = [
        row((IdKind.CLIENT_ID, f"17000000000{visitor}"), number=number, occurred_at=START - hours * HOUR)
        for number, (visitor, hours) in enumerate(pairs)
    ]
    reaches = {5: _reaches({f"17000000000{visitor}": count for visitor, count in counts.items()})}
    seen = by_reaches(rows, TARGETS, reaches, START)
    for visitor in range(4):
        own = [item for item in rows if client_ids(item) == (f"17000000000{visitor}",)]
        distinct = len({item.occurred_at for item in own})
        expected = len(own) if distinct <= counts.get(visitor, 0) else 0
        assert sum(item.delivery in seen for item in own) == expected


def test_what_was_not_wholly_read_is_doubted() -> None:
    """A reach too few, or a sample: no absence is concluded."""
    item = row((IdKind.CLIENT_ID, CLIENT_ID))
    assert doubt(item, (5,), {5: _reaches({"1": 1})}, START) == ""
    assert doubt(item, (5,), {5: _reaches({CLIENT_ID: 1})}, START) == "partly_seen"
    assert doubt(item, (5,), {5: _reaches({CLIENT_ID: 1}, days=1)}, START) == ""
    assert doubt(item, (5,), {5: _reaches({}, is_whole=False)}, START) == "sampled"


@pytest.mark.parametrize(("days", "is_seen"), [(-22, False), (-21, True), (-1, True), (0, True), (1, False)])
def test_only_visits_that_may_hold_a_conversion_count(days: int, is_seen: bool) -> None:
    """Not after it, and at most 21 days before it is processed: another visit's reach is another conversion's."""
    item = row((IdKind.CLIENT_ID, CLIENT_ID))
    assert bool(by_reaches([item], TARGETS, {5: _reaches({CLIENT_ID: 1}, days=days)}, START)) is is_seen


def test_each_conversion_needs_a_reach_of_its_own_by_its_time() -> None:
    """Two visits and two conversions are two proofs; two conversions and only the later visit are none."""
    early, late = (row((IdKind.CLIENT_ID, CLIENT_ID), number=n, occurred_at=START + n * DAY) for n in (1, 5))
    days = [(START.date(), 1), ((START + 4 * DAY).date(), 1)]
    both = {5: Reaches(START, {CLIENT_ID: days}, is_whole=True)}
    assert len(by_reaches([early, late], TARGETS, both, START + 5 * DAY)) == 2
    later_only = {5: Reaches(START, {CLIENT_ID: days[1:]}, is_whole=True)}
    assert by_reaches([early, late], TARGETS, later_only, START + 5 * DAY) == {}


@pytest.mark.parametrize(
    ("days", "code"),
    [
        ([], "unknown_id"),
        ([1, 5], "visit_after_conversion"),
        ([-30, -22], "visit_too_old"),
        ([-21], "not_seen"),
        ([-30, 0], "not_seen"),
        ([-30, 3], "visit_too_old"),
    ],
)
def test_the_likeliest_reason_comes_from_the_days_of_the_visits(days: list[int], code: str) -> None:
    """Days from the conversion, which was uploaded at once."""
    item = row((IdKind.CLIENT_ID, CLIENT_ID), occurred_at=START)
    verdict = by_absence(item, {CLIENT_ID: [date(2026, 3, 2) + timedelta(days=n) for n in days]}, START)
    assert (verdict.seen, verdict.code) == (Seen.UNLINKED, code)


@pytest.mark.parametrize("kind", [IdKind.USER_ID, IdKind.PURCHASE_ID, IdKind.YCLID])
def test_a_stranger_proves_nothing_of_a_row_sent_by_another_identifier(kind: IdKind) -> None:
    """Its ClientID may be wrong while the identifier it was sent by matched."""
    item = row((IdKind.CLIENT_ID, CLIENT_ID), (kind, YCLID))
    sent_first = kind is IdKind.YCLID
    verdict = by_absence(item, {}, START)
    assert verdict.seen is (Seen.UNKNOWN if sent_first else Seen.UNLINKED)


@pytest.mark.parametrize(
    ("url", "yclid"),
    [
        ("https://okna.example/?yclid=12345000000000000001", YCLID),
        ("https://okna.example/?utm_source=yandex&yclid=12345000000000000001#top", YCLID),
        ("https://okna.example/?yclid=12345000000000000001&x=1", YCLID),
        ("https://okna.example/?ysclid=12345000000000000001", ""),
        ("https://okna.example/?yclid=123450000000000000012", ""),
        ("https://okna.example/?yclid={yclid}", ""),
        ("https://okna.example/", ""),
    ],
)
def test_a_click_id_is_read_from_the_first_address(url: str, yclid: str) -> None:
    """A whole, well-formed yclid and nothing that only looks like one."""
    assert yclid_of(url) == yclid


def _by_visits(item: Outgoing, *visits: Visit) -> tuple[Seen, str]:
    verdict = by_visits([item], TARGETS, {YCLID: visits}, START)[item.delivery]
    return verdict.seen, verdict.code


def test_each_fate_of_a_visit_has_its_verdict() -> None:
    """Goal reached; no such visit; after the conversion; too old; in time and still without the goal."""
    item = row(occurred_at=START - HOUR)
    assert _by_visits(item, Visit(START - 2 * HOUR, (4, 5))) == (Seen.VERIFIED, "visit_log")
    assert _by_visits(item, Visit(START - 9 * HOUR, ()), Visit(START, (5,))) == (Seen.VERIFIED, "visit_log")
    assert _by_visits(item) == (Seen.UNLINKED, "unknown_id")
    assert _by_visits(item, Visit(START, (4,))) == (Seen.UNLINKED, "visit_after_conversion")
    assert _by_visits(item, Visit(START - 22 * DAY, ())) == (Seen.UNLINKED, "visit_too_old")
    assert _by_visits(item, Visit(START - 2 * HOUR, (4,))) == (Seen.UNLINKED, "not_seen")
