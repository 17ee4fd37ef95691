"""A beginning: what had failed when the work ended is tried at once, and said once more.

Whoever has put new credentials in place, or mended a setting, restarts and looks: pauses that are kept in the database
are for a process that goes on, and its first words of a failure are in another one's log.
"""

from __future__ import annotations

from bridge.errors import BridgeError
from bridge.loops.deliver import MENDED_BY_PEOPLE
from bridge.tenant import Tenant


async def begin(tenant: Tenant) -> None:
    """What failed is due now. Once per process: one that crashes again and again asks a vendor once each time."""
    try:
        for failure in await tenant.troubles.failures():
            since = failure.since.isoformat()
            if failure.loop == "" and failure.account in tenant.sources:
                tenant.log.error("source_failed", source=failure.account, error=failure.error, since=since)
            elif failure.loop and failure.account in tenant.destinations:
                where = {"destination": failure.account, "loop": failure.loop}
                tenant.log.error("destination_failed", **where, error=failure.error, since=since)
        await tenant.troubles.try_again(MENDED_BY_PEOPLE, tenant.clock.now())
    except BridgeError as error:  # then what failed keeps its pause; the work begins all the same
        tenant.log.error("loop_failed", loop="begin", error=f"{type(error).__name__}: {error}")
