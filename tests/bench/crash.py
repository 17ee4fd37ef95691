"""The whole crash sweep: corrections and every kind of destination, a bridge ended at each commit and each request.

Of each business every point of a calm run is tried: the bridge is ended there, begun again on what is left, and judged.
Then the same business is lived by a bridge that never lives long, and crashes while it repairs earlier crashes.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from bridge import log
from tests.bench import rig
from tests.bench.rig import Options
from tests.crash.flips import FlipPlay, flip_play

_SEEDS = 3
_LEADS = 3
_COLUMNS = ("points", "crashes", "lost", "doubled", "wrong", "unproved missing")
_LIFE = 40  # points of a short life, at most
_FAULTS = ("lost", "doubled", "wrong")


def run(options: Options) -> int:
    """Nothing lost, doubled or wrong at any point, and what proves nothing at most once; else 1."""
    log.setup("critical", "json")
    rows = []
    sums: Counter[str] = Counter()
    for seed in range(options.first, options.first + (options.seeds or _SEEDS)):
        began = time.monotonic()
        found = asyncio.run(_swept(seed, options.size(_LEADS)))
        sums += found
        rows.append((f"seed {seed}", *(f"{found[name]:,}" for name in _COLUMNS)))
        print(f"  seed {seed}: {dict(found)}, {time.monotonic() - began:.0f} s", flush=True)
    rig.table(("", *_COLUMNS), [*rows, ("all", *(f"{sums[name]:,}" for name in _COLUMNS))])
    return int(any(sums[name] for name in _FAULTS))


async def _swept(seed: int, leads: int) -> Counter[str]:
    """Every point of one business, and one life after another."""
    found: Counter[str] = Counter()
    points = await _lived(seed, leads, None, found)
    for number in range(1, points + 1):
        await _lived(seed, leads, number, found)
    found["points"] = points
    await _hunted(seed, leads, found)
    return found


async def _lived(seed: int, leads: int, at: int | None, found: Counter[str]) -> int:
    """One trial: ended at a point (None: never), begun again; returns how many points the first life passed."""
    with tempfile.TemporaryDirectory(prefix="bridge-crash-") as folder:
        async with flip_play(seed, leads, Path(folder), f"sqlite:///{folder}/bridge.db") as trial:
            life = await trial.live(at)
            if life.is_blown:
                found["crashes"] += 1
                await trial.live()
            _tell(trial, f"seed {seed}, ended at point {at} ({life.passed[-1]})", found)
    return len(life.passed)


async def _hunted(seed: int, leads: int, found: Counter[str]) -> None:
    """Crash after crash."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="bridge-crash-") as folder:
        async with flip_play(seed, leads * 3, Path(folder), f"sqlite:///{folder}/bridge.db") as trial:
            while (await trial.live(dice.randint(1, _LIFE))).is_blown:
                found["crashes"] += 1
            _tell(trial, f"seed {seed}, crash after crash", found)


def _tell(trial: FlipPlay, where: str, found: Counter[str]) -> None:
    for name in _FAULTS:
        lines: list[str] = getattr(trial, name)
        found[name] += len(lines)
        for line in lines:
            print(f"  {where}: {name}: {line}", flush=True)
    found["unproved missing"] += trial.missing_unproved
