"""The whole source against the simulated account, over real sockets."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from adapters.amocrm.fake import Quirks
from adapters.amocrm.fake_store import FIRST_LEAD, STAGES
from bridge.errors import AuthError, BridgeError, Drift
from bridge.frozen import replace
from bridge.model import Clue, Deal, IdKind, Money, Outcome, utc
from bridge.ports import BadRecord, Level, Window
from bridge.sim.clock import ManualClock
from bridge.sim.events import Carrier, Happening
from bridge.sim.faults import FaultPlan
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
    business,
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


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
@pytest.mark.parametrize("has_inclusive_bounds", [True, False])
async def test_a_full_reading_gives_every_lead_with_its_exact_history(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, order: str, has_inclusive_bounds: bool
) -> None:
    """Whatever the order of events and the meaning of bounds, each lead comes with its true stage times."""
    world = business(600)
    quirks = Quirks(event_order=order, has_inclusive_bounds=has_inclusive_bounds)  # type: ignore[arg-type]  # a parameter
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), quirks=quirks) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        found = await read(source, EVERYTHING)
    assert len(found) == 600
    assert {item: told(deal) for item, deal in deals(found).items()} == {key(item): truth(item) for item in world}


async def test_leads_that_change_while_being_read_are_neither_lost_nor_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Between any two pages leads leave the window and shift the rows behind them; every other lead is still listed."""
    world = business(1200)
    end = START + timedelta(hours=70)
    clock = ManualClock(end)
    moved: set[str] = set()
    async with account(monkeypatch, tmp_path, clock) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        early = sorted(world, key=lambda item: item.steps[-1].at)

        def edit(page: int) -> None:
            clock.advance(timedelta(seconds=60))
            for item in early[page * 40 : page * 40 + 40] + early[-page * 40 : -page * 40 + 40]:
                change = step(clock.now(), MEETING, 500)
                sim.happen(Happening(change.at, item, change, is_new=False))
                moved.add(key(item))

        first = deals(await read(source, Window(START - HOUR, end), between=edit))
        second = deals(await read(source, Window(end, clock.now() + HOUR)))
    assert {key(item) for item in world} - moved <= first.keys()
    assert second.keys() == moved
    for item in world:
        if key(item) in first and key(item) not in moved:
            assert told(first[key(item)]) == truth(item)
    expected = [(*entry,) for entry in truth(early[50])]
    assert told(second[key(early[50])])[: len(expected)] == expected
    assert second[key(early[50])].stage == str(STAGES[MEETING])


async def test_a_bulk_edit_of_more_leads_than_a_page_is_read_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A thousand leads on one second, and two hundred on the next, each listed once, though a page comes empty."""
    at = START + HOUR
    world = [lead(n, step(START, NEW), step(at, LOST, reason="Дубль")) for n in range(1, 1001)]
    world += [lead(n, step(START, NEW), step(at + timedelta(seconds=1), LOST)) for n in range(1001, 1201)]
    for inclusive in (True, False):
        quirks = Quirks(has_inclusive_bounds=inclusive, lost_pages=1)
        async with account(monkeypatch, tmp_path, ManualClock(AFTER), quirks=quirks) as (sim, source):
            for event in happenings(world):
                sim.happen(event)
            keys = [head.key async for listing in source.scan(EVERYTHING) for head in listing.heads]
        assert sorted(keys) == sorted(key(item) for item in world)


@pytest.mark.parametrize("lost", [1, 2, 3, 50])
async def test_a_bulk_edit_whose_pages_come_empty_is_read_whole_or_not_at_all(
    lost: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A promised page that comes empty is asked for again from the first one; when it comes empty time and again, the
    reading stops, and the cursor with it: leads behind that page are in no later window."""
    world = [lead(n, step(START, NEW)) for n in range(1, 401)]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), quirks=Quirks(lost_pages=lost)) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        keys: set[str] = set()
        with pytest.raises(Drift, match="came empty") if lost >= 3 else nullcontext():
            async for listing in source.scan(EVERYTHING):
                keys |= {head.key for head in listing.heads}
        assert len(keys) == (250 if lost >= 3 else 400)


async def test_a_harsh_wire_costs_time_but_no_lead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Under every fault, a scan that is repeated until it succeeds gives the world exactly."""
    world = business(400, seed=3)
    faults = FaultPlan.harsh(5)
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), faults=faults) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        for _ in range(30):
            try:
                found = await read(source, EVERYTHING)
                break
            except BridgeError as error:
                assert not isinstance(error, AuthError)  # noqa: PT017 - any other error heals by itself
    assert {item: told(deal) for item, deal in deals(found).items()} == {key(item): truth(item) for item in world}
    assert sum(faults.drawn.values()) > 0


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_lead_that_moved_again_before_it_was_listed_keeps_its_first_move(
    is_restarted: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It moved inside a window, and once more while that was read: only the next one lists it, by then with many."""
    t1, t2 = START + HOUR, START + 3 * HOUR
    item = lead(1, step(START, NEW), step(t1, QUALIFIED), step(t2, LOST, reason="Спам"))
    others = [lead(n, step(t2, NEW)) for n in range(2, 40)]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings([item, *others]):
            sim.happen(event)
        if not is_restarted:
            assert deals(await read(source, Window(START, START + 2 * HOUR))) == {}
        window = Window(START + 2 * HOUR - timedelta(minutes=10), START + 4 * HOUR)
        found = deals(await read(source, window, known=frozenset({key(item)})))
    assert told(found[key(item)])[1:] == [(t1, str(STAGES[QUALIFIED])), (t2, "143")]


async def test_qualified_and_lost_between_two_polls_is_in_the_history(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A known lead brings only what the window adds, with true times, and the stage it came from."""
    t1, t2 = START + HOUR, START + HOUR + timedelta(seconds=40)
    item = lead(1, step(START, NEW), step(t1, QUALIFIED), step(t2, LOST, reason="Спам"))
    others = [lead(n, step(START + HOUR, NEW)) for n in range(2, 40)]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings([item, *others]):
            sim.happen(event)
        window = Window(START + timedelta(minutes=30), START + 2 * HOUR)
        found = deals(await read(source, window, known=frozenset({key(item)})))
    came_from, *moved = told(found[key(item)])
    assert came_from == (t1 - timedelta(seconds=1), str(STAGES[NEW]))
    assert moved == [(t1, str(STAGES[QUALIFIED])), (t2, "143")]
    assert found[key(item)].outcome is Outcome.LOST
    assert found[key(item)].loss_reason == ("8801", "Спам")


async def test_a_lead_older_than_the_window_gets_its_whole_history(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A first reading that begins in the middle of a lead's life still learns when it was created and qualified."""
    old = [lead(n, step(START, NEW), step(START + HOUR, QUALIFIED), step(START + 50 * HOUR, WON)) for n in range(1, 61)]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings(old):
            sim.happen(event)
        found = deals(await read(source, Window(START + 49 * HOUR, START + 51 * HOUR)))
        assert sim.requests["GET /api/v4/events"] == 1 + 6 + 1
    assert {name: told(deal) for name, deal in found.items()} == {key(item): truth(item) for item in old}
    assert {change.source for change in found[key(old[0])].history} == {"created", "events"}


async def test_a_lost_event_is_replaced_by_the_record_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When the event of the last move never shows, the lead's own closing time ends the history."""
    item = lead(1, step(START, NEW), step(START + HOUR, QUALIFIED), step(START + 2 * HOUR, WON))
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings([item]):
            sim.happen(event)
        sim.store.events["lead_status_changed"].pop()
        sim.store.events_of[FIRST_LEAD + 1].pop()
        found = deals(await read(source, EVERYTHING))
    assert told(found[key(item)]) == truth(item)
    assert found[key(item)].history[-1].source == "record"


async def test_a_reading_takes_as_few_requests_as_the_vendor_allows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """1,000 new leads: 5 pages of leads, 5 requests for contacts, one per hundred stage changes, one for deletions."""
    world = [
        lead(n, step(START + timedelta(seconds=n), NEW), step(START + HOUR + timedelta(seconds=n), WON, 5))
        for n in range(1, 1001)
    ]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        window = Window(START, START + 5 * HOUR)
        assert len(await read(source, window)) == 1000
        assert sim.requests["GET /api/v4/leads"] == 5
        assert sim.requests["GET /api/v4/contacts"] == 5
        assert sim.requests["GET /api/v4/events"] == 10 + 1
        assert sim.requests["GET /api/v4/account"] == 1
        sim.requests.clear()
        assert len([head async for listing in source.scan(window) for head in listing.heads]) == 1000
        assert dict(sim.requests) == {"GET /api/v4/leads": 5, "GET /api/v4/events": 1}


async def test_windows_that_follow_each_other_share_their_events(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A backfill in slices reads each event once and asks for no lead's own, though leads live across the borders."""
    world = business(900, seed=5, hours=96)
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        found: dict[str, Deal] = {}
        borders = [START + timedelta(hours=8 * part) for part in range(16)]
        for start, end in pairwise(borders):
            found |= deals(await read(source, Window(start, end)))
        moves = len(sim.store.events["lead_status_changed"])
        assert sim.requests["GET /api/v4/events"] <= moves / 100 + 2 * len(borders) + 4
    assert {item: told(deal) for item, deal in found.items()} == {key(item): truth(item) for item in world}


async def test_a_lead_that_comes_again_unstored_in_the_next_window_is_read_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its kept events are gone by then; its own are asked for instead."""
    world = [
        lead(n, step(START, NEW), step(START + HOUR, CONTACTED), step(START + 9 * HOUR, WON)) for n in range(1, 41)
    ]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        steps = happenings(world)
        for event in steps[:80]:
            sim.happen(event)
        assert len(deals(await read(source, Window(START, START + 8 * HOUR)))) == 40
        for event in steps[80:]:
            sim.happen(event)
        found = deals(await read(source, Window(START + 8 * HOUR, START + 10 * HOUR)))
    assert {item: told(deal) for item, deal in found.items()} == {key(item): truth(item) for item in world}


async def test_stages_that_were_renamed_deleted_or_archived_do_not_change_what_happened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """142 is won whatever it is called; a stage that is gone stays in the history under its number (contract 5)."""
    item = lead(1, step(START, NEW), step(START + HOUR, QUALIFIED), step(START + 2 * HOUR, WON, 5))
    quirks = Quirks(stages={142: "Оплачено", STAGES[QUALIFIED]: ""}, shows_page=False)
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), quirks=quirks) as (sim, source):
        for event in happenings([item]):
            sim.happen(event)
        catalogue = await source.catalogue()
        found = deals(await read(source, EVERYTHING))[key(item)]
    stages = {stage.id: stage for stage in catalogue.pipelines[0].stages}
    assert (stages["142"].name, stages["142"].outcome) == ("Оплачено", Outcome.WON)
    assert str(STAGES[QUALIFIED]) not in stages
    assert [pipeline.is_archived for pipeline in catalogue.pipelines] == [False, True]
    assert (told(found), found.outcome) == (truth(item), Outcome.WON)


async def test_an_idle_poll_is_two_requests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing modified and nothing deleted: nothing else is asked."""
    async with account(monkeypatch, tmp_path) as (sim, source):
        assert await read(source, Window(START - HOUR, START)) == []
        sim.requests.clear()  # the account was asked about itself, which it is once
        assert await read(source, Window(START - HOUR, START)) == []
        assert dict(sim.requests) == {"GET /api/v4/leads": 1, "GET /api/v4/events": 1}


async def test_ids_are_asked_in_halves_when_the_gateway_finds_them_too_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A gateway with room for a hundred ids gets them by 62, and the smaller chunk is remembered."""
    world = [lead(n, step(START + timedelta(seconds=n), NEW)) for n in range(1, 501)]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), quirks=Quirks(longest_url=2300)) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        found = deals(await read(source, EVERYTHING))
        assert sim.requests["GET /api/v4/contacts"] == 2 + 5 + 4 + 1  # 250 and 125 refused; then 250, 248 and 2 leads
    assert all(deal.contacts for deal in found.values())
    assert len(found) == 500


async def test_a_deal_carries_contacts_money_origin_and_clues(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the vendor keeps as text, number or link arrives as the core's own values."""
    won = lead(1, step(START, NEW), step(START + HOUR, WON, 124_000))
    by_hand = lead(4, step(START, NEW))
    in_url = lead(2, step(START, NEW), carrier=Carrier.URL)
    in_utm = lead(6, step(START, NEW), carrier=Carrier.UTM)
    junk = lead(7, step(START, NEW), carrier=Carrier.GARBAGE, garbage="{yclid}", click=None)
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings([won, by_hand, in_url, in_utm, junk]):
            sim.happen(event)
        found = deals(await read(source, EVERYTHING))
    deal = found[key(won)]
    assert deal.value == Money.of(Decimal(124_000), "RUB")
    assert (deal.outcome, deal.closed_at) == (Outcome.WON, START + HOUR)
    assert deal.contacts[0].phones == won.phones
    assert deal.contacts[0].emails == won.emails
    assert deal.contacts[0].is_main
    assert (deal.origin, deal.tags) == (("9001", "Сайт"), ("сайт",))
    assert won.click is not None
    assert by_hand.click is not None
    assert deal.clues[:2] == (
        Clue("field YCLID", won.click.yclid or "", IdKind.YCLID),
        Clue("field _YM_UID", won.click.client_id or "", IdKind.CLIENT_ID),
    )
    assert Clue("field ClientID", by_hand.click.client_id or "", IdKind.CLIENT_ID) in found[key(by_hand)].clues
    assert any(clue.where == "field REFERRER" and "yclid=" in clue.text for clue in found[key(in_url)].clues)
    assert any(clue.where == "utm_content" and "yclid=" in clue.text for clue in found[key(in_utm)].clues)
    assert Clue("field YCLID", "{yclid}", IdKind.YCLID) in found[key(junk)].clues


async def test_fetch_gives_leads_as_they_are_now_and_leaves_out_missing_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The deep sweep's reading: by key, with full histories, unknown leads left out and those in the bin told."""
    world = [lead(n, step(START, NEW), step(START + HOUR, CONTACTED)) for n in range(1, 31)]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        sim.store.delete(FIRST_LEAD + 30, 2_000_000_000)
        listing = await source.fetch([*(key(item) for item in world), "lead:999", "deal:1", "lead:x"])
        found = await source.complete(listing.heads, frozenset(), Window(START, AFTER))
    read_again = deals(found)
    gone = read_again.pop(key(world[-1]))
    assert (gone.is_deleted, gone.updated_at) == (True, utc(2_000_000_000))
    assert {item: told(deal) for item, deal in read_again.items()} == {key(item): truth(item) for item in world[:29]}


async def test_what_fetching_a_thousand_leads_costs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Four requests where nothing changed; the bin is asked only about what is missing, fifty to a request, and once
    for the merges of those moments.
    """
    world = [lead(n, step(START, NEW)) for n in range(1, 1001)]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        keys = [key(item) for item in world]
        before = sim.requests.total()
        assert len((await source.fetch(keys)).heads) == 1000
        assert sim.requests.total() - before == 4
        for number in range(1, 61):
            sim.store.delete(FIRST_LEAD + number, second(AFTER))
        before = sim.requests.total()
        assert len((await source.fetch(keys)).heads) == 1000
        assert sim.requests.total() - before == 4 + 2 + 1


async def test_a_bin_that_cannot_be_asked_by_id_tells_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whether the filter holds there is not documented: what comes of others is not taken for an answer."""
    world = [lead(n, step(START, NEW)) for n in range(1, 4)]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        for number in (1, 2):
            sim.store.delete(FIRST_LEAD + number, second(AFTER))
        sim.quirks = replace(sim.quirks, bin_ignores_ids=True)
        found = await source.fetch([key(world[1]), key(world[2]), "lead:999"])
        assert {head.key for head in found.heads} == {key(world[1]), key(world[2])}


async def test_a_version_is_equal_for_an_unchanged_lead_and_differs_after_a_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two readings agree; a new budget in the same second does not."""
    item = lead(1, step(START, NEW))
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        sim.happen(Happening(START, item, item.steps[0], is_new=True))
        (before,) = (await source.fetch([key(item)])).heads
        (again,) = (await source.fetch([key(item)])).heads
        sim.happen(Happening(START, item, step(START, NEW, 700), is_new=False))
        (after,) = (await source.fetch([key(item)])).heads
    assert before.version == again.version
    assert before.version != after.version
    assert before.updated_at == after.updated_at


async def test_an_account_that_ignores_filters_is_an_alarm_and_no_silent_gap(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Rows from before the window mean that the filter has no effect: the scan stops with advice."""
    world = business(300)
    async with account(monkeypatch, tmp_path, quirks=Quirks(has_list_filters=False)) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        with pytest.raises(Drift, match="ignores the filter"):
            await read(source, Window(START + 20 * HOUR, START + 21 * HOUR))


async def test_one_unreadable_lead_is_set_aside_and_the_page_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A lead whose fields are no array becomes a bad record that names the place and not the content."""
    world = [lead(n, step(START + timedelta(seconds=n), NEW)) for n in range(1, 6)]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER)) as (sim, source):
        for event in happenings(world):
            sim.happen(event)
        sim.store.leads[FIRST_LEAD + 3].custom = b'"secret@example.com"'
        found = await read(source, EVERYTHING)
    (bad,) = (item for item in found if isinstance(item, BadRecord))
    assert bad.key == key(world[2])
    assert "secret" not in bad.message
    assert "custom_fields_values" in bad.message
    assert len([item for item in found if isinstance(item, Deal)]) == 4


async def test_check_reports_account_fields_and_a_token_that_ends_soon(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every look is a finding; a misspelt field names the nearest real ones."""
    fields = {"yclid": ["yclid"], "gclid": ["glcid"]}
    clock = ManualClock(START)
    async with account(monkeypatch, tmp_path, clock, settings={"fields": fields}) as (_, source):
        clock.advance(timedelta(days=5 * 365 - 10))
        findings = {(item.subject, item.level): item.message for item in await source.check()}
    assert "ends on" in findings["token", Level.WARNING]
    assert "RUB" in findings["account", Level.OK]
    assert ("events", Level.OK) in findings
    assert ("fields.yclid", Level.OK) in findings
    assert "gclid" in findings["fields.gclid", Level.ERROR]


async def test_check_with_a_dead_token_is_a_finding_and_no_exception(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Problems of an account are lines of a report."""
    async with account(monkeypatch, tmp_path) as (sim, source):
        sim.tokens.revoke()
        findings = await source.check()
    assert findings[-1].level is Level.ERROR
    assert "long-lived token" in findings[-1].message


async def test_the_catalogue_names_stages_reasons_and_fields(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Goals can be written with the names the account uses; 142 and 143 close every pipeline."""
    async with account(monkeypatch, tmp_path) as (_, source):
        catalogue = await source.catalogue()
    sales, service = catalogue.pipelines
    assert [stage.name for stage in sales.stages][-2:] == ["Успешно реализовано", "Закрыто и не реализовано"]
    for pipeline in (sales, service):
        closed = {stage.outcome: stage.id for stage in pipeline.stages if stage.outcome is not Outcome.OPEN}
        assert closed == {Outcome.WON: "142", Outcome.LOST: "143"}
    assert ("8801", "Спам") in catalogue.loss_reasons
    assert {"YCLID", "yclid", "Поле 30"} <= set(catalogue.fields)
