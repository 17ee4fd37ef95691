"""Oddities of Bitrix24 that no other file is about: nothing is lost, doubled or misdated by them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.bitrix24 import vanished, wire
from adapters.bitrix24.fake_schema import DEAL, LEAD, CustomField, Status
from bridge.clues import read as identify
from bridge.config import Goal
from bridge.errors import AuthError, BridgeError, Refused
from bridge.model import Deal, Outcome, Verdict
from bridge.ports import Window
from bridge.rules.case import Case
from bridge.rules.floor import Floor
from bridge.rules.goals import compile_goals
from bridge.rules.qualify import judge
from bridge.tools import Request, Response
from tests.adapters.bitrix24.kit import YCLID, add_deals, add_leads, listed, read, running
from tests.support import START

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
VIP = CustomField("UF_CRM_VIP", "Новый клиент", "boolean")


@pytest.mark.parametrize(("value", "expected"), [
    (True, True), ("1", True), ("Y", True), (False, False), ("0", False), ("N", False), (None, None), ("", None),
])  # fmt: skip
async def test_yes_and_no_are_read_however_the_portal_writes_them(
    tmp_path: Path, value: Any, expected: bool | None
) -> None:
    """JSON, 1 and 0, or Y and N (contract 4.3, 17): a goal may ask for either, as a word or as true and false; an
    empty field is neither."""
    conditions = {"true": True, "false": False, "y": "Y", "n": "N"}
    async with running(tmp_path, fields=(VIP,)) as rig:
        add_deals(rig.portal, 1, UF_CRM_VIP=value)
        deal = (await read(rig.source, rig.all_time()))["deal:1"]
        goals = [
            Goal.model_validate({"name": name, "when": {"field": {VIP.label: wanted}}})
            for name, wanted in conditions.items()
        ]
        compiled = compile_goals(goals, await rig.source.catalogue(), "RUB")
    verdicts = {
        goal.name: judge(goal, Case(deal, "b24", START), Floor(START - HOUR)).verdict for goal in compiled.goals
    }
    reached = {name for name, verdict in verdicts.items() if verdict is Verdict.QUALIFIED}
    assert reached == {True: {"true", "y"}, False: {"false", "n"}, None: set()}[expected]


async def test_a_directory_of_more_than_a_page_is_read_whole(tmp_path: Path) -> None:
    """Fifty rows are documented, further pages are not (contract 5, 17): where the portal names one it is asked for."""
    async with running(tmp_path) as rig:
        for number in range(120):
            rig.portal.data.add_status(Status("DEAL_STAGE_1", f"C1:UC_{number}", f"Шаг {number}", "", 1))
        add_deals(rig.portal, 1, STAGE_ID="C1:UC_119")
        await read(rig.source, rig.all_time())
        sales = next(item for item in (await rig.source.catalogue()).pipelines if item.id == "1")
    assert {f"Шаг {number}" for number in range(120)} <= {stage.name for stage in sales.stages}


async def test_a_failure_stage_made_after_the_start_is_a_reason_with_a_name(tmp_path: Path) -> None:
    """Codes of such stages are generated (contract 5): the directory is read again for one that is not known."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 1)
        assert (await read(rig.source, rig.all_time()))["deal:1"].outcome is Outcome.OPEN
        rig.portal.data.add_status(Status("DEAL_STAGE_1", "C1:UC_8KQ2ZD", "Дорого", "F", 1))
        rig.portal.data.update(DEAL, 1, START, {"STAGE_ID": "C1:UC_8KQ2ZD"})
        deal = (await read(rig.source, rig.all_time()))["deal:1"]
    assert (deal.outcome, deal.loss_reason) == (Outcome.LOST, ("C1:UC_8KQ2ZD", "Дорого"))


async def test_a_sum_keeps_the_currency_of_its_record(tmp_path: Path) -> None:
    """``CURRENCY_ID`` (contract 12): nothing is converted; a record without one is in the tenant's."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 1, OPPORTUNITY="100.50", CURRENCY_ID="USD")
        add_deals(rig.portal, 1, OPPORTUNITY="100.50", CURRENCY_ID="")
        deals = await read(rig.source, rig.all_time())
    assert [str(deals[f"deal:{number}"].value) for number in (1, 2)] == ["100.50 USD", "100.50 RUB"]


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_lead_taken_up_again_is_not_closed(tmp_path: Path, *, keeps: bool) -> None:
    """Whether ``DATE_CLOSED`` is emptied then is not verified (contract 17): the stage decides."""
    async with running(tmp_path) as rig:
        rig.portal.data.keeps_closed = keeps
        add_leads(rig.portal, 1)
        for minute, stage in ((5, "JUNK"), (9, "IN_PROCESS")):
            rig.portal.data.update(LEAD, 1, START + minute * MINUTE, {"STATUS_ID": stage})
        rig.clock.advance(HOUR)
        assert bool(rig.portal.data.record(LEAD, 1).row["DATE_CLOSED"]) is keeps
        deal = (await read(rig.source, rig.all_time()))["lead:1"]
    assert (deal.outcome, deal.closed_at) == (Outcome.OPEN, None)
    assert [change.outcome for change in deal.history] == [Outcome.OPEN, Outcome.LOST, Outcome.OPEN]


@pytest.mark.parametrize("is_touched", [True, False])
async def test_a_restored_record_is_read_again(tmp_path: Path, *, is_touched: bool) -> None:
    """By the next window if restoring moves its time, else by whatever names it: an event, a backfill (contract 17)."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 2)
        record = rig.portal.data.record(DEAL, 1)
        rig.portal.data.delete(DEAL, 1)
        rig.clock.advance(HOUR)
        gone = (await rig.source.fetch(["deal:1"])).heads
        (deleted,) = await rig.source.complete(gone, frozenset(), rig.all_time())
        assert isinstance(deleted, Deal)
        assert deleted.is_deleted
        rig.portal.data.restore(DEAL, record, rig.clock.now() if is_touched else None)
        window = Window(rig.clock.now() - MINUTE, rig.clock.now() + MINUTE)
        assert [head.key for head in await listed(rig.source, window)] == (["deal:1"] if is_touched else [])
        back = (await rig.source.fetch(["deal:1"])).heads
        (restored,) = await rig.source.complete(back, frozenset(), rig.all_time())
        assert isinstance(restored, Deal)
    assert (restored.is_deleted, restored.stage) == (False, "C1:NEW")
    assert back[0].version != gone[0].version


async def test_a_pipeline_the_user_may_not_see_hides_its_name_alone(tmp_path: Path) -> None:
    """``crm.category.list`` leaves it out (contract 5): a deal of it that is listed all the same is read, and sold."""
    async with running(tmp_path) as rig:
        rig.portal.data.add(DEAL, START, {"CATEGORY_ID": "10", "STAGE_ID": "C10:NEW", "OPPORTUNITY": "5.00"})
        rig.portal.data.update(DEAL, 1, START + MINUTE, {"STAGE_ID": "C10:WON"})
        rig.clock.advance(HOUR)
        rig.portal.data.categories[DEAL] = {0: "Общая", 1: "Продажи"}
        deal = (await read(rig.source, rig.all_time()))["deal:1"]
    assert (deal.pipeline, deal.stage, deal.outcome, str(deal.value)) == ("10", "C10:WON", Outcome.WON, "5.00 RUB")


async def test_quotes_around_an_address_do_not_stick_to_the_click_id(tmp_path: Path) -> None:
    """Comments and titles may hold any character; PHP sends slashes as ``\\/`` (contract 2, 15.20)."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 1, COMMENTS=f'Страница "https://okna.example/?yclid={YCLID}", «перезвонить»')
        deal = (await read(rig.source, rig.all_time()))["deal:1"]
    assert [item.value for item in identify(deal).identifiers] == [YCLID]


@pytest.mark.parametrize("text", ["Not found", "Not found.", "Lead is not found"])
def test_a_deleted_record_has_several_texts(text: str) -> None:
    """Classic methods have no code for it (contract 11, 14); a missing right has another text."""
    assert vanished._is_not_found(wire.CommandError("", text))
    assert not vanished._is_not_found(wire.CommandError("", "Access denied"))
    assert not vanished._is_not_found(wire.CommandError("ACCESS_DENIED", text))


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        *((code, 401, AuthError) for code in ("NO_AUTH_FOUND", "PAYMENT_REQUIRED", "APPLICATION_NOT_FOUND")),
        *((code, 401, AuthError) for code in ("ERROR_OAUTH", "NOT_INSTALLED", "METHOD_CONFIRM_WAITING")),
        *((code, 403, AuthError) for code in ("METHOD_CONFIRM_DENIED", "WRONG_AUTH_TYPE", "user_access_error")),
        *((code, 403, AuthError) for code in ("allowed_only_intranet_user", "insufficient_scope", "PORTAL_DELETED")),
        *((code, 401, AuthError) for code in ("user_access_error", "OVERLOAD_LIMIT", "ACCESS_DENIED")),
        ("PORTAL_DELETED", 410, AuthError),
        ("INVALID_REQUEST", 400, Refused),
        ("ERROR_CORE", 400, Refused),
        ("ERROR_ARGUMENT", 400, Refused),
        ("WRONG_ENCODING", 200, Refused),
    ],
)
def test_the_rarer_codes_have_their_recovery_too(code: str, status: int, kind: type[BridgeError]) -> None:
    """Contract 1.3: what a person has to put right stops the account at once, whatever the status beside it."""
    answer = Response(status, {}, msgspec.json.encode({"error": code, "error_description": "x"}))
    with pytest.raises(kind) as caught:
        wire.judge(Request("POST", "crm.deal.list", is_safe=True, scope="crm.deal.list"), answer, lambda scope: None)
    assert type(caught.value) is kind
    assert not isinstance(caught.value, AuthError) or caught.value.is_final
