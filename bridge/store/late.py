"""Conversions that expired, with all that is stored of where their time went."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from sqlalchemy import and_, select

from bridge.rules.late import Life, Turn
from bridge.rules.windows import Waiting
from bridge.states import DeliveryState
from bridge.store import codec, schema
from bridge.store.codec import micros, moment
from bridge.store.engine import Store


async def expired(store: Store, tenant: str, destination: str, since: datetime) -> list[tuple[Life, Waiting]]:
    """Deliveries that expired since then, and each as it waited."""
    promised, parent, deal, event = schema.delivery, schema.conversion, schema.deal, schema.delivery_event
    here = and_(
        promised.c.tenant == tenant,
        promised.c.destination == destination,
        promised.c.state == DeliveryState.EXPIRED,
        promised.c.updated_at >= micros(since),
    )
    same = and_(deal.c.tenant == parent.c.tenant, deal.c.source == parent.c.source, deal.c.deal == parent.c.deal)
    query = (
        select(promised.c.id, promised.c.content, promised.c.code, promised.c.planned_at)
        .add_columns(parent.c.source, parent.c.deal, deal.c.method)
        .select_from(promised.join(parent, promised.c.conversion == parent.c.id).outerjoin(deal, same))
        .where(here)
        .order_by(promised.c.updated_at, promised.c.id)
    )
    moves = (
        select(event.c.delivery, event.c.at, event.c.after, event.c.code)
        .select_from(event.join(promised, event.c.delivery == promised.c.id))
        .where(here)
        .order_by(event.c.id)
    )
    turns: defaultdict[str, list[Turn]] = defaultdict(list)
    async with store.read() as connection:
        rows = (await connection.execute(query)).all()
        for key, at, after, code in await connection.execute(moves):
            turns[key].append(Turn(moment(at), after, code))
    found = []
    for row in rows:
        content = codec.outgoing(row.content)
        life = Life(
            row.id,
            f"{row.source}/{row.deal}",
            content.goal,
            destination,
            row.code or "",
            content.value,
            content.clicked_by,
            content.occurred_at,
            row.method,
            tuple(turns[row.id]),
        )
        found.append((life, Waiting(content, moment(row.planned_at))))
    return found
