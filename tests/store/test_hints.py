"""Hints: each record once, none lost between taking and removing, never more than a bound."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import update

from bridge.store import Store, hints, schema
from bridge.store.hints import Hints, HookReport
from tests.store import kit
from tests.support import START

HERE = (kit.TENANT, kit.SOURCE)
LATER = START + timedelta(minutes=1)


@pytest.fixture
def queue(store: Store) -> Hints:
    return Hints(store)


async def records(queue: Hints, limit: int = 100) -> list[str]:
    return [hint.record for hint in await queue.take(*HERE, limit)]


async def test_a_record_waits_once_however_often_it_is_named(queue: Hints) -> None:
    """The oldest hint comes first; naming a record again does not send it to the end of the queue."""
    await queue.add({HERE: ["lead:2", "lead:2"]}, START)
    await queue.add({HERE: ["lead:2", "lead:1"]}, LATER)
    assert await records(queue) == ["lead:2", "lead:1"]
    assert await records(queue, 1) == ["lead:2"]
    assert await queue.report(*HERE) == HookReport(2, START, LATER)


async def test_what_is_named_while_it_is_read_stays(queue: Hints) -> None:
    """Only the hint that was taken goes away with it, in the same microsecond, too."""
    await queue.add({HERE: ["lead:1", "lead:2"]}, START)
    taken = await queue.take(*HERE, 10)
    await queue.add({HERE: ["lead:2"]}, START)
    await queue.done(*HERE, taken)
    assert await records(queue) == ["lead:2"]
    await queue.done(*HERE, await queue.take(*HERE, 10))
    assert await records(queue) == []


async def test_a_hint_named_anew_after_it_was_done_is_not_the_old_one(queue: Hints) -> None:
    """Who wakes up late and removes what it took once does not remove the new one."""
    await queue.add({HERE: ["lead:1"]}, START)
    taken = await queue.take(*HERE, 10)
    await queue.done(*HERE, taken)
    await queue.add({HERE: ["lead:1"]}, START)
    await queue.done(*HERE, taken)
    assert await records(queue) == ["lead:1"]


async def test_naming_and_removing_take_rows_in_one_order(queue: Hints, store: Store) -> None:
    """The older hint is of the record with the higher key; whoever names both of them anew meanwhile is not refused."""
    await queue.add({HERE: ["lead:2"]}, START)
    await queue.add({HERE: ["lead:1"]}, LATER)
    taken = await queue.take(*HERE, 10)
    assert [hint.record for hint in taken] == ["lead:2", "lead:1"]
    named = update(schema.hint).values(mark=7)
    async with asyncio.TaskGroup() as group, store.write("name") as connection:
        await connection.execute(named.where(schema.hint.c.record == "lead:1"))
        group.create_task(queue.done(*HERE, taken))
        await asyncio.sleep(0.3)  # until it waits for that row
        await connection.execute(named.where(schema.hint.c.record == "lead:2"))
    assert await records(queue) == ["lead:2", "lead:1"]


async def test_sources_and_tenants_are_apart(queue: Hints) -> None:
    """Everybody takes and removes only their own."""
    other, stranger = (kit.TENANT, "b24"), ("dom", kit.SOURCE)
    await queue.add({HERE: ["lead:1"], other: ["lead:1"], stranger: ["lead:1"]}, START)
    await queue.done(*HERE, await queue.take(*HERE, 10))
    assert [len(await queue.take(*place, 10)) for place in (HERE, other, stranger)] == [0, 1, 1]
    assert sorted(await queue.waiting()) == ["dom", kit.TENANT]


async def test_old_hints_are_forgotten(queue: Hints) -> None:
    """Those of a source that is not configured any more would wait for ever; others of the tenant stay."""
    await queue.add({HERE: ["lead:1"], ("dom", kit.SOURCE): ["lead:1"]}, START)
    await queue.add({HERE: ["lead:2"]}, LATER)
    await queue.forget(kit.TENANT, LATER)
    assert await records(queue) == ["lead:2"]
    assert sorted(await queue.waiting()) == ["dom", kit.TENANT]


async def test_there_is_a_bound(queue: Hints, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mass edit fills it and no more; what waits already is renewed even then, and not lost by being read."""
    monkeypatch.setattr(hints, "MOST", 3)
    assert await queue.add({HERE: ["lead:1", "lead:2"]}, START) == {}
    taken = await queue.take(*HERE, 10)
    assert await queue.add({HERE: ["lead:1", "lead:3", "lead:4", "lead:5"]}, LATER) == {HERE: 2}
    assert sorted(await records(queue)) == ["lead:1", "lead:2", "lead:3"]
    await queue.done(*HERE, taken)
    assert sorted(await records(queue)) == ["lead:1", "lead:3"]


async def test_a_flood_is_written_in_one_transaction(queue: Hints, store: Store) -> None:
    """More records than one statement has room for, all there."""
    labels: list[str] = []
    store._on_commit = labels.append
    await queue.add({HERE: [f"lead:{number}" for number in range(15_000)]}, START)
    assert labels == ["before hints", "after hints"]
    assert (await queue.report(*HERE)).waiting == 15_000


async def test_what_is_known_of_a_webhook_is_kept_column_by_column(queue: Hints, store: Store) -> None:
    """Its registration and its hints are told by different processes: neither overwrites the other."""
    await queue.set_hook(*HERE, checked_at=START, trouble=None, restored_at=START)
    await queue.set_hook(*HERE, trouble="Refused: http_402")
    await queue.add({HERE: ["lead:1"]}, LATER)
    assert await queue.report(*HERE) == HookReport(1, LATER, LATER, START, START, "Refused: http_402")
    await queue.set_hook(*HERE, checked_at=LATER, trouble=None)
    assert (await queue.report(*HERE)).trouble is None
    assert len(await kit.rows(store, schema.hook)) == 1
