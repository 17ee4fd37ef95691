"""Flips at every stage: what each kind of destination holds at the end is what the oracle says, or explain says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.flips import run


@pytest.mark.parametrize(("seed", "is_harsh"), [(1, False), (6, True)])
async def test_the_vendors_final_state_is_the_oracles(seed: int, is_harsh: bool, tmp_path: Path) -> None:
    """Refunds, reopened losses, spam after all, edited values, merges, deletions: value, status and count agree."""
    result = await run(tmp_path, seed, 6, is_harsh=is_harsh)
    print(result.checked, dict(result.stays))
    assert result.wrong == []
    assert result.unexplained == []
    assert result.stays, "nothing stayed that no vendor could correct: the business was too quiet to show anything"
