"""What changed rules would change, told by goal: deals that come to reach it, that do not any more, and those that
reach it at another moment or for another value. Pure.

What counts now is what the ledger has: the conversions that were made. What would count is what the goals say of the
same deals. A payment that was refunded and a deal that was deleted are no matter of rules, and are left out. So is
what is undone already; what these rules take back is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bridge.model import ONCE_PER_DEAL, Conversion, Money, Verdict, frozen
from bridge.rules.preview import Look

_GONE = "the goal is not in this configuration"


class Change(StrEnum):
    """``MOVED``: it is reached as before, at another moment or for another value."""

    GAINED = "gained"
    LOST = "lost"
    MOVED = "moved"


@frozen
class Side:
    """A goal as it was reached."""

    occurred_at: datetime
    value: Money | None


@frozen
class Flip:
    """One reach that would be another. ``rule`` and ``reason`` are the changed rules' own."""

    deal: str
    goal: str
    occurrence: str
    change: Change
    before: Side | None
    after: Side | None
    rule: str
    reason: str


@dataclass(slots=True)
class Count:
    """One goal over many deals; values by currency, in minor units. ``waiting`` will reach it by themselves."""

    before: int = 0
    after: int = 0
    waiting: int = 0
    changes: Counter[Change] = field(default_factory=Counter)
    value_before: Counter[str] = field(default_factory=Counter)
    value_after: Counter[str] = field(default_factory=Counter)

    def add(self, before: Side | None, after: Side | None) -> None:
        """Count one reach, as it is and as it would be."""
        self.before += before is not None
        self.after += after is not None
        for side, worth in ((before, self.value_before), (after, self.value_after)):
            if side is not None and side.value is not None:
                worth[side.value.currency] += side.value.minor


@dataclass(slots=True)
class Comparison:
    """Looks at many deals, compared. It keeps no more flips than ``limit``, and counts them all."""

    limit: int
    goals: dict[str, Count] = field(default_factory=dict)
    flips: list[Flip] = field(default_factory=list)
    total: int = 0

    def add(self, deal: str, look: Look) -> None:
        """Compare one deal."""
        for one in look.judgements:
            self.goals.setdefault(one.goal, Count()).waiting += one.verdict is Verdict.WAITING
        for flip, is_flip in _reaches(deal, look):
            count = self.goals.setdefault(flip.goal, Count())
            count.add(flip.before, flip.after)
            if is_flip:
                count.changes[flip.change] += 1
                self.total += 1
                if len(self.flips) < self.limit:
                    self.flips.append(flip)


_Place = tuple[str, str]  # goal, occurrence


def _reaches(deal: str, look: Look) -> Iterator[tuple[Flip, bool]]:
    """Every reach of a deal, before or after, and whether it would be another."""
    known = _known(look)
    made = {(one.goal, one.occurrence) for one in look.outcome.conversions if not one.revision}
    judged = {(one.goal, one.occurrence): one for one in look.judgements}
    taken_back = _taken_back(look)
    for place in sorted(known.keys() | made):
        one, before = judged.get(place), known.get(place)
        if one is not None and one.is_retracted and not (one.is_undone and place in taken_back):
            continue
        after = None
        if one is not None and one.verdict is Verdict.QUALIFIED and one.occurred_at is not None:
            after = Side(one.occurred_at, one.value)
        change = Change.GAINED if before is None else Change.LOST if after is None else Change.MOVED
        rule, reason = ("", _why_not(place, look)) if one is None else (one.rule, one.reason)
        yield Flip(deal, *place, change, before, after, rule, reason), _differ(before, after, place[1])


def _differ(before: Side | None, after: Side | None, occurrence: str) -> bool:
    """The moment of a payment is no rule's, and may have been set apart from another's by a second."""
    if before is None or after is None or occurrence == ONCE_PER_DEAL:
        return before != after
    return before.value != after.value


def _known(look: Look) -> dict[_Place, Side]:
    """What the ledger has: the moment of the original, the value told last."""
    latest: dict[_Place, Conversion] = {}
    for item in sorted(look.known, key=lambda item: item.conversion.revision):
        latest[item.conversion.goal, item.conversion.occurrence] = item.conversion
    return {place: Side(one.occurred_at, one.value) for place, one in latest.items()}


def _taken_back(look: Look) -> set[_Place]:
    """What the plan withdraws or tells anew: of what was undone before, nothing."""
    owners = {row.id: one.conversion for one in look.known for row in one.deliveries}
    gone = [row.id for row, _ in look.outcome.withdrawn]
    gone += [key for key, is_recalled in look.outcome.recalled if is_recalled]
    told = [owners[key] for key in gone] + [one for one in look.outcome.conversions if one.revision]
    return {(one.goal, one.occurrence) for one in told}


def _why_not(place: _Place, look: Look) -> str:
    """Why nothing is said of an occurrence: its goal is gone, or reached otherwise (once, or per payment)."""
    same = [one for one in look.judgements if one.goal == place[0]]
    return next((one.reason for one in same if one.verdict is not Verdict.QUALIFIED), _GONE if not same else "")
