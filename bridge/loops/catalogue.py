"""The names a source knows: from memory, from the store, or (when old, or when a deal stands in none of them) fresh."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from bridge.loops import assess
from bridge.model import Deal
from bridge.ports import Source
from bridge.tenant import SourceUnit, Tenant

_AGE = timedelta(hours=6)
_HURRY = timedelta(minutes=10)


async def ready(tenant: Tenant, unit: SourceUnit, port: Source) -> None:
    """The source's names, from memory, from the store, or (when old) from the vendor."""
    await assess.has_names(tenant, unit)
    if unit.catalogue_at is None or tenant.clock.now() - unit.catalogue_at > _AGE:
        await _refresh(tenant, unit, port)


async def _refresh(tenant: Tenant, unit: SourceUnit, port: Source) -> None:
    catalogue = await port.catalogue()
    now = tenant.clock.now()
    compiled = tenant.compile(unit, catalogue)
    unit.catalogue_at = now
    await tenant.records.set_catalogue(tenant.name, unit.name, catalogue, now)
    tenant.log.info("catalogue_refreshed", source=unit.name, pipelines=len(catalogue.pipelines))
    if port.traits.brings_touches:
        return  # what it brings reaches no goal
    for problem in compiled.problems:
        tenant.log.warning("goal_problem", source=unit.name, problem=problem)


async def desk_knowing(tenant: Tenant, unit: SourceUnit, entered: Iterable[Deal], desk: assess.Desk) -> assess.Desk:
    """Look the names up again when a deal stands in a stage we have never heard of (not more often than needed)."""
    catalogue = unit.catalogue
    if catalogue is None or catalogue.is_open or unit.port is None:
        return desk
    stages = {(p.id, s.id) for p in catalogue.pipelines for s in p.stages}
    is_new = any((deal.pipeline, deal.stage) not in stages for deal in entered if not deal.is_deleted)
    hurried = unit.catalogue_at is not None and tenant.clock.now() - unit.catalogue_at < _HURRY
    if not is_new or hurried:
        return desk
    await _refresh(tenant, unit, unit.port)
    fresh = await assess.desk_for(tenant, unit, desk.floor, desk.seen)
    return assess.knowing(fresh, has_children=desk.has_children, has_merged=desk.has_merged)
