"""Seal, send, record: deliveries a second with a destination that answers at once, and what the database costs."""

from __future__ import annotations

from tests.bench import rig
from tests.bench.rig import Options


def run(options: Options) -> None:
    """Printed for the record; there is no target."""
    with rig.town() as town:
        found = rig.measure("ours", "ours", town, part="ledger", count=options.size(100_000))
    rig.compare("deliveries", [found])
    share = found.more["database"] / found.seconds
    print(f"  share of the time inside transactions: {share:.0%} ({found.more['transactions']} transactions)")
    print(f"  planned and stored before that: {found.count / found.more['planning']:,.0f} deliveries/s")
