"""Locks that live as long as the process: one worker for a tenant, one renewal of an account's token at a time.

SQLite: ``flock`` on files beside the database. PostgreSQL: advisory locks, all those of a process on one connection of
their own. The server frees them when that connection ends, so it is watched, and whoever works under a lock that is
lost is stopped at once.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from bridge.errors import LockHeld, LockLost, StoreError
from bridge.frozen import frozen
from bridge.store.refusal import first_line
from bridge.unbroken import to_the_end

_TRIES, _PAUSE = 900, 0.1  # a renewal takes seconds; whoever has not ended after so many tries (90 s) is stuck
_PATIENCE = 10.0  # seconds for one statement of the locks' connection, and for making it
_PROBE_EVERY = 5.0  # seconds

_TAKE = "SELECT pg_try_advisory_lock($1)"
_GIVE_BACK = "SELECT pg_advisory_unlock($1)"
_COUNT = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()"


@frozen
class Subject:
    """What is locked: ``key`` is unique and fits into a file's name; ``refusal`` tells who has it."""

    key: str
    refusal: str


def of_tenant(name: str) -> Subject:
    return Subject(name, f"another process works for tenant {name}")


def of_account(name: str) -> Subject:
    return Subject(f"token.{quote(name, safe='')}", f"another process is renewing the token of {name}")


class Locks(ABC):
    """The locks of one database."""

    @abstractmethod
    def hold(self, subject: Subject) -> AbstractAsyncContextManager[None]:
        """Work under a lock.

        Raises:
            LockHeld: somebody else has it.
            LockLost: it was lost while the block ran; the block was cancelled.
            StoreError: the database refused.
        """

    @abstractmethod
    def taken(self, subject: Subject) -> AbstractAsyncContextManager[None]:
        """The same for a short block that must be finished once begun: it is not cancelled."""

    @asynccontextmanager
    async def awaited(self, subject: Subject) -> AsyncIterator[None]:
        """``taken``, waiting for whoever has the lock.

        Raises:
            LockHeld: it did not become free in 90 seconds.
            StoreError: the database refused.
        """
        async with AsyncExitStack() as stack:
            for number in range(_TRIES):
                try:
                    await stack.enter_async_context(self.taken(subject))
                    break
                except LockHeld:
                    if number == _TRIES - 1:
                        raise
                await asyncio.sleep(_PAUSE)
            yield

    @abstractmethod
    async def close(self) -> None:
        """Give everything back."""


class FileLocks(Locks):
    """``flock`` on a file for each subject: the kernel frees it with the process."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def hold(self, subject: Subject) -> AbstractAsyncContextManager[None]:
        return self.taken(subject)

    @asynccontextmanager
    async def taken(self, subject: Subject) -> AsyncIterator[None]:
        handle = self._open(subject)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockHeld(subject.refusal) from None
            yield
        finally:
            os.close(handle)

    def _open(self, subject: Subject) -> int:
        path = self._database.with_name(f"{self._database.name}.{subject.key}.lock")
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"lock file {path} cannot be opened: {first_line(error)}") from None

    async def close(self) -> None:
        """Files are closed with their blocks."""


@dataclass(slots=True, eq=False)
class _Grant:
    """A lock of ours, and the task to stop when it is lost."""

    key: int
    worker: asyncio.Task[Any] | None
    is_granted: bool = False
    is_lost: bool = False

    def lose(self) -> None:
        self.is_lost = True
        if self.worker is not None:
            self.worker.cancel()


class ServerLocks(Locks):
    """PostgreSQL's advisory locks, on one connection however many they are."""

    def __init__(self, url: str) -> None:
        limits = {"timeout": _PATIENCE, "command_timeout": _PATIENCE}
        self._engine = create_async_engine(url, poolclass=NullPool, connect_args=limits)
        self._turn = asyncio.Lock()  # a connection takes one statement at a time
        self._line: Any = None  # the driver's own connection: only it tells when it ends
        self._grants: dict[int, _Grant] = {}
        self._watcher: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def hold(self, subject: Subject) -> AsyncIterator[None]:
        worker = asyncio.current_task()
        assert worker is not None, "locks are taken by tasks"
        cancels = worker.cancelling()
        async with self._granted(subject, worker) as grant:
            cause: BaseException | None = None
            try:
                yield
            except (Exception, asyncio.CancelledError) as error:
                if not grant.is_lost:
                    raise
                cause = error
            if grant.is_lost:
                await _absorb(worker, cancels)
                raise LockLost(f"the lock of {subject.key} was lost: the connection that held it ended") from cause

    @asynccontextmanager
    async def taken(self, subject: Subject) -> AsyncIterator[None]:
        async with self._granted(subject, None):
            yield

    @asynccontextmanager
    async def _granted(self, subject: Subject, worker: asyncio.Task[Any] | None) -> AsyncIterator[_Grant]:
        key = _number(subject)
        if key in self._grants:  # the server would grant it to its own connection twice
            raise LockHeld(subject.refusal)
        grant = self._grants[key] = _Grant(key, worker)
        try:
            await to_the_end(self._take(grant))
            if not grant.is_granted:
                raise LockHeld(subject.refusal)
            yield grant
        finally:
            del self._grants[key]
            if grant.is_granted and not grant.is_lost:
                with suppress(StoreError):  # the server is gone, and the lock with it
                    await to_the_end(self._give_back(grant))

    async def _take(self, grant: _Grant) -> None:
        async with self._turn:
            grant.is_granted = bool(await self._ask(_TAKE, grant.key))

    async def _give_back(self, grant: _Grant) -> None:
        async with self._turn:
            if not grant.is_lost:
                await self._ask(_GIVE_BACK, grant.key)

    async def _ask(self, statement: str, *values: int) -> Any:
        """One statement, by whoever has the turn; a failure ends the connection and so every lock."""
        try:
            if self._line is None:
                await self._connect()
            return await self._line.fetchval(statement, *values)
        except Exception as error:
            self._lose()
            raise StoreError(f"lock: {type(error).__name__}: {first_line(error)}") from error

    async def _connect(self) -> None:
        raw = await self._engine.raw_connection()
        line = raw.driver_connection
        raw.detach()
        assert line is not None
        line.add_termination_listener(self._ended)
        self._line = line
        self._watcher = asyncio.create_task(self._watch(line))

    def _ended(self, line: Any) -> None:
        """The driver's word that a connection has ended, whoever ended it."""
        if line is self._line:
            self._lose()

    def _lose(self) -> None:
        """Without its connection no lock is ours: stop those who work under one."""
        line, self._line = self._line, None
        if line is not None:
            line.terminate()  # where it only hangs, the server must not keep the locks for nobody
        if self._watcher is not None and self._watcher is not asyncio.current_task():
            self._watcher.cancel()
        for grant in self._grants.values():
            if grant.is_granted and not grant.is_lost:
                grant.lose()

    async def _watch(self, line: Any) -> None:
        """Ask now and then: a dead network says nothing by itself, and a pooler in between may swap the session."""
        while line is self._line:
            await asyncio.sleep(_PROBE_EVERY)
            async with self._turn:
                if line is self._line:
                    await self._probe()

    async def _probe(self) -> None:
        with suppress(StoreError):
            if await self._ask(_COUNT) < sum(grant.is_granted for grant in self._grants.values()):
                self._lose()

    async def close(self) -> None:
        line, self._line = self._line, None
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})
        if line is not None:
            with suppress(Exception):  # it may be broken already
                await line.close(timeout=_PATIENCE)
        await self._engine.dispose()


async def _absorb(worker: asyncio.Task[Any], cancels: int) -> None:
    """Take back the cancellation that stopped a block whose lock was lost.

    Raises:
        CancelledError: somebody else wants the task to end as well.
    """
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)  # the block may have ended before the cancellation reached it
    if worker.uncancel() > cancels:
        raise asyncio.CancelledError


def _number(subject: Subject) -> int:
    digest = hashlib.blake2b(f"bridge:{subject.key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
