"""Since when a block of conditions holds, and how many points a deal has when. Pure.

Conditions about stages hold from the first entry on, for ever: what was reached stays reached. Conditions that look at
the deal as it is now have no time of their own; they take that of the entry beside them, which without any is the
deal's first. Points may fade, so a score may pass a test for a while only, and reach a threshold on a day when nothing
happens to the deal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from bridge.model import Deal, DealKind, StageChange, frozen
from bridge.rules import steps
from bridge.rules.blocks import Block, Entry
from bridge.rules.case import Case
from bridge.rules.score import Ask, CompiledScore, Rule, on_day
from bridge.rules.steps import NEVER, Steps

_LEAD = DealKind.LEAD  # Python is slow to look up a member of an enum


@frozen
class Reached:
    """``entry`` is the stage entry that counts; ``at`` the moment, not before it; ``told`` what decided, in words."""

    entry: StageChange
    at: datetime
    told: str


@frozen
class Missed:
    """The condition that failed and why; ``recheck_at``: when all will hold, if nothing changes until then."""

    rule: str
    reason: str
    recheck_at: datetime | None = None


def reached(block: Block, case: Case) -> Reached | Missed:
    """Since when these conditions hold, or why they do not."""
    entry = _entry_of(block, case.deal)
    found = _entered(block, entry, case)
    if isinstance(found, Missed):
        return found
    told = entry.told(found)
    if not block.is_timed:
        return Reached(found, found.at, told)
    at = steps.first(_all_of(_timed(block, case)), found.at)
    if at is None or at > max(case.looked_at, _latest(case.deal)):
        return _not_yet(block, case, max(case.looked_at, found.at), at)
    return Reached(found, at, ", ".join(filter(None, [told, *_told_at(block, case, at)])))


def again_at(block: Block, deal: Deal, found: Reached) -> datetime | None:
    """When the deal came back last to stages that satisfy the block, after it had left them; None if it never did."""
    latest, history = found.entry, deal.history
    if not history or latest is history[-1]:
        return None
    entry, is_inside = _entry_of(block, deal), True
    for change in history[history.index(latest) + 1 :] if latest in history else ():
        is_satisfied = entry.reached(change)
        if is_satisfied and not is_inside:
            latest = change
        is_inside = is_satisfied
    return latest.at if latest.at > found.at else None


def truth(block: Block, case: Case) -> Steps:
    """When these conditions hold (one) and when not (zero)."""
    found = _entered(block, _entry_of(block, case.deal), case)
    if isinstance(found, Missed):
        return NEVER
    return _all_of([steps.since(found.at), *_timed(block, case)])


def _all_of(parts: Sequence[Steps]) -> Steps:
    return steps.where(steps.total(parts), lambda number: number == len(parts))


def _timed(block: Block, case: Case) -> list[Steps]:
    """The block's criteria, and what it asks of scores."""
    found = [steps.where(points(one.score, case), one.test) for one in block.asks]
    criteria = block.criteria
    if criteria is not None:
        met = steps.total([truth(inner, case) for _, inner in criteria.each])
        found.append(steps.where(met, lambda number: number >= criteria.at_least))
    return found


def _not_yet(block: Block, case: Case, moment: datetime, then: datetime | None) -> Missed:
    """Which of the timed conditions does not hold at a moment. ``then``: when all will."""
    criteria = block.criteria
    if criteria is not None:
        met = steps.at(steps.total([truth(inner, case) for _, inner in criteria.each]), moment)
        if met < criteria.at_least:
            return Missed(criteria.rule, f"{met} of {len(criteria.each)} criteria are met", then)
    for one in block.asks:
        number = steps.at(points(one.score, case), moment)
        if not one.test(number):
            return Missed(one.rule, _scored(one, number), then)
    return Missed("", "conditions do not hold together", then)


def _told_at(block: Block, case: Case, moment: datetime) -> Iterator[str]:
    """How criteria and scores stand at a moment, in words."""
    if block.criteria is not None:
        met = steps.at(steps.total([truth(inner, case) for _, inner in block.criteria.each]), moment)
        yield f"{met} of {len(block.criteria.each)} criteria"
    for one in block.asks:
        yield _scored(one, steps.at(points(one.score, case), moment))


def _scored(one: Ask, number: int) -> str:
    band = one.score.band(number)
    return f"score {one.score.name} is {number}{f' ({band})' if band else ''}"


# --- stage entries and what is true now --------------------------------------------------------------------------


def _entry_of(block: Block, deal: Deal) -> Entry:
    return block.lead if deal.kind is _LEAD else block.deal


def _entered(block: Block, entry: Entry, case: Case) -> StageChange | Missed:
    """The stage entry that satisfies the block, all else about the deal as it is now being so, or what is not."""
    deal = case.deal
    if block.losses is not None:
        failed = block.losses.why_not(deal)
        if failed:
            return Missed(block.losses.rule, failed)
        change = _latest_entry(entry, deal)
    else:
        change = entry.first(deal.history or _from_record(deal))
    if change is None:
        return Missed(entry.rule, entry.missing)
    for check in block.checks:
        failed = check.holds(case)
        if failed:
            return Missed(check.rule, failed)
    return change


def _latest_entry(entry: Entry, deal: Deal) -> StageChange | None:
    """The entry into the stage the deal is in now (the first of equal neighbours), if it reaches the goal."""
    history = deal.history or _from_record(deal)
    latest = history[-1]
    for change in reversed(history):
        if (change.pipeline, change.stage) != (latest.pipeline, latest.stage):
            break
        latest = change
    return latest if entry.reached(latest) else None


def _latest(deal: Deal) -> datetime:
    return (deal.history or _from_record(deal))[-1].at


def _from_record(deal: Deal) -> tuple[StageChange, ...]:
    """A history of one item for a source that knows none: the best time the record itself has."""
    return (StageChange(deal.closed_at or deal.updated_at, deal.pipeline, deal.stage, deal.outcome, "record"),)


# --- points ------------------------------------------------------------------------------------------------------


def points(score: CompiledScore, case: Case) -> Steps:
    """A deal's points in a score, from each moment on at which they change."""
    return steps.total([_points(rule, case) for rule in score.rules])


def _points(rule: Rule, case: Case) -> Steps:
    met = truth(rule.block, case)
    if not met:
        return NEVER
    begins = met[0][0]  # a rule looks at no score: once it holds, it does
    if rule.fade is None:
        return ((begins, rule.points),)
    anchor = rule.fade.anchor(case, begins)
    if anchor is None:
        return NEVER
    table = rule.fade.table
    start = on_day(table, (begins - anchor).days)
    changes = [(anchor + timedelta(days=day), value) for day, value in table[1:]]
    return ((begins, start), *[(at, value) for at, value in changes if at > begins])


# --- told --------------------------------------------------------------------------------------------------------


@frozen
class Criterion:
    """One of several conditions: since when it is met, or why it is not."""

    rule: str
    is_met: bool
    reason: str
    since: datetime | None = None


@frozen
class Summand:
    """One rule of a score: what it gives now, what it would give at most, and since when or why not."""

    points: int
    most: int
    rule: str
    reason: str
    since: datetime | None = None


@frozen
class Account:
    """A deal's score now, and what it is made of."""

    score: str
    points: int
    band: str
    summands: tuple[Summand, ...]


def criteria(block: Block, case: Case) -> tuple[Criterion, ...]:
    """Each criterion of a block as it stands now; those inside a criterion are part of it."""
    return () if block.criteria is None else tuple([_criterion(*one, case) for one in block.criteria.each])


def _criterion(told: str, block: Block, case: Case) -> Criterion:
    """What faded again is not met: the count is of what holds at one moment."""
    holds = truth(block, case)
    if steps.at(holds, case.looked_at):
        begins = [at for at, value in holds if value and at <= case.looked_at]
        return Criterion(told, True, "", begins[-1])
    found = reached(block, case)
    return Criterion(told, False, found.reason if isinstance(found, Missed) else "not any more")


def account(score: CompiledScore, case: Case) -> Account:
    """A score now, with every rule it was added up from."""
    summands = tuple([_summand(rule, case) for rule in score.rules])
    number = sum(one.points for one in summands)
    return Account(score.name, number, score.band(number), summands)


def _summand(rule: Rule, case: Case) -> Summand:
    found = reached(rule.block, case)
    if isinstance(found, Missed):
        return Summand(0, rule.points, rule.told, found.reason)
    given = _points(rule, case)
    if not given:
        return Summand(0, rule.points, rule.told, "" if rule.fade is None else rule.fade.missing)
    number = steps.at(given, case.looked_at)
    faded = "" if rule.fade is None or number == rule.points else f"faded: {rule.fade.told}"
    return Summand(number, rule.points, rule.told, faded, found.at)
