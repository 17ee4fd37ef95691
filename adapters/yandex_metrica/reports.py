"""Metrica's reports: who reached which goal, and when a visitor came (contract yandex 9.1).

What was read is kept for a while: all batches of a turn are judged by the same answers, so the number of requests does
not grow with the number of batches. A login has 200 reports in five minutes, 5000 requests a day (contract yandex 10).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from adapters.yandex_metrica.evidence import Reaches, client_ids
from adapters.yandex_metrica.mapping import REPORTS
from adapters.yandex_metrica.wire import Goal, GoalsReply, Report, ReportRow, read
from bridge.errors import Drift, Refused
from bridge.model import Outgoing
from bridge.tools import Account, Clock, Request

PAGE = 100_000  # contract yandex 9.1: the largest limit
_GOALS_AT_ONCE = 10  # distinct attributes of a filter
_VISITORS_AT_ONCE = 100  # values of a filter
_TIMEOUT = 180.0
_BY_DAY = "ym:s:clientID,ym:s:date"
# Visits older than this explain nothing that the shorter reasons do not.
_LOOK_BACK = timedelta(days=180)


class Reports:
    """The reports of one counter. ``fresh``: how long an answer counts; ``reach``: how old a visit may be."""

    zone: tuple[tuple[str, str], ...] = (("timezone", "+00:00"),)  # of the days

    def __init__(self, account: Account, clock: Clock, counter_id: int, *, fresh: timedelta, reach: timedelta) -> None:
        self._account = account
        self._clock = clock
        self._counter_id = counter_id
        self._fresh = fresh
        self._reach = reach
        self._reaches: dict[int, Reaches] = {}
        self._goals: tuple[datetime, Sequence[Goal]] | None = None

    async def goals(self) -> Sequence[Goal]:
        """The counter's goals, deleted ones left out."""
        now = self._clock.now()
        if self._goals is None or now - self._goals[0] >= self._fresh:
            url = f"/management/v1/counter/{self._counter_id}/goals"
            response = await self._account.send(Request("GET", url, params=(("useDeleted", "false"),), is_safe=True))
            self._goals = now, read(GoalsReply, response).goals
        return self._goals[1]

    async def reaches(self, goals: Iterable[int]) -> Mapping[int, Reaches]:
        """Who reached these goals, by goal.

        Raises:
            Refused: this token may not read reports (``access_denied``), or the report is not made.
        """
        now = self._clock.now()
        wanted = sorted(set(goals))
        stale = [goal for goal in wanted if not self._is_fresh(goal, now)]
        for start in range(0, len(stale), _GOALS_AT_ONCE):
            await self._read_reaches(stale[start : start + _GOALS_AT_ONCE], now)
        return {goal: self._reaches[goal] for goal in wanted}

    def _is_fresh(self, goal: int, now: datetime) -> bool:
        known = self._reaches.get(goal)
        return known is not None and now - known.taken_at < self._fresh

    async def _read_reaches(self, goals: Sequence[int], now: datetime) -> None:
        """A row for each visitor and day with any of the goals; the filter keeps all the others away."""
        metrics = [f"ym:s:goal{goal}reaches" for goal in goals]
        counts = {goal: defaultdict[str, list[tuple[date, int]]](list) for goal in goals}
        is_whole = True
        query = (
            ("dimensions", _BY_DAY),
            ("metrics", ",".join(metrics)),
            ("filters", " OR ".join(f"{metric}>0" for metric in metrics)),
            ("date1", _day(now - self._reach)),
        )
        async for page in self._pages(query):
            is_whole = is_whole and page.is_whole
            for row in page.data:
                visitor, day = _place(row, len(goals))
                for goal, count in zip(goals, row.metrics, strict=True):
                    if count:
                        counts[goal][visitor].append((day, int(count)))
        self._reaches |= {goal: Reaches(now, counts[goal], is_whole) for goal in goals}

    async def visit_days(self, visitors: Iterable[str]) -> Mapping[str, Sequence[date]]:
        """On which days (UTC) each of these ClientIDs visited the site; who never did is not named."""
        wanted = sorted(set(visitors))
        days: defaultdict[str, list[date]] = defaultdict(list)
        for start in range(0, len(wanted), _VISITORS_AT_ONCE):
            listed = ",".join(f"'{visitor}'" for visitor in wanted[start : start + _VISITORS_AT_ONCE])
            query = (
                ("dimensions", _BY_DAY),
                ("metrics", "ym:s:visits"),
                ("filters", f"ym:s:clientID=.({listed})"),
                ("date1", _day(self._clock.now() - _LOOK_BACK)),
            )
            async for page in self._pages(query):
                for row in page.data:
                    visitor, day = _place(row, 1)
                    days[visitor].append(day)
        return days

    async def days_of(self, rows: Iterable[Outgoing]) -> Mapping[str, Sequence[date]] | None:
        """When the visitors of rows came; None if that report is refused, which only leaves a reason open."""
        try:
            return await self.visit_days(value for row in rows for value in client_ids(row))
        except Refused:
            return None

    async def _pages(self, query: Sequence[tuple[str, str]]) -> AsyncIterator[Report]:
        count = 0
        while True:
            paging = (("limit", str(PAGE)), ("offset", str(count + 1)))  # counted from 1 (contract yandex 14)
            page = read(Report, await self._account.send(self._request((*query, *paging))))
            yield page
            count += len(page.data)
            if count >= page.total_rows:
                return
            if not page.data:
                raise Drift("Metrica's report ends before its last row")

    def _request(self, query: Sequence[tuple[str, str]]) -> Request:
        always = (
            ("ids", str(self._counter_id)),
            ("date2", "today"),
            ("accuracy", "full"),  # a sample could not show that somebody is absent
            *self.zone,
        )
        return Request("GET", "/stat/v1/data", (*always, *query), is_safe=True, scope=REPORTS, timeout=_TIMEOUT)


class OwnDays(Reports):
    """The same by the days of the counter's own time zone."""

    zone = ()


def _day(moment: datetime) -> str:
    return moment.date().isoformat()


def _place(row: ReportRow, metrics: int) -> tuple[str, date]:
    """Visitor and day of a row."""
    if len(row.dimensions) != 2 or len(row.metrics) != metrics:
        raise Drift("a row of Metrica's report has other columns than were asked for")
    try:
        return row.dimensions[0].text, date.fromisoformat(row.dimensions[1].text[:10])
    except ValueError:
        raise Drift("Metrica's report names a day that is none") from None
