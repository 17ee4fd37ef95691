"""What is promised for other records and concerns a deal: records it has taken in, payments that moved to it, and what
the same visitor did in the same second."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import CTE, BigInteger, Select, and_, bindparam, literal_column, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from bridge.model import Identifier, frozen
from bridge.rules.plan import ARRIVED, LIVE, KnownConversion, Told
from bridge.store import codec, schema
from bridge.store.codec import moment
from bridge.store.engine import Store
from bridge.store.records import load_conversions

_ONCE = text("'once'")
_SECOND = 1_000_000  # microseconds
_LIVE = [f"'{state}'" for state in sorted(LIVE)]


@lru_cache
def _gone(dialect: str) -> CTE:
    """The records that were merged into some others (``codec.of_records``), and into those before: (survivor, deal)."""
    deal = schema.deal
    first = select(deal.c.merged_into.label("survivor"), deal.c.deal).where(
        *codec.of_records(dialect, deal.c.merged_into)
    )
    gone = first.cte("gone", recursive=True)
    before = select(gone.c.survivor, deal.c.deal).select_from(gone)
    before = before.where(*codec.of_source(deal), deal.c.merged_into == gone.c.deal)
    return gone.union(before)  # each once, or a ring would never end


@lru_cache
def _merged(dialect: str) -> Select[str, str, str, str]:
    gone, reached, told = _gone(dialect), schema.conversion, schema.delivery
    same = and_(*codec.of_source(reached), reached.c.deal == gone.c.deal, reached.c.occurrence == _ONCE)
    live = and_(told.c.conversion == reached.c.id, told.c.state.in_([literal_column(state) for state in _LIVE]))
    columns = (gone.c.survivor, gone.c.deal, reached.c.goal, told.c.destination)
    # Outer joins, and sorted later: else SQLite reads every deal of the source, or everything that is promised.
    return select(*columns).select_from(gone.outerjoin(reached, same).outerjoin(told, live))


@lru_cache
def _all_gone(dialect: str) -> Select[str, str]:
    return select(*_gone(dialect).c)


@lru_cache
def _onward(dialect: str) -> Select[str, str | None]:
    """Where some records went, and where those went that they were merged into: (deal, merged into or NULL)."""
    deal = schema.deal
    first = select(deal.c.deal, deal.c.merged_into).where(*codec.of_records(dialect, deal.c.deal))
    chain = first.cte("chain", recursive=True)
    further = select(deal.c.deal, deal.c.merged_into).select_from(chain)
    return select(*chain.union(further.where(*codec.of_source(deal), deal.c.deal == chain.c.merged_into)).c)


async def onward(store: Store, tenant: str, source: str, keys: Sequence[str]) -> dict[str, str]:
    """Of these records, and of those that they were merged into: into which each was, as far as they are merged."""
    rows = await store.look(_onward(store.dialect), codec.records(store.dialect, tenant, source, keys))
    return {key: into for key, into in rows if into is not None}


async def of_merged(store: Store, tenant: str, source: str, keys: Sequence[str]) -> dict[str, dict[Told, str]]:
    """For each of these records that has taken in others: what is promised for those, once per deal, and for which.

    Also for those that the others had taken in before.
    """
    values = codec.records(store.dialect, tenant, source, keys)
    rows = [tuple(row) for row in await store.look(_merged(store.dialect), values) if row[3] is not None]
    found: dict[str, dict[Told, str]] = defaultdict(dict)
    for survivor, key, goal, destination in sorted(rows, reverse=True):
        found[survivor][goal, destination] = key
    return found


async def around_merges(
    store: Store, tenant: str, source: str, survivors: Sequence[str]
) -> tuple[dict[str, dict[str, Sequence[KnownConversion]]], dict[str, Sequence[KnownConversion]]]:
    """What was promised once per deal for the records merged into each of these, and for each itself."""
    reached, values = schema.conversion, codec.records(store.dialect, tenant, source, survivors)
    async with store.read() as connection:
        gone = await connection.execute(_all_gone(store.dialect), values)
        lost = sorted((survivor, key) for survivor, key in gone)
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


@lru_cache
def _in_orders(dialect: str) -> Select[*tuple[Any, ...]]:
    told, reached = schema.delivery, schema.conversion
    of_orders = codec.among_named(dialect, told.c.deal_order, "orders")
    return (
        select(told.c.deal_order, reached.c.deal, told.c.destination, told.c.state)
        .select_from(told.join(reached, told.c.conversion == reached.c.id))
        .where(told.c.tenant == bindparam("tenant"), of_orders)
        .where(codec.among_named(dialect, told.c.destination, "destinations"))
    )


async def in_orders(store: Store, tenant: str, destinations: Collection[str], orders: Iterable[str]) -> list[InOrder]:
    """All rows of these orders at the destinations, whatever became of them."""
    named = {"orders": orders, "destinations": sorted(destinations)}
    listed = {name: codec.listed(store.dialect, values) for name, values in named.items()}
    rows = await store.look(_in_orders(store.dialect), {"tenant": tenant, **listed})
    return [InOrder(order, deal, name, state in ARRIVED) for order, deal, name, state in rows]


@frozen
class Reached:
    """A goal that a deal (source and key) reached at a moment, as it is promised somewhere."""

    source: str
    deal: str
    goal: str
    at: datetime
    identifiers: tuple[Identifier, ...]


# SQLite keeps the order of a CROSS JOIN: the seconds first, each looked up in the index.
_IN_SECONDS = (
    "SELECT c.source, c.deal, c.goal, c.occurred_at, d.content"
    " FROM {seconds} CROSS JOIN conversion AS c JOIN delivery AS d ON d.conversion = c.id"
    " WHERE c.tenant = :tenant AND c.occurred_at >= w.value AND c.occurred_at < w.value + :length"
    " AND d.state IN ({states})"
)
_STATES = ", ".join(_LIVE)
_SECONDS = {
    "sqlite": text(_IN_SECONDS.format(states=_STATES, seconds="json_each(:seconds) AS w")),
    "postgresql": text(_IN_SECONDS.format(states=_STATES, seconds="unnest(:seconds) AS w (value)")).bindparams(
        bindparam("seconds", type_=ARRAY(BigInteger))
    ),
}


async def in_seconds(store: Store, tenant: str, seconds: Collection[int], at_once: int = 1) -> list[Reached]:
    """What was promised of so many whole seconds from each of these Unix seconds on, whichever deal it is of, at
    whatever part of a second. Where they overlap it comes several times.
    """
    starts = [second * _SECOND for second in sorted(seconds)]
    wanted = codec.encode(starts).decode() if store.dialect == "sqlite" else starts
    values = {"tenant": tenant, "seconds": wanted, "length": at_once * _SECOND}
    rows = await store.look(_SECONDS[store.dialect], values)
    return [
        Reached(source, deal, goal, moment(then), codec.outgoing(content).identifiers)
        for source, deal, goal, then, content in rows
    ]
