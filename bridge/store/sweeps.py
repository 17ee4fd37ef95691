"""Where the deep sweep of each source stands. A piece's counts are written with the piece's records: all or nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, not_, or_, select, text, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.model import frozen
from bridge.store import codec, schema
from bridge.store.codec import maybe, micros, moment
from bridge.store.engine import Store


@frozen
class Counts:
    """Deals a sweep asked for; of these, changes that readings missed, deals the CRM does not have any more, and deals
    set aside because no sense could be made of the answer about them."""

    asked: int = 0
    missed: int = 0
    gone: int = 0
    aside: int = 0


@frozen
class Sweep:
    """A source's sweep: when the next one is due or this one goes on, and (``begun_at``) how far it came.

    ``position`` is the key of the last deal it asked for.
    """

    due: datetime
    begun_at: datetime | None = None
    position: str = ""
    counts: Counts = Counts()
    last_error: str | None = None


@frozen
class Step:
    """One piece of a sweep, as part of the transaction that stores its records."""

    position: str
    counts: Counts


@frozen
class Standing:
    """A stored deal as a sweep compares it. ``version`` is "" when something newer could not be read or judged."""

    version: str
    updated_at: datetime
    is_deleted: bool = False


@frozen
class Since:
    """Which deals that are not open are asked for as well: by the times since when, None for none of them.

    ``closed``: won ones, and lost ones of which a payment was promised; by their modification. ``deleted``: by the
    deletion, as far as its time is known.
    """

    closed: datetime | None = None
    deleted: datetime | None = None


_NONE = Since()


_ZERO = {"asked": 0, "missed": 0, "gone": 0, "aside": 0}


class Sweeps:
    """Reads and writes for one tenant."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    async def state(self, source: str) -> Sweep | None:
        """None: this source was never looked at."""
        table = schema.sweep
        query = select(table).where(table.c.tenant == self._tenant, table.c.source == source)
        async with self._store.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        counts = Counts(row.asked, row.missed, row.gone, row.aside)
        return Sweep(moment(row.due), maybe(row.begun_at), row.position or "", counts, row.last_error)

    async def put_off(self, source: str, due: datetime, error: str | None = None) -> None:
        """Not before then; ``error`` says what went wrong, if anything."""
        await self._set(source, due=micros(due), last_error=error)

    async def begin(self, source: str, now: datetime) -> None:
        """A sweep starts from the first deal."""
        await self._set(source, due=micros(now), begun_at=micros(now), position="", **_ZERO)

    async def finish(self, source: str, now: datetime, due: datetime) -> None:
        """All open deals were asked for; what was found is kept, the next sweep is due then."""
        table = schema.sweep
        last = {"last_missed": table.c.missed, "last_gone": table.c.gone, "last_aside": table.c.aside}
        running = {"begun_at": None, "position": "", **_ZERO}
        values = {"due": micros(due), "swept_at": micros(now), "last_error": None, **last, **running}
        these = (table.c.tenant == self._tenant, table.c.source == source)
        async with self._store.write("sweep") as connection:
            await connection.execute(update(table).where(*these).values(**values))

    async def open_deals(self, source: str, after: str, limit: int, since: Since = _NONE) -> dict[str, Standing]:
        """The next records to be read again behind this key, in the order of their keys.

        Open, not deleted deals; those that ``since`` names; and whatever is in quarantine: nothing else reads a new
        record again that was refused once and is not modified any more.
        """
        table = schema.deal
        here = (table.c.tenant == self._tenant, table.c.source == source, table.c.deal > after)
        columns = (table.c.deal, table.c.version, table.c.updated_at, table.c.deleted_at)
        chosen = select(*columns).where(*here)
        lately: list[ColumnElement[bool]] = []
        in_order: list[ColumnElement[bool]] = [table.c.is_open]
        if since.closed is not None:
            is_there = (table.c.deleted_at.is_(None), table.c.updated_at >= micros(since.closed))
            lately.append(and_(table.c.outcome == text("'won'"), *is_there))
            in_order.append(and_(table.c.outcome == text("'lost'"), table.c.has_payments, *is_there, _is_promised()))
        if since.deleted is not None:
            lately.append(and_(table.c.deleted_at.is_not(None), table.c.deleted_at >= micros(since.deleted)))
        # joined, not one condition: each has its own index
        parts = [chosen.where(one) for one in in_order]
        parts += [_by_time(select(*columns).where(*here[:2], one), after) for one in lately]
        query = union_all(*parts, self._in_quarantine(source, after, or_(*in_order, *lately)))
        async with self._store.read() as connection:
            rows = await connection.execute(query.order_by(table.c.deal.name).limit(limit))
            return {key: Standing(version, moment(updated), gone is not None) for key, version, updated, gone in rows}

    def _in_quarantine(self, source: str, after: str, others: ColumnElement[bool]) -> Select[str, str, int, int | None]:
        """Records in quarantine, but for ``others``."""
        table, aside = schema.deal, schema.quarantine
        same = (table.c.tenant == aside.c.tenant, table.c.source == aside.c.source, table.c.deal == aside.c.record)
        columns = (
            aside.c.record.label("deal"),
            func.coalesce(table.c.version, ""),
            func.coalesce(table.c.updated_at, 0),
            table.c.deleted_at,
        )
        here = (aside.c.tenant == self._tenant, aside.c.source == source, aside.c.record > after)
        found = select(*columns).select_from(aside.outerjoin(table, and_(*same)))
        return found.where(*here, or_(table.c.deal.is_(None), not_(others)))

    async def _set(self, source: str, **values: Any) -> None:
        row = {"tenant": self._tenant, "source": source, **values}
        async with self._store.write("sweep") as connection:
            await connection.execute(codec.upsert(self._store.dialect, schema.sweep, *values), row)


def _by_time(found: Select[str, str, int, int | None], after: str) -> Select[str, str, int, int | None]:
    """Those behind a key among what is found by its time; without the fence SQLite reads all deals in their order."""
    inner = found.offset(0).subquery()
    return select(inner.c.deal, inner.c.version, inner.c.updated_at, inner.c.deleted_at).where(inner.c.deal > after)


def _is_promised() -> ColumnElement[bool]:
    """Whether a payment of the deal was promised: should it be refunded, that has to be told."""
    table, of = schema.deal, schema.conversion
    same = (of.c.tenant == table.c.tenant, of.c.source == table.c.source, of.c.deal == table.c.deal)
    return select(of.c.id).where(*same, of.c.occurrence != text("'once'")).exists()


async def write_step(connection: AsyncConnection, tenant: str, source: str, step: Step) -> None:
    """Move a running sweep on, inside the transaction of its piece."""
    table, counts = schema.sweep, step.counts
    these = (table.c.tenant == tenant, table.c.source == source)
    added = {
        "asked": table.c.asked + counts.asked,
        "missed": table.c.missed + counts.missed,
        "gone": table.c.gone + counts.gone,
        "aside": table.c.aside + counts.aside,
    }
    await connection.execute(update(table).where(*these).values(position=step.position, last_error=None, **added))
