"""New leads counted for ``rules.coverage``, and what was last found of each source."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, or_, select

from bridge.model import Method
from bridge.rules.coverage import QUARTER, Cell, Report
from bridge.rules.floor import Floor
from bridge.store import codec, schema
from bridge.store.codec import micros
from bridge.store.engine import Store

_OWN = frozenset((Method.FIELD, Method.URL, Method.UTM))
_SIZE = int(QUARTER.total_seconds()) * 1_000_000


def coverage_of(tenant: str, source: str) -> Select[bytes]:
    """What was last found, encoded."""
    table = schema.coverage
    return select(table.c.report).where(table.c.tenant == tenant, table.c.source == source)


class Coverage:
    """Reads and writes for one tenant. Whoever writes holds its lock."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    async def counted_at(self, source: str) -> datetime | None:
        table = schema.coverage
        query = select(table.c.counted_at).where(table.c.tenant == self._tenant, table.c.source == source)
        async with self._store.read() as connection:
            return codec.maybe(await connection.scalar(query))

    async def report(self, source: str) -> Report | None:
        async with self._store.read() as connection:
            data = await connection.scalar(coverage_of(self._tenant, source))
        return None if data is None else codec.report(data)

    async def save(self, source: str, report: Report, now: datetime) -> None:
        table = schema.coverage
        row = {"tenant": self._tenant, "source": source, "counted_at": micros(now), "report": codec.encode(report)}
        async with self._store.write("coverage") as connection:
            await connection.execute(codec.upsert(self._store.dialect, table, "counted_at", "report"), row)

    async def cells(self, source: str, since: datetime, until: datetime, floor: Floor) -> list[Cell]:
        """New leads of this time, alike ones together.

        A request counts once: a deal whose lead is stored counts with it, and items of a process only where nothing
        else is read. Before the source's first reading only what was modified later is known, which is no fair sample:
        it counts in periods that a backfill has read whole.
        """
        table = schema.deal
        parent = table.alias("parent")
        same = (parent.c.tenant == table.c.tenant, parent.c.source == table.c.source, parent.c.deal == table.c.parent)
        is_first = or_(table.c.parent.is_(None), ~exists().where(*same))
        alike = (
            select(
                (table.c.created_at // _SIZE).label("quarter"),
                *(table.c.channel, table.c.identifiers, table.c.method),
                table.c.deal.startswith("item:").label("is_item"),
            )
            .where(table.c.tenant == self._tenant, table.c.source == source, table.c.channel.is_not(None))
            .where(table.c.created_at >= micros(since), table.c.created_at < micros(until), _is_open(floor), is_first)
            .subquery()
        )
        query = select(*alike.c, func.count()).group_by(*alike.c).order_by(*alike.c)
        async with self._store.read() as connection:
            rows = (await connection.execute(query)).all()
        if not all(row.is_item for row in rows):
            rows = [row for row in rows if not row.is_item]
        return [_cell(*row) for row in rows]


def _is_open(floor: Floor) -> ColumnElement[bool]:
    """``Floor.is_open`` for a deal's creation."""
    at = schema.deal.c.created_at
    if floor.start is None:
        return at.is_not(None)
    opened = [at.between(micros(period.since), micros(period.until) - 1) for period in floor.opened]
    return or_(at >= micros(floor.start), *opened)


def _cell(quarter: int, channel: str, identifiers: str | None, method: str | None, *rest: Any) -> Cell:
    kinds = tuple(identifiers.split(",")) if identifiers else ()
    return Cell(quarter, channel, kinds, method in _OWN, rest[-1])
