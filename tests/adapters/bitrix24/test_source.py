"""Reading a living portal: nothing missed, nothing invented, true times, few requests."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.bitrix24.fake import Bitrix24
from adapters.bitrix24.fake_rest import Reply
from adapters.bitrix24.fake_schema import CONTACT, DEAL, LEAD, CustomField
from bridge.clues import read as identify
from bridge.config import Goal
from bridge.errors import BridgeError, Drift
from bridge.model import Deal, Outcome, Verdict
from bridge.ports import BadRecord, Window
from bridge.rules.case import Case
from bridge.rules.floor import Floor
from bridge.rules.goals import compile_goals
from bridge.rules.qualify import judge
from bridge.sim.events import Carrier, StageName
from bridge.sim.faults import FaultPlan
from tests.adapters.bitrix24.kit import YCLID, add_deals, add_leads, lead, listed, live, read, running
from tests.support import START

NEW, CONTACTED, QUALIFIED, MEETING, WON, LOST = StageName
SOLD = [(0, NEW), (5, CONTACTED), (60, QUALIFIED), (90, MEETING), (200, WON)]


def minutes(deal: Deal) -> list[tuple[str, int]]:
    return [(change.stage, int((change.at - START).total_seconds() // 60)) for change in deal.history]


# --- the imaginary business --------------------------------------------------------------------------------------


async def test_a_lead_becomes_a_deal_and_both_are_read_with_true_times(tmp_path: Path) -> None:
    """The lead ends converted and open; its deal starts qualified, is won, and names the lead as its parent."""
    async with running(tmp_path) as rig:
        live(rig, lead(2, SOLD, value=Decimal(25000)))
        deals = await read(rig.source, rig.all_time())
        assert set(deals) == {"lead:1", "deal:1"} == {"lead:1", rig.portal.deal_key(2)}
        assert minutes(deals["lead:1"]) == [("NEW", 0), ("IN_PROCESS", 5), ("CONVERTED", 60)]
        assert minutes(deals["deal:1"]) == [("C1:UC_7QV3KD", 60), ("C1:EXECUTING", 90), ("C1:WON", 200)]
        assert (deals["lead:1"].outcome, deals["deal:1"].outcome) == (Outcome.OPEN, Outcome.WON)
        assert deals["deal:1"].parent == "lead:1"
        assert str(deals["deal:1"].value) == "25000.00 RUB"
        assert (deals["deal:1"].origin or ("", ""))[1] == "Квиз"


async def test_a_deal_qualified_and_lost_between_two_polls_still_was_qualified(tmp_path: Path) -> None:
    """History, not snapshots; the failure stage's name is the loss reason."""
    async with running(tmp_path) as rig:
        live(rig, lead(1, [(0, NEW), (10, QUALIFIED), (11, LOST)], loss_reason="Спам"))
        deal = (await read(rig.source, rig.all_time()))["deal:1"]
        assert minutes(deal) == [("C1:NEW", 0), ("C1:UC_7QV3KD", 10), ("C1:UC_LOSS1", 11)]
        assert deal.loss_reason == ("C1:UC_LOSS1", "Спам")
        assert deal.outcome is Outcome.LOST


async def test_a_lead_lost_before_it_qualified_stays_a_lead(tmp_path: Path) -> None:
    """And a lost lead that is taken up again is open again."""
    async with running(tmp_path) as rig:
        live(rig, lead(2, [(0, NEW), (10, LOST), (20, CONTACTED)], loss_reason="Дубль"))
        deal = (await read(rig.source, rig.all_time()))["lead:1"]
        assert minutes(deal) == [("NEW", 0), ("UC_LOSS2", 10), ("IN_PROCESS", 20)]
        assert (deal.outcome, deal.closed_at) == (Outcome.OPEN, None)
        assert deal.history[1].outcome is Outcome.LOST


@pytest.mark.parametrize(("number", "carrier", "is_on_deal"), [
    (2, Carrier.FIELD, True), (1, Carrier.FIELD, True), (2, Carrier.CONVERTED, False), (1, Carrier.CONVERTED, False),
    (1, Carrier.URL, True), (2, Carrier.URL, True), (1, Carrier.UTM, True), (3, Carrier.UTM, True),
    (2, Carrier.GARBAGE, False), (1, Carrier.NONE, False),
])  # fmt: skip
async def test_click_ids_are_found_wherever_the_business_keeps_them(
    tmp_path: Path, number: int, carrier: Carrier, is_on_deal: bool
) -> None:
    """In fields, in a URL, in utm tags, or on the lead alone: the deal's or its parent's clues hold the yclid."""
    has_click = carrier not in (Carrier.GARBAGE, Carrier.NONE)
    async with running(tmp_path) as rig:
        live(rig, lead(number, SOLD, carrier=carrier, garbage="{yclid}", **({} if has_click else {"click": None})))
        deals = await read(rig.source, rig.all_time())
        found = {key: [item.value for item in identify(deal).identifiers] for key, deal in deals.items()}
        assert (YCLID in found["deal:1"]) is is_on_deal
        if carrier is Carrier.CONVERTED:
            assert YCLID in found[deals["deal:1"].parent or ""]
        if carrier is Carrier.GARBAGE:
            assert not any(found.values())


async def test_people_are_read_from_the_lead_or_the_deals_contact(tmp_path: Path) -> None:
    """Deals have no phone of their own; two deals of one person name one contact, which collects their phones."""
    async with running(tmp_path) as rig:
        phones = ("8 (999) 111-22-33", "+79991112244")
        live(
            rig, *(lead(n, [(n, NEW)], person=7, phones=(phones[n // 2],), emails=("k@okna.example",)) for n in (1, 3))
        )
        live(rig, lead(2, [(9, NEW)], phones=("123",)))
        deals = await read(rig.source, rig.all_time())
        assert deals["deal:1"].contacts == deals["deal:2"].contacts
        assert deals["deal:1"].contacts[0].phones == phones
        assert deals["deal:1"].contacts[0].emails == ("k@okna.example",)
        assert deals["lead:1"].contacts[0].phones == ("123",)
        assert "999" not in repr(deals)


# --- windows and changes -----------------------------------------------------------------------------------------


async def test_a_window_lists_what_was_modified_inside_it(tmp_path: Path) -> None:
    """Its start belongs to it, its end does not; the portal's zone plays no part."""
    async with running(tmp_path) as rig:
        for minute in range(5):
            add_deals(rig.portal, 1, START + timedelta(minutes=minute))
        window = Window(START + timedelta(minutes=1), START + timedelta(minutes=3))
        assert [head.key for head in await listed(rig.source, window)] == ["deal:2", "deal:3"]


async def test_templates_of_recurring_deals_are_no_deals(tmp_path: Path) -> None:
    """IS_RECURRING=Y is a template, not a sale (contract 4.2)."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 1, IS_RECURRING="Y")
        add_deals(rig.portal, 1)
        assert [head.key for head in await listed(rig.source, rig.all_time())] == ["deal:2"]
        assert [head.key for head in (await rig.source.fetch(["deal:1", "deal:2"])).heads] == ["deal:2"]


async def test_only_the_configured_entities_are_read(tmp_path: Path) -> None:
    """A portal without leads is not asked for leads."""
    async with running(tmp_path) as rig:
        live(rig, lead(2, SOLD))
        source = rig.another(entities=["deal"])
        assert set(await read(source, rig.all_time())) == {"deal:1"}
        assert {pipeline.id for pipeline in (await source.catalogue()).pipelines} == {"0", "1", "10"}
        assert "crm.lead.list" not in rig.asked


async def test_a_change_of_pipeline_hides_entries_but_the_current_stage_is_dated(tmp_path: Path) -> None:
    """After the move the portal shows only the new pipeline's entries (contract 6)."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 1)
        rig.clock.advance(timedelta(minutes=7))
        rig.portal.data.update(DEAL, 1, rig.clock.now(), {"CATEGORY_ID": "10", "STAGE_ID": "C10:PREPAYMENT_INVOIC"})
        deal = (await read(rig.source, rig.all_time()))["deal:1"]
        assert minutes(deal) == [("C10:PREPAYMENT_INVOIC", 7)]
        assert deal.pipeline == "10"


async def test_a_stage_added_after_the_start_gets_its_name(tmp_path: Path) -> None:
    """Names are read again when a record uses one that is not known."""
    async with running(tmp_path) as rig:
        live(rig, lead(1, [(0, NEW)]))
        await read(rig.source, rig.all_time())
        live(rig, lead(3, [(5, NEW)], origin="Выставка"))
        deals = await read(rig.source, rig.all_time())
        assert (deals["deal:2"].origin or ("", ""))[1] == "Выставка"


async def test_a_row_that_cannot_be_read_is_set_aside_alone(tmp_path: Path) -> None:
    """One broken sum among good ones: one BadRecord with a code, the others are deals."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 2)
        add_deals(rig.portal, 1, OPPORTUNITY="тысяча")
        heads = await listed(rig.source, rig.all_time())
        results = await rig.source.complete(heads, frozenset(), rig.all_time())
        assert [type(result) for result in results] == [Deal, Deal, BadRecord]
        assert isinstance(results[2], BadRecord)
        assert (results[2].key, results[2].code) == ("deal:3", "bad_amount")


class Restless(Bitrix24):
    """A portal where people work while it is read: before every list page something changes."""

    dice = random.Random(4)
    is_busy = False

    def _timed(self, name: str, params: Mapping[str, Any]) -> tuple[Reply, dict[str, Any]]:
        if self.is_busy and name in ("crm.deal.list", "crm.stagehistory.list"):
            self._work()
        return super()._timed(name, params)

    def _work(self) -> None:
        self.clock.advance(timedelta(seconds=1))  # type: ignore[attr-defined]  # the tests' clock can
        ids = self.data.tables[DEAL].ids
        stage = self.dice.choice(["C1:NEW", "C1:PREPARATION", "C1:UC_7QV3KD", "C1:LOSE"])
        self.data.update(DEAL, self.dice.choice(ids), self.clock.now(), {"STAGE_ID": stage})
        self.data.delete(DEAL, self.dice.choice(ids))
        self.data.add(DEAL, self.clock.now(), {"CATEGORY_ID": "1", "STAGE_ID": "C1:NEW"})


async def test_nothing_is_missed_while_records_change_between_pages(tmp_path: Path) -> None:
    """Two windows read one after the other see every living record in its last version, with its whole history."""
    async with running(tmp_path) as rig:
        portal = Restless(rig.clock, is_limited=False)
        await portal.start()
        add_deals(portal, 2000)
        source = rig.another(base_url=portal.base_url)
        deals: dict[str, Deal] = {}
        start = START - timedelta(days=1)
        for is_busy in (True, True, False):
            rig.clock.advance(timedelta(seconds=5))
            end = rig.clock.now()
            portal.is_busy = is_busy
            deals |= await read(source, Window(start, end))
            start = end - timedelta(minutes=10)
            rig.clock.advance(timedelta(seconds=5))
        deals |= await read(source, Window(start, rig.clock.now()))
        await portal.stop()
    entries = portal.data.history[DEAL].by_owner
    for number, record in portal.data.tables[DEAL].records.items():
        deal = deals[f"deal:{number}"]
        assert deal.updated_at.timestamp() == record.modified
        real = [(entry.stage, entry.at) for entry in entries[number]]
        assert [(change.stage, int(change.at.timestamp())) for change in deal.history] == real


async def test_a_portal_that_drops_the_date_filter_is_noticed(tmp_path: Path) -> None:
    """A classic list ignores filters it does not know without a word; old records then come back (contract 3.1)."""

    class Deaf(Bitrix24):
        def _timed(self, name: str, params: Mapping[str, Any]) -> tuple[Reply, dict[str, Any]]:
            wanted = params.get("filter", {})
            kept = {key: value for key, value in wanted.items() if "DATE_MODIFY" not in key}
            return super()._timed(name, {**params, "filter": kept} if wanted else params)

    async with running(tmp_path) as rig:
        portal = Deaf(rig.clock, is_limited=False)
        await portal.start()
        add_deals(portal, 3)
        source = rig.another(base_url=portal.base_url)
        with pytest.raises(Drift, match="date"):
            await listed(source, Window(START + timedelta(hours=1), START + timedelta(hours=2)))
        await portal.stop()


# --- requests ----------------------------------------------------------------------------------------------------


async def test_fifty_thousand_deals_take_twenty_one_requests(tmp_path: Path) -> None:
    """The first page, then fifty pages per batch: as few as the API permits; each deal comes once."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 50_000)
        source = rig.another(entities=["deal"])
        seen = [head.key for head in await listed(source, rig.all_time())]
        assert len(seen) == len(set(seen)) == 50_000
        assert rig.asked == {"batch": 21}


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 2549, 2550, 2551])
async def test_a_list_ends_exactly_where_it_ends(tmp_path: Path, count: int) -> None:
    """Also at the borders of pages and batches, where a broken reference would start the list again."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, count)
        seen = [head.key for head in await listed(rig.another(entities=["deal"]), rig.all_time())]
        assert seen == [f"deal:{number}" for number in range(1, count + 1)]
        assert rig.asked == {"batch": 1 + (count >= 50) + (count in (2550, 2551))}


async def test_history_and_contacts_share_as_few_requests_as_possible(tmp_path: Path) -> None:
    """2,550 deals with four stage entries and a contact each: 10,200 entries need 204 pages, contacts 51."""
    async with running(tmp_path) as rig:
        for number in range(1, 2551):
            rig.portal.data.add(CONTACT, START, {"NAME": "Ким", "PHONE": [f"+7999{number:07d}"]})
        for number in range(1, 2551):
            add_deals(rig.portal, 1, CONTACT_ID=str(number))
        for stage in ("C1:PREPARATION", "C1:UC_7QV3KD", "C1:WON"):
            rig.clock.advance(timedelta(hours=1))
            for number in range(1, 2551):
                rig.portal.data.update(DEAL, number, rig.clock.now(), {"STAGE_ID": stage})
        source = rig.another(entities=["deal"])
        await source.catalogue()
        rig.portal.requests.clear()
        deals = await read(source, rig.all_time())
        assert len(deals) == 2550
        assert {len(deal.history) for deal in deals.values()} == {4}
        assert {deal.contacts[0].phones for deal in deals.values()} == {(f"+7999{n:07d}",) for n in range(1, 2551)}
        assert sum(rig.asked.values()) <= 3 + 7


async def test_a_quiet_poll_costs_one_request(tmp_path: Path) -> None:
    """Nothing new: a short page of leads and one of deals come together."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 500)
        add_leads(rig.portal, 500)
        window = Window(START + timedelta(hours=1), START + timedelta(hours=2))
        assert await listed(rig.source, window) == []
        assert rig.asked == {"batch": 1}


async def test_a_few_changes_cost_one_more_request(tmp_path: Path) -> None:
    """History and contacts of a handful of records come together in one batch."""
    async with running(tmp_path) as rig:
        live(rig, *(lead(number, [(number, NEW), (90, CONTACTED)]) for number in range(1, 9)))
        await rig.source.catalogue()
        rig.portal.requests.clear()
        assert len(await read(rig.source, rig.all_time())) == 8
        assert rig.asked == {"batch": 3}


async def test_one_owner_with_hundreds_of_entries_is_read_whole(tmp_path: Path) -> None:
    """More pages than one batch holds are asked for in further ones."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 3)
        for number in range(2700):
            rig.clock.advance(timedelta(seconds=1))
            stage = ("C1:PREPARATION", "C1:NEW")[number % 2]
            rig.portal.data.update(DEAL, 1 + number % 2, rig.clock.now(), {"STAGE_ID": stage})
        deals = await read(rig.source, rig.all_time())
        for number in (1, 2, 3):
            real = [entry.at for entry in rig.portal.data.history[DEAL].by_owner[number]]
            assert [int(change.at.timestamp()) for change in deals[f"deal:{number}"].history] == real


async def test_a_history_the_portal_does_not_count_is_read_to_its_end(tmp_path: Path) -> None:
    """Without a total (or with 0) pages are asked for until a short one comes."""

    class Uncounted(Bitrix24):
        def _timed(self, name: str, params: Mapping[str, Any]) -> tuple[Reply, dict[str, Any]]:
            reply, spent = super()._timed(name, params)
            return (Reply(reply.result, 0) if name == "crm.stagehistory.list" else reply), spent

    async with running(tmp_path) as rig:
        portal = Uncounted(rig.clock, is_limited=False)
        await portal.start()
        add_deals(portal, 2)
        for number in range(220):
            rig.clock.advance(timedelta(seconds=1))
            stage = ("C1:PREPARATION", "C1:NEW")[number % 2]
            portal.data.update(DEAL, 1, rig.clock.now(), {"STAGE_ID": stage})
        deals = await read(rig.another(base_url=portal.base_url), rig.all_time())
        assert [len(deals[key].history) for key in ("deal:1", "deal:2")] == [221, 1]
        await portal.stop()


# --- trouble -----------------------------------------------------------------------------------------------------


async def test_under_trouble_a_read_is_right_or_an_error_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """503, 502, cut bodies, lost connections: never a wrong record, never the webhook's code in a text."""
    async with running(tmp_path) as rig:
        live(rig, *(lead(number, SOLD) for number in range(1, 30)))
        add_deals(rig.portal, 60)
        calm = await read(rig.source, rig.all_time())
        rig.portal.faults = faults = FaultPlan.harsh(3)
        good, texts = 0, ""
        for _ in range(30):
            try:
                assert await read(rig.source, rig.all_time()) == calm
                good += 1
            except BridgeError as error:
                texts += f"{error!r}"
        assert good >= 10
        assert sum(faults.drawn.values()) >= 20
        assert "k3v9x2m8q4w7t1z5" not in texts + capsys.readouterr().out


async def test_a_portal_that_cannot_answer_large_batches_gets_smaller_ones(tmp_path: Path) -> None:
    """Requests over 60 seconds are cut off; the walk goes on in smaller steps instead of failing for ever."""

    class Slow(Bitrix24):
        def _run(self, name: str, params: Mapping[str, Any]) -> Any:
            if name == "batch" and len(params["cmd"]) > 12:
                return self.unavailable(None)  # type: ignore[arg-type]  # the request is not looked at
            return super()._run(name, params)

    async with running(tmp_path) as rig:
        portal = Slow(rig.clock, is_limited=False)
        await portal.start()
        add_deals(portal, 1500)
        source = rig.another(base_url=portal.base_url, entities=["deal"])
        assert len(await listed(source, rig.all_time())) == 1500
        await portal.stop()


async def test_a_loss_reason_field_is_read_where_it_is_filled(tmp_path: Path) -> None:
    """Configured by label; else the failure stage is the reason."""
    field = CustomField("UF_CRM_68F1C0DE4A7B9", "Почему", "enumeration", items={"7": "Спам"})
    async with running(tmp_path, fields=(field,)) as rig:
        for value in ("7", None):
            rig.portal.data.add(DEAL, START, {"CATEGORY_ID": "1", "STAGE_ID": "C1:LOSE", field.code: value})
        deals = await read(rig.another(loss_reason_field="почему"), rig.all_time())
        assert deals["deal:1"].loss_reason == ("7", "Спам")
        assert deals["deal:2"].loss_reason == ("C1:LOSE", "Закрыто и не реализовано")


async def test_completing_nothing_asks_nothing(tmp_path: Path) -> None:
    """No heads, no requests."""
    async with running(tmp_path) as rig:
        assert await rig.source.complete([], frozenset(), rig.all_time()) == []
        with suppress(BridgeError):
            await rig.source.close()
        assert rig.asked == {}


async def test_leads_of_a_simple_portal_are_converted_at_once(tmp_path: Path) -> None:
    """CRM mode 2: the lead is closed as it comes and the deal carries on (contract 5)."""
    async with running(tmp_path, mode="simple") as rig:
        live(rig, lead(1, SOLD))
        deals = await read(rig.source, rig.all_time())
        assert [stage for stage, _ in minutes(deals["lead:1"])] == ["NEW", "CONVERTED"]
        assert deals["deal:1"].history[0].stage == "C1:NEW"
        assert rig.portal.data.record(LEAD, 1).row["DATE_CLOSED"]


async def test_goals_can_ask_whether_a_customer_came_back(tmp_path: Path) -> None:
    """IS_RETURN_CUSTOMER and IS_REPEATED_APPROACH are fields like custom ones, of leads as far as leads have them."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 1, IS_RETURN_CUSTOMER="Y", IS_REPEATED_APPROACH="N")
        add_deals(rig.portal, 1)
        add_leads(rig.portal, 1, IS_RETURN_CUSTOMER="Y")
        deals = await read(rig.source, rig.all_time())
        when = {"field": {"IS_RETURN_CUSTOMER": "N", "IS_REPEATED_APPROACH": "N"}}
        goals = [Goal.model_validate({"name": "new", "when": when})]
        compiled = compile_goals(goals, await rig.source.catalogue(), "RUB")
        assert compiled.problems == ()
        floor = Floor(START - timedelta(days=1))
        verdicts = {
            key: judge(compiled.goals[0], Case(item, "b24", START), floor).verdict for key, item in deals.items()
        }
        assert [key for key, verdict in verdicts.items() if verdict is Verdict.QUALIFIED] == ["deal:2"]
        assert deals["lead:1"].fields["IS_RETURN_CUSTOMER"] == ("Y",)
        assert "IS_REPEATED_APPROACH" not in deals["lead:1"].fields


async def test_plain_dates_have_no_clock_and_no_zone(tmp_path: Path) -> None:
    """CLOSEDATE, BEGINDATE and custom dates come with the zone's offset as their clock: only the date counts."""
    field = CustomField("UF_CRM_1751203399", "Дата монтажа", "date")
    day = "2026-03-14T03:00:00+03:00"
    async with running(tmp_path, fields=(field,), processes=(1032,)) as rig:
        add_deals(rig.portal, 1, UF_CRM_1751203399=day)
        rig.portal.data.update(DEAL, 1, START, {"CLOSEDATE": day})
        rig.portal.data.add("item:1032", START, {"CATEGORY_ID": "5", "STAGE_ID": "DT1032_5:NEW", "CLOSEDATE": day})
        deals = await read(rig.source, rig.all_time())
        assert {key: deal.fields["CLOSEDATE"] for key, deal in deals.items()} == {
            "deal:1": ("2026-03-14",),
            "item:1032-1": ("2026-03-14",),
        }
        assert deals["deal:1"].fields["BEGINDATE"] == ("2026-03-02",)
        assert deals["deal:1"].fields["Дата монтажа"] == deals["deal:1"].fields[field.code] == ("2026-03-14",)
        assert deals["deal:1"].closed_at is None
        when = {"field": {"CLOSEDATE": {">=": "2026-03-14"}, "BEGINDATE": {"<": "2026-03-03"}}}
        goals = compile_goals([Goal.model_validate({"name": "a", "when": when})], await rig.source.catalogue(), "RUB")
        assert goals.problems == ()
        floor = Floor(START - timedelta(days=1))
        assert judge(goals.goals[0], Case(deals["deal:1"], "b24", START), floor).verdict is Verdict.QUALIFIED
