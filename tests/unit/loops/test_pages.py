"""What a page must know of the one before it, of itself, and of those who stop it."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from bridge.catalogue import Catalogue
from bridge.errors import StoreError, Unavailable
from bridge.frozen import replace
from bridge.loops import assess, deliver, poll
from bridge.model import Clue, Deal, DealKind, IdKind, Outcome, StageChange
from bridge.ports import Admission, BadRecord, Head, Listing, Pass, Window
from bridge.store import Store, schema
from bridge.store.records import Page, Records
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import HOUR, MINUTE, Ads, Crm, office
from tests.unit.loops.test_family import CHILD, LEAD, counted_on
from tests.unit.loops.test_persons import ANNA, BORIS, of
from tests.unit.loops.test_poll import SALE, lead, polled


async def test_a_backfill_whose_source_lists_a_record_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged again while the page before, which promises for the same records, is written, each is promised once."""
    monkeypatch.setattr(poll, "_PART", 1)
    crm = Crm(names=Catalogue(is_open=True))
    made = office(store, {ADS: Ads()}, {"crm": crm}, [])
    crm.scans = [[crm.shows(lead(1), lead(2))], []]
    await poll.once(made.tenant, force=True)
    made.tenant.settings.goals.append(SALE)
    unit = made.tenant.sources["crm"]
    unit.compiled = None
    crm.scans = [[crm.shows(lead(1), lead(2)), crm.shows(lead(1))]]
    how = poll.Reading(None, moves_watermark=False, judges_all=True)
    await poll.read(made.tenant, unit, Window(START - HOUR, START), how)
    assert await counted_on(store) == ["lead:1", "lead:2"]


class Listed(Crm):
    """A source whose heads hold what the record was when it was listed."""

    def shows(self, *deals: Deal) -> Listing:
        return Listing(tuple(Head(deal.key, deal.version, deal.updated_at, deal) for deal in deals))

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        return [head.row for head in heads]


async def test_a_record_that_comes_again_keeps_its_history(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages lie between, and whether or not it was stored when the later page looked up what is known."""
    monkeypatch.setattr(poll, "_PART", 1)
    crm = Listed(names=Catalogue(is_open=True))
    made = office(store, {ADS: Ads()}, {"crm": crm}, [SALE])
    firsts = [100 * gap for gap in range(1, 7)]
    listings: list[Listing | Exception] = []
    for number, gap in zip(firsts, range(6), strict=True):
        others = [lead(number + other) for other in range(1, gap + 1)]
        later = lead(number, START - MINUTE, stage="1", version="v2")
        listings += [crm.shows(deal) for deal in (lead(number), *others, later)]
    crm.scans = [listings, []]
    await poll.once(made.tenant, force=True)
    facts = await made.tenant.records.facts(TENANT, "crm", [f"lead:{number}" for number in firsts])
    histories = [[entry.stage for entry in one.deal.history] for one in facts.values()]
    assert histories == [["142", "1"]] * 6


def click(deal: Deal, digits: str) -> Deal:
    return replace(deal, clues=(Clue("field YCLID", digits, IdKind.YCLID),))


@pytest.mark.parametrize("joined", [True, False])
async def test_a_corrected_click_is_the_one_that_serves(
    joined: bool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another deal of the person, on the same page or the next, gets the new click and not the one it replaces."""
    monkeypatch.setattr(poll, "_PART", 1)
    old, new = "17751100000000009999", "17751100000000001111"
    crm = Crm(names=Catalogue(is_open=True))
    made = office(store, {ADS: Ads()}, {"crm": crm}, [SALE])
    crm.scans = [[crm.shows(click(of(ANNA, lead(1), has_click=True), old))], []]
    await poll.once(made.tenant, force=True)
    fixed = click(of(ANNA, lead(1), has_click=True, version="v2"), new)
    other = of(ANNA, lead(2), has_click=False)
    crm.scans = [[crm.shows(fixed, other)] if joined else [crm.shows(fixed), crm.shows(other)]]
    unit = made.tenant.sources["crm"]
    await poll.read(made.tenant, unit, Window(START - HOUR, START), poll.Reading(None, moves_watermark=False))
    await assess.once(made.tenant)
    rows = {r["conversion"]: r["content"] for r in await rows_kit.rows(store, schema.delivery)}
    of_deal = {
        r["deal"]: json.loads(rows[r["id"]])["identifiers"][0]["value"]
        for r in await rows_kit.rows(store, schema.conversion)
    }
    assert of_deal == {"lead:1": new, "lead:2": new}


@pytest.mark.parametrize("joined", [True, False])
async def test_a_corrected_contact_lends_no_click_even_at_once(
    joined: bool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a click serve whom its deal was put to by mistake, on the same page or the next."""
    monkeypatch.setattr(poll, "_PART", 1)
    crm = Crm(names=Catalogue(is_open=True))
    made = office(store, {ADS: Ads()}, {"crm": crm}, [SALE])
    crm.scans = [[crm.shows(of(ANNA, lead(1), has_click=True))], []]
    await poll.once(made.tenant, force=True)
    fixed = of(BORIS, lead(1), has_click=True, version="v2")
    other = of(ANNA, lead(2), has_click=False)
    crm.scans = [[crm.shows(fixed, other)] if joined else [crm.shows(fixed), crm.shows(other)]]
    unit = made.tenant.sources["crm"]
    await poll.read(made.tenant, unit, Window(START - HOUR, START), poll.Reading(None, moves_watermark=False))
    await assess.once(made.tenant)
    assert await counted_on(store) == ["lead:1"]


async def test_a_row_refused_at_home_is_no_recovery(store: Store, logs: io.StringIO) -> None:
    """The vendor is still down; what we refuse ourselves tells nothing of it."""
    ads = Ads(sends=[Unavailable("down")])
    made = office(store, {ADS: ads})
    await made.promise(1)
    await deliver.once(made.tenant)
    made.clock.advance(MINUTE)
    made.clock.advance(timedelta(seconds=1))
    (late,) = await made.promise(2)
    ads.passes[late] = Admission(Pass.REFUSED, "no_click")
    # the first row is not due yet: push it away
    async with store.write("test") as connection:
        table = schema.delivery
        await connection.execute(table.update().where(table.c.id != late).values(due=2**60))
    await deliver.once(made.tenant, force=True)
    events = [json.loads(line)["event"] for line in logs.getvalue().splitlines()]
    assert len(ads.sent) == 1
    assert "destination_recovered" not in events


async def test_a_known_deal_set_aside_and_then_deleted(store: Store) -> None:
    """Its deletion is noticed although its newer state was never understood, and it leaves the quarantine."""
    crm = Crm(names=Catalogue(is_open=True))
    made = office(store, {ADS: Ads()}, {"crm": crm}, [SALE])

    async def read(*deals: Deal, bad: tuple[BadRecord, ...] = ()) -> None:
        listing = crm.shows(*deals)
        crm.scans = [[Listing(listing.heads, bad)], []]
        made.clock.advance(MINUTE)
        assert (await poll.once(made.tenant, force=True)).problems == []

    await read(lead(1, stage="10"))
    await read(bad=(BadRecord("lead:1", "price", "no amount", "v2"),))
    at = made.clock.now()
    await read(Deal(DealKind.LEAD, "1", "v3", at, at, "", "", Outcome.OPEN, is_deleted=True))
    stored = (await made.tenant.records.facts(TENANT, "crm", ["lead:1"]))["lead:1"].deal
    assert stored.is_deleted
    assert await rows_kit.rows(store, schema.quarantine) == []


async def test_no_write_is_left_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped while a failed reading waits for its last page, nothing goes on writing."""
    monkeypatch.setattr(poll, "_PART", 1)
    crm = Crm(names=Catalogue(is_open=True))
    made = office(store, {ADS: Ads()}, {"crm": crm}, [SALE])
    gate, begun = asyncio.Event(), asyncio.Event()
    real = made.tenant.records.write_page

    async def slow(page: Page) -> None:
        begun.set()
        await gate.wait()
        await real(page)

    monkeypatch.setattr(made.tenant.records, "write_page", slow)
    crm.scans = [[crm.shows(lead(1)), Unavailable("down")]]
    before = asyncio.all_tasks()
    reading = asyncio.create_task(poll.once(made.tenant))
    await begun.wait()
    await asyncio.sleep(0.05)  # the failure waits for the write
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    left = asyncio.all_tasks() - before
    gate.set()
    await asyncio.sleep(0.05)
    assert left == set()
    assert await rows_kit.rows(store, schema.deal) == []


async def test_a_cancellation_is_not_swallowed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped while a reading that failed is being closed, the poll does not go on to the next source."""
    monkeypatch.setattr(poll, "_PART", 1)
    closing = asyncio.Event()

    class Slow(Crm):
        async def scan(self, window: Window) -> AsyncIterator[Listing]:
            yield self.shows(lead(1))
            yield self.shows(lead(2))
            try:
                await asyncio.Event().wait()
            finally:
                closing.set()
                await asyncio.sleep(0.1)  # a request under way is put an end to

    crm, other = Slow(names=Catalogue(is_open=True)), Crm(names=Catalogue(is_open=True))
    made = office(store, {ADS: Ads()}, {"crm": crm, "other": other}, [SALE])

    async def broken(page: object) -> None:
        raise StoreError("disk full")

    monkeypatch.setattr(made.tenant.records, "write_page", broken)
    polling = asyncio.create_task(poll.once(made.tenant))
    await closing.wait()
    polling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await polling
    assert other.windows == []


@pytest.mark.parametrize("is_new_stage", [False, True])
async def test_names_asked_between_two_pages_lose_no_children(
    is_new_stage: bool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lead is counted on its deal though the deal is still being written when names are looked up."""
    monkeypatch.setattr(poll, "_PART", 1)
    real = Records.write_page

    async def slow(*args: Any) -> None:
        await asyncio.sleep(0.3)  # the database takes its time
        await real(*args)

    monkeypatch.setattr(Records, "write_page", slow)
    crm = Crm()
    made = polled(store, crm)
    await poll.once(made.tenant)
    made.clock.advance(HOUR)
    later = START - 30 * MINUTE
    stage = "99" if is_new_stage else "10"
    entry = StageChange(later, "1", stage, Outcome.OPEN, "events")
    moved = replace(LEAD, stage=stage, outcome=Outcome.OPEN, updated_at=later, history=(*LEAD.history, entry))
    crm.scans = [[crm.shows(CHILD), crm.shows(moved)]]
    unit = made.tenant.sources["crm"]
    await poll.read(made.tenant, unit, Window(START - HOUR, START), poll.Reading(None, moves_watermark=False))
    assert crm.asked_names == (2 if is_new_stage else 1)
    assert await counted_on(store) == [CHILD.key]
