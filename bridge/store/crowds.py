"""Which requests and touches have something in common, by time: rows of ``crowd``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Text, bindparam, delete, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.rules.suspicion import Member, Span
from bridge.store import codec, schema
from bridge.store.codec import micros, moment
from bridge.store.engine import Store

COLUMNS = ("tenant", "digest", "at", "source", "deal")


def row(tenant: str, source: str, deal: str, pair: tuple[str, datetime]) -> tuple[Any, ...]:
    """A row of ``COLUMNS``."""
    return tenant, pair[0], micros(pair[1]), source, deal


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
        """Whoever has one of these keys at these times, by key, the earliest first. The spans do not overlap."""
        found: dict[str, list[Member]] = defaultdict(list)
        if not spans:
            return found
        keys = [span.key for span in spans]
        times = [micros(span.since) for span in spans], [micros(span.until) for span in spans]
        values: dict[str, Any]
        if self._store.dialect == "sqlite":
            packed = codec.encode(list(zip(keys, *times, strict=True))).decode()
            query, values = _IN_SQLITE, {"spans": packed}
        else:
            query, values = _IN_POSTGRESQL, {"digests": keys, "since": times[0], "until": times[1]}
        async with self._store.read() as connection:
            for digest, at, source, deal in await connection.execute(query, {"tenant": self._tenant, **values}):
                found[digest].append(Member(digest, moment(at), source, deal))
        for several in found.values():
            several.sort(key=lambda one: one.order)
        return found


# SQLite keeps the order of a CROSS JOIN. Left to itself it reads the whole crowd and looks at every span for each row.
_IN_SQLITE = text(
    "SELECT c.digest, c.at, c.source, c.deal FROM json_each(:spans) AS w CROSS JOIN crowd AS c"
    " WHERE c.tenant = :tenant AND c.digest = json_extract(w.value, '$[0]')"
    " AND c.at BETWEEN json_extract(w.value, '$[1]') AND json_extract(w.value, '$[2]')"
)
_IN_POSTGRESQL = text(
    "SELECT c.digest, c.at, c.source, c.deal FROM unnest(:digests, :since, :until) AS w (digest, since, until)"
    " JOIN crowd AS c ON c.tenant = :tenant AND c.digest = w.digest AND c.at BETWEEN w.since AND w.until"
).bindparams(
    bindparam("digests", type_=ARRAY(Text)),
    bindparam("since", type_=ARRAY(BigInteger)),
    bindparam("until", type_=ARRAY(BigInteger)),
)
