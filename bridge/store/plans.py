"""The way over the border: what plans promise becomes conversions and deliveries, in the transaction of their page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.model import Conversion
from bridge.rules.plan import NewDelivery, Plan
from bridge.states import DeliveryState, Move
from bridge.store import bulk, codec, schema
from bridge.store.codec import micros
from bridge.store.moves import Locked, Shift, event, lock, move_alike

if TYPE_CHECKING:
    from bridge.store.records import Assessed, Page

_CONVERSION = (
    *("id", "deal", "goal", "occurrence", "order_key", "kind", "revision", "occurred_at", "value_minor", "currency"),
    "rule",
)
_DELIVERY = ("id", "destination", "conversion", "content", "deal_order")


def add_promises(rows: bulk.Rows, dialect: str, page: Page) -> None:
    """What the plans of a page promise anew."""
    at = micros(page.now)
    conversions = [_conversion_row(c) for item in page.assessed for c in item.plan.conversions]
    rows.add_new(schema.conversion, _CONVERSION, conversions, tenant=page.tenant, source=page.source, planned_at=at)
    deliveries = [_delivery_row(d) for item in page.assessed for d in item.plan.deliveries]
    pending, times = DeliveryState.PENDING.value, {"due": at, "planned_at": at, "updated_at": at}
    rows.add(schema.delivery, _DELIVERY, deliveries, tenant=page.tenant, state=pending, **times)
    if deliveries:
        rows.change(*event(dialect, [row[0] for row in deliveries], (at, None, pending, None, None)))


async def change_promises(connection: AsyncConnection, page: Page) -> list[str]:
    """Change what the plans of a page replace; before what they promise anew is written.

    Returns:
        Deals whose row was moved before what became of their deal could be stored: to be planned again.
    """
    changing = [item for item in page.assessed if item.plan.changes_known]
    touched = [key for item in changing for key in _touched(item.plan)]
    found = await lock(connection, touched) if touched else {}
    fresh = [item for item in changing if _is_fresh(item.plan, found)]
    stale = [item.deal.key for item in changing if not _is_fresh(item.plan, found)]
    for item in fresh:
        await _replace(connection, item)
    await _take_back(connection, [item.plan for item in fresh], page.now)
    return stale


def _conversion_row(c: Conversion) -> tuple[Any, ...]:
    minor, currency = (None, None) if c.value is None else (c.value.minor, c.value.currency)
    about = (minor, currency, c.rule)
    return c.id, c.deal, c.goal, c.occurrence, c.order_key, str(c.kind), c.revision, micros(c.occurred_at), *about


def _delivery_row(d: NewDelivery) -> tuple[Any, ...]:
    deal_order = None if d.content.rank is None else d.content.order_key
    return d.content.delivery, d.destination, d.conversion, codec.encode(d.content), deal_order


def _touched(plan: Plan) -> Iterator[str]:
    """Deliveries that were there before and are changed."""
    yield from (key for key, _ in (*plan.replaced, *plan.recalled))
    yield from (row.id for row in (*(row for row, _ in plan.withdrawn), *(row for row, _ in plan.restored)))


def _is_fresh(plan: Plan, found: Mapping[str, Locked]) -> bool:
    """Whether the deliveries are still where the plan has seen them."""

    def are(keys: Iterable[str], *states: DeliveryState) -> bool:
        return all(key in found and found[key].state in states for key in keys)

    return (
        are((key for key, _ in plan.replaced), DeliveryState.PENDING)
        and are((row.id for row, _ in plan.withdrawn), DeliveryState.PENDING)
        and are((row.id for row, _ in plan.restored), DeliveryState.CANCELLED)
        and all(found[row.id].code == row.code for row, _ in plan.restored)
        and are((key for key, _ in plan.recalled), DeliveryState.SEALED, DeliveryState.HELD)
    )


async def _replace(connection: AsyncConnection, item: Assessed) -> None:
    """New content for pending rows, and for conversions nothing of which was sent."""
    promised, table = schema.delivery, schema.conversion
    for key, content in item.plan.replaced:
        await connection.execute(update(promised).where(promised.c.id == key).values(content=codec.encode(content)))
    for c in item.plan.revised:
        value = (None, None) if c.value is None else (c.value.minor, c.value.currency)
        statement = update(table).where(table.c.id == c.id)
        await connection.execute(
            statement.values(occurred_at=micros(c.occurred_at), value_minor=value[0], currency=value[1])
        )


async def _take_back(connection: AsyncConnection, plans: Sequence[Plan], now: datetime) -> None:
    """What is not to be sent any more, and what is to be sent after all."""
    table = schema.delivery
    withdrawn: dict[str, list[str]] = defaultdict(list)
    for row, code in (pair for plan in plans for pair in plan.withdrawn):
        withdrawn[code].append(row.id)
    for code, keys in withdrawn.items():
        await move_alike(connection, keys, Shift("", Move.WITHDRAW, code), now, None)
    restored = [(row.id, content) for plan in plans for row, content in plan.restored]
    if restored:
        await move_alike(connection, [key for key, _ in restored], Shift("", Move.RESTORE, due=now), now, None)
    for key, content in restored:
        values = {"content": codec.encode(content), "planned_at": micros(now), "is_recalled": False}
        await connection.execute(update(table).where(table.c.id == key).values(values))
    for key, is_recalled in (pair for plan in plans for pair in plan.recalled):
        await connection.execute(update(table).where(table.c.id == key).values(is_recalled=is_recalled))
