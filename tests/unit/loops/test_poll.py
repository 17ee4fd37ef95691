"""Polling: windows, the cursor, quarantine, pauses, and names that change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.catalogue import Catalogue, Pipeline, Stage
from bridge.config import Goal
from bridge.errors import AuthError, BridgeError, Drift, Unavailable
from bridge.frozen import replace
from bridge.loops import poll
from bridge.loops.slices import ROWS_WANTED, Slices, next_size
from bridge.model import Clue, Deal, DealKind, IdKind, Money, Outcome, StageChange
from bridge.ports import BadRecord, Head, Listing, SourceTraits, Window
from bridge.rules.floor import Floor
from bridge.store import Store, schema
from bridge.store.codec import maybe
from bridge.tenant import Progress
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, Ads, Crm, Office, Slow, office

TRAITS = SourceTraits()
NAMES = Catalogue(
    (Pipeline("1", "Продажи", DealKind.LEAD, (Stage("10", "Новая"), Stage("142", "Успех", Outcome.WON))),)
)
SALE = Goal.model_validate({"name": "sale", "when": {"outcome": "won"}, "send": {ADS: "deal_won"}})


def lead(number: int, at: datetime = START - HOUR, *, stage: str = "142", version: str = "v1") -> Deal:
    """A lead with a click that was sold at that moment."""
    outcome = Outcome.WON if stage == "142" else Outcome.OPEN
    clue = Clue("field YCLID", f"1775110000000000{number:04d}", IdKind.YCLID)
    entry = StageChange(at, "1", stage, outcome, "events")
    key = (DealKind.LEAD, str(number), version, at - DAY, at, "1", stage, outcome)
    return Deal(*key, clues=(clue,), history=(entry,))


def polled(store: Store, crm: Crm) -> Office:
    crm.names = NAMES
    return office(store, {ADS: Ads()}, {"crm": crm}, [SALE])


async def watermark(made: Office) -> datetime | None:
    return maybe((await made.source())["watermark"])


# --- slices ------------------------------------------------------------------------------------------------------

sizes = st.timedeltas(TRAITS.slice_min, TRAITS.slice_max)


@given(sizes, st.integers(0, 10 * ROWS_WANTED))
def test_a_slice_stays_within_its_bounds_and_follows_the_density(size: timedelta, rows: int) -> None:
    """A full slice is never followed by a longer one, an empty one never by a shorter one."""
    after = next_size(size, rows, TRAITS)
    assert TRAITS.slice_min <= after <= TRAITS.slice_max
    assert rows <= ROWS_WANTED or after <= size
    assert rows >= ROWS_WANTED // 4 or after >= size
    assert not ROWS_WANTED // 4 <= rows <= ROWS_WANTED or after == size


@given(sizes, st.floats(0.001, 1e6))
def test_slices_settle_where_the_density_wants_them(size: timedelta, per_hour: float) -> None:
    """After a few slices each brings about as many rows as wanted, unless a bound forbids it."""
    for _ in range(16):
        size = next_size(size, int(size / HOUR * per_hour), TRAITS)
    rows = int(size / HOUR * per_hour)
    assert rows <= ROWS_WANTED or size == TRAITS.slice_min
    assert rows >= ROWS_WANTED // 4 or size == TRAITS.slice_max


@given(st.timedeltas(timedelta(0), 400 * DAY), st.lists(st.integers(0, 10 * ROWS_WANTED)), st.booleans())
def test_slices_make_up_their_window(span: timedelta, rows: list[int], reads_everything: bool) -> None:
    """In order, without holes, however many rows each brings; their shares add up to all of it."""
    whole = Window(START, START + span, "")
    slices = Slices(whole, replace(TRAITS, reads_everything=reads_everything))
    read = []
    while (part := slices.next) is not None:
        read.append(part)
        slices.follow(part, rows[len(read) % len(rows)] if rows else 2 * ROWS_WANTED // 3, str(len(read)))
    windows = [part.window for part in read]
    assert (windows[0].start, windows[-1].end) == (whole.start, whole.end)
    assert all(a.end == b.start for a, b in pairwise(windows))
    assert [window.marks for window in windows] == ["", *map(str, range(1, len(read)))]
    assert [part.is_last for part in read] == [False] * (len(read) - 1) + [True]
    assert sum(part.share for part in read) == pytest.approx(1.0)
    assert len(read) == 1 or not reads_everything


async def test_the_next_slice_is_asked_for_while_pages_of_one_are_written(store: Store) -> None:
    """Nobody waits for the database between slices. What cannot be written ends the reading; no cursor passes it."""
    crm = Crm()
    crm.scans = [[crm.shows(lead(1, START - 5 * DAY))], [crm.shows(lead(2, START - DAY))], []]
    made = polled(store, crm)

    async def on_page(share: float, counts: Progress) -> None:
        async with asyncio.timeout(20):
            while len(crm.windows) < 2:  # noqa: ASYNC110 - a source raises no event
                await asyncio.sleep(0)
        raise Unavailable("the page cannot be told")

    how = poll.Reading(None, moves_watermark=True, on_page=on_page)
    with pytest.raises(Unavailable):
        await poll.read(made.tenant, made.tenant.sources["crm"], Window(START - 9 * DAY, START), how)
    assert await watermark(made) is None
    assert [row["deal"] for row in await rows_kit.rows(store, schema.deal)] == ["lead:1"]


class Versions(Crm):
    """A source that shows one record twice."""

    def __init__(self, *versions: Deal) -> None:
        super().__init__()
        self.is_ahead, self.versions = asyncio.Event(), {deal.version: deal for deal in versions}
        shown: list[list[Listing | Exception]] = [[self.shows(deal)] for deal in versions]
        self.scans = [[], *shown, []]

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        if "v2" in [head.version for head in heads]:
            self.is_ahead.set()
        return [self.versions[head.version] for head in heads]


async def test_a_deletion_is_heard_while_the_record_is_being_written(store: Store) -> None:
    """Nothing is stored of it when the next slice tells that it is gone: it is somebody's lead all the same."""
    before = lead(1, START - 8 * DAY)
    crm = Versions(before, replace(before, version="v2", updated_at=START - 6 * DAY, is_deleted=True))
    made = polled(store, crm)
    unit, how = made.tenant.sources["crm"], poll.Reading(Floor(START - 9 * DAY), moves_watermark=False)
    await poll.read(made.tenant, unit, Window(START - 10 * DAY, START - 9 * DAY), how)
    reading = asyncio.create_task(poll.read(made.tenant, unit, Window(START - 9 * DAY, START), how))
    async with store.write("held"), asyncio.timeout(20):
        await crm.is_ahead.wait()
    await reading
    assert await made.states() == {"cancelled": 1}


async def test_the_next_slice_knows_that_leads_become_deals(store: Store) -> None:
    """Though the first of them is only being written: a lead that is won then is converted, not sold at its amount."""
    amount = Money(50000, "RUB")
    came = replace(lead(1, START - 8 * DAY), value=amount)
    made_of_it = replace(lead(2, START - 8 * DAY), kind=DealKind.DEAL, parent=came.key, value=amount)
    crm = Crm(names=NAMES)
    crm.scans = [[crm.shows(came, made_of_it)], [crm.shows(replace(lead(3, START - 6 * DAY), value=amount))], []]
    made = office(store, {ADS: Ads()}, {"crm": crm}, [SALE.model_copy(update={"value": "expected"})])
    how = poll.Reading(Floor(START - 9 * DAY), moves_watermark=False)
    await poll.read(made.tenant, made.tenant.sources["crm"], Window(START - 9 * DAY, START), how)
    worth = {row["deal"]: row["value_minor"] for row in await rows_kit.rows(store, schema.conversion)}
    assert worth["lead:3"] is None


async def test_a_long_gap_is_read_slice_by_slice_without_holes(store: Store) -> None:
    """The slices touch each other, begin before the floor and end now."""
    crm = Crm()
    made = polled(store, crm)
    await poll.once(made.tenant)
    assert crm.windows[0].start == START - 10 * DAY - TRAITS.overlap
    assert crm.windows[-1].end == START - TRAITS.settle
    assert len(crm.windows) > 1
    assert all(a.end == b.start for a, b in zip(crm.windows, crm.windows[1:], strict=False))


# --- the cursor --------------------------------------------------------------------------------------------------


async def test_the_cursor_follows_the_vendors_own_times(store: Store) -> None:
    """It stands at the newest record, not at our clock; the next window begins an overlap before it."""
    crm = Crm()
    crm.scans = [[], [crm.shows(lead(1, START - 2 * DAY), lead(2, START - DAY))], []]
    made = polled(store, crm)
    await poll.once(made.tenant)
    assert await watermark(made) == START - DAY
    made.clock.advance(MINUTE)
    crm.windows.clear()
    await poll.once(made.tenant)
    assert crm.windows[0].start == START - DAY - TRAITS.overlap


async def test_a_silent_tracker_is_not_read_from_its_beginning_again(store: Store) -> None:
    """Where nothing happened for more than a day the cursor moves to the end of a slice that did not fail."""
    crm = Crm(traits=SourceTraits(brings_touches=True))
    crm.scans = [[], [], [Unavailable("no answer")]]
    made = polled(store, crm)
    await poll.once(made.tenant)
    ends = [window.end for window in crm.windows]
    assert ends[1] < START - DAY
    assert await watermark(made) == ends[1]
    crm.scans = [[]]
    await poll.once(made.tenant, force=True)
    assert START - DAY * 5 < (await watermark(made) or START) <= START - DAY


async def test_what_came_while_our_clock_was_wrong_is_read_when_it_is_right(store: Store) -> None:
    """A cursor that stands days ahead is none: the source is read from its beginning once more, then goes on."""
    crm = Crm(traits=SourceTraits(brings_touches=True))
    crm.scans = [[]]
    made = polled(store, crm)
    await poll.once(made.tenant)
    made.clock.advance(30 * DAY)
    await poll.once(made.tenant, force=True)
    assert (await watermark(made) or START) > START + 2 * DAY
    made.clock.advance(2 * HOUR - 30 * DAY)
    crm.windows.clear()
    await poll.once(made.tenant, force=True)
    assert crm.windows[0].start < START
    crm.scans = [[crm.shows(lead(1, START + HOUR))]]
    await poll.once(made.tenant, force=True)
    assert await watermark(made) == START + HOUR


async def test_the_cursor_never_passes_the_end_of_what_was_read(store: Store) -> None:
    """A vendor whose clock runs ahead names times beyond the window: they are stored, the cursor stops at its end."""
    crm = Crm()
    crm.scans = [[crm.shows(lead(1, START + 5 * HOUR))], []]
    made = polled(store, crm)
    await poll.once(made.tenant)
    assert await watermark(made) == crm.windows[-1].end < START
    assert len(await rows_kit.rows(store, schema.deal)) == 1


async def test_the_cursor_never_goes_back(store: Store) -> None:
    """A poll that brings only older records leaves it where it is."""
    crm = Crm()
    crm.scans = [[crm.shows(lead(1, START - HOUR))]]
    made = polled(store, crm)
    await poll.once(made.tenant)
    crm.scans = [[crm.shows(lead(2, START - 70 * MINUTE))]]
    made.clock.advance(MINUTE)
    await poll.once(made.tenant)
    assert await watermark(made) == START - HOUR


@pytest.mark.parametrize("error", [Drift("half a page"), Unavailable("down"), KeyError("a bug in the adapter")])
async def test_a_read_that_breaks_off_keeps_the_cursor_and_what_was_stored(error: Exception, store: Store) -> None:
    """The page before the break stays; the cursor does not pass it; the next poll reads the window again and repeats
    nothing."""
    crm = Crm()
    first, second = crm.shows(lead(1)), crm.shows(lead(2))
    crm.scans = [[first, error], [first, second], []]
    made = polled(store, crm)
    progress = await poll.once(made.tenant)
    assert len(progress.problems) == 1
    assert await watermark(made) is None
    assert len(await rows_kit.rows(store, schema.deal)) == 1
    made.clock.advance(HOUR)
    await poll.once(made.tenant)
    assert len(await rows_kit.rows(store, schema.deal)) == 2
    assert crm.completed == {"lead:1": 1, "lead:2": 1}
    assert len(await rows_kit.rows(store, schema.conversion)) == 2


@pytest.mark.parametrize(("is_read_whole", "kept"), [(True, None), (False, START - 50 * HOUR)])
async def test_a_source_that_is_read_whole_moves_its_cursor_at_the_end_only(
    is_read_whole: bool, kept: datetime | None, store: Store
) -> None:
    """What moved twice around a break is found by reading from the window's start again; another source goes on."""
    crm = Crm(traits=SourceTraits(is_read_whole=is_read_whole))
    old = crm.shows(lead(1, START - 50 * HOUR))
    crm.scans = [[old], [Drift("half a page")], [old], [crm.shows(lead(2))]]
    made = polled(store, crm)
    await made.tenant.records.set_floor(TENANT, "crm", Floor(START - 60 * HOUR))
    await poll.once(made.tenant)
    assert await watermark(made) == kept
    made.clock.advance(HOUR)
    await poll.once(made.tenant)
    assert crm.windows[2].start == (kept or START - 60 * HOUR) - SourceTraits().overlap


async def test_what_a_source_wants_to_remember_is_kept_with_the_cursor_and_handed_back(store: Store) -> None:
    """Nothing at first; after a window that was read whole, its last word; after one that broke off, the old one."""
    crm = Crm()
    last = replace(crm.shows(), marks="b")
    crm.scans = [[replace(crm.shows(lead(1)), marks="a"), last], [replace(last, marks="c"), Drift("half")], [last]]
    made = polled(store, crm)
    for _ in range(4):
        await poll.once(made.tenant, force=True)
        made.clock.advance(MINUTE)
    assert crm.windows[0].marks == ""
    assert {window.marks for window in crm.windows[1:]} == {"b"}
    assert (await made.tenant.records.source_state(TENANT, "crm")).marks == "b"


async def test_marks_move_even_when_the_cursor_does_not(store: Store) -> None:
    """What was found is older than the cursor: it stays, the marks go on."""
    crm = Crm()
    old = replace(crm.shows(lead(2, START - 70 * MINUTE)), marks="2")
    crm.scans = [[replace(crm.shows(lead(1, START - HOUR)), marks="1")], [old]]
    made = polled(store, crm)
    for _ in range(2):
        await poll.once(made.tenant, force=True)
        made.clock.advance(MINUTE)
    assert await watermark(made) == START - HOUR
    assert (await made.tenant.records.source_state(TENANT, "crm")).marks == "2"


async def test_a_backfill_asks_for_no_late_records(store: Store) -> None:
    """Its window is what it reads; the marks of the poll stay as they are."""
    crm = Crm()
    crm.scans = [[replace(crm.shows(lead(1)), marks="1")]]
    made = polled(store, crm)
    await poll.once(made.tenant)
    crm.scans = [[replace(crm.shows(lead(2)), marks="9")]]
    unit = made.tenant.sources["crm"]
    await poll.read(made.tenant, unit, Window(START - DAY, START), poll.Reading(None, moves_watermark=False))
    assert crm.windows[-1].marks is None
    assert (await made.tenant.records.source_state(TENANT, "crm")).marks == "1"


async def test_the_same_page_twice_running_is_no_progress(store: Store) -> None:
    """A vendor whose paging is stuck is not asked for ever; the cursor stays."""
    crm = Crm()
    page = crm.shows(lead(1), lead(2))
    crm.scans = [[page, page]]
    made = polled(store, crm)
    progress = await poll.once(made.tenant)
    assert "same page twice" in progress.problems[0]
    assert await watermark(made) is None


async def test_an_unchanged_record_is_neither_completed_nor_judged_again(store: Store) -> None:
    """By its version alone; a new version is."""
    crm = Crm()
    crm.scans = [[crm.shows(lead(1), lead(2))], []]
    made = polled(store, crm)
    await poll.once(made.tenant)
    crm.scans = [[crm.shows(lead(1), lead(2, version="v2"))]]
    made.clock.advance(MINUTE)
    progress = await poll.once(made.tenant)
    assert progress.done["changed"] == 1
    assert crm.completed == {"lead:1": 1, "lead:2": 2}


# --- bad records -------------------------------------------------------------------------------------------------


async def test_a_bad_record_is_set_aside_and_the_page_goes_on(store: Store) -> None:
    """Whether the listing or the details are unreadable; no phone number of its message is kept; a good version of it
    ends the quarantine."""
    crm = Crm()
    listing = crm.shows(lead(1), lead(2))
    crm.deals["lead:2"] = BadRecord("lead:2", "bad_time", "call +7 999 123-45-67")
    crm.scans = [[Listing(listing.heads, (BadRecord("lead:3", "price", "no amount"),))], []]
    made = polled(store, crm)
    progress = await poll.once(made.tenant)
    assert progress.done["quarantined"] == 2
    bad = await rows_kit.rows(store, schema.quarantine)
    assert [(row["record"], row["code"]) for row in bad] == [("lead:2", "bad_time"), ("lead:3", "price")]
    assert "999" not in bad[0]["message"]
    assert [row["deal"] for row in await rows_kit.rows(store, schema.deal)] == ["lead:1"]
    crm.scans = [[crm.shows(lead(2, version="v2"))]]
    made.clock.advance(HOUR)
    await poll.once(made.tenant)
    assert [row["record"] for row in await rows_kit.rows(store, schema.quarantine)] == ["lead:3"]


# --- trouble -----------------------------------------------------------------------------------------------------


async def test_a_failing_source_is_asked_ever_more_seldom_and_recovers_at_once(store: Store) -> None:
    """The beginning of the trouble and its last words are kept until the first good poll."""
    crm = Crm(scans=[[Unavailable("down")]])
    made = polled(store, crm)
    for _ in range(6 * 60):
        await poll.once(made.tenant)
        made.clock.advance(MINUTE)
    assert 15 <= len(crm.windows) <= 60
    row = await made.source()
    assert (maybe(row["failing_since"]), row["last_error"]) == (START, "Unavailable: down")
    crm.scans = [[]]
    made.clock.advance(15 * MINUTE)
    await poll.once(made.tenant)
    row = await made.source()
    assert (row["failing_since"], row["last_error"]) == (None, None)


@pytest.mark.parametrize("error", [AuthError("revoked"), Unavailable("down"), RuntimeError("a bug")])
async def test_one_sources_trouble_is_not_anothers(error: Exception, store: Store) -> None:
    """Both are asked in the same turn, and the words say whose trouble it is."""
    dead, well = Crm(scans=[[error]]), Crm()
    well.scans = [[well.shows(lead(1))]]
    well.names = dead.names = NAMES
    made = office(store, {ADS: Ads()}, {"dead": dead, "crm": well}, [SALE])
    progress = await poll.once(made.tenant)
    assert len(progress.problems) == 1
    assert progress.problems[0].startswith("dead: ")
    assert progress.done["planned"] == 1


async def test_trouble_is_kept_without_persons(store: Store) -> None:
    """Whatever an error's text repeats of an answer."""
    crm = Crm(scans=[[Drift('no JSON: "ivan@example.com, +7 (999) 123-45-67"')]])
    made = polled(store, crm)
    progress = await poll.once(made.tenant)
    texts = [(await made.source())["last_error"], *progress.problems]
    assert not any("ivan" in text or "999" in text for text in texts)


# --- names -------------------------------------------------------------------------------------------------------


async def test_names_are_asked_anew_when_a_deal_stands_in_an_unknown_stage(store: Store) -> None:
    """Once, and not again within minutes; otherwise they are kept for hours, across restarts."""
    crm = Crm()
    crm.scans = [[crm.shows(lead(1))]]
    made = polled(store, crm)
    await poll.once(made.tenant)
    assert crm.asked_names == 1
    made.clock.advance(HOUR)
    crm.scans = [[crm.shows(lead(2, stage="99"))]]
    await poll.once(made.tenant)
    assert crm.asked_names == 2
    made.clock.advance(5 * MINUTE)
    crm.scans = [[crm.shows(lead(3, stage="98"))]]
    await poll.once(made.tenant)
    assert crm.asked_names == 2
    again = office(store, {ADS: Ads()}, {"crm": crm}, [SALE])
    again.clock.set(made.clock.now() + MINUTE)
    crm.scans = [[crm.shows(lead(4))]]
    await poll.once(again.tenant)
    assert crm.asked_names == 2


# --- readings that write less ------------------------------------------------------------------------------------


async def test_a_dry_reading_counts_and_writes_nothing_of_the_records(store: Store) -> None:
    """The window's promises are counted; deals, promises, quarantine and cursor stay as they were."""
    crm = Crm()
    listing = crm.shows(lead(1))
    crm.scans = [[Listing(listing.heads, (BadRecord("lead:3", "price", "no amount"),))]]
    made = polled(store, crm)
    unit = made.tenant.sources["crm"]
    how = poll.Reading(Floor(START - DAY), moves_watermark=False, judges_all=True, is_dry=True)
    progress = await poll.read(made.tenant, unit, Window(START - DAY, START), how)
    assert (progress.done["planned"], progress.done["quarantined"]) == (1, 1)
    for table in (schema.deal, schema.conversion, schema.delivery, schema.quarantine, schema.touch):
        assert await rows_kit.rows(store, table) == []
    assert await watermark(made) is None


async def test_a_reading_raises_what_stopped_it(store: Store) -> None:
    """A backfill wants to know; only the poll itself goes on quietly."""
    made = polled(store, Crm(scans=[[Unavailable("down")]]))
    unit = made.tenant.sources["crm"]
    with pytest.raises(BridgeError, match="down"):
        await poll.read(made.tenant, unit, Window(START - DAY, START), poll.Reading(None, moves_watermark=False))


async def test_a_long_backfill_lets_the_poll_in_between_its_slices(store: Store) -> None:
    """The ordinary poll waits for one slice at most, not for years of history."""
    crm = Slow(scans=[[]])
    crm.may_answer.set()
    made = polled(store, crm)
    await poll.once(made.tenant)
    crm.windows.clear()
    crm.may_answer.clear()
    crm.is_stuck.clear()
    made.clock.advance(HOUR)
    years = Window(START - 900 * DAY, START - 400 * DAY)
    unit = made.tenant.sources["crm"]
    reading = asyncio.create_task(poll.read(made.tenant, unit, years, poll.Reading(None, moves_watermark=False)))
    await crm.is_stuck.wait()
    polling = asyncio.create_task(poll.once(made.tenant))
    while not made.tenant.left.is_wanted:  # noqa: ASYNC110 - it tells, but is not waited for
        await asyncio.sleep(0.01)
    crm.may_answer.set()
    await asyncio.gather(polling, reading)
    slices = [window.end <= years.end for window in crm.windows]
    assert slices.count(True) >= 10
    assert slices.index(False) <= 4
