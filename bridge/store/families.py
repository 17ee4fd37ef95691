"""All stored deals, page by page, none apart from its lead: what is counted on one is not counted on the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from sqlalchemy import and_, func, not_, or_, select

from bridge.model import frozen
from bridge.store import codec, schema
from bridge.store.engine import Store


@frozen
class Families:
    """``last``: the key of the last lead, or deal without one; the next page goes on behind it."""

    last: str
    keys: list[str]


async def count(store: Store, tenant: str, source: str) -> int:
    """How many deals of a source are stored."""
    table = schema.deal
    query = select(func.count()).select_from(table).where(table.c.tenant == tenant, table.c.source == source)
    async with store.read() as connection:
        return int(await connection.scalar(query) or 0)


async def families(store: Store, tenant: str, source: str, after: str, limit: int) -> AsyncGenerator[Families, None]:
    """Leads, and deals without a stored lead, behind the key ``after``, with what was converted from them.

    So many of them are on one page, and all their deals.
    """
    while heads := await _heads(store, tenant, source, after, limit):
        keys, found = dict.fromkeys(heads), heads
        while found := [key for key in await _below(store, tenant, source, found) if key not in keys]:
            keys.update(dict.fromkeys(found))
        after = heads[-1]
        yield Families(after, list(keys))


async def _heads(store: Store, tenant: str, source: str, after: str, limit: int) -> list[str]:
    table, lead = schema.deal, schema.deal.alias("lead")
    same = and_(lead.c.tenant == table.c.tenant, lead.c.source == table.c.source, lead.c.deal == table.c.parent)
    is_head = or_(table.c.parent.is_(None), not_(select(lead.c.deal).where(same).exists()))
    here = (table.c.tenant == tenant, table.c.source == source, table.c.deal > after)
    query = select(table.c.deal).where(*here, is_head).order_by(table.c.deal).limit(limit)
    async with store.read() as connection:
        return list((await connection.execute(query)).scalars())


async def _below(store: Store, tenant: str, source: str, leads: Sequence[str]) -> list[str]:
    table = schema.deal
    among = codec.among(store.dialect, table.c.parent, leads)
    here = (table.c.tenant == tenant, table.c.source == source, table.c.parent.is_not(None), among)
    async with store.read() as connection:
        return list((await connection.execute(select(table.c.deal).where(*here).order_by(table.c.deal))).scalars())
