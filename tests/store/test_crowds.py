"""Who came about the same time with something in common, on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bridge.rules.suspicion import Member, Span, is_origin
from bridge.store import Store, codec, crowds, schema
from bridge.store.bulk import Rows
from bridge.store.codec import micros
from bridge.store.crowds import Crowds
from tests.store.kit import SOURCE, TENANT
from tests.support import START

MINUTE = timedelta(minutes=1)


DEAL: dict[str, Any] = {"version": "v", "facts": b"", "unmatched": "no", "is_dirty": False, "is_open": True}
TIMES = ("created_at", "updated_at", "stored_at")


async def put(store: Store, tenant: str, deal: str, key: str, minutes: int, parent: str | None = None) -> None:
    """A row under a key, in the table where its kind is kept, and its deal."""
    at, table = START + minutes * MINUTE, schema.crowd if is_origin(key) else schema.touch_key
    rows = Rows()
    rows.add_new(table, crowds.COLUMNS, [crowds.row(deal, (key, at))], tenant=tenant, source=SOURCE)
    own = {"tenant": tenant, "source": SOURCE, "deal": deal, "parent": parent, "outcome": "open", **DEAL}
    own |= dict.fromkeys(TIMES, micros(at))
    async with store.write("crowd") as connection:
        await rows.write(connection)
        await connection.execute(codec.insert_new(store.dialect, schema.deal), own)


def span(key: str, since: int, until: int) -> Span:
    return Span(key, START + since * MINUTE, START + until * MINUTE)


def member(key: str, minutes: int, deal: str) -> Member:
    return Member(key, START + minutes * MINUTE, SOURCE, deal)


async def test_members_are_found_by_key_and_time(store: Store) -> None:
    """Both ends of a span belong to it; other keys, times and tenants do not; in order of time."""
    for minutes in (30, 10, 20, 0, 31):
        await put(store, TENANT, f"lead:{minutes}", "client_id:1", minutes)
    await put(store, TENANT, "lead:10", "phone:a'\"", 10)
    await put(store, TENANT, "lead:10", "phone:b", 10)
    await put(store, "other", "lead:10", "client_id:1", 10)
    found = await Crowds(store, TENANT).members(
        [span("client_id:1", 10, 30), span("phone:a'\"", 10, 10), span("page:c", 0, 60)]
    )
    assert found["client_id:1"] == [member("client_id:1", minutes, f"lead:{minutes}") for minutes in (10, 20, 30)]
    assert found["phone:a'\""] == [member("phone:a'\"", 10, "lead:10")]
    assert set(found) == {"client_id:1", "phone:a'\""}
    assert await Crowds(store, TENANT).members([]) == {}


async def test_a_row_is_put_once_and_can_be_taken_away(store: Store) -> None:
    """Of one deal, at one time, under one key; the others stay."""
    await put(store, TENANT, "lead:1", "page:a", 0)
    await put(store, TENANT, "lead:1", "page:a", 0)
    await put(store, TENANT, "lead:2", "page:a", 0)
    looked = Crowds(store, TENANT)
    assert len((await looked.members([span("page:a", 0, 0)]))["page:a"]) == 2
    async with store.write("crowd") as connection:
        await crowds.forget(connection, TENANT, SOURCE, [("lead:1", ("page:a", START)), ("lead:9", ("page:a", START))])
    assert (await looked.members([span("page:a", 0, 0)]))["page:a"] == [member("page:a", 0, "lead:2")]


async def test_one_look_takes_many_keys(store: Store) -> None:
    """A page's worth of spans is one statement, and cheap in what is not there."""
    for number in range(20):
        await put(store, TENANT, f"lead:{number}", f"page:{number}", number)
    spans = [span(f"page:{number}", 0, 60) for number in range(3000)]
    assert len(await Crowds(store, TENANT).members(spans)) == 20


async def test_a_deal_made_from_a_lead_is_no_request(store: Store) -> None:
    """It hangs on its person's keys as its lead does, and counts only there."""
    await put(store, TENANT, "lead:1", "phone:a", 0)
    await put(store, TENANT, "deal:1", "phone:a", 1, parent="lead:1")
    found = await Crowds(store, TENANT).members([span("phone:a", 0, 9)])
    assert found["phone:a"] == [member("phone:a", 0, "lead:1")]


async def test_all_rows_of_a_tenant_can_be_forgotten(store: Store) -> None:
    """Landing pages and addresses of that one; nothing of the identity graph, nothing of another tenant."""
    for tenant in (TENANT, "other"):
        await put(store, tenant, "lead:1", "page:a", 0)
        await put(store, tenant, "lead:1", "phone:a", 0)
    looked = Crowds(store, TENANT)
    assert await looked.forget_all() == 1
    assert set(await looked.members([span("page:a", 0, 0), span("phone:a", 0, 0)])) == {"phone:a"}
    assert set(await Crowds(store, "other").members([span("page:a", 0, 0)])) == {"page:a"}
