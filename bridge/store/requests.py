"""Work asked for from the command line: a row that the daemon, or the command itself, carries out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select, update

from bridge.frozen import frozen
from bridge.store import codec, schema
from bridge.store.engine import Store
from bridge.tools import Clock


@frozen
class WorkRequest:
    """``kind``: backfill, plan or resolve. ``state``: waiting, running, done or failed."""

    id: int
    tenant: str
    kind: str
    arguments: Mapping[str, Any]
    state: str
    progress: Mapping[str, Any]
    error: str | None


class Requests:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def add(self, tenant: str, kind: str, arguments: Mapping[str, Any]) -> int:
        now = codec.micros(self._clock.now())
        row = {
            "tenant": tenant,
            "kind": kind,
            "arguments": codec.encode(arguments),
            "state": "waiting",
            "created_at": now,
            "updated_at": now,
        }
        async with self._store.write("request") as connection:
            result = await connection.execute(insert(schema.request).returning(schema.request.c.id), row)
            return int(result.scalar_one())

    async def get(self, key: int) -> WorkRequest:
        async with self._store.read() as connection:
            row = (await connection.execute(select(schema.request).where(schema.request.c.id == key))).one()
        return _request(row)

    async def unfinished(self, tenant: str) -> list[WorkRequest]:
        """Waiting requests, and running ones a crash left behind (they are resumed), oldest first."""
        table = schema.request
        query = select(table).where(table.c.tenant == tenant, table.c.state.in_(["waiting", "running"]))
        async with self._store.read() as connection:
            return [_request(row) for row in await connection.execute(query.order_by(table.c.id))]

    async def waiting_tenants(self) -> list[str]:
        """Tenants with unfinished requests."""
        table = schema.request
        query = select(table.c.tenant).where(table.c.state.in_(["waiting", "running"])).distinct()
        async with self._store.read() as connection:
            return list((await connection.execute(query)).scalars())

    async def start(self, key: int) -> bool:
        """Begin it, or go on with it; False where it was withdrawn since it was looked for."""
        return await self._move(key, ("waiting", "running"), state="running", error=None)

    async def give_up(self, key: int, error: str, *states: str) -> bool:
        """End it unfinished if it still is in one of these states."""
        return await self._move(key, states, state="failed", error=error)

    async def _move(self, key: int, states: Sequence[str], **values: Any) -> bool:
        table = schema.request
        query = update(table).where(table.c.id == key, table.c.state.in_(states)).returning(table.c.id)
        async with self._store.write("request") as connection:
            found = await connection.execute(query.values(updated_at=codec.micros(self._clock.now()), **values))
            return found.first() is not None

    async def update(
        self, key: int, state: str, progress: Mapping[str, Any] | None = None, error: str | None = None
    ) -> None:
        values: dict[str, Any] = {"state": state, "error": error, "updated_at": codec.micros(self._clock.now())}
        if progress is not None:
            values["progress"] = codec.encode(progress)
        async with self._store.write("request") as connection:
            await connection.execute(update(schema.request).where(schema.request.c.id == key).values(**values))


def _request(row: Any) -> WorkRequest:
    arguments, progress = codec.mapping(row.arguments), codec.mapping(row.progress)
    return WorkRequest(row.id, row.tenant, row.kind, arguments, row.state, progress, row.error)
