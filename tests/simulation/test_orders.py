"""One order per deal, played through: whatever goes wrong, each ends in the state its deal reached last."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from bridge import commands
from bridge.compose import load_config
from bridge.sim import toml
from bridge.sim.stage import METRICA, Cast
from tests.simulation.kit import START, Play, play, staged
from tests.simulation.orders import CONDITIONS, GOALS, STATUSES, keep_orders, metrica_of, verdict_of

DAYS = 7


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
