"""Reading a living account: nothing missed, nothing invented, true times, few requests."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.hubspot.fake import HubSpot
from adapters.hubspot.fake_query import MOST
from adapters.hubspot.fake_schema import CONTACTS, DEALS, SERVICE
from bridge.errors import BridgeError, Drift
from bridge.model import Deal, Money, Outcome, ValueChange
from bridge.ports import BadRecord, Window
from bridge.sim.faults import FaultPlan
from tests.adapters.hubspot.kit import (
    DAY,
    HOUR,
    LOST,
    MINUTE,
    NEW,
    QUALIFIED,
    WON,
    Rig,
    completed,
    listed,
    read,
    running,
)
from tests.support import START

SEARCH = f"POST /crm/v3/objects/{DEALS}/search"


def stages(deal: Deal) -> list[tuple[str, timedelta]]:
    """Stages with their time after the start."""
    return [(change.stage, change.at - START) for change in deal.history]


# --- histories ---------------------------------------------------------------------------------------------------


async def test_a_deal_qualified_and_lost_between_two_polls_still_was_qualified(tmp_path: Path) -> None:
    """Every stage with its own time, the loss reason as it was written."""
    async with running(tmp_path) as rig:
        number = rig.deal()
        rig.change(f"deal:{number}", START + HOUR, dealstage=QUALIFIED)
        rig.change(f"deal:{number}", START + HOUR + MINUTE, dealstage=LOST, closed_lost_reason="Спам, бот")
        deal = (await read(rig.source, rig.all_time()))[f"deal:{number}"]
        assert stages(deal) == [(NEW, 0 * HOUR), (QUALIFIED, HOUR), (LOST, HOUR + MINUTE)]
        assert {change.source for change in deal.history} == {"property history"}
        assert deal.outcome is Outcome.LOST
        assert deal.loss_reason == ("Спам, бот", "Спам, бот")
        assert deal.closed_at == START + HOUR + MINUTE


async def test_a_deal_that_moved_on_and_back_is_news(tmp_path: Path) -> None:
    """It looks as before; its history does not, so its version must not either."""
    async with running(tmp_path) as rig:
        number = rig.deal()
        before = await listed(rig.source, rig.all_time())
        rig.change(f"deal:{number}", START + HOUR, dealstage=WON)
        rig.change(f"deal:{number}", START + 2 * HOUR, dealstage=NEW)
        after = await listed(rig.source, rig.all_time())
        assert [head.key for head in after] == [head.key for head in before]
        assert after[0].version != before[0].version
        deal = (await read(rig.source, rig.all_time()))[f"deal:{number}"]
        assert [change.outcome for change in deal.history] == [Outcome.OPEN, Outcome.WON, Outcome.OPEN]
        assert deal.closed_at is None


async def test_contacts_are_leads_in_their_lifecycle(tmp_path: Path) -> None:
    """Each lifecycle stage with its time; a customer stays open, for the sale is the deal's."""
    async with running(tmp_path) as rig:
        number = rig.contact()
        rig.change(f"lead:{number}", START + HOUR, lifecyclestage="salesqualifiedlead", hs_lead_status="CONNECTED")
        rig.change(f"lead:{number}", START + 2 * HOUR, lifecyclestage="customer")
        lead = (await read(rig.source, rig.all_time()))[f"lead:{number}"]
        assert stages(lead) == [("lead", 0 * HOUR), ("salesqualifiedlead", HOUR), ("customer", 2 * HOUR)]
        assert {change.pipeline for change in lead.history} == {"contacts"}
        assert {change.outcome for change in lead.history} == {Outcome.OPEN}
        assert lead.fields["hs_lead_status"] == lead.fields["Lead Status"] == ("Connected",)
        assert "CONNECTED" not in lead.options.get("hs_lead_status", ())  # the label, whatever its case
        catalogue = await rig.source.catalogue()
        names = {stage.id: stage.name for stage in catalogue.pipelines[0].stages}
        assert (names["salesqualifiedlead"], names["51439524"]) == ("Sales Qualified Lead", "Trial")


async def test_a_contact_without_a_lifecycle_stage_is_a_lead_all_the_same(tmp_path: Path) -> None:
    """Also one whose stage was cleared, as happens before it is set back."""
    async with running(tmp_path) as rig:
        never = rig.contact(lifecyclestage=None)
        cleared = rig.contact()
        rig.change(f"lead:{cleared}", START + HOUR, lifecyclestage="")
        leads = await read(rig.source, rig.all_time())
        assert stages(leads[f"lead:{never}"]) == [("", 0 * HOUR)]
        assert stages(leads[f"lead:{cleared}"]) == [("lead", 0 * HOUR), ("", HOUR)]


async def test_a_change_of_pipeline_keeps_both_roads(tmp_path: Path) -> None:
    """A stage belongs to the pipeline that has it, whichever of the two properties was saved first."""
    async with running(tmp_path) as rig:
        number = rig.deal()
        rig.change(f"deal:{number}", START + HOUR, dealstage="151820001")
        rig.change(f"deal:{number}", START + HOUR + MINUTE, pipeline=SERVICE)
        rig.change(f"deal:{number}", START + 2 * HOUR, dealstage="151820002")
        deal = (await read(rig.source, rig.all_time()))[f"deal:{number}"]
        places = [(change.pipeline, change.stage, change.outcome) for change in deal.history]
        assert places == [
            ("default", NEW, Outcome.OPEN),
            (SERVICE, "151820001", Outcome.OPEN),
            (SERVICE, "151820002", Outcome.WON),
        ]


async def test_a_stage_added_after_the_start_gets_its_name(tmp_path: Path) -> None:
    """Names are read again when a record is in a stage that is not known, and once only if it stays so."""
    async with running(tmp_path) as rig:
        rig.deal()
        await read(rig.source, rig.all_time())
        stage = rig.portal.data.pipelines[1].stages[0]
        rig.portal.data.pipelines[1].stages.append(type(stage)("999", "Отказ клиента", "0.0", is_closed=True))
        rig.deal(pipeline=SERVICE, dealstage="999")
        deals = await read(rig.source, rig.all_time())
        assert deals["deal:502"].outcome is Outcome.LOST
        assert deals["deal:502"].loss_reason == ("999", "Отказ клиента")
        rig.portal.data.pipelines[1].stages.pop()
        again = rig.another()
        rig.portal.requests.clear()
        for _ in range(3):
            lost = (await read(again, rig.all_time()))["deal:502"]
        assert lost.outcome is Outcome.LOST  # by the deal's own marks
        assert rig.portal.requests["GET /crm/v3/pipelines/deals"] == 2


async def test_amounts_are_remembered_when_a_goal_asks_for_them(tmp_path: Path) -> None:
    """What the deal was worth when; an emptied amount is zero. Not asked for otherwise."""
    async with running(tmp_path, needs_values=True) as rig:
        number = rig.deal(amount="50000")
        rig.change(f"deal:{number}", START + HOUR, amount="")
        rig.change(f"deal:{number}", START + 2 * HOUR, amount="90000.50")
        deal = (await read(rig.source, rig.all_time()))[f"deal:{number}"]
        assert deal.value == Money(9_000_050, "RUB")
        assert deal.value_changes == (
            ValueChange(START, Money(5_000_000, "RUB")),
            ValueChange(START + HOUR, Money(0, "RUB")),
            ValueChange(START + 2 * HOUR, Money(9_000_050, "RUB")),
        )
    async with running(tmp_path) as rig:
        number = rig.deal(amount="50000")
        assert (await read(rig.source, rig.all_time()))[f"deal:{number}"].value_changes == ()


# --- windows -----------------------------------------------------------------------------------------------------


async def test_a_window_lists_what_was_modified_inside_it(tmp_path: Path) -> None:
    """By ``lastmodifieddate`` for contacts, ``hs_lastmodifieddate`` for deals; its start belongs to it, its end not."""
    async with running(tmp_path) as rig:
        saved = timedelta(milliseconds=100)
        for hours in (0, 1, 2):
            rig.contact(START + hours * HOUR - saved)
            rig.deal(START + hours * HOUR - saved)
        heads = await listed(rig.source, Window(START, START + 2 * HOUR))
        assert [head.key for head in heads] == ["lead:301", "lead:302", "deal:501", "deal:502"]
        inside = Window(START + timedelta(microseconds=400), START + HOUR + timedelta(microseconds=400))
        assert {head.key for head in await listed(rig.source, inside)} >= {"lead:302", "deal:502"}


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201, 400, 1001])
async def test_a_list_ends_exactly_where_it_ends(tmp_path: Path, count: int) -> None:
    """Also at the borders of pages; each record comes once."""
    async with running(tmp_path) as rig:
        for number in range(count):
            rig.deal(START + timedelta(seconds=number))
        heads = await listed(rig.another(entities=["deal"]), rig.all_time())
        assert [head.key for head in heads] == [f"deal:{501 + number}" for number in range(count)]


async def test_more_than_ten_thousand_are_read_without_ever_asking_beyond(tmp_path: Path) -> None:
    """A search refuses what lies beyond 10,000 results, so none may be asked for by offset."""
    async with running(tmp_path) as rig:
        for number in range(MOST + 500):
            rig.deal(START + timedelta(seconds=number // 3))
        heads = await listed(rig.another(entities=["deal"]), rig.all_time())
        assert len({head.key for head in heads}) == len(heads) == MOST + 500
        assert rig.portal.requests[SEARCH] <= 1.1 * (MOST + 500) / 200


async def test_a_mass_import_of_one_millisecond_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More records of one time than a search gives (here a thousand): told apart by id; what follows is read, too."""
    monkeypatch.setattr("adapters.hubspot.fake_query.MOST", 1000)
    async with running(tmp_path) as rig:
        before = rig.deal(START - HOUR)
        numbers = rig.portal.data.import_many(DEALS, 1300, START, {"dealstage": NEW, "pipeline": "default"})
        after = rig.deal(START + HOUR)
        heads = await listed(rig.another(entities=["deal"]), rig.all_time())
        assert sorted(int(head.key[5:]) for head in heads) == sorted([before, *numbers, after])


class Busy(HubSpot):
    """An account where people work while it is read: before every page of a search something changes."""

    def work(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.moves = 0

    async def _search(self, request):  # type: ignore[no-untyped-def]  # the simulator's own signature
        if hasattr(self, "dice"):
            for number in self.dice.sample(sorted(self.data.records[DEALS]), 5):
                stage = self.dice.choice([QUALIFIED, NEW, "decisionmakerboughtin"])
                self.data.update(DEALS, number, self.clock.now(), {"dealstage": stage})
                self.moves += 1
            self.clock.set(self.clock.now() + timedelta(seconds=1))  # type: ignore[attr-defined]  # moved by hand
        return await super()._search(request)


@pytest.mark.parametrize("lag", [timedelta(0), timedelta(seconds=110)])
async def test_nothing_is_missed_while_records_change_between_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lag: timedelta
) -> None:
    """By offsets each change would make the next page skip a record.

    The windows of some polls, overlap and all, see every deal in its last version with its whole history, however late
    searches show a change.
    """
    monkeypatch.setattr("tests.adapters.hubspot.kit.HubSpot", Busy)
    async with running(tmp_path, lag=lag) as rig:
        portal = rig.portal
        assert isinstance(portal, Busy)
        for number in range(1500):
            rig.deal(START + timedelta(seconds=number))
        rig.clock.set(START + HOUR)
        portal.work(5)
        source = rig.another(entities=["deal"])
        traits, found = source.traits, dict[str, Deal]()
        watermark = START
        for _ in range(3):
            window = Window(watermark - traits.overlap, rig.clock.now() - traits.settle)
            async for listing in source.scan(window):
                found |= {deal.key: deal for deal in await source.complete(listing.heads, frozenset(), window)}  # type: ignore[misc]  # none is bad
                watermark = max([watermark, *(head.updated_at for head in listing.heads)])
        del portal.dice
        rig.clock.advance(timedelta(minutes=3))
        window = Window(watermark - traits.overlap, rig.clock.now() - traits.settle)
        found |= await read(source, window)
        assert portal.moves > 30
        assert found == await read(rig.another(entities=["deal"]), rig.all_time()) | {}


async def test_a_record_is_read_as_it_is_now_though_searches_lag(tmp_path: Path) -> None:
    """The listing shows what the index has; the deal made of it has the newest move already."""
    async with running(tmp_path, lag=timedelta(minutes=5)) as rig:
        number = rig.deal()
        rig.clock.set(START + DAY)
        await listed(rig.source, rig.all_time())
        rig.change(f"deal:{number}", rig.clock.now(), dealstage=WON, amount="5")
        heads = await listed(rig.source, rig.all_time())
        assert heads[0].row.get("dealstage") == NEW
        (deal,) = await rig.source.complete(heads, frozenset(), rig.all_time())
        assert isinstance(deal, Deal)
        assert (deal.stage, deal.version) == (WON, heads[0].version)


class Forgetful(HubSpot):
    """A search that ignores the filter of times, the sort, or its promise of a next page."""

    def spoil(self, how: str) -> None:
        self.how = how

    async def _search(self, request):  # type: ignore[no-untyped-def]  # the simulator's own signature
        reply: Any = await super()._search(request)
        how, results = getattr(self, "how", ""), list(reply.body["results"])
        more = {"paging": {"next": {"after": "200"}}}
        spoilt: dict[str, dict[str, Any]] = {
            "sort": {"results": results[::-1]},
            "window": {"results": [self._old(row) for row in results]},
            "promise": {"results": [], **more},
        }
        changed = spoilt.get(how, {})
        return type(reply)({**reply.body, **changed})

    def _old(self, row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "properties": {**row["properties"], "hs_lastmodifieddate": "2020-01-01T00:00:00.000Z"}}


@pytest.mark.parametrize(
    ("how", "text"), [("sort", "does not sort"), ("window", "from before the window"), ("promise", "sent none")]
)
async def test_a_search_that_does_not_keep_its_word_is_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, text: str
) -> None:
    """Going on would skip records, so reading stops and the cursor stays."""
    monkeypatch.setattr("tests.adapters.hubspot.kit.HubSpot", Forgetful)
    async with running(tmp_path) as rig:
        assert isinstance(rig.portal, Forgetful)
        for number in range(3):
            rig.deal(START + number * MINUTE)
        rig.portal.spoil(how)
        with pytest.raises(Drift, match=text):
            await listed(rig.another(entities=["deal"]), rig.all_time())


# --- records that cannot be read, or are gone --------------------------------------------------------------------


async def test_a_record_that_cannot_be_read_is_set_aside_alone(tmp_path: Path) -> None:
    """An amount that is none, a broken creation time: a BadRecord each, with a code; the others are deals."""
    async with running(tmp_path) as rig:
        rig.deal(amount="1e999")
        rig.deal(createdate="yesterday")
        rig.deal(amount="12")
        found = await completed(rig.another(entities=["deal"]), rig.all_time())
        codes = {key: item.code for key, item in found.items() if isinstance(item, BadRecord)}
        assert codes == {"deal:501": "bad_amount", "deal:502": "bad_time"}
        assert isinstance(found["deal:503"], Deal)


async def test_a_record_deleted_since_it_was_listed_is_a_deleted_deal(tmp_path: Path) -> None:
    """A search shows it for a while; reading it by id says that it is gone. A merged one is gone as well."""
    async with running(tmp_path) as rig:
        for number in range(3):
            rig.contact(START + number * MINUTE)
        rig.deal()
        heads = await listed(rig.source, rig.all_time())
        rig.portal.data.archive(DEALS, 501, START + HOUR)
        rig.portal.data.merge(CONTACTS, 301, 302, START + HOUR)
        deals = await rig.source.complete(heads, frozenset(), rig.all_time())
        assert {d.key: d.is_deleted for d in deals if isinstance(d, Deal)} == {
            "lead:301": True,
            "lead:302": False,
            "lead:303": False,
            "deal:501": True,
        }


async def test_reading_by_key_tells_deleted_records_from_those_that_never_were(tmp_path: Path) -> None:
    """Hints and sweeps name keys; ids of other kinds and nonsense are nobody's."""
    async with running(tmp_path) as rig:
        rig.contact()
        rig.deal()
        rig.deal()
        rig.portal.data.archive(DEALS, 502, START + HOUR)
        keys = ["lead:301", "deal:501", "deal:502", "deal:999", "lead:x", "item:1032-1"]
        listing = await rig.source.fetch(keys)
        assert [head.key for head in listing.heads] == ["lead:301", "deal:501", "deal:502"]
        deals = await rig.source.complete(listing.heads, frozenset(), rig.all_time())
        assert [deal.is_deleted for deal in deals if isinstance(deal, Deal)] == [False, False, True]
        assert (await rig.another(entities=["deal"]).fetch(["lead:301"])).heads == ()


# --- requests ----------------------------------------------------------------------------------------------------


def asked(rig: Rig) -> dict[str, int]:
    return {name.removeprefix("POST /crm/"): count for name, count in rig.portal.requests.items()}


async def test_a_quiet_poll_costs_one_search_for_each_entity(tmp_path: Path) -> None:
    """Names are known by then."""
    async with running(tmp_path) as rig:
        await read(rig.source, rig.all_time())
        rig.portal.requests.clear()
        await read(rig.source, rig.all_time())
        assert asked(rig) == {"v3/objects/contacts/search": 1, "v3/objects/deals/search": 1}


async def test_histories_and_contacts_come_in_as_few_batches_as_the_vendor_allows(tmp_path: Path) -> None:
    """A listing of 200 deals with one contact each: four batches of fifty histories, one of associations, four of
    contacts."""
    async with running(tmp_path) as rig:
        for number in range(200):
            rig.deal(START + timedelta(seconds=number), {rig.contact(): None})
        source = rig.another(entities=["deal"])
        await read(source, Window(START - 2 * DAY, START - DAY))
        rig.portal.requests.clear()
        deals = await read(source, rig.all_time())
        assert len(deals) == 200
        assert all(len(deal.contacts) == 1 for deal in deals.values())
        assert asked(rig) == {
            "v3/objects/deals/search": 1,
            "v3/objects/deals/batch/read": 4,
            "v3/objects/contacts/batch/read": 4,
            "v4/associations/deals/{to}/batch/read": 1,
        }


async def test_contacts_that_are_listed_themselves_are_read_once(tmp_path: Path) -> None:
    """Completing a contact and the deal of it asks for the contact once."""
    async with running(tmp_path) as rig:
        rig.deal(START, {rig.contact(): None})
        heads = await listed(rig.source, rig.all_time())
        rig.portal.requests.clear()
        assert len(await rig.source.complete(heads, frozenset(), rig.all_time())) == 2
        assert asked(rig)["v3/objects/contacts/batch/read"] == 1


async def test_completing_nothing_asks_nothing(tmp_path: Path) -> None:
    """No heads, no requests."""
    async with running(tmp_path) as rig:
        assert await rig.source.complete([], frozenset(), rig.all_time()) == []
        assert rig.portal.requests == {}


async def test_the_dated_version_of_the_api_is_read_alike(tmp_path: Path) -> None:
    """Only the path of objects differs (contract 1)."""
    async with running(tmp_path) as rig:
        rig.deal(START, {rig.contact(): None})
        assert await read(rig.another(objects_path="/crm/objects/2026-03"), rig.all_time()) == await read(
            rig.source, rig.all_time()
        )
        assert rig.portal.requests["POST /crm/objects/2026-03/deals/search"] == 1


@pytest.mark.parametrize("auth", ["token", "oauth"])
async def test_under_trouble_a_read_is_right_or_an_error_of_ours(tmp_path: Path, auth: str) -> None:
    """429, 502, cut bodies, lost connections, tokens that end early: never a wrong record, never a secret in a text."""
    async with running(tmp_path, auth=auth) as rig:
        for number in range(60):
            rig.deal(START + number * MINUTE, {rig.contact(START, yclid=f"1352748209471{number:04d}"): None})
        calm = await read(rig.source, rig.all_time())
        rig.portal.faults = FaultPlan.harsh(3)
        good, texts = 0, []
        for _ in range(40):
            rig.clock.advance(HOUR)
            try:
                assert await read(rig.source, rig.all_time()) == calm
                good += 1
            except BridgeError as error:
                texts.append(str(error))
        assert good >= 5
        assert sum(rig.portal.faults.drawn.values()) >= 10
        secrets = rig.portal.secrets().values()
        assert not any(secret in text for text in texts for secret in secrets)
