"""What ought to have become of each deal's order, where a destination keeps one; computed from the world alone.

An order is in the state that its lead reached last. A case is certain once everything had ``lag`` to arrive; of an
order that moved since, every state it was in meanwhile is as good.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from bridge.frozen import frozen
from bridge.sim.events import Lead, StageName
from bridge.sim.oracle import SPAM_REASONS, expected
from bridge.sim.world import World

# Goals of these tests' own: every lead reaches the first, one lost not as spam the other.
CREATED, LOST = "created", "lost"
_ORDER = (CREATED, "qualified", "sale", LOST, "spam")


@frozen
class Reached:
    """A lead's order is in this state from ``at`` on. ``is_doubtful``: the bridge may honestly never hear of it."""

    at: datetime
    goal: str
    revenue: Decimal | None = None
    is_doubtful: bool = False


@frozen
class Found:
    """An order as the destination has it: ``phones`` are digits, ``states`` (status, revenue) as they came."""

    id: str
    created_at: datetime
    phones: frozenset[str]
    states: tuple[tuple[str, Decimal | None], ...]


@dataclass(slots=True)
class OrdersVerdict:
    """How a destination's orders differ from what ought to be."""

    missing: list[int] = field(default_factory=list)  # leads
    doubled: list[int] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)  # orders
    wrong_state: list[str] = field(default_factory=list)
    went_back: list[str] = field(default_factory=list)
    orders: int = 0

    @property
    def is_clean(self) -> bool:
        return not (self.missing or self.doubled or self.unexpected or self.wrong_state or self.went_back)


def lives(world: World, until: datetime) -> dict[int, list[Reached]]:
    """For each lead that has come: the states its order goes through, in time order."""
    found = {lead.id: [Reached(lead.created_at, CREATED)] for lead in world.leads if lead.created_at <= until}
    for item in expected(world, until):
        values = item.values or ((item.at, None),)
        found[item.lead] += [Reached(max(at, item.at), item.goal, value) for at, value in values]
    for lead in world.leads:
        if lead.id in found:
            found[lead.id] += _lost(lead, until)
    return {lead: sorted(states, key=lambda one: (one.at, _ORDER.index(one.goal))) for lead, states in found.items()}


def _lost(lead: Lead, until: datetime) -> list[Reached]:
    steps = [step for step in lead.steps if step.at <= until]
    for number, step in enumerate(steps):
        if step.stage is StageName.LOST and step.loss_reason not in SPAM_REASONS:
            return [Reached(step.at, LOST, is_doubtful=number + 1 < len(steps))]
    return []


def compare(
    world: World, told_until: datetime, found: Iterable[Found], statuses: Mapping[str, str], lag: timedelta
) -> OrdersVerdict:
    """Hold a destination's orders against the world. ``statuses``: goal -> status; goals not named are not sent."""
    verdict = OrdersVerdict()
    owners = {(phone, lead.created_at): lead.id for lead in world.leads for phone in _phones(lead)}
    orders: dict[int, list[Found]] = defaultdict(list)
    for order in found:
        verdict.orders += 1
        lead = next((owners[key] for key in ((p, order.created_at) for p in order.phones) if key in owners), None)
        if lead is None:
            verdict.unexpected.append(order.id)
        else:
            orders[lead].append(order)
    for lead, states in lives(world, told_until).items():
        kept = [state for state in states if state.goal in statuses]
        told = [(statuses[state.goal], state.revenue) for state in kept]
        _judge(verdict, _Wanted(lead, kept, told, told_until - lag), orders[lead])
    return verdict


@frozen
class _Wanted:
    """The states of one lead's order, all in time order; those before ``settled`` must have arrived."""

    lead: int
    states: Sequence[Reached]
    told: Sequence[tuple[str, Decimal | None]]
    settled: datetime


def _judge(verdict: OrdersVerdict, wanted: _Wanted, orders: Sequence[Found]) -> None:
    lead, states, told, settled = wanted.lead, wanted.states, wanted.told, wanted.settled
    if not orders:
        verdict.missing += [lead] if states and states[0].at <= settled else []
        return
    verdict.doubled += [lead] if len(orders) > 1 else []
    if not _is_in_order(orders[0].states, told):
        verdict.went_back.append(f"lead {lead}: {orders[0].states} of {told}")
    sure = [number for number, state in enumerate(states) if state.at <= settled and not state.is_doubtful]
    first = sure[-1] if sure else 0
    if orders[0].states[-1] not in told[first:]:
        verdict.wrong_state.append(f"lead {lead}: {orders[0].states[-1]} is none of {told[first:]}")


def _is_in_order(seen: Sequence[tuple[str, Decimal | None]], told: Sequence[tuple[str, Decimal | None]]) -> bool:
    """Whether the states came in the order in which they were reached; a row that came twice changes nothing."""
    place = 0
    for number, state in enumerate(seen):
        if number and state == seen[number - 1]:
            continue
        if state not in told[place:]:
            return False
        place = told.index(state, place)
    return True


def _phones(lead: Lead) -> list[str]:
    """The lead's one good number, as digits with the country code."""
    return ["7" + "".join(filter(str.isdigit, phone))[-10:] for phone in lead.phones[-1:]]
