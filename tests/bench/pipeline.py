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
        short = rig.measure("dlt, leads only", "with_dlt", town, is_leads_only=True)
    rig.compare("leads", [floor, ours, dlt, short])
    for one in (floor, ours, dlt, short):
        print(f"  {one.name}: {one.count:,} leads read, {one.more['received']:,} conversions uploaded")
    rig.ratio("ours / floor", ours.rate / floor.rate, ">= 0.5")
    rig.ratio("ours / dlt", ours.rate / dlt.rate, ">= 2")
    rig.ratio("ours / dlt that reads neither contacts nor stage changes", ours.rate / short.rate, "none: another job")
