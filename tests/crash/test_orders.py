"""A bridge that ends anywhere loses no order, doubles none, and lets none go back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.sim.stage import Cast, Stage
from bridge.store import Store
from bridge.store.reports import Reports
from tests.conftest import NewDatabase
from tests.crash.play import START, play
from tests.simulation.orders import GOALS, keep_orders, metrica_of, verdict_of

# A lead that is spam, and two that are sold, one of them for another price in the end.
SEED, BEATS = 218, [timedelta(hours=hours) for hours in (20, 60, 61, 100, 101, 120)]
STEPS = ("seal", "mark", "POST simple_orders", "record")


async def judge(stage: Stage, store: Store) -> int:
    """Every order is there once and in its state; how many states were told in all."""
    assert await Reports(store).broken_chains() == 0
    for scene in stage.scenes:
        verdict = verdict_of(stage, scene)
        assert verdict.is_clean, verdict
    return sum(len(order.states) for scene in stage.scenes for order in metrica_of(scene).orders.orders.values())


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_one_crash_loses_doubles_and_turns_back_no_order(new_database: NewDatabase, tmp_path: Path) -> None:
    """On either side of each step of the way out: every order still goes through its states, one by one."""
    cast = Cast(SEED, START, 2, 3, ("amocrm",))
    how: dict[str, Any] = {"prepare": keep_orders, "judges": judge, "goals": GOALS}
    async with play(cast, tmp_path, new_database(), BEATS, **how) as calm:
        points = (await calm.live()).passed
        states = calm.restated
    repeats = 0
    for step in (f"{side} {step}" for side in ("before", "after") for step in STEPS):
        places = [number for number, point in enumerate(points, start=1) if point == step]
        async with play(cast, tmp_path, new_database(), BEATS, **how) as trial:
            life = await trial.live(places[len(places) // 2])
            assert life.passed[-1] == step, "the same business, the same points"
            assert not (await trial.live()).is_blown
            repeats += trial.restated - states
    assert repeats > 0, "a file that was in doubt has come twice"
