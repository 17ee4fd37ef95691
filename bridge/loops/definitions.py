"""A goal that was changed in the configuration: noticed, and remembered, before anything is judged by it."""

from __future__ import annotations

from bridge.frozen import replace
from bridge.ports import Finding, Level
from bridge.rules import definitions
from bridge.store.records import SourceState
from bridge.tenant import SourceUnit, Tenant


async def note(tenant: Tenant, unit: SourceUnit, state: SourceState | None = None) -> SourceState:
    """The source's state with the goals as they are configured now. Whoever calls works for the tenant.

    While nothing was read of the source yet, whatever its goals are is what they were from the beginning.
    """
    if state is None:
        state = await tenant.records.source_state(tenant.name, unit.name)
    now, before = tenant.clock.now(), state.goals
    found = definitions.noted(before, tenant.digests, now)
    if found == before:
        return state
    if before is not None and state.watermark is None and await tenant.records.is_empty(tenant.name, unit.name):
        before, found = None, definitions.noted(None, tenant.digests, now)
    changed = definitions.differs(before, tenant.digests)
    if changed and tenant.looks_around:  # nothing need happen to a deal, and it has to be judged by the new goals
        await tenant.records.judge_again(tenant.name, unit.name)
    await tenant.records.set_goals(tenant.name, unit.name, found)
    for goal in changed:
        tenant.log.info("goal_changed", source=unit.name, goal=goal)
    return replace(state, goals=found)


async def findings(tenant: Tenant) -> list[Finding]:
    """What ``bridge check`` says of goals that were changed. Changes nothing."""
    waiting: dict[str, definitions.Change] = {}
    fresh: dict[str, None] = {}
    for name in tenant.sources:
        state = await tenant.records.source_state(tenant.name, name)
        waiting |= {change.goal: change for change in definitions.changes(state.goals)}
        fresh |= dict.fromkeys(definitions.differs(state.goals, tenant.digests))
    found = [
        Finding(Level.OK, "goals", f'goal "{goal}" is new or changed: {definitions.advice(tenant.name)}')
        for goal in fresh
    ]
    for goal, change in waiting.items():
        if goal in tenant.digests and goal not in fresh:
            found.append(Finding(Level.WARNING, "goals", definitions.waiting(tenant.name, goal, change.since)))
    return found
