"""Did a deal reach a goal, when, and what is it worth? Pure: a deal's facts alone decide, at any time, again and again.

A goal is reached at the first moment of the deal's history at which its stage, pipeline and outcome conditions hold
together: a lead that was qualified and later lost was still qualified (design, section 1). The other conditions look
at the deal as it is now. With a loss reason only the latest entry into the current stage counts, and the deal must be
lost now: a reason belongs to the present loss, not to one that was undone.
"""

from __future__ import annotations

from bridge.model import Deal, DealKind, Judgement, StageChange, Verdict
from bridge.rules.floor import Floor
from bridge.rules.goals import Compiled, CompiledGoal, Entry, WorthError, compile_goals

__all__ = ["BEFORE_START", "Compiled", "CompiledGoal", "compile_goals", "judge"]

BEFORE_START = "before_start"


def judge(goal: CompiledGoal, deal: Deal, source: str, floor: Floor) -> Judgement:
    """What the goal says of the deal.

    Args:
        goal: compiled for the catalogue of this source.
        deal: with its history in time order.
        source: the tenant's own name of the source.
        floor: goals reached at a moment that is not open are excluded as ``before_start``; only a backfill opens it.
    """
    entry = goal.lead if deal.kind is DealKind.LEAD else goal.deal
    if goal.losses is not None:
        failed = goal.losses.why_not(deal)
        if failed:
            return _excluded(goal, goal.losses.rule, failed)
        change = _latest_entry(entry, deal)
    else:
        change = _first_entry(entry, deal)
    if change is None:
        return _excluded(goal, entry.rule, entry.missing)
    for check in goal.checks:
        failed = check.holds(deal, source)
        if failed:
            return _excluded(goal, check.rule, failed)
    return _qualified(goal, deal, entry.told(change), change, floor)


def _excluded(goal: CompiledGoal, rule: str, reason: str) -> Judgement:
    return Judgement(goal.name, Verdict.EXCLUDED, rule, reason)


def _qualified(goal: CompiledGoal, deal: Deal, told: str, change: StageChange, floor: Floor) -> Judgement:
    rule = _rule(goal, deal, told)
    if not floor.is_open(change.at):
        at = change.at.astimezone(goal.zone)  # dates given to a backfill are in the tenant's zone
        reason = (
            f"{BEFORE_START}: reached {at:%Y-%m-%d %H:%M} ({goal.zone}), before this source's start and in no period "
            f'that was backfilled; to send it, run "bridge backfill --since {at:%Y-%m-%d}"'
        )
        return _excluded(goal, rule, reason)
    try:
        value = None if goal.worth is None else goal.worth(deal, change.at)
    except WorthError as error:
        return _excluded(goal, "value expression", f"value expression failed: {error}")
    return Judgement(goal.name, Verdict.QUALIFIED, rule, f"from {change.source}", change.at, value)


def _rule(goal: CompiledGoal, deal: Deal, told: str) -> str:
    parts = [told] if told else []
    if goal.losses is not None and deal.loss_reason is not None:
        parts.append(f"loss reason {deal.loss_reason[1] or deal.loss_reason[0]}")
    parts = parts or [check.rule for check in goal.checks]
    return ", ".join(parts) or "every deal"


def _first_entry(entry: Entry, deal: Deal) -> StageChange | None:
    for change in deal.history or _from_record(deal):
        if entry.reached(change):
            return change
    return None


def _latest_entry(entry: Entry, deal: Deal) -> StageChange | None:
    """The entry into the stage the deal is in now (the first of equal neighbours), if it reaches the goal."""
    history = deal.history or _from_record(deal)
    latest = history[-1]
    for change in reversed(history):
        if (change.pipeline, change.stage) != (latest.pipeline, latest.stage):
            break
        latest = change
    return latest if entry.reached(latest) else None


def _from_record(deal: Deal) -> tuple[StageChange, ...]:
    """A history of one item for a source that knows none: the best time the record itself has."""
    return (StageChange(deal.closed_at or deal.updated_at, deal.pipeline, deal.stage, deal.outcome, "record"),)
