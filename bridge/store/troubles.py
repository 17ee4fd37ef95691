"""What keeps a tenant's destinations from their work: from the first failure to the recovery, loop by loop."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, select

from bridge.states import BatchState, DeliveryState
from bridge.store import codec, schema
from bridge.store.codec import micros
from bridge.store.engine import Store


class Troubles:
    """Reads and writes for one tenant. A loop knows its own trouble only: it cannot tell that another's is over."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    async def failing(self, loop: str) -> set[str]:
        """Destinations at which this loop is in trouble."""
        table = schema.destination_trouble
        query = select(table.c.destination).where(table.c.tenant == self._tenant, table.c.loop == loop)
        async with self._store.read() as connection:
            return set((await connection.execute(query)).scalars())

    async def note(self, destination: str, loop: str, error: str, now: datetime) -> None:
        """A failure; trouble that goes on keeps its beginning."""
        table = schema.destination_trouble
        place = {"tenant": self._tenant, "destination": destination, "loop": loop}
        row = {**place, "failing_since": micros(now), "last_error": error}
        async with self._store.write("trouble") as connection:
            await connection.execute(codec.upsert(self._store.dialect, table, "last_error"), row)

    async def clear(self, destination: str, loop: str) -> None:
        """It is over."""
        table = schema.destination_trouble
        here = (table.c.tenant == self._tenant, table.c.destination == destination, table.c.loop == loop)
        async with self._store.write("trouble") as connection:
            await connection.execute(delete(table).where(*here))

    async def has_failed_batch(self, destination: str, *, settled: bool) -> bool:
        """Whether a batch could not be verified (settled ones), or sent or repaired (the others), and waits."""
        table = schema.batch
        states = [BatchState.DONE] if settled else [BatchState.SEALED, BatchState.SENDING]
        here = (table.c.tenant == self._tenant, table.c.destination == destination, table.c.state.in_(states))
        return await self._is_any(*here, table.c.due.is_not(None), table.c.error.is_not(None))

    async def has_returned_row(self, destination: str) -> bool:
        """Whether a delivery came back from a sending and waits for the next."""
        table = schema.delivery
        here = (table.c.tenant == self._tenant, table.c.destination == destination)
        return await self._is_any(*here, table.c.state == DeliveryState.PENDING, table.c.attempt > 0)

    async def _is_any(self, *where: ColumnElement[Any]) -> bool:
        async with self._store.read() as connection:
            return (await connection.execute(select(1).where(*where).limit(1))).first() is not None
