"""The identity graph as it is stored: what deals tell of their persons, found by key, and the deals that wait for more.

Whatever hangs on a key, a bounded number of its records is read: the latest before some time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, bindparam, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.model import Touch, frozen
from bridge.rules.graph import LOOKED_AT, stirred
from bridge.store import codec, schema
from bridge.store.codec import micros, moment
from bridge.store.engine import Store

if TYPE_CHECKING:
    from bridge.store.records import Assessed, Page


@frozen
class Wanted:
    """A key, and up to when its records are of use."""

    digest: str
    until: datetime


# The number of each wanted key with the touches under it. A limit of its own for each key: SQLite has no LATERAL, and
# takes an aggregate of a limited subquery for it.
_NEAR = {
    "sqlite": text(
        """
        SELECT w.key, t.source, t.deal, t.at, t.identifiers, t.joins
        FROM json_each(:wanted) w CROSS JOIN json_each((
            SELECT json_group_array(json_array(n.source, n.deal)) FROM (
                SELECT k.source, k.deal FROM touch_key k
                WHERE k.tenant = :tenant AND k.digest = json_extract(w.value, '$[0]')
                    AND k.at <= json_extract(w.value, '$[1]')
                ORDER BY k.at DESC, k.source DESC, k.deal DESC LIMIT :most) n)) p
        CROSS JOIN touch t ON t.tenant = :tenant AND t.source = json_extract(p.value, '$[0]')
            AND t.deal = json_extract(p.value, '$[1]')
        """
    ),
    "postgresql": text(
        """
        SELECT w.number - 1, t.source, t.deal, t.at, t.identifiers, t.joins
        FROM jsonb_array_elements(CAST(:wanted AS jsonb)) WITH ORDINALITY w(value, number), LATERAL (
            SELECT k.source, k.deal FROM touch_key k
            WHERE k.tenant = :tenant AND k.digest = w.value ->> 0 AND k.at <= (w.value ->> 1)::bigint
            ORDER BY k.at DESC, k.source DESC, k.deal DESC LIMIT :most) n
        JOIN touch t ON t.tenant = :tenant AND t.source = n.source AND t.deal = n.deal
        """
    ),
}


async def near(store: Store, tenant: str, source: str, wanted: Sequence[Wanted]) -> list[list[Touch]]:
    """For each wanted key the latest LOOKED_AT records up to its time, in any source of the tenant and in any order.

    A deal of another source is named with it (``shop/lead:5``): both may have one of that number.
    """
    asked = codec.encode([(one.digest, micros(one.until)) for one in wanted]).decode()
    values = {"tenant": tenant, "wanted": asked, "most": LOOKED_AT}
    known: dict[tuple[str, str], Touch] = {}
    found: list[list[Touch]] = [[] for _ in wanted]
    for number, place, deal, *told in await store.look(_NEAR[store.dialect], values):
        touch = known.get((place, deal))
        if touch is None:
            touch = known[place, deal] = _touch(deal if place == source else f"{place}/{deal}", *told)
        found[number].append(touch)
    return found


async def of_deals(store: Store, tenant: str, source: str, keys: Sequence[str]) -> dict[str, Touch]:
    """What these deals of one source tell."""
    values = {"tenant": tenant, "source": source, "keys": codec.listed(store.dialect, keys)}
    rows = await store.look(_of(store.dialect), values)
    return {deal: _touch(deal, at, shown, keys) for deal, at, shown, keys in rows}


@lru_cache
def _of(dialect: str) -> Select[str, int, bytes, bytes]:
    table = schema.touch
    query = select(table.c.deal, table.c.at, table.c.identifiers, table.c.joins)
    here = (table.c.tenant == bindparam("tenant"), table.c.source == bindparam("source"))
    return query.where(*here, codec.among_named(dialect, table.c.deal, "keys"))


def touch_of(name: str, row: Any) -> Touch:
    """A row of ``touch`` under the name of its deal."""
    return _touch(name, row.at, row.identifiers, row.joins)


def _touch(name: str, at: int, identifiers: bytes, keys: bytes) -> Touch:
    return Touch(name, moment(at), codec.identifiers(identifiers), codec.keys(keys))


# --- writing -----------------------------------------------------------------------------------------------------


async def forget(connection: AsyncConnection, page: Page) -> None:
    """What was stored of the page's deals and is not so any more: keys they hung on, keys they waited by."""
    orphan, table = schema.orphan_key, schema.touch_key
    known = [item.deal.key for item in page.assessed if item.is_known]
    if known:
        these = (orphan.c.tenant == page.tenant, orphan.c.source == page.source)
        wanted = codec.among(connection.dialect.name, orphan.c.deal, known)
        await connection.execute(delete(orphan).where(*these, wanted))
    for item in page.assessed:
        gone, before = _gone(item), item.before
        if gone and before is not None:
            place = (table.c.tenant == page.tenant, table.c.source == page.source, table.c.deal == item.deal.key)
            when = table.c.at == micros(before.at)
            await connection.execute(delete(table).where(*place, when, table.c.digest.in_(gone)))
    silent = [item.deal.key for item in page.assessed if item.before is not None and item.touch is None]
    if silent:
        mine = schema.touch
        wanted = codec.among(connection.dialect.name, mine.c.deal, silent)
        await connection.execute(delete(mine).where(mine.c.tenant == page.tenant, mine.c.source == page.source, wanted))


def _gone(item: Assessed) -> tuple[str, ...]:
    """Keys under which the stored deal is found at a place where it is not any more."""
    before, now = item.before, item.touch
    if before is None or before == now:
        return ()
    if now is None or now.at != before.at:
        return before.keys
    return tuple([key for key in before.keys if key not in now.keys])


async def waiting(connection: AsyncConnection, page: Page) -> set[tuple[str, str]]:
    """(source, deal) of those that may be matched otherwise by what the page tells and was not so before.

    Those of the page itself were judged with all of it, but for what it ``frees``.
    """
    fresh: set[str] = set()
    freed = {key for item in page.assessed for key in item.frees}
    for item in page.assessed:
        fresh |= stirred(item.before, item.touch)
    if not fresh and not freed:
        return set()
    orphan = schema.orphan_key
    wanted = codec.among(connection.dialect.name, orphan.c.digest, sorted(fresh | freed))
    rows = await connection.execute(
        select(orphan.c.source, orphan.c.deal, orphan.c.digest).where(orphan.c.tenant == page.tenant, wanted)
    )
    here = {(page.source, item.deal.key) for item in page.assessed}
    return {(source, deal) for source, deal, key in rows if key in freed or (source, deal) not in here}
