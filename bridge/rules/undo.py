"""A goal that is undone: by another one (a qualified lead that turned out to be spam), or a sale that is lost. Pure.

History stays history: the goal was reached. What was promised for it is taken back like a refund: what was not sent is
withdrawn, what was sent becomes worth nothing where the destination corrects values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field

from bridge.config import Goal
from bridge.frozen import replace
from bridge.model import Deal, Judgement, Money, Outcome, Verdict, frozen


@frozen
class Undoing:
    """What takes goals back: ``by`` names the goals that undo a goal, ``sales`` are undone when their deal is lost.

    ``currency``: of the zero where no value was promised.
    """

    by: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sales: frozenset[str] = frozenset()
    currency: str = ""

    @classmethod
    def of(cls, goals: Iterable[Goal], currency: str) -> Undoing:
        """By the goals' own settings."""
        goals = list(goals)
        by = {goal.name: goal.undone_by for goal in goals if goal.undone_by}
        return cls(by, frozenset([goal.name for goal in goals if goal.is_sale]), currency)

    def applied(self, judgements: Sequence[Judgement], deal: Deal) -> Sequence[Judgement]:
        """The judgements of one deal, with those taken back that are undone."""
        return unsold(undone(judgements, self.by, self.currency), self.sales, deal, self.currency)


def undone(
    judgements: Sequence[Judgement], undone_by: Mapping[str, Sequence[str]], currency: str
) -> Sequence[Judgement]:
    """The judgements of one deal, with those taken back whose goal another one undoes that was reached no earlier.

    ``undone_by``: goal -> the goals that undo it. ``currency``: of the zero where no value was promised.
    """
    if not undone_by:
        return judgements
    reached = {item.goal: item for item in judgements if item.verdict is Verdict.QUALIFIED}
    return [_judged(item, undone_by.get(item.goal, ()), reached, currency) for item in judgements]


def unsold(judgements: Sequence[Judgement], sales: Collection[str], deal: Deal, currency: str) -> Sequence[Judgement]:
    """The judgements of one deal, with its sales taken back if it is lost now.

    ``sales``: goals that say no more than that a deal is won. Won again, it is worth what it is then.
    """
    if not sales or deal.outcome is not Outcome.LOST:
        return judgements
    won = [one for one in judgements if one.goal in sales and one.verdict is Verdict.QUALIFIED]
    if not won:
        return judgements
    return [_taken_back(one, "won, and lost again", currency) if one in won else one for one in judgements]


def _judged(one: Judgement, by: Sequence[str], reached: Mapping[str, Judgement], currency: str) -> Judgement:
    at = one.occurred_at
    if one.verdict is not Verdict.QUALIFIED or at is None:
        return one
    for name in by:
        other = reached.get(name)
        if other is None or other.occurred_at is None or other.occurred_at < at:
            continue
        reason = f'undone by the goal "{name}" at {other.occurred_at:%Y-%m-%d %H:%M} UTC ({other.rule})'
        return replace(_taken_back(one, reason, currency), is_undone=True)
    return one


def _taken_back(one: Judgement, reason: str, currency: str) -> Judgement:
    zero = Money(0, one.value.currency if one.value else currency)
    return replace(one, verdict=Verdict.EXCLUDED, reason=reason, occurred_at=None, value=zero, is_retracted=True)
