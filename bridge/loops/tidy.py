"""Housekeeping: forget raw texts after the configured days, deals past the horizon, old bytes, hints and posts, and the
landing pages and IP addresses that no spam rule looks at any more."""

from __future__ import annotations

from datetime import datetime, timedelta

from bridge.collector.settings import KIND, CollectorSettings, collector_of
from bridge.loops.suspicion import reach_of
from bridge.store import visits
from bridge.tenant import Progress, Tenant
from bridge.visits import VisitSettings

KEEP_BODIES = timedelta(days=30)
KEEP_HINTS = timedelta(days=7)  # of a source that cannot be read, or is not configured any more: polls know by then
KEEP_POSTS = timedelta(days=7)  # of the collector, which are records by then; one that is not read is kept


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
    progress.done["posts_forgotten"] = await _forget_posts(tenant, now)
    progress.done["visits_forgotten"] = await _forget_visits(tenant, now)
    if not reach_of(tenant).uses_origins:
        progress.done["origins_forgotten"] = await tenant.crowds.forget_all()
    tenant.log.debug("tidied", **progress.done)
    return progress


async def _forget_visits(tenant: Tenant, now: datetime) -> int:
    """Those that are too old for any deal, and the forms of the collector that are."""
    count = 0
    for unit in tenant.sources.values():
        if isinstance(unit.settings, VisitSettings | CollectorSettings):
            count += await visits.forget(tenant.store, tenant.name, unit.name, now - unit.settings.keep)
    return count


async def _forget_posts(tenant: Tenant, now: datetime) -> int:
    """Those of the collector that were read long ago; any old ones when it is off."""
    before: datetime | None = now - KEEP_POSTS
    if collector_of(tenant.settings) is not None:
        read_until = (await tenant.records.source_state(tenant.name, KIND)).watermark
        before = read_until and min(now - KEEP_POSTS, read_until)
    return 0 if before is None else await tenant.collected.forget(tenant.name, before)
