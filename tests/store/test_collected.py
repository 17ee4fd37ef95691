"""Posts to the collector: kept, replaced, listed in their order, counted, forgotten."""

from __future__ import annotations

from datetime import timedelta

from bridge.store import Store
from bridge.store.collected import TAKEN, Collected, Post
from tests.support import START

MINUTE = timedelta(minutes=1)
END = START + timedelta(days=1)


def post(number: int, minutes: int = 0, body: bytes = b"{}") -> Post:
    return Post(f"bl{number}", START + minutes * MINUTE, body)


async def test_posts_are_listed_page_by_page_in_the_order_they_came(store: Store) -> None:
    """Every post of the window once, also where many came in the same moment; those of others never."""
    collected = Collected(store)
    posts = [post(number, number // 3) for number in range(10)]
    await collected.add({("okna", one.record): one for one in posts}, {}, START)
    await collected.add({("sad", "bl0"): post(0)}, {}, START)
    seen: list[Post] = []
    while page := await collected.listed("okna", START, START + 3 * MINUTE, seen[-1] if seen else None, 4):
        seen += page
    assert seen == posts[:9]
    assert await collected.named("okna", ["bl9", "bl3", "none"]) == [posts[3], posts[9]]


async def test_the_same_form_sent_again_replaces_itself(store: Store) -> None:
    """What came last counts, with its time; it is listed once."""
    collected = Collected(store)
    for minutes, body in ((0, b"old"), (7, b"new")):
        await collected.add({("okna", "bl1"): post(1, minutes, body)}, {("okna", TAKEN): 1}, START + minutes * MINUTE)
    assert await collected.listed("okna", START, END, None, 10) == [post(1, 7, b"new")]
    report = await collected.report("okna")
    assert (dict(report.counts), report.taken_at) == ({TAKEN: 2}, START + 7 * MINUTE)


async def test_counts_add_up_and_are_each_tenants_own(store: Store) -> None:
    """Also when nothing was taken."""
    collected = Collected(store)
    for _ in range(2):
        await collected.add({}, {("okna", "not_json"): 3, ("sad", "not_json"): 1}, START)
    report = await collected.report("okna")
    assert (dict(report.counts), report.taken_at) == ({"not_json": 6}, None)


async def test_old_posts_are_forgotten(store: Store) -> None:
    """Those before a moment, of one tenant."""
    collected = Collected(store)
    await collected.add({("okna", f"bl{n}"): post(n, n) for n in range(4)}, {}, START)
    await collected.add({("sad", "bl0"): post(0)}, {}, START)
    assert await collected.forget("okna", START + 2 * MINUTE) == 2
    assert await collected.listed("okna", START, END, None, 10) == [post(2, 2), post(3, 3)]
    assert len(await collected.listed("sad", START, END, None, 10)) == 1
