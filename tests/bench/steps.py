"""Microseconds per lead of every step between amoCRM's bytes and the stored page, each step alone."""

from __future__ import annotations

from tests.bench import rig
from tests.bench.rig import Options


def run(options: Options) -> None:
    """Printed to see where time goes; there is no target."""
    with rig.town(kind="amocrm", leads=options.size(4000)) as town:
        found = rig.measure("ours", "stepwise", town)
    rig.table(("", "us/lead"), [(step, f"{micros:.1f}") for step, micros in found.more["best"].items()])
