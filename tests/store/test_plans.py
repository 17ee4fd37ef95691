"""How SQLite answers what is asked for every page, batch and sweep: by an index of its own, however much is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from bridge.rules.suspicion import Span
from bridge.store import Store, bulk, relatives, touches, turns
from bridge.store.crowds import Crowds
from bridge.store.ledger import Ledger
from bridge.store.records import Records
from bridge.store.sweeps import Since, Sweeps
from bridge.store.touches import Wanted
from tests.store.kit import ADS, SOURCE, TENANT, content, conversion
from tests.support import START

Asked = Callable[[Store], Awaitable[Any]]
_KEYS = ["lead:1", "lead:2"]
_SECOND = timedelta(seconds=1)


async def _turns(store: Store) -> Any:
    async with store.read() as connection:
        shop = turns.Shop(TENANT, ADS, _SECOND)
        return await turns.turns(connection, shop, [content(conversion(1))], START)


PAGE: dict[str, tuple[Asked, str]] = {
    "due": (
        lambda store: Ledger(store, TENANT).due(ADS, START, 9),
        "ix_delivery_due (tenant=? AND destination=? AND due<?)",
    ),
    "merged": (lambda store: relatives.of_merged(store, TENANT, SOURCE, _KEYS), "ix_deal_merged"),
    "merges": (lambda store: relatives.around_merges(store, TENANT, SOURCE, _KEYS), "ix_deal_merged"),
    "onward": (lambda store: relatives.onward(store, TENANT, SOURCE, _KEYS), "(tenant=? AND source=? AND deal=?)"),
    "payments": (lambda store: relatives.of_payments(store, TENANT, SOURCE, ["payment:1"]), "ix_conversion_payment"),
    "seconds": (
        lambda store: relatives.in_seconds(store, TENANT, [1_000_000_000, 1_000_000_009]),
        "ix_conversion_at (tenant=? AND occurred_at>? AND occurred_at<?)",
    ),
    "orders": (
        lambda store: relatives.in_orders(store, TENANT, [ADS], ["order 1", "order 2"]),
        "ix_delivery_deal_order (tenant=? AND destination=? AND deal_order=?)",
    ),
    "children": (lambda store: Records(store).children(TENANT, SOURCE, _KEYS), "ix_deal_parent"),
    "touches": (
        lambda store: touches.near(store, TENANT, SOURCE, [Wanted("phone:1", START)]),
        "k USING PRIMARY KEY (tenant=? AND digest=? AND at<?)",
    ),
    "own touches": (lambda store: touches.of_deals(store, TENANT, SOURCE, _KEYS), "(tenant=? AND source=? AND deal=?)"),
    "crowd": (
        lambda store: Crowds(store, TENANT).members([Span("p:1", START, START)]),
        "c USING PRIMARY KEY (tenant=? AND digest=? AND at>? AND at<?)",
    ),
    "turns": (_turns, "ix_delivery_deal_order (tenant=? AND destination=? AND deal_order=?)"),
    "won lately": (lambda store: Sweeps(store, TENANT).open_deals(SOURCE, "", 9, Since(START)), "ix_deal_won"),
    "lost and paid": (
        lambda store: Sweeps(store, TENANT).open_deals(SOURCE, "lead:1", 9, Since(START)),
        "ix_deal_lost_paid (tenant=? AND source=? AND deal>?)",
    ),
    "deleted lately": (
        lambda store: Sweeps(store, TENANT).open_deals(SOURCE, "", 9, Since(None, START)),
        "ix_deal_deleted",
    ),
    "dirty": (lambda store: Records(store).dirty(TENANT, SOURCE, START), "ix_deal_recheck"),
}


async def _plan(store: Store, monkeypatch: pytest.MonkeyPatch, asked: Asked) -> list[str]:
    """What SQLite says it does for the queries of it."""
    said: list[tuple[str, Any]] = []
    event.listen(
        store._reader.sync_engine, "before_cursor_execute", lambda _c, _u, sql, values, *_: said.append((sql, values))
    )
    fetch = bulk._fetch_all

    def looked(connection: Any, sql: str, values: Sequence[Any]) -> list[Any]:
        said.append((sql, tuple(values)))
        return fetch(connection, sql, values)

    monkeypatch.setattr(bulk, "_fetch_all", looked)
    await asked(store)
    plan: list[str] = []
    async with store.read() as connection:
        for sql, values in [one for one in said if " FROM " in " ".join(one[0].split())]:
            plan += [row.detail for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
    return plan


_WHOLE = ("(tenant=?)", "(tenant=? AND source=?)")  # all of a tenant, or of a source


@pytest.mark.parametrize("name", PAGE)
async def test_none_of_these_queries_reads_a_whole_table(
    name: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does is no slower in a test, and takes minutes with a million deals."""
    if not store.is_sqlite:
        pytest.skip("PostgreSQL chooses by the number of rows")
    asked, index = PAGE[name]
    plan = await _plan(store, monkeypatch, asked)
    assert any(index in line for line in plan), plan
    whole = [line for line in plan if line.endswith(_WHOLE) or line.startswith("SCAN deal")]
    assert [line for line in whole if "ix_deal_dirty" not in line] == []


async def test_what_is_due_is_not_sorted_for_every_batch(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index has it in order: of a million due rows each batch reads no more than its own."""
    if not store.is_sqlite:
        pytest.skip("PostgreSQL chooses by the number of rows")
    plan = await _plan(store, monkeypatch, PAGE["due"][0])
    assert [line for line in plan if "TEMP B-TREE" in line] == []
