"""A Metrica counter as a source of visits that sent a form.

The Logs API makes a log of whole days, the current one excepted, in its own time. So a poll orders the log of what has
ended since the last one, and a later poll reads it; then nothing is asked until the next day. ``marks`` hold the last
day read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import suppress
from datetime import date, timedelta, tzinfo

from adapters.yandex_metrica import visits
from adapters.yandex_metrica.counts import zone_of
from adapters.yandex_metrica.destination import account_of
from adapters.yandex_metrica.log_requests import FAILED, OVER, READY, LogRequests, last_day
from adapters.yandex_metrica.settings import MetricaVisitSettings
from adapters.yandex_metrica.wire import Counter, CounterReply, Goal, GoalsReply, LogEvaluation, LogRequest, read
from bridge.catalogue import Catalogue
from bridge.errors import ConfigError, Refused, Unavailable
from bridge.model import Deal, frozen
from bridge.ports import BadRecord, Finding, Head, Level, Listing, SourceTraits, Window
from bridge.sources import Look, found_in, looked
from bridge.tools import Request, Tools

_DAY = timedelta(days=1)
_MOST = 31  # days of one log
_PAGE = 500


@frozen
class _Days:
    """Days of the counter, both inclusive."""

    first: date
    last: date


class MetricaVisits:
    """``ports.Source`` over the raw visits of one counter. Its records are touches."""

    def __init__(self, name: str, settings: MetricaVisitSettings, tools: Tools) -> None:
        span = _MOST * _DAY
        self.traits = SourceTraits(overlap=settings.reread, slice_min=span, slice_max=span, brings_touches=True)
        self._account = account_of(name, settings, tools)
        self._logs = LogRequests(self._account, settings.counter_id, visits.FIELDS)
        self._root = f"/management/v1/counter/{settings.counter_id}"
        self._settings = settings
        self._clock = tools.clock
        self._zone: tzinfo | None = None

    async def check(self) -> list[Finding]:
        """See ``ports.Source.check``: the counter, its form goals, and whether it makes logs."""
        looks: dict[str, Look] = {"counter": self._look_at_counter, "form goals": self._look_at_goals}
        return await looked({**looks, "visits": self._look_at_logs})

    async def catalogue(self) -> Catalogue:
        """Visits have no stages."""
        return Catalogue()

    async def scan(self, window: Window) -> AsyncGenerator[Listing, None]:
        """See ``ports.Source.scan``. A poll (with ``marks``) reads the days behind the last one read, and may find that
        their log is not ready; anybody else is told to come again.

        Raises:
            Unavailable: the log is not ready, or Metrica could not make it.
            ConfigError: a form goal does not exist.
        """
        is_poll = window.marks is not None
        days = await self._days(window)
        log = await self._ready(days, is_poll=is_poll) if days is not None else None
        if log is None:
            return
        goals = await self._goals()
        async for heads, bad in self._read(log, goals):
            kept = [one for one in heads if is_poll or window.start <= one.updated_at < window.end]
            for start in range(0, max(len(kept), 1), _PAGE):
                yield Listing(tuple(kept[start : start + _PAGE]), tuple(bad) if start == 0 else ())
        with suppress(Refused):  # Metrica forgets it by itself, later
            await self._logs.clean(log)
        yield Listing((), done=1.0, marks=log.date2 if is_poll else None)

    async def fetch(self, keys: Sequence[str]) -> Listing:
        """See ``ports.Source.fetch``. No visit is found by its number: what ``start_from`` spans is read for them."""
        return await found_in(self._everything(), keys)

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        """See ``ports.Source.complete``; a line of the log tells everything."""
        return [head.row for head in heads]

    async def close(self) -> None:
        """Nothing of its own to close."""

    # --- days ---

    async def _days(self, window: Window) -> _Days | None:
        """The days to read; None when none of them has ended, or all were read."""
        zone = await self._counter_zone()
        yesterday = self._clock.now().astimezone(zone).date() - _DAY
        if window.marks is None:
            first, last = window.start.astimezone(zone).date(), min(window.end.astimezone(zone).date(), yesterday)
        else:
            read_to = date.fromisoformat(window.marks) if window.marks else None
            if read_to is not None and read_to >= yesterday:
                return None
            start = yesterday - self._settings.start_from if read_to is None else read_to - self._settings.reread
            first, last = start, yesterday
        return _Days(first, min(last, first + _MOST * _DAY)) if first <= last else None

    async def _everything(self) -> AsyncIterator[Listing]:
        now = self._clock.now()
        start = now - self._settings.start_from
        while start < now:
            end = min(start + _MOST * _DAY, now)
            async for listing in self.scan(Window(start, end)):
                yield listing
            start = end

    async def _counter_zone(self) -> tzinfo:
        if self._zone is None:
            self._zone = zone_of(await self._counter())
        return self._zone

    # --- one log ---

    async def _ready(self, days: _Days, *, is_poll: bool) -> LogRequest | None:
        """The log of these days; None while a poll may wait for it. It is ordered where that is not done yet.

        A poll takes one that was ordered yesterday as well: what has ended since comes with the next.
        """
        ours = [order for order in await self._logs.listed() if order.date1 == days.first.isoformat()]
        fitting = [order for order in ours if order.date2 and (is_poll or order.date2 == days.last.isoformat())]
        ready = max((order for order in fitting if order.status == READY), key=last_day, default=None)
        if ready is not None:
            return ready
        since = (days.last - _DAY).isoformat()  # one that is not ready a day later never will be
        if not any(order.status not in OVER and last_day(order) >= since for order in fitting):
            if any(order.status in FAILED and order.date2 == days.last.isoformat() for order in fitting):
                raise Unavailable(
                    f"Metrica could not make the log of visits up to {days.last}; tomorrow it is asked again"
                )
            made = await self._logs.order(days.first, days.last)
            if made.status == READY:
                return made
        if is_poll:
            return None
        raise Unavailable(f"Metrica is making the log of {days.first} to {days.last}; ask again in half an hour")

    async def _read(
        self, log: LogRequest, goals: frozenset[str]
    ) -> AsyncGenerator[tuple[list[Head], list[BadRecord]], None]:
        counter, clock = await self._counter_zone(), None
        async for part in self._logs.parts(log):
            found = list(visits.rows(part.body, goals))
            rows = [one for one in found if isinstance(one, visits.Row)]
            if rows and clock is None:
                clock = visits.clock_of_goals(rows, counter)
            touches = [touch for row in rows for touch in visits.touches_of(row, clock or counter)]
            heads = [Head(one.key, one.version, one.updated_at, one) for one in touches]
            yield heads, [one for one in found if isinstance(one, BadRecord)]

    # --- the counter ---

    async def _counter(self) -> Counter:
        return read(CounterReply, await self._account.send(Request("GET", self._root, is_safe=True))).counter

    async def _goals(self) -> frozenset[str]:
        """Numbers of the form goals.

        Raises:
            ConfigError: one of them does not exist.
        """
        found, missing = await self._named()
        if missing:
            raise ConfigError(f"form_goals: {_advice(missing, self._settings.counter_id)}")
        return found

    async def _named(self) -> tuple[frozenset[str], list[str]]:
        params = (("useDeleted", "false"),)
        response = await self._account.send(Request("GET", f"{self._root}/goals", params=params, is_safe=True))
        goals = read(GoalsReply, response).goals
        numbers = {name: _numbers(name, goals) for name in self._settings.form_goals}
        every = frozenset(number for found in numbers.values() for number in found)
        return every, [name for name, found in numbers.items() if not found]

    # --- looks for ``check`` ---

    async def _look_at_counter(self) -> list[Finding]:
        counter = await self._counter()
        return [Finding(Level.OK, f"counter {counter.id}", f"{counter.name or 'unnamed'}, readable")]

    async def _look_at_goals(self) -> list[Finding]:
        found, missing = await self._named()
        if missing:
            return [Finding(Level.ERROR, "form goals", _advice(missing, self._settings.counter_id))]
        return [Finding(Level.OK, "form goals", f"{len(found)} of the counter")]

    async def _look_at_logs(self) -> list[Finding]:
        zone = await self._counter_zone()
        yesterday = self._clock.now().astimezone(zone).date() - _DAY
        first = yesterday - min(self._settings.start_from, _MOST * _DAY)
        told = await self._logs.evaluate(first, yesterday)
        if told.possible is False:
            text = f"the counter is too large for a log of so many days; set start_from and reread below {_most(told)}"
            return [Finding(Level.ERROR, "visits", text)]
        return [Finding(Level.OK, "visits", "logs of raw visits can be had")]


def _most(told: LogEvaluation) -> str:
    most = told.max_possible_day_quantity
    return f"{most} days" if most else "what it allows"


def _numbers(name: str, goals: Iterable[Goal]) -> list[str]:
    """Numbers of the goals that a number, an event identifier or a title means."""
    return [
        str(goal.id)
        for goal in goals
        if name in (str(goal.id), goal.name) or any(name == condition.url for condition in goal.conditions or ())
    ]


def _advice(missing: Iterable[str], counter: int) -> str:
    return f"counter {counter} has no goal {', '.join(missing)}; name its number, event identifier or title"


def build(name: str, settings: MetricaVisitSettings, tools: Tools) -> MetricaVisits:
    """The source of one ``[tenants.*.sources.*]`` section.

    Raises:
        ConfigError: the token cannot be read.
    """
    return MetricaVisits(name, settings, tools)
