"""Store what adapters counted of words that are in no contract, and say of each account when some are new to it."""

from __future__ import annotations

from bridge.tenant import Progress, Tenant


async def once(tenant: Tenant) -> Progress:
    """Store the counts of every account. Those of the last minute are lost with the process; drift comes again."""
    for unit in tenant.units:
        counts = unit.drift.take()
        if counts:
            await tenant.drifts.add(unit.name, counts, tenant.clock.now())
            told = {f"{what} {value}": count for (what, value), count in sorted(counts.items())}
            tenant.log.warning("drift_seen", account=unit.name, counts=told)
    return Progress()
