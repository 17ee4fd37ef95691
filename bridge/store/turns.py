"""Whose turn it is among the rows of one deal's order, where a destination keeps one (``ports.DealOrders``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.model import ConversionKind, Outgoing, frozen
from bridge.rules.deal_orders import NOT_BEGUN, ORIGINAL_CANCELLED, OVERTAKEN
from bridge.rules.plan import ARRIVED
from bridge.states import DeliveryState
from bridge.store import codec, schema
from bridge.store.codec import moment

_S = DeliveryState
_ON_THE_WAY = frozenset({_S.SEALED, _S.HELD})
_LOOKED_AT = (_S.PENDING, *_ON_THE_WAY, *ARRIVED, _S.CANCELLED)


@frozen
class Shop:
    """A destination with orders of deals; rows of one order go ``apart`` from each other."""

    tenant: str
    destination: str
    apart: timedelta


@dataclass(slots=True)
class Turns:
    """Deliveries that have to wait for others of their order (``busy``), or are not to be sent any more: something that
    was reached later is told already, the row they correct was cancelled by a human, or they take back what was never
    there (``refused``, with the code). ``follows``: the order is there already.
    """

    busy: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    follows: set[str] = field(default_factory=set)


@frozen
class _Row:
    key: str
    content: Outgoing
    state: DeliveryState
    updated_at: datetime
    revision: int
    conversion_key: str

    @property
    def place(self) -> tuple[tuple[datetime, int], int, str]:
        return self.content.place, self.revision, self.key


async def turns(connection: AsyncConnection, shop: Shop, due: Sequence[Outgoing], now: datetime) -> Turns:
    """What the other rows of their orders mean for rows that are due."""
    found = Turns()
    if not due:
        return found
    orders = await _orders(connection, shop, {content.order_key for content in due})
    for content in due:
        rows = orders[content.order_key]
        mine = next((row for row in rows if row.key == content.delivery), None)
        if mine is not None:
            _judge(found, mine, [row for row in rows if row is not mine], now - shop.apart)
    return found


def _judge(found: Turns, mine: _Row, others: Sequence[_Row], quiet_since: datetime) -> None:
    arrived = [row for row in others if row.state in ARRIVED]
    if any(_is_before(row, mine) for row in others) or any(row.updated_at > quiet_since for row in arrived):
        found.busy.add(mine.key)
    elif any(row.content.place > mine.content.place for row in arrived):
        found.refused[mine.key] = OVERTAKEN
    elif mine.content.kind is ConversionKind.RESTATEMENT and any(_is_original(row, mine) for row in others):
        found.refused[mine.key] = ORIGINAL_CANCELLED
    elif mine.content.kind is ConversionKind.RESTATEMENT and mine.content.retracted_at is not None and not arrived:
        found.refused[mine.key] = NOT_BEGUN
    if arrived:
        found.follows.add(mine.key)


def _is_before(row: _Row, mine: _Row) -> bool:
    """Whether a row has to come to its end first: it may be there already, or was reached earlier."""
    return row.state in _ON_THE_WAY or (row.state is _S.PENDING and row.place < mine.place)


def _is_original(row: _Row, mine: _Row) -> bool:
    """Whether it is the first row of the same conversion, and was cancelled."""
    is_first = row.conversion_key == mine.conversion_key and row.revision == 0
    return is_first and row.state is _S.CANCELLED


async def _orders(connection: AsyncConnection, shop: Shop, keys: set[str]) -> dict[str, list[_Row]]:
    promised, parent = schema.delivery, schema.conversion
    columns = (promised.c.deal_order, promised.c.id, promised.c.content, promised.c.state, promised.c.updated_at)
    query = (
        select(*columns, parent.c.revision, parent.c.order_key)
        .select_from(promised.join(parent, promised.c.conversion == parent.c.id))
        .where(
            promised.c.tenant == shop.tenant,
            promised.c.destination == shop.destination,
            codec.among(connection.dialect.name, promised.c.deal_order, keys),
        )
    )
    found: dict[str, list[_Row]] = defaultdict(list)
    for order, key, data, state, at, revision, conversion in await connection.execute(query):
        if state in _LOOKED_AT:  # asked for, SQLite would look for it by the state: through all that was ever sent
            row = _Row(key, codec.outgoing(data), DeliveryState(state), moment(at), revision, conversion)
            found[order].append(row)
    return found
