"""Businesses whose sites have our collector: deals are counted by the click of their form, and nothing else is."""

from __future__ import annotations

import io
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.collector.settings import KIND
from bridge.sim.stage import Cast
from bridge.store import schema
from bridge.web.status import status
from tests.simulation.kit import START, column, play, staged

LAG = timedelta(days=2)


@pytest.mark.parametrize(("seed", "kind"), [(2, "amocrm"), (11, "bitrix24")], ids=["calm", "harsh"])
async def test_leads_are_counted_by_the_click_behind_their_form(
    seed: int, kind: str, tmp_path: Path, logs: io.StringIO
) -> None:
    """By the lead key that the deal carries, or by phone and time; every form is a touch, none reaches a goal, and no
    phone is in any log or in the database."""
    stage = staged(Cast(seed, START, days=5, leads=45, kinds=(kind,), collects=True, is_harsh=seed == 11))
    async with play(tmp_path, stage) as made:
        await made.live(timedelta(hours=12))
        verdicts = stage.verdicts(LAG)
        assert {place: v.summary() for place, v in verdicts.items() if not v.is_clean} == {}
        store, methods = made.installation.store, Counter[str]()
        methods.update(await column(store, schema.deal.c.method, schema.deal.c.source != KIND))
        assert methods["visit"] >= 2  # a form of a visitor who came by no ad tells of none
        assert methods["call"] >= 2
        assert await column(store, schema.conversion.c.id, schema.conversion.c.source == KIND) == []
        told = await status(made.installation.reports, made.config, made.installation.names(), stage.clock.now())
        for scene in stage.scenes:
            parts = told["tenants"][scene.tenant]
            assert parts["collector"]["taken"] == len(scene.world.calls) == parts["sources"][KIND]["deals"]
            assert parts["collector"]["refused"] == {}
            assert parts["sources"][KIND]["last_error"] is None
    phones = {call.phone[-10:] for scene in stage.scenes for call in scene.world.calls}
    assert phones
    assert [found for found in re.findall(r"\d{10,}", logs.getvalue()) if found[-10:] in phones] == []
    kept = _bytes_of(tmp_path)
    assert [phone for phone in phones if phone.encode() in kept] == []


def _bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("bridge.db*"))


async def test_the_order_in_which_sources_are_read_does_not_matter(tmp_path: Path) -> None:
    """The collector's posts read days after the CRM, or before it: the same deals have the same clicks in the end."""
    ends = []
    for name, late in (("early", "1m"), ("late", "40h")):
        folder = tmp_path / name
        folder.mkdir()
        stage = staged(Cast(5, START, days=3, leads=40, kinds=("amocrm",), collects=True))
        async with play(folder, stage, collector={"poll_every": late}) as made:
            await made.live(timedelta(hours=12), tail=timedelta(days=3))
            deal = schema.deal
            rows = await column(made.installation.store, deal.c.deal, deal.c.source != KIND)
            methods = await column(made.installation.store, deal.c.method, deal.c.source != KIND)
            ends.append(dict(zip(rows, methods, strict=True)))
    assert ends[0] == ends[1]
    assert {"visit", "call"} <= set(ends[0].values())
