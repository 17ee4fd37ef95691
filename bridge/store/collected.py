"""Posts to our own collector: kept until they are read as records of a source, and counted.

None is missed by the reader, however long its commit takes: its time is taken once the transaction has begun, and the
reader waits for those that have begun before it looks (``settled``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime

from sqlalchemy import delete, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.frozen import frozen
from bridge.store import codec, schema
from bridge.store.codec import micros
from bridge.store.engine import Store
from bridge.tools import Clock

TAKEN = "taken"
# PostgreSQL: shared by those who add, so they do not wait for each other. SQLite has one writer at a time anyway.
_LOCK = {"key": int.from_bytes(b"collectd", signed=True)}
_ADDING = text("SELECT pg_advisory_xact_lock_shared(:key)").bindparams(**_LOCK)
_LOOKING = text("SELECT pg_advisory_xact_lock(:key)").bindparams(**_LOCK)


@frozen
class Post:
    """One post behind the border, as it is kept. ``record``: its lead key; the same key again replaces it."""

    record: str
    at: datetime
    body: bytes = field(repr=False)


@frozen
class CollectedReport:
    """How many posts there were of each kind (``TAKEN``, or why something was refused), and when the last one came."""

    counts: Mapping[str, int]
    last: Mapping[str, datetime]

    @property
    def taken_at(self) -> datetime | None:
        """When one was last taken."""
        return self.last.get(TAKEN)


class Collected:
    """Anybody adds, also a process that does not work for the tenant; only who holds its lock reads and forgets."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dialect = store.dialect

    async def add(
        self, posts: Mapping[tuple[str, str], bytes], counts: Mapping[tuple[str, str], int], clock: Clock
    ) -> None:
        """Keep posts, by tenant and record, and add to the counts, by tenant and code, in one transaction.

        Raises:
            StoreError: the database refused; nothing was kept.
        """
        async with self._store.write("collected") as connection:
            now = await begun(connection, clock)
            kept = [
                {"tenant": tenant, "record": record, "at": now, "body": body}
                for (tenant, record), body in sorted(posts.items(), key=lambda item: item[0])
            ]
            counted = [
                {"tenant": tenant, "code": code, "times": times, "last_at": now}
                for (tenant, code), times in sorted(counts.items())
            ]
            if kept:
                await connection.execute(codec.upsert(self._dialect, schema.collected, "at", "body"), kept)
            if counted:
                table = schema.collected_count
                insert = codec.insert_for(self._dialect, table)
                changes = {"times": table.c.times + insert.excluded.times, "last_at": insert.excluded.last_at}
                key = list(table.primary_key.columns)
                await connection.execute(insert.on_conflict_do_update(index_elements=key, set_=changes), counted)

    async def settled(self) -> None:
        """Wait for every transaction that has begun to add posts: what is listed after it up to now is all there is.

        Raises:
            StoreError: one takes longer than the database waits.
        """
        async with self._store.write("collected settled") as connection:
            if self._dialect == "postgresql":
                await connection.execute(_LOOKING)

    async def since(self, tenant: str, start: datetime) -> int:
        """How many posts are kept that came then or later."""
        table = schema.collected
        query = select(func.count()).where(table.c.tenant == tenant, table.c.at >= micros(start))
        async with self._store.read() as connection:
            return int(await connection.scalar(query) or 0)

    async def listed(
        self, tenant: str, start: datetime, end: datetime, after: Post | None, limit: int
    ) -> Sequence[Post]:
        """Posts that came in ``[start, end)``, the oldest first, from behind one of them on."""
        table = schema.collected
        query = select(table.c.record, table.c.at, table.c.body).where(
            table.c.tenant == tenant, table.c.at >= micros(start), table.c.at < micros(end)
        )
        if after is not None:
            query = query.where(tuple_(table.c.at, table.c.record) > (micros(after.at), after.record))
        async with self._store.read() as connection:
            found = await connection.execute(query.order_by(table.c.at, table.c.record).limit(limit))
            return [Post(record, codec.moment(at), body) for record, at, body in found]

    async def named(self, tenant: str, records: Sequence[str]) -> Sequence[Post]:
        """These posts, as far as they are still kept."""
        table = schema.collected
        query = select(table.c.record, table.c.at, table.c.body).where(
            table.c.tenant == tenant, codec.among(self._dialect, table.c.record, records)
        )
        async with self._store.read() as connection:
            found = await connection.execute(query.order_by(table.c.record))
            return [Post(record, codec.moment(at), body) for record, at, body in found]

    async def forget(self, tenant: str, before: datetime) -> int:
        """Posts that came before then; how many."""
        table = schema.collected
        async with self._store.write("forget collected") as connection:
            done = await connection.execute(delete(table).where(table.c.tenant == tenant, table.c.at < micros(before)))
            return done.rowcount

    async def report(self, tenant: str) -> CollectedReport:
        """What was counted."""
        table = schema.collected_count
        query = select(table.c.code, table.c.times, table.c.last_at).where(table.c.tenant == tenant)
        async with self._store.read() as connection:
            rows = (await connection.execute(query.order_by(table.c.code))).all()
        times = {row.code: codec.moment(row.last_at) for row in rows}
        return CollectedReport({row.code: row.times for row in rows}, times)


async def begun(connection: AsyncConnection, clock: Clock) -> int:
    """The time (microseconds) of posts that this transaction adds; no reader that looks later overlooks it."""
    if connection.dialect.name == "postgresql":
        await connection.execute(_ADDING)
    return micros(clock.now())
