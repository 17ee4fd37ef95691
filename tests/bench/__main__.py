"""``python -m tests.bench [name ...]``: run these programs, or all of them one after another."""

from __future__ import annotations

import argparse
import importlib
import os

from tests.bench.rig import Options

PROGRAMS = ("pipeline", "limits", "bitrix_pull", "upload", "reread", "memory", "idle", "ledger", "steps", "matching")


def main() -> None:
    """Each program prints its own tables and ratios. Nothing is asserted: machines differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *PROGRAMS], metavar="name", help=", ".join(PROGRAMS))
    parser.add_argument("--leads", type=int, help="another size than each program's own")
    parser.add_argument("--rounds", type=int, default=1, help="the fastest of so many runs counts (pipeline, upload)")
    given = parser.parse_args()
    print(f"cores: {os.cpu_count()}, load: {os.getloadavg()[0]:.1f}")
    for name in given.names or PROGRAMS:
        program = importlib.import_module(f"tests.bench.{name}")
        print(f"\n{name}: {(program.__doc__ or '').splitlines()[0]}")
        program.run(Options(given.leads, given.rounds))


if __name__ == "__main__":
    main()
