"""Where the time went of conversions that came too late to be sent. Pure.

A conversion's life before its end is cut into legs: from the click to the goal (the business), from the goal to our
promise (reading the CRM, or finding the click), from there on ours: waiting for its turn, for a vendor that slowed us
down, for one that did not work, for an answer, for a human. The leg in which its window closed is what it was lost in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from bridge.model import Method, Money, frozen
from bridge.states import DeliveryState


class Phase(StrEnum):
    """Legs of a conversion's life, in the order they can come."""

    BUSINESS = "business"  # the CRM changed so late: from the click until the goal was reached
    READING = "reading"  # until we had read it: a source that was not asked, or did not answer
    MATCHING = "matching"  # until its click became known by another deal or call
    QUEUE = "queue"  # ours to send: held back, paused, or nobody ran
    THROTTLED = "throttled"  # the vendor had asked to slow down
    OUTAGE = "outage"  # the vendor, our access to it or our database did not work
    ANSWER = "answer"  # its answer was lost, and not yet cleared up
    HELD = "held"  # a human was to decide


WORDS = {
    Phase.BUSINESS: "the goal was reached so late in the CRM",
    Phase.READING: "the CRM was read late",
    Phase.MATCHING: "its click became known late",
    Phase.QUEUE: "it waited for its turn to be sent",
    Phase.THROTTLED: "the ad system asked to slow down",
    Phase.OUTAGE: "the ad system, or access to it, did not work",
    Phase.ANSWER: "an answer was lost and not cleared up",
    Phase.HELD: "a human was to decide (bridge held)",
}
_BY_OTHERS = frozenset((Method.CALL, Method.CONTACT, Method.VISIT, Method.LEAD))
_STATES = {DeliveryState.SEALED: Phase.ANSWER, DeliveryState.HELD: Phase.HELD}


@frozen
class Turn:
    """One move of a delivery: the state after it, and why."""

    at: datetime
    after: str
    code: str | None


@frozen
class Life:
    """What is stored of an expired delivery. ``reason``: the code it expired with; ``method``: None if unmatched."""

    delivery: str
    deal: str
    goal: str
    destination: str
    reason: str
    value: Money | None
    clicked_by: datetime
    occurred_at: datetime
    method: str | None
    turns: tuple[Turn, ...]


@frozen
class Leg:
    phase: Phase
    since: datetime
    until: datetime

    @property
    def length(self) -> timedelta:
        return self.until - self.since


def legs(life: Life) -> list[Leg]:
    """The legs of a life in order; those without length are left out."""
    promised = life.turns[0].at
    is_joined = life.method in _BY_OTHERS
    found = [
        Leg(Phase.BUSINESS, life.clicked_by, life.occurred_at),
        Leg(Phase.MATCHING if is_joined else Phase.READING, max(life.clicked_by, life.occurred_at), promised),
    ]
    found += [Leg(_phase(turn), turn.at, following.at) for turn, following in pairwise(life.turns)]
    return [leg for leg in found if leg.until > leg.since]


def _phase(turn: Turn) -> Phase:
    """What a delivery waits for after a move."""
    state = _STATES.get(DeliveryState(turn.after))
    if state is not None or not turn.code:
        return state or Phase.QUEUE
    return Phase.THROTTLED if turn.code == "throttled" else Phase.OUTAGE


def lost_in(found: Sequence[Leg], is_late: Callable[[datetime], bool]) -> Phase:
    """The leg at whose end it was too late for the first time."""
    for leg in found:
        if is_late(leg.until):
            return leg.phase
    return found[-1].phase if found else Phase.QUEUE


@frozen
class Loss:
    """Expired conversions of one goal, destination and reason.

    ``value`` in minor units by currency; ``lost_in``: how many in which phase; ``days``: the median of the days which
    those that have such a leg spent in it; ``deals``: some of them.
    """

    destination: str
    goal: str
    reason: str
    count: int
    value: tuple[Money, ...]
    lost_in: tuple[tuple[Phase, int], ...]
    days: tuple[tuple[Phase, float], ...]
    deals: tuple[str, ...]


_EXAMPLES = 3
_DAY = timedelta(days=1)
Fate = tuple[Life, Sequence[Leg], Phase]


def losses(fates: Iterable[Fate]) -> list[Loss]:
    """Added up, the most frequent first."""
    groups: dict[tuple[str, str, str], list[Fate]] = {}
    for fate in fates:
        life = fate[0]
        groups.setdefault((life.destination, life.goal, life.reason), []).append(fate)
    return sorted((_loss(*place, group) for place, group in groups.items()), key=lambda loss: -loss.count)


def _loss(destination: str, goal: str, reason: str, group: Sequence[Fate]) -> Loss:
    sums: dict[str, int] = {}
    for life, _, _ in group:
        if life.value is not None:
            sums[life.value.currency] = sums.get(life.value.currency, 0) + life.value.minor
    ends = [phase for _, _, phase in group]
    return Loss(
        destination,
        goal,
        reason,
        len(group),
        tuple(Money(minor, currency) for currency, minor in sorted(sums.items())),
        tuple((phase, ends.count(phase)) for phase in Phase if phase in ends),
        tuple((phase, median) for phase in Phase if (median := _median_days(group, phase)) is not None),
        tuple(life.deal for life, _, _ in group[:_EXAMPLES]),
    )


def _median_days(group: Sequence[Fate], phase: Phase) -> float | None:
    lengths = sorted(
        sum((leg.length for leg in own if leg.phase is phase), timedelta(0))
        for _, own, _ in group
        if any(leg.phase is phase for leg in own)
    )
    return round(lengths[len(lengths) // 2] / _DAY, 2) if lengths else None
