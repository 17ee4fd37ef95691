"""Hints that wait for their records to be read again, and what is known of each source's webhooks."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.frozen import frozen
from bridge.store import codec, schema
from bridge.store.codec import micros
from bridge.store.engine import Store

MOST = 20_000  # hints of one source; a mass edit that brings more is left to the polls
_MARKS = 2**62

CLOSED = "not taken: "  # so begins trouble of webhooks that we refuse ourselves

Place = tuple[str, str]  # tenant, source


@frozen
class Hint:
    """A record to read again. ``mark`` tells this hint from one that comes later for the same record."""

    record: str
    mark: int


@frozen
class HookReport:
    """``waiting``: hints whose records are not read yet, ``oldest``: the first of them. See ``schema.hook``."""

    waiting: int
    oldest: datetime | None
    received_at: datetime | None = None
    checked_at: datetime | None = None
    restored_at: datetime | None = None
    trouble: str | None = None


class Hints:
    """Anybody adds, also a process that does not work for the tenant; only who holds its lock takes and removes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dialect = store.dialect

    async def add(self, arrived: Mapping[Place, Collection[str]], now: datetime) -> dict[Place, int]:
        """Remember these records, by tenant and source, in one transaction; a hint that waits already is renewed.

        Returns:
            How many records of a source were left out because it has too many hints already.

        Raises:
            StoreError: the database refused; nothing was remembered.
        """
        mark, left_out = secrets.randbelow(_MARKS), dict[Place, int]()
        async with self._store.write("hints") as connection:
            for place, records in sorted(arrived.items()):
                wanted = await self._admitted(connection, place, sorted(set(records)))
                left_out[place] = len(set(records)) - len(wanted)
                row = {"tenant": place[0], "source": place[1], "at": micros(now), "mark": mark}
                if wanted:
                    statement = codec.upsert(self._dialect, schema.hint, "mark")
                    await connection.execute(statement, [{**row, "record": record} for record in wanted])
                seen = {"tenant": place[0], "source": place[1], "received_at": micros(now)}
                await connection.execute(codec.upsert(self._dialect, schema.hook, "received_at"), seen)
        return {place: count for place, count in left_out.items() if count}

    async def _admitted(self, connection: AsyncConnection, place: Place, records: list[str]) -> list[str]:
        """All of them while there is room, else those that wait already and as many new ones as fit."""
        table = schema.hint
        here = (table.c.tenant == place[0], table.c.source == place[1])
        count = await connection.scalar(select(func.count()).select_from(table).where(*here)) or 0
        if count + len(records) <= MOST:
            return records
        query = select(table.c.record).where(*here, codec.among(self._dialect, table.c.record, records))
        waiting = set((await connection.execute(query)).scalars())
        fresh = [record for record in records if record not in waiting][: max(MOST - count, 0)]
        return sorted([*waiting, *fresh])

    async def waiting(self) -> list[str]:
        """Tenants with hints."""
        async with self._store.read() as connection:
            return list((await connection.execute(select(schema.hint.c.tenant).distinct())).scalars())

    async def take(self, tenant: str, source: str, limit: int) -> list[Hint]:
        """The oldest hints of a source. They stay until they are done."""
        table = schema.hint
        query = select(table.c.record, table.c.mark).where(table.c.tenant == tenant, table.c.source == source)
        async with self._store.read() as connection:
            found = await connection.execute(query.order_by(table.c.at, table.c.record).limit(limit))
            return [Hint(record, mark) for record, mark in found]

    async def done(self, tenant: str, source: str, hints: Sequence[Hint]) -> None:
        """Their records were read since they were taken. A record that was named again meanwhile stays.

        Rows are taken in the order in which ``add`` takes them: neither waits for the other for ever.
        """
        table = schema.hint
        one = (table.c.record == bindparam("r"), table.c.mark == bindparam("m"))
        statement = delete(table).where(table.c.tenant == tenant, table.c.source == source, *one)
        async with self._store.write("hints done") as connection:
            done = sorted(hints, key=attrgetter("record"))
            await connection.execute(statement, [{"r": hint.record, "m": hint.mark} for hint in done])

    async def forget(self, tenant: str, before: datetime) -> None:
        """Hints that have waited since before then."""
        table = schema.hint
        async with self._store.write("forget hints") as connection:
            await connection.execute(delete(table).where(table.c.tenant == tenant, table.c.at < micros(before)))

    async def set_hook(self, tenant: str, source: str, **values: Any) -> None:
        """Change some columns of what is known of a source's webhooks; times are datetimes."""
        row = {name: micros(value) if isinstance(value, datetime) else value for name, value in values.items()}
        statement = codec.upsert(self._dialect, schema.hook, *row)
        async with self._store.write("hook") as connection:
            await connection.execute(statement, {"tenant": tenant, "source": source, **row})

    async def report(self, tenant: str, source: str) -> HookReport:
        """What is known of a source's webhooks and hints."""
        hint, hook = schema.hint, schema.hook
        counted = select(func.count(), func.min(hint.c.at)).where(hint.c.tenant == tenant, hint.c.source == source)
        known = select(hook).where(hook.c.tenant == tenant, hook.c.source == source)
        async with self._store.read() as connection:
            waiting, oldest = (await connection.execute(counted)).one()
            row = (await connection.execute(known)).one_or_none()
        if row is None:
            return HookReport(waiting, codec.maybe(oldest))
        times = (codec.maybe(row.received_at), codec.maybe(row.checked_at), codec.maybe(row.restored_at))
        return HookReport(waiting, codec.maybe(oldest), *times, row.trouble)
