"""The identity graph as it is stored: what deals tell of their persons, found by key, and the deals that wait for more.

Whatever hangs on a key, a bounded number of its records is read: the latest before some time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Delete, Insert, Select, Update, and_, bindparam, delete, not_, select, text, true, tuple_, update

from bridge.model import Touch, frozen
from bridge.rules.graph import LOOKED_AT, stirred
from bridge.store import bulk, codec, schema
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


def forget(rows: bulk.Rows, dialect: str, page: Page) -> None:
    """What was stored of the page's deals and is not so any more: keys they hung on, keys they waited by."""
    known = [item.deal.key for item in page.assessed if item.is_known]
    if known:
        rows.change(_no_waits(dialect), codec.records(dialect, page.tenant, page.source, known))
    there = [item for item in page.assessed if item.before is not None]
    for item in there:
        gone, before = _gone(item), item.before
        if gone and before is not None:
            values = codec.records(dialect, page.tenant, page.source, [item.deal.key])
            told = {"then": micros(before.at), "digests": codec.listed(dialect, gone)}
            rows.change(_no_keys(dialect), values | told)
    silent = [item.deal.key for item in there if item.touch is None]
    if silent:
        rows.change(_no_touches(dialect), codec.records(dialect, page.tenant, page.source, silent))


@lru_cache
def _no_waits(dialect: str) -> Delete:
    return delete(schema.orphan_key).where(*codec.of_records(dialect, schema.orphan_key.c.deal))


@lru_cache
def _no_keys(dialect: str) -> Delete:
    table = schema.touch_key
    these = (table.c.at == bindparam("then"), codec.among_named(dialect, table.c.digest, "digests"))
    return delete(table).where(*codec.of_records(dialect, table.c.deal), *these)


@lru_cache
def _no_touches(dialect: str) -> Delete:
    return delete(schema.touch).where(*codec.of_records(dialect, schema.touch.c.deal))


def _gone(item: Assessed) -> tuple[str, ...]:
    """Keys under which the stored deal is found at a place where it is not any more."""
    before, now = item.before, item.touch
    if before is None or before == now:
        return ()
    if now is None or now.at != before.at:
        return before.keys
    return tuple([key for key in before.keys if key not in now.keys])


def hang(rows: bulk.Rows, dialect: str, page: Page) -> None:
    """The page's touches, which are written by now, under their keys.

    The database reads the keys of each where it has just put them: some four rows for every deal that nobody makes.
    """
    told = [item.deal.key for item in page.assessed if item.touch is not None]
    if told:
        rows.change(_hung(dialect), codec.records(dialect, page.tenant, page.source, told))


@lru_cache
def _hung(dialect: str) -> Insert:
    touch, table = schema.touch, schema.touch_key
    key = codec.each(dialect, touch.c.joins)
    found = select(touch.c.tenant, key.c.value, touch.c.at, touch.c.source, touch.c.deal).join_from(touch, key, true())
    found = found.where(*codec.of_records(dialect, touch.c.deal)).order_by(key.c.value)
    places = (table.c.tenant, table.c.digest, table.c.at, table.c.source, table.c.deal)
    return codec.insert_new(dialect, table).from_select(places, found)


def wake(rows: bulk.Rows, dialect: str, page: Page) -> None:
    """Have judged again whatever may be matched otherwise by what the page tells and was not so before.

    Deals of the page itself were judged with all of it, but for what it ``frees``.
    """
    fresh = {key for item in page.assessed for key in stirred(item.before, item.touch)}
    freed = {key for item in page.assessed for key in item.frees}
    here = [item.deal.key for item in page.assessed]
    for digests, judged in ((fresh - freed, here), (freed, ())):
        if digests:
            values = codec.records(dialect, page.tenant, page.source, judged)
            rows.change(_waiting(dialect), values | {"digests": codec.listed(dialect, digests)})


@lru_cache
def _waiting(dialect: str) -> Update:
    """Deals that wait by some digests are to be judged again, but for ``of_records``."""
    table, orphan = schema.deal, schema.orphan_key
    tenant, *judged = codec.of_records(dialect, orphan.c.deal)
    these = (tenant, codec.among_named(dialect, orphan.c.digest, "digests"), not_(and_(*judged)))
    waiting = tuple_(table.c.source, table.c.deal).in_(select(orphan.c.source, orphan.c.deal).where(*these))
    return update(table).where(table.c.tenant == bindparam("of_tenant"), waiting).values(is_dirty=true())
