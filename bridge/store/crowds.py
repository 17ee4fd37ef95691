"""Which requests and touches have something in common, by time.

Persons, browsers and forms are found in the identity graph (``touch_key``), landing pages and IP addresses in
``crowd``, which is written for tenants whose spam rules look at them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Text, TextClause, bindparam, delete, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.rules.suspicion import Member, Span, is_origin
from bridge.store import codec, schema
from bridge.store.codec import micros, moment
from bridge.store.engine import Store

COLUMNS = ("digest", "at", "deal")  # beside tenant and source


def row(deal: str, pair: tuple[str, datetime]) -> tuple[Any, ...]:
    """A row of ``COLUMNS``."""
    return pair[0], micros(pair[1]), deal


async def forget(
    connection: AsyncConnection, tenant: str, source: str, gone: Iterable[tuple[str, tuple[str, datetime]]]
) -> None:
    """Take away rows (deal, (key, time)) that a deal has no more: it was corrected."""
    table = schema.crowd
    for deal, (digest, at) in gone:
        here = (table.c.tenant == tenant, table.c.digest == digest, table.c.at == micros(at))
        await connection.execute(delete(table).where(*here, table.c.source == source, table.c.deal == deal))


class Crowds:
    """Crowds of one tenant."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    async def members(self, spans: Sequence[Span]) -> dict[str, list[Member]]:
        """Whoever has one of these keys at these times, by key, the earliest first. The spans do not overlap.

        Requests and touches alone: a deal that was made from a lead is none, the lead stands for both.
        """
        if not spans:
            return {}
        found: dict[str, list[Member]] = defaultdict(list)
        origins = [span for span in spans if is_origin(span.key)]
        persons = [span for span in spans if not is_origin(span.key)]
        async with self._store.read() as connection:
            for table, wanted in (("crowd", origins), ("touch_key", persons)):
                if wanted:
                    query, values = self._looking(table, wanted)
                    for digest, at, source, deal in await connection.execute(query, values):
                        found[digest].append(Member(digest, moment(at), source, deal))
        for several in found.values():
            several.sort(key=lambda one: one.order)
        return found

    async def forget_all(self) -> int:
        """Every row of ``crowd``: no rule looks at them any more."""
        async with self._store.write("forget crowds") as connection:
            done = await connection.execute(delete(schema.crowd).where(schema.crowd.c.tenant == self._tenant))
            return done.rowcount

    def _looking(self, table: str, spans: Sequence[Span]) -> tuple[TextClause, dict[str, Any]]:
        keys = [span.key for span in spans]
        since, until = [micros(span.since) for span in spans], [micros(span.until) for span in spans]
        if self._store.dialect == "sqlite":
            packed = codec.encode(list(zip(keys, since, until, strict=True))).decode()
            return _IN_SQLITE[table], {"tenant": self._tenant, "spans": packed}
        return _IN_POSTGRESQL[table], {"tenant": self._tenant, "digests": keys, "since": since, "until": until}


# SQLite keeps the order of a CROSS JOIN. Left to itself it reads the whole crowd and looks at every span for each row.
_SQLITE = (
    "SELECT c.digest, c.at, c.source, c.deal FROM json_each(:spans) AS w CROSS JOIN {table} AS c"
    " WHERE c.tenant = :tenant AND c.digest = json_extract(w.value, '$[0]')"
    " AND c.at BETWEEN json_extract(w.value, '$[1]') AND json_extract(w.value, '$[2]')"
)
_POSTGRESQL = (
    "SELECT c.digest, c.at, c.source, c.deal FROM unnest(:digests, :since, :until) AS w (digest, since, until)"
    " JOIN {table} AS c ON c.tenant = :tenant AND c.digest = w.digest AND c.at BETWEEN w.since AND w.until"
)
# In the graph hang deals that were made from leads, too.
_REQUESTS = {
    "crowd": "",
    "touch_key": " AND EXISTS (SELECT 1 FROM deal AS d WHERE d.tenant = c.tenant AND d.source = c.source"
    " AND d.deal = c.deal AND d.parent IS NULL)",
}
_IN_SQLITE = {table: text(_SQLITE.format(table=table) + only) for table, only in _REQUESTS.items()}
_SPANS = (
    bindparam("digests", type_=ARRAY(Text)),
    bindparam("since", type_=ARRAY(BigInteger)),
    bindparam("until", type_=ARRAY(BigInteger)),
)
_IN_POSTGRESQL = {
    table: text(_POSTGRESQL.format(table=table) + only).bindparams(*_SPANS) for table, only in _REQUESTS.items()
}
