"""The identity graph as it is stored: what deals tell of their persons, found by key, and the deals that wait for more.

Whatever hangs on a key, a bounded number of its records is read: the latest before some time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.model import Touch, frozen
from bridge.rules.graph import LOOKED_AT, stirred
from bridge.store import codec, schema
from bridge.store.codec import micros, moment
from bridge.store.engine import Store
from bridge.store.places import by_source

if TYPE_CHECKING:
    from bridge.store.records import Assessed, Page


@frozen
class Wanted:
    """A key, and up to when its records are of use."""

    digest: str
    until: datetime


# Places of records by the number of the wanted key. A limit of its own for each key: SQLite has no LATERAL, and takes
# an aggregate of a limited subquery for it.
_PLACES = {
    "sqlite": text(
        """
        SELECT w.key, (SELECT json_group_array(json_array(n.source, n.deal)) FROM (
            SELECT k.source, k.deal FROM touch_key k
            WHERE k.tenant = :tenant AND k.digest = json_extract(w.value, '$[0]')
                AND k.at <= json_extract(w.value, '$[1]')
            ORDER BY k.at DESC, k.source DESC, k.deal DESC LIMIT :most) n)
        FROM json_each(:wanted) w
        """
    ),
    "postgresql": text(
        """
        SELECT w.number - 1, json_agg(json_build_array(n.source, n.deal))::text
        FROM jsonb_array_elements(CAST(:wanted AS jsonb)) WITH ORDINALITY w(value, number), LATERAL (
            SELECT k.source, k.deal FROM touch_key k
            WHERE k.tenant = :tenant AND k.digest = w.value ->> 0 AND k.at <= (w.value ->> 1)::bigint
            ORDER BY k.at DESC, k.source DESC, k.deal DESC LIMIT :most) n
        GROUP BY w.number
        """
    ),
}
_places = msgspec.json.Decoder(list[tuple[str, str]])


async def near(store: Store, tenant: str, source: str, wanted: Sequence[Wanted]) -> list[list[Touch]]:
    """For each wanted key the latest LOOKED_AT records up to its time, in any source of the tenant.

    A deal of another source is named with it (``shop/lead:5``): both may have one of that number.
    """
    asked = codec.encode([(one.digest, micros(one.until)) for one in wanted]).decode()
    values = {"tenant": tenant, "wanted": asked, "most": LOOKED_AT}
    async with store.read() as connection:
        rows = (await connection.execute(_PLACES[store.dialect], values)).all()
        places = {number: _places.decode(found) for number, found in rows if found is not None}
        distinct = sorted({place for found in places.values() for place in found})
        known = await _touches(connection, tenant, source, distinct)
    return [[known[place] for place in places.get(number, ()) if place in known] for number in range(len(wanted))]


async def of_deals(store: Store, tenant: str, source: str, keys: Sequence[str]) -> dict[str, Touch]:
    """What these deals of one source tell."""
    async with store.read() as connection:
        return {deal: touch for (_, deal), touch in (await _of(connection, tenant, source, keys, source)).items()}


async def _touches(
    connection: AsyncConnection, tenant: str, source: str, places: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Touch]:
    found: dict[tuple[str, str], Touch] = {}
    for place, deals in by_source(places).items():
        found |= await _of(connection, tenant, place, deals, source)
    return found


async def _of(
    connection: AsyncConnection, tenant: str, place: str, deals: Sequence[str], source: str
) -> dict[tuple[str, str], Touch]:
    """Touches of one source, under the names they have in another."""
    table = schema.touch
    wanted = codec.among(connection.dialect.name, table.c.deal, deals)
    query = select(table.c.deal, table.c.at, table.c.identifiers, table.c.joins)
    rows = await connection.execute(query.where(table.c.tenant == tenant, table.c.source == place, wanted))
    return {(place, row.deal): touch_of(row.deal if place == source else f"{place}/{row.deal}", row) for row in rows}


def touch_of(name: str, row: Any) -> Touch:
    """A row of ``touch`` under the name of its deal."""
    return Touch(name, moment(row.at), codec.identifiers(row.identifiers), codec.keys(row.joins))


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
