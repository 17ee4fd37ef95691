"""Smart processes are read like leads and deals: by the universal list, with typed values and stages of their own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.bitrix24 import entities
from adapters.bitrix24.fake_schema import CONTACT, CustomField
from adapters.bitrix24.settings import Bitrix24Settings
from bridge.clues import read as identify
from bridge.config import Goal
from bridge.errors import Drift, Refused
from bridge.model import DealKind, Outcome
from bridge.ports import Level, Window
from bridge.rules.case import Case
from bridge.rules.floor import Floor
from bridge.rules.goals import compile_goals
from bridge.rules.qualify import judge
from tests.adapters.bitrix24.kit import YCLID, Rig, add_deals, add_leads, listed, read, running
from tests.support import START

ITEM = "item:1032"
SECTION = {"kind": "bitrix24", "base_url": "https://okna.bitrix24.ru", "auth": {"webhook": {"env": "X"}}}
SPAM = CustomField("UF_CRM_3_1751203401", "Почему", "enumeration", items={"7": "Спам"})


def add_items(rig: Rig, count: int, minute: int = 0, **fields: Any) -> None:
    """Items of the pipeline "Монтаж"."""
    for _ in range(count):
        at = START + timedelta(minutes=minute)
        rig.portal.data.add(ITEM, at, {"CATEGORY_ID": "5", "STAGE_ID": "DT1032_5:NEW", **fields})


def move(rig: Rig, minute: int, **fields: Any) -> None:
    rig.clock.set(START + timedelta(minutes=minute))
    rig.portal.data.update(ITEM, 1, rig.clock.now(), fields)


async def test_an_item_is_read_whole(tmp_path: Path) -> None:
    """Its key names the process; money, clues, contact, parent and the times of its stages are those of a deal."""
    async with running(tmp_path, processes=(1032,)) as rig:
        rig.portal.data.add(CONTACT, START, {"PHONE": ["+79990001122"]})
        add_leads(rig.portal, 1, UF_CRM_YCLID=YCLID)
        add_items(rig, 1, OPPORTUNITY="48500.50", CONTACT_ID="1", PARENT_ID_1="1", UF_CRM_YCLID=YCLID, UTM_SOURCE="ya")
        move(rig, 5, STAGE_ID="DT1032_5:PREPARATION")
        move(rig, 9, STAGE_ID="DT1032_5:SUCCESS")
        deal = (await read(rig.source, rig.all_time()))["item:1032-1"]
        assert (deal.kind, deal.id, deal.key) == (DealKind.ITEM, "1032-1", "item:1032-1")
        assert (deal.pipeline, deal.stage, deal.outcome) == ("1032-5", "DT1032_5:SUCCESS", Outcome.WON)
        assert [(item.stage, item.at - START, item.outcome, item.source) for item in deal.history] == [
            ("DT1032_5:NEW", timedelta(minutes=0), Outcome.OPEN, "stage history"),
            ("DT1032_5:PREPARATION", timedelta(minutes=5), Outcome.OPEN, "stage history"),
            ("DT1032_5:SUCCESS", timedelta(minutes=9), Outcome.WON, "stage history"),
        ]
        assert (str(deal.value), deal.closed_at) == ("48500.50 RUB", START + timedelta(minutes=9))
        assert (deal.parent, deal.contacts[0].phones) == ("lead:1", ("+79990001122",))
        assert [item.value for item in identify(deal).identifiers] == [YCLID]
        assert {clue.where for clue in deal.clues} == {"field UF_CRM_YCLID", "utm_source"}


async def test_numbers_and_nulls_are_read_as_what_they_mean(tmp_path: Path) -> None:
    """0 is no reference, null no time, a whole sum a number without a point (contract 3.1)."""
    async with running(tmp_path, processes=(1032,)) as rig:
        add_items(rig, 1, OPPORTUNITY="19000.00")
        rig.portal.data.record(ITEM, 1).row.pop("MOVED_TIME")
        deal = (await read(rig.source, rig.all_time()))["item:1032-1"]
        assert (str(deal.value), deal.parent, deal.contacts, deal.origin) == ("19000.00 RUB", None, (), None)
        assert deal.closed_at is None


async def test_records_of_one_number_in_three_entities_do_not_meet(tmp_path: Path) -> None:
    """A lead, a deal and items of two processes may all have the id 1; histories stay with their owners."""
    async with running(tmp_path, processes=(1032, 140)) as rig:
        add_leads(rig.portal, 1)
        add_deals(rig.portal, 1)
        add_items(rig, 1)
        rig.portal.data.add("item:140", START, {"CATEGORY_ID": "7", "STAGE_ID": "DT140_7:NEW"})
        deals = await read(rig.source, rig.all_time())
        assert {key: deal.history[0].stage for key, deal in deals.items()} == {
            "lead:1": "NEW",
            "deal:1": "C1:NEW",
            "item:1032-1": "DT1032_5:NEW",
            "item:140-1": "DT140_7:NEW",
        }
        assert [head.key for head in (await rig.source.fetch(["item:140-1", "item:1032-1"])).heads] == [
            "item:140-1",
            "item:1032-1",
        ]


async def test_many_items_are_read_by_chained_pages(tmp_path: Path) -> None:
    """The keyset of the universal list: fifty pages in a request, each behind the last id of the one before."""
    async with running(tmp_path, processes=(1032,)) as rig:
        add_items(rig, 2_713)
        source = rig.another(entities=[ITEM])
        await source.catalogue()
        rig.portal.requests.clear()
        heads = await listed(source, rig.all_time())
        assert [head.key for head in heads] == [f"item:1032-{number}" for number in range(1, 2_714)]
        assert rig.asked == {"batch": 3}


async def test_a_window_holds_for_items_too(tmp_path: Path) -> None:
    """``updatedTime`` bounds, start included, end not."""
    async with running(tmp_path, processes=(1032,)) as rig:
        for minute in range(4):
            add_items(rig, 1, minute)
        window = Window(START + timedelta(minutes=1), START + timedelta(minutes=3))
        assert [head.key for head in await listed(rig.source, window)] == ["item:1032-2", "item:1032-3"]


async def test_the_catalogue_names_pipelines_and_fields_of_processes(tmp_path: Path) -> None:
    """Stages come from the directory DYNAMIC_1032_STAGE_5; fields are known by their upper-case code and label."""
    async with running(tmp_path, processes=(1032,), fields=(SPAM,)) as rig:
        found = await rig.another(loss_reason_field="Почему").catalogue()
        pipelines = {pipeline.id: pipeline for pipeline in found.pipelines if pipeline.kind is DealKind.ITEM}
        assert {name: item.name for name, item in pipelines.items()} == {"1032-5": "Монтаж", "1032-7": "Сервис"}
        assert pipelines["1032-5"].stages[3].outcome is Outcome.WON
        assert {"UF_CRM_3_1751203401", "Почему"} <= set(found.fields)
        assert ("7", "Спам") in found.loss_reasons
        add_items(rig, 1, STAGE_ID="DT1032_5:FAIL", UF_CRM_3_1751203401="7")
        deals = await read(rig.another(loss_reason_field="Почему"), rig.all_time())
        assert deals["item:1032-1"].loss_reason == ("7", "Спам")


async def test_goals_are_reached_by_items(tmp_path: Path) -> None:
    """By stage name, by pipeline and stage, by pipeline id, and by outcome; another pipeline's stage does not count."""
    async with running(tmp_path, processes=(1032,)) as rig:
        add_items(rig, 1)
        move(rig, 5, STAGE_ID="DT1032_5:CLIENT")
        move(rig, 9, STAGE_ID="DT1032_5:SUCCESS")
        item = (await read(rig.source, rig.all_time()))["item:1032-1"]
        conditions: dict[str, dict[str, Any]] = {
            "name": {"stage": "Монтаж идёт"},
            "path": {"stage": "Монтаж/Монтаж идёт"},
            "id": {"stage": "1032-5/DT1032_5:CLIENT"},
            "won": {"outcome": "won", "pipeline": "Монтаж"},
            "other": {"stage": "Сервис/Монтаж идёт"},
            "deals": {"pipeline": "Продажи", "outcome": "won"},
        }
        goals = [Goal.model_validate({"name": name, "when": when}) for name, when in conditions.items()]
        compiled = compile_goals(goals, await rig.source.catalogue(), "RUB")
        assert compiled.problems == ()
        found = [judge(goal, Case(item, "b24", START), Floor(START - timedelta(days=1))) for goal in compiled.goals]
        reached = {verdict.goal: verdict.occurred_at for verdict in found if verdict.occurred_at}
        client, won = START + timedelta(minutes=5), START + timedelta(minutes=9)
        assert reached == {"name": client, "path": client, "id": client, "won": won}


async def test_check_reads_a_process_and_names_one_that_is_not_there(tmp_path: Path) -> None:
    """A wrong number is a finding under its own name; the others still come."""
    async with running(tmp_path, processes=(1032,)) as rig:
        add_items(rig, 1)
        levels = {item.subject: item.level for item in await rig.source.check()}
        assert (levels[ITEM], levels["deals"]) == (Level.OK, Level.OK)
        found = await rig.another(entities=["deal", "item:999"]).check()
        assert {item.subject: item.level for item in found}["item:999"] is Level.ERROR
        with pytest.raises(Refused):
            await rig.another(entities=["item:999"]).catalogue()


async def test_items_from_before_the_window_are_an_alarm(tmp_path: Path) -> None:
    """The re-check of each row's time holds for the universal list as well."""
    async with running(tmp_path, processes=(1032,)) as rig:
        add_items(rig, 1)
        rig.portal.data.record(ITEM, 1).row["DATE_MODIFY"] = (START - timedelta(days=900)).isoformat()
        with pytest.raises(Drift, match=r"crm\.item\.list"):
            await listed(rig.source, rig.all_time())


@pytest.mark.parametrize("name", ["item:127", "item:", "item:x", "item", "Deal", "company", "item:1032-5"])
def test_an_entity_that_is_none_is_refused(name: str) -> None:
    """Smart processes begin at 128; the message shows how to write them."""
    with pytest.raises(ValueError, match="item:1032"):
        Bitrix24Settings.model_validate({**SECTION, "entities": [name]})


def test_an_entity_named_twice_is_refused() -> None:
    """Each record would be read twice."""
    with pytest.raises(ValueError, match="twice"):
        Bitrix24Settings.model_validate({**SECTION, "entities": ["deal", "deal"]})


@pytest.mark.parametrize(
    ("name", "key", "directories"),
    [
        ("lead", "lead:15", ["STATUS"]),
        ("deal", "deal:15", ["DEAL_STAGE", "DEAL_STAGE_5"]),
        (ITEM, "item:1032-15", ["DYNAMIC_1032_STAGE_0", "DYNAMIC_1032_STAGE_5"]),
    ],
)
def test_keys_lead_back_to_entity_and_id(name: str, key: str, directories: list[str]) -> None:
    """And each pipeline to its directory of stages (contract 5)."""
    entity = entities.named(name)
    assert (entity.key(15), entities.prefix_of(key), entities.id_of(key)) == (key, entity.prefix, "15")
    numbers = [0, 5][: len(directories)]
    assert [entity.stage_directory(number) for number in numbers] == directories
