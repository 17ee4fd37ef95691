"""Calls and forms of one site. They are listed by their days only, so recent days are listed again and again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta

from adapters.calltouch import api, mapping
from adapters.calltouch.api import Api
from adapters.calltouch.mapping import Terms
from adapters.calltouch.settings import CalltouchSettings
from adapters.calltouch.wire import Call, Form, Record, version_of
from bridge.catalogue import Catalogue
from bridge.errors import RecordInvalid
from bridge.model import Deal
from bridge.ports import BadRecord, Finding, Head, Level, Listing, SourceTraits, Window
from bridge.sources import Look, found_in, looked
from bridge.tools import Tools

_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)


class CalltouchSource:
    """``ports.Source`` over one site. Its records are touches."""

    def __init__(self, name: str, settings: CalltouchSettings, tools: Tools) -> None:
        self.traits = SourceTraits(overlap=settings.reread, brings_touches=True)
        self._api = Api(tools.http.account(api.account_setup(name, settings, tools)), settings.site_id, tools.drift)
        self._settings = settings
        self._tools = tools
        self._terms = Terms.of(settings.timezone or tools.tenant.timezone, settings.fields)

    async def check(self) -> list[Finding]:
        """See ``ports.Source.check``: a look at the last days."""
        looks: dict[str, Look] = {"calls": self._look_at_calls}
        if self._settings.forms:
            looks["forms"] = self._look_at_forms
        return await looked(looks)

    async def catalogue(self) -> Catalogue:
        """Calls have no stages."""
        return Catalogue()

    async def scan(self, window: Window) -> AsyncGenerator[Listing, None]:
        """See ``ports.Source.scan``; calls first, then the forms day by day."""
        days = list(self._days(window))
        async for rows, done in self._api.calls(days[0], days[-1]):
            yield self._listing(rows, window, done / 2 if self._settings.forms else done)
        for number, day in enumerate(days if self._settings.forms else (), start=1):
            yield self._listing(await self._api.forms(day), window, 0.5 + number / len(days) / 2)

    async def fetch(self, keys: Sequence[str]) -> Listing:
        """See ``ports.Source.fetch``. Nothing is found by its number: what ``start_from`` spans is read for them."""
        now = self._tools.clock.now()
        return await found_in(self.scan(Window(now - self._settings.start_from, now)), keys)

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        """See ``ports.Source.complete``; a listed record tells everything."""
        return [mapping.touch_of(head.row, self._terms) for head in heads]

    async def close(self) -> None:
        """Nothing of its own to close."""

    def _days(self, window: Window) -> Iterator[date]:
        """The site's days that a window touches."""
        zone = self._terms.zone
        day, last = window.start.astimezone(zone).date(), window.end.astimezone(zone).date()
        while day <= last:
            yield day
            day += _DAY

    def _listing(self, rows: Iterable[Record | BadRecord], window: Window, done: float) -> Listing:
        """What of these rows lies in the window; what cannot be read has no time and is told."""
        read = [self._head(row) for row in rows]
        heads = [item for item in read if isinstance(item, Head) and window.start <= item.updated_at < window.end]
        bad = [item for item in read if isinstance(item, BadRecord)]
        return Listing(tuple(heads), tuple(bad), done)

    def _head(self, row: Record | BadRecord) -> Head | BadRecord:
        if isinstance(row, BadRecord):
            return row
        version = version_of(row)
        try:
            return Head(mapping.key_of(row), version, mapping.moment_of(row, self._terms.zone), row)
        except RecordInvalid as error:
            return BadRecord(mapping.key_of(row), error.code, str(error), version)

    # --- a look for ``check`` ---

    def _recent(self) -> tuple[date, date]:
        now: datetime = self._tools.clock.now().astimezone(self._terms.zone)
        return (now - timedelta(days=7)).date(), now.date()

    async def _look_at_calls(self) -> list[Finding]:
        calls = [row for row in await self._api.some_calls(*self._recent()) if isinstance(row, Call)]
        findings = [Finding(Level.OK, "calls", f"readable; {len(calls)} of the last week looked at")]
        if calls and not any(call.ya_client_id for call in calls):
            text = "no call of the last week has a ClientID; switch the Metrica integration on in Calltouch"
            findings.append(Finding(Level.WARNING, "calls", text))
        return [*findings, *self._clock_findings(calls)]

    def _clock_findings(self, calls: Sequence[Call]) -> Iterator[Finding]:
        """Calls tell their time twice: as seconds and by the site's clock, which shows the site's time zone."""
        for call in calls:
            shown = mapping.wall_clock(call.date or "", self._terms.zone)
            if shown and call.timestamp and abs(shown.timestamp() - call.timestamp) > _MINUTE.total_seconds():
                text = f"the site's clock is not that of {self._terms.zone.key}; set the site's time zone"
                yield Finding(Level.WARNING, "timezone", text)
                return

    async def _look_at_forms(self) -> list[Finding]:
        forms = [row for row in await self._api.forms(self._recent()[1]) if isinstance(row, Form)]
        return [Finding(Level.OK, "forms", f"readable; {len(forms)} today")]


def build(name: str, settings: CalltouchSettings, tools: Tools) -> CalltouchSource:
    """The source of one ``[tenants.*.sources.*]`` section.

    Raises:
        ConfigError: the token cannot be read.
    """
    return CalltouchSource(name, settings, tools)
