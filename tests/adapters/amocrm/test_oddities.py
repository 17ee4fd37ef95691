"""Oddities of amoCRM that no other file is about: nothing is lost, doubled or misdated by them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from adapters.amocrm.fake import Quirks
from adapters.amocrm.fake_store import FIRST_LEAD, PIPELINE, SERVICE, STAGES
from bridge.config import Goal
from bridge.errors import Unavailable
from bridge.loops.assess import merge_history
from bridge.model import Deal, Outcome
from bridge.ports import Level, Window
from bridge.rules.case import Case
from bridge.rules.floor import Floor
from bridge.rules.goals import compile_goals
from bridge.rules.qualify import judge
from bridge.sim.clock import ManualClock
from tests.adapters.amocrm.kit import (
    CONTACTED,
    EVERYTHING,
    HOUR,
    LOST,
    MEETING,
    NEW,
    QUALIFIED,
    WON,
    account,
    deals,
    happenings,
    key,
    lead,
    read,
    second,
    step,
    told,
    truth,
)
from tests.support import START

AFTER = START + timedelta(days=30)


CROWD = [lead(n, step(START, NEW)) for n in range(1, 601)]


@pytest.mark.parametrize("shuffles_ties", [True, False])
@pytest.mark.parametrize("has_inclusive_bounds", [True, False])
async def test_a_crowded_second_is_read_whole_while_its_leads_are_edited(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_inclusive_bounds: bool, shuffles_ties: bool
) -> None:
    """Six hundred leads on one second, in any order; before further pages some of them are edited, leave that second
    and let the rows behind them move up. Each is listed, the edited ones by the next window at the latest."""
    quirks = Quirks(has_inclusive_bounds=has_inclusive_bounds, shuffles_ties=shuffles_ties)
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), quirks=quirks) as (sim, source):
        for event in happenings(CROWD):
            sim.happen(event)
        label, edited = sim.label, iter(range(1, 200))

        def edit(request: web.Request) -> str:
            if request.query.get("page", "1") != "1" and sim.requests["GET /api/v4/leads"] < 12:
                for _, number in zip(range(20), edited, strict=False):
                    sim.store.move(sim.store.leads[FIRST_LEAD + number], STAGES[MEETING], second(AFTER))
            return label(request)

        monkeypatch.setattr(sim, "label", edit)
        window = Window(START - HOUR, START + HOUR)
        keys = {head.key async for listing in source.scan(window) for head in listing.heads}
    assert next(edited) > 40
    assert {key(item) for item in CROWD[199:]} <= keys


async def test_won_in_another_pipeline_is_another_stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """142 is in every pipeline: a lead that was won twice has two entries, and goals tell them apart (contract 5)."""
    item = lead(1, step(START, NEW), step(START + HOUR, WON, 500))
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings([item]):
            sim.happen(event)
        own = sim.store.leads[FIRST_LEAD + 1]
        sim.store.move(own, 142, second(START + 2 * HOUR), pipeline=SERVICE)
        deal = deals(await read(source, EVERYTHING))[key(item)]
        when = {"sold": "Продажи/Успешно реализовано", "served": "Сервис/Успешно реализовано"}
        goals = [Goal.model_validate({"name": name, "when": {"stage": stage}}) for name, stage in when.items()]
        compiled = compile_goals(goals, await source.catalogue(), "RUB")
    assert [(change.pipeline, change.stage, change.at - START) for change in deal.history[1:]] == [
        (str(PIPELINE), "142", HOUR),
        (str(SERVICE), "142", 2 * HOUR),
    ]
    found = [judge(goal, Case(deal, "crm", START), Floor(START - HOUR)) for goal in compiled.goals]
    assert {verdict.goal: verdict.occurred_at for verdict in found} == {
        "sold": START + HOUR,
        "served": START + 2 * HOUR,
    }


@pytest.mark.parametrize("keeps_closed_at", [True, False])
async def test_a_lead_that_was_reopened_is_not_closed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keeps_closed_at: bool
) -> None:
    """Whether ``closed_at`` is taken back is not documented (contract 17); the stage decides."""
    item = lead(1, step(START, NEW), step(START + HOUR, WON, 500), step(START + 2 * HOUR, CONTACTED))
    quirks = Quirks(keeps_closed_at=keeps_closed_at)
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), quirks=quirks) as (sim, source):
        for event in happenings([item]):
            sim.happen(event)
        assert (sim.store.leads[FIRST_LEAD + 1].closed_at is not None) is keeps_closed_at
        deal = deals(await read(source, EVERYTHING))[key(item)]
    assert (deal.outcome, deal.closed_at) == (Outcome.OPEN, None)
    assert told(deal) == truth(item)


async def test_a_lead_whose_contact_is_gone_is_read_without_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The list of contacts says 204 where it has none of them (contract 0); the lead and its click are there."""
    world = [lead(n, step(START + n * HOUR, NEW)) for n in (1, 2)]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        kept = sim.store.leads[FIRST_LEAD + 2].contact
        for number in [number for number in sim.store.contacts if number != kept]:
            del sim.store.contacts[number]
        found = deals(await read(source, EVERYTHING))
        sim.store.contacts.clear()
        again = deals(await read(source, EVERYTHING))
    assert {name: len(deal.contacts) for name, deal in found.items()} == {key(world[0]): 0, key(world[1]): 1}
    assert {name: len(deal.contacts) for name, deal in again.items()} == {key(world[0]): 0, key(world[1]): 0}
    assert all(deal.clues for deal in again.values())


async def test_no_page_longer_than_the_vendors_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What becomes of ``limit`` above 250 is not documented (contract 17): here it is refused, and nobody asks."""
    world = [lead(n, step(START + timedelta(seconds=n), NEW)) for n in range(1, 601)]
    quirks = Quirks(refuses_long_pages=True)
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), quirks=quirks) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        assert len(deals(await read(source, EVERYTHING))) == 600
        await source.catalogue()
        assert {finding.level for finding in await source.check()} == {Level.OK}


@pytest.mark.parametrize(("size", "pages"), [(249, 1), (250, 1), (251, 2)])
async def test_only_a_promised_page_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int, pages: int
) -> None:
    """A full page need not be followed by another one (contract 2.3)."""
    world = [lead(n, step(START + timedelta(seconds=n), NEW)) for n in range(1, size + 1)]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        keys = [head.key async for listing in source.scan(EVERYTHING) for head in listing.heads]
        assert (len(keys), len(set(keys))) == (size, size)
        assert sim.requests["GET /api/v4/leads"] == pages


async def test_check_tells_of_filters_that_are_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``is_api_filter_enabled`` of the account (contract 2.1): a warning, since many accounts filter all the same."""
    async with account(monkeypatch, tmp_path, quirks=Quirks(has_list_filters=False)) as (_, source):
        found = [item.message for item in await source.check() if item.level is Level.WARNING]
    assert len(found) == 1
    assert "list filters are off" in found[0]


async def test_an_account_without_loss_reasons_has_a_catalogue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty list is 204 (contract 0, 5); a lost lead without a reason has none."""
    item = lead(1, step(START, NEW), step(START + HOUR, LOST))
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings([item]):
            sim.happen(event)
        monkeypatch.setattr("adapters.amocrm.fake.LOSS_REASONS", ())
        catalogue = await source.catalogue()
        deal = deals(await read(source, EVERYTHING))[key(item)]
    assert catalogue.loss_reasons == ()
    assert (deal.outcome, deal.loss_reason) == (Outcome.LOST, None)


async def test_events_that_show_late_come_with_the_next_change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """How late is not documented (contract 17). Until then the record dates the stage it shows; what was passed before
    it is told as soon as the lead moves again, with its true time."""
    times = [START + number * HOUR for number in range(4)]
    item = lead(1, *(step(*pair) for pair in zip(times, (NEW, QUALIFIED, LOST, CONTACTED), strict=True)))
    clock = ManualClock(times[2] + timedelta(minutes=1))
    async with account(monkeypatch, tmp_path, clock, quirks=Quirks(event_delay=2 * 3600)) as (sim, source):
        moves = happenings([item])
        for event in moves[:3]:
            sim.happen(event)
        first = deals(await read(source, Window(START - HOUR, clock.now())))[key(item)]
        assert (told(first)[-1], first.history[-1].source) == ((times[2], "143"), "record")
        sim.happen(moves[3])
        clock.set(times[3] + 3 * HOUR)
        window = Window(times[2] - timedelta(minutes=10), clock.now())
        later = deals(await read(source, window, frozenset({key(item)})))[key(item)]
    assert merge_history(first.history, later.history)[-1].at == times[3]
    assert (times[1], str(STAGES[QUALIFIED])) in told(later)


async def test_a_gateway_that_does_not_wait_for_long_pages_gets_shorter_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """504 on long queries (contract 11): leads, by time and by id, and contacts come in smaller pages, none is lost;
    a gateway that answers nothing at all is not asked in ever smaller ones."""
    world = [lead(n, step(START + timedelta(seconds=n // 200), NEW)) for n in range(1, 601)]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), quirks=Quirks(slow_above=100)) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        found = deals(await read(source, EVERYTHING))
        assert found.keys() == {key(item) for item in world}
        assert all(deal.contacts for deal in found.values())
        sim.quirks = Quirks(slow_above=1)
        sim.requests.clear()
        with pytest.raises(Unavailable):
            await read(source, EVERYTHING)
        assert sim.requests["GET /api/v4/leads"] == 3 * 4  # 250, 125, 62, 31; each tried three times


async def test_a_lead_read_by_a_hint_before_its_events_show_is_read_again_by_the_next_window(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Qualified and lost within two seconds, and read at once: only the loss shows then. Its version is no lead's of
    a list, so the window that follows brings the stage between, and the version that stays."""
    at, passed, lost = START + HOUR, START + HOUR + timedelta(seconds=1), START + HOUR + timedelta(seconds=2)
    item = lead(1, step(START, NEW), step(passed, QUALIFIED), step(lost, LOST))
    clock, known = ManualClock(lost), frozenset({key(item)})
    async with account(monkeypatch, tmp_path, clock, quirks=Quirks(event_delay=3)) as (sim, source):
        for event in happenings([item]):
            sim.happen(event)
        heads = (await source.fetch([key(item)])).heads
        (early,) = await source.complete(heads, known, Window(START, at))
        clock.advance(timedelta(minutes=1))
        window = Window(at - timedelta(minutes=10), clock.now())
        later = deals(await read(source, window, known))[key(item)]
        (head,) = (await source.fetch([key(item)])).heads
        (again,) = await source.complete([head], known, Window(START, at))
    assert isinstance(early, Deal)
    assert str(STAGES[QUALIFIED]) not in {change.stage for change in early.history}
    assert early.version != heads[0].version
    assert told(later)[1:] == [(passed, str(STAGES[QUALIFIED])), (lost, "143")]
    assert heads[0].version == later.version == head.version
    assert isinstance(again, Deal)
    assert again.version == head.version
