"""Oddities of amoCRM that no other file is about: what the account does, and that nothing is lost, doubled or misdated."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from adapters.amocrm.fake import Quirks
from adapters.amocrm.fake_store import FIRST_LEAD, STAGES
from bridge.ports import Window
from bridge.sim.clock import ManualClock
from tests.adapters.amocrm.kit import (
    HOUR,
    MEETING,
    NEW,
    account,
    happenings,
    key,
    lead,
    second,
    step,
)
from tests.support import START

AFTER = START + timedelta(days=30)


CROWD = [lead(n, step(START, NEW)) for n in range(1, 601)]


@pytest.mark.parametrize("shuffles_ties", [True, False])
@pytest.mark.parametrize("has_inclusive_bounds", [True, False])
async def test_a_crowded_second_is_read_whole_while_its_leads_are_edited(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_inclusive_bounds: bool, shuffles_ties: bool
) -> None:
    """Six hundred leads on one second, in any order; before further pages some of them are edited, leave that second
    and let the rows behind them move up. Each is listed, the edited ones by the next window at the latest."""
    quirks = Quirks(has_inclusive_bounds=has_inclusive_bounds, shuffles_ties=shuffles_ties)
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), quirks=quirks) as (sim, source):
        for event in happenings(CROWD):
            sim.happen(event)
        label, edited = sim.label, iter(range(1, 200))

        def edit(request: web.Request) -> str:
            if request.query.get("page", "1") != "1" and sim.requests["GET /api/v4/leads"] < 12:
                for _, number in zip(range(20), edited, strict=False):
                    sim.store.move(sim.store.leads[FIRST_LEAD + number], STAGES[MEETING], second(AFTER))
            return label(request)

        monkeypatch.setattr(sim, "label", edit)
        window = Window(START - HOUR, START + HOUR)
        keys = {head.key async for listing in source.scan(window) for head in listing.heads}
    assert next(edited) > 40
    assert {key(item) for item in CROWD[199:]} <= keys
