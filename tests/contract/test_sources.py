"""What every source must do, whoever wrote it. A new adapter folder is tested here without being named."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from bridge import identity
from bridge.errors import BridgeError, ConfigError
from bridge.identity import phone_e164
from bridge.model import Deal, DealKind, IdKind, StageChange, utc
from bridge.ports import BadRecord, Head, Level, Source, SourceTraits, Window
from bridge.sim.events import StageName
from bridge.sim.faults import FaultPlan
from bridge.sim.world import World
from tests.contract.rig import COUNTERS, SOURCES, SOURCES_WITH_SERVER, TRACKERS, Rig, rig
from tests.support import START

LEADS, DAYS = 40, 20
PATIENCE, TROUBLES = 300, 10
CRMS = [kind for kind in SOURCES if kind not in (*TRACKERS, *COUNTERS)]
with_server = pytest.mark.parametrize("kind", sorted(SOURCES_WITH_SERVER))
every_source = pytest.mark.parametrize("kind", SOURCES)
every_crm = pytest.mark.parametrize("kind", CRMS)
crm_with_server = pytest.mark.parametrize("kind", sorted(SOURCES_WITH_SERVER.intersection(CRMS)))
every_tracker = pytest.mark.parametrize("kind", TRACKERS)
every_counter = pytest.mark.parametrize("kind", COUNTERS)


@dataclass(slots=True)
class Business:
    """A source, what happened in its CRM, and the window that holds all of it."""

    rig: Rig
    world: World
    window: Window

    @property
    def source(self) -> Source:
        port: Source = self.rig.port
        return port


@pytest.fixture
async def business(kind: str, tmp_path: Path) -> AsyncIterator[Business]:
    """A tiny business that has lived through all its leads' steps."""
    async with rig(kind, "source", tmp_path) as made:
        world = World.make(11, LEADS, start=START, days=DAYS).with_calls()
        for call in world.calls if kind in TRACKERS else ():
            made.clock.set(call.at)
            made.fake.ring(call)
        for form in world.calls if kind in COUNTERS else ():
            made.clock.set(form.at)
            made.fake.send(form)
        for event in world.happenings() if made.fake and kind in CRMS else ():
            made.clock.set(event.at)
            made.fake.happen(event)
        # a sample's dates lie in the past; of visits the day must have ended
        after = timedelta(days=365) if not made.fake else timedelta(days=2) if kind in COUNTERS else timedelta(hours=1)
        made.clock.advance(after)
        yield Business(made, world, Window(START - timedelta(days=8), made.clock.now()))


async def listed(source: Source, window: Window) -> dict[str, Head]:
    """Every head of the window by key; a later listing of the same record wins."""
    heads: dict[str, Head] = {}
    async for listing in source.scan(window):
        heads |= {head.key: head for head in listing.heads}
    return heads


async def read(source: Source, window: Window) -> dict[str, Deal]:
    """Every deal of the window, completed page by page like the poll loop does."""
    deals: dict[str, Deal] = {}
    async for listing in source.scan(window):
        answers = await source.complete(listing.heads, frozenset(), window)
        assert len(answers) == len(listing.heads)
        assert [answer for answer in answers if isinstance(answer, BadRecord)] == []
        deals |= {deal.key: deal for deal in answers if isinstance(deal, Deal)}
    return deals


def versions(heads: dict[str, Head]) -> dict[str, str]:
    return {key: head.version for key, head in heads.items()}


# --- credentials and names ---------------------------------------------------------------------------------------


@every_source
async def test_a_sound_account_has_no_errors(business: Business) -> None:
    """``bridge check`` is silent about a source that works, and says something good about it."""
    findings = await business.source.check()
    assert [finding for finding in findings if finding.level is Level.ERROR] == []
    assert findings


@with_server
async def test_wrong_credentials_are_a_finding_and_not_a_crash(kind: str, tmp_path: Path) -> None:
    """A revoked secret is reported by ``check``; the message does not repeat it."""
    async with rig(kind, "source", tmp_path) as made:
        secrets = made.fake.secrets()
        wrong = {name: _spoilt(value) for name, value in secrets.items()}
        os.environ.update(wrong)
        try:
            findings = await made.again().check()
        except ConfigError as error:
            texts = [str(error)]
        else:
            texts = [f"{finding.subject} {finding.message}" for finding in findings if finding.level is Level.ERROR]
        assert texts
        assert not any(value in text for text in texts for value in [*secrets.values(), *wrong.values()])


def _spoilt(secret: str) -> str:
    """The same shape, another secret."""
    return "".join("7" if char in "012345" else "x" if char.islower() else char for char in secret)


@every_crm
async def test_every_stage_of_every_history_has_a_name(business: Business) -> None:
    """The catalogue knows all pipelines and stages that deals pass through, so that goals can be written by name."""
    catalogue = await business.source.catalogue()
    known = {(pipeline.id, stage.id) for pipeline in catalogue.pipelines for stage in pipeline.stages}
    deals = await read(business.source, business.window)
    used = {(change.pipeline, change.stage) for deal in deals.values() for change in deal.history}
    assert catalogue.is_open or used <= known


# --- reading -----------------------------------------------------------------------------------------------------


@with_server
async def test_nothing_the_simulator_tells_is_unreadable(business: Business) -> None:
    """A sound CRM gives no record that has to be set aside."""
    assert [bad async for listing in business.source.scan(business.window) for bad in listing.bad] == []


@every_source
async def test_a_scan_lists_records_and_complete_makes_a_deal_of_each(business: Business) -> None:
    """Keys and versions of heads are those of their deals; ids are text, times are aware UTC."""
    heads = await listed(business.source, business.window)
    deals = await read(business.source, business.window)
    assert heads
    assert versions(heads) == {key: deal.version for key, deal in deals.items()}
    for deal in deals.values():
        assert deal.id
        assert deal.version
        assert {at.utcoffset() for at in (deal.created_at, deal.updated_at)} == {timedelta(0)}


@every_crm
async def test_a_history_is_in_time_order_and_ends_with_the_current_stage(business: Business) -> None:
    """Goals are judged over the history, so its end must be where the deal is now."""
    for deal in (await read(business.source, business.window)).values():
        assert deal.history
        assert list(deal.history) == sorted(deal.history, key=lambda change: change.at)
        last = deal.history[-1]
        assert (last.pipeline, last.stage, last.outcome) == (deal.pipeline, deal.stage, deal.outcome)


@crm_with_server
async def test_every_stage_entry_is_read_with_its_true_time(business: Business) -> None:
    """Also stages that were left again long before the scan: a lead qualified and lost in between was qualified."""
    deals = await read(business.source, business.window)
    seen = {change.at for deal in deals.values() for change in deal.history}
    steps = [step for lead in business.world.leads for step in lead.steps if step.stage is not StageName.NEW]
    happened = {step.at for step in steps if step.value is None}
    assert happened - seen == set()


@crm_with_server
async def test_every_sale_is_found_under_the_key_the_simulator_names(business: Business) -> None:
    """The deal the business sold is the deal the source reports, with its price."""
    deals = await read(business.source, business.window)
    sold = [lead for lead in business.world.leads if lead.steps[-1].stage is StageName.WON]
    assert sold
    for lead in sold:
        price = next(step.value for step in reversed(lead.steps) if step.value is not None)
        value = deals[business.rig.fake.deal_key(lead.id)].value
        assert value is not None
        assert value.amount == price


@every_tracker
async def test_every_call_of_the_business_is_a_touch_that_stands_in_no_stage(business: Business) -> None:
    """Each under the key the simulator names, at its own time, with its caller and the click that brought it."""
    touches = await read(business.source, business.window)
    calls = {business.rig.fake.call_key(call): call for call in business.world.calls}
    assert set(touches) >= set(calls)
    assert all(touch.is_touch for touch in touches.values())
    assert {touch.kind for key, touch in touches.items() if key not in calls} <= {DealKind.VISIT}
    assert sum(call.click is not None for call in calls.values()) >= 3
    for key, call in calls.items():
        touch = touches[key]
        assert touch.created_at == call.at
        assert touch.history == ()
        assert (touch.pipeline, touch.stage, touch.value) == ("", "", None)
        assert [phone_e164(text, "RU") for contact in touch.contacts for text in contact.phones] == [f"+{call.phone}"]
        click = call.click
        wanted = {click.yclid, click.gclid, click.client_id} if click else set()
        read_ = [item for item in identity.read(touch).identifiers if item.kind is not IdKind.ROISTAT]
        assert {identifier.value for identifier in read_} == wanted - {None}


@every_counter
async def test_every_form_of_the_business_is_a_touch_of_its_visit(business: Business) -> None:
    """Each under the key the simulator names, at the moment it was sent, with the click that began the visit."""
    touches = await read(business.source, business.window)
    forms = {business.rig.fake.visit_key(form): form for form in business.world.calls}
    assert set(touches) == set(forms)
    assert business.source.traits.brings_touches
    for key, form in forms.items():
        touch = touches[key]
        assert (touch.kind, touch.created_at, touch.contacts) == (DealKind.VISIT, form.at, ())
        click = form.click
        wanted = {click.yclid, click.gclid, click.client_id} - {None} if click else set()
        assert wanted <= {identifier.value for identifier in identity.read(touch).identifiers}


@every_tracker
async def test_a_tracker_says_that_its_records_are_touches_and_lists_late_changes_again(business: Business) -> None:
    """What is known of a visit comes after its call: the last days are listed in every window."""
    assert business.source.traits.brings_touches
    assert business.source.traits.overlap >= timedelta(hours=12)


@every_source
async def test_reading_again_gives_the_same_versions(business: Business) -> None:
    """An unchanged record is dropped by its version alone; a restarted process agrees."""
    first = versions(await listed(business.source, business.window))
    business.rig.clock.advance(timedelta(minutes=5))
    assert versions(await listed(business.source, business.window)) == first
    assert versions(await listed(business.rig.again(), business.window)) == first


@every_source
async def test_fetching_by_key_gives_what_the_scan_gave(business: Business) -> None:
    """The deep sweep and webhook hints see the same records; unknown keys are left out, or told to be deleted."""
    heads = await listed(business.source, business.window)
    keys = [*list(heads)[:30], "lead:999999999"]
    fetched = (await business.source.fetch(keys)).heads
    deals = await business.source.complete(fetched, frozenset(), Window(utc(0), business.rig.clock.now()))
    assert {deal.key for deal in deals if isinstance(deal, Deal) and deal.is_deleted} <= {keys[-1]}
    assert {head.key: head.version for head in fetched if head.key in heads} == {
        key: heads[key].version for key in keys[:-1]
    }


@every_source
async def test_a_record_read_by_its_key_has_all_that_the_scan_gave_it(business: Business) -> None:
    """Contacts, clues and the whole history; of a record whose earlier history is stored at least every move."""
    scanned = await read(business.source, business.window)
    keys = list(scanned)[:30]
    ever = Window(utc(0), business.rig.clock.now())
    source = business.rig.again()
    for known in (frozenset[str](), frozenset(keys)):
        listing = await source.fetch(keys)
        deals = {deal.key: deal for deal in await source.complete(listing.heads, known, ever) if isinstance(deal, Deal)}
        assert {key: _moves(deal) for key, deal in deals.items()} == {key: _moves(scanned[key]) for key in keys}
        assert known or deals == {key: scanned[key] for key in keys}


def _moves(deal: Deal) -> set[StageChange]:
    """What the CRM's own history told of a deal."""
    return {change for change in deal.history if change.source not in ("created", "record")}


@with_server
async def test_an_empty_window_lists_nothing(business: Business) -> None:
    """Records modified outside the window are not listed, unless the source always reads everything."""
    traits: SourceTraits = business.source.traits
    before = Window(START - timedelta(days=40), START - timedelta(days=39))
    assert traits.reads_everything or await listed(business.source, before) == {}


@with_server
async def test_under_trouble_a_read_ends_in_the_truth_or_in_an_error_of_ours(business: Business) -> None:
    """Throttling, 5xx, cut bodies and lost connections never lose or change a record, nor raise anything foreign."""
    calm = await read(business.source, business.window)
    business.rig.fake.faults = faults = FaultPlan.harsh(5)
    good_reads = 0
    for _ in range(PATIENCE):
        business.rig.clock.advance(timedelta(hours=1))
        with suppress(BridgeError):
            assert await read(business.source, business.window) == calm
            good_reads += 1
        if good_reads >= 3 and sum(faults.drawn.values()) >= TROUBLES:
            return
    pytest.fail(f"{good_reads} good reads among {PATIENCE}, {faults.drawn} faults")
