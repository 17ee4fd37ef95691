"""Bitrix24 as a source: leads and deals by modification time, completed with contacts and stage history.

Requests for 2,500 records: one for the list, one for contacts, one for every 2,500 stage entries.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import Any

from adapters.bitrix24 import auth, details, directory, inspection, mapping, wire
from adapters.bitrix24.portal import PAGE, Command, Done, Pace, Portal, checked, keyset
from adapters.bitrix24.settings import Bitrix24Settings
from bridge.errors import Drift, RecordInvalid
from bridge.model import Catalogue, Deal, DealKind
from bridge.ports import BadRecord, Finding, Head, Listing, Source, SourceTraits, Tools, Window


class Bitrix24Source:
    """One portal through an inbound webhook or a local application."""

    def __init__(self, name: str, settings: Bitrix24Settings, tools: Tools) -> None:
        """Raises ConfigError when a secret is missing, or the webhook's is not ``USER/CODE``."""
        self.traits = SourceTraits()
        self._settings = settings
        self._clock = tools.clock
        self._kinds = [DealKind(entity) for entity in ("lead", "deal") if entity in settings.entities]
        fields = {kind: tuple(names) for kind, names in settings.fields.items()}
        self._rules = mapping.Rules(fields, settings.loss_reason_field, tools.tenant.currency)
        self._portal = Portal(auth.account_setup(name, settings, tools), tools)
        self._pace = Pace()
        self._names: directory.Directory | None = None

    # --- checking and naming ---

    async def check(self) -> list[Finding]:
        """Credentials, their rights, the clock, date filters, configured fields. Changes nothing."""
        return await inspection.check(self._portal, self._kinds, self._rules, self._clock, self._read_names)

    async def catalogue(self) -> Catalogue:
        """Pipelines (leads are one called "leads"), failure stages as loss reasons, custom fields. Fresh.

        Raises:
            AuthError, Throttled, Unavailable, Refused, Drift: the portal's answer.
        """
        self._names = await self._read_names()
        return directory.catalogue(self._names, self._settings.loss_reason_field)

    async def _read_names(self) -> directory.Directory:
        """Two requests: what exists, then the stages of each pipeline."""
        commands = {"sources": Command("crm.status.list", {"filter": {"ENTITY_ID": "SOURCE"}})}
        for kind in self._kinds:
            commands[f"fields_{kind}"] = Command(f"crm.{kind}.fields")
        if DealKind.LEAD in self._kinds:
            commands["leads"] = Command("crm.status.list", {"filter": {"ENTITY_ID": "STATUS"}})
        if DealKind.DEAL in self._kinds:
            commands["categories"] = Command("crm.category.list", {"entityTypeId": 2})
        got = await self._portal.batch(commands)
        fields = {kind: _fields(got[f"fields_{kind}"]) for kind in self._kinds}
        leads = await self._statuses(got["leads"]) if "leads" in got else None
        deals = await self._pipelines(got["categories"]) if "categories" in got else []
        return directory.build(leads, deals, await self._statuses(got["sources"]), fields)

    async def _pipelines(self, listed: Done) -> list[tuple[wire.Category, list[wire.StatusRow]]]:
        categories = listed.rows(wire.CATEGORIES).categories
        stages = await self._portal.all(
            [
                Command("crm.status.list", {"filter": {"ENTITY_ID": directory.stage_directory(category.id)}})
                for category in categories
            ]
        )
        return [(category, await self._statuses(done)) for category, done in zip(categories, stages, strict=True)]

    async def _statuses(self, done: Done) -> list[wire.StatusRow]:
        """A directory; its further pages where the portal names any (more than 50 rows: contract 17)."""
        rows = done.rows(wire.STATUSES)
        while done.next:
            more = Command(done.command.method, {**done.command.params, "start": done.next})
            done = (await self._portal.all([more]))[0]
            page = done.rows(wire.STATUSES)
            if not page or page[0] in rows:
                raise Drift("crm.status.list: a promised next page is missing or repeats the last one")
            rows += page
        return rows

    # --- listing ---

    async def scan(self, window: Window) -> AsyncGenerator[Listing, None]:
        """Every lead, then every deal modified inside the window, by ascending id, up to 2,550 at once.

        Raises:
            Drift: an id does not grow, or the portal does not honour the date filter.
        """
        start, end = mapping.whole_seconds(window.start, window.end)
        bounds = {">=DATE_MODIFY": start.isoformat(), "<DATE_MODIFY": end.isoformat()}
        for kind in self._kinds:
            async with aclosing(keyset(self._portal, _listing(kind, bounds), self._pace)) as pages:
                async for rows in pages:
                    yield _listed(kind, rows, start, end)

    async def fetch(self, keys: Sequence[str]) -> Listing:
        """These records as they are now, fifty per command. Missing and unreadable ones are left out."""
        commands, kinds = [], []
        for kind in self._kinds:
            ids = [key.partition(":")[2] for key in keys if mapping.kind_of(key) is kind]
            for chunk in details.chunks(ids, PAGE):
                listing = _listing(kind, {"@ID": chunk})
                commands.append(replace(listing, params={**listing.params, "order": {"ID": "ASC"}, "start": -1}))
                kinds.append(kind)
        found = await self._portal.all(commands)
        heads: list[Head | BadRecord] = []
        for kind, done in zip(kinds, found, strict=True):
            rows = done.listed()
            checked(rows, 0)
            heads += _heads(kind, rows)
        return _split(heads)

    # --- completing ---

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        """Heads made into deals. The whole history is read, of known keys too: it costs no request more, and a
        move between two polls is never missed, however late the record itself is listed.

        Raises:
            AuthError, Throttled, Unavailable, Refused, Drift: the portal's answer.
        """
        if not heads:
            return []
        heads = [mapping.opened(head) for head in heads]
        if self._names is None or not all(_is_named(head, self._names) for head in heads):
            self._names = await self._read_names()
        found = await details.read(self._portal, heads)
        plans = {kind: mapping.plan(kind, self._names, self._rules) for kind in self._kinds}
        return [_deal(head, found, plans[mapping.kind_of(head.key)]) for head in heads]

    async def close(self) -> None:
        """Nothing is held open: the HTTP client belongs to the process."""


def _deal(head: Head, found: details.Details, plan: mapping.Plan) -> Deal | BadRecord:
    contact = found.contacts.get(mapping.wanted_contact(plan.kind, head.row))
    try:
        return mapping.deal(mapping.Read(head.row, head.version, found.history.get(head.key, ()), contact), plan)
    except RecordInvalid as error:
        return BadRecord(head.key, error.code, str(error), head.version)


def _fields(done: Done) -> dict[str, wire.FieldInfo]:
    return wire.mapped(done.rows(wire.FIELDS))


def _is_named(head: Head, names: directory.Directory) -> bool:
    """Whether the record's stage and source are among the names read so far."""
    row = head.row
    if mapping.kind_of(head.key) is DealKind.LEAD:
        stage = (directory.LEADS, str(row.get("STATUS_ID") or ""))
    else:
        stage = (str(row.get("CATEGORY_ID") or "0"), str(row.get("STAGE_ID") or ""))
    source = mapping.reference(row.get("SOURCE_ID"))
    return stage in names.stages and (not source or source in names.sources)


def _listing(kind: DealKind, bounds: Mapping[str, Any]) -> Command:
    """A classic list. Templates of recurring deals are no sales (contract 4.2)."""
    only = {**bounds, "IS_RECURRING": "N"} if kind is DealKind.DEAL else dict(bounds)
    return Command(f"crm.{kind}.list", {"select": mapping.SELECT[kind], "filter": only})


def _listed(kind: DealKind, rows: Sequence[wire.Listed], start: datetime, end: datetime) -> Listing:
    """Rows inside the window. A classic list drops a filter it does not know without a word, so each is checked.

    A row modified at or after the end changed while the portal was reading it; the next window has it.
    """
    heads = _heads(kind, rows)
    for head in heads:
        if isinstance(head, Head) and head.updated_at < start:
            raise Drift(
                f"crm.{kind}.list returned a record modified before the window: the portal ignores or shifts date "
                'filters; use credentials of a user without a time zone of their own (see "bridge check")'
            )
    return _split([head for head in heads if isinstance(head, BadRecord) or head.updated_at < end])


def _heads(kind: DealKind, rows: Sequence[wire.Listed]) -> list[Head | BadRecord]:
    """Templates are left out here too, should the portal ignore that filter."""
    return [mapping.head(kind, row) for row in rows if not row.is_template]


def _split(heads: Sequence[Head | BadRecord]) -> Listing:
    good = tuple(head for head in heads if isinstance(head, Head))
    return Listing(good, tuple(head for head in heads if isinstance(head, BadRecord)))


def build(name: str, settings: Bitrix24Settings, tools: Tools) -> Source:
    """The source behind a configuration section.

    Raises:
        ConfigError: a secret is missing, or the webhook's is not ``USER/CODE``.
    """
    return Bitrix24Source(name, settings, tools)
