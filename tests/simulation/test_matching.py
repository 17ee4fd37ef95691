"""A labelled town of people: what is said to be exact is, what is joined is nearly always, and little is missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.labelled import measure


@pytest.mark.parametrize("seed", [1])
async def test_matches_are_right_and_few_are_missed(seed: int, tmp_path: Path) -> None:
    """Precision and recall over 1,500 leads, read in an order that is not that of their times; and what is stored is
    what judging everything once more says, so that the order did not matter.
    """
    score = await measure(tmp_path, 1500, seed)
    assert score.knowable > 1000
    assert score.classes["exact"].wrong == 0, score.strange
    assert score.classes["joined"].precision >= 0.999, score.strange
    assert score.recall >= 0.99, score.missed
    assert score.by_field < 0.7 * score.found
