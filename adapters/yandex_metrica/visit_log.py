"""Metrica's raw visits: which goals the visit of a click id reached (contract yandex 9.2).

The reports know no yclid; the first address of a visit does. A log is ordered once a day for the whole counter, since
Metrica neither filters it nor gives the current day. Nothing has to be remembered: an order is found again by its
fields and days.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from io import BytesIO

from adapters.yandex_metrica.evidence import WINDOW, Visit, yclid_of
from adapters.yandex_metrica.mapping import LOGS
from adapters.yandex_metrica.wire import (
    CounterReply,
    LogEvaluation,
    LogEvaluationReply,
    LogRequest,
    LogRequestReply,
    LogRequestsReply,
    read,
)
from bridge.errors import Drift
from bridge.tools import Account, Clock, Request, Response

# Their order marks the orders of ours among those of other tools.
FIELDS = ("ym:s:startURL", "ym:s:goalsID", "ym:s:dateTime")
PROCESSING = timedelta(hours=3)  # Metrica processes a file within two hours (contract yandex 2.4)
_SPAN = WINDOW + timedelta(days=5)
_MAKING = frozenset({"created", "awaiting_retry"})
_FAILED = frozenset({"processing_failed", "canceled"})
_TIMEOUT = 600.0


class VisitLog:
    """The raw visits of one counter that began with a click on an ad."""

    def __init__(self, account: Account, clock: Clock, counter_id: int) -> None:
        self._account = account
        self._clock = clock
        self._root = f"/management/v1/counter/{counter_id}"
        self._offset: timedelta | None = None
        self._read: tuple[int, Mapping[str, Sequence[Visit]]] | None = None

    async def visits(self, answered_at: datetime) -> Mapping[str, Sequence[Visit]] | None:
        """Visits by yclid, as they stood after a file sent then was processed; None while no such log is there.

        Raises:
            Refused: this token may not read logs, or the counter is too large for one.
        """
        processed_on = await self._local_day(answered_at + PROCESSING)
        yesterday = await self._local_day(self._clock.now()) - timedelta(days=1)
        if yesterday < processed_on:
            return None  # a log of a day is made after it has ended
        ours = [order for order in await self._orders() if _last_day(order) >= processed_on.isoformat()]
        ready = max((order for order in ours if order.status == "processed"), key=_last_day, default=None)
        if ready is not None:
            return await self._content(ready)
        if not any(_is_waited_for(order, yesterday) for order in ours):
            await self._order(yesterday)
        return None

    async def evaluate(self) -> LogEvaluation:
        """Whether Metrica would make the log we need."""
        yesterday = await self._local_day(self._clock.now()) - timedelta(days=1)
        response = await self._account.send(self._get("/logrequests/evaluate", _query(yesterday)))
        return read(LogEvaluationReply, response).log_request_evaluation

    async def _orders(self) -> list[LogRequest]:
        response = await self._account.send(self._get("/logrequests"))
        return [order for order in read(LogRequestsReply, response).requests if tuple(order.fields or ()) == FIELDS]

    async def _order(self, yesterday: date) -> None:
        url = f"{self._root}/logrequests"
        made = await self._account.send(Request("POST", url, params=_query(yesterday), scope=LOGS))
        read(LogRequestReply, made)

    async def _content(self, order: LogRequest) -> Mapping[str, Sequence[Visit]]:
        if self._read is None or self._read[0] != order.request_id:
            offset = await self._utc_offset()
            found: defaultdict[str, list[Visit]] = defaultdict(list)
            for part in order.parts or ():
                path = f"/logrequest/{order.request_id}/part/{part.part_number}/download"
                response = await self._account.send(self._get(path, timeout=_TIMEOUT))
                for yclid, visit in _parsed(response, offset):
                    found[yclid].append(visit)
            self._read = order.request_id, dict(found)
            await self._clean_before(order)
        return self._read[1]

    async def _clean_before(self, order: LogRequest) -> None:
        """Earlier logs of ours only fill the counter's storage (10 GB)."""
        for old in await self._orders():
            if old.status == "processed" and _last_day(old) < _last_day(order):
                url = f"{self._root}/logrequest/{old.request_id}/clean"
                await self._account.send(Request("POST", url, scope=LOGS, is_safe=True))

    async def _local_day(self, moment: datetime) -> date:
        """The counter's own day."""
        return (moment + await self._utc_offset()).date()

    async def _utc_offset(self) -> timedelta:
        if self._offset is None:
            counter = read(CounterReply, await self._account.send(self._get(""))).counter
            if counter.time_zone_offset is None:
                raise Drift("Metrica does not tell the counter's time zone")
            self._offset = timedelta(minutes=counter.time_zone_offset)
        return self._offset

    def _get(self, path: str, params: Sequence[tuple[str, str]] = (), timeout: float | None = None) -> Request:
        return Request("GET", f"{self._root}{path}", params=params, is_safe=True, scope=LOGS, timeout=timeout)


def _query(yesterday: date) -> Sequence[tuple[str, str]]:
    first = yesterday - _SPAN
    days = (("date1", first.isoformat()), ("date2", yesterday.isoformat()))
    return (*days, ("source", "visits"), ("fields", ",".join(FIELDS)))


def _last_day(order: LogRequest) -> str:
    return order.date2 or ""


def _is_waited_for(order: LogRequest, yesterday: date) -> bool:
    """It is being made, or failed today: then tomorrow's may succeed."""
    is_failed_today = order.status in _FAILED and _last_day(order) == yesterday.isoformat()
    return order.status in _MAKING or is_failed_today


def _parsed(response: Response, offset: timedelta) -> list[tuple[str, Visit]]:
    """The visits of one part that began with a click id.

    Raises:
        Drift: it is no table of the fields that were ordered.
    """
    lines = BytesIO(response.body)
    if tuple(lines.readline().decode("utf-8", "replace").rstrip("\r\n").split("\t")) != FIELDS:
        raise Drift("Metrica's log has other columns than were ordered")
    visits = []
    for line in lines:
        if b"yclid=" not in line:  # nearly all of them: not worth decoding
            continue
        cells = line.decode("utf-8", "replace").rstrip("\r\n").split("\t")
        if len(cells) != len(FIELDS):
            raise Drift("a line of Metrica's log is cut")
        yclid = yclid_of(cells[0])
        if yclid:
            visits.append((yclid, Visit(_moment(cells[2], offset), _numbers(cells[1]))))
    return visits


def _moment(text: str, offset: timedelta) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) - offset
    except ValueError:
        raise Drift("Metrica's log holds a time that is none") from None


def _numbers(text: str) -> tuple[int, ...]:
    """A list as ClickHouse prints it: ``[611000001,611000002]``."""
    try:
        return tuple(int(part) for part in text.strip("[]").split(",") if part)
    except ValueError:
        raise Drift("Metrica's log holds a list of goals that is none") from None
