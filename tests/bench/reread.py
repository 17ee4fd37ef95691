"""Reading everything again, nothing of it changed, beside reading it for the first time."""

from __future__ import annotations

from tests.bench import rig
from tests.bench.rig import Options


def run(options: Options) -> None:
    """At least ten times faster."""
    for kind in ("amocrm", "bitrix24"):
        with rig.town(kind=kind, leads=options.size(20_000)) as town:
            found = rig.measure(f"ours, {kind}", "ours", town, part="reread")
        again = found.more["again"]
        rows = [
            (kind, "seconds", "CPU s", "records/s"),
            ("first", f"{found.seconds:.2f}", f"{found.cpu:.2f}", f"{found.rate:,.0f}"),
            ("again", f"{again['seconds']:.2f}", f"{again['cpu']:.2f}", f"{found.count / again['seconds']:,.0f}"),
        ]
        rig.table(rows[0], rows[1:])
        rig.ratio("first / again", found.seconds / again["seconds"], ">= 10")
