"""Across the border: what the plans of a page add to the ledger and replace in it, in the page's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.model import Conversion
from bridge.rules.plan import NewDelivery
from bridge.states import DeliveryState
from bridge.store import bulk, codec, schema
from bridge.store.codec import micros
from bridge.store.ledger import EVENT, lock_rows

if TYPE_CHECKING:
    from bridge.store.records import Assessed, Page

_CONVERSION = (
    *("id", "tenant", "source", "deal", "goal", "occurrence", "order_key", "kind", "revision", "occurred_at"),
    *("value_minor", "currency", "rule", "planned_at"),
)
_DELIVERY = (*("id", "tenant", "destination", "conversion", "state", "due", "content", "planned_at", "updated_at"),)


async def write_plans(connection: AsyncConnection, page: Page, rows: bulk.Rows) -> list[str]:
    """Change what the plans of a page replace, and hand their new rows to ``rows``.

    Returns:
        Deals whose pending row was sealed before its new content could be stored: to be planned again.
    """
    at = micros(page.now)
    stale: list[str] = []
    await lock_rows(connection, [key for item in page.assessed for key, _ in item.plan.replaced])
    for item in page.assessed:
        if (item.plan.replaced or item.plan.revised) and not await _replace(connection, item):
            stale.append(item.deal.key)
    conversions = [_conversion_row(page, c) for item in page.assessed for c in item.plan.conversions]
    deliveries = [_delivery_row(page, d) for item in page.assessed for d in item.plan.deliveries]
    rows.add_new(schema.conversion, _CONVERSION, conversions)
    rows.add(schema.delivery, _DELIVERY, deliveries)
    pending = DeliveryState.PENDING.value
    rows.add(schema.delivery_event, EVENT, [(row[0], at, None, pending, None, None) for row in deliveries])
    return stale


def _conversion_row(page: Page, c: Conversion) -> tuple[Any, ...]:
    value = (None, None) if c.value is None else (c.value.minor, c.value.currency)
    place = (c.id, page.tenant, page.source, c.deal, c.goal, c.occurrence, c.order_key, c.kind.value, c.revision)
    return (*place, micros(c.occurred_at), *value, c.rule, micros(page.now))


def _delivery_row(page: Page, d: NewDelivery) -> tuple[Any, ...]:
    at, pending = micros(page.now), DeliveryState.PENDING.value
    place = (d.content.delivery, page.tenant, d.destination, d.conversion, pending)
    return (*place, at, codec.encode(d.content), at, at)


async def _replace(connection: AsyncConnection, item: Assessed) -> bool:
    """New content for pending rows; False when one of them was sealed meanwhile (the deal is then planned again)."""
    promised, table = schema.delivery, schema.conversion
    for key, content in item.plan.replaced:
        statement = update(promised).where(promised.c.id == key, promised.c.state == DeliveryState.PENDING)
        changed = await connection.execute(statement.values(content=codec.encode(content)))
        if changed.rowcount != 1:
            return False
    for c in item.plan.revised:
        value = (None, None) if c.value is None else (c.value.minor, c.value.currency)
        statement = update(table).where(table.c.id == c.id)
        await connection.execute(
            statement.values(occurred_at=micros(c.occurred_at), value_minor=value[0], currency=value[1])
        )
    return True
