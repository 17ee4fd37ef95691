"""The store's own promises about transactions, whatever is written in them."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text

from bridge.errors import StoreError
from bridge.store import Store, bulk, schema
from bridge.store.engine import CommitHook
from tests.postgres import server
from tests.store import kit

ROW = {"account": "okna/crm", "seed": "s", "tokens": b"{}", "saved_at": 1}


class Crash(BaseException):
    """What no code of ours catches, as if the process ended here."""


def crash_at(label: str) -> CommitHook:
    def hook(name: str) -> None:
        if name == label:
            raise Crash

    return hook


async def test_the_hook_hears_of_each_commit_before_and_after(database_url: str) -> None:
    """Crash tests can stop at every boundary: the hook is called with both sides of it."""
    said: list[str] = []
    store = await Store.open(database_url, said.append)
    async with store.write("page") as connection:
        await connection.execute(insert(schema.token), ROW)
        assert said == []
    await store.close()
    assert said == ["before page", "after page"]


@pytest.mark.parametrize(("label", "is_there"), [("before page", False), ("after page", True)])
async def test_a_crash_at_a_boundary_leaves_all_or_nothing(database_url: str, label: str, is_there: bool) -> None:
    """Before the commit nothing is there, after it everything, and the store opens again either way."""
    crashing = await Store.open(database_url, crash_at(label))
    with pytest.raises(Crash):
        async with crashing.write("page") as connection:
            await connection.execute(insert(schema.token), ROW)
    await crashing.close()
    again = await Store.open(database_url)
    assert bool(await kit.rows(again, schema.token)) is is_there
    await again.close()


async def test_an_error_inside_rolls_everything_back(store: Store) -> None:
    """Whatever raises inside the block, none of its statements stay."""

    async def fail() -> None:
        async with store.write("test") as connection:
            await connection.execute(insert(schema.token), ROW)
            raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await fail()
    assert await kit.rows(store, schema.token) == []


async def test_what_the_database_refuses_is_a_store_error_without_the_values(store: Store) -> None:
    """A violated constraint names the step, and repeats none of the values: they may be secrets."""
    secret = {**ROW, "tokens": b"sesame", "seed": None}
    with pytest.raises(StoreError, match=r"^token: IntegrityError") as caught:
        async with store.write("token") as connection:
            await connection.execute(insert(schema.token), secret)
    assert "sesame" not in str(caught.value)
    assert "sesame" not in repr(caught.value.__cause__)


async def test_a_wrong_question_is_a_store_error(store: Store) -> None:
    """Reading translates errors like writing does."""
    with pytest.raises(StoreError, match=r"^read: "):
        async with store.read() as connection:
            await connection.execute(text("SELECT nothing FROM nowhere"))


async def test_a_reader_sees_one_moment(store: Store) -> None:
    """What is committed between two questions of one reader stays invisible to it."""
    async with store.read() as connection:
        count = text("SELECT count(*) FROM token")
        before = await connection.scalar(count)
        async with store.write("token") as writer:
            await writer.execute(insert(schema.token), ROW)
        assert (before, await connection.scalar(count)) == (0, 0)
    assert len(await kit.rows(store, schema.token)) == 1


async def test_readers_do_not_wait_for_a_writer(store: Store) -> None:
    """A page being written holds up neither status pages nor other tenants' reading."""
    async with store.write("token") as writer:
        await writer.execute(insert(schema.token), ROW)
        assert await kit.rows(store, schema.token) == []


async def test_a_server_that_goes_away_is_a_store_error() -> None:
    """A server that ends under a running daemon stops the step with an error of ours, reading and writing alike."""
    with server() as running:
        store = await Store.open(running.database())
        await kit.plan(store, kit.conversion(1))
    try:
        for _ in range(2):  # the connection that broke, then one that cannot be made
            with pytest.raises(StoreError):
                await kit.rows(store, schema.token)
            with pytest.raises(StoreError):
                await kit.plan(store, kit.conversion(2))
    finally:
        await store.close()


async def test_a_transaction_that_is_stopped_as_it_begins_hinders_no_other(tmp_path: Path) -> None:
    """The driver begins it when its turn comes, though nobody waits for it any more."""
    path = tmp_path / "store.db"
    store = await Store.open(f"sqlite:///{path}")
    with _another_writing(path):
        begun = asyncio.create_task(_put(store))
        await asyncio.sleep(0.1)
        begun.cancel()
    with pytest.raises(asyncio.CancelledError):
        await begun
    await _put(store)
    assert len(await kit.rows(store, schema.token)) == 1
    await store.close()


async def test_rows_that_are_stopped_end_before_anybody_goes_on(tmp_path: Path) -> None:
    """Who takes the tenant's lock next must not find the page of another still to come."""
    path = tmp_path / "store.db"
    store = await Store.open(f"sqlite:///{path}")
    rows = bulk.Rows()
    rows.add(schema.token, tuple(ROW), [tuple(ROW.values())])
    with _another_writing(path):
        begun = asyncio.create_task(store.write_rows("page", rows))
        await asyncio.sleep(0.1)
        begun.cancel()
        await asyncio.sleep(0.1)
        assert not begun.done()
    with pytest.raises(asyncio.CancelledError):
        await begun
    assert len(await kit.rows(store, schema.token)) == 1
    await store.close()


async def test_transactions_that_are_stopped_leave_no_lock(tmp_path: Path) -> None:
    """Wherever they are stopped, and whoever keeps the errors: these hold what the driver was doing."""
    store = await Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    chance = random.Random(3)
    writing: list[asyncio.Task[None]] = []
    for number in range(150):
        writing.append(asyncio.create_task(_many(store, str(number))))
        await asyncio.sleep(chance.random() * 0.003)
        if chance.random() < 0.6:
            chance.choice(writing).cancel()
    _, left = await asyncio.wait(writing, timeout=15)  # half of what SQLite waits for a lock
    assert not left
    async with store.read() as connection:
        counted = select(schema.token.c.seed, func.count()).group_by(schema.token.c.seed)
        found = {row.seed: row[1] for row in await connection.execute(counted)}
    whole = [str(number) for number, task in enumerate(writing) if not task.cancelled()]
    assert set(found.values()) == {100}
    assert set(whole) <= set(found)
    await store.close()


@contextmanager
def _another_writing(path: Path) -> Iterator[None]:
    """Another process holds SQLite's one lock for writing."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("COMMIT")
        other.close()


async def _many(store: Store, seed: str) -> None:
    async with store.write("token") as connection:
        for half in (range(50), range(50, 100)):
            rows = [{**ROW, "account": f"{seed}/{number}", "seed": seed} for number in half]
            await connection.execute(insert(schema.token), rows)
            await asyncio.sleep(0)


async def _put(store: Store) -> None:
    async with store.write("token") as connection:
        await connection.execute(insert(schema.token), ROW)
