"""Deliveries that wait, for whoever asks how long they may; and what was last found of that."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sqlalchemy import exists, select

from bridge.frozen import replace
from bridge.rules.windows import Closing, Waiting
from bridge.states import DeliveryState
from bridge.store import codec, schema
from bridge.store.codec import moment
from bridge.store.engine import Store

_PAGE = 5_000
_OPEN = (DeliveryState.PENDING, DeliveryState.SEALED, DeliveryState.HELD)
_ARRIVED = (DeliveryState.ACCEPTED, DeliveryState.VERIFIED, DeliveryState.UNLINKED)


class Windows:
    """Reads and writes for one tenant. Whoever writes holds its lock."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    async def waiting(self, destination: str) -> AsyncIterator[list[Waiting]]:
        """Everything promised there that has no answer yet, page by page.

        A row that was promised before its order arrived follows it all the same: other windows hold for it then.
        """
        table, other = schema.delivery, schema.delivery.alias()
        is_there = (
            exists()
            .where(other.c.tenant == table.c.tenant, other.c.destination == table.c.destination)
            .where(other.c.deal_order == table.c.deal_order, other.c.state.in_(_ARRIVED))
            .correlate(table)
        )
        query = (
            select(table.c.id, table.c.content, table.c.planned_at, is_there.label("follows"))
            .where(table.c.tenant == self._tenant, table.c.destination == destination, table.c.state.in_(_OPEN))
            .order_by(table.c.id)
            .limit(_PAGE)
        )
        last = ""
        while True:
            async with self._store.read() as connection:
                rows = (await connection.execute(query.where(table.c.id > last))).all()
            yield [_waiting(row.content, row.planned_at, follows=bool(row.follows)) for row in rows]
            if len(rows) < _PAGE:
                return
            last = rows[-1].id

    async def last(self, destination: str) -> Closing | None:
        """What was last found."""
        table = schema.destination_state
        query = select(table.c.closing).where(table.c.tenant == self._tenant, table.c.destination == destination)
        async with self._store.read() as connection:
            data = await connection.scalar(query)
        return None if data is None else codec.closing(data)

    async def save(self, destination: str, found: Closing) -> None:
        row = {"tenant": self._tenant, "destination": destination, "closing": codec.encode(found)}
        async with self._store.write("windows") as connection:
            await connection.execute(codec.upsert(self._store.dialect, schema.destination_state, "closing"), row)


def _waiting(data: bytes, planned_at: int, *, follows: bool) -> Waiting:
    content = codec.outgoing(data)
    return Waiting(replace(content, follows=True) if follows else content, moment(planned_at))
