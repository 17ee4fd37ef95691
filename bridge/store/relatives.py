"""What is promised for other records and concerns a deal: records it has taken in, payments that moved to it, and what
the same visitor did in the same second."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import and_, or_, select, text

from bridge.model import Identifier, frozen
from bridge.rules.plan import ARRIVED, LIVE, KnownConversion, Told
from bridge.store import codec, schema
from bridge.store.codec import micros, moment
from bridge.store.engine import Store
from bridge.store.records import load_conversions

_ONCE = text("'once'")
_SECOND = 1_000_000
_SPANS = 200  # in one query: databases limit both its parameters and its depth


async def of_merged(store: Store, tenant: str, source: str, keys: Sequence[str]) -> dict[str, dict[Told, str]]:
    """For each of these records that has taken in others: what is promised for those, once per deal, and for which."""
    deal, reached, told = schema.deal, schema.conversion, schema.delivery
    same = and_(
        reached.c.tenant == deal.c.tenant,
        reached.c.source == deal.c.source,
        reached.c.deal == deal.c.deal,
        reached.c.occurrence == _ONCE,
    )
    live = and_(told.c.conversion == reached.c.id, told.c.state.in_(sorted(LIVE)))
    columns = (deal.c.merged_into, deal.c.deal, reached.c.goal, told.c.destination)
    among = codec.among(store.dialect, deal.c.merged_into, keys)
    here = (deal.c.tenant == tenant, deal.c.source == source, deal.c.merged_into.is_not(None), among)
    query = select(*columns).select_from(deal.join(reached, same).join(told, live)).where(*here)
    found: dict[str, dict[Told, str]] = defaultdict(dict)
    async with store.read() as connection:
        for survivor, key, goal, destination in await connection.execute(query.order_by(deal.c.deal.desc())):
            found[survivor][goal, destination] = key
    return found


async def of_payments(
    store: Store, tenant: str, source: str, payments: Sequence[str]
) -> dict[str, list[KnownConversion]]:
    """For each of these payments that was promised: its conversions, of whichever deal."""
    table = schema.conversion
    among = codec.among(store.dialect, table.c.occurrence, payments)
    async with store.read() as connection:
        by_deal = await load_conversions(connection, tenant, source, and_(table.c.occurrence != _ONCE, among))
    found: dict[str, list[KnownConversion]] = defaultdict(list)
    for known in by_deal.values():
        for one in known:
            found[one.conversion.occurrence].append(one)
    return found


@frozen
class InOrder:
    """A row of an order: the deal it tells of, and whether it is there."""

    order: str
    deal: str
    destination: str
    has_arrived: bool


async def in_orders(store: Store, tenant: str, destinations: Collection[str], orders: Iterable[str]) -> list[InOrder]:
    """All rows of these orders at the destinations, whatever became of them."""
    told, reached = schema.delivery, schema.conversion
    query = (
        select(told.c.deal_order, reached.c.deal, told.c.destination, told.c.state.in_(sorted(ARRIVED)))
        .select_from(told.join(reached, told.c.conversion == reached.c.id))
        .where(told.c.tenant == tenant, told.c.destination.in_(sorted(destinations)))
        .where(codec.among(store.dialect, told.c.deal_order, orders))
    )
    async with store.read() as connection:
        rows = await connection.execute(query)
        return [InOrder(order, deal, name, bool(arrived)) for order, deal, name, arrived in rows]


@frozen
class Reached:
    """A goal that a deal (source and key) reached at a moment, as it is promised somewhere."""

    source: str
    deal: str
    goal: str
    at: datetime
    identifiers: tuple[Identifier, ...]


async def in_seconds(store: Store, tenant: str, seconds: Collection[datetime]) -> list[Reached]:
    """What was promised of these very seconds (each given by its beginning), whichever deal it is of."""
    reached, told = schema.conversion, schema.delivery
    columns = (reached.c.source, reached.c.deal, reached.c.goal, reached.c.occurred_at, told.c.content)
    joined = reached.join(told, told.c.conversion == reached.c.id)
    here = (reached.c.tenant == tenant, told.c.state.in_(sorted(LIVE)))
    query = select(*columns).select_from(joined).where(*here)
    found: list[Reached] = []
    spans = _spans(seconds)
    async with store.read() as connection:
        for start in range(0, len(spans), _SPANS):
            among = [reached.c.occurred_at.between(*span) for span in spans[start : start + _SPANS]]
            for source, deal, goal, at, content in await connection.execute(query.where(or_(*among))):
                found.append(Reached(source, deal, goal, moment(at), codec.outgoing(content).identifiers))
    return found


def _spans(seconds: Collection[datetime]) -> list[tuple[int, int]]:
    """First and last microsecond of seconds that follow each other."""
    spans: list[tuple[int, int]] = []
    for at in map(micros, sorted(seconds)):
        first = spans.pop()[0] if spans and spans[-1][1] == at - 1 else at
        spans.append((first, at + _SECOND - 1))
    return spans
