"""A bridge that ends while it marks deals leaves each deal with one mark, the right one, and delivers as ever."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bridge.compose import Installation, load_config
from bridge.rules.mark import mark_of
from bridge.sim.stage import SOURCE, Cast
from tests.conftest import NewDatabase
from tests.crash.play import START, Play, play
from tests.simulation.test_write_back import KINDS, shown

SEED, BEATS = 218, [timedelta(hours=hours) for hours in (60, 100, 120)]
POINTS = {"amocrm": ("PATCH /api/v4/leads", "marks"), "bitrix24": ("marks",)}


async def _judge_marks(trial: Play) -> None:
    """Every deal shows what the ledger says."""
    scene = trial.stage.scenes[0]
    installation = await Installation.open(load_config(trial.config), trial.stage.clock)
    try:
        tenant = await installation.tenant(scene.tenant)
        found = shown(scene.crm)
        told = await tenant.marks.told(SOURCE, list(found))
        zone = ZoneInfo("Europe/Moscow")
        assert {key: text for key, (text, _) in found.items()} == {
            key: mark_of(key, told.get(key, ()), zone).text for key in found
        }
        assert any(text for text, _ in found.values())
        assert (await installation.reports.marks(scene.tenant, SOURCE)).waiting == 0
    finally:
        await installation.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_at_any_side_of_a_mark_leaves_one(
    kind: str, database: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Ended before or after a mark is written in the CRM, or before or after that is recorded, and begun again."""
    options, write_back = KINDS[kind]
    cast, source = Cast(SEED, START, 2, 3, (kind,), crm_options=options), {"write_back": write_back}
    async with play(cast, tmp_path, new_database(), BEATS, source=source) as calm:
        points = (await calm.live()).passed
        await _judge_marks(calm)
    sides = {f"{side} {step}" for side in ("before", "after") for step in POINTS[kind]}
    assert sides <= set(points)
    numbers = [number for number, point in enumerate(points, start=1) if point in sides]
    for number in numbers if database == "sqlite" else numbers[:4]:
        async with play(cast, tmp_path, new_database(), BEATS, source=source) as trial:
            assert (await trial.live(number)).is_blown
            assert not (await trial.live()).is_blown
            await _judge_marks(trial)
