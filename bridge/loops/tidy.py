"""Housekeeping: forget raw texts after the configured days, deals past the match horizon, old bytes and hints."""

from __future__ import annotations

from datetime import timedelta

from bridge.tenant import Progress, Tenant

KEEP_BODIES = timedelta(days=30)
KEEP_HINTS = timedelta(days=7)  # of a source that cannot be read, or is not configured any more: polls know by then


async def once(tenant: Tenant) -> Progress:
    """Forget what may be forgotten. Ids, states and event chains stay for ever."""
    now = tenant.clock.now()
    progress = Progress()
    keep = timedelta(days=tenant.settings.keep_raw_days)
    progress.done["raw_forgotten"] = await tenant.records.forget_raw(tenant.name, now - keep)
    horizon = now - tenant.settings.match.horizon
    progress.done["orphans_forgotten"] = await tenant.records.forget_orphans(tenant.name, horizon)
    await tenant.hints.forget(tenant.name, now - KEEP_HINTS)
    progress.done["bodies_forgotten"] = await tenant.ledger.forget_bodies(now - KEEP_BODIES)
    tenant.log.debug("tidied", **progress.done)
    return progress
