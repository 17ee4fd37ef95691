"""One database, SQLite (embedded) or PostgreSQL: connections, migrations, transactions, locks.

SQLite has one writer connection (``BEGIN IMMEDIATE``, WAL, ``synchronous=FULL``: a commit that returned survives a
power cut) and a few readers. PostgreSQL uses one pool for both, and one more connection for locks.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVarTuple, overload

from sqlalchemy import Connection, Select, TextClause, event, inspect, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolResetState

from bridge.errors import ConfigError
from bridge.store import bulk, locks
from bridge.store.refusal import REFUSALS, first_line, of_opening, told_as
from bridge.unbroken import to_the_end

Columns = TypeVarTuple("Columns")
# Called with "before <label>" and "after <label>" around every commit; the crash tests raise from it.
CommitHook = Callable[[str], None]

MIGRATIONS = Path(__file__).parent / "migrations"
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=30000",
    "PRAGMA wal_autocheckpoint=16000",  # pages, 64 MB: a bulk write changes the same pages of an index many times
    "PRAGMA temp_store=MEMORY",
)

# A server has a hundred connections for all its clients. Tasks beyond the pool wait for their turn, which takes
# milliseconds; the timeout (seconds) is for a server that is stuck.
_SERVER_POOL = {"pool_size": 8, "max_overflow": 8, "pool_timeout": 300}
CONNECT_LIMIT = 10.0  # seconds; a server that takes a connection and says nothing is as good as none
_WRITER_CACHE, _READER_CACHE = 16_000, 4_000  # KiB for each connection
_STATEMENTS_KEPT = 48  # prepared, for each connection; those of many rows are up to a megabyte


class Store:
    """The database. Open with :meth:`open`, which also migrates; close with :meth:`close`."""

    def __init__(self, url: str, on_commit: CommitHook | None = None) -> None:
        self.url = _driver_url(url)
        self.is_sqlite = self.url.startswith("sqlite")
        self.dialect = "sqlite" if self.is_sqlite else "postgresql"
        self._on_commit = on_commit or (lambda label: None)
        self._writer = _make_engine(self.url, immediate=True)
        self._reader = (
            _make_engine(self.url, immediate=False)
            if self.is_sqlite
            else self._writer.execution_options(isolation_level="REPEATABLE READ")  # same pool; one snapshot
        )
        self._write_lock = asyncio.Lock()
        self._locks: locks.Locks = (
            locks.FileLocks(sqlite_path(self.url)) if self.is_sqlite else locks.ServerLocks(self.url)
        )

    @classmethod
    async def open(cls, url: str, on_commit: CommitHook | None = None) -> Store:
        """Connect and bring the schema up to date.

        Raises:
            ConfigError: the URL, the rights or the file are wrong, or it was made by a newer version.
            StoreError: it cannot be opened now, which may pass by itself.
        """
        store = cls(url, on_commit)
        try:
            if store.is_sqlite:
                _private_file(store.url)
            async with _first(store._writer) as connection:
                await connection.run_sync(_migrate)
        except BaseException as error:
            await store.close()  # an open connection would keep the process alive
            if not isinstance(error, REFUSALS):
                raise
            raise of_opening(_safe(url), error, is_file=store.is_sqlite) from None
        return store

    async def close(self) -> None:
        await self._locks.close()
        await self._writer.dispose()
        await self._reader.dispose()

    @asynccontextmanager
    async def write(self, label: str) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed when the block ends, rolled back if it raises.

        Raises:
            StoreError: the database refused.
        """
        async with self._exclusive():
            with told_as(label):
                async with self._writer.connect() as connection, connection.begin():
                    yield connection
                    self._on_commit(f"before {label}")
                self._on_commit(f"after {label}")

    async def write_rows(self, label: str, rows: bulk.Rows) -> None:
        """One transaction of rows alone. For SQLite it is one visit to the driver's thread.

        Cancelled meanwhile, it is ended first: whoever takes the tenant's lock next must not find it still to come.

        Raises:
            StoreError: the database refused; nothing was written.
        """
        if not self.is_sqlite:
            async with self.write(label) as connection:
                await rows.write(connection)
            return
        async with self._exclusive():
            with told_as(label):
                async with self._writer.connect() as connection:
                    await to_the_end(rows.commit(connection, partial(self._on_commit, f"before {label}")))
                self._on_commit(f"after {label}")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A consistent snapshot for reading."""
        with told_as("read"):
            async with self._reader.connect() as connection, connection.begin():
                yield connection

    @overload
    async def look(self, query: Select[*Columns], values: Mapping[str, Any]) -> list[tuple[*Columns]]: ...

    @overload
    async def look(self, query: TextClause, values: Mapping[str, Any]) -> list[tuple[Any, ...]]: ...

    async def look(self, query: Select[*Columns] | TextClause, values: Mapping[str, Any]) -> list[Any]:
        """The rows of one query, which is a snapshot by itself; make the query once, with named parameters.

        For SQLite this is one visit to the driver's thread; a transaction around it would make it ten.
        """
        if not self.is_sqlite:
            async with self.read() as connection:
                return list(await connection.execute(query, values))
        with told_as("read"):
            async with self._reader.connect() as connection:
                return list(await bulk.fetched(connection, query, values))

    @asynccontextmanager
    async def _exclusive(self) -> AsyncIterator[None]:
        if not self.is_sqlite:
            yield
            return
        async with self._write_lock:
            yield

    def tenant_lock(self, tenant: str) -> AbstractAsyncContextManager[None]:
        """Only one process works for a tenant: held as long as the block, gone with the process.

        Raises:
            LockHeld: another process has it.
            LockLost: the server dropped it; the block was cancelled. Take it again, or end.
            StoreError: the database refused.
        """
        return self._locks.hold(locks.of_tenant(tenant))

    def account_lock(self, account: str) -> AbstractAsyncContextManager[None]:
        """Only one process at a time renews an account's token; the others wait.

        Raises:
            LockHeld: it did not become free in 90 seconds.
            StoreError: the database refused.
        """
        return self._locks.awaited(locks.of_account(account))


def is_missing(url: str) -> bool:
    """Whether this is a SQLite file that does not exist yet, but could be made.

    Raises:
        ConfigError: it could not.
    """
    if not _driver_url(url).startswith("sqlite"):
        return False
    path = sqlite_path(url)
    if path.exists():
        return False
    _insist_on_folder(path)
    above = path.absolute().parent
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise ConfigError(f"database {path} cannot be made: {above} is no folder to write to; check database.url")
    return True


def sqlite_path(url: str) -> Path:
    """The file of a SQLite URL."""
    return Path(url.split(":///", 1)[1])


def _driver_url(url: str) -> str:
    for prefix, driver in (
        ("sqlite:///", "sqlite+aiosqlite:///"),
        ("postgresql://", "postgresql+asyncpg://"),
        ("postgres://", "postgresql+asyncpg://"),
    ):
        if url.startswith(prefix):
            return driver + url.removeprefix(prefix)
    if url.startswith(("sqlite+aiosqlite:", "postgresql+asyncpg:")):
        return url
    raise ConfigError('database.url must begin with "sqlite:///" or "postgresql://"')


def _make_engine(url: str, *, immediate: bool) -> AsyncEngine:
    if not url.startswith("sqlite"):
        limits = {"timeout": CONNECT_LIMIT}
        try:
            return create_async_engine(
                url, **_SERVER_POOL, connect_args=limits, pool_pre_ping=True, hide_parameters=True
            )
        except (ArgumentError, ValueError):  # their words may hold the password
            raise ConfigError('database.url is no address; write "postgresql://user@host/name"') from None
    pool: dict[str, Any] = {"pool_size": 1 if immediate else 4, "max_overflow": 0, "pool_reset_on_return": None}
    pool["connect_args"] = {"cached_statements": _STATEMENTS_KEPT}
    engine = create_async_engine(url, poolclass=AsyncAdaptedQueuePool, hide_parameters=True, **pool)

    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, f"PRAGMA cache_size=-{_WRITER_CACHE if immediate else _READER_CACHE}"):
            cursor.execute(pragma)
        cursor.close()

    # One visit to the driver's thread instead of four: each waits for whatever the main thread is at.
    @event.listens_for(engine.sync_engine, "begin")
    def _begun(connection: Connection) -> None:
        adapted: Any = connection.connection.dbapi_connection
        try:
            adapted.run_async(lambda driver: driver.execute("BEGIN IMMEDIATE" if immediate else "BEGIN"))
        except asyncio.CancelledError:  # the driver may begin it all the same
            connection.invalidate()
            raise

    @event.listens_for(engine.sync_engine, "reset")
    def _given_back(connection: Any, record: Any, state: PoolResetState) -> None:
        if not state.terminate_only and connection.driver_connection.in_transaction:
            connection.rollback()

    @event.listens_for(engine.sync_engine, "invalidate")
    def _thrown_away(connection: Any, record: Any, error: BaseException | None) -> None:
        """Somebody was cancelled in a transaction: closing alone leaves it, and its lock, to the garbage collector."""
        if connection is not None:
            driver = connection.driver_connection
            driver._tx.put_nowait((None, driver._conn.rollback))

    return engine


@asynccontextmanager
async def _first(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A first connection.

    Raises:
        ConfigError: an option or the host in the URL is none the driver could use.
    """
    connection = engine.connect()
    try:
        await connection.start()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"database.url cannot be used: {first_line(error)}") from None
    try:
        yield connection
    finally:
        await connection.close()


def _insist_on_folder(path: Path) -> None:
    """A folder made here would hide a mistyped path: an empty database in it looks like a fresh start.

    Raises:
        ConfigError: there is none.
    """
    if not path.parent.exists():
        raise ConfigError(f"database {path}: there is no folder {path.parent}; make it, or correct database.url")


def _private_file(url: str) -> None:
    """Create the database file readable by its owner only: it holds tokens."""
    path = sqlite_path(url)
    _insist_on_folder(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _migrate(connection: Connection) -> None:
    current = _revision(connection)
    connection.rollback()
    if current == head():
        return
    from bridge.store import migrating  # noqa: PLC0415 - a sixth of a second, for a database that is new or old

    migrating.upgrade(connection, current)


def _revision(connection: Connection) -> str | None:
    """Which migration the database is at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def head() -> str:
    """The last migration: their files are numbered."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _safe(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
