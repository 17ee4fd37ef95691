"""Reads for people: status, explain, held. Never needs the tenant's lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import field
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, distinct, exists, func, or_, select

from bridge.frozen import frozen
from bridge.model import Conversion, Outgoing, Touch
from bridge.rules.coverage import Report
from bridge.rules.definitions import Change, changes
from bridge.rules.windows import Closing
from bridge.states import DeliveryState
from bridge.store import audits, codec, marks, schema
from bridge.store.audits import AuditReport
from bridge.store.codec import Facts, moment
from bridge.store.collected import Collected, CollectedReport
from bridge.store.coverage import coverage_of
from bridge.store.drift import Oddity, oddities
from bridge.store.engine import Store
from bridge.store.hints import Hints, HookReport
from bridge.store.marks import MarkReport
from bridge.store.records import conversion_of
from bridge.store.touches import touch_of


@frozen
class SweepReport:
    """``missed``, ``gone`` and ``aside`` are counts of the last whole sweep and of one that runs now."""

    swept_at: datetime | None = None
    missed: int = 0
    gone: int = 0
    last_error: str | None = None
    aside: int = 0


@frozen
class SourceReport:
    watermark: datetime | None
    polled_at: datetime | None
    deals: int
    quarantined: Mapping[str, int]  # by code
    unmatched: int
    methods: Mapping[str, int]
    confidence: Mapping[str, int]
    last_error: str | None
    failing_since: datetime | None
    sweep: SweepReport = SweepReport()
    coverage: Report | None = None
    changed: tuple[Change, ...] = ()  # goals whose old reaches wait for a decision


@frozen
class DestinationReport:
    states: Mapping[str, int]
    oldest_pending: datetime | None
    in_doubt: int  # batches whose answer is not recorded
    last_error: str | None
    failing_since: datetime | None
    expired: Mapping[str, int] = field(default_factory=dict)  # by reason
    closing: Closing | None = None  # as last looked; None before the first look
    audit: AuditReport = field(default_factory=AuditReport)


@frozen
class Event:
    at: datetime
    before: str | None
    after: str
    batch: str | None
    code: str | None


@frozen
class DeliveryReport:
    id: str
    destination: str
    state: str
    code: str | None
    due: datetime
    content: Outgoing
    conversion: Conversion
    events: tuple[Event, ...]


@frozen
class DealReport:
    """``quarantine``: (code, message) when a newer state of the deal could not be read or judged.

    ``is_parent_read``: the lead it was made from is stored, too; None without one.
    """

    source: str
    facts: Facts
    touch: Touch | None
    deliveries: tuple[DeliveryReport, ...]
    conversions: tuple[Conversion, ...]
    quarantine: tuple[str, str] | None = None
    is_parent_read: bool | None = None


@frozen
class HeldRow:
    id: str
    tenant: str
    destination: str
    deal: str
    goal: str
    occurrence: str
    occurred_at: datetime
    code: str | None
    since: datetime


class Reports:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def source(self, tenant: str, source: str) -> SourceReport:
        deal, bad, state, sweep = schema.deal, schema.quarantine, schema.source_state, schema.sweep
        here = (deal.c.tenant == tenant, deal.c.source == source)
        async with self._store.read() as connection:
            how = (deal.c.method, deal.c.confidence)
            grouped = (await connection.execute(select(*how, func.count()).where(*here).group_by(*how))).all()
            aside = (
                select(bad.c.code, func.count())
                .where(bad.c.tenant == tenant, bad.c.source == source)
                .group_by(bad.c.code)
            )
            codes = {row[0]: row[1] for row in await connection.execute(aside)}
            query = select(state).where(state.c.tenant == tenant, state.c.source == source)
            row = (await connection.execute(query)).one_or_none()
            counted = await connection.scalar(coverage_of(tenant, source))
            query = select(sweep).where(sweep.c.tenant == tenant, sweep.c.source == source)
            swept = (await connection.execute(query)).one_or_none()
        methods, sureness = Counter[str](), Counter[str]()
        unmatched = sum(count for method, _, count in grouped if method is None)
        for method, confidence, count in grouped:
            if method is not None:
                methods[method] += count
                sureness[confidence] += count
        return SourceReport(
            codec.maybe(row.watermark) if row else None,
            codec.maybe(row.polled_at) if row else None,
            unmatched + methods.total(),
            codes,
            unmatched,
            dict(methods),
            dict(sureness),
            row.last_error if row else None,
            codec.maybe(row.failing_since) if row else None,
            SweepReport() if swept is None else _swept(swept),
            None if counted is None else codec.report(counted),
            tuple(changes(codec.goals(row.goals))) if row else (),
        )

    async def drift(self, tenant: str) -> dict[str, list[Oddity]]:
        return await oddities(self._store, tenant)

    async def marks(self, tenant: str, source: str) -> MarkReport:
        return await marks.report(self._store, tenant, source)

    async def hook(self, tenant: str, source: str) -> HookReport:
        return await Hints(self._store).report(tenant, source)

    async def collected(self, tenant: str) -> CollectedReport:
        return await Collected(self._store).report(tenant)

    async def destination(self, tenant: str, destination: str) -> DestinationReport:
        table, batch, trouble = schema.delivery, schema.batch, schema.destination_trouble
        here = (table.c.tenant == tenant, table.c.destination == destination)
        async with self._store.read() as connection:
            counts = {s.value: 0 for s in DeliveryState}
            for name, count in await connection.execute(
                select(table.c.state, func.count()).where(*here).group_by(table.c.state)
            ):
                counts[name] = count
            oldest = await connection.scalar(
                select(func.min(table.c.planned_at)).where(*here, table.c.state == DeliveryState.PENDING)
            )
            doubt = await connection.scalar(
                select(func.count()).where(
                    batch.c.tenant == tenant, batch.c.destination == destination, batch.c.state == "sending"
                )
            )
            query = select(trouble).where(trouble.c.tenant == tenant, trouble.c.destination == destination)
            failing = (await connection.execute(query.order_by(trouble.c.loop))).all()
            late = select(table.c.code, func.count()).where(*here, table.c.state == DeliveryState.EXPIRED)
            expired = {code or "": count for code, count in await connection.execute(late.group_by(table.c.code))}
            state = schema.destination_state
            closing = await connection.scalar(
                select(state.c.closing).where(state.c.tenant == tenant, state.c.destination == destination)
            )
        audit = await self.audit(tenant, destination)
        errors = dict.fromkeys(row.last_error for row in failing)  # the same for two loops is said once
        since = min((moment(row.failing_since) for row in failing), default=None)
        last = codec.maybe(oldest), doubt or 0, "; ".join(errors) or None, since
        return DestinationReport(counts, *last, expired, None if closing is None else codec.closing(closing), audit)

    async def audit(self, tenant: str, destination: str, since: date | None = None) -> AuditReport:
        return await audits.report(self._store, tenant, destination, since)

    async def goals(self, tenant: str) -> dict[str, dict[str, Any]]:
        """Per goal: how often it was reached, by how many deals, the deliveries of each state, and the same for each
        destination.

        A correction of a value is a delivery of its own, hence ``corrections`` of each destination.
        """
        table, promised = schema.conversion, schema.delivery
        result: dict[str, dict[str, Any]] = {}
        async with self._store.read() as connection:
            originals = case((table.c.revision == 0, 1), else_=0)
            deals = func.count(distinct(table.c.source + "/" + table.c.deal))
            counted = select(table.c.goal, func.sum(originals), deals)
            for goal, count, number in await connection.execute(
                counted.where(table.c.tenant == tenant).group_by(table.c.goal)
            ):
                result[goal] = {"reached": int(count), "deals": int(number), "destinations": {}}
            joined = promised.join(table, promised.c.conversion == table.c.id)
            query = (
                select(table.c.goal, promised.c.destination, promised.c.state, func.count(), func.sum(1 - originals))
                .select_from(joined)
                .where(table.c.tenant == tenant)
                .group_by(table.c.goal, promised.c.destination, promised.c.state)
                .order_by(table.c.goal, promised.c.destination)
            )
            for goal, destination, state, count, corrections in await connection.execute(query):
                item = result[goal]
                item[state] = item.get(state, 0) + count
                told = item["destinations"].setdefault(destination, {"corrections": 0})
                told[state] = count
                told["corrections"] += int(corrections)
        return result

    async def find_deals(self, tenant: str, text: str) -> list[tuple[str, str]]:
        """(source, deal) of every deal a person may mean by ``7310``, ``deal:7310`` or ``crm/deal:7310``.

        A number alone may be that of a lead, of a deal, and of an item of any smart process (``item:1032-7310``).
        """
        source, _, rest = text.rpartition("/")
        table = schema.deal
        query = select(table.c.source, table.c.deal).where(table.c.tenant == tenant, _meant(table.c.deal, rest))
        if source:
            query = query.where(table.c.source == source)
        async with self._store.read() as connection:
            found = await connection.execute(query.order_by(table.c.deal, table.c.source))
            return [(place, deal) for place, deal in found]

    async def in_quarantine(self, tenant: str, limit: int) -> tuple[list[tuple[str, str, str]], int]:
        """(source, record, message) of the first records in quarantine, and how many there are."""
        table = schema.quarantine
        query = select(table.c.source, table.c.record, table.c.message).where(table.c.tenant == tenant)
        count = select(func.count()).select_from(table).where(table.c.tenant == tenant)
        async with self._store.read() as connection:
            rows = await connection.execute(query.order_by(table.c.source, table.c.record).limit(limit))
            return [(source, record, message) for source, record, message in rows], await connection.scalar(count) or 0

    async def quarantined(self, tenant: str, text: str) -> list[tuple[str, str, str]]:
        """(source, code, message) of records in quarantine with this key."""
        table = schema.quarantine
        rest = text.rpartition("/")[2]
        query = select(table.c.source, table.c.code, table.c.message).where(
            table.c.tenant == tenant, _meant(table.c.record, rest)
        )
        async with self._store.read() as connection:
            return [(source, code, message) for source, code, message in await connection.execute(query)]

    async def deal(self, tenant: str, source: str, key: str) -> DealReport:
        deal, touch, table, bad = schema.deal, schema.touch, schema.conversion, schema.quarantine
        async with self._store.read() as connection:
            data = await connection.scalar(
                select(deal.c.facts).where(deal.c.tenant == tenant, deal.c.source == source, deal.c.deal == key)
            )
            assert data is not None, "find_deals names only stored deals"
            facts = codec.facts(data)
            parent, is_parent_read = facts.deal.parent, None
            if parent is not None:
                above = (deal.c.tenant == tenant, deal.c.source == source, deal.c.deal == parent)
                is_parent_read = bool(await connection.scalar(select(exists().where(*above))))
            row = (
                await connection.execute(
                    select(touch).where(touch.c.tenant == tenant, touch.c.source == source, touch.c.deal == key)
                )
            ).one_or_none()
            conversions = [
                conversion_of(item)
                for item in await connection.execute(
                    select(table)
                    .where(table.c.tenant == tenant, table.c.source == source, table.c.deal == key)
                    .order_by(table.c.goal, table.c.occurred_at, table.c.occurrence, table.c.revision)
                )
            ]
            aside = (
                await connection.execute(
                    select(bad.c.code, bad.c.message).where(
                        bad.c.tenant == tenant, bad.c.source == source, bad.c.record == key
                    )
                )
            ).one_or_none()
        seen = None if row is None else touch_of(row.deal, row)
        deliveries = [report for c in conversions for report in await self._deliveries(c)]
        quarantine = None if aside is None else (aside.code, aside.message)
        return DealReport(source, facts, seen, tuple(deliveries), tuple(conversions), quarantine, is_parent_read)

    async def _deliveries(self, conversion: Conversion) -> list[DeliveryReport]:
        table, event = schema.delivery, schema.delivery_event
        reports = []
        async with self._store.read() as connection:
            query = select(table).where(table.c.conversion == conversion.id).order_by(table.c.destination)
            for row in (await connection.execute(query)).all():
                events = await connection.execute(select(event).where(event.c.delivery == row.id).order_by(event.c.id))
                chain = tuple(Event(moment(e.at), e.before, e.after, e.batch, e.code) for e in events)
                due, content = moment(row.due), codec.outgoing(row.content)
                reports.append(
                    DeliveryReport(row.id, row.destination, row.state, row.code, due, content, conversion, chain)
                )
        return reports

    async def held(self, tenant: str | None) -> list[HeldRow]:
        table, parent = schema.delivery, schema.conversion
        query = (
            select(table, parent.c.deal, parent.c.goal, parent.c.occurrence, parent.c.occurred_at)
            .select_from(table.join(parent, table.c.conversion == parent.c.id))
            .where(table.c.state == DeliveryState.HELD)
            .order_by(table.c.updated_at, table.c.id)
        )
        if tenant is not None:
            query = query.where(table.c.tenant == tenant)
        async with self._store.read() as connection:
            return [_held(row) for row in await connection.execute(query)]

    async def broken_chains(self) -> int:
        """Events that do not start where the one before ended: always 0, or the ledger was tampered with."""
        event = schema.delivery_event
        previous = func.lag(event.c.after).over(partition_by=event.c.delivery, order_by=event.c.id)
        chain = select(event.c.before, previous.label("previous")).subquery()
        query = select(func.count()).where(func.coalesce(chain.c.before, "") != func.coalesce(chain.c.previous, ""))
        async with self._store.read() as connection:
            return int(await connection.scalar(query) or 0)


def _meant(key: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """The keys that a name without its source may mean."""
    if ":" in name:
        return key == name
    return or_(
        key.in_([f"lead:{name}", f"deal:{name}", f"item:{name}"]),
        and_(key.startswith("item:"), key.endswith(f"-{name}", autoescape=True)),
    )


def _swept(row: Any) -> SweepReport:
    missed, gone = row.last_missed + row.missed, row.last_gone + row.gone
    return SweepReport(codec.maybe(row.swept_at), missed, gone, row.last_error, row.last_aside + row.aside)


def _held(row: Any) -> HeldRow:
    return HeldRow(
        row.id,
        row.tenant,
        row.destination,
        row.deal,
        row.goal,
        row.occurrence,
        moment(row.occurred_at),
        row.code,
        moment(row.updated_at),
    )
