"""How far the work is behind its own schedule: what was due and is not done yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import func, select

from bridge.states import DeliveryState
from bridge.store import schema
from bridge.store.codec import EPOCH, moment
from bridge.store.engine import Store

_DONE = datetime.max.replace(tzinfo=UTC)


async def oldest_due(store: Store, sources: Sequence[tuple[str, str]]) -> datetime:
    """Since when the oldest piece of work is due; a moment to come when everything due is done.

    Work is to poll one of ``sources`` (tenant, source; 1970 for one never polled), and to send a pending delivery whose
    destination does not pause; a correction may wait for the row it corrects and is left out. An attempt that failed
    counts as done until it is due again.
    """
    state, delivery, destination = schema.source_state, schema.delivery, schema.destination_state
    place = (delivery.c.tenant, delivery.c.destination)
    first = delivery.join(schema.conversion, delivery.c.conversion == schema.conversion.c.id)
    pending = (
        select(*place, func.min(delivery.c.due))
        .select_from(first)
        .where(delivery.c.state == DeliveryState.PENDING, schema.conversion.c.revision == 0)
        .group_by(*place)
    )
    async with store.read() as connection:
        polls = {(row.tenant, row.source): moment(row.due) for row in await connection.execute(select(state))}
        pauses = {(row.tenant, row.destination): row.due for row in await connection.execute(select(destination))}
        rows = (await connection.execute(pending)).all()
    sends = [moment(max(due, pauses.get((tenant, name), 0))) for tenant, name, due in rows]
    return min([*(polls.get(source, EPOCH) for source in sources), *sends], default=_DONE)
