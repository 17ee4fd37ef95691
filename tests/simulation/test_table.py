"""A business whose leads live in a Google spreadsheet, played through with the real loops, in trouble and out of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.sim.stage import Cast
from tests.simulation.kit import START, play, staged

_LAG = timedelta(days=2)  # a fault costs a whole step here, and several may follow each other


async def verdicts(folder: Path, cast: Cast, step: timedelta) -> dict[str, Any]:
    """What the oracle finds at each ad account after the whole business."""
    async with play(folder, staged(cast)) as made:
        await made.live(step)
        assert cast.is_harsh or made.problems == []
        return {name: verdict for (_, name), verdict in made.stage.verdicts(lag=_LAG).items()}


@pytest.mark.parametrize(("seed", "is_harsh"), [(1, False), (2, True)])
async def test_an_office_that_keeps_a_journal_misses_nothing(tmp_path: Path, seed: int, is_harsh: bool) -> None:
    """A row for each change has each change's own time: every conversion arrives exactly once, whatever fails."""
    cast = Cast(seed, START, days=8, leads=40, kinds=("table",), is_harsh=is_harsh)
    found = await verdicts(tmp_path, cast, timedelta(hours=8))
    assert {name: verdict.counts() for name, verdict in found.items() if not verdict.is_clean} == {}
    assert sum(verdict.certain for verdict in found.values()) >= 10


async def test_an_office_that_changes_its_rows_invents_and_doubles_nothing(tmp_path: Path) -> None:
    """A row that was changed twice between two readings has lost the first change (README); what is sent is true."""
    cast = Cast(1, START, days=8, leads=40, kinds=("table",), crm_options={"office": "board"})
    found = await verdicts(tmp_path, cast, timedelta(hours=3))
    for verdict in found.values():
        assert (verdict.doubled, verdict.unexpected) == ([], [])
    assert sum(verdict.found for verdict in found.values()) >= 10
