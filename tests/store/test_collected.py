"""Posts to the collector: kept, replaced, listed in their order, none overlooked, counted, forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import insert

from bridge.sim.clock import ManualClock
from bridge.store import Store, schema
from bridge.store.collected import TAKEN, Collected, Post, begun
from tests.support import START

MINUTE = timedelta(minutes=1)
END = START + timedelta(days=1)


def post(number: int, minutes: int = 0, body: bytes = b"{}") -> Post:
    return Post(f"bl{number}", START + minutes * MINUTE, body)


async def keep(collected: Collected, tenant: str, posts: Iterable[Post]) -> None:
    """Each at its time; those of one time together."""
    listed = list(posts)
    for at in sorted({one.at for one in listed}):
        together = {(tenant, one.record): one.body for one in listed if one.at == at}
        await collected.add(together, {(tenant, TAKEN): len(together)}, ManualClock(at))


async def test_posts_are_listed_page_by_page_in_the_order_they_came(store: Store) -> None:
    """Every post of the window once, also where many came in the same moment; those of others never."""
    collected = Collected(store)
    posts = [post(number, number // 3) for number in range(10)]
    await keep(collected, "okna", posts)
    await keep(collected, "sad", [post(0)])
    seen: list[Post] = []
    while page := await collected.listed("okna", START, START + 3 * MINUTE, seen[-1] if seen else None, 4):
        seen += page
    assert seen == posts[:9]
    assert await collected.named("okna", ["bl9", "bl3", "none"]) == [posts[3], posts[9]]
    assert await collected.since("okna", START + MINUTE) == 7


async def test_a_post_that_is_committed_late_is_not_overlooked(store: Store, database_url: str) -> None:
    """Another process has begun to add it before a reader looks: the reader waits, however long that takes."""
    collected, clock = Collected(store), ManualClock(START)
    other = await Store.open(database_url)
    async with other.write("test") as connection:
        row = {"tenant": "okna", "record": "bl1", "at": await begun(connection, clock), "body": b"{}"}
        await connection.execute(insert(schema.collected), row)
        clock.advance(60 * MINUTE)
        looking = asyncio.create_task(collected.settled())
        assert (await asyncio.wait([looking], timeout=0.1))[0] == set()
    await looking
    assert await collected.listed("okna", START, clock.now(), None, 10) == [post(1)]
    await other.close()


async def test_a_post_that_waited_for_the_database_comes_when_it_is_its_turn(store: Store, database_url: str) -> None:
    """Not when it arrived: by then a reader may have looked, and gone on."""
    if not store.is_sqlite:
        return  # there nobody waits for other writers
    collected, clock = Collected(store), ManualClock(START)
    other = await Store.open(database_url)
    async with other.write("test"):
        adding = asyncio.create_task(collected.add({("okna", "bl1"): b"{}"}, {}, clock))
        assert (await asyncio.wait([adding], timeout=0.1))[0] == set()
        clock.advance(60 * MINUTE)
    await adding
    assert await collected.listed("okna", START, END, None, 10) == [post(1, 60)]
    await other.close()


async def test_the_same_form_sent_again_replaces_itself(store: Store) -> None:
    """What came last counts, with its time; it is listed once."""
    collected = Collected(store)
    await keep(collected, "okna", [post(1, 0, b"old"), post(1, 7, b"new")])
    assert await collected.listed("okna", START, END, None, 10) == [post(1, 7, b"new")]
    report = await collected.report("okna")
    assert (dict(report.counts), report.taken_at) == ({TAKEN: 2}, START + 7 * MINUTE)


async def test_counts_add_up_and_are_each_tenants_own(store: Store) -> None:
    """Also when nothing was taken."""
    collected = Collected(store)
    for _ in range(2):
        await collected.add({}, {("okna", "not_json"): 3, ("sad", "not_json"): 1}, ManualClock(START))
    report = await collected.report("okna")
    assert (dict(report.counts), report.taken_at, dict(report.last)) == ({"not_json": 6}, None, {"not_json": START})


async def test_old_posts_are_forgotten(store: Store) -> None:
    """Those before a moment, of one tenant."""
    collected = Collected(store)
    await keep(collected, "okna", [post(n, n) for n in range(4)])
    await keep(collected, "sad", [post(0)])
    assert await collected.forget("okna", START + 2 * MINUTE) == 2
    assert await collected.listed("okna", START, END, None, 10) == [post(2, 2), post(3, 3)]
    assert len(await collected.listed("sad", START, END, None, 10)) == 1
