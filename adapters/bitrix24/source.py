"""Bitrix24 as a source: leads, deals and smart processes by time of change, completed with contacts and stage history.

Requests for 2,500 records: one for the list, one for contacts, one for every 2,500 stage entries.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

from adapters.bitrix24 import (
    auth,
    details,
    directory,
    entities,
    inspection,
    mapping,
    marks,
    payments,
    product_rows,
    survey,
    vanished,
    wire,
)
from adapters.bitrix24.arrivals import Arrivals
from adapters.bitrix24.attached import attach
from adapters.bitrix24.entities import DEAL, INVOICE, LEAD, LEADS, Entity
from adapters.bitrix24.offline import OfflineEvents
from adapters.bitrix24.portal import PAGE, Begun, Command, Done, Pace, Portal, after, checked, keyset, pages
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.vanished import Gone
from bridge.ahead import ahead
from bridge.catalogue import Catalogue
from bridge.errors import Drift, RecordInvalid
from bridge.frozen import replace
from bridge.model import Deal
from bridge.ports import BadRecord, Finding, Head, Listing, Source, SourceTraits, Window
from bridge.survey import SourceSurvey
from bridge.tools import Tools

_Pipeline = tuple[Entity, wire.Category, list[wire.StatusRow]]


class Bitrix24Source:
    """One portal through an inbound webhook or a local application."""

    def __init__(self, name: str, settings: Bitrix24Settings, tools: Tools) -> None:
        """Raises ConfigError when a secret is missing, or the webhook's is not ``USER/CODE``."""
        self._payments = settings.payments if tools.tenant.needs_payments else "off"
        self.traits = _traits(settings, is_swept=self._payments == "payments")
        self._settings = settings
        self._clock = tools.clock
        self._drift = tools.drift
        wanted = [entities.named(name) for name in settings.entities]
        self._read = sorted(wanted, key=_type_id)
        self._entities = {entity.prefix: entity for entity in self._read}
        self._with_rows = [entity for entity in self._read if entity.name in settings.product_rows]
        fields = {kind: tuple(names) for kind, names in settings.fields.items()}
        self._rules = mapping.Rules(fields, settings.loss_reason_field, tools.tenant.currency)
        self._portal = Portal(auth.account_setup(name, settings, tools), tools)
        self.queue = OfflineEvents(self._portal, self._read, name, tools) if settings.offline_events else None
        self._own = marks.field_of(settings)
        self.marker = marks.RecordMarker(self._portal, self._own, self._entities, self._look) if self._own else None
        self._pace = Pace()
        self._names: directory.Directory | None = None

    # --- checking and naming ---

    async def check(self) -> list[Finding]:
        """Credentials, their rights, the clock, date filters, configured fields. Changes nothing."""
        is_unused = self._payments != self._settings.payments
        what = "unused" if is_unused else self._payments
        wanted = inspection.Wanted(self._read, self._rules, what, self._with_rows)
        found = await inspection.check(self._portal, wanted, self._clock, self._read_names)
        if self.marker is not None:
            found += await self.marker.check(self._read_names)
        return [*found, *(await self.queue.check() if self.queue is not None else ())]

    async def catalogue(self) -> Catalogue:
        """Pipelines (leads are one called "leads"), failure stages as loss reasons, custom fields. Fresh.

        Raises:
            AuthError, Throttled, Unavailable, Refused, Drift: the portal's answer.
        """
        self._names = await self._read_names()
        return directory.catalogue(marks.without(self._names, self._own), self._settings.loss_reason_field)

    async def survey(self) -> SourceSurvey:
        """See ``survey.SurveysFields``."""
        self._names = self._names or await self._read_names()
        return SourceSurvey(await survey.survey(self._portal, self._read, self._names))

    async def _read_names(self) -> directory.Directory:
        """Two requests: what exists, then the stages of each pipeline."""
        commands = {"sources": Command("crm.status.list", {"filter": {"ENTITY_ID": "SOURCE"}})}
        read = self._read
        for entity in read:
            commands[f"fields {entity.name}"] = Command(entity.fields_method, entity.params)
            about = {"entityTypeId": entity.type_id}
            commands[f"pipelines {entity.name}"] = (
                Command("crm.status.list", {"filter": {"ENTITY_ID": LEAD.stages}})
                if entity is LEAD
                else Command("crm.category.list", about)
            )
        if self._payments == "invoices":
            commands[INVOICE.name] = Command("crm.category.list", {"entityTypeId": INVOICE.type_id})
        got = await self._portal.batch(commands)
        fields = {entity.name: _fields(entity, got[f"fields {entity.name}"]) for entity in read}
        leads = await self._statuses(got["pipelines lead"]) if LEAD in read else None
        others = {entity: got[f"pipelines {entity.name}"] for entity in read if entity is not LEAD}
        others |= {INVOICE: got[INVOICE.name]} if INVOICE.name in got else {}
        return directory.build(leads, await self._pipelines(others), await self._statuses(got["sources"]), fields)

    async def _pipelines(self, listed: Mapping[Entity, Done]) -> list[_Pipeline]:
        categories = [
            (entity, category) for entity, done in listed.items() for category in done.rows(wire.CATEGORIES).categories
        ]
        stages = await self._portal.all(
            [
                Command("crm.status.list", {"filter": {"ENTITY_ID": entity.stage_directory(category.id)}})
                for entity, category in categories
            ]
        )
        return [(*place, await self._statuses(done)) for place, done in zip(categories, stages, strict=True)]

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
        for row in rows:
            if not directory.is_known(row.semantics):
                self._drift.note("stage semantics", str(row.semantics))
        return rows

    # --- listing ---

    async def scan(self, window: Window) -> AsyncGenerator[Listing, None]:
        """Every lead, deal and item modified inside the window, one entity after the other, up to 2,550 at once.

        Raises:
            Drift: an id does not grow, or the portal does not honour the date filter.
        """
        start, end = mapping.whole_seconds(window.start, window.end)
        seen = None if window.marks is None else Arrivals(window.marks)
        listings = {entity.name: await self._listing(entity, _bounds(entity, start, end)) for entity in self._read}
        if self._payments == "invoices":
            listings[INVOICE.name] = payments.changed(start, end)
        begun = await self._begin(listings, seen, start)
        listed: set[str] = set()
        room = asyncio.Semaphore(2)  # one page is worked on, the next is on its way
        async with aclosing(ahead(self._pages(listings, begun), room)) as found_pages:
            async for entity, rows in found_pages:
                if entity is INVOICE:
                    keys = [key for key in payments.owners(rows, start) if key not in listed]
                    listed.update(keys)
                    found = await self.fetch(keys)
                else:
                    if seen is not None:
                        seen.note(entity, rows)
                    found = await self._filled(_listed(entity, rows, (start, end), self._own))
                    listed.update(head.key for head in found.heads if INVOICE.name in listings)
                yield found
                room.release()
        if seen is not None:
            async with aclosing(self._late(seen, begun, start)) as late:
                async for listing in late:
                    yield listing
            yield Listing((), marks=seen.text())

    async def _pages(
        self, listings: Mapping[str, Command], begun: Mapping[str, Begun]
    ) -> AsyncGenerator[tuple[Entity, list[wire.Listed]], None]:
        """One entity after the other, the invoices behind those they belong to."""
        for entity in (*self._read, INVOICE):
            if entity.name in listings:
                walk = keyset(self._portal, listings[entity.name], self._pace, begun[entity.name])
                async with aclosing(walk):
                    async for rows in walk:
                        yield entity, rows

    async def _begin(self, listings: Mapping[str, Command], seen: Arrivals | None, start: datetime) -> dict[str, Begun]:
        """The first page of every list, and of what appeared with an older time, in one request.

        The latter stand under the entity's prefix.
        """
        commands = {name: after(listing, 0) for name, listing in listings.items()}
        if seen is not None:
            for entity in self._read:
                commands[entity.prefix] = seen.command(entity, await self._listing(entity, {}), start.isoformat())
        got = await pages(self._portal, commands)
        begun = {name: Begun(0, got[name]) for name in listings}
        return begun if seen is None else begun | self._arrived(seen, got)

    def _arrived(self, seen: Arrivals, got: Mapping[str, list[wire.Listed]]) -> dict[str, Begun]:
        """The first page of what appeared behind an entity's mark. One without a mark gets one."""
        begun: dict[str, Begun] = {}
        for entity in self._read:
            mark = seen.after(entity)
            if mark is None:
                seen.note(entity, got[entity.prefix])
            else:
                begun[entity.prefix] = Begun(mark, got[entity.prefix])
        return begun

    async def _late(self, seen: Arrivals, begun: Mapping[str, Begun], start: datetime) -> AsyncGenerator[Listing, None]:
        """Records with ids above those seen before, but times from before the window: imports (contract 14)."""
        for entity in self._read:
            first = begun.get(entity.prefix)
            if first is None or not first.page:
                continue
            older = await self._listing(entity, {f"<{entity.time_field}": start.isoformat()})
            room = asyncio.Semaphore(2)
            async with aclosing(ahead(keyset(self._portal, older, self._pace, first), room)) as walk:
                async for rows in walk:
                    seen.note(entity, rows)
                    heads = _heads(entity, rows, self._own)
                    imported = [head for head in heads if isinstance(head, BadRecord) or head.updated_at < start]
                    yield await self._filled(_split(imported))
                    room.release()

    async def fetch(self, keys: Sequence[str]) -> Listing:
        """These records as they are now, fifty per command. Of missing ones the deleted are told apart."""
        wanted = {entity: self._ids(entity, keys) for entity in self._read}
        found = await self._rows(wanted)
        heads = [head for entity, rows in found for head in _heads(entity, rows, self._own)]
        there = {head.key for head in heads}
        missing = [(entity, number) for entity, ids in wanted.items() for number in ids]
        missing = [(entity, number) for entity, number in missing if entity.key(number) not in there]
        deleted = await vanished.deleted(self._portal, missing, self._clock.now()) if missing else ()
        return await self._filled(_split([*heads, *deleted]))

    async def _rows(self, wanted: Mapping[Entity, Sequence[str]]) -> list[tuple[Entity, list[wire.Listed]]]:
        """The rows with these ids, fifty per command."""
        commands, asked = [], []
        for entity, ids in wanted.items():
            for chunk in details.chunks(ids, PAGE):
                listing = await self._listing(entity, {f"@{entity.id_field}": chunk})
                order = {"order": {entity.id_field: "ASC"}, "start": -1}
                commands.append(replace(listing, params={**listing.params, **order}))
                asked.append(entity)
        found: list[tuple[Entity, list[wire.Listed]]] = []
        for entity, done in zip(asked, await self._portal.all(commands), strict=True):
            rows = done.listed()
            checked(rows, 0)
            if not {str(row.id) for row in rows} <= set(done.command.params["filter"][f"@{entity.id_field}"]):
                raise Drift(f"{entity.list_method} returned records that were not asked for: the filter is ignored")
            found.append((entity, rows))
        return found

    async def _look(self, keys: Sequence[str]) -> marks.Seen:
        """These records as they are, with the field that their marks go to."""
        self._names = self._names or await self._read_names()
        found = await self._rows({entity: self._ids(entity, keys) for entity in self._read})
        heads = [head for entity, rows in found for head in _heads(entity, rows, self._own)]
        versions = {head.key: head.version for head in (await self._filled(_split(heads))).heads}
        shown = {entity.key(row.id): marks.shown(row, self._own) for entity, rows in found for row in rows}
        return marks.Seen(self._names, shown, versions)

    @staticmethod
    def _ids(entity: Entity, keys: Sequence[str]) -> list[str]:
        """The ids of those keys that are an entity's, each once."""
        ids = [entities.id_of(key) for key in keys if key.startswith(entity.prefix)]
        return [number for number in dict.fromkeys(ids) if number.isascii() and number.isdigit()]

    async def _filled(self, listing: Listing) -> Listing:
        """The listing with what is asked for record by record: payments and product rows, where they are wanted."""
        listing = await self._paid(listing)
        wanted = product_rows.owners(listing.heads, self._with_rows)
        if not wanted:
            return listing
        found = await product_rows.of_records(self._portal, wanted)
        return attach(listing, "products", found, product_rows.TOLERATED)

    async def _paid(self, listing: Listing) -> Listing:
        """The listing with what its deals were paid, where some goal asks for that."""
        deals = payments.deals_of(listing.heads) if self._payments != "off" else []
        if not deals:
            return listing
        currency = self._rules.currency
        if self._payments == "payments":
            return payments.with_payments(listing, await payments.of_deals(self._portal, deals, currency))
        invoices = await payments.invoices_of(self._portal, deals)
        if self._names is None or not payments.known(invoices, self._names):
            self._names = await self._read_names()
        return payments.with_payments(listing, payments.paid_invoices(invoices, self._names, currency))

    async def _listing(self, entity: Entity, bounds: Mapping[str, Any]) -> Command:
        """A list of an entity. Templates of recurring deals are no sales (contract 4.2)."""
        custom: Sequence[str] = ()
        if entity.is_item:
            self._names = self._names or await self._read_names()
            custom = self._names.custom(entity)
        only = {**bounds, "IS_RECURRING": "N"} if entity is DEAL else dict(bounds)
        select = mapping.select(entity, custom)
        return Command(entity.list_method, {**entity.params, "select": select, "filter": only})

    # --- completing ---

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        """Heads made into deals. The whole history is read, of known keys too: it costs no request more, and a
        move between two polls is never missed, however late the record itself is listed.

        Raises:
            AuthError, Throttled, Unavailable, Refused, Drift: the portal's answer.
        """
        here = [head for head in heads if not isinstance(head.row, Gone)]
        deals = await self._complete(here) if here else []
        if len(here) == len(heads):
            return deals
        made = dict(zip([head.key for head in here], deals, strict=True))
        return [made.get(head.key) or vanished.gone_deal(head.row, head.version) for head in heads]

    async def _complete(self, heads: Sequence[Head]) -> list[Deal | BadRecord]:
        """The same for records that are there."""
        rows = {head.key: head.row for head in heads}
        heads = [mapping.opened(head) for head in heads]
        if self._names is None or not all(self._is_named(head, self._names) for head in heads):
            self._names = await self._read_names()
        found = await details.read(self._portal, heads, self._entities)
        plans = {prefix: mapping.plan(item, self._names, self._rules) for prefix, item in self._entities.items()}
        return [_deal(head, found, plans[entities.prefix_of(head.key)], rows[head.key]) for head in heads]

    def _is_named(self, head: Head, names: directory.Directory) -> bool:
        """Whether the record's stage and source are among the names read so far."""
        row = head.row
        if head.key.startswith(LEAD.prefix):
            place = (LEADS, str(row.get("STATUS_ID") or ""))
        else:
            entity = self._entities[entities.prefix_of(head.key)]
            place = (entity.pipeline(row.get("CATEGORY_ID")), str(row.get("STAGE_ID") or ""))
        source = mapping.reference(row.get("SOURCE_ID"))
        return (place in names.stages or not place[1]) and (not source or source in names.sources)

    async def close(self) -> None:
        """Nothing is held open: the HTTP client belongs to the process."""


def _type_id(entity: Entity) -> int:
    return entity.type_id


def _traits(settings: Bitrix24Settings, *, is_swept: bool) -> SourceTraits:
    """Payments and product rows are only found by asking for them; invoices are seen by the windows."""
    wanted = [(settings.payments_every, settings.payments_for)] if is_swept else []
    wanted += [(settings.product_rows_every, settings.product_rows_for)] if settings.product_rows else []
    return SourceTraits(
        brings_payments=settings.payments != "off",
        brings_products=bool(settings.product_rows),
        leads_become_deals=True,
        sweep_every=min((every for every, _ in wanted), default=None),
        sweep_won=max((since for _, since in wanted), default=timedelta(0)),
    )


def _deal(head: Head, found: details.Details, plan: mapping.Plan, row: wire.Listed) -> Deal | BadRecord:
    contact = found.contacts.get(mapping.wanted_contact(head.row, is_lead=plan.entity is LEAD))
    try:
        history = found.history.get(head.key, ())
        read = mapping.Read(head.row, head.version, history, contact, row.payments, row.products)
        return mapping.deal(read, plan)
    except RecordInvalid as error:
        return BadRecord(head.key, error.code, str(error), head.version)


def _fields(entity: Entity, done: Done) -> dict[str, wire.FieldInfo]:
    if not entity.is_item:
        return wire.mapped(done.rows(wire.FIELDS))
    found = wire.mapped(done.rows(wire.ITEM_FIELDS).fields)
    return {info.upper_name or name: info for name, info in found.items()}


def _bounds(entity: Entity, start: datetime, end: datetime) -> dict[str, str]:
    return {f">={entity.time_field}": start.isoformat(), f"<{entity.time_field}": end.isoformat()}


def _listed(entity: Entity, rows: Sequence[wire.Listed], span: tuple[datetime, datetime], own: str) -> Listing:
    """Rows inside the window. A classic list drops a filter it does not know without a word, so each is checked.

    A row modified at or after the end changed while the portal was reading it; the next window has it.
    """
    start, end = span
    heads = _heads(entity, rows, own)
    for head in heads:
        if isinstance(head, Head) and head.updated_at < start:
            raise Drift(
                f"{entity.list_method} returned a record modified before the window: the portal ignores or shifts date "
                'filters; use credentials of a user without a time zone of their own (see "bridge check")'
            )
    return _split([head for head in heads if isinstance(head, BadRecord) or head.updated_at < end])


def _heads(entity: Entity, rows: Sequence[wire.Listed], own: str) -> list[Head | BadRecord]:
    """Templates are left out here too, should the portal ignore that filter; so is our ``own`` field."""
    return [mapping.head(entity, row, own) for row in rows if not row.is_template]


def _split(heads: Sequence[Head | BadRecord]) -> Listing:
    good = tuple(head for head in heads if isinstance(head, Head))
    return Listing(good, tuple(head for head in heads if isinstance(head, BadRecord)))


def build(name: str, settings: Bitrix24Settings, tools: Tools) -> Source:
    """The source behind a configuration section.

    Raises:
        ConfigError: a secret is missing, or the webhook's is not ``USER/CODE``.
    """
    return Bitrix24Source(name, settings, tools)
