"""What keeps a tenant's accounts from their work: of destinations from the first failure to the recovery, by loop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update

from bridge.frozen import frozen
from bridge.states import BatchState, DeliveryState
from bridge.store import codec, schema
from bridge.store.codec import micros, moment
from bridge.store.engine import Store


@frozen
class Failure:
    """An account that fails. ``loop`` is that of a destination, "" of a source."""

    account: str
    loop: str
    since: datetime
    error: str


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

    async def failures(self) -> list[Failure]:
        """Everything that fails: sources first."""
        source, other = schema.source_state, schema.destination_trouble
        reading = select(source.c.source, source.c.failing_since, source.c.last_error).where(
            source.c.tenant == self._tenant, source.c.failing_since.is_not(None)
        )
        rest = select(other.c.destination, other.c.loop, other.c.failing_since, other.c.last_error)
        async with self._store.read() as connection:
            sources = (await connection.execute(reading.order_by(source.c.source))).all()
            others = (await connection.execute(rest.where(other.c.tenant == self._tenant))).all()
        found = [Failure(name, "", moment(since), error or "") for name, since, error in sources]
        return found + [Failure(name, loop, moment(since), error) for name, loop, since, error in sorted(others)]

    async def try_again(self, codes: Sequence[str], now: datetime) -> None:
        """Sources that fail are due, and deliveries that came back with such a code, and their destinations."""
        source, row, shop = schema.source_state, schema.delivery, schema.destination_state
        waits = (row.c.tenant == self._tenant, schema.is_pending, row.c.attempt > 0, row.c.code.in_(codes))
        failing = (source.c.tenant == self._tenant, source.c.failing_since.is_not(None))
        concerned = select(row.c.destination).where(*waits)
        async with self._store.write("try again") as connection:
            await connection.execute(update(source).where(*failing).values(due=micros(now)))
            here = (shop.c.tenant == self._tenant, shop.c.destination.in_(concerned))
            await connection.execute(update(shop).where(*here).values(due=micros(now)))
            await connection.execute(update(row).where(*waits).values(due=micros(now)))

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
