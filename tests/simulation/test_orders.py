"""One order per deal, played through: whatever goes wrong, each ends in the state its deal reached last."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from bridge.sim.stage import METRICA, Cast
from tests.simulation.kit import START, Play, play, staged
from tests.simulation.orders import GOALS, STATUSES, keep_orders, metrica_of, verdict_of


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
