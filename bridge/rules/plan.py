"""What to promise whom: from judgements and what was promised before to new conversions and deliveries. Pure.

A deal that is deleted in the CRM takes back what was not sent; restored there, it is promised again under the same id.

A goal is reached once per deal. A value that changes before sending replaces the pending row; after sending it becomes
a restatement where the destination adjusts, else a named skip. Nothing is silently dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from bridge.identity import conversion_id, delivery_id, order_key
from bridge.model import (
    Conversion,
    ConversionKind,
    Deal,
    Identifier,
    Judgement,
    Match,
    Money,
    Outgoing,
    Person,
    Unmatched,
    Verdict,
    frozen,
)
from bridge.ports import DestinationTraits
from bridge.states import DeliveryState

OCCURRENCE = "once"
_SENT = frozenset(
    {DeliveryState.SEALED, DeliveryState.ACCEPTED, DeliveryState.VERIFIED, DeliveryState.HELD, DeliveryState.UNLINKED}
)
_UNDER_WAY = frozenset({DeliveryState.SEALED, DeliveryState.HELD})  # it may become pending again
DELETED = "deal_deleted"  # code of what was not sent because its deal was deleted in the CRM
LIVE = _SENT | {DeliveryState.PENDING}  # sent, or about to be

# A goal as one destination knows it: (goal, destination).
Told = tuple[str, str]


@frozen
class Route:
    """A goal goes to this destination under this name."""

    destination: str
    target: str
    traits: DestinationTraits


@frozen
class KnownDelivery:
    """``is_recalled``: on the wire or held, it is not to become pending again."""

    id: str
    destination: str
    state: DeliveryState
    content: Outgoing
    code: str = ""
    is_recalled: bool = False

    @property
    def is_withdrawn(self) -> bool:
        """Not sent because its deal was deleted: only a restored deal changes that."""
        return self.state is DeliveryState.CANCELLED and self.code == DELETED

    @property
    def told(self) -> Told:
        return self.content.goal, self.destination


@frozen
class KnownConversion:
    conversion: Conversion
    deliveries: tuple[KnownDelivery, ...]


@frozen
class NewDelivery:
    conversion: str
    destination: str
    content: Outgoing


@frozen
class Skip:
    """A promise that was not made, and why (``explain`` prints it)."""

    goal: str
    destination: str
    reason: str


@dataclass(slots=True)
class Plan:
    """``replaced`` are pending deliveries with new content, ``revised`` conversions nothing of which was sent yet.

    ``withdrawn`` are pending deliveries of a deleted deal, ``restored`` such that were withdrawn and are promised
    again, ``recalled`` those under way with whether they may not become pending again.
    """

    conversions: list[Conversion] = field(default_factory=list)
    deliveries: list[NewDelivery] = field(default_factory=list)
    replaced: list[tuple[str, Outgoing]] = field(default_factory=list)
    revised: list[Conversion] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)
    withdrawn: list[KnownDelivery] = field(default_factory=list)
    restored: list[tuple[KnownDelivery, Outgoing]] = field(default_factory=list)
    recalled: list[tuple[str, bool]] = field(default_factory=list)


@frozen
class Subject:
    """The deal a plan is about.

    ``counted`` is what is promised already for the lead it was converted from, or for a deal converted from it, with
    the key of that one: a lead and its deals are one sale.
    """

    tenant: str
    source: str
    deal: Deal
    match: Match | Unmatched
    counted: Mapping[Told, str] = field(default_factory=dict)


def make(
    subject: Subject,
    judgements: Sequence[Judgement],
    known: Sequence[KnownConversion],
    routes: Mapping[str, Sequence[Route]],
) -> Plan:
    """Everything to add for one deal. Running it again on its own result adds nothing."""
    plan = _taken_back(known) if subject.deal.is_deleted else Plan()
    if not subject.deal.is_deleted:
        plan.recalled += [(d.id, False) for d in _all(known) if d.is_recalled and d.state in _UNDER_WAY]
    for judgement in judgements:
        if judgement.verdict is not Verdict.QUALIFIED:
            continue
        goal_routes = routes.get(judgement.goal, ())
        mine = sorted(
            (item for item in known if item.conversion.goal == judgement.goal), key=lambda k: k.conversion.revision
        )
        if mine:
            _continue_goal(plan, subject, judgement, mine, goal_routes)
        else:
            _start_goal(plan, subject, judgement, goal_routes)
    return plan


def _all(known: Sequence[KnownConversion]) -> list[KnownDelivery]:
    return [delivery for one in known for delivery in one.deliveries]


def _taken_back(known: Sequence[KnownConversion]) -> Plan:
    """Of a deleted deal: what was not sent never is. What was sent stays, since no destination takes it back."""
    plan = Plan()
    for delivery in _all(known):
        goal, destination = delivery.told
        if delivery.state is DeliveryState.PENDING:
            plan.withdrawn.append(delivery)
        elif delivery.state in _UNDER_WAY:
            reason = "deleted in the CRM while it was being sent: not tried again, but what has arrived stays counted"
            plan.skipped.append(Skip(goal, destination, reason))
            if not delivery.is_recalled:
                plan.recalled.append((delivery.id, True))
        elif delivery.state in (DeliveryState.ACCEPTED, DeliveryState.VERIFIED):
            reason = "deleted in the CRM after it was sent, which cannot be taken back: it stays counted there"
            plan.skipped.append(Skip(goal, destination, reason))
    return plan


def promised(known: Sequence[KnownConversion]) -> frozenset[Told]:
    """Everything that was sent or is about to be."""
    return frozenset((k.conversion.goal, d.destination) for k in known for d in k.deliveries if _is_live(d))


def _is_live(delivery: KnownDelivery) -> bool:
    return delivery.state in LIVE


def _start_goal(plan: Plan, subject: Subject, judgement: Judgement, routes: Sequence[Route]) -> None:
    conversion = _conversion(subject, judgement, 0)
    if not routes or any((judgement.goal, route.destination) not in subject.counted for route in routes):
        plan.conversions.append(conversion)
    for route in routes:
        _promise(plan, subject, conversion, route)


def _continue_goal(
    plan: Plan, subject: Subject, judgement: Judgement, mine: Sequence[KnownConversion], routes: Sequence[Route]
) -> None:
    original, latest = mine[0].conversion, mine[-1].conversion
    unsent = (d.state is DeliveryState.PENDING or d.is_withdrawn for d in mine[0].deliveries)
    is_untouched = len(mine) == 1 and all(unsent)
    if is_untouched and (judgement.value, judgement.occurred_at) != (latest.value, latest.occurred_at):
        assert judgement.occurred_at is not None
        latest = replace(latest, value=judgement.value, occurred_at=judgement.occurred_at)
        plan.revised.append(latest)
    # What a destination that never had this conversion gets, whatever was restated elsewhere meanwhile.
    whole = replace(original, value=judgement.value, occurred_at=latest.occurred_at)
    restated = _conversion(subject, replace(judgement, occurred_at=original.occurred_at), latest.revision + 1)
    for route in routes:
        known = [d for item in mine for d in item.deliveries if d.destination == route.destination]
        sent = [d for d in known if not d.is_withdrawn]
        live = [d for d in sent if _is_live(d)]
        if not known:
            _promise(plan, subject, whole, route)
        elif known[0].is_withdrawn:  # the original; a restatement that was withdrawn is made anew
            _restore(plan, subject, known[0], whole, route)
        elif live and sent[-1].content.value != judgement.value:
            # A restatement that was refused or came too late does not keep a newer value from being told.
            _follow_up(plan, subject, live[-1], (whole, restated), route)
        else:
            _follow_up(plan, subject, sent[-1], (whole, restated), route)


def _follow_up(
    plan: Plan, subject: Subject, last: KnownDelivery, conversions: tuple[Conversion, Conversion], route: Route
) -> None:
    whole, restated = conversions
    value = restated.value
    if last.state is DeliveryState.PENDING:
        fresh = _refreshed(subject, last.content, whole, route)
        if fresh != last.content:
            plan.replaced.append((last.id, fresh))
        return
    if last.state not in _SENT or value is None or value == last.content.value:
        return
    if last.state is DeliveryState.UNLINKED:
        plan.skipped.append(Skip(restated.goal, route.destination, "unlinked: nothing there to restate"))
    elif not route.traits.adjusts:
        plan.skipped.append(Skip(restated.goal, route.destination, "no_adjust"))
    else:
        if restated not in plan.conversions:
            plan.conversions.append(restated)
        content = replace(
            last.content,
            delivery=delivery_id(restated.id, route.destination),
            value=value,
            kind=ConversionKind.RESTATEMENT,
            attempt=0,
        )
        plan.deliveries.append(NewDelivery(restated.id, route.destination, content))


def _refreshed(subject: Subject, before: Outgoing, whole: Conversion, route: Route) -> Outgoing:
    """A pending row as it should be now. A restatement corrects a sent row: nothing but its value may differ."""
    if before.kind is ConversionKind.RESTATEMENT:
        return before if whole.value is None else replace(before, value=whole.value)
    content = _content(subject, whole, route) or replace(before, value=whole.value, occurred_at=whole.occurred_at)
    return replace(content, delivery=before.delivery)


def _restore(plan: Plan, subject: Subject, withdrawn: KnownDelivery, whole: Conversion, route: Route) -> None:
    elsewhere = subject.counted.get(withdrawn.told)
    if elsewhere is not None:
        plan.skipped.append(Skip(whole.goal, route.destination, f"counted on {elsewhere}"))
    else:
        plan.restored.append((withdrawn, _refreshed(subject, withdrawn.content, whole, route)))


def _promise(plan: Plan, subject: Subject, conversion: Conversion, route: Route) -> None:
    elsewhere = subject.counted.get((conversion.goal, route.destination))
    if elsewhere is not None:
        plan.skipped.append(Skip(conversion.goal, route.destination, f"counted on {elsewhere}"))
        return
    content = _content(subject, conversion, route)
    if content is None:
        plan.skipped.append(Skip(conversion.goal, route.destination, _why_not(subject.match)))
    else:
        plan.deliveries.append(NewDelivery(conversion.id, route.destination, content))


def _why_not(match: Match | Unmatched) -> str:
    if isinstance(match, Unmatched):
        return f"unmatched: {match.reason}"
    kinds = ", ".join(identifier.kind for identifier in match.identifiers)
    return f"no identifier this destination accepts (has {kinds})"


def _conversion(subject: Subject, judgement: Judgement, revision: int) -> Conversion:
    assert judgement.occurred_at is not None
    kind = ConversionKind.RESTATEMENT if revision else ConversionKind.ORIGINAL
    place = (subject.tenant, subject.source, subject.deal.key, judgement.goal, OCCURRENCE)
    return Conversion(
        conversion_id(*place, kind, revision),
        order_key(*place),
        subject.deal.key,
        judgement.goal,
        kind,
        revision,
        judgement.occurred_at,
        judgement.value,
        judgement.rule,
    )


def _content(subject: Subject, conversion: Conversion, route: Route) -> Outgoing | None:
    identifiers, touched_at = _usable(subject.match, route.traits)
    persons = _digests(subject.deal.persons) if route.traits.accepts_persons else ()
    if not identifiers and not (persons and route.traits.persons_suffice):
        return None
    return Outgoing(
        delivery_id(conversion.id, route.destination),
        conversion.order_key,
        route.target,
        conversion.goal,
        conversion.occurred_at,
        subject.deal.created_at,
        conversion.value,
        identifiers,
        persons,
        touched_at,
        conversion.kind,
    )


def _usable(match: Match | Unmatched, traits: DestinationTraits) -> tuple[tuple[Identifier, ...], datetime | None]:
    if isinstance(match, Unmatched):
        return (), None
    return tuple(i for i in match.identifiers if i.kind in traits.accepts), match.touched_at


def _digests(persons: Sequence[Person]) -> tuple[Person, ...]:
    """Persons without our own join keys: those stay at home."""
    return tuple(replace(p, joins=()) for p in persons if p.phone_sha256 or p.email_sha256)


def value_text(value: Money | None) -> str:
    """A value for people: ``1500.00 RUB`` or a dash."""
    return str(value) if value is not None else "-"
