"""Corrections and every kind of destination survive crash after crash: proved ones exact, unproved ones at most once.

The whole sweep, every point of several businesses, is ``python -m tests.bench crash``.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from tests.crash.flips import flip_play

SEED, LEADS = 8, 4
LIFE = 45  # points, at most
CRASHES = 15  # at least


async def test_corrections_survive_crash_after_crash(tmp_path: Path) -> None:
    """Refunds, spam after all and edited values, told by a bridge that never lives long: none lost, none doubled."""
    dice = random.Random(SEED)
    ends: Counter[str] = Counter()
    async with flip_play(SEED, LEADS, tmp_path, f"sqlite:///{tmp_path / 'bridge.db'}") as trial:
        while (life := await trial.live(dice.randint(1, LIFE))).is_blown:
            ends[life.passed[-1]] += 1
            assert ends.total() < 500, "no headway"
    assert (trial.lost, trial.doubled, trial.wrong) == ([], [], [])
    print(f"{ends.total()} crashes, {trial.missing_unproved} unproved held or missing, {dict(sorted(ends.items()))}")
    assert ends.total() >= CRASHES
