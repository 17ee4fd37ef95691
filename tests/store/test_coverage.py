"""New leads are counted once each, by quarter of an hour, channel and identifiers; what was found is kept."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from bridge.clues import Reading
from bridge.frozen import replace
from bridge.model import DealKind, Identifier, IdKind, Match, Method
from bridge.rules.coverage import Cell, Fall, Report, Row, Share, Silence
from bridge.rules.floor import Floor, Period
from bridge.rules.odds import Sample
from bridge.store import Store
from bridge.store.coverage import Coverage
from bridge.store.records import Assessed, Records
from tests.store.kit import LOST, MATCH, SOURCE, TENANT, assessed, deal, page
from tests.support import START

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
END = START + 10 * DAY
EVER = Floor()


def lead(number: int, channel: str = "vk", at: timedelta = timedelta(0), match: object = LOST) -> Assessed:
    """A lead that came by a channel so long after the start."""
    assert isinstance(match, type(LOST) | Match)
    made = replace(deal(number), created_at=START + at)
    return replace(assessed(made, match=match), reading=Reading(channel=channel))


async def written(store: Store, *items: Assessed) -> Coverage:
    await Records(store).write_page(page(*items))
    return Coverage(store, TENANT)


async def cells(coverage: Coverage, floor: Floor = EVER) -> list[Cell]:
    return await coverage.cells(SOURCE, START, END, floor)


async def channels(coverage: Coverage, floor: Floor = EVER) -> Counter[str]:
    found: Counter[str] = Counter()
    for cell in await cells(coverage, floor):
        found[cell.channel] += cell.leads
    return found


async def test_alike_leads_of_a_quarter_are_one_cell(store: Store) -> None:
    """Apart by quarter, channel, identifiers and whether these are their own."""
    ids = tuple(Identifier(kind, "17751100000000000001", "f") for kind in (IdKind.YCLID, IdKind.CLIENT_ID))
    both, joined = replace(MATCH, identifiers=ids), replace(MATCH, method=Method.CONTACT)
    leads = [
        lead(1, match=both),
        lead(2, match=both),
        lead(3, match=joined),
        lead(4),
        lead(5, at=timedelta(minutes=15)),
    ]
    first = int(START.timestamp()) // 900
    found = await cells(await written(store, *leads))
    expected = [
        Cell(first, "vk", (), False, 1),
        Cell(first, "vk", ("yclid",), False, 1),
        Cell(first, "vk", ("yclid", "client_id"), True, 2),
        Cell(first + 1, "vk", (), False, 1),
    ]
    assert Counter(found) == Counter(expected)


async def test_a_deal_counts_with_the_lead_it_was_made_from(store: Store) -> None:
    """Where that is stored; a deal whose lead nobody reads is the first record of its person's request."""
    child, alone = lead(2, "email"), lead(3, "meta")
    items = [
        lead(1),
        replace(child, deal=replace(child.deal, kind=DealKind.DEAL, parent="lead:1")),
        replace(alone, deal=replace(alone.deal, kind=DealKind.DEAL, parent="lead:99")),
    ]
    assert await channels(await written(store, *items)) == {"vk": 1, "meta": 1}


async def test_items_of_a_process_count_only_where_nothing_else_is_read(store: Store) -> None:
    """Else they belong to a request that is counted already."""
    item = lead(1, "email")
    coverage = await written(store, replace(item, deal=replace(item.deal, kind=DealKind.ITEM, id="1032-1")))
    assert await channels(coverage) == {"email": 1}
    assert await channels(await written(store, lead(2))) == {"vk": 1}


async def test_leads_of_an_unfair_sample_do_not_count(store: Store) -> None:
    """Before the first reading only those that were modified later are known; periods read by a backfill are whole."""
    days = range(0, 10, 2)
    coverage = await written(store, *[lead(day, f"utm:d{day}", day * DAY) for day in days])
    floor = Floor(START + 6 * DAY)
    assert set(await channels(coverage, floor)) == {"utm:d6", "utm:d8"}
    opened = floor.opening(Period(START + 2 * DAY, START + 4 * DAY))
    assert set(await channels(coverage, opened)) == {"utm:d2", "utm:d6", "utm:d8"}
    assert len(await channels(coverage)) == 5


async def test_only_new_leads_of_this_source_and_time_count(store: Store) -> None:
    """Half-open, and no lead of which nothing was read."""
    coverage = await written(store, lead(1, at=-HOUR), lead(2, at=10 * DAY), lead(3, ""), lead(4))
    await Records(store).write_page(replace(page(lead(5)), source="other"))
    await Records(store).write_page(replace(page(lead(6)), tenant="dom"))
    assert await channels(coverage) == {"vk": 1}


async def test_what_was_found_is_kept_whole(store: Store) -> None:
    """Falls with their times and counts, silence, every share; the newest report only."""
    coverage = Coverage(store, TENANT)
    assert await coverage.report(SOURCE) is None
    assert await coverage.counted_at(SOURCE) is None
    shares = {"all": Share(5, 2, 1)}
    falls = (Fall("vk", "", START, END, Sample(9, 8), Sample(5, 0), END), Fall("all", "yclid", START, END, *SAMPLES))
    rows = (Row("2026-03-02", shares),)
    report = Report(END, {"day": shares}, rows, rows, falls, Silence(START, 12.5, 900))
    await coverage.save(SOURCE, replace(report, falls=()), START)
    await coverage.save(SOURCE, report, END)
    assert await coverage.report(SOURCE) == report
    assert await coverage.counted_at(SOURCE) == END
    assert await coverage.report("other") is None


SAMPLES = (Sample(100, 70), Sample(20, 1))
