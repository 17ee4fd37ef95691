"""Look, every ten minutes, which waiting deliveries will soon be too late, and say so when some are overdue."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from bridge.ports import Destination
from bridge.rules.windows import SOON, Closing, Waiting, closes, is_overdue
from bridge.tenant import DestinationUnit, Progress, Tenant

EVERY = timedelta(minutes=10)


async def once(tenant: Tenant, *, force: bool = False) -> Progress:
    """Look at every destination not looked at for ten minutes. Nothing is asked of vendors."""
    for unit in tenant.destinations.values():
        now = tenant.clock.now()
        before = await tenant.windows.last(unit.name)
        if unit.port is None or (not force and before is not None and now - before.at < EVERY):
            continue
        found = await _look(tenant, unit, unit.port, now)
        await tenant.windows.save(unit.name, found)
        if found.overdue and not (before and before.overdue):
            tenant.log.warning(
                "window_closing",
                destination=unit.name,
                deliveries=found.count,
                overdue=found.overdue,
                first=found.first,
            )
    return Progress()


async def _look(tenant: Tenant, unit: DestinationUnit, port: Destination, now: datetime) -> Closing:
    goals: Counter[str] = Counter()
    ends: list[datetime] = []
    overdue = 0
    async for page in tenant.windows.waiting(unit.name):
        for waiting, end, is_late in await asyncio.to_thread(_closing, port, page, now):
            goals[waiting.row.goal] += 1
            ends.append(end)
            overdue += is_late
    return Closing(now, len(ends), overdue, min(ends, default=None), tuple(sorted(goals.items())))


def _closing(port: Destination, page: Sequence[Waiting], now: datetime) -> list[tuple[Waiting, datetime, bool]]:
    """Those of a page that become too late soon, when, and whether they are overdue. A row at which the adapter fails
    is the deliver loop's.
    """
    found = []
    for waiting in page:
        try:
            end = closes(port.admit, waiting, port.traits.give_up_after, now, now + SOON)
            is_late = end is not None and is_overdue(port.admit, waiting, end, now)
        except Exception:  # noqa: S112 - it is rejected, and told, when it is its turn to be sent
            continue
        if end is not None:
            found.append((waiting, end, is_late))
    return found
