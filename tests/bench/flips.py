"""Simulated businesses that change their minds at every stage: where vendors differ from the oracle and from the truth.

Each seed is one advertiser with every kind of destination: refunds, reopened losses, spam after all, edited values,
merges, deletions. A third of the seeds has three in a hundred requests refused, each in every way.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path

from bridge import log
from tests.bench import rig
from tests.bench.rig import Options
from tests.simulation.flips import Result
from tests.simulation.flips import run as play

_SEEDS = 200
_LEADS = 10
_COLUMNS = ("seeds", "checked", "wrong", "unexplained")


def run(options: Options) -> int:
    """Nothing wrong, and nothing that differs from the truth without a reason, in any seed; else 1."""
    log.setup("critical", "json")
    began = time.monotonic()
    totals: Counter[str] = Counter()
    stays: Counter[str] = Counter()
    for seed in range(options.first, options.first + (options.seeds or _SEEDS)):
        result = _played(seed, options.size(_LEADS))
        stays += result.stays
        trouble = [*result.wrong, *result.unexplained]
        for line in trouble:
            print(f"  {line}", flush=True)
        totals += Counter(seeds=1, checked=result.checked, wrong=len(result.wrong), unexplained=len(result.unexplained))
        if seed % 10 == 0:
            print(f"  up to seed {seed}: {dict(totals)}, {time.monotonic() - began:.0f} s", flush=True)
    rig.table(("", *_COLUMNS), [("all", *(f"{totals[n]:,}" for n in _COLUMNS))])
    print("  differs from the truth, with a reason (destination: how):")
    rig.table(("", "times"), sorted(stays.items()))
    return int(bool(totals["wrong"] or totals["unexplained"]))


def _played(seed: int, leads: int) -> Result:
    """One seed; a run that breaks off is wrong, too."""
    with tempfile.TemporaryDirectory(prefix="bridge-flips-") as folder:
        try:
            return asyncio.run(play(Path(folder), seed, leads, is_harsh=seed % 3 == 0))
        except Exception as error:  # whatever it is, the other seeds have something to tell
            return Result(seed, wrong=[f"seed {seed}: broke off with {type(error).__name__}: {error}"])
