"""A bridge that ends at a commit or at a request to an ad account, any of them, still delivers everything, once."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from bridge import log
from bridge.sim.stage import Cast
from tests.conftest import NewDatabase
from tests.crash.play import START, play

SEED = 3  # of a business small enough to try every point, with deliveries to both ad accounts
EVERY = {"sqlite": 1, "postgresql": 9}  # points from one trial to the next
LIFE = {"sqlite": 16, "postgresql": 60}  # points, at most
CRASHES = {"sqlite": 150, "postgresql": 30}  # at least
STEPS = ("page", "source state", "seal", "mark", "record", "verify", "destination state")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    log.setup("error", "console")


@pytest.mark.parametrize("kind", ["amocrm", "bitrix24"])
async def test_one_crash_loses_and_doubles_nothing(
    kind: str, database: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """For each point of a calm run: ended there and begun again, the bridge ends up with exactly the same deliveries."""
    cast, step = Cast(SEED, START, 3, 2, (kind,)), timedelta(hours=36)
    async with play(cast, tmp_path, new_database(), step) as calm:
        points = (await calm.live()).passed
        await calm.judge()
    tried = []
    for at in range(1, len(points) + 1, EVERY[database]):
        async with play(cast, tmp_path, new_database(), step) as trial:
            tried.append((await trial.live(at)).passed[-1])
            await trial.live()
            await trial.judge()
    assert tried == points[:: EVERY[database]], "the same business, the same points"
    print(f"{kind} on {database}: {len(tried)} of {len(points)} points tried")


async def test_crash_after_crash_loses_and_doubles_nothing(
    database: str, database_url: str, tmp_path: Path
) -> None:
    """A bridge that never lives long, and so crashes in the middle of repairing earlier crashes, loses nothing."""
    dice = random.Random(20260302)
    ends: Counter[str] = Counter()
    async with play(Cast(SEED, START, 7, 25), tmp_path, database_url, timedelta(hours=12)) as trial:
        while (life := await trial.live(dice.randint(1, LIFE[database]))).is_blown:
            ends[life.passed[-1]] += 1
        await trial.judge()
    print(f"{database}: {ends.total()} crashes, at {dict(sorted(ends.items()))}")
    assert ends.total() >= CRASHES[database]


