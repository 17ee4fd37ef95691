"""One order per deal, played through: whatever goes wrong, each ends in the state its deal reached last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.bitrix24.fake import Bitrix24
from adapters.bitrix24.fake_schema import DEAL, LEAD
from adapters.yandex_metrica.fake_orders import SimOrder
from bridge import commands
from bridge.compose import load_config
from bridge.sim import toml
from bridge.sim.stage import METRICA, Cast
from tests.simulation.kit import START, Play, play, staged
from tests.simulation.orders import CONDITIONS, GOALS, STATUSES, keep_orders, metrica_of, verdict_of

DAYS = 7
WITHOUT_REFUNDS = "deal.value < 1.0 ? 0.0 : deal.value"
VISITOR, CLIENT_ID = "1712345678123456789", "UF_CRM_YM_CLIENT_ID"


@pytest.mark.parametrize(("seed", "kind"), [(1, "amocrm"), (2, "bitrix24")])
async def test_every_order_ends_in_the_state_its_deal_reached_last(seed: int, kind: str, tmp_path: Path) -> None:
    """Lost answers, 5xx before and after the fact, cut bodies: none missing or doubled, none ever went back."""
    stage = staged(Cast(seed, START, days=DAYS, leads=40, kinds=(kind,), is_harsh=True))
    keep_orders(stage)
    async with play(tmp_path, stage, goals=GOALS) as made:
        for day in range(DAYS + 5):
            if day == DAYS:
                stage.calm()
            await made.turn(timedelta(hours=23))  # long enough that deals reach several goals between two looks
            for _ in range(3):
                await made.turn(timedelta(minutes=20))
        (scene,) = stage.scenes
        verdict = verdict_of(stage, scene)
        assert verdict.is_clean, verdict
        assert verdict.orders == len(scene.world.leads)
        statuses = {order.last.status for order in metrica_of(scene).orders.orders.values()}
        assert statuses == set(STATUSES.values())
        assert await stuck(made) == 0


async def stuck(made: Play) -> int:
    """Deliveries without an end."""
    count = 0
    for scene in made.stage.scenes:
        report = await made.installation.reports.destination(scene.tenant, METRICA)
        count += report.in_doubt + sum(report.states[state] for state in ("pending", "sealed", "held"))
    return count


@dataclass(slots=True)
class Portal:
    """A Bitrix24 portal that the test writes to by hand, and the orders of the counter beside it."""

    made: Play
    crm: Bitrix24
    orders: dict[str, SimOrder]

    async def set(self, kind: str, number: int, **fields: str) -> None:
        self.crm.data.update(kind, number, self.made.stage.told_until, fields)
        await self.turns()

    async def turns(self) -> None:
        for _ in range(4):
            await self.made.turn(timedelta(minutes=30))

    def states(self) -> list[list[tuple[str, Decimal | None]]]:
        """What each order went through, in the order of their coming."""
        return [[(state.status, state.revenue) for state in order.states] for order in self.orders.values()]


@asynccontextmanager
async def portal(folder: Path, goals: list[dict[str, Any]] = GOALS) -> AsyncIterator[Portal]:
    stage = staged(Cast(1, START, days=3, leads=0, kinds=("bitrix24",)))
    keep_orders(stage)
    async with play(folder, stage, goals=goals) as made:
        await made.turn(timedelta(hours=1))
        crm = stage.scenes[0].crm
        assert isinstance(crm, Bitrix24)
        yield Portal(made, crm, metrica_of(stage.scenes[0]).orders.orders)
        assert made.problems == []
        assert await stuck(made) == 0


async def test_of_two_deals_made_from_a_lead_the_first_carries_its_order_on(tmp_path: Path) -> None:
    """They are two sales: one order would lose one of them. The lead's creation is that of its order."""
    async with portal(tmp_path) as made:
        at = made.made.stage.told_until
        made.crm.data.add(LEAD, at, {"STATUS_ID": "NEW", CLIENT_ID: VISITOR})
        await made.turns()
        now = made.made.stage.told_until
        for amount in ("100.00", "200.00"):
            deal = {"CATEGORY_ID": "1", "STAGE_ID": "C1:NEW", "LEAD_ID": "1", "OPPORTUNITY": amount, CLIENT_ID: VISITOR}
            made.crm.data.add(DEAL, now, deal)
        await made.set(LEAD, 1, STATUS_ID="CONVERTED")
        await made.set(DEAL, 2, STAGE_ID="C1:WON")
        await made.set(DEAL, 1, STAGE_ID="C1:WON")
        assert sorted(made.states(), key=len) == [
            [("PAID", Decimal("200.00"))],
            [("IN_PROGRESS", None), ("PAID", Decimal("100.00"))],
        ]
        assert [order.created for order in made.orders.values()] == [int(at.timestamp()), int(now.timestamp())]


async def test_a_deal_that_comes_back_is_told_again_and_a_refund_cancels_it(tmp_path: Path) -> None:
    """Won, lost, won again, corrected, refunded: the order follows, and never by a second order."""
    goals = [
        {"name": "created", **CONDITIONS["created"], "send": {METRICA: "IN_PROGRESS"}},
        {"name": "sale", "when": {"outcome": "won"}, "value": WITHOUT_REFUNDS, "send": {METRICA: "PAID"}},
        {"name": "lost", "when": {"outcome": "lost"}, "send": {METRICA: "CANCELLED"}},
    ]
    async with portal(tmp_path, goals) as made:
        deal = {"CATEGORY_ID": "1", "STAGE_ID": "C1:NEW", "OPPORTUNITY": "100.00", CLIENT_ID: VISITOR}
        made.crm.data.add(DEAL, made.made.stage.told_until, deal)
        await made.turns()
        for stage in ("WON", "LOSE", "WON"):
            await made.set(DEAL, 1, STAGE_ID=f"C1:{stage}")
        for amount in ("90.00", "0.50"):
            await made.set(DEAL, 1, OPPORTUNITY=amount)
        paid, less, refunded = Decimal("100.00"), Decimal("90.00"), Decimal("0.00")
        ends = [("PAID", paid), ("CANCELLED", None), ("PAID", paid), ("PAID", less), ("CANCELLED", refunded)]
        assert made.states() == [[("IN_PROGRESS", None), *ends]]


@pytest.mark.parametrize(
    ("qualified", "per", "told"),
    [
        ("crm_qualified", "deal", []),
        ("qualified_lead", "deal", ['goal "qualified_lead" of counter 90000001']),
        ("crm_qualified", "payment", ["goal sale"]),
    ],
)
async def test_check_refuses_what_would_count_a_deal_twice_or_never(
    qualified: str, per: str, told: list[str], tmp_path: Path
) -> None:
    """Offline conversions and orders of one counter go to different goals; and an order has no payments."""
    stage = staged(Cast(1, START, days=1, leads=0, kinds=("bitrix24",)))
    metrica = metrica_of(stage.scenes[0])
    metrica.add_goal("crm_qualified")
    await stage.start()
    try:
        both = {METRICA: "qualified_lead", "orders": qualified}
        worth = {"per": per, "value": "payment" if per == "payment" else "deal"}
        goals = [
            {"name": "created", **CONDITIONS["created"], "send": {"orders": "IN_PROGRESS"}},
            {"name": "qualified", **CONDITIONS["qualified"], "send": both},
            {"name": "sale", "when": {"outcome": "won"}, **worth, "send": {"orders": "PAID"}},
        ]
        stage.configure(tmp_path / "config.toml", "sqlite:///bridge.db", goals=goals, source={"payments": "payments"})
        text = (tmp_path / "config.toml").read_text(encoding="utf-8")
        orders = {**metrica.settings(), "mode": "crm_orders", "token": {"file": f"secrets/{metrica._variable}"}}
        more = toml.dumps({"tenants": {"okna": {"destinations": {"orders": orders}}}})
        (tmp_path / "config.toml").write_text(text + more, encoding="utf-8")
        done = await commands.check(load_config(tmp_path / "config.toml"), stage.clock, None)
        found = [(item["subject"], item["level"]) for items in done.data.values() for item in items]
        assert [subject for subject, level in found if level == "error"] == told
    finally:
        await stage.stop()
