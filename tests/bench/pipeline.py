"""amoCRM to ledger to Metrica, limits lifted: ours beside the floor and beside dlt."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.bench import rig
from tests.bench.rig import Options

_COMPETITORS: dict[str, tuple[str, dict[str, Any]]] = {
    "floor": ("floor", {}),
    "floor, msgspec": ("floor", {"decoder": "msgspec"}),
    "ours": ("ours", {}),
    "dlt": ("with_dlt", {}),
    "dlt, leads only": ("with_dlt", {"is_leads_only": True}),
}


def run(options: Options) -> None:
    """At least half of the floor and twice dlt."""
    with rig.town(kind="amocrm", leads=options.size(50_000)) as town:
        runs = {name: partial(rig.measure, name, module, town, **more) for name, (module, more) in _COMPETITORS.items()}
        found = rig.fastest(options.rounds, runs)
    rig.compare("leads", list(found.values()))
    for one in found.values():
        print(f"  {one.name}: {one.count:,} leads read, {one.more['received']:,} conversions uploaded")
    rate = {name: one.rate for name, one in found.items()}
    rig.ratio("ours / floor", rate["ours"] / rate["floor"], ">= 0.5")
    rig.ratio("ours / floor that decodes with msgspec", rate["ours"] / rate["floor, msgspec"], "none")
    rig.ratio("ours / dlt", rate["ours"] / rate["dlt"], ">= 2")
    rig.ratio("ours / dlt that reads leads alone", rate["ours"] / rate["dlt, leads only"], "none: another job")
