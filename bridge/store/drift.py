"""Words of vendors that their contracts do not have, counted: what ``status`` and the metrics show as drift."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select

from bridge.model import frozen
from bridge.store import codec, schema
from bridge.store.codec import micros, moment
from bridge.store.engine import Store


@frozen
class Oddity:
    """One such word: where it stood, how often it came, from when to when."""

    what: str
    value: str
    count: int
    since: datetime
    seen_at: datetime


class Drifts:
    """Counts of one tenant. Whoever writes holds its lock."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    async def add(self, account: str, counts: Mapping[tuple[str, str], int], now: datetime) -> None:
        """Add to what was counted before."""
        table = schema.drift
        insert = codec.insert_for(self._store.dialect, table)
        statement = insert.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={"count": table.c.count + insert.excluded["count"], "seen_at": insert.excluded.seen_at},
        )
        here = {"tenant": self._tenant, "account": account, "since": micros(now), "seen_at": micros(now)}
        rows = [{**here, "what": what, "value": value, "count": n} for (what, value), n in sorted(counts.items())]
        async with self._store.write("drift") as connection:
            await connection.execute(statement, rows)


async def oddities(store: Store, tenant: str) -> dict[str, list[Oddity]]:
    """By account, the latest first."""
    table = schema.drift
    query = select(table).where(table.c.tenant == tenant).order_by(table.c.seen_at.desc(), table.c.what, table.c.value)
    found: dict[str, list[Oddity]] = {}
    async with store.read() as connection:
        for row in await connection.execute(query):
            one = Oddity(row.what, row.value, row._mapping["count"], moment(row.since), moment(row.seen_at))
            found.setdefault(row.account, []).append(one)
    return found
