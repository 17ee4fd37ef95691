"""PostgreSQL frees a lock when the connection that holds it ends: whoever works under it is stopped at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import text

from bridge.errors import LockHeld, LockLost
from bridge.store import Store
from tests.postgres import Server

_SOCKET = ".s.PGSQL.5432"


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    made = postgres.database()
    yield made
    postgres.drop(made)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await Store.open(url)
    yield opened
    await opened.close()


async def connections(store: Store) -> int:
    """How many this database has, without the one that asks."""
    query = text("SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()")
    async with store.write("test") as connection:
        return int(await connection.scalar(query) or 0)


async def is_free(store: Store, tenant: str) -> bool:
    with suppress(LockHeld):
        async with store.tenant_lock(tenant):
            return True
    return False


async def test_any_number_of_locks_takes_one_connection(store: Store, url: str) -> None:
    """A hundred and fifty tenants, more than a server has connections, and one that holds all their locks."""
    watcher = await Store.open(url)
    before = await connections(watcher)
    async with AsyncExitStack() as stack:
        for number in range(150):
            await stack.enter_async_context(store.tenant_lock(f"tenant-{number}"))
        assert await connections(watcher) <= before + 1
        assert not await is_free(watcher, "tenant-149")
    assert await is_free(watcher, "tenant-149")
    await watcher.close()


async def test_more_tasks_than_connections_wait_for_their_turn(store: Store, url: str) -> None:
    """Sixty at once all get their answer, over a handful of connections."""
    watcher = await Store.open(url)

    async def work() -> None:
        async with store.read() as connection:
            await connection.execute(text("SELECT pg_sleep(0.05)"))

    tasks = [asyncio.create_task(work()) for _ in range(60)]
    most = 0
    while not all(task.done() for task in tasks):
        most = max(most, await connections(watcher))
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    assert 2 <= most <= 18
    await watcher.close()


async def test_work_under_a_lost_lock_is_cancelled_at_once(store: Store, postgres: Server, url: str) -> None:
    """The block hears it in the middle of whatever it awaits and ends with LockLost; the lock is free for others, and
    ours to take again over a new connection."""
    other = await Store.open(url)

    async def work() -> None:
        async with store.tenant_lock("okna"):
            postgres.end_lock_holders(url)
            await asyncio.sleep(60)

    with pytest.raises(LockLost, match="okna"):
        await work()
    async with other.tenant_lock("okna"):
        assert not await is_free(store, "okna")
    async with store.tenant_lock("okna"):
        assert not await is_free(other, "okna")
    await other.close()


async def test_every_tenant_of_the_process_is_stopped(store: Store, postgres: Server, url: str) -> None:
    """All locks are on the one connection: none of them is believed in any longer."""
    inside = asyncio.Barrier(4)

    async def work(tenant: str) -> None:
        async with store.tenant_lock(tenant):
            await inside.wait()
            await asyncio.sleep(60)

    tasks = [asyncio.create_task(work(name)) for name in ("okna", "dom", "sad")]
    await inside.wait()
    postgres.end_lock_holders(url)
    said = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in said] == [LockLost] * 3


async def test_an_end_that_meets_the_loss_is_a_loss(store: Store) -> None:
    """A block that ends, or fails, before the cancellation reaches it still ends with LockLost; nothing later in the
    task is cancelled in its place."""

    async def work(error: Exception | None) -> None:
        async with store.tenant_lock("okna"):
            store._locks._lose()  # type: ignore[attr-defined] # at this very moment
            if error is not None:
                raise error

    for error in (None, ValueError("on purpose")):
        with pytest.raises(LockLost) as caught:
            await work(error)
        assert caught.value.__cause__ is error
        await asyncio.sleep(0)
        assert await is_free(store, "okna")


async def test_a_task_that_is_cancelled_anyway_stays_cancelled(store: Store) -> None:
    """A loss does not swallow the cancellation of somebody who wants the whole task to end."""
    is_inside = asyncio.Event()

    async def work() -> None:
        async with store.tenant_lock("okna"):
            is_inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await is_inside.wait()
    store._locks._lose()  # type: ignore[attr-defined] # both in one turn of the loop
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelling_one_taker_costs_nobody_a_lock(store: Store, url: str) -> None:
    """At whatever point a task that takes a lock is cancelled: that lock is free afterwards, the others are held."""
    other = await Store.open(url)

    async def take() -> None:
        async with store.tenant_lock("dom"):
            await asyncio.sleep(60)

    async with store.tenant_lock("okna"):
        for turns in range(12):
            task = asyncio.create_task(take())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await is_free(other, "dom")
        assert not await is_free(other, "okna")
    await other.close()


# --- silence -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def muffled(url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The same database behind a line that goes dead, without a word, when the event is set."""
    is_dead = asyncio.Event()
    pumps: set[asyncio.Task[None]] = set()
    real = url.partition("?host=")[2]

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if is_dead.is_set():
                await asyncio.sleep(3600)
            writer.write(data)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_unix_connection(f"{real}/{_SOCKET}")
        pumps.update((asyncio.create_task(pump(reader, downstream)), asyncio.create_task(pump(upstream, writer))))

    with TemporaryDirectory(prefix="line-", dir="/tmp") as folder:  # a socket's path must be short
        server = await asyncio.start_unix_server(connected, Path(folder) / _SOCKET)
        try:
            yield url.replace(real, folder), is_dead
        finally:
            server.close()
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


async def test_a_line_that_goes_dead_is_noticed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No word ever comes over a dead network; the watch asks, gets no answer in its time, and stops the work."""
    monkeypatch.setattr("bridge.store.locks._PROBE_EVERY", 0.05)
    monkeypatch.setattr("bridge.store.locks._PATIENCE", 0.5)
    async with muffled(url) as (line, is_dead):
        store = await Store.open(line)

        async def work() -> None:
            async with store.tenant_lock("okna"), asyncio.timeout(60):
                await asyncio.sleep(0.3)  # a few answers
                is_dead.set()
                await asyncio.sleep(60)

        with pytest.raises(LockLost):
            await work()
        store._writer.sync_engine.dispose(close=False)  # its connections would wait for goodbyes
        await store.close()


async def test_a_session_that_no_longer_has_the_lock_is_noticed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooler in between may hand the connection another session, or reset it: it answers, and holds nothing."""
    monkeypatch.setattr("bridge.store.locks._PROBE_EVERY", 0.05)

    async def work() -> None:
        async with store.tenant_lock("okna"), asyncio.timeout(60):
            await asyncio.sleep(0.3)
            await store._locks._line.fetchval("SELECT pg_advisory_unlock_all()")  # type: ignore[attr-defined] # as a reset does
            await asyncio.sleep(60)

    with pytest.raises(LockLost):
        await work()
