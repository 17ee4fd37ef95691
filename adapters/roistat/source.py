"""Calls, proxy leads and orders' visits of one project. Recent ones are listed again and again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from adapters.roistat import api, mapping
from adapters.roistat.api import Api
from adapters.roistat.settings import RoistatSettings
from adapters.roistat.wire import Form, Order, ProxyLead, Record, Visit, version_of
from bridge.catalogue import Catalogue
from bridge.errors import Drift, RecordInvalid
from bridge.model import Deal
from bridge.ports import BadRecord, Finding, Head, Level, Listing, SourceTraits, Window
from bridge.sources import found_in, looked
from bridge.tools import Rate, Tools

_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)
_WEEK = 7  # days of proxy leads in one question
_FAR = timedelta(days=2)  # a row so far outside what was asked for shows that the filter was ignored


class RoistatSource:
    """``ports.Source`` over one project. Its records are touches."""

    def __init__(self, name: str, settings: RoistatSettings, tools: Tools) -> None:
        self.traits = SourceTraits(overlap=settings.reread, brings_touches=True)
        usual = Rate(settings.requests_per_second, parallel=1)
        heavy = Rate(settings.orders_per_minute / 60, parallel=1)
        account, busy = (tools.http.account(api.account_setup(name, settings, tools, rate)) for rate in (usual, heavy))
        self._api = Api(account, busy, settings.project, tools.drift)
        self._settings = settings
        self._tools = tools

    async def check(self) -> list[Finding]:
        """See ``ports.Source.check``: the project, and a look at each list that is read."""
        return await looked({"project": self._look_at_projects, "records": self._look_at_records})

    async def catalogue(self) -> Catalogue:
        """Touches have no stages."""
        return Catalogue()

    async def scan(self, window: Window) -> AsyncGenerator[Listing, None]:
        """See ``ports.Source.scan``. Orders first: they tell of the visits that proxy leads only number."""
        wanted, visits = self._settings.entities, dict[str, Visit]()
        start = window.start.replace(microsecond=0)
        end = window.end + _SECOND
        if "visit" in wanted or "form" in wanted:
            async for rows in self._api.orders(start, end):
                visits |= {mapping.number_of(v.id): v for row in rows if isinstance(row, Order) and (v := row.visit)}
                told = [row for row in rows if isinstance(row, BadRecord) or mapping.number_of(_number(row))]
                if "visit" in wanted:
                    yield _listing(told, window)
        if "call" in wanted:
            async for calls in self._api.calls(start, end):
                yield _listing(calls, window)
        for first, last in _weeks(window) if "form" in wanted else ():
            leads = await self._api.proxy_leads(first, last)
            yield _listing([_with_visit(lead, visits) for lead in leads], window, is_by_day=True)

    async def fetch(self, keys: Sequence[str]) -> Listing:
        """See ``ports.Source.fetch``. Nothing is found by its number: what ``start_from`` spans is read for them."""
        now = self._tools.clock.now()
        return await found_in(self.scan(Window(now - self._settings.start_from, now)), keys)

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        """See ``ports.Source.complete``; a listed record tells everything."""
        return [mapping.touch_of(head.row) for head in heads]

    async def close(self) -> None:
        """Nothing of its own to close."""

    # --- looks for ``check`` ---

    async def _look_at_projects(self) -> list[Finding]:
        projects = {project.id: project.name or "without a name" for project in await self._api.projects()}
        own = self._settings.project
        if own in projects:
            return [Finding(Level.OK, "project", f'"{projects[own]}" ({own})')]
        known = ", ".join(f'{number} "{name}"' for number, name in sorted(projects.items())) or "none"
        return [Finding(Level.ERROR, "project", f"the key does not see the project {own}; it sees: {known}")]

    async def _look_at_records(self) -> list[Finding]:
        now = self._tools.clock.now()
        heads = [head async for listing in self.scan(Window(now - 2 * _DAY, now)) for head in listing.heads]
        kinds = ", ".join(self._settings.entities)
        return [Finding(Level.OK, "records", f"readable ({kinds}); {len(heads)} of the last two days")]


def _number(row: Order) -> str | int | None:
    """The visit's number, None for an order without one: it tells nothing."""
    return None if row.visit is None else row.visit.id


def _with_visit(lead: ProxyLead | BadRecord, visits: Mapping[str, Visit]) -> Form | BadRecord:
    return lead if isinstance(lead, BadRecord) else Form(lead, visits.get(mapping.number_of(lead.roistat)))


def _weeks(window: Window) -> Iterator[tuple[date, date]]:
    """Spans of at most seven days of UTC that hold a window."""
    first, last = window.start.astimezone(UTC).date(), window.end.astimezone(UTC).date()
    while first <= last:
        yield first, min(first + (_WEEK - 1) * _DAY, last)
        first += _WEEK * _DAY


def _listing(rows: Iterable[Record | BadRecord], window: Window, *, is_by_day: bool = False) -> Listing:
    """What of these rows lies in the window.

    Raises:
        Drift: a row lies far outside of what was asked for: the vendor ignores filters it does not understand, and
            would hand out everything it has.
    """
    heads: dict[str, Head] = {}
    bad: dict[str, BadRecord] = {}
    slack = _FAR + _WEEK * _DAY if is_by_day else _FAR
    for row in rows:
        item = _head(row)
        if isinstance(item, BadRecord):
            bad[item.key] = item
            continue
        _insist_on_filter(item.updated_at, window, slack)
        if window.start <= item.updated_at < window.end:
            heads[item.key] = item
    return Listing(tuple(heads.values()), tuple(bad.values()))


def _insist_on_filter(at: datetime, window: Window, slack: timedelta) -> None:
    if not window.start - slack <= at <= window.end + slack:
        raise Drift("Roistat ignores the filter by time; the cursor stays where it was")


def _head(row: Record | BadRecord) -> Head | BadRecord:
    if isinstance(row, BadRecord):
        return row
    version = version_of(row)
    try:
        return Head(mapping.key_of(row), version, mapping.moment_of(row), row)
    except RecordInvalid as error:
        return BadRecord(mapping.key_of(row), error.code, str(error), version)


def build(name: str, settings: RoistatSettings, tools: Tools) -> RoistatSource:
    """The source of one ``[tenants.*.sources.*]`` section.

    Raises:
        ConfigError: the key cannot be read.
    """
    return RoistatSource(name, settings, tools)
