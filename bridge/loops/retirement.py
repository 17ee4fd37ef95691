"""Warn of versions of vendors' APIs that end soon: in ``bridge check``, and once a day in the log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from bridge.ports import Finding, Level
from bridge.rules.retirement import Ending, endings
from bridge.tenant import Progress, Tenant


async def once(tenant: Tenant) -> Progress:
    """Say of each account what ends within ``WARN_DAYS``; on each day of the clock (UTC) once in a process's life."""
    today = tenant.clock.now().date()
    if tenant.endings_told != today:
        tenant.endings_told = today
        for account, ending in _near(tenant, today):
            told = {"api": str(ending.api), "sunset": ending.sunset, "days": ending.days}
            tenant.log.warning("api_ending", account=account, **told)
    return Progress()


def findings(tenant: Tenant) -> list[Finding]:
    """A warning for each account and version that ends soon."""
    near = _near(tenant, tenant.clock.now().date())
    return [Finding(Level.WARNING, f"API of {account}", ending.words) for account, ending in near]


def _near(tenant: Tenant, today: date) -> Iterator[tuple[str, Ending]]:
    for unit in tenant.units:
        for ending in endings(unit.apis, today):
            if ending.is_near:
                yield unit.name, ending
