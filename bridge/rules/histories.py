"""Partial histories of a deal made one: what was stored of it before, and what was read now. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.frozen import replace
from bridge.model import Deal, StageChange, ValueChange
from bridge.rules import payments


def merge(before: Deal, now: Deal) -> Deal:
    """The deal as it is now, with the histories that were stored before joined to those read now."""
    if before.came_at is not None and now.parent == before.parent:
        now = replace(now, came_at=before.came_at)
    if now.value_changes or before.value_changes or now.value != before.value:
        now = replace(now, value_changes=merge_values(before, now))
    if before.noted:
        now = replace(now, noted={**before.noted, **now.noted})  # a source may tell of a page once only
    if before.payments != now.payments:
        now = replace(now, payments=payments.merge(before.payments, now.payments))
    if now.products is None and before.products is not None:
        now = replace(now, products=before.products)  # whoever may not read them any more does not see them change
    if before.history != now.history:
        now = replace(now, history=_up_to_now(now, merge_history(before.history, now.history)))
    return now


def merge_values(before: Deal, now: Deal) -> tuple[ValueChange, ...]:
    """Two partial histories of a deal's value as one.

    A value that was not known to change held from the beginning. One that nothing tells of came with the record.
    """
    known = before.value_changes
    if not known and before.value is not None:
        known = (ValueChange(before.created_at, before.value),)
    told = {change.at: change for change in (*known, *now.value_changes)}
    if now.value is not None and (not told or told[max(told)].value != now.value):
        told[now.updated_at] = ValueChange(now.updated_at, now.value)
    return tuple([told[at] for at in sorted(told)])


def _up_to_now(deal: Deal, history: tuple[StageChange, ...]) -> tuple[StageChange, ...]:
    """A history that ends in the deal's current stage, even where its source has lost the last move."""
    if history and (history[-1].pipeline, history[-1].stage) == (deal.pipeline, deal.stage):
        return history
    at = max(deal.updated_at, history[-1].at) if history else deal.updated_at
    return (*history, StageChange(at, deal.pipeline, deal.stage, deal.outcome, "record"))


def merge_history(before: Sequence[StageChange], now: Sequence[StageChange]) -> tuple[StageChange, ...]:
    """Two partial histories as one, in time order; the current stage (the last of ``now``) stays last.

    An entry taken from the record itself is only a stand-in: it gives way to an earlier one of the same stage.
    """
    true = {(c.at, c.pipeline, c.stage): c for c in (*before, *now) if c.source != "record"}
    stand_ins = [c for c in dict.fromkeys((*before, *now)) if c.source == "record"]
    merged: list[StageChange] = []
    for change in sorted([*true.values(), *stand_ins], key=lambda c: c.at):
        is_told = bool(merged) and (merged[-1].pipeline, merged[-1].stage) == (change.pipeline, change.stage)
        if change.source != "record" or not is_told:
            merged.append(change)
    return tuple(merged)
