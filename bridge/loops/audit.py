"""Compare, once a day, what each vendor counts with what it was sent; say once when they differ, once when not."""

from __future__ import annotations

from datetime import timedelta

from bridge.audits import CountsConversions
from bridge.errors import BridgeError
from bridge.log import redact
from bridge.loops.guard import contained, told
from bridge.rules import audit
from bridge.rules.audit import Standing
from bridge.tenant import DestinationUnit, Progress, Tenant

EVERY = timedelta(days=1)
REACH = timedelta(days=28)  # conversions older than that are compared no more
RETRY = timedelta(hours=1)


async def once(tenant: Tenant, *, force: bool = False) -> Progress:
    """Audit destinations that are due and whose vendor tells counts. A difference that is new is a problem, once."""
    progress = Progress()
    for unit in tenant.destinations.values():
        if not isinstance(unit.port, CountsConversions) or unit.port.uncounted:
            continue
        if not force and await tenant.audits.due(unit.name) > tenant.clock.now():
            continue
        progress += await contained(tenant, "audit", unit.name, _tried(tenant, unit, unit.port))
    return progress


async def _tried(tenant: Tenant, unit: DestinationUnit, port: CountsConversions) -> Progress:
    """One destination; when it does not answer, that is remembered and said once."""
    try:
        return await _compare(tenant, unit, port)
    except Exception as error:
        before = await tenant.audits.report(unit.name)
        problem = told(unit.name, error)
        await tenant.audits.failed(
            unit.name, redact(problem.removeprefix(f"{unit.name}: ")), tenant.clock.now() + RETRY
        )
        if not isinstance(error, BridgeError):
            raise
        if before.error is None:
            tenant.log.warning("audit_failed", destination=unit.name, error=f"{type(error).__name__}: {error}")
        return Progress(problems=[problem])


async def _compare(tenant: Tenant, unit: DestinationUnit, port: CountsConversions) -> Progress:
    now = tenant.clock.now()
    since = now - REACH
    first = since.date() + timedelta(days=2)  # the first day that is whole in any time zone
    sent = await tenant.audits.sent(unit.name, since)
    before = await tenant.audits.report(unit.name)
    if not sent and not before.days:
        await tenant.audits.save(unit.name, (), first, (now, now + EVERY))
        return Progress()
    counts = await port.counts(sent, since)
    days = [one for one in audit.located(before.days, counts.days) if one.day >= first]
    untold = dict(counts.untold)
    days += [one for one in before.days if one.target in untold and one.day >= first]  # as they were last seen
    reasons = "; ".join(f"{target}: {why}" for target, why in untold.items())
    await tenant.audits.save(unit.name, days, first, (now, now + EVERY), reasons or None)
    for target, why in counts.untold:
        tenant.log.info("audit_untold", destination=unit.name, goal=target, why=why)
    tenant.log.info("audited", destination=unit.name, conversions=len(sent), days=len(days))
    change = audit.changes(before.days, days, first)
    for one in change.begun:
        tenant.log.warning(
            "audit_lost" if audit.standing(one) is Standing.LOST else "audit_extra",
            destination=unit.name,
            goal=one.target,
            day=one.day,
            ours=one.ours,
            theirs=one.theirs,
            conversions=audit.size(one),
        )
    for target, day in change.over:
        tenant.log.info("audit_settled", destination=unit.name, goal=target, day=day)
    progress = Progress(problems=[f"{unit.name}: {audit.words(change.begun)}"] if change.begun else [])
    progress.done["audited"] += len(sent)
    return progress
