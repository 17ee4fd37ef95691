"""Whether what a deal has reached is undone: a sale that is lost now, a lead that turned out to be spam. Pure.

History still says that the goal was reached; but it is worth nothing any more. What was not sent yet is withdrawn, what
was sent is restated to zero where the destination can do that (see ``plan``).
"""

from __future__ import annotations

from bridge.model import Deal, DealKind, Judgement, StageChange, Verdict, frozen
from bridge.rules.floor import Floor
from bridge.rules.goals import CompiledGoal


@frozen
class Present:
    """A deal as it is now, of this source. ``floor``: of the moments whose reaches may be taken back."""

    deal: Deal
    source: str
    floor: Floor = Floor()


def judged(judgement: Judgement, goal: CompiledGoal, now: Present) -> Judgement:
    """The judgement on a goal, or that what was reached is retracted."""
    at = judgement.occurred_at
    if goal.undone is None or judgement.verdict is not Verdict.QUALIFIED or at is None or not now.floor.is_open(at):
        return judgement
    why = _why(goal.undone, now.deal, now.source)
    if not why:
        return judgement
    reason = f"reached, and taken back: now {why}"
    return Judgement(goal.name, Verdict.EXCLUDED, judgement.rule, reason, value=goal.nothing, is_retracted=True)


def _why(undone: CompiledGoal, deal: Deal, source: str) -> str:
    """The condition that holds of the deal as it is now, in words; "" if one does not."""
    entry = undone.lead if deal.kind is DealKind.LEAD else undone.deal
    now = StageChange(deal.updated_at, deal.pipeline, deal.stage, deal.outcome, "record")
    if not entry.reached(now) or (undone.losses is not None and undone.losses.why_not(deal)):
        return ""
    if any(check.holds(deal, source) for check in undone.checks):
        return ""
    rules = [entry.rule, undone.losses.rule if undone.losses else "", *(check.rule for check in undone.checks)]
    return ", ".join(filter(None, rules))
