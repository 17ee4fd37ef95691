"""Did a deal reach a goal, when, and what is it worth? Pure: a deal's facts alone decide, at any time, again and again.

A goal is reached at the first moment of the deal's history at which its stage, pipeline and outcome conditions hold
together: a lead that was qualified and later lost was still qualified (design, section 1). The other conditions look
at the deal as it is now. With a loss reason only the latest entry into the current stage counts, and the deal must be
lost now: a reason belongs to the present loss, not to one that was undone.

A goal per payment is reached by each paid payment of a deal that satisfies its conditions, at the moment of the
payment: a prepayment counts when it was paid, even where the deal came to satisfy them later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from bridge.model import Deal, DealKind, Judgement, Money, Payment, PaymentState, StageChange, Verdict
from bridge.rules.floor import Floor
from bridge.rules.goals import Compiled, CompiledGoal, Entry, Occasion, WorthError, compile_goals

__all__ = ["BEFORE_START", "Compiled", "CompiledGoal", "compile_goals", "judge", "judgements"]

BEFORE_START = "before_start"


def judgements(goal: CompiledGoal, deal: Deal, source: str, floor: Floor) -> list[Judgement]:
    """What the goal says of the deal: once, or of each of its payments; the arguments are those of ``judge``.

    A refunded payment is named whether or not the deal satisfies the goal now: what was promised for it has to be taken
    back.
    """
    if not goal.is_per_payment:
        return [judge(goal, deal, source, floor)]
    found = _reached(goal, deal, source)
    if isinstance(found, Judgement):
        return [found, *_refunds(goal, deal)]
    rule = _rule(goal, deal, found[0])
    if not deal.payments:
        return [_excluded(goal, rule, "its payments are not read" if deal.payments is None else "no payments yet")]
    each = {payment.id: payment for payment in deal.payments}  # a source may list one twice
    return [_paid(goal, deal, payment, rule, floor) for payment in each.values()]


def judge(goal: CompiledGoal, deal: Deal, source: str, floor: Floor) -> Judgement:
    """What the goal says of the deal as a whole.

    Args:
        goal: compiled for the catalogue of this source.
        deal: with its history in time order.
        source: the tenant's own name of the source.
        floor: goals reached at a moment that is not open are excluded as ``before_start``; only a backfill opens it.
    """
    found = _reached(goal, deal, source)
    if isinstance(found, Judgement):
        return found
    judged = _qualified(goal, deal, *found, floor)
    again_at = _again_at(goal, deal, found[1]) if judged.verdict is Verdict.QUALIFIED else None
    return judged if again_at is None else replace(judged, again_at=again_at)


def _reached(goal: CompiledGoal, deal: Deal, source: str) -> tuple[str, StageChange] | Judgement:
    """The condition that decided and the moment, or why the goal is not reached."""
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
    return entry.told(change), change


def _excluded(goal: CompiledGoal, rule: str, reason: str) -> Judgement:
    return Judgement(goal.name, Verdict.EXCLUDED, rule, reason)


def _qualified(goal: CompiledGoal, deal: Deal, told: str, change: StageChange, floor: Floor) -> Judgement:
    rule = _rule(goal, deal, told)
    if not floor.is_open(change.at):
        return _excluded(goal, rule, _before_start(goal, change.at, change.at))
    return _worth(goal, deal, Occasion(change.at), rule, f"from {change.source}")


def _before_start(goal: CompiledGoal, at: datetime, since: datetime) -> str:
    """``since``: where a backfill has to begin to list the deal and to open the moment. Its dates are the tenant's."""
    at, since = at.astimezone(goal.zone), since.astimezone(goal.zone)
    return (
        f"{BEFORE_START}: reached {at:%Y-%m-%d %H:%M} ({goal.zone}), before this source's start and in no period "
        f'that was backfilled; to send it, run "bridge backfill --since {since:%Y-%m-%d}"'
    )


def _worth(goal: CompiledGoal, deal: Deal, occasion: Occasion, rule: str, reason: str) -> Judgement:
    try:
        value = None if goal.worth is None else goal.worth(deal, occasion)
    except WorthError as error:
        return _excluded(goal, "value expression", f"value expression failed: {error}")
    return Judgement(goal.name, Verdict.QUALIFIED, rule, reason, occasion.at, value)


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


def _again_at(goal: CompiledGoal, deal: Deal, first: StageChange) -> datetime | None:
    """When the deal came back to the goal last, after it had left it."""
    entry = goal.lead if deal.kind is DealKind.LEAD else goal.deal
    latest, is_inside = first, True
    for change in deal.history[deal.history.index(first) + 1 :] if first in deal.history else ():
        is_reached = entry.reached(change)
        if is_reached and not is_inside:
            latest = change
        is_inside = is_reached
    return None if latest is first else latest.at


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
