"""One database, SQLite (embedded) or PostgreSQL: connections, migrations, transactions, the per-tenant lock.

SQLite has one writer connection (``BEGIN IMMEDIATE``, WAL, ``synchronous=FULL``: a commit that returned survives a
power cut) and a few readers. PostgreSQL uses one pool for both.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from bridge.errors import ConfigError, LockHeld, StoreError

# Called with "before <label>" and "after <label>" around every commit; the crash tests raise from it.
CommitHook = Callable[[str], None]

# What goes wrong with a database; OSError comes bare from making a connection.
_REFUSALS = (SQLAlchemyError, OSError)

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=30000",
    "PRAGMA wal_autocheckpoint=8000",  # pages: a bulk write checkpoints every 32 MB, not at every commit
    "PRAGMA temp_store=MEMORY",
)

_WRITER_CACHE, _READER_CACHE = 16_000, 4_000  # KiB for each connection


class Store:
    """The database. Open with :meth:`open`, which also migrates; close with :meth:`close`."""

    def __init__(self, url: str, on_commit: CommitHook | None = None) -> None:
        self.url = _driver_url(url)
        self.is_sqlite = self.url.startswith("sqlite")
        self._on_commit = on_commit or (lambda label: None)
        self._writer = _make_engine(self.url, immediate=True)
        self._reader = (
            _make_engine(self.url, immediate=False)
            if self.is_sqlite
            else self._writer.execution_options(isolation_level="REPEATABLE READ")  # same pool; one snapshot
        )
        self._write_lock = asyncio.Lock()

    @classmethod
    async def open(cls, url: str, on_commit: CommitHook | None = None) -> Store:
        """Connect and bring the schema up to date.

        Raises:
            ConfigError: the database cannot be reached, or was made by a newer version.
        """
        store = cls(url, on_commit)
        try:
            if store.is_sqlite:
                _private_file(store.url)
            async with store._writer.connect() as connection:
                await connection.run_sync(_migrate)
        except BaseException as error:
            await store.close()  # an open connection would keep the process alive
            if not isinstance(error, _REFUSALS):
                raise
            raise ConfigError(
                f"database {_safe(url)} cannot be opened: {_first_line(error)}; check database.url"
            ) from None
        return store

    async def close(self) -> None:
        await self._writer.dispose()
        await self._reader.dispose()

    @asynccontextmanager
    async def write(self, label: str) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed when the block ends, rolled back if it raises.

        Raises:
            StoreError: the database refused.
        """
        async with self._exclusive():
            try:
                async with self._writer.connect() as connection, connection.begin():
                    yield connection
                    self._on_commit(f"before {label}")
                self._on_commit(f"after {label}")
            except _REFUSALS as error:
                raise StoreError(f"{label}: {type(error).__name__}: {_first_line(error)}") from error

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A consistent snapshot for reading."""
        try:
            async with self._reader.connect() as connection, connection.begin():
                yield connection
        except _REFUSALS as error:
            raise StoreError(f"read: {type(error).__name__}: {_first_line(error)}") from error

    @asynccontextmanager
    async def _exclusive(self) -> AsyncIterator[None]:
        if not self.is_sqlite:
            yield
            return
        async with self._write_lock:
            yield

    @asynccontextmanager
    async def tenant_lock(self, tenant: str) -> AsyncIterator[None]:
        """Only one process works for a tenant: held as long as the block, gone with the process.

        Raises:
            LockHeld: another process has it.
        """
        taken = self._file_lock(tenant) if self.is_sqlite else self._advisory_lock(tenant)
        async with taken:
            yield

    @asynccontextmanager
    async def _file_lock(self, tenant: str) -> AsyncIterator[None]:
        path = sqlite_path(self.url)
        handle = os.open(path.with_name(f"{path.name}.{tenant}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockHeld(f"another process works for tenant {tenant}") from None
            yield
        finally:
            os.close(handle)

    @asynccontextmanager
    async def _advisory_lock(self, tenant: str) -> AsyncIterator[None]:
        digest = hashlib.blake2b(f"bridge:{tenant}".encode(), digest_size=8).digest()
        key = int.from_bytes(digest, "big", signed=True)
        # A connection of its own, outside any transaction: the lock lives and dies with it.
        async with self._writer.connect() as raw:
            connection = await raw.execution_options(isolation_level="AUTOCOMMIT")
            taken = await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key})
            if not taken:
                raise LockHeld(f"another process works for tenant {tenant}")
            try:
                yield
            finally:
                with suppress(SQLAlchemyError):  # the server is gone, and the lock with it
                    await connection.scalar(text("SELECT pg_advisory_unlock(:key)"), {"key": key})


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
        return create_async_engine(url, pool_size=8, max_overflow=120, pool_pre_ping=True, hide_parameters=True)
    size = 1 if immediate else 4
    engine = create_async_engine(
        url, poolclass=AsyncAdaptedQueuePool, pool_size=size, max_overflow=0, hide_parameters=True
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, f"PRAGMA cache_size=-{_WRITER_CACHE if immediate else _READER_CACHE}"):
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _private_file(url: str) -> None:
    """Create the database file readable by its owner only: it holds tokens."""
    path = sqlite_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _migrate(connection: Connection) -> None:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    head = ScriptDirectory.from_config(config).get_current_head()
    current = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    if current == head:
        return
    if current is not None and not _is_known(config, current):
        raise ConfigError("the database was made by a newer version of the bridge; upgrade the program")
    if not connection.dialect.name.startswith("sqlite"):
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(724365)")  # two daemons starting at once
    command.upgrade(config, "head")
    connection.commit()


def _is_known(config: AlembicConfig, revision: str) -> bool:
    return revision in {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}


def _safe(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _first_line(error: SQLAlchemyError | OSError) -> str:
    """The driver's own words without parameters (they may hold personal data)."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    cause = getattr(error, "orig", None)
    return str(cause or error).split("\n", 1)[0][:200]
