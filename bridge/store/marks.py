"""Marks: which deals of a source are to be marked anew, what was written on them last, and what hinders it.

A row is put up by the ledger in the transaction that moves a delivery (``ask``), so none is forgotten; ``asked`` counts
up each time: what happens while a mark is being written is not taken away with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Insert

from bridge.frozen import frozen
from bridge.marks import Mark, Marked, MarkFate
from bridge.rules.mark import Told
from bridge.states import DeliveryState
from bridge.store import codec, schema
from bridge.store.codec import micros, moment
from bridge.store.engine import Store


@frozen
class DueMark:
    """A deal to be marked. ``attempt``: how often that failed."""

    deal: str
    asked: int
    attempt: int


@frozen
class MarkReport:
    """``waiting``: deals to be marked, ``oldest``: since when the first one is; ``last_error``: of one that fails."""

    waiting: int = 0
    failing: int = 0
    oldest: datetime | None = None
    marked_at: datetime | None = None
    last_error: str | None = None


async def ask(
    connection: AsyncConnection, tenant: str, sources: Collection[str], deliveries: Sequence[str], now: datetime
) -> None:
    """These deliveries have moved: their deals, in sources that are written back to, are to be marked anew."""
    table, told, reached = schema.mark, schema.delivery, schema.conversion
    dialect, at = connection.dialect.name, micros(now)
    columns = (reached.c.tenant, reached.c.source, reached.c.deal)
    query = (
        select(*columns, literal(at), literal(at), literal(1))
        .select_from(told.join(reached, told.c.conversion == reached.c.id))
        .where(reached.c.tenant == tenant, reached.c.source.in_(sorted(sources)))
        .where(codec.among(dialect, told.c.id, deliveries))
        .group_by(*columns)
        .order_by(*columns)
    )
    names = ["tenant", "source", "deal", "due", "since", "asked"]
    statement = codec.insert_for(dialect, table).from_select(names, query)
    await connection.execute(_counting_up(statement))


async def ask_for(connection: AsyncConnection, tenant: str, source: str, deals: Sequence[str], now: datetime) -> None:
    """What is known of these deals themselves has changed: they are to be marked anew."""
    at = micros(now)
    rows = [{"tenant": tenant, "source": source, "deal": deal, "due": at, "since": at, "asked": 1} for deal in deals]
    if rows:
        statement = codec.insert_for(connection.dialect.name, schema.mark)
        await connection.execute(_counting_up(statement), rows)


def _counting_up(statement: sqlite.Insert | postgresql.Insert) -> Insert:
    """A row that is there already is due as before, and for one more reason."""
    table = schema.mark
    changes = {
        "due": func.coalesce(table.c.due, statement.excluded.due),
        "since": func.coalesce(table.c.since, statement.excluded.since),
        "asked": table.c.asked + 1,
    }
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changes)


class Marks:
    """Marks of one tenant."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    async def due(self, source: str, now: datetime, limit: int) -> list[DueMark]:
        """Deals to be marked now, the longest waiting first."""
        table = schema.mark
        query = (
            select(table.c.deal, table.c.asked, table.c.attempt)
            .where(table.c.tenant == self._tenant, table.c.source == source, table.c.due <= micros(now))
            .order_by(table.c.due, table.c.deal)
            .limit(limit)
        )
        async with self._store.read() as connection:
            rows = (await connection.execute(query)).all()
        return [DueMark(*row) for row in rows]

    async def told(self, source: str, deals: Sequence[str]) -> dict[str, list[Told]]:
        """Every delivery of these deals."""
        table, reached = schema.delivery, schema.conversion
        columns = (reached.c.deal, reached.c.goal, table.c.destination, reached.c.occurrence, reached.c.revision)
        query = select(*columns, table.c.state, table.c.code, table.c.updated_at).select_from(
            reached.join(table, table.c.conversion == reached.c.id)
        )
        found: dict[str, list[Told]] = defaultdict(list)
        async with self._store.read() as connection:
            these = codec.among(connection.dialect.name, reached.c.deal, deals)
            query = query.where(reached.c.tenant == self._tenant, reached.c.source == source, these)
            for deal, goal, destination, occurrence, revision, state, code, at in await connection.execute(query):
                place = (goal, destination, occurrence, revision)
                found[deal].append(Told(*place, DeliveryState(state), code or "", moment(at)))
        return found

    async def record(self, source: str, done: Sequence[tuple[DueMark, Mark, Marked]], now: datetime) -> None:
        """These marks are settled: written, or not to be written on such a deal.

        Where our write is all that changed, the deal's version moves on with it: whoever reads it next meets what it
        knows. A deal that changed otherwise keeps its old version, so that this change is still news.
        """
        if not done:
            return
        table = schema.mark
        keys = [{"of_source": source, "of_deal": due.deal, "of_asked": due.asked} for due, _, _ in done]
        errors = [m.code[:100] if m.fate is MarkFate.REFUSED else None for _, _, m in done]
        written = [
            {"of_source": source, "of_deal": mark.deal, "shown": mark.text, "sent": mark.is_sent}
            for _, mark, marked in done
            if marked.fate is MarkFate.DONE
        ]
        async with self._store.write("marks") as connection:
            settled = update(table).where(*self._these(), table.c.asked == bindparam("of_asked"))
            await connection.execute(settled.values(due=None, since=None), keys)
            tried = update(table).where(*self._these()).values(error=bindparam("why"), attempt=0)
            rows = [{**key, "why": why} for key, why in zip(keys, errors, strict=True)]
            await connection.execute(tried, [{k: v for k, v in row.items() if k != "of_asked"} for row in rows])
            if written:
                shown = {"text": bindparam("shown"), "is_sent": bindparam("sent"), "marked_at": micros(now)}
                await connection.execute(update(table).where(*self._these()).values(**shown), written)
            await self._move_versions(connection, source, [marked for _, _, marked in done])

    async def _move_versions(self, connection: AsyncConnection, source: str, marked: Sequence[Marked]) -> None:
        table = schema.deal
        moved = [
            {"of_deal": item.deal, "before": item.before, "after": item.after}
            for item in marked
            if item.before and item.after and item.before != item.after
        ]
        if moved:
            here = (table.c.tenant == self._tenant, table.c.source == source, table.c.deal == bindparam("of_deal"))
            statement = update(table).where(*here, table.c.version == bindparam("before"))
            await connection.execute(statement.values(version=bindparam("after")), moved)

    async def failed(self, source: str, due: Sequence[DueMark], until: datetime, error: str) -> None:
        """These could not be written; they are tried again after ``until``."""
        table = schema.mark
        values = {"due": micros(until), "attempt": table.c.attempt + 1, "error": error[:500]}
        rows = [{"of_source": source, "of_deal": item.deal} for item in due]
        if rows:
            async with self._store.write("marks failed") as connection:
                await connection.execute(update(table).where(*self._these()).values(**values), rows)

    def _these(self) -> tuple[ColumnElement[bool], ...]:
        table = schema.mark
        return (
            table.c.tenant == self._tenant,
            table.c.source == bindparam("of_source"),
            table.c.deal == bindparam("of_deal"),
        )


async def report(store: Store, tenant: str, source: str) -> MarkReport:
    """How write-back of a source is doing."""
    table = schema.mark
    here = (table.c.tenant == tenant, table.c.source == source)
    counts = select(func.count(table.c.due), func.min(table.c.since), func.max(table.c.marked_at))
    trouble = (*here, table.c.error.is_not(None))
    async with store.read() as connection:
        waiting, oldest, at = (await connection.execute(counts.where(*here))).one()
        failing = await connection.scalar(select(func.count()).select_from(table).where(*trouble))
        query = select(table.c.error).where(*trouble).order_by(table.c.deal).limit(1)
        error = await connection.scalar(query)
    return MarkReport(waiting, failing or 0, codec.maybe(oldest), codec.maybe(at), error)
