"""What one row tells a destination, made of a deal's match and persons and of what it agreed to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from bridge.frozen import replace
from bridge.identity import delivery_id
from bridge.model import (
    COMPANIONS,
    ONCE_PER_DEAL,
    Conversion,
    ConversionKind,
    Identifier,
    Match,
    Outgoing,
    Person,
    Unmatched,
)
from bridge.ports import DestinationTraits
from bridge.rules import deal_orders

if TYPE_CHECKING:
    from bridge.rules.plan import KnownDelivery, Route, Subject

_ONE_ORDER = "one order per deal: payments cannot be told apart there; give the destination a goal per deal"


def content_of(subject: Subject, conversion: Conversion, route: Route) -> Outgoing | None:
    """The row, or None when this destination cannot take it; ``why_not`` says why."""
    if route.traits.deal_orders is not None and conversion.occurrence != ONCE_PER_DEAL:
        return None
    identifiers, touched_at = _usable(subject.match_for(route.destination), route.traits)
    persons = _digests(subject.deal.persons) if route.traits.accepts_persons and not _is_denied(route) else ()
    if not identifiers and route.traits.needs_click and not (persons and route.traits.persons_suffice):
        return None
    made = Outgoing(
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
        deal=f"{subject.source}/{subject.deal.key}",
        consent=route.consent,
    )
    return made if route.traits.deal_orders is None else deal_orders.placed(made, subject, route)


def refreshed(subject: Subject, known: KnownDelivery, whole: Conversion, route: Route) -> Outgoing | None:
    """A row that was not sent as it should be now, or None when its click is not the deal's any more.

    A restatement corrects a sent row: nothing but its value may differ. What may have been counted, or belongs to an
    order that is there already, is told with the click it was promised with.
    """
    before = known.content
    if before.kind is ConversionKind.RESTATEMENT:
        return before if whole.value is None else agreed(replace(before, value=whole.value), route)
    content = content_of(subject, whole, route)
    if content is None and not (known.is_tried or before.follows or _is_there(subject, known)):
        return None
    content = content or replace(before, value=whole.value, occurred_at=whole.occurred_at)
    target = content.target if route.guard.send.is_open(whole.occurred_at) else before.target
    return replace(content, delivery=before.delivery, target=target, follows=before.follows, again_at=before.again_at)


def _is_there(subject: Subject, known: KnownDelivery) -> bool:
    """Whether the row's order has begun since it was promised."""
    told = subject.told.get(known.destination)
    return told is not None and told.has_arrived and told.content.order_key == known.content.order_key


def why_not(subject: Subject, conversion: Conversion, route: Route) -> str:
    """Why a destination cannot take a conversion."""
    match = subject.match_for(route.destination)
    if route.traits.deal_orders is not None and conversion.occurrence != ONCE_PER_DEAL:
        return _ONE_ORDER
    if isinstance(match, Unmatched):
        return f"unmatched: {match.reason}"
    kinds = ", ".join(identifier.kind for identifier in match.identifiers)
    return f"no identifier this destination accepts (has {kinds})"


def agreed(content: Outgoing, route: Route) -> Outgoing:
    """A correction with the consent of now: without it no person goes along."""
    return replace(content, consent=route.consent, persons=() if _is_denied(route) else content.persons)


def _is_denied(route: Route) -> bool:
    return route.consent is not None and not route.consent.ad_user_data


def _usable(match: Match | Unmatched, traits: DestinationTraits) -> tuple[tuple[Identifier, ...], datetime | None]:
    if isinstance(match, Unmatched):
        return (), None
    usable = tuple([i for i in match.identifiers if i.kind in traits.accepts])
    is_click = not COMPANIONS.issuperset([i.kind for i in usable])
    return usable if is_click else (), match.touched_at


def _digests(persons: Sequence[Person]) -> tuple[Person, ...]:
    """Persons without our own join keys: those stay at home."""
    return tuple(replace(p, joins=()) for p in persons if p.phone_sha256 or p.email_sha256)
