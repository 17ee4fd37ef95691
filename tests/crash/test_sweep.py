"""A bridge that ends at a commit or at a request to an ad account, any of them, still delivers everything, once."""

from __future__ import annotations

import os
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.sim.stage import Cast
from tests.conftest import NewDatabase
from tests.crash.play import START, play

# Three leads small enough to try every point: rows for both ad accounts, a match by contact, spam, a sale whose value
# changes after it was sent.
TINY_SEED, TINY_BEATS = 218, [timedelta(hours=hours) for hours in (60, 100, 120)]
# Points from one trial to the next, odd, so that both sides of commits have their turn; BRIDGE_EVERY_POINT=1: all.
EVERY = {
    ("amocrm", "sqlite"): 13,
    ("bitrix24", "sqlite"): 19,
    ("amocrm", "postgresql"): 25,
    ("bitrix24", "postgresql"): 25,
}
LONG_SEED, LONG_BEATS = 3, [timedelta(hours=8) * number for number in range(1, 25)]
LIFE = {"sqlite": 20, "postgresql": 60}  # points, at most
CRASHES = {"sqlite": 60, "postgresql": 20}  # at least
CRASHES_MOST = 1500  # then it makes no headway
# Both sides of each of these must have been tried.
STEPS = ("page", "source state", "sweep", "seal", "mark", "POST upload", "POST /v1/events:ingest", "record", "verify")


@pytest.mark.parametrize("kind", ["amocrm", "bitrix24"])
async def test_one_crash_loses_and_doubles_nothing(
    kind: str, database: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """For each point of a calm run: ended there and begun again, the bridge has delivered everything once."""
    cast = Cast(TINY_SEED, START, 2, 3, (kind,))
    async with play(cast, tmp_path, new_database(), TINY_BEATS) as calm:
        points = (await calm.live()).passed
        assert calm.restated == 1
    assert {f"{side} {step}" for side in ("before", "after") for step in STEPS} <= set(points)
    every = 1 if os.environ.get("BRIDGE_EVERY_POINT") else EVERY[kind, database]
    tried = points[::every]
    for number, point in enumerate(tried):
        async with play(cast, tmp_path, new_database(), TINY_BEATS) as trial:
            life = await trial.live(number * every + 1)
            assert life.passed[-1] == point, "the same business, the same points"
            assert not (await trial.live()).is_blown
    print(f"{kind} on {database}: {len(tried)} of {len(points)} points tried")


async def test_crash_after_crash_loses_and_doubles_nothing(database: str, database_url: str, tmp_path: Path) -> None:
    """A bridge that never lives long, and so crashes while it repairs earlier crashes, loses nothing either."""
    dice = random.Random(LONG_SEED)
    ends: Counter[str] = Counter()
    async with play(Cast(LONG_SEED, START, 7, 25, is_harsh=True), tmp_path, database_url, LONG_BEATS) as trial:
        while ends.total() < CRASHES_MOST and (life := await trial.live(dice.randint(1, LIFE[database]))).is_blown:
            ends[life.passed[-1]] += 1
        assert not life.is_blown, "no headway"
    print(f"{database}: {ends.total()} crashes, {dict(sorted(ends.items()))}")
    assert ends.total() >= CRASHES[database]
