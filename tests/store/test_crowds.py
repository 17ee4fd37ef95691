"""Who came about the same time with something in common, on both databases."""

from __future__ import annotations

from datetime import timedelta

from bridge.rules.suspicion import Member, Span
from bridge.store import Store, crowds, schema
from bridge.store.bulk import Rows
from bridge.store.crowds import Crowds
from tests.store.kit import SOURCE, TENANT
from tests.support import START

MINUTE = timedelta(minutes=1)


async def put(store: Store, tenant: str, deal: str, key: str, minutes: int) -> None:
    rows = Rows()
    rows.add_new(schema.crowd, crowds.COLUMNS, [crowds.row(tenant, SOURCE, deal, (key, START + minutes * MINUTE))])
    async with store.write("crowd") as connection:
        await rows.write(connection)


def span(key: str, since: int, until: int) -> Span:
    return Span(key, START + since * MINUTE, START + until * MINUTE)


def member(key: str, minutes: int, deal: str) -> Member:
    return Member(key, START + minutes * MINUTE, SOURCE, deal)


async def test_members_are_found_by_key_and_time(store: Store) -> None:
    """Both ends of a span belong to it; other keys, times and tenants do not; in order of time."""
    for minutes in (30, 10, 20, 0, 31):
        await put(store, TENANT, f"lead:{minutes}", "v:ym:1", minutes)
    await put(store, TENANT, "lead:10", "p:a'\"", 10)
    await put(store, TENANT, "lead:10", "p:b", 10)
    await put(store, "other", "lead:10", "v:ym:1", 10)
    found = await Crowds(store, TENANT).members([span("v:ym:1", 10, 30), span("p:a'\"", 10, 10), span("p:c", 0, 60)])
    assert found["v:ym:1"] == [member("v:ym:1", minutes, f"lead:{minutes}") for minutes in (10, 20, 30)]
    assert found["p:a'\""] == [member("p:a'\"", 10, "lead:10")]
    assert set(found) == {"v:ym:1", "p:a'\""}
    assert await Crowds(store, TENANT).members([]) == {}


async def test_a_row_is_put_once_and_can_be_taken_away(store: Store) -> None:
    """Of one deal, at one time, under one key; the others stay."""
    await put(store, TENANT, "lead:1", "p:a", 0)
    await put(store, TENANT, "lead:1", "p:a", 0)
    await put(store, TENANT, "lead:2", "p:a", 0)
    looked = Crowds(store, TENANT)
    assert len((await looked.members([span("p:a", 0, 0)]))["p:a"]) == 2
    async with store.write("crowd") as connection:
        await crowds.forget(connection, TENANT, SOURCE, [("lead:1", ("p:a", START)), ("lead:9", ("p:a", START))])
    assert (await looked.members([span("p:a", 0, 0)]))["p:a"] == [member("p:a", 0, "lead:2")]


async def test_one_look_takes_many_keys(store: Store) -> None:
    """A page's worth of spans is one statement, and cheap in what is not there."""
    for number in range(20):
        await put(store, TENANT, f"lead:{number}", f"p:{number}", number)
    spans = [span(f"p:{number}", 0, 60) for number in range(3000)]
    assert len(await Crowds(store, TENANT).members(spans)) == 20
