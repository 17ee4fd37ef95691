"""What plans of stored deals would change, told by goal and destination: sent, restated, replaced, withdrawn, or left
as it is and why. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bridge.model import ConversionKind, Judgement, Money, Outgoing, Verdict, frozen
from bridge.rules.plan import KnownConversion, KnownDelivery, Plan, Route

_NO_MORE = "does not reach the goal any more: stays as it was promised"


class Action(StrEnum):
    """``REPLACE``: what is promised and not sent yet becomes another."""

    SEND = "send"
    RESTATE = "restate"
    REPLACE = "replace"
    WITHDRAW = "withdraw"
    LEAVE = "leave"


@frozen
class Entry:
    """What becomes of one reach at one destination. ``was``: the value it has there now; ``reason``: why it is left."""

    goal: str
    destination: str
    action: Action
    occurrence: str
    occurred_at: datetime | None = None
    value: Money | None = None
    was: Money | None = None
    reason: str = ""


@frozen
class Look:
    """One deal: what is promised for it, what its goals say now, and the plan of that.

    ``hinder`` says why a row would never be sent ("" if it would): its window is closed, say.
    """

    known: Sequence[KnownConversion]
    judgements: Sequence[Judgement]
    outcome: Plan
    routes: Mapping[str, Sequence[Route]]
    hinder: Callable[[str, Outgoing], str]


_Place = tuple[str, str, str]  # goal, destination, occurrence


def entries(look: Look) -> Iterator[Entry]:
    """Everything there is to tell of one deal."""
    told: set[_Place] = set()
    for entry in (*_changes(look), *_skipped(look)):
        told.add((entry.goal, entry.destination, entry.occurrence))
        yield entry
    for entry in _untouched(look):
        if (entry.goal, entry.destination, entry.occurrence) not in told:
            yield entry


def _changes(look: Look) -> Iterator[Entry]:
    occurrences = {one.id: one.occurrence for one in look.outcome.conversions}
    occurrences |= {one.conversion.id: one.conversion.occurrence for one in look.known}
    owners = {d.id: (one.conversion.occurrence, d) for one in look.known for d in one.deliveries}
    for new in look.outcome.deliveries:
        yield _sent(look, new.destination, new.content, occurrences[new.conversion])
    for row, content in look.outcome.restored:
        yield _sent(look, row.destination, content, owners[row.id][0])
    for key, content in look.outcome.replaced:
        occurrence, row = owners[key]
        about = (content.goal, row.destination, Action.REPLACE, occurrence, content.occurred_at, content.value)
        yield Entry(*about, row.content.value)
    for row, code in look.outcome.withdrawn:
        place = (row.content.goal, row.destination, Action.WITHDRAW, owners[row.id][0], row.content.occurred_at)
        yield Entry(*place, row.content.value, reason=code)


def _sent(look: Look, destination: str, content: Outgoing, occurrence: str) -> Entry:
    reason = look.hinder(destination, content)
    is_original = content.kind is ConversionKind.ORIGINAL
    action = Action.LEAVE if reason else Action.SEND if is_original else Action.RESTATE
    was = None if is_original else _value_there(look.known, content.goal, destination, occurrence)
    return Entry(content.goal, destination, action, occurrence, content.occurred_at, content.value, was, reason)


def _value_there(known: Sequence[KnownConversion], goal: str, destination: str, occurrence: str) -> Money | None:
    """What the destination was told last."""
    mine = [one for one in known if (one.conversion.goal, one.conversion.occurrence) == (goal, occurrence)]
    mine.sort(key=lambda one: one.conversion.revision)
    live = [d for one in mine for d in one.deliveries if d.is_live and d.destination == destination]
    return live[-1].content.value if live else None


def _skipped(look: Look) -> Iterator[Entry]:
    judged = {(one.goal, one.occurrence): (one.occurred_at, one.value) for one in look.judgements}
    for skip in look.outcome.skipped:
        at, value = judged.get((skip.goal, skip.occurrence), (None, None))
        was = _value_there(look.known, skip.goal, skip.destination, skip.occurrence)
        reason = _without_names(skip.reason)
        yield Entry(skip.goal, skip.destination, Action.LEAVE, skip.occurrence, at, value, was, reason)


def _without_names(reason: str) -> str:
    """A reason that many deals share."""
    if reason.startswith("counted on ") and ":" in reason:
        return "counted on its lead, or on a deal made from it"
    return reason


def _untouched(look: Look) -> Iterator[Entry]:
    """What is promised, and not in the way that the goals want it now."""
    reached = {(one.goal, one.occurrence) for one in look.judgements if _is_told(one)}
    goals = {one.goal for one in look.judgements}
    for one in look.known:
        goal, occurrence = one.conversion.goal, one.conversion.occurrence
        if goal not in goals or one.conversion.revision:
            continue
        targets = {route.destination: route.target for route in look.routes.get(goal, ())}
        for d in one.deliveries:
            reason = _NO_MORE if (goal, occurrence) not in reached else _other_name(d, targets)
            if d.is_live and reason:
                about = (Action.LEAVE, occurrence, d.content.occurred_at, d.content.value)
                yield Entry(goal, d.destination, *about, reason=reason)


def _is_told(judgement: Judgement) -> bool:
    return judgement.verdict is Verdict.QUALIFIED or judgement.is_retracted


def _other_name(delivery: KnownDelivery, targets: Mapping[str, str]) -> str:
    name = targets.get(delivery.destination, delivery.content.target)
    before = delivery.content.target
    return "" if name == before else f'known there as "{before}": not sent again as "{name}"'


# --- many deals --------------------------------------------------------------------------------------------------


@frozen
class Example:
    deal: str
    entry: Entry


@dataclass(slots=True)
class Line:
    """Reaches of one kind: how many, what they are worth by currency (minor units), and some of them."""

    count: int = 0
    value: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """Entries of many deals, counted. It grows with the kinds of them, not with the deals."""

    names: frozenset[str]
    limit: int = 0
    lines: dict[tuple[str, str, Action, str], Line] = field(default_factory=dict)

    def add(self, deal: str, entry: Entry) -> None:
        """Count one, if its goal was asked for."""
        if entry.goal not in self.names:
            return
        line = self.lines.setdefault((entry.goal, entry.destination, entry.action, entry.reason), Line())
        line.count += 1
        if entry.value is not None:
            line.value[entry.value.currency] += entry.value.minor
        if len(line.examples) < self.limit:
            line.examples.append(Example(deal, entry))

    def counts(self) -> Counter[str]:
        """The same as plain counts: ``send sale -> metrica``, ``leave sale -> metrica: no_adjust``."""
        found: Counter[str] = Counter()
        for (goal, destination, action, reason), line in self.lines.items():
            why = f": {reason}" if action is Action.LEAVE else ""
            found[f"{action} {goal} -> {destination}{why}"] += line.count
        return found
