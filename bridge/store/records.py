"""Left of the border: deals, touches, persons' digests, quarantine, cursors. A page is one transaction."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, Update, and_, bindparam, delete, exists, select, true, union, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.catalogue import Catalogue
from bridge.frozen import replace
from bridge.identity import Reading
from bridge.model import Confidence, Conversion, ConversionKind, Deal, Match, Money, Touch, Unmatched, frozen
from bridge.ports import BadRecord
from bridge.rules.definitions import Seen
from bridge.rules.floor import Floor
from bridge.rules.plan import LIVE, KnownConversion, KnownDelivery, Plan, Told
from bridge.states import DeliveryState
from bridge.store import bulk, codec, crowds, marks, schema, touches
from bridge.store.codec import Facts, micros, moment
from bridge.store.engine import Store
from bridge.store.page_rows import rows_of
from bridge.store.places import by_source
from bridge.store.plans import add_promises, change_promises
from bridge.store.sweeps import Step, write_step
from bridge.store.touches import Wanted

_UNMARKED = {
    "is_dirty": False,
    "recheck_at": None,
}  # judging it again would fail again; it is judged when it is read again


@lru_cache
def _versions(dialect: str) -> Select[str, str]:
    table = schema.deal
    here = (table.c.tenant == bindparam("tenant"), table.c.source == bindparam("source"))
    return select(table.c.deal, table.c.version).where(*here, codec.among_named(dialect, table.c.deal, "keys"))


@lru_cache
def _state() -> Select[*tuple[Any, ...]]:
    table, deal = schema.source_state, schema.deal
    here, of_deals = [(t.c.tenant == bindparam("tenant"), t.c.source == bindparam("source")) for t in (table, deal)]
    children = exists().where(*of_deals, deal.c.parent.is_not(None))
    merged = exists().where(*of_deals, deal.c.merged_into.is_not(None))
    columns = (
        table.c.watermark,
        table.c.floor,
        table.c.opened,
        table.c.polled_at,
        table.c.due,
        table.c.failing_since,
        table.c.last_error,
        children,
        merged,
        table.c.marks,
        table.c.goals,
    )
    return select(*columns).where(*here)


@lru_cache
def _created(dialect: str) -> Select[str, int]:
    deal = schema.deal
    return select(deal.c.deal, deal.c.created_at).where(*codec.of_records(dialect, deal.c.deal))


@lru_cache
def _dirty(dialect: str) -> Update:
    return update(schema.deal).where(*codec.of_records(dialect, schema.deal.c.deal)).values(is_dirty=true())


@frozen
class Crowding:
    """How a deal's place among other requests changes: rows (key, time) it joins and leaves.

    ``stirs``: other deals (source, key) whose signals depend on that, to be judged again.
    """

    joined: tuple[tuple[str, datetime], ...] = ()
    left: tuple[tuple[str, datetime], ...] = ()
    stirs: tuple[tuple[str, str], ...] = ()


@frozen
class Assessed:
    """One deal with everything judged about it, ready to be written. ``raw`` is kept for a while only.

    ``reopens`` are keys of deals to be judged again: converted from this one, which has a click for them now, or free
    to count what is no longer promised for this one. ``before`` is what the stored deal told of its person; by the
    keys of ``waits`` a record that becomes known later may match it better. ``told`` are the matches of single
    destinations, to be explained. At ``recheck_at`` it is to be judged again. Deals that wait by the keys ``frees`` are
    so now. ``is_marked``: its mark in the CRM says something else now.
    """

    deal: Deal
    reading: Reading
    match: Match | Unmatched
    touch: Touch | None
    plan: Plan
    raw: bytes | None = None
    is_known: bool = False
    reopens: tuple[str, ...] = ()
    before: Touch | None = None
    waits: tuple[str, ...] = ()
    frees: tuple[str, ...] = ()
    told: Mapping[str, Match | Unmatched] = field(default_factory=dict)
    recheck_at: datetime | None = None
    crowd: Crowding = Crowding()
    is_marked: bool = False


@frozen
class Page:
    """What one transaction writes. ``watermark`` and ``marks`` only on the last page of a window.

    ``bad`` are records that could not be read, ``failed`` such as could not be judged. ``sweep``: how far the deep
    sweep is with them.
    """

    tenant: str
    source: str
    now: datetime
    assessed: Sequence[Assessed] = ()
    bad: Sequence[BadRecord] = ()
    watermark: datetime | None = None
    failed: Sequence[BadRecord] = ()
    marks: str | None = None
    sweep: Step | None = None


@frozen
class SourceState:
    """Where reading of one source stands. ``has_children``: it brought deals that were converted from leads;
    ``has_merged``: records that were merged into others.

    ``floor.start`` is None until the first reading, ``goals`` (what its deals were judged by) until the first look.
    """

    watermark: datetime | None = None
    floor: Floor = Floor()
    polled_at: datetime | None = None
    due: datetime = codec.EPOCH
    failing_since: datetime | None = None
    last_error: str | None = None
    has_children: bool = False
    has_merged: bool = False
    marks: str = ""
    goals: Seen | None = None


@frozen
class Child:
    """A stored deal that was converted from a lead, and what is promised for it. Only ``is_exact`` it needs no click of
    its lead's.
    """

    deal: str
    created_at: datetime
    is_exact: bool
    promised: frozenset[Told]


@frozen
class Context:
    """What the store knows about the deals of a page."""

    facts: dict[str, Facts] = field(default_factory=dict)
    conversions: dict[str, list[KnownConversion]] = field(default_factory=dict)


class Records:
    """Reads and writes of the left side."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dialect = store.dialect

    # --- tenant and cursor ---

    async def join_key(self, tenant: str) -> bytes:
        """The tenant's HMAC key for joining persons; made at first use, never leaves the database."""
        table = schema.tenant
        async with self._store.write("join key") as connection:
            fresh = {"tenant": tenant, "join_key": secrets.token_bytes(32)}
            await connection.execute(codec.insert_new(self._dialect, table), fresh)
            row = await connection.execute(select(table.c.join_key).where(table.c.tenant == tenant))
            return bytes(row.scalar_one())

    async def source_state(self, tenant: str, source: str) -> SourceState:
        rows = await self._store.look(_state(), {"tenant": tenant, "source": source})
        if not rows:
            return SourceState()
        watermark, start, opened, polled, due, failing, error, has_children, has_merged, marks, goals = rows[0]
        floor = Floor(codec.maybe(start), codec.periods(opened))
        times = (codec.maybe(polled), moment(due), codec.maybe(failing))
        brought = (bool(has_children), bool(has_merged))
        return SourceState(codec.maybe(watermark), floor, *times, error, *brought, marks or "", codec.goals(goals))

    async def set_source(self, tenant: str, source: str, **values: Any) -> None:
        """Set columns of a source's state; datetimes become microseconds."""
        plain = {k: micros(v) if isinstance(v, datetime) else v for k, v in values.items()}
        async with self._store.write("source state") as connection:
            statement = codec.upsert(self._dialect, schema.source_state, *plain)
            await connection.execute(statement, {"tenant": tenant, "source": source, "due": 0, **plain})

    async def set_floor(self, tenant: str, source: str, floor: Floor) -> None:
        await self.set_source(tenant, source, floor=floor.start, opened=codec.encode(floor.opened))

    async def set_goals(self, tenant: str, source: str, goals: Seen) -> None:
        await self.set_source(tenant, source, goals=codec.encode(goals))

    async def is_empty(self, tenant: str, source: str) -> bool:
        """Whether no deal of this source is stored."""
        table = schema.deal
        query = select(table.c.deal).where(table.c.tenant == tenant, table.c.source == source).limit(1)
        async with self._store.read() as connection:
            return (await connection.execute(query)).first() is None

    async def catalogue(self, tenant: str, source: str) -> tuple[Catalogue, datetime] | None:
        table = schema.source_state
        async with self._store.read() as connection:
            query = select(table.c.catalogue, table.c.catalogue_at).where(
                table.c.tenant == tenant, table.c.source == source, table.c.catalogue.is_not(None)
            )
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else (codec.catalogue(row[0]), moment(row[1]))

    async def set_catalogue(self, tenant: str, source: str, catalogue: Catalogue, now: datetime) -> None:
        await self.set_source(tenant, source, catalogue=codec.encode(catalogue), catalogue_at=now)

    async def forget_raw(self, tenant: str, before: datetime) -> int:
        """Drop the raw texts of deals stored before then."""
        table = schema.deal
        async with self._store.write("forget raw") as connection:
            result = await connection.execute(
                update(table)
                .where(table.c.tenant == tenant, table.c.stored_at < micros(before), table.c.raw.is_not(None))
                .values(raw=None)
            )
            return int(result.rowcount)

    async def forget_orphans(self, tenant: str, before: datetime) -> int:
        """Give up waiting for a late or better touch of deals created before then."""
        orphan, table = schema.orphan_key, schema.deal
        same = (table.c.tenant == orphan.c.tenant, table.c.source == orphan.c.source, table.c.deal == orphan.c.deal)
        is_old = exists().where(*same, table.c.created_at < micros(before))
        async with self._store.write("forget orphans") as connection:
            gone = delete(orphan).where(orphan.c.tenant == tenant, is_old)
            return int((await connection.execute(gone)).rowcount)

    # --- reading for a page ---

    async def versions(self, tenant: str, source: str, keys: Sequence[str]) -> dict[str, str]:
        """Stored version of each of these deals; unknown ones are left out.

        It is "" for a deal of which something could not be read since: whatever comes is news, and its whole history.
        """
        values = {"tenant": tenant, "source": source, "keys": codec.listed(self._dialect, keys)}
        return dict(await self._store.look(_versions(self._dialect), values))

    async def context(self, tenant: str, source: str, known: Sequence[str], parents: Sequence[str]) -> Context:
        """Stored facts of known deals, and the conversions of these and of their parents."""
        context = Context()
        if not known and not parents:
            return context
        async with self._store.read() as connection:
            context.facts.update(await _load_facts(connection, tenant, source, known))
            context.conversions.update(await _of_deals(connection, tenant, source, {*known, *parents}))
        return context

    async def created(self, tenant: str, source: str, keys: Sequence[str]) -> dict[str, datetime]:
        """When these deals were created, as far as they are stored."""
        values = codec.records(self._dialect, tenant, source, keys)
        return {key: moment(at) for key, at in await self._store.look(_created(self._dialect), values)}

    async def children(self, tenant: str, source: str, leads: Sequence[str]) -> dict[str, list[Child]]:
        """For each of these leads that was converted: its deals, in the order of their keys."""
        deal, reached, told = schema.deal, schema.conversion, schema.delivery
        same = and_(reached.c.tenant == deal.c.tenant, reached.c.source == deal.c.source, reached.c.deal == deal.c.deal)
        live = and_(told.c.conversion == reached.c.id, told.c.state.in_(sorted(LIVE)))
        columns = (deal.c.parent, deal.c.deal, deal.c.created_at, deal.c.confidence, reached.c.goal, told.c.destination)
        query = select(*columns).select_from(deal.outerjoin(reached, same).outerjoin(told, live))
        here = (deal.c.tenant == tenant, deal.c.source == source, codec.among(self._dialect, deal.c.parent, leads))
        promised: dict[tuple[str, str, int, bool], set[Told]] = defaultdict(set)
        async with self._store.read() as connection:
            for parent, key, at, confidence, goal, destination in await connection.execute(query.where(*here)):
                pairs = promised[parent, key, at, confidence == Confidence.EXACT]
                if destination is not None:
                    pairs.add((goal, destination))
        found: dict[str, list[Child]] = defaultdict(list)
        for (parent, key, at, is_exact), pairs in sorted(promised.items()):
            found[parent].append(Child(key, moment(at), is_exact, frozenset(pairs)))
        return found

    async def touches(self, tenant: str, source: str, keys: Sequence[str]) -> dict[str, Touch]:
        """What these deals themselves tell (for parents)."""
        return await touches.of_deals(self._store, tenant, source, keys)

    async def near(self, tenant: str, source: str, wanted: Sequence[Wanted]) -> list[list[Touch]]:
        """For each key and time: the latest records that hang on the key and are no later; see ``touches``."""
        return await touches.near(self._store, tenant, source, wanted)

    async def dirty(self, tenant: str, source: str, now: datetime, limit: int = 500) -> list[str]:
        """Deals to be judged again: a touch of the same person came late, their pending row was just sealed, or the
        time has come at which one of their goals is reached by itself.
        """
        table = schema.deal
        here = select(table.c.deal).where(table.c.tenant == tenant, table.c.source == source)
        due = here.where(table.c.recheck_at.is_not(None), table.c.recheck_at <= micros(now))
        query = union(here.where(table.c.is_dirty), due).order_by("deal").limit(limit)
        async with self._store.read() as connection:
            return list((await connection.execute(query)).scalars())

    async def to_be_judged(self, tenant: str, source: str, keys: Sequence[str]) -> set[str]:
        """Those of these deals that something late concerns and that were not judged since."""
        table = schema.deal
        here = (table.c.tenant == tenant, table.c.source == source, codec.among(self._dialect, table.c.deal, keys))
        async with self._store.read() as connection:
            return set((await connection.execute(select(table.c.deal).where(*here, table.c.is_dirty))).scalars())

    async def judge_again(self, tenant: str, source: str) -> None:
        """Mark every deal of a source as one to be judged again."""
        table = schema.deal
        async with self._store.write("judge again") as connection:
            here = (table.c.tenant == tenant, table.c.source == source)
            await connection.execute(update(table).where(*here).values(is_dirty=True))

    async def changed_since(self, tenant: str, source: str, since: datetime, after: str, limit: int) -> list[str]:
        """Keys of deals that changed at that moment or later, by the vendor's time; those next to the key ``after``."""
        table = schema.deal
        here = (table.c.tenant == tenant, table.c.source == source, table.c.deal > after)
        query = select(table.c.deal).where(*here, table.c.updated_at >= micros(since))
        async with self._store.read() as connection:
            return list((await connection.execute(query.order_by(table.c.deal).limit(limit))).scalars())

    async def facts(self, tenant: str, source: str, keys: Sequence[str]) -> dict[str, Facts]:
        async with self._store.read() as connection:
            return await _load_facts(connection, tenant, source, keys)

    # --- writing a page ---

    async def write_page(self, page: Page) -> None:
        """Records, conversions, deliveries and the cursor: all or nothing.

        Raises:
            StoreError: nothing was written.
        """
        rows = rows_of(page, self._dialect)
        add_promises(rows, self._dialect, page)
        self._mark_dirty(rows, page)
        if not _changes_more(page):
            await self._store.write_rows("page", rows)
            return
        async with self._store.write("page") as connection:
            stale = await change_promises(connection, page)
            self._dirty_again(rows, page.tenant, {(page.source, key) for key in stale})
            await rows.write(connection)
            marked = [item.deal.key for item in page.assessed if item.is_marked]
            await marks.ask_for(connection, page.tenant, page.source, marked, page.now)
            left = [(item.deal.key, pair) for item in page.assessed for pair in item.crowd.left]
            await crowds.forget(connection, page.tenant, page.source, left)
            await self._write_quarantine(connection, page)
            await self._read_anew(connection, page)
            if page.sweep is not None:
                await write_step(connection, page.tenant, page.source, page.sweep)
            cursor = {"watermark": page.watermark and micros(page.watermark), "marks": page.marks}
            moved = {name: value for name, value in cursor.items() if value is not None}
            if moved:
                values = {"tenant": page.tenant, "source": page.source, "due": 0, **moved}
                await connection.execute(codec.upsert(self._dialect, schema.source_state, *moved), values)

    def _mark_dirty(self, rows: bulk.Rows, page: Page) -> None:
        """Deals that what this page tells may serve, and deals of its leads."""
        touches.wake(rows, self._dialect, page)
        places = {(page.source, key) for item in page.assessed for key in item.reopens}
        places.update(place for item in page.assessed for place in item.crowd.stirs)
        self._dirty_again(rows, page.tenant, places)

    def _dirty_again(self, rows: bulk.Rows, tenant: str, places: Collection[tuple[str, str]]) -> None:
        """Deals (source, key) that are to be judged again."""
        for source, deals in by_source(sorted(places)).items():
            rows.change(_dirty(self._dialect), codec.records(self._dialect, tenant, source, deals))

    async def _read_anew(self, connection: AsyncConnection, page: Page) -> None:
        """What was not understood of a stored deal is in no version of ours: not what it is, nor how it got there."""
        table = schema.deal
        for keys, values in (([bad.key for bad in page.bad], {}), ([bad.key for bad in page.failed], _UNMARKED)):
            if keys:
                these = self._these(table.c, page, keys)
                await connection.execute(update(table).where(*these).values(version="", **values))

    def _these(self, columns: Any, page: Page, deals: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
        """Rows about these deals of the page's source."""
        wanted = codec.among(self._dialect, columns.deal, deals)
        return columns.tenant == page.tenant, columns.source == page.source, wanted

    async def _write_quarantine(self, connection: AsyncConnection, page: Page) -> None:
        table, now = schema.quarantine, micros(page.now)
        rows = [
            {
                "tenant": page.tenant,
                "source": page.source,
                "record": bad.key,
                "code": bad.code,
                "message": bad.message[:500],
                "first_at": now,
                "last_at": now,
                "times": 1,
            }
            for bad in {bad.key: bad for bad in (*page.bad, *page.failed)}.values()
        ]
        if not rows:
            return
        statement = codec.insert_for(self._dialect, table)
        changes = {
            "code": statement.excluded.code,
            "message": statement.excluded.message,
            "last_at": statement.excluded.last_at,
            "times": table.c.times + 1,
        }
        keys = list(table.primary_key.columns)
        await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes), rows)


def _changes_more(page: Page) -> bool:
    """Whether writing a page takes more than rows made beforehand."""
    return bool(
        page.bad or page.failed or page.marks is not None or page.watermark is not None or page.sweep is not None
    ) or any(item.plan.changes_known or item.is_marked or item.crowd.left for item in page.assessed)


async def _load_facts(connection: AsyncConnection, tenant: str, source: str, keys: Sequence[str]) -> dict[str, Facts]:
    table = schema.deal
    wanted = codec.among(connection.dialect.name, table.c.deal, keys)
    query = select(table.c.deal, table.c.facts, table.c.version).where(
        table.c.tenant == tenant, table.c.source == source, wanted
    )
    return {key: _of_version(codec.facts(data), version) for key, data, version in await connection.execute(query)}


def _of_version(facts: Facts, version: str) -> Facts:
    """Facts under the version they stand for: "" when something newer was not understood (judged again, they stay
    old), a newer one when all that changed since they were read is our own mark.
    """
    return facts if facts.deal.version == version else replace(facts, deal=replace(facts.deal, version=version))


async def _of_deals(
    connection: AsyncConnection, tenant: str, source: str, deals: Iterable[str]
) -> dict[str, list[KnownConversion]]:
    wanted = codec.among(connection.dialect.name, schema.conversion.c.deal, deals)
    return await load_conversions(connection, tenant, source, wanted)


async def load_conversions(
    connection: AsyncConnection, tenant: str, source: str, wanted: ColumnElement[bool]
) -> dict[str, list[KnownConversion]]:
    """The wanted conversions of a source with all that was promised of them, by deal."""
    table, promised = schema.conversion, schema.delivery
    dialect = connection.dialect.name
    query = select(table).where(table.c.tenant == tenant, table.c.source == source, wanted)
    rows = (await connection.execute(query)).all()
    columns = (promised.c.conversion, promised.c.id, promised.c.destination, promised.c.state, promised.c.content)
    more = (promised.c.code, promised.c.is_recalled, promised.c.batch.is_not(None))
    deliveries: dict[str, list[KnownDelivery]] = defaultdict(list)
    told = select(*columns, *more).where(codec.among(dialect, promised.c.conversion, [row.id for row in rows]))
    found = await connection.execute(told.order_by(promised.c.planned_at, promised.c.id)) if rows else ()
    for parent, key, destination, state, content, code, *flags in found:
        place = (key, destination, DeliveryState(state), codec.outgoing(content))
        deliveries[parent].append(KnownDelivery(*place, code or "", *map(bool, flags)))
    result: dict[str, list[KnownConversion]] = defaultdict(list)
    for row in rows:
        result[row.deal].append(KnownConversion(conversion_of(row), tuple(deliveries[row.id])))
    return result


def conversion_of(row: Any) -> Conversion:
    """A row of ``conversion`` as a value."""
    value = None if row.value_minor is None else Money(row.value_minor, row.currency)
    kind = ConversionKind(row.kind)
    at = moment(row.occurred_at)
    return Conversion(
        row.id, row.order_key, row.deal, row.goal, kind, row.revision, at, value, row.rule, row.occurrence
    )
