"""Businesses whose phone leads show no click in the CRM; a call tracker knows them, and the oracle what is right."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.config import TrackerSettings
from bridge.sim.stage import TRACKER, Cast
from bridge.store import schema
from bridge.web.status import status
from tests.contract.rig import TRACKERS
from tests.simulation.kit import START, column, play, staged

LAG = timedelta(days=2)
every_tracker = pytest.mark.parametrize("kind", TRACKERS)


@every_tracker
@pytest.mark.parametrize(("seed", "is_harsh"), [(2, True)], ids=["harsh"])
async def test_phone_leads_are_counted_by_the_click_behind_their_call(
    kind: str, seed: int, is_harsh: bool, tmp_path: Path, logs: io.StringIO
) -> None:
    """Nothing is missing, doubled or unexpected; calls themselves reach no goal, and no phone is in any log."""
    stage = staged(Cast(seed, START, days=9, leads=60, kinds=("amocrm", "bitrix24"), tracker=kind, is_harsh=is_harsh))
    async with play(tmp_path, stage) as made:
        await made.live(timedelta(hours=8))
        verdicts = stage.verdicts(LAG)
        assert {place: v.summary() for place, v in verdicts.items() if not v.is_clean} == {}
        store, methods = made.installation.store, Counter[str]()
        methods.update(await column(store, schema.deal.c.method, schema.deal.c.source != TRACKER))
        assert methods["call"] >= 6
        assert await column(store, schema.conversion.c.id, schema.conversion.c.source == TRACKER) == []
        told = await status(made.installation.reports, made.config, made.installation.names(), stage.clock.now())
        for scene in stage.scenes:
            calls = told["tenants"][scene.tenant]["sources"][TRACKER]
            assert calls["deals"] >= len(scene.world.calls)
            assert calls["quarantined"] == 0
            assert calls["last_error"] is None
            assert isinstance(made.config.tenants[scene.tenant].sources[TRACKER], TrackerSettings)
    text = logs.getvalue()
    assert text
    phones = {call.phone[-10:] for scene in stage.scenes for call in scene.world.calls}
    assert phones
    assert [found for found in re.findall(r"\d{10,}", text) if found[-10:] in phones] == []
    assert [secret for secret in stage.secrets().values() if secret in text or json.dumps(secret) in text] == []


@pytest.mark.parametrize("kind", TRACKERS[:1])
async def test_the_order_in_which_sources_are_read_does_not_matter(kind: str, tmp_path: Path) -> None:
    """The tracker read days after the CRM, or before it: the same deals have the same clicks in the end."""
    ends = []
    for name, late in (("early", "1m"), ("late", "40h")):
        folder = tmp_path / name
        folder.mkdir()
        stage = staged(Cast(5, START, days=6, leads=50, kinds=("amocrm",), tracker=kind))
        async with play(folder, stage, tracker={"poll_every": late, "reread": "4d"}) as made:
            await made.live(timedelta(hours=8))
            deal = schema.deal
            keys = await column(made.installation.store, deal.c.deal, deal.c.source != TRACKER)
            methods = await column(made.installation.store, deal.c.method, deal.c.source != TRACKER)
            ends.append(dict(zip(keys, methods, strict=True)))
    assert ends[0] == ends[1]
    assert list(ends[0].values()).count("call") >= 3
