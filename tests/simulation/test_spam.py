"""A business that bots send requests to: what is spam by its rules counts for nothing, everything else as ever."""

from __future__ import annotations

import io
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.sim.bots import suspects
from bridge.sim.stage import Cast
from bridge.store import schema
from tests.simulation.kit import START, column, play, staged

LAG = timedelta(days=2)


@pytest.mark.parametrize("seed", [3])
async def test_bots_are_told_from_people_as_the_oracle_does(seed: int, tmp_path: Path, logs: io.StringIO) -> None:
    """Neither missed nor wronged: what the rules call spam is known with its signals and never counted, a bot that does
    nothing suspicious is."""
    stage = staged(Cast(seed, START, days=6, leads=60, kinds=("amocrm",), has_bots=True))
    (scene,) = stage.scenes
    judged = suspects(scene.world)
    assert len(scene.excluded) >= 5
    assert any(len(one.signals) == 1 for one in judged)  # one alone is not enough
    assert any(one.lead.name == "Бот" and not one.is_spam for one in judged)
    assert {signal for one in judged for signal in one.signals} == {
        "phone_invalid",
        "email_disposable",
        "duplicate",
        "burst_client",
    }
    async with play(tmp_path, stage) as made:
        await made.live(timedelta(hours=12))
        verdicts = stage.verdicts(LAG)
        assert {place: v.summary() for place, v in verdicts.items() if not v.is_clean} == {}
        assert all(v.found for v in verdicts.values())
        records = made.installation.store
        keys = await column(records, schema.deal.c.deal)
        tenant = await made.installation.tenant(scene.tenant)
        stored = await tenant.records.facts(scene.tenant, "crm", keys)
        found = Counter(
            (one.deal.is_spam, tuple(sorted(signal.name for signal in one.deal.background.signals)))
            for one in stored.values()
            if one.deal.background is not None
        )
        assert found == Counter((one.is_spam, tuple(sorted(one.signals))) for one in judged)
        assert await column(records, schema.crowd.c.deal) == []
    personal = stage.personal()
    assert [text for text in personal if text in logs.getvalue()] == []
