"""Where a sweep stands, and which deals are open; on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from bridge.errors import StoreError
from bridge.frozen import replace
from bridge.model import Deal, Money, Outcome, Payment, PaymentState
from bridge.ports import BadRecord
from bridge.rules.plan import Plan
from bridge.store import Store, schema
from bridge.store.records import Records
from bridge.store.reports import Reports, SweepReport
from bridge.store.sweeps import Counts, Since, Standing, Step, Sweep, Sweeps
from tests.store.kit import SOURCE, TENANT, assessed, conversion, deal, page, rows
from tests.support import START

DAY = timedelta(days=1)
PAID = (Payment("payment:1", PaymentState.PAID, Money(100, "RUB"), START),)


def opened(number: int, **changes: Any) -> Deal:
    return replace(deal(number), outcome=Outcome.OPEN, **changes)


async def test_the_life_of_a_sweep(store: Store) -> None:
    """Planned, begun, moved on by its pieces, ended: what it found is kept when the next one begins."""
    sweeps, records = Sweeps(store, TENANT), Records(store)
    assert await sweeps.state(SOURCE) is None
    await sweeps.put_off(SOURCE, START + DAY)
    assert await sweeps.state(SOURCE) == Sweep(START + DAY)
    await sweeps.begin(SOURCE, START + DAY)
    await records.write_page(page(sweep=Step("lead:5", Counts(5, 2, 1))))
    await records.write_page(page(sweep=Step("lead:7", Counts(2, 1, 0, 1))))
    assert await sweeps.state(SOURCE) == Sweep(START + DAY, START + DAY, "lead:7", Counts(7, 3, 1, 1))
    await sweeps.finish(SOURCE, START + DAY, START + 2 * DAY)
    assert await sweeps.state(SOURCE) == Sweep(START + 2 * DAY)
    reports = Reports(store)
    assert (await reports.source(TENANT, SOURCE)).sweep == SweepReport(START + DAY, 3, 1, aside=1)
    await sweeps.begin(SOURCE, START + 2 * DAY)
    await records.write_page(page(sweep=Step("lead:1", Counts(1, 1, 0))))
    assert (await reports.source(TENANT, SOURCE)).sweep == SweepReport(START + DAY, 4, 1, aside=1)


async def test_trouble_is_kept_until_a_piece_succeeds(store: Store) -> None:
    """And the place where the sweep goes on is not lost by it."""
    sweeps, records = Sweeps(store, TENANT), Records(store)
    await sweeps.begin(SOURCE, START)
    await records.write_page(page(sweep=Step("lead:5", Counts(5))))
    await sweeps.put_off(SOURCE, START + DAY, "Unavailable: down")
    assert await sweeps.state(SOURCE) == Sweep(START + DAY, START, "lead:5", Counts(5), "Unavailable: down")
    await records.write_page(page(sweep=Step("lead:6", Counts(1))))
    state = await sweeps.state(SOURCE)
    assert state is not None
    assert state.last_error is None


async def test_a_piece_is_written_whole_or_not_at_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A count without its repair, or a repair without its count, would make the figure a lie."""
    sweeps, records = Sweeps(store, TENANT), Records(store)
    await sweeps.begin(SOURCE, START)

    def fails(label: str) -> None:
        if label == "before page":
            raise OSError("disk full")

    monkeypatch.setattr(store, "_on_commit", fails)
    with pytest.raises((OSError, StoreError)):
        await records.write_page(page(assessed(deal(1)), sweep=Step("lead:1", Counts(1, 1))))
    monkeypatch.undo()
    assert await rows(store, schema.deal) == []
    assert await sweeps.state(SOURCE) == Sweep(START, START)


async def test_open_deals_come_in_the_order_of_their_keys(store: Store) -> None:
    """Those of this source alone; a closed or a deleted one is not among them, and one that is reopened is."""
    records, sweeps = Records(store), Sweeps(store, TENANT)
    four = [opened(number) for number in (1, 2, 3, 4)]
    await records.write_page(page(*map(assessed, [*four, opened(5, is_deleted=True), deal(6)])))
    await records.write_page(replace(page(assessed(four[0])), source="b24"))
    await records.write_page(replace(page(assessed(four[0])), tenant="dom"))
    found = await sweeps.open_deals(SOURCE, "", 3)
    assert list(found) == ["lead:1", "lead:2", "lead:3"]
    assert found["lead:2"] == Standing("v1", four[1].updated_at)
    assert list(await sweeps.open_deals(SOURCE, "lead:3", 3)) == ["lead:4"]
    await records.write_page(page(assessed(replace(deal(4), version="v2")), assessed(opened(6))))
    assert list(await sweeps.open_deals(SOURCE, "lead:3", 3)) == ["lead:6"]


async def test_open_deals_are_found_by_their_own_index(store: Store) -> None:
    """However many are closed: a sweep of a few open deals does not read the whole table."""
    if not store.is_sqlite:
        pytest.skip("PostgreSQL chooses by the number of rows")
    seen: list[str] = []
    sql = (
        "SELECT deal FROM deal WHERE tenant = 'a' AND source = 'b' AND is_open = 1 AND deal > 'c' ORDER BY deal LIMIT 9"
    )
    async with store.read() as connection:
        seen += [str(row) for row in await connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"))]
    assert any("ix_deal_open" in line for line in seen)
    assert not any("TEMP B-TREE" in line for line in seen)


async def test_deals_won_lately_are_asked_for_where_that_is_wanted(store: Store) -> None:
    """Among the open ones, in one order of keys; lost ones and those won and left alone long ago are not."""
    records, sweeps = Records(store), Sweeps(store, TENANT)
    late = [deal(2), deal(4, "v4"), replace(deal(5), outcome=Outcome.LOST)]
    old = replace(deal(6), updated_at=START - DAY)
    await records.write_page(page(*map(assessed, [opened(1), opened(3), *late, old])))
    found = await sweeps.open_deals(SOURCE, "", 9, Since(START))
    assert list(found) == ["lead:1", "lead:2", "lead:3", "lead:4"]
    assert found["lead:4"] == Standing("v4", late[1].updated_at)
    assert list(await sweeps.open_deals(SOURCE, "lead:1", 2, Since(START))) == ["lead:2", "lead:3"]
    assert list(await sweeps.open_deals(SOURCE, "", 9)) == ["lead:1", "lead:3"]


async def test_lost_deals_are_among_them_once_a_payment_of_theirs_was_promised(store: Store) -> None:
    """A refund would have to be told; of a lost deal that never was paid there is nothing to look after."""
    records, sweeps = Records(store), Sweeps(store, TENANT)
    lost = [replace(deal(number), outcome=Outcome.LOST, payments=PAID) for number in (1, 2, 3)]
    paid = [Plan(conversions=[replace(conversion(number), occurrence=f"payment:{number}")]) for number in (2, 3)]
    old = replace(lost[2], updated_at=START - DAY)
    plans = [Plan(conversions=[conversion(1)]), *paid]
    shown = [assessed(one, made) for one, made in zip([*lost[:2], old], plans, strict=True)]
    await records.write_page(page(*shown))
    assert list(await sweeps.open_deals(SOURCE, "", 9, Since(START))) == ["lead:2"]
    assert list(await sweeps.open_deals(SOURCE, "", 9)) == []


async def test_deleted_deals_are_among_them_while_they_can_come_back(store: Store) -> None:
    """By the time of the deletion, marked as such; neither one that was won, nor one that has come back, twice."""
    records, sweeps = Records(store), Sweeps(store, TENANT)
    early = opened(3, is_deleted=True, updated_at=START - DAY)
    away = [opened(1, is_deleted=True), replace(deal(2), is_deleted=True), early, opened(4, is_deleted=True)]
    await records.write_page(page(*map(assessed, away)))
    await records.write_page(page(assessed(opened(4, version="v2"))))
    found = await sweeps.open_deals(SOURCE, "", 9, Since(START - 9 * DAY, START))
    assert {key: standing.is_deleted for key, standing in found.items()} == {
        "lead:1": True,
        "lead:2": True,
        "lead:4": False,
    }
    assert list(await sweeps.open_deals(SOURCE, "", 9)) == ["lead:4"]


@pytest.mark.parametrize("since", [Since(), Since(START)])
async def test_what_is_in_quarantine_is_among_them_once(store: Store, since: Since) -> None:
    """A new record as well as a stored one, open, won or lost; that of another source or tenant is not."""
    records, sweeps = Records(store), Sweeps(store, TENANT)
    lost = replace(deal(3), outcome=Outcome.LOST)
    await records.write_page(page(*map(assessed, [opened(1), deal(2), lost, opened(4)])))
    bad = [BadRecord(f"lead:{number}", "price", "no amount", "v2") for number in (1, 2, 3, 9)]
    await records.write_page(page(bad=bad))
    stranger = page(bad=[BadRecord("lead:8", "price", "no amount", "v2")])
    await records.write_page(replace(stranger, source="b24"))
    await records.write_page(replace(stranger, tenant="dom"))
    first = await sweeps.open_deals(SOURCE, "", 3, since)
    assert list(first) == ["lead:1", "lead:2", "lead:3"]
    assert {item.version for item in first.values()} == {""}
    rest = await sweeps.open_deals(SOURCE, "lead:3", 3, since)
    assert list(rest) == ["lead:4", "lead:9"]
    assert rest["lead:9"].version == ""
