"""The crash sweep: corrections and every kind of destination, a bridge ended at commits and at requests.

Of each business points of a calm run are tried: the bridge is ended there, begun again on what is left, and judged.
Each kind of point (either side of each commit, of each request) has its turn before any has a second one; which of its
kind is for the seed to say. ``--points 0`` tries every one, of which each takes some seconds.
Then the same business is lived by a bridge that never lives long, and crashes while it repairs earlier crashes.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from bridge import log
from tests.bench import rig
from tests.bench.rig import Options
from tests.crash.flips import FlipPlay, flip_play

_SEEDS = 3
_LEADS = 3
_POINTS = 60  # of each business
_EVERY = 20  # points from one line of progress to the next
_COLUMNS = ("points", "kinds", "tried", "crashes", "lost", "doubled", "wrong", "unproved missing")
_LIFE = 40  # points of a short life, at most
_FAULTS = ("lost", "doubled", "wrong")


def run(options: Options) -> int:
    """Nothing lost, doubled or wrong at any point, and what proves nothing at most once; else 1."""
    log.setup("critical", "json")
    rows = []
    sums: Counter[str] = Counter()
    for seed in range(options.first, options.first + (options.seeds or _SEEDS)):
        began = time.monotonic()
        found = asyncio.run(_swept(seed, options.size(_LEADS), _POINTS if options.points is None else options.points))
        sums += found
        rows.append((f"seed {seed}", *(f"{found[name]:,}" for name in _COLUMNS)))
        print(f"  seed {seed}: {dict(found)}, {time.monotonic() - began:.0f} s", flush=True)
    rig.table(("", *_COLUMNS), [*rows, ("all", *(f"{sums[name]:,}" for name in _COLUMNS))])
    return int(any(sums[name] for name in _FAULTS))


async def _swept(seed: int, leads: int, most: int) -> Counter[str]:
    """Points of one business (0: every one), and one life after another."""
    found: Counter[str] = Counter()
    began = time.monotonic()
    points = await _lived(seed, leads, None, found)
    chosen = _chosen(points, most, random.Random(seed))
    found["points"], found["kinds"], found["tried"] = len(points), len(set(points)), len(chosen)
    print(f"  seed {seed}: {len(chosen)} of {len(points)} points, of {found['kinds']} kinds", flush=True)
    for done, number in enumerate(chosen, 1):
        await _lived(seed, leads, number, found)
        if done % _EVERY == 0:
            print(f"  seed {seed}: {done} of {len(chosen)}, {time.monotonic() - began:.0f} s", flush=True)
    await _hunted(seed, leads, found)
    return found


def _chosen(points: Sequence[str], most: int, dice: random.Random) -> list[int]:
    """Numbers of points, from 1: one of each kind, then a second of each, and so on; all of them if ``most`` is 0."""
    if not most:
        return list(range(1, len(points) + 1))
    kinds: defaultdict[str, list[int]] = defaultdict(list)
    for number, label in enumerate(points, 1):
        kinds[label].append(number)
    turns = [(turn, dice.random(), number) for own in kinds.values() for turn, number in enumerate(_mixed(own, dice))]
    return sorted(number for _, _, number in sorted(turns)[:most])


def _mixed(numbers: list[int], dice: random.Random) -> list[int]:
    return dice.sample(numbers, len(numbers))


async def _lived(seed: int, leads: int, at: int | None, found: Counter[str]) -> list[str]:
    """One trial: ended at a point (None: never), begun again; returns the points that the first life passed."""
    with tempfile.TemporaryDirectory(prefix="bridge-crash-") as folder:
        async with flip_play(seed, leads, Path(folder), f"sqlite:///{folder}/bridge.db") as trial:
            life = await trial.live(at)
            if life.is_blown:
                found["crashes"] += 1
                await trial.live()
            _tell(trial, f"seed {seed}, ended at point {at} ({life.passed[-1]})", found)
    return life.passed


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
