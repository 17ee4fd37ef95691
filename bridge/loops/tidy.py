"""Housekeeping: forget raw texts after the configured days, and the bytes of batches settled long ago."""

from __future__ import annotations

from datetime import timedelta

from bridge.tenant import Progress, Tenant

KEEP_BODIES = timedelta(days=30)


async def once(tenant: Tenant) -> Progress:
    """Forget what may be forgotten. Ids, states and event chains stay for ever."""
    now = tenant.clock.now()
    progress = Progress()
    keep = timedelta(days=tenant.settings.keep_raw_days)
    progress.done["raw_forgotten"] = await tenant.records.forget_raw(tenant.name, now - keep)
    progress.done["bodies_forgotten"] = await tenant.ledger.forget_bodies(now - KEEP_BODIES)
    tenant.log.debug("tidied", **progress.done)
    return progress
