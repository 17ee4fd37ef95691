"""A Bitrix24 portal's own turns: leads that become deals, deals that change pipeline, are reopened, come back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.bitrix24.fake import YCLID, Bitrix24
from adapters.bitrix24.fake_schema import DEAL, LEAD
from bridge.compose import Installation
from bridge.explain import explain
from bridge.sim.events import Carrier, Click, StageName, Step
from bridge.sim.events import Lead as Story
from bridge.sim.stage import METRICA, METRICA_TARGETS, Cast
from bridge.store.reports import Reports
from tests.simulation.kit import START, Play, know, play, staged, tell

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
CAME = START + timedelta(days=1)
CLICK = "17751100000000000001"
QUALIFIED, WON = "C1:UC_7QV3KD", "C1:WON"
SALE = METRICA_TARGETS["sale"]


@dataclass(slots=True)
class Portal:
    """A running business whose CRM the test writes to by hand."""

    made: Play
    crm: Bitrix24

    def add(self, hours: float, **fields: Any) -> str:
        """A deal of "Продажи", created so many hours after the first click."""
        at = self._at(hours)
        number = self.crm.data.add(DEAL, at, {"CATEGORY_ID": "1", "STAGE_ID": "C1:NEW", YCLID: CLICK, **fields})
        return f"deal:{number}"

    def change(self, hours: float, kind: str = DEAL, number: int = 1, **fields: Any) -> None:
        self.crm.data.update(kind, number, self._at(hours), fields)

    def _at(self, hours: float) -> datetime:
        at = CAME + hours * HOUR
        self.made.stage.advance(at)
        return at

    async def seen(self) -> None:
        """A poll, a minute later: what happened this very second is left to the next one."""
        await self.made.turn(MINUTE)

    async def counted(self) -> dict[str, tuple[float, Decimal | None]]:
        """What Metrica counts in the end: target -> hours after the click, and value."""
        for _ in range(3):
            await self.made.turn(6 * HOUR)
        assert self.made.problems == []
        applied = self.made.stage.scenes[0].ads[METRICA].applied()
        assert all(row.reaches == 1 for row in applied)
        assert len({row.target for row in applied}) == len(applied)
        return {row.target: ((row.at - CAME) / HOUR, row.value) for row in applied}

    async def explained(self, key: str) -> dict[str, Any]:
        scene = self.made.stage.scenes[0]
        tenant = await self.made.installation.tenant(scene.tenant)
        return await explain(tenant, await Reports(self.made.installation.store).deal(scene.tenant, "crm", key))


@asynccontextmanager
async def business(folder: Path, **options: Any) -> AsyncIterator[Portal]:
    """A portal in which nothing has happened but one click."""
    cast = Cast(1, START, days=3, leads=0, kinds=("bitrix24",), crm_options=options)
    async with play(folder, staged(cast)) as made:
        await made.turn()
        crm = made.stage.scenes[0].crm
        assert isinstance(crm, Bitrix24)
        know(made.stage.scenes[0], click())
        made.stage.advance(CAME)
        yield Portal(made, crm)


def click() -> Click:
    return Click(1, CAME - HOUR, 1, f"https://okna.example/?yclid={CLICK}", "", CLICK, None)


# --- leads that become deals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_copied", [True, False])
@pytest.mark.parametrize("is_seen_between", [True, False])
async def test_a_converted_lead_and_its_deal_are_one_sale(
    tmp_path: Path, is_copied: bool, is_seen_between: bool
) -> None:
    """With the lead's custom fields copied to the deal or not, the sale is sent once, for the click of the lead."""
    steps = (
        Step(CAME, StageName.NEW),
        Step(CAME + HOUR, StageName.QUALIFIED),
        Step(CAME + 9 * HOUR, StageName.WON, None, Decimal(25000)),
    )
    carrier = Carrier.FIELD if is_copied else Carrier.CONVERTED
    story = Story(2, 1, CAME, "Иван Тестов", ("+79990000001",), (), click(), carrier, "", "Сайт", (), steps)
    async with business(tmp_path) as portal:
        for number in range(3):
            tell(portal.made.stage.scenes[0], story, portal.made.stage, slice(number, number + 1))
            if is_seen_between:
                await portal.seen()
        assert await portal.counted() == {
            METRICA_TARGETS["qualified"]: (1, None),
            SALE: (9, Decimal("25000.00")),
        }
        assert portal.crm.deal_key(2) == "deal:1"
        deal = await portal.explained("deal:1")
        assert deal["match"]["method"] == ("field" if is_copied else "lead")
        assert deal["deal"]["parent"] == "lead:1"


async def test_a_sale_of_a_lead_that_was_sold_without_a_deal_is_not_there(tmp_path: Path) -> None:
    """A lead's success stage means "converted": without a deal nothing was sold."""
    async with business(tmp_path) as portal:
        portal.crm.data.add(LEAD, CAME, {"STATUS_ID": "NEW", YCLID: CLICK})
        portal.change(2, LEAD, STATUS_ID="CONVERTED", OPPORTUNITY="500.00")
        assert await portal.counted() == {}


# --- history and its gaps ----------------------------------------------------------------------------------------


async def test_two_moves_between_polls_both_count(tmp_path: Path) -> None:
    """The record shows only the last stage; its history has both, with their seconds."""
    async with business(tmp_path) as portal:
        portal.add(0)
        portal.change(1, STAGE_ID=QUALIFIED)
        portal.change(1.5, STAGE_ID=WON, OPPORTUNITY="700.00")
        assert await portal.counted() == {METRICA_TARGETS["qualified"]: (1, None), SALE: (1.5, Decimal("700.00"))}


async def test_a_change_of_pipeline_loses_nothing_that_was_read(tmp_path: Path) -> None:
    """The portal then hides the earlier rows; ours stay, in order, and the sale in the new pipeline follows them."""
    async with business(tmp_path) as portal:
        key = portal.add(0)
        portal.change(1, STAGE_ID=QUALIFIED)
        await portal.seen()
        portal.change(3, CATEGORY_ID="10", STAGE_ID="C10:PREPAYMENT_INVOIC")
        await portal.seen()
        portal.change(5, STAGE_ID="C10:WON", OPPORTUNITY="90.00")
        assert await portal.counted() == {METRICA_TARGETS["qualified"]: (1, None), SALE: (5, Decimal("90.00"))}
        history = (await portal.explained(key))["deal"]["history"]
        assert [(item["stage"], item["source"]) for item in history] == [
            ("C1:NEW", "stage history"),
            (QUALIFIED, "stage history"),
            ("C10:PREPAYMENT_INVOIC", "stage history"),
            ("C10:WON", "stage history"),
        ]
        portal.change(30, CATEGORY_ID="1", STAGE_ID="C1:NEW")
        await portal.seen()
        again = [item["stage"] for item in (await portal.explained(key))["deal"]["history"]]
        assert again == [item["stage"] for item in history] + ["C1:NEW"]


async def test_what_a_change_of_pipeline_hid_before_it_was_read_is_not_invented(tmp_path: Path) -> None:
    """No poll saw the deal qualified and the portal tells no more: the gap stays, the sale after it counts."""
    async with business(tmp_path) as portal:
        portal.add(0)
        portal.change(1, STAGE_ID=QUALIFIED)
        portal.change(2, CATEGORY_ID="10", STAGE_ID="C10:NEW")
        portal.change(5, STAGE_ID="C10:WON", OPPORTUNITY="90.00")
        assert await portal.counted() == {SALE: (5, Decimal("90.00"))}


async def test_a_stage_without_history_is_dated_by_the_record(tmp_path: Path) -> None:
    """MOVED_TIME stands in, and ``explain`` says so; an edit an hour later does not move it."""
    async with business(tmp_path) as portal:
        key = portal.add(0)
        portal.change(2, STAGE_ID=WON, OPPORTUNITY="50.00")
        portal.crm.data.history[DEAL].by_owner.clear()
        portal.change(3, TITLE="Окна")
        assert await portal.counted() == {SALE: (2, Decimal("50.00"))}
        verdicts = {item["goal"]: item["reason"] for item in (await portal.explained(key))["judgements"]}
        assert verdicts["sale"] == "from record"


async def test_a_deal_reopened_after_it_was_won_is_one_sale(tmp_path: Path) -> None:
    """Won, reopened, won again with another sum: one sale at the first moment, at its latest value."""
    async with business(tmp_path) as portal:
        portal.add(0)
        portal.change(1, STAGE_ID=WON, OPPORTUNITY="100.00")
        await portal.seen()
        portal.change(2, STAGE_ID="C1:EXECUTING")
        await portal.seen()
        portal.change(4, STAGE_ID=WON, OPPORTUNITY="120.00")
        assert await portal.counted() == {SALE: (1, Decimal("120.00"))}


async def test_a_stage_that_is_left_and_entered_again_counts_once(tmp_path: Path) -> None:
    """Qualified twice is qualified at the first time, whether or not a poll lies between."""
    async with business(tmp_path) as portal:
        key = portal.add(0)
        for hours, stage in ((1, QUALIFIED), (2, "C1:NEW"), (3, QUALIFIED)):
            portal.change(hours, STAGE_ID=stage)
        assert await portal.counted() == {METRICA_TARGETS["qualified"]: (1, None)}
        history = (await portal.explained(key))["deal"]["history"]
        assert [item["stage"] for item in history] == ["C1:NEW", QUALIFIED, "C1:NEW", QUALIFIED]


# --- imports -----------------------------------------------------------------------------------------------------


async def test_imported_deals_are_read_after_a_restart_too(tmp_path: Path) -> None:
    """Their own times lie a day before every window to come: found behind the highest id, their sale is counted."""
    async with business(tmp_path) as portal:
        portal.add(0, STAGE_ID="C1:NEW")
        portal.made.stage.advance(CAME + 30 * HOUR)
        await portal.seen()
        made = portal.made
        await made.installation.close()
        made.installation = await Installation.open(made.config, made.stage.clock, seed=1)
        at = CAME + 2 * HOUR
        portal.crm.data.add(DEAL, at, {"CATEGORY_ID": "1", "STAGE_ID": WON, YCLID: CLICK, "OPPORTUNITY": "60.00"})
        assert await portal.counted() == {SALE: (2, Decimal("60.00"))}
        await made.installation.close()
