"""What to promise whom: from judgements and what was promised before to new conversions and deliveries. Pure.

A goal is reached once per deal, or once with each payment. A value that changes before sending replaces the pending
row; after sending it becomes a restatement where the destination adjusts, else a named skip. What is retracted (a
refunded payment) becomes worth nothing in the same ways; a row still pending is marked, so that it is not sent.
Nothing is silently dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bridge.identity import conversion_id, delivery_id, order_key
from bridge.model import (
    ONCE_PER_DEAL,
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

_SENT = frozenset(
    {DeliveryState.SEALED, DeliveryState.ACCEPTED, DeliveryState.VERIFIED, DeliveryState.HELD, DeliveryState.UNLINKED}
)
LIVE = _SENT | {DeliveryState.PENDING}  # sent, or about to be

_SECOND = timedelta(seconds=1)

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
    id: str
    destination: str
    state: DeliveryState
    content: Outgoing


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
    occurrence: str = ONCE_PER_DEAL


@dataclass(slots=True)
class Plan:
    """``replaced`` are pending deliveries with new content, ``revised`` conversions nothing of which was sent yet."""

    conversions: list[Conversion] = field(default_factory=list)
    deliveries: list[NewDelivery] = field(default_factory=list)
    replaced: list[tuple[str, Outgoing]] = field(default_factory=list)
    revised: list[Conversion] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)


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
    plan = Plan()
    counted_otherwise = _counted_otherwise(judgements, known)
    for judgement in _apart(judgements, known):
        if judgement.verdict is not Verdict.QUALIFIED and not judgement.is_retracted:
            continue
        mine = sorted((item for item in known if _is_of(item.conversion, judgement)), key=_revision)
        otherwise = counted_otherwise.get(_kind(judgement.occurrence))
        about = replace(subject, counted={**subject.counted, **otherwise}) if otherwise else subject
        if mine:
            _continue_goal(plan, about, judgement, mine, routes.get(judgement.goal, ()))
        elif not judgement.is_retracted:
            _start_goal(plan, about, judgement, routes.get(judgement.goal, ()))
    return plan


def _revision(item: KnownConversion) -> int:
    return item.conversion.revision


def _is_of(conversion: Conversion, judgement: Judgement) -> bool:
    return (conversion.goal, conversion.occurrence) == (judgement.goal, judgement.occurrence)


def _kind(occurrence: str) -> str:
    """What occurs: the deal itself ("once"), a "payment", an "invoice"."""
    return occurrence.partition(":")[0]


def _counted_otherwise(
    judgements: Sequence[Judgement], known: Sequence[KnownConversion]
) -> Mapping[str, Mapping[Told, str]]:
    """For each kind of occurrence that is judged: what is promised already for this deal by another kind, and by which.

    A goal that was counted once per deal and is counted per payment now, or per payment and then per invoice, would
    otherwise tell the same money twice.
    """
    found: dict[str, dict[Told, str]] = {}
    for kind in {_kind(judgement.occurrence) for judgement in judgements} if known else ():
        for item in known:
            own = _kind(item.conversion.occurrence)
            if own != kind:
                told = "the deal as a whole" if own == ONCE_PER_DEAL else f"its {own}s"
                found.setdefault(kind, {}).update(dict.fromkeys(promised([item]), told))
    return found


def _apart(judgements: Sequence[Judgement], known: Sequence[KnownConversion]) -> list[Judgement]:
    """The judgements, no two occurrences of a goal in one second: to Metrica they would be one (contract yandex 2.6).

    The later one comes a second later. What is known keeps its second, so it matters not which was read first: the
    seconds taken in all are the same.
    """
    if all(judgement.occurrence == ONCE_PER_DEAL for judgement in judgements):
        return list(judgements)
    taken: dict[str, set[datetime]] = {}
    times: dict[tuple[str, str], datetime] = {}
    for item in sorted(known, key=_revision):
        one = item.conversion
        if one.occurrence != ONCE_PER_DEAL:
            times[one.goal, one.occurrence] = one.occurred_at
            taken.setdefault(one.goal, set()).add(one.occurred_at.replace(microsecond=0))
    return [_moved(judgement, times, taken.setdefault(judgement.goal, set())) for judgement in judgements]


def _moved(judgement: Judgement, times: Mapping[tuple[str, str], datetime], taken: set[datetime]) -> Judgement:
    at = judgement.occurred_at
    if at is None or judgement.occurrence == ONCE_PER_DEAL:
        return judgement
    before = times.get((judgement.goal, judgement.occurrence))
    if before is not None and at <= before <= at + _SECOND * len(taken):
        return replace(judgement, occurred_at=before)
    while at.replace(microsecond=0) in taken:
        at += _SECOND
    taken.add(at.replace(microsecond=0))
    return replace(judgement, occurred_at=at)


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
    if judgement.is_retracted:
        judgement = _worthless(judgement, latest)
    is_untouched = len(mine) == 1 and all(d.state is DeliveryState.PENDING for d in mine[0].deliveries)
    if is_untouched and (judgement.value, judgement.occurred_at) != (latest.value, latest.occurred_at):
        assert judgement.occurred_at is not None
        latest = replace(latest, value=judgement.value, occurred_at=judgement.occurred_at)
        plan.revised.append(latest)
    if not judgement.is_retracted and _was_withdrawn(mine):
        assert judgement.occurred_at is not None
        latest = replace(latest, occurred_at=judgement.occurred_at)
    # What a destination that never had this conversion gets, whatever was restated elsewhere meanwhile.
    whole = replace(original, value=judgement.value, occurred_at=latest.occurred_at)
    restated = _conversion(subject, replace(judgement, occurred_at=latest.occurred_at), latest.revision + 1)
    wanted = _Wanted(whole, restated, judgement.is_retracted)
    for route in routes:
        sent = [d for item in mine for d in item.deliveries if d.destination == route.destination]
        live = [d for d in sent if _is_live(d)]
        if not sent and judgement.is_retracted:
            plan.skipped.append(_skip(whole, route, judgement.reason))
        elif not sent:
            _promise(plan, subject, whole, route)
        elif live and sent[-1].content.value != judgement.value:
            # A restatement that was refused or came too late does not keep a newer value from being told.
            _follow_up(plan, subject, live[-1], wanted, route)
        else:
            _follow_up(plan, subject, sent[-1], wanted, route)


def _was_withdrawn(mine: Sequence[KnownConversion]) -> bool:
    """Whether no destination ever got it: it was retracted everywhere before it was sent."""
    deliveries = [delivery for item in mine for delivery in item.deliveries]
    return bool(deliveries) and all(d.state is DeliveryState.CANCELLED and d.content.is_retracted for d in deliveries)


def _worthless(judgement: Judgement, latest: Conversion) -> Judgement:
    """A retraction at the time and in the currency of what was promised."""
    value = judgement.value if latest.value is None else Money(0, latest.value.currency)
    return replace(judgement, value=value, occurred_at=latest.occurred_at)


@frozen
class _Wanted:
    """A known conversion as it ought to be now: whole, and as a correction of what was sent."""

    whole: Conversion
    restated: Conversion
    is_retracted: bool


def _follow_up(plan: Plan, subject: Subject, last: KnownDelivery, wanted: _Wanted, route: Route) -> None:
    restated, value = wanted.restated, wanted.restated.value
    if last.state is DeliveryState.PENDING:
        fresh = _refreshed(subject, last.content, wanted, route)
        if fresh != last.content:
            plan.replaced.append((last.id, fresh))
        return
    if last.state is DeliveryState.CANCELLED and last.content.is_retracted and not wanted.is_retracted:
        _promise_again(plan, subject, last, wanted, route)
        return
    if last.state not in _SENT or value is None or value == last.content.value:
        return
    if last.state is DeliveryState.UNLINKED:
        plan.skipped.append(_skip(restated, route, "unlinked: nothing there to restate"))
    elif not route.traits.adjusts:
        plan.skipped.append(_skip(restated, route, "no_adjust"))
    else:
        content = replace(last.content, value=value, kind=ConversionKind.RESTATEMENT, is_retracted=False)
        _revise(plan, restated, content, route)


def _promise_again(plan: Plan, subject: Subject, last: KnownDelivery, wanted: _Wanted, route: Route) -> None:
    """What was retracted before anything was sent counts after all: the destination gets it for the first time."""
    whole = wanted.whole
    before = replace(last.content, value=whole.value, occurred_at=whole.occurred_at, is_retracted=False)
    _revise(plan, wanted.restated, _content(subject, whole, route) or before, route)


def _revise(plan: Plan, restated: Conversion, content: Outgoing, route: Route) -> None:
    """One more row about a known conversion."""
    if restated not in plan.conversions:
        plan.conversions.append(restated)
    made = replace(content, delivery=delivery_id(restated.id, route.destination), attempt=0)
    plan.deliveries.append(NewDelivery(restated.id, route.destination, made))


def _refreshed(subject: Subject, before: Outgoing, wanted: _Wanted, route: Route) -> Outgoing:
    """A pending row as it should be now. A restatement corrects a sent row: nothing but its value may differ."""
    whole = wanted.whole
    if before.kind is ConversionKind.RESTATEMENT:
        return before if whole.value is None else replace(before, value=whole.value)
    content = _content(subject, whole, route) or replace(before, value=whole.value, occurred_at=whole.occurred_at)
    return replace(content, delivery=before.delivery, is_retracted=wanted.is_retracted)


def _promise(plan: Plan, subject: Subject, conversion: Conversion, route: Route) -> None:
    elsewhere = subject.counted.get((conversion.goal, route.destination))
    if elsewhere is not None:
        plan.skipped.append(_skip(conversion, route, f"counted on {elsewhere}"))
        return
    content = _content(subject, conversion, route)
    if content is None:
        plan.skipped.append(_skip(conversion, route, _why_not(subject.match)))
    else:
        plan.deliveries.append(NewDelivery(conversion.id, route.destination, content))


def _skip(conversion: Conversion, route: Route, reason: str) -> Skip:
    return Skip(conversion.goal, route.destination, reason, conversion.occurrence)


def _why_not(match: Match | Unmatched) -> str:
    if isinstance(match, Unmatched):
        return f"unmatched: {match.reason}"
    kinds = ", ".join(identifier.kind for identifier in match.identifiers)
    return f"no identifier this destination accepts (has {kinds})"


def _conversion(subject: Subject, judgement: Judgement, revision: int) -> Conversion:
    assert judgement.occurred_at is not None
    kind = ConversionKind.RESTATEMENT if revision else ConversionKind.ORIGINAL
    place = (subject.tenant, subject.source, subject.deal.key, judgement.goal, judgement.occurrence)
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
        judgement.occurrence,
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
