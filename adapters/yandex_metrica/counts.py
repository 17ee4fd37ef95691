"""What a counter's reports count of each goal and day, beside what it was sent. Pure but for ``Counting``.

Metrica shows a conversion on the day of the visit it was linked to (contract yandex 2.5), in the counter's time zone.
So a row of ours belongs to the day on which the reports show its visitor reaching the goal. A row without a ClientID
may be any of the reaches that no row with one explains: where others reach the goal, too, its loss can stay unseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta, timezone, tzinfo

from adapters.yandex_metrica import evidence
from adapters.yandex_metrica.evidence import WINDOW, Reaches
from adapters.yandex_metrica.reports import Reports
from adapters.yandex_metrica.wire import Counter as CounterInfo
from bridge.audits import Counts, DayCount, Sent, by_target
from bridge.model import IdKind, Outgoing, frozen
from bridge.tools import Clock

SAMPLED = "the counter's report is not whole"

# What one visitor reached on one day, and how much of it is still unexplained.
_Cells = dict[str, list[tuple[date, int]]]


@frozen
class Day:
    """When a row must show, and where it belongs if it does not."""

    first: date
    last: date
    usual: date

    @classmethod
    def of(cls, row: Outgoing, zone: tzinfo) -> Day:
        """Visits that it can be linked to: not after it, and 21 days before it at most."""
        last = row.occurred_at.astimezone(zone).date()
        clicked = row.clicked_by.astimezone(zone).date()
        return cls((row.occurred_at - WINDOW).astimezone(zone).date(), last, min(clicked, last))


class Counting:
    """Reads the counts. ``young``: for how long after its acceptance a row may be absent."""

    def __init__(self, reports: Reports, clock: Clock, young: timedelta) -> None:
        self._reports = reports
        self._clock = clock
        self._young = young

    async def counts(self, sent: Sequence[Sent], zone: tzinfo) -> Counts:
        """Of every target that these rows went to. ``zone``: the counter's."""
        goals = await self._reports.goals()
        rows = by_target(sent)
        numbers = {target: evidence.goals_of(target, goals) for target in rows}
        reaches = await self._reports.reaches(goal for found in numbers.values() for goal in found)
        days: list[DayCount] = []
        untold: list[tuple[str, str]] = []
        settled = self._clock.now() - self._young
        for target, own in rows.items():
            seen = [reaches[goal] for goal in numbers[target]]
            if not all(one.is_whole for one in seen):
                untold.append((target, SAMPLED))
                continue
            # Two goals on one event are reached together: the busiest counts. A goal that is gone counts nothing.
            busiest = max(seen, key=_total, default=Reaches(settled, {}, is_whole=True))
            days += tally(target, own, busiest, settled, zone)
        return Counts(tuple(days), tuple(untold))


def _total(reaches: Reaches) -> int:
    return sum(count for days in reaches.counts.values() for _, count in days)


def tally(target: str, sent: Sequence[Sent], reaches: Reaches, settled: datetime, zone: tzinfo) -> list[DayCount]:
    """One goal day by day. Rows accepted after ``settled`` may be absent."""
    cells: _Cells = {visitor: sorted(days) for visitor, days in reaches.counts.items()}
    theirs: Counter[date] = Counter()
    for days in cells.values():
        for day, count in days:
            theirs[day] += count
    ours: Counter[date] = Counter()
    missing: Counter[date] = Counter()
    young: Counter[date] = Counter()
    rows = _distinct(sent)
    # What should show by now comes first: a row that is still on its way must not take the place of another.
    old, new = ([one for one in rows if (one.answered_at > settled) is is_young] for is_young in (False, True))
    for one, shown in _placed(old, cells, zone) + _placed(new, cells, zone):
        where = shown or Day.of(one.row, zone).usual
        ours[where] += 1
        if shown is None:
            (young if one.answered_at > settled else missing)[where] += 1
    return [
        DayCount(target, day, ours[day], theirs[day], missing[day], young[day]) for day in sorted(ours.keys() | theirs)
    ]


def _distinct(sent: Iterable[Sent]) -> list[Sent]:
    """Rows of the same identifier and second are one reach (contract yandex 2.6); in order of time."""
    rows = {(evidence.sent_as(one.row), int(one.row.occurred_at.timestamp())): one for one in sent}
    return sorted(rows.values(), key=lambda one: one.row.occurred_at)


def _placed(sent: Sequence[Sent], cells: _Cells, zone: tzinfo) -> list[tuple[Sent, date | None]]:
    """Each row with the day on which a reach explains it: first by its visitor, then any that is left.

    All rows fit the same number of days, so going from the last row to the first and from the last day to the first
    explains as many of a visitor's as can be.
    """
    found: list[tuple[Sent, date | None]] = []
    rest: list[tuple[Day, Sent]] = []
    for one in reversed(sent):
        wanted = Day.of(one.row, zone)
        day = _take(evidence.client_ids(one.row), wanted, cells)
        if day is not None or evidence.sent_as(one.row)[0] is IdKind.CLIENT_ID:
            found.append((one, day))
        else:
            rest.append((wanted, one))
    free = Counter(day for days in cells.values() for day, count in days for _ in range(count))
    for wanted, one in sorted(rest, key=lambda item: item[0].usual, reverse=True):
        fit = [day for day, count in free.items() if count and wanted.first <= day <= wanted.last]
        nearest = max(fit, key=lambda day: (day <= wanted.usual, day), default=None)
        if nearest is not None:
            free[nearest] -= 1
            _use(cells, nearest)
        found.append((one, nearest))
    return found


def _take(visitors: Iterable[str], wanted: Day, cells: _Cells) -> date | None:
    """The latest fitting day of these visitors, used up by one."""
    for visitor in visitors:
        days = cells.get(visitor, [])
        for index in range(len(days) - 1, -1, -1):
            day, count = days[index]
            if count and wanted.first <= day <= wanted.last:
                days[index] = day, count - 1
                return day
    return None


def _use(cells: _Cells, day: date) -> None:
    """One reach of a day, whoever's, is explained."""
    for days in cells.values():
        for index, (own, count) in enumerate(days):
            if own == day and count:
                days[index] = own, count - 1
                return


def zone_of(counter: CounterInfo) -> tzinfo:
    """A counter's time zone (contract yandex 6), by its name where that is known here."""
    return counter.zone or timezone(timedelta(minutes=counter.time_zone_offset or 0))
