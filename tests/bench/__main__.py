"""``python -m tests.bench [name ...]``: run these programs, or all of them one after another."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from tests.bench.rig import Options
from tests.bench.seeds import SOURCES

PROGRAMS = (
    "pipeline",
    "limits",
    "bitrix_pull",
    "upload",
    "reread",
    "memory",
    "idle",
    "ledger",
    "steps",
    "matching",
    "seeds",
    "flips",
    "crash",
)


def main() -> int:
    """Each program prints its own tables and ratios. Speed is not asserted: machines differ. What ``seeds``,
    ``flips`` and ``crash`` play is: status 1 says that a seed was not clean."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *PROGRAMS], metavar="name", help=", ".join(PROGRAMS))
    parser.add_argument("--leads", type=int, help="another size than each program's own")
    parser.add_argument("--rounds", type=int, default=1, help="the fastest of so many runs counts (pipeline, upload)")
    sources = parser.add_argument("--source", action="append", default=[], choices=SOURCES, dest="sources")
    sources.help = "this source alone, may be repeated (limits, memory, seeds)"
    parser.add_argument("--seeds", type=int, help="so many businesses (of each source: seeds; flips, crash)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (seeds, flips, crash)")
    parser.add_argument("--points", type=int, help="so many ends of each business, 0: every one (crash)")
    given = parser.parse_args()
    options = Options(given.leads, given.rounds, given.sources, given.seeds, given.first, given.points)
    worst = 0
    print(f"cores: {os.cpu_count()}, load: {os.getloadavg()[0]:.1f}")
    for name in given.names or PROGRAMS:
        program = importlib.import_module(f"tests.bench.{name}")
        print(f"\n{name}: {(program.__doc__ or '').splitlines()[0]}")
        worst = max(worst, program.run(options) or 0)
    return worst


if __name__ == "__main__":
    sys.exit(main())
