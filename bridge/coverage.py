"""The command ``bridge coverage``: new leads with and without identifiers, week by week."""

from __future__ import annotations

from typing import Any

from bridge import terminal
from bridge.commands import exit_status, opened, switched_off
from bridge.compose import Installation
from bridge.config import Config
from bridge.loops.coverage import weekly
from bridge.terminal import Outcome
from bridge.tools import Clock
from bridge.typed import typed
from bridge.web.status import calendar, fewer, status


async def coverage(config: Config, clock: Clock, only: str | None, weeks: int) -> Outcome:
    """Counted now; never needs a lock. Exit status 1 when something has fallen."""
    async with opened(config, clock) as installation:
        names = installation.names(only)
        tenants = {name: {"sources": await _sources(installation, name, weeks)} for name in names}
        needs = fewer(await status(installation.reports, config, names, clock.now()))
    needs = [typed(line, config.path) for line in (*needs, *switched_off(config, only))]
    data = {"tenants": tenants, "attention": needs}
    return Outcome(exit_status(config, only, bool(needs)), data, lambda: terminal.show_coverage(data))


async def _sources(installation: Installation, name: str, weeks: int) -> dict[str, list[dict[str, Any]]]:
    tenant = await installation.tenant(name)
    return {own: calendar(await weekly(tenant, unit, weeks), "week") for own, unit in tenant.sources.items()}
