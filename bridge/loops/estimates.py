"""Estimate once a week what a deal that reaches a goal is worth, from the tenant's own stored deals.

What is estimated holds from that moment on. Where the history tells nothing yet nothing is stored, and it is looked at
again after an hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

from bridge.frozen import replace
from bridge.loops import assess
from bridge.model import Deal
from bridge.ports import Finding, Level
from bridge.rules.definitions import VALUE
from bridge.rules.expectation import NO_CHANNEL, Cell, Estimate, cell_of, counted, is_usable, window
from bridge.rules.qualify import CompiledGoal
from bridge.rules.reach import Missed, reached
from bridge.store.families import families
from bridge.store.records import Assessed
from bridge.tenant import Progress, SourceUnit, Tenant

EVERY = timedelta(days=7)
_AGAIN = timedelta(hours=1)
_PAGE = 500


async def once(tenant: Tenant) -> Progress:
    """Estimate for every source whose last estimate is a week old."""
    progress = Progress()
    if not tenant.expects:
        return progress
    for unit in tenant.sources.values():
        now = tenant.clock.now()
        if unit.estimated_at is not None and now - unit.estimated_at < _AGAIN:
            continue
        unit.estimated_at = now
        wanted = await _due(tenant, unit, now)
        for goal, estimate in (await estimates(tenant, unit, wanted, now)).items() if wanted else ():
            if is_usable(estimate):
                await _add(tenant, unit.name, goal, estimate)
                tenant.log.info("values_estimated", source=unit.name, goal=goal, pipelines=len(estimate.cells))
                progress.done["estimated"] += 1
    return progress


async def _add(tenant: Tenant, source: str, goal: str, estimate: Estimate) -> None:
    """It holds from now on, not from when counting began: deals that were judged meanwhile keep their values.

    While none is being judged: what a page was judged by stays the newest until it is written.
    """
    async with tenant.left:
        known = replace(estimate, at=tenant.clock.now())
        await tenant.estimates.add(source, goal, tenant.digests[goal][VALUE], known)


async def _due(tenant: Tenant, unit: SourceUnit, now: datetime) -> list[str]:
    """Goals without an estimate of this week."""
    if unit.brings_touches:
        return []
    known = await tenant.estimates.of(unit.name, tenant.digests)
    wanted = [goal.name for goal in tenant.settings.goals if goal.value == "expected"]
    return [goal for goal in wanted if not known.get(goal) or now - known[goal][-1].at >= EVERY]


async def estimates(tenant: Tenant, unit: SourceUnit, wanted: Sequence[str], now: datetime) -> dict[str, Estimate]:
    """What the stored deals tell at this moment, by goal, usable or not. Reads only."""
    if not await assess.has_names(tenant, unit):
        return {}
    desk = await assess.desk_for(tenant, unit)
    goals = [goal for goal in desk.compiled.goals if goal.name in wanted]
    found: dict[str, list[tuple[str, str, Cell]]] = {goal.name: [] for goal in goals}
    async with aclosing(families(tenant.store, tenant.name, unit.name, "", _PAGE)) as pages:
        async for page in pages:
            facts = await tenant.records.facts(tenant.name, unit.name, page.keys)
            judged = await assess.judge_all(desk, assess.entered_before(facts.values()), frozenset(facts))
            groups = _groups({item.deal.key: item for item in judged.assessed})
            for goal in goals:
                found[goal.name] += [pair for group in groups if (pair := _counts(desk, goal, group))]
            for goal in goals:  # memory grows with channels, not with deals
                found[goal.name] = _joined(found[goal.name])
    own = tenant.settings.expected
    return {
        goal.name: Estimate(now, _currency(goal), own.least, own.weight, counted(found[goal.name])) for goal in goals
    }


def _currency(goal: CompiledGoal) -> str:
    assert goal.expectation is not None
    return goal.expectation.currency


def _joined(found: Sequence[tuple[str, str, Cell]]) -> list[tuple[str, str, Cell]]:
    return [(p, channel, cell) for p, channels in counted(found).items() for channel, cell in channels.items()]


def _groups(facts: Mapping[str, Assessed]) -> list[list[Assessed]]:
    """Leads with the deals made from them."""
    groups: dict[str, list[Assessed]] = {}
    for key in sorted(facts):
        head = key
        while (parent := facts[head].deal.parent) is not None and parent in facts:
            head = parent
        groups.setdefault(head, []).append(facts[key])
    return [sorted(group, key=lambda one: (one.deal.parent is not None, one.deal.key)) for group in groups.values()]


def _counts(desk: assess.Desk, goal: CompiledGoal, group: Sequence[Assessed]) -> tuple[str, str, Cell] | None:
    """Where a lead with its deals counts; None if none of them reached the goal in time."""
    own = desk.tenant.settings.expected
    since, until = window(desk.now, own.cycle, own.history)
    living = [one for one in group if not one.deal.is_touch and not one.deal.is_deleted]
    family = [one.deal for one in living]
    for one in living:
        found = reached(goal.block, assess.case_of(desk, one.deal, one.reading, one.match))
        if isinstance(found, Missed) or (goal.no_spam is not None and one.deal.is_spam):
            continue
        if not since <= found.at <= until:
            return None
        cell = cell_of(_about(one.deal, family), _currency(goal))
        return found.entry.pipeline, one.reading.channel or NO_CHANNEL, cell
    return None


def _about(deal: Deal, family: Sequence[Deal]) -> Sequence[Deal]:
    """Whose sale is the deal's own: a lead's is that of its deals."""
    return family if deal.parent is None else [deal]


# --- for people --------------------------------------------------------------------------------------------------


async def findings(tenant: Tenant) -> list[Finding]:
    """What ``bridge check`` says of goals whose value is an expected one."""
    found = []
    own = tenant.settings.expected
    for unit in tenant.sources.values() if tenant.expects else ():
        if unit.brings_touches:
            continue
        known = await tenant.estimates.of(unit.name, tenant.digests)
        for goal in tenant.settings.goals:
            if goal.value == "expected" and not known.get(goal.name):
                since = tenant.clock.now() - own.cycle - own.history
                text = (
                    f'goal "{goal.name}" has no expected value yet in "{unit.name}": conversions go without a value. '
                    f"It needs {own.least} deals of a pipeline that reached it {own.cycle.days} days ago or earlier, "
                    f'sales among them; "bridge backfill --tenant {tenant.name} --since {since:%Y-%m-%d}" reads them, '
                    f'"bridge values --tenant {tenant.name}" tells what there is'
                )
                found.append(Finding(Level.WARNING, "values", text))
    return found
