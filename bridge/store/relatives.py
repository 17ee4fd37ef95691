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
_SECOND = 1_000_000  # microseconds
_SPANS_MOST = 100  # in one query


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
    here = (deal.c.tenant == tenant, deal.c.source == source, among)
    # Outer joins, and sorted here: else SQLite reads every deal of the source, or everything that is promised.
    query = select(*columns).select_from(deal.outerjoin(reached, same).outerjoin(told, live)).where(*here)
    async with store.read() as connection:
        rows = [row for row in await connection.execute(query) if row.destination is not None]
    found: dict[str, dict[Told, str]] = defaultdict(dict)
    for survivor, key, goal, destination in sorted(map(tuple, rows), reverse=True):
        found[survivor][goal, destination] = key
    return found


async def around_merges(
    store: Store, tenant: str, source: str, survivors: Sequence[str]
) -> tuple[dict[str, dict[str, Sequence[KnownConversion]]], dict[str, Sequence[KnownConversion]]]:
    """What was promised once per deal for the records merged into each of these, and for each itself."""
    deal, reached = schema.deal, schema.conversion
    among = codec.among(store.dialect, deal.c.merged_into, survivors)
    query = select(deal.c.merged_into, deal.c.deal).where(deal.c.tenant == tenant, deal.c.source == source, among)
    async with store.read() as connection:
        lost = sorted((survivor, key) for survivor, key in await connection.execute(query))
        wanted = codec.among(store.dialect, reached.c.deal, [*survivors, *[key for _, key in lost]])
        known = await load_conversions(connection, tenant, source, and_(wanted, reached.c.occurrence == _ONCE))
    taken_in: dict[str, dict[str, Sequence[KnownConversion]]] = defaultdict(dict)
    for survivor, key in lost:
        taken_in[survivor][key] = known.get(key, ())
    return dict(taken_in), {key: known.get(key, ()) for key in survivors}


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


async def in_seconds(store: Store, tenant: str, seconds: Iterable[datetime]) -> list[Reached]:
    """What was promised of these whole seconds, whichever deal it is of, at whatever part of the second."""
    reached, told = schema.conversion, schema.delivery
    columns = (reached.c.source, reached.c.deal, reached.c.goal, reached.c.occurred_at, told.c.content)
    joined = reached.join(told, told.c.conversion == reached.c.id)
    query = select(*columns).select_from(joined).where(told.c.state.in_(sorted(LIVE)))
    spans, at = _spans(seconds), reached.c.occurred_at
    found: list[Reached] = []
    async with store.read() as connection:
        for start in range(0, len(spans), _SPANS_MOST):
            some = spans[start : start + _SPANS_MOST]
            # With the tenant outside of the alternatives SQLite would read all that is promised of it.
            among = or_(*[and_(reached.c.tenant == tenant, at >= since, at < until) for since, until in some])
            for source, deal, goal, then, content in await connection.execute(query.where(among)):
                found.append(Reached(source, deal, goal, moment(then), codec.outgoing(content).identifiers))
    return found


def _spans(seconds: Iterable[datetime]) -> list[tuple[int, int]]:
    """From when to before when, in microseconds; seconds that follow each other are one span."""
    spans: list[tuple[int, int]] = []
    for since in sorted({micros(at) for at in seconds}):
        if spans and spans[-1][1] == since:
            spans[-1] = (spans[-1][0], since + _SECOND)
        else:
            spans.append((since, since + _SECOND))
    return spans
