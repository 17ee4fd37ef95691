"""Raw visits that sent a form, as touches: parsing of a log's part, times, clues. Pure (contract yandex 9.2).

There is no yclid among the fields; it is in the first address. Wall clocks are the counter's. Of ``goalsDateTime`` the
contract does not say whose clock it is (``dateTimeUTC`` is documented as UTC+3), so the log itself decides: nobody
reaches a goal before the visit begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from adapters.yandex_metrica.wire import log_lines
from bridge.errors import Drift
from bridge.matching import FORM_GOAL
from bridge.model import Clue, Deal, DealKind, IdKind, Outcome, frozen
from bridge.ports import BadRecord
from bridge.sources import UNREADABLE, digest

FIELDS = (
    "ym:s:visitID",
    "ym:s:clientID",
    "ym:s:dateTime",
    "ym:s:startURL",
    "ym:s:goalsID",
    "ym:s:goalsDateTime",
)
_GOALS = FIELDS.index("ym:s:goalsID")
_NUMBER = re.compile(rb"\d+")
_CLOCK = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")  # ClickHouse quotes the items of such a list, or escapes quotes
_FORMS_MOST = 5  # of one visit; whoever sends more is no customer
_EARLY = timedelta(minutes=1)  # so much may a goal's clock be behind the visit's
_OTHER_ZONES = (timezone(timedelta(hours=3)), UTC)


@frozen
class Row:
    """A visit with the form goals it reached. ``began`` by the counter's clock, ``forms`` by one that is not named."""

    visit: str
    client_id: str
    began: datetime
    url: str
    forms: tuple[tuple[datetime, str], ...]


def rows(body: bytes, goals: frozenset[str]) -> Iterator[Row | BadRecord]:
    """The visits of one part that reached one of these goals; the others are not even decoded.

    Raises:
        Drift: it is no table of the fields that were ordered.
    """
    wanted = frozenset(goal.encode() for goal in goals)
    for line in log_lines(body, FIELDS):
        cells = line.rstrip(b"\r\n").split(b"\t")
        if len(cells) != len(FIELDS):
            raise Drift("a line of Metrica's log is cut")
        if cells[_GOALS] != b"[]" and not wanted.isdisjoint(_NUMBER.findall(cells[_GOALS])):
            yield _row([cell.decode("utf-8", "replace") for cell in cells], goals)


def _row(cells: Sequence[str], goals: frozenset[str]) -> Row | BadRecord:
    visit, client_id, began, url, reached, times = cells
    numbers, clocks = re.findall(r"\d+", reached), _CLOCK.findall(times)
    if not visit.isdecimal():
        return _bad("unknown", cells, "ym:s:visitID")
    if len(numbers) != len(clocks):
        return _bad(visit, cells, "ym:s:goalsDateTime")
    try:
        pairs = [(_wall(clock), number) for number, clock in zip(numbers, clocks, strict=True) if number in goals]
        return Row(visit, client_id, _wall(began), url, tuple(sorted(pairs)))
    except ValueError:
        return _bad(visit, cells, "ym:s:dateTime")


def _wall(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)


def _bad(visit: str, cells: Sequence[str], field: str) -> BadRecord:
    version = digest("\t".join(cells).encode())
    key = f"visit:{visit}" if visit != "unknown" else f"visit:{visit}-{version}"
    return BadRecord(key, UNREADABLE, f"{field} is not as documented", version)


def clock_of_goals(found: Iterable[Row], counter: tzinfo) -> tzinfo:
    """Whose clock shows the times of goals: the one under which the fewest come before their visits, and the earliest.

    The counter's own where nothing decides.
    """
    waits = [(_utc(row.began, counter), at) for row in found for at, _ in row.forms]

    def cost(zone: tzinfo) -> tuple[int, timedelta]:
        after = [_utc(at, zone) - began for began, at in waits]
        return sum(wait < -_EARLY for wait in after), sum((max(wait, -_EARLY) for wait in after), timedelta(0))

    return min((counter, *_OTHER_ZONES), key=cost)


def _utc(wall: datetime, zone: tzinfo) -> datetime:
    return wall.replace(tzinfo=zone).astimezone(UTC)


def touches_of(row: Row, goals_zone: tzinfo) -> Iterator[Deal]:
    """A touch for each form, at the moment it was sent; forms of one moment are one."""
    sent: dict[datetime, str] = {}
    for at, goal in row.forms:
        sent.setdefault(_utc(at, goals_zone), goal)
    for number, (at, goal) in enumerate(list(sent.items())[:_FORMS_MOST], start=1):
        own = row.visit if number == 1 else f"{row.visit}-{number}"
        version = digest("\t".join((own, row.client_id, row.url, at.isoformat(), goal)).encode())
        clues = (Clue("clientID", row.client_id, IdKind.CLIENT_ID), Clue("startURL", row.url))
        fields = {FORM_GOAL: (goal,)}
        yield Deal(DealKind.VISIT, own, version, at, at, "", "", Outcome.OPEN, fields=fields, clues=clues)
