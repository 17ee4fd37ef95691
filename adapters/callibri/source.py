"""Appeals of one project. They are listed by their days only, so recent days are listed again and again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from adapters.callibri import api, mapping
from adapters.callibri.api import Api
from adapters.callibri.settings import CallibriSettings
from adapters.callibri.wire import Listed, version_of
from bridge.catalogue import Catalogue
from bridge.errors import RecordInvalid
from bridge.model import Deal
from bridge.ports import BadRecord, Finding, Head, Level, Listing, SourceTraits, Window
from bridge.sources import found_in, looked
from bridge.tools import Tools

_DAY = timedelta(days=1)


class CallibriSource:
    """``ports.Source`` over one project. Its records are touches."""

    def __init__(self, name: str, settings: CallibriSettings, tools: Tools) -> None:
        self.traits = SourceTraits(overlap=settings.reread, brings_touches=True)
        self._api = Api(tools.http.account(api.account_setup(name, settings, tools)), settings.site_id, tools.drift)
        self._settings = settings
        self._tools = tools
        self._zone = ZoneInfo(settings.timezone or tools.tenant.timezone)

    async def check(self) -> list[Finding]:
        """See ``ports.Source.check``: the project, and the appeals of the last week."""
        return await looked({"project": self._look_at_sites, "appeals": self._look_at_appeals})

    async def catalogue(self) -> Catalogue:
        """Appeals have no stages."""
        return Catalogue()

    async def scan(self, window: Window) -> AsyncGenerator[Listing, None]:
        """See ``ports.Source.scan``; a week at a time."""
        weeks = list(self._weeks(window))
        for number, (first, last) in enumerate(weeks, start=1):
            yield self._listing(await self._api.appeals(first, last), window, number / len(weeks))

    async def fetch(self, keys: Sequence[str]) -> Listing:
        """See ``ports.Source.fetch``. Nothing is found by its number: what ``start_from`` spans is read for them."""
        now = self._tools.clock.now()
        return await found_in(self.scan(Window(now - self._settings.start_from, now)), keys)

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        """See ``ports.Source.complete``; a listed appeal tells everything."""
        return [mapping.touch_of(head.row, use_guesses=self._settings.use_guesses) for head in heads]

    async def close(self) -> None:
        """Nothing of its own to close."""

    def _weeks(self, window: Window) -> Iterator[tuple[date, date]]:
        """Spans of at most seven days that hold a window, and a day more at both ends.

        Days are selected by the project's time zone, times are UTC (contract callibri 2.2): should the zone be another
        than ours, nothing is lost at the edges.
        """
        first = window.start.astimezone(self._zone).date() - _DAY
        last = window.end.astimezone(self._zone).date() + _DAY
        while first <= last:
            yield first, min(first + (api.DAYS - 1) * _DAY, last)
            first += api.DAYS * _DAY

    def _listing(self, rows: Sequence[Listed | BadRecord], window: Window, done: float) -> Listing:
        """What of these rows lies in the window, each appeal once."""
        heads: dict[str, Head] = {}
        bad: dict[str, BadRecord] = {}
        for row in rows:
            item = _head(row)
            if isinstance(item, BadRecord):
                bad.setdefault(item.key, item)
            elif window.start <= item.updated_at < window.end:
                heads.setdefault(item.key, item)
        return Listing(tuple(heads.values()), tuple(bad.values()), done)

    # --- looks for ``check`` ---

    async def _look_at_sites(self) -> list[Finding]:
        sites = {site.site_id: site.sitename or "without a name" for site in await self._api.sites()}
        own = self._settings.site_id
        if own in sites:
            return [Finding(Level.OK, "project", f'"{sites[own]}" ({own})')]
        known = ", ".join(f'{number} "{name}"' for number, name in sorted(sites.items())) or "none"
        return [Finding(Level.ERROR, "project", f"the token does not see the project {own}; it sees: {known}")]

    async def _look_at_appeals(self) -> list[Finding]:
        today = self._tools.clock.now().astimezone(self._zone).date()
        rows = await self._api.appeals(today - (api.DAYS - 1) * _DAY, today)
        appeals = [row.appeal for row in rows if isinstance(row, Listed)]
        findings = [Finding(Level.OK, "appeals", f"readable; {len(appeals)} of the last week")]
        if appeals and not any(appeal.metrica_client_id for appeal in appeals):
            text = "no appeal of the last week has a ClientID; switch the Metrica integration on in Callibri"
            findings.append(Finding(Level.WARNING, "appeals", text))
        return findings


def _head(row: Listed | BadRecord) -> Head | BadRecord:
    if isinstance(row, BadRecord):
        return row
    version = version_of(row.appeal)
    try:
        return Head(mapping.key_of(row), version, mapping.moment_of(row.appeal), row)
    except RecordInvalid as error:
        return BadRecord(mapping.key_of(row), error.code, str(error), version)


def build(name: str, settings: CallibriSettings, tools: Tools) -> CallibriSource:
    """The source of one ``[tenants.*.sources.*]`` section.

    Raises:
        ConfigError: the token cannot be read.
    """
    return CallibriSource(name, settings, tools)
