"""Many rows into one table: the statement is compiled once, rows go to the driver as plain tuples.

SQLAlchemy's own executemany builds a dictionary per row and processes every value; for pages of rows that is most of
the cost of a write. Values must be what the driver takes: text, int, bytes, bool, None.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
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
    if rows:
        await connection.exec_driver_sql(_sql(connection.dialect.name, table, columns, replaced), list(rows))


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
