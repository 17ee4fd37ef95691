"""Visits, and forms of our collector, that are forgotten when they are of no use any more, with every row by which they
were found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.rules.suspicion import request_of, rows_of
from bridge.store import codec, crowds, schema
from bridge.store.codec import micros
from bridge.store.engine import Store
from bridge.store.records import Records

_PAGE = 500


async def forget(store: Store, tenant: str, source: str, before: datetime) -> int:
    """Forget a source's visits and forms of before then, a page per transaction; returns how many there were.

    A first landing of before then stays as long as the form that told of it.
    """
    count = 0
    while True:
        rows = await _old(store, tenant, source, before)
        if not rows:
            return count
        keys = [row.deal for row in rows]
        facts = await Records(store).facts(tenant, source, keys)
        requests = [request_of(one.deal, one.reading, source) for one in facts.values()]
        async with store.write("forget visits") as connection:
            await crowds.forget(
                connection, tenant, source, [(one.deal, row) for one in requests for row in rows_of(one)]
            )
            await _forget_keys(connection, tenant, source, rows)
            for table in (schema.touch, schema.deal):
                wanted = codec.among(store.dialect, table.c.deal, keys)
                await connection.execute(
                    delete(table).where(table.c.tenant == tenant, table.c.source == source, wanted)
                )
        count += len(rows)


async def _old(store: Store, tenant: str, source: str, before: datetime) -> Sequence[Any]:
    deal, touch = schema.deal, schema.touch
    same = and_(touch.c.tenant == deal.c.tenant, touch.c.source == deal.c.source, touch.c.deal == deal.c.deal)
    query = select(deal.c.deal, touch.c.at, touch.c.joins).select_from(deal.outerjoin(touch, same))
    here = (deal.c.tenant == tenant, deal.c.source == source, deal.c.created_at < micros(before))
    of_kind = or_(deal.c.deal.startswith("visit:"), deal.c.deal.startswith("form:"))
    async with store.read() as connection:
        found = await connection.execute(query.where(*here, deal.c.updated_at < micros(before), of_kind).limit(_PAGE))
        return found.all()


async def _forget_keys(connection: AsyncConnection, tenant: str, source: str, rows: Sequence[Any]) -> None:
    table = schema.touch_key
    gone = [
        {"key": key, "when": row.at, "own": row.deal}
        for row in rows
        if row.joins is not None
        for key in codec.keys(row.joins)
    ]
    if gone:
        place = (table.c.tenant == tenant, table.c.source == source, table.c.digest == bindparam("key"))
        one = delete(table).where(*place, table.c.at == bindparam("when"), table.c.deal == bindparam("own"))
        await connection.execute(one, gone)
