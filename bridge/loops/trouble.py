"""Trouble of a destination: said once when it begins and once when it is over, shown by ``status`` meanwhile."""

from __future__ import annotations

from bridge.log import redact
from bridge.tenant import Progress, Tenant

# A sealed batch is sent by one of two loops, deliver and reconcile: their trouble is one.
SEND, VERIFY = "send", "verify"


async def note(tenant: Tenant, destination: str, loop: str, result: Progress) -> None:
    """Remember what went wrong last."""
    if not result.problems:
        return
    error = redact(result.problems[-1].removeprefix(f"{destination}: "))
    is_new = destination not in await tenant.troubles.failing(loop)
    await tenant.troubles.note(destination, loop, error, tenant.clock.now())
    if is_new:
        tenant.log.error("destination_failed", destination=destination, loop=loop, error=error)


async def clear(tenant: Tenant, destination: str, loop: str) -> None:
    """Say that it is over."""
    await tenant.troubles.clear(destination, loop)
    tenant.log.info("destination_recovered", destination=destination, loop=loop)
