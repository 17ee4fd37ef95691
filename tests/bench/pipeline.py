"""amoCRM to ledger to Metrica, limits lifted: ours beside the floor and beside dlt."""

from __future__ import annotations

from tests.bench import rig
from tests.bench.rig import Options


def run(options: Options) -> None:
    """At least half of the floor and twice dlt."""
    with rig.town(kind="amocrm", leads=options.size(50_000)) as town:
        floor = rig.measure("floor", "floor", town)
        ours = rig.measure("ours", "ours", town)
        dlt = rig.measure("dlt", "with_dlt", town)
    rig.compare("leads", [floor, ours, dlt])
    for one in (floor, ours, dlt):
        print(f"  {one.name}: {one.more}")
    rig.ratio("ours / floor", ours.rate / floor.rate, ">= 0.5")
    rig.ratio("ours / dlt", ours.rate / dlt.rate, ">= 2")
