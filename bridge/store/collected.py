"""Posts to our own collector: kept until they are read as records of a source, and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import delete, select, tuple_

from bridge.store import codec, schema
from bridge.store.codec import micros
from bridge.store.engine import Store

TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class Post:
    """One post behind the border. ``record``: its lead key; the same key again replaces it."""

    record: str
    at: datetime
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CollectedReport:
    """How many posts there were of each kind (``TAKEN``, or why something was refused), and when one was last taken."""

    counts: Mapping[str, int]
    taken_at: datetime | None


class Collected:
    """Anybody adds, also a process that does not work for the tenant; only who holds its lock reads and forgets."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dialect = store.dialect

    async def add(
        self, posts: Mapping[tuple[str, str], Post], counts: Mapping[tuple[str, str], int], now: datetime
    ) -> None:
        """Keep posts, by tenant and record, and add to the counts, by tenant and code, in one transaction.

        Raises:
            StoreError: the database refused; nothing was kept.
        """
        kept = [
            {"tenant": tenant, "record": record, "at": micros(post.at), "body": post.body}
            for (tenant, record), post in sorted(posts.items(), key=lambda item: item[0])
        ]
        counted = [
            {"tenant": tenant, "code": code, "times": times, "last_at": micros(now)}
            for (tenant, code), times in sorted(counts.items())
        ]
        async with self._store.write("collected") as connection:
            if kept:
                await connection.execute(codec.upsert(self._dialect, schema.collected, "at", "body"), kept)
            if counted:
                table = schema.collected_count
                insert = codec.insert_for(self._dialect, table)
                changes = {"times": table.c.times + insert.excluded.times, "last_at": insert.excluded.last_at}
                key = list(table.primary_key.columns)
                await connection.execute(insert.on_conflict_do_update(index_elements=key, set_=changes), counted)

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
        taken = [codec.moment(row.last_at) for row in rows if row.code == TAKEN]
        return CollectedReport({row.code: row.times for row in rows}, taken[0] if taken else None)
