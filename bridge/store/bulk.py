"""Many rows at once: statements are compiled once, rows go to the driver as plain tuples.

SQLAlchemy's own executemany builds a dictionary per row and processes every value; for pages of rows that is most of
the cost of a write. Values must be what the driver takes: text, int, bytes, bool, None.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, Protocol

import aiosqlite
from sqlalchemy import ClauseElement, Select, Table, TextClause, UpdateBase
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.compiler import SQLCompiler

_DIALECTS = {"sqlite": SQLiteDialect_aiosqlite(), "postgresql": PGDialect_asyncpg()}  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap


class _Part(Protocol):
    """Something to be written: as the statements of one visit to SQLite, or one by one elsewhere."""

    def statements(self) -> Iterable[tuple[str, Sequence[Any]]]: ...
    async def execute(self, connection: AsyncConnection) -> None: ...


@dataclass(slots=True)
class _Inserted:
    """``alike``: columns that have one value in all the rows, with these values; ``columns``: those of each row."""

    table: Table
    columns: tuple[str, ...]
    replaced: tuple[str, ...] | None
    rows: Sequence[Any]
    alike: Mapping[str, Any]

    def statements(self) -> Iterator[tuple[str, Sequence[Any]]]:
        names, values = tuple(self.alike), self.alike.values()
        for start in range(0, len(self.rows), _ROWS_MOST):
            part = self.rows[start : start + _ROWS_MOST]
            sql = _many(self.table, names, self.columns, self.replaced, len(part))
            yield sql, [*values, *chain.from_iterable(part)]

    async def execute(self, connection: AsyncConnection) -> None:
        names, values = (*self.alike, *self.columns), self.alike.values()
        sql, order = _sql("postgresql", self.table, names, self.replaced)
        in_order = itemgetter(*map(names.index, order))
        await connection.exec_driver_sql(sql, [in_order((*values, *row)) for row in self.rows])


@dataclass(slots=True)
class _Changed:
    statement: UpdateBase
    values: Mapping[str, Any]

    def statements(self) -> Iterator[tuple[str, Sequence[Any]]]:
        yield _compiled(self.statement, self.values)

    async def execute(self, connection: AsyncConnection) -> None:
        await connection.execute(self.statement, self.values)


@dataclass(slots=True)
class Rows:
    """Rows for several tables, and changes of rows: written together and in the order they were given."""

    _parts: list[_Part] = field(default_factory=list)

    def add(self, table: Table, columns: tuple[str, ...], rows: Sequence[Any], **alike: Any) -> None:
        """Insert rows; one that exists already is an error. ``alike``: further columns, the same in all rows."""
        self._insert(_Inserted(table, columns, None, rows, alike))

    def add_new(self, table: Table, columns: tuple[str, ...], rows: Sequence[Any], **alike: Any) -> None:
        """Insert rows; those that exist are left as they are."""
        self._insert(_Inserted(table, columns, (), rows, alike))

    def put(self, table: Table, columns: tuple[str, ...], rows: Sequence[Any], **alike: Any) -> None:
        """Insert rows, or replace everything but the primary key of those that exist."""
        keys = {column.name for column in table.primary_key.columns}
        replaced = tuple(name for name in (*alike, *columns) if name not in keys)
        self._insert(_Inserted(table, columns, replaced, rows, alike))

    def change(self, statement: UpdateBase, values: Mapping[str, Any]) -> None:
        """Update or delete by a statement that was made once, with these values of its named parameters.

        All its parameters are named, and none as a column of its table.
        """
        self._parts.append(_Changed(statement, values))

    def _insert(self, part: _Inserted) -> None:
        if part.rows:
            self._parts.append(part)

    async def write(self, connection: AsyncConnection) -> None:
        """Write them inside the connection's transaction."""
        if connection.dialect.name != "sqlite":
            for part in self._parts:
                await part.execute(connection)
            return
        await _visit(connection, _run_all, self._statements())

    async def commit(self, connection: AsyncConnection, before: Callable[[], None]) -> None:
        """Write them to SQLite as a transaction of their own; ``before`` is called before it is committed."""
        await _visit(connection, _run_whole, self._statements(), before)

    def _statements(self) -> list[tuple[str, Sequence[Any]]]:
        return [one for part in self._parts for one in part.statements()]


async def fetched(
    connection: AsyncConnection, query: Select[*tuple[Any, ...]] | TextClause, values: Mapping[str, Any]
) -> Sequence[Any]:
    """The rows of a query that is made once, with named parameters; values must be what the driver takes.

    From SQLite they come as the driver gives them: flags are numbers, states are text.
    """
    if connection.dialect.name != "sqlite":
        return (await connection.execute(query, values)).all()
    return list(await _visit(connection, _fetch_all, *_compiled(query, values)))


async def _visit(connection: AsyncConnection, work: Callable[..., Any], *arguments: Any) -> Any:
    """One visit to the SQLite driver's thread; aiosqlite has no public name for that."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, aiosqlite.Connection)
    return await driver._execute(work, driver._conn, *arguments)  # type: ignore[no-untyped-call]  # no types there


def _fetch_all(connection: sqlite3.Connection, sql: str, values: Sequence[Any]) -> list[Any]:
    return connection.execute(sql, values).fetchall()


def _compiled(statement: ClauseElement, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """A statement for SQLite and its values as the driver takes them."""
    sql, names, own = _texts(statement)
    return sql, [values[name] if name in values else own[name] for name in names]


@lru_cache(maxsize=128)
def _texts(statement: ClauseElement) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
    """The statement, the parameters in its order, and the values of those that are its own."""
    compiled = statement.compile(dialect=_DIALECTS["sqlite"])
    assert isinstance(compiled, SQLCompiler)
    return str(compiled), tuple(compiled.positiontup or ()), compiled.params


def _run_whole(
    connection: sqlite3.Connection, statements: Sequence[tuple[str, Sequence[Any]]], before: Callable[[], None]
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        _run_all(connection, statements)
        before()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _run_all(connection: sqlite3.Connection, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
    for sql, values in statements:
        connection.execute(sql, values)


# SQLite's driver gives up the interpreter lock once per statement: one statement for many rows runs beside our own
# code, executemany would fight with it for the lock at every row.
#
# The driver keeps some statements that it has prepared (``engine``), of so many rows about a megabyte each. Rows that
# are left over have one of their own number, mostly prepared anew: cheaper than the lock for several smaller ones.
_ROWS_MOST = 256  # SQLite takes 32,766 values


@lru_cache(maxsize=64)  # a statement is some kilobytes of question marks
def _many(
    table: Table, alike: tuple[str, ...], columns: tuple[str, ...], replaced: tuple[str, ...] | None, count: int
) -> str:
    """The SQLite statement for so many rows at once. Its values: what is alike in them, once, then what is not."""
    sql, order = _sql("sqlite", table, alike + columns, replaced)
    head, found, tail = sql.partition(f" ({', '.join(order)}) VALUES ({', '.join('?' * len(order))})")
    assert found, "the compiler writes the columns and one row of question marks"
    row = f"({', '.join('?' * len(columns))})"
    own = [f"column{number}" for number in range(1, len(columns) + 1)]  # SQLite's names for those of VALUES
    wanted = ", ".join([*"?" * len(alike), *own])
    names, rows = ", ".join(alike + columns), ", ".join([row] * count)
    # Without WHERE the ON of a conflict would be taken for a join's.
    return f"{head} ({names}) SELECT {wanted} FROM (VALUES {rows}) WHERE true{tail}"  # noqa: S608 - names of our own


@lru_cache(maxsize=128)
def _sql(
    dialect: str, table: Table, columns: tuple[str, ...], replaced: tuple[str, ...] | None
) -> tuple[str, tuple[str, ...]]:
    """The statement for one row, and its columns in the order of their question marks: that of the table."""
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    insert = insert.inline()
    if replaced:
        changes = {name: insert.excluded[name] for name in replaced}
        insert = insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changes)
    elif replaced is not None:
        insert = insert.on_conflict_do_nothing()
    compiled = insert.compile(dialect=_DIALECTS[dialect], column_keys=list(columns))
    return str(compiled), tuple(compiled.positiontup or ())
