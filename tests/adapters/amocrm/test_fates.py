"""Leads that are deleted, come back, or are merged away: what the source tells of them, and at what price."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from adapters.amocrm.fake import Quirks
from adapters.amocrm.fake_store import FIRST_LEAD
from bridge.model import Deal
from bridge.ports import Window
from bridge.sim.clock import ManualClock
from tests.adapters.amocrm.kit import HOUR, NEW, WON, account, deals, happenings, key, lead, read, second, step
from tests.support import START

MINUTE = timedelta(minutes=1)
AFTER = START + 10 * HOUR
LEADS = [lead(n, step(START, NEW), step(START + MINUTE, WON, 100 * n)) for n in range(1, 6)]
KNOWN = frozenset(key(item) for item in LEADS)
LATER = Window(START + HOUR, START + 3 * HOUR)


def at(minutes: int) -> int:
    """So many minutes into the window that is read."""
    return second(LATER.start + timedelta(minutes=minutes))


def number(item: int) -> int:
    return FIRST_LEAD + item


@pytest.mark.parametrize("has_inclusive_bounds", [True, False])
async def test_a_deleted_lead_is_told_with_the_time_of_its_deletion_and_the_same_version_each_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_inclusive_bounds: bool
) -> None:
    """It is in no list any more; reading on asks for it once and never again, however often the window overlaps."""
    quirks = Quirks(has_inclusive_bounds=has_inclusive_bounds)
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), quirks=quirks) as (sim, source):
        for event in happenings(LEADS):
            sim.happen(event)
        sim.store.delete(number(2), at(1))
        (first,) = await read(source, LATER, KNOWN)
        assert isinstance(first, Deal)
        assert (first.key, first.is_deleted, second(first.updated_at)) == (key(LEADS[1]), True, at(1))
        sim.requests.clear()
        assert await read(source, LATER, KNOWN) == [first]
        assert dict(sim.requests) == {"GET /api/v4/leads": 1, "GET /api/v4/events": 1}
        before = Window(LATER.start, LATER.start + MINUTE)
        assert await read(source, before, KNOWN) == []


@pytest.mark.parametrize("touches", [True, False])
async def test_a_lead_that_was_restored_is_told_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, touches: bool
) -> None:
    """Whether or not the restoration counts as a modification, and whichever of the two events comes first."""
    quirks = Quirks(event_order="shuffled")
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), quirks=quirks) as (sim, source):
        for event in happenings(LEADS):
            sim.happen(event)
        sim.store.delete(number(2), at(1))
        sim.store.leads[number(2)].touch(second(START + MINUTE))
        assert deals(await read(source, LATER, KNOWN))[key(LEADS[1])].is_deleted
        sim.store.restore(number(2), at(5), touches=touches)
        (back,) = await read(source, LATER, KNOWN)
        assert isinstance(back, Deal)
        assert (back.key, back.is_deleted, str(back.value)) == (key(LEADS[1]), False, "200.00 RUB")


async def test_a_deletion_that_was_undone_after_the_window_is_not_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A backfill of the past must not delete what lives: the lead itself is asked for, not its event believed."""
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings(LEADS):
            sim.happen(event)
        sim.store.delete(number(2), at(1))
        sim.store.restore(number(2), second(AFTER))
        (found,) = await read(source, LATER, KNOWN)
        assert isinstance(found, Deal)
        assert not found.is_deleted


async def test_after_a_merge_the_loser_is_gone_and_the_survivor_is_what_it_has_become(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No event names the loser: it is found in the bin. The survivor brings the other one's budget and identifiers."""
    empty = lead(11, step(START, NEW), click=None)
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings([*LEADS, empty]):
            sim.happen(event)
        assert deals(await read(source, Window(START - HOUR, LATER.start)))[key(empty)].clues == ()
        sim.store.merge(number(11), number(3), at(1))
        found = deals(await read(source, LATER, KNOWN | {key(empty)}))
        assert found.keys() == {key(empty), key(LEADS[2])}
        assert found[key(LEADS[2])].is_deleted
        assert found[key(LEADS[2])].merged_into == key(empty)
        assert LEADS[2].click is not None
        assert str(found[key(empty)].value) == "300.00 RUB"
        assert LEADS[2].click.yclid in [clue.text for clue in found[key(empty)].clues]


@pytest.mark.parametrize("trouble", ["two merges at once", "deleted at that moment", "merged later"])
async def test_what_went_away_is_only_called_merged_where_that_is_certain(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trouble: str
) -> None:
    """Which of two survivors took it in, nobody tells; what has a deletion of its own was not taken in by anyone."""
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings(LEADS):
            sim.happen(event)
        sim.store.merge(number(1), number(3), at(1))
        if trouble == "two merges at once":
            sim.store.merge(number(2), number(4), at(1) + 1)
        elif trouble == "deleted at that moment":
            sim.store.delete(number(4), at(1))
        else:
            sim.store.merge(number(2), number(4), at(20))
        found = deals(await read(source, LATER, KNOWN)).values()
        gone = {deal.key: deal.merged_into for deal in found if deal.is_deleted}
        expected = {
            "two merges at once": (None, None),
            "deleted at that moment": (key(LEADS[0]), None),
            "merged later": (key(LEADS[0]), key(LEADS[1])),
        }
        assert (gone[key(LEADS[2])], gone[key(LEADS[3])]) == expected[trouble]


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_who_took_a_lead_in_is_known_however_it_is_found_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_deleted: bool
) -> None:
    """By a hint or the deep sweep, long after the window of the merge, or by a window that begins between the two."""
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings(LEADS):
            sim.happen(event)
        sim.store.merge(number(1), number(3), at(1))
        sim.store.leads[number(3)].touch(at(1) + 4)
        if is_deleted:
            sim.store.delete(number(3), at(1) + 3)
            sim.store.leads[number(3)].touch(at(1) + 4)
        into = None if is_deleted else key(LEADS[0])
        listing = await source.fetch([key(LEADS[2])])
        (found,) = await source.complete(listing.heads, KNOWN, LATER)
        assert isinstance(found, Deal)
        assert (found.is_deleted, found.merged_into) == (True, into)
        sim.store.merge(number(2), number(4), at(3))
        later = Window(LATER.start + MINUTE + timedelta(seconds=2), LATER.end)
        told = deals(await read(source, later, KNOWN))
        assert told[key(LEADS[2])].merged_into == into
        assert is_deleted or told[key(LEADS[2])].version == found.version


async def test_a_lead_that_was_merged_away_without_a_trace_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What neither a list nor an event nor the bin tells cannot be told here; the survivor is."""
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings(LEADS):
            sim.happen(event)
        sim.store.merge(number(1), number(3), at(1), leaves_stub=False)
        assert deals(await read(source, LATER, KNOWN)).keys() == {key(LEADS[0])}


@pytest.mark.parametrize("happens", ["merged", "restored"])
async def test_a_lead_out_of_sight_is_not_taken_for_a_deleted_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, happens: str
) -> None:
    """An incoming lead that a duplicate was merged into, or that came back from the bin, may be in no list."""
    quirks = Quirks(has_unsorted=True, hides_unsorted=True)
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), quirks=quirks) as (sim, source):
        for event in happenings(LEADS):
            sim.happen(event)
        if happens == "merged":
            sim.store.come_in(number(1), at(0), "https://okna.ru/")
            sim.store.merge(number(1), number(3), at(1))
        else:
            sim.store.delete(number(1), at(0))
            sim.store.restore(number(1), at(1))
            sim.store.come_in(number(1), at(2), "https://okna.ru/")
        gone = {deal.key for deal in await read(source, LATER, KNOWN) if isinstance(deal, Deal) and deal.is_deleted}
        assert gone == ({key(LEADS[2])} if happens == "merged" else set())


async def test_many_deletions_at_once_are_asked_for_by_the_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Six hundred leads thrown away: six pages of events, three requests for what is left of them."""
    world = [lead(n, step(START, NEW)) for n in range(1, 601)]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        for item in world:
            sim.store.delete(number(item.id), at(1))
        found = deals(await read(source, LATER, frozenset(key(item) for item in world)))
        assert dict(sim.requests) == {"GET /api/v4/leads": 4, "GET /api/v4/events": 6}
    assert len(found) == 600
    assert all(deal.is_deleted for deal in found.values())
