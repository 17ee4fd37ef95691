"""The simulated Metrica's statistics: reports and raw visits (contract yandex 9)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from aiohttp import web

from adapters.yandex_metrica.fake_limits import DeniedError, answered, day, whole
from bridge.frozen import frozen
from bridge.model import utc
from bridge.tools import Clock

FIRST_LOG = 7001
OFFSET = timedelta(hours=3)  # the counter's time zone
MAKING = timedelta(minutes=20)
_METRIC = re.compile(r"ym:s:goal(\d+)reaches|ym:s:visits")
_AT_LEAST_ONE = re.compile(r"(ym:s:goal\d+reaches)>0")
_AMONG = re.compile(r"ym:s:clientID=\.\(('\d+'(?:,'\d+')*)\)")
_DIMENSIONS: tuple[list[str], ...] = (["ym:s:clientID"], ["ym:s:clientID", "ym:s:date"], [])
_FIELDS = frozenset(
    ("ym:s:visitID", "ym:s:clientID", "ym:s:dateTime", "ym:s:startURL", "ym:s:goalsID", "ym:s:goalsDateTime")
)
_YEAR = timedelta(days=366)


# A goal reached on the site, and when, in Unix seconds.
Reach = tuple[int, int]


@frozen
class SimVisit:
    """A visit to the site. ``at`` in Unix seconds."""

    at: int
    client_id: str
    url: str

    @property
    def number(self) -> str:
        """Metrica's own, 64 bits long."""
        return f"{self.at}{int(self.client_id) % 1_000_000:06d}"


# Everything that shows in the statistics at a moment: each visit with the goals that were reached in it.
Shown = Callable[[datetime], Iterable[tuple[SimVisit, Sequence[int]]]]


@dataclass(slots=True)
class LogOrder:
    """One request for raw visits; ``rows`` are as they were when it was made."""

    id: int
    created: datetime
    date1: date
    date2: date
    fields: list[str]
    rows: list[tuple[SimVisit, Sequence[int]]] = field(repr=False)
    is_clean: bool = False


class Statistics:
    """What the rest of the counter shows. Set ``is_allowed`` and the like before or between requests."""

    def __init__(self, clock: Clock, shown: Shown) -> None:
        self.is_allowed = True  # the token may read statistics
        self.is_sampled = False
        self.log_days = 365  # longest log that the counter's size allows
        self.log_part = 1000  # visits in one part of a log
        self.making = MAKING
        self.failed: set[int] = set()  # orders of which Metrica makes nothing
        self.goals_zone = OFFSET  # whose clock shows when goals were reached: no contract tells
        self.escape = "\\"  # before the quotes in a list of times
        self.forms: dict[SimVisit, list[Reach]] = {}
        self.orders: dict[int, LogOrder] = {}
        self._clock = clock
        self._shown = shown

    def _allow(self) -> None:
        if not self.is_allowed:
            raise DeniedError(403, "access_denied", "Access is denied")

    # --- reports ---

    def report(self, query: Mapping[str, str], counter: int, goals: Iterable[int]) -> web.Response:
        """One page of ``/stat/v1/data``."""
        self._allow()
        if "ids" not in query or "metrics" not in query:
            raise DeniedError(400, "missing_parameter", "Required parameter is missing")
        if query["ids"] != str(counter):
            raise DeniedError(403, "access_denied", "Access is denied")
        dimensions = [name for name in query.get("dimensions", "").split(",") if name]
        metrics = query["metrics"].split(",")
        _check_names(dimensions, metrics, frozenset(goals))
        limit, offset = whole(query.get("limit", "100")), whole(query.get("offset", "1"))
        if not 1 <= limit <= 100_000 or offset < 1:
            raise DeniedError(400, "invalid_parameter", "Wrong parameter: limit or offset")
        rows = self._rows(query, dimensions, metrics)
        page = rows[offset - 1 : offset - 1 + limit]
        is_sampled = self.is_sampled or query.get("accuracy", "medium") != "full"
        return answered(
            {
                "query": {"ids": [counter], "dimensions": dimensions, "metrics": metrics, "limit": limit},
                "data": page,
                "total_rows": len(rows),
                "total_rows_rounded": False,
                "sampled": is_sampled,
                "contains_sensitive_data": False,
                "sample_share": 0.1 if is_sampled else 1.0,
                "data_lag": 0,
            }
        )

    def _rows(self, query: Mapping[str, str], dimensions: Sequence[str], metrics: Sequence[str]) -> list[Any]:
        """Groups whose metrics are all zero are left out, as Metrica does."""
        now = self._clock.now()
        offset = timedelta(0) if query.get("timezone") == "+00:00" else OFFSET
        today = (now + offset).date()
        first, last = day(query.get("date1", "6daysAgo"), today), day(query.get("date2", "today"), today)
        keeps = _filter(query.get("filters", ""), metrics)
        groups: dict[tuple[str, ...], Counter[str]] = {}
        for visit, goals in self._shown(now):
            on = (utc(visit.at) + offset).date()
            if first <= on <= last and keeps(visit.client_id, None):
                key = tuple(visit.client_id if name == "ym:s:clientID" else on.isoformat() for name in dimensions)
                group = groups.setdefault(key, Counter())
                group["ym:s:visits"] += 1
                group.update(f"ym:s:goal{goal}reaches" for goal in goals)
        found = [(key, group) for key, group in sorted(groups.items()) if keeps("", group)]
        return [
            {"dimensions": [{"name": value} for value in key], "metrics": [float(group[name]) for name in metrics]}
            for key, group in found
            if any(group[name] for name in metrics)
        ]

    # --- raw visits ---

    def evaluate(self, query: Mapping[str, str]) -> web.Response:
        self._allow()
        first, last, _ = self._ordered(query)
        told = {"possible": (last - first).days < self.log_days, "max_possible_day_quantity": self.log_days}
        return answered({"log_request_evaluation": told})

    def order(self, query: Mapping[str, str]) -> web.Response:
        self._allow()
        first, last, fields = self._ordered(query)
        if (last - first).days >= self.log_days:
            raise DeniedError(400, "limit_exceeded", "Too many days are requested")
        now = self._clock.now()
        rows = [(v, goals) for v, goals in self._shown(now) if first <= (utc(v.at) + OFFSET).date() <= last]
        made = LogOrder(FIRST_LOG + len(self.orders), now, first, last, fields, rows)
        self.orders[made.id] = made
        return answered({"log_request": self._view(made)})

    def _ordered(self, query: Mapping[str, str]) -> tuple[date, date, list[str]]:
        fields = query.get("fields", "").split(",")
        if query.get("source") != "visits" or not set(fields) <= _FIELDS or len(query["fields"]) > 3000:
            raise DeniedError(400, "invalid_parameter", "Wrong parameter: fields or source")
        today = (self._clock.now() + OFFSET).date()
        first, last = day(query.get("date1", ""), today), day(query.get("date2", ""), today)
        if not first <= last < today or last - first > _YEAR:
            raise DeniedError(400, "invalid_parameter", "Wrong parameter: dates; the current day is not available")
        return first, last, fields

    def listed(self) -> web.Response:
        self._allow()
        return answered({"requests": [self._view(order) for order in self.orders.values()]})

    def download(self, number: str, part: str) -> web.Response:
        """A part as a table. Its error texts are the vendor's."""
        self._allow()
        order = self._known(number)
        if self._status(order) != "processed":
            text = "Only log of requests in status 'processed' can be downloaded"
            raise DeniedError(400, "invalid_parameter", text)
        if whole(part) >= self._parts(order):
            raise DeniedError(400, "invalid_parameter", "Incorrect part number")
        start = whole(part) * self.log_part
        lines = ["\t".join(order.fields)]
        lines += [self._line(visit, goals, order.fields) for visit, goals in order.rows[start : start + self.log_part]]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/tab-separated-values")

    def clean(self, number: str) -> web.Response:
        self._allow()
        order = self._known(number)
        if self._status(order) != "processed":
            raise DeniedError(400, "invalid_parameter", "Only log of requests in status 'processed' can be cleaned")
        order.is_clean = True
        return answered({"log_request": self._view(order)})

    def _known(self, number: str) -> LogOrder:
        order = self.orders.get(whole(number))
        if order is None:
            raise DeniedError(404, "not_found", "Object not found")
        return order

    def _parts(self, order: LogOrder) -> int:
        return max(1, -(-len(order.rows) // self.log_part))

    def _status(self, order: LogOrder) -> str:
        if order.is_clean:
            return "cleaned_by_user"
        if order.id in self.failed:
            return "processing_failed"
        return "processed" if self._clock.now() - order.created >= self.making else "created"

    def _line(self, visit: SimVisit, goals: Sequence[int], fields: Sequence[str]) -> str:
        """A goal that was not reached on the site has the time of the visit."""
        left, times = list(self.forms.get(visit, ())), []
        for number in goals:
            reach = next((one for one in left if one[0] == number), (number, visit.at))
            times.append(reach[1])
            left = [one for one in left if one is not reach]
        quote = f"{self.escape}'"
        cells = {
            "ym:s:visitID": visit.number,
            "ym:s:clientID": visit.client_id,
            "ym:s:dateTime": _clock(visit.at, OFFSET),
            "ym:s:startURL": visit.url,
            "ym:s:goalsID": "[" + ",".join(map(str, goals)) + "]",
            "ym:s:goalsDateTime": "[" + ",".join(f"{quote}{_clock(at, self.goals_zone)}{quote}" for at in times) + "]",
        }
        return "\t".join(cells[name] for name in fields)

    def _view(self, order: LogOrder) -> dict[str, Any]:
        status = self._status(order)
        told = {
            "request_id": order.id,
            "source": "visits",
            "date1": order.date1.isoformat(),
            "date2": order.date2.isoformat(),
            "fields": order.fields,
            "status": status,
            "attribution": "LASTSIGN",
        }
        if status == "processed":
            told |= {"size": 1, "parts": [{"part_number": n, "size": 1} for n in range(self._parts(order))]}
        return told


def _check_names(dimensions: Sequence[str], metrics: Sequence[str], goals: frozenset[int]) -> None:
    found = [_METRIC.fullmatch(name) for name in metrics]
    known = all(match is not None and (match[1] is None or int(match[1]) in goals) for match in found)
    if list(dimensions) not in _DIMENSIONS or not known or len(metrics) > 20:
        raise DeniedError(400, "invalid_parameter", "Wrong parameter: dimensions or metrics")


def _filter(text: str, metrics: Sequence[str]) -> Callable[[str, Counter[str] | None], bool]:
    """Called with a visitor before grouping, and with a group's metrics after it."""
    if not text:
        return lambda visitor, group: True
    among = _AMONG.fullmatch(text)
    if among is not None:
        listed = [value.strip("'") for value in among[1].split(",")]
        wanted = frozenset(listed)
        if len(listed) > 100 or len(text) > 10_000:
            raise DeniedError(400, "filter_limits", "Too many values in a filter")
        return lambda visitor, group: group is not None or visitor in wanted
    terms = [_AT_LEAST_ONE.fullmatch(term) for term in text.split(" OR ")]
    names = [term[1] for term in terms if term is not None and term[1] in metrics]
    if len(names) != len(terms):
        raise DeniedError(400, "invalid_parameter", "Wrong parameter: filters")
    if len(names) > 10:
        raise DeniedError(400, "filter_limits", "Too many attributes in a filter")
    return lambda visitor, group: group is None or any(group[name] for name in names)


def _clock(at: int, zone: timedelta) -> str:
    return (utc(at) + zone).strftime("%Y-%m-%d %H:%M:%S")
