"""Many rows into one table: the statement is compiled once, rows go to the driver as plain tuples.

SQLAlchemy's own executemany builds a dictionary per row and processes every value; for pages of rows that is most of
the cost of a write. Values must be what the driver takes: text, int, bytes, bool, None.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.ext.asyncio import AsyncConnection

_DIALECTS = {"sqlite": SQLiteDialect_aiosqlite(), "postgresql": PGDialect_asyncpg()}  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap


async def add(connection: AsyncConnection, table: Table, columns: tuple[str, ...], rows: Sequence[Any]) -> None:
    """Insert rows; one that exists already is an error."""
    await _run(connection, table, columns, None, rows)


async def add_new(connection: AsyncConnection, table: Table, columns: tuple[str, ...], rows: Sequence[Any]) -> None:
    """Insert rows; those that exist are left as they are."""
    await _run(connection, table, columns, (), rows)


async def put(connection: AsyncConnection, table: Table, columns: tuple[str, ...], rows: Sequence[Any]) -> None:
    """Insert rows, or replace everything but the primary key of those that exist."""
    keys = {column.name for column in table.primary_key.columns}
    await _run(connection, table, columns, tuple(name for name in columns if name not in keys), rows)


async def _run(
    connection: AsyncConnection,
    table: Table,
    columns: tuple[str, ...],
    replaced: tuple[str, ...] | None,
    rows: Sequence[Any],
) -> None:
    if not rows:
        return
    dialect = connection.dialect.name
    if dialect != "sqlite":
        await connection.exec_driver_sql(_sql(dialect, table, columns, replaced), list(rows))
        return
    for part in _parts(rows):
        values = tuple(chain.from_iterable(part))
        await connection.exec_driver_sql(_many(table, columns, replaced, len(part)), values)


# SQLite's driver gives up the interpreter lock once per statement: one statement for many rows runs beside our own
# code, executemany would fight with it for the lock at every row. And each statement costs a few thread switches.
_VALUES_MOST = 16_000  # SQLite takes 32,766


def _parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    size = _VALUES_MOST // len(rows[0])
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


@lru_cache(maxsize=512)
def _many(table: Table, columns: tuple[str, ...], replaced: tuple[str, ...] | None, count: int) -> str:
    """The SQLite statement for so many rows at once."""
    row = f"({', '.join('?' * len(columns))})"
    head, found, tail = _sql("sqlite", table, columns, replaced).partition(f"VALUES {row}")
    assert found, "the compiler writes one row of question marks"
    return f"{head}VALUES {', '.join([row] * count)}{tail}"


@lru_cache(maxsize=128)
def _sql(dialect: str, table: Table, columns: tuple[str, ...], replaced: tuple[str, ...] | None) -> str:
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    insert = insert.inline()
    if replaced:
        changes = {name: insert.excluded[name] for name in replaced}
        insert = insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changes)
    elif replaced is not None:
        insert = insert.on_conflict_do_nothing()
    compiled = insert.compile(dialect=_DIALECTS[dialect], column_keys=list(columns))
    order = compiled.positiontup or ()
    assert tuple(order) == columns, "the compiler keeps the order of the columns it was given"
    return str(compiled)
