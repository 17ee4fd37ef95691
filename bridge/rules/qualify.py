"""Did a deal reach a goal, when, and what is it worth? Pure: a deal's facts alone decide, at any time, again and again.

A goal is reached at the first moment of the deal's history at which its stage, pipeline and outcome conditions hold
together: a lead that was qualified and later lost was still qualified (design, section 1). The other conditions look
at the deal as it is now. With a loss reason only the latest entry into the current stage counts, and the deal must be
lost now: a reason belongs to the present loss, not to one that was undone. Criteria and scores may come later than the
stage: then the goal is reached at the first moment at which all of it holds (``rules.reach``).

A goal per payment is reached by each paid payment of a deal that satisfies its conditions, at the moment of the
payment: a prepayment counts when it was paid, even where the deal came to satisfy them later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from bridge.frozen import replace
from bridge.model import Deal, Judgement, Money, Payment, PaymentState, Verdict
from bridge.rules import suspicion
from bridge.rules.case import Case
from bridge.rules.floor import Floor
from bridge.rules.goals import Compiled, CompiledGoal, Occasion, WorthError, compile_goals
from bridge.rules.reach import Missed, Reached, again_at, reached

__all__ = ["BEFORE_START", "Compiled", "CompiledGoal", "compile_goals", "judge", "judgements", "of_all"]

BEFORE_START = "before_start"
_QUALIFIED, _EXCLUDED = Verdict.QUALIFIED, Verdict.EXCLUDED  # Python is slow to look up a member of an enum


def of_all(goals: Iterable[CompiledGoal], case: Case, floor: Floor) -> list[Judgement]:
    """What each of these goals says of the deal, one after the other."""
    found: list[Judgement] = []
    for goal in goals:
        if goal.is_per_payment:
            found += judgements(goal, case, floor)
        else:
            found.append(judge(goal, case, floor))
    return found


def judgements(goal: CompiledGoal, case: Case, floor: Floor) -> list[Judgement]:
    """What the goal says of the deal: once, or of each of its payments; the arguments are those of ``judge``.

    A refunded payment is named whether or not the deal satisfies the goal now: what was promised for it has to be taken
    back.
    """
    if not goal.is_per_payment:
        return [judge(goal, case, floor)]
    found, deal = reached(goal.block, case), case.deal
    if isinstance(found, Missed):
        return [_missed(goal, found), *_refunds(goal, deal)]
    rule = _rule(goal, deal, found.told)
    if not deal.payments:
        return [_excluded(goal, rule, "its payments are not read" if deal.payments is None else "no payments yet")]
    each = {payment.id: payment for payment in deal.payments}  # a source may list one twice
    return [_paid(goal, deal, payment, rule, floor) for payment in each.values()]


def judge(goal: CompiledGoal, case: Case, floor: Floor) -> Judgement:
    """What the goal says of the deal as a whole.

    Args:
        goal: compiled for the catalogue of this source.
        case: a deal with its history in time order, and what is known beside it.
        floor: goals reached at a moment that is not open are excluded as ``before_start``; only a backfill opens it.
    """
    found = reached(goal.block, case)
    if isinstance(found, Missed):
        return _missed(goal, found)
    if goal.no_spam is not None and case.deal.is_spam:
        spam = _excluded(goal, suspicion.EXCLUDE_SPAM, suspicion.named(case.deal))
        return replace(spam, value=goal.no_spam, is_retracted=True, is_undone=True)
    judged = _qualified(goal, case.deal, found, floor)
    back = again_at(goal.block, case.deal, found) if judged.verdict is _QUALIFIED else None
    return judged if back is None else replace(judged, again_at=back)


def _missed(goal: CompiledGoal, missed: Missed) -> Judgement:
    """Not reached; waiting where it will be reached though nothing happens to the deal."""
    if missed.recheck_at is None:
        return Judgement(goal.name, _EXCLUDED, missed.rule, missed.reason)
    return Judgement(goal.name, Verdict.WAITING, missed.rule, missed.reason, recheck_at=missed.recheck_at)


def _excluded(goal: CompiledGoal, rule: str, reason: str) -> Judgement:
    return Judgement(goal.name, _EXCLUDED, rule, reason)


def _qualified(goal: CompiledGoal, deal: Deal, found: Reached, floor: Floor) -> Judgement:
    rule = _rule(goal, deal, found.told)
    if not floor.is_open(found.at):
        return _excluded(goal, rule, _before_start(goal, found.at, found.at))
    source = found.entry.source if found.at == found.entry.at else "its criteria and scores"
    return _worth(goal, deal, Occasion(found.at, pipeline=found.entry.pipeline), rule, f"from {source}")


def _before_start(goal: CompiledGoal, at: datetime, since: datetime) -> str:
    """``since``: where a backfill has to begin to list the deal and to open the moment. Its dates are the tenant's."""
    at, since = at.astimezone(goal.zone), since.astimezone(goal.zone)
    return (
        f"{BEFORE_START}: reached {at:%Y-%m-%d %H:%M} ({goal.zone}), before this source's start and in no period "
        f'that was backfilled; to send it, run "bridge backfill --since {since:%Y-%m-%d}"'
    )


def _worth(goal: CompiledGoal, deal: Deal, occasion: Occasion, rule: str, reason: str) -> Judgement:
    if goal.expectation is not None:
        value, told = goal.expectation.worth(deal, occasion.at, occasion.pipeline)
        return Judgement(goal.name, Verdict.QUALIFIED, rule, f"{reason}; {told}", occasion.at, value)
    if goal.products is not None:
        value, told = goal.products.of(deal)
        return Judgement(goal.name, Verdict.QUALIFIED, rule, f"{reason}; {told}", occasion.at, value)
    try:
        value = None if goal.worth is None else goal.worth(deal, occasion)
    except WorthError as error:
        return _excluded(goal, "value expression", f"value expression failed: {error}")
    return Judgement(goal.name, _QUALIFIED, rule, reason, occasion.at, value)


def _refunds(goal: CompiledGoal, deal: Deal) -> Iterator[Judgement]:
    for payment in deal.payments or ():
        if payment.state is PaymentState.REFUNDED:
            yield _retracted(goal, payment, _named(payment), "refunded")


def _paid(goal: CompiledGoal, deal: Deal, payment: Payment, rule: str, floor: Floor) -> Judgement:
    """What the goal says of one payment. A moment before the start is as closed as for a deal as a whole."""
    rule = f"{rule}, {_named(payment)}"
    if payment.state is PaymentState.REFUNDED:
        return _retracted(goal, payment, rule, "refunded")
    if payment.state is PaymentState.UNPAID:
        judged = _excluded(goal, rule, "not paid")
    elif payment.value.minor <= 0:
        return _retracted(goal, payment, rule, "nothing was paid")
    elif payment.paid_at is None:
        judged = _excluded(goal, rule, "paid, but its source tells no time")
    elif not floor.is_open(payment.paid_at):
        judged = _excluded(goal, rule, _before_start(goal, payment.paid_at, min(payment.paid_at, deal.updated_at)))
    else:
        judged = _worth(goal, deal, Occasion(payment.paid_at, payment), rule, f"from the {payment.kind}")
    return replace(judged, occurrence=payment.id)


def _retracted(goal: CompiledGoal, payment: Payment, rule: str, reason: str) -> Judgement:
    zero = Money(0, payment.value.currency)
    judged = Judgement(goal.name, Verdict.EXCLUDED, rule, reason, value=zero)
    return replace(judged, occurrence=payment.id, is_retracted=True)


def _named(payment: Payment) -> str:
    """For people: ``payment 887``."""
    return payment.id.replace(":", " ", 1)


def _rule(goal: CompiledGoal, deal: Deal, told: str) -> str:
    block = goal.block
    if block.losses is not None and deal.loss_reason is not None:
        lost = f"loss reason {deal.loss_reason[1] or deal.loss_reason[0]}"
        return f"{told}, {lost}" if told else lost
    return told or ", ".join([check.rule for check in block.checks]) or "every deal"
