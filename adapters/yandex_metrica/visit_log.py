"""Metrica's raw visits: which goals the visit of a click id reached (contract yandex 9.2).

The reports know no yclid; the first address of a visit does. A log is ordered once a day for the whole counter, since
Metrica neither filters it nor gives the current day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from adapters.yandex_metrica.evidence import WINDOW, Visit, yclid_of
from adapters.yandex_metrica.log_requests import FAILED, MAKING, READY, LogRequests, last_day
from adapters.yandex_metrica.mapping import LOGS
from adapters.yandex_metrica.wire import CounterReply, LogEvaluation, LogRequest, log_lines, read
from bridge.errors import Drift
from bridge.tools import Account, Clock, Request, Response

FIELDS = ("ym:s:startURL", "ym:s:goalsID", "ym:s:dateTime")
PROCESSING = timedelta(hours=3)  # Metrica processes a file within two hours (contract yandex 2.4)
_SPAN = WINDOW + timedelta(days=5)


class VisitLog:
    """The raw visits of one counter that began with a click on an ad."""

    def __init__(self, account: Account, clock: Clock, counter_id: int) -> None:
        self._account = account
        self._clock = clock
        self._logs = LogRequests(account, counter_id, FIELDS)
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
        ours = [order for order in await self._logs.listed() if last_day(order) >= processed_on.isoformat()]
        ready = max((order for order in ours if order.status == READY), key=last_day, default=None)
        if ready is not None:
            return await self._content(ready)
        if not any(_is_waited_for(order, yesterday) for order in ours):
            await self._logs.order(yesterday - _SPAN, yesterday)
        return None

    async def evaluate(self) -> LogEvaluation:
        """Whether Metrica would make the log we need."""
        yesterday = await self._local_day(self._clock.now()) - timedelta(days=1)
        return await self._logs.evaluate(yesterday - _SPAN, yesterday)

    async def _content(self, order: LogRequest) -> Mapping[str, Sequence[Visit]]:
        if self._read is None or self._read[0] != order.request_id:
            offset = await self._utc_offset()
            found: defaultdict[str, list[Visit]] = defaultdict(list)
            async for part in self._logs.parts(order):
                for yclid, visit in _parsed(part, offset):
                    found[yclid].append(visit)
            self._read = order.request_id, dict(found)
            await self._clean_before(order)
        return self._read[1]

    async def _clean_before(self, order: LogRequest) -> None:
        """Earlier logs of ours only fill the counter's storage (10 GB)."""
        for old in await self._logs.listed():
            if old.status == READY and last_day(old) < last_day(order):
                await self._logs.clean(old)

    async def _local_day(self, moment: datetime) -> date:
        """The counter's own day."""
        return (moment + await self._utc_offset()).date()

    async def _utc_offset(self) -> timedelta:
        if self._offset is None:
            request = Request("GET", self._root, is_safe=True, scope=LOGS)
            counter = read(CounterReply, await self._account.send(request)).counter
            if counter.time_zone_offset is None:
                raise Drift("Metrica does not tell the counter's time zone")
            self._offset = timedelta(minutes=counter.time_zone_offset)
        return self._offset


def _is_waited_for(order: LogRequest, yesterday: date) -> bool:
    """It is being made, or failed today: then tomorrow's may succeed."""
    is_failed_today = order.status in FAILED and last_day(order) == yesterday.isoformat()
    return order.status in MAKING or is_failed_today


def _parsed(response: Response, offset: timedelta) -> list[tuple[str, Visit]]:
    """The visits of one part that began with a click id.

    Raises:
        Drift: it is no table of the fields that were ordered.
    """
    visits = []
    for line in log_lines(response.body, FIELDS):
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
