"""What one row tells a destination, made of a deal's match and persons and of what it agreed to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from bridge.identity import delivery_id
from bridge.model import COMPANIONS, Conversion, Identifier, Match, Outgoing, Person, Unmatched
from bridge.ports import DestinationTraits

if TYPE_CHECKING:
    from bridge.rules.plan import Route, Subject


def content_of(subject: Subject, conversion: Conversion, route: Route) -> Outgoing | None:
    """The row of a conversion, None where the destination accepts nothing that is known of the deal."""
    identifiers, touched_at = _usable(subject.match, route.traits)
    persons = _digests(subject.deal.persons) if route.traits.accepts_persons and not _is_denied(route) else ()
    if not identifiers and route.traits.needs_click and not (persons and route.traits.persons_suffice):
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
        deal=f"{subject.source}/{subject.deal.key}",
        consent=route.consent,
    )


def agreed(content: Outgoing, route: Route) -> Outgoing:
    """A correction with the consent of now: without it no person goes along."""
    return replace(content, consent=route.consent, persons=() if _is_denied(route) else content.persons)


def _is_denied(route: Route) -> bool:
    return route.consent is not None and not route.consent.ad_user_data


def _usable(match: Match | Unmatched, traits: DestinationTraits) -> tuple[tuple[Identifier, ...], datetime | None]:
    if isinstance(match, Unmatched):
        return (), None
    usable = tuple(i for i in match.identifiers if i.kind in traits.accepts)
    return usable if any(i.kind not in COMPANIONS for i in usable) else (), match.touched_at


def _digests(persons: Sequence[Person]) -> tuple[Person, ...]:
    """Persons without our own join keys: those stay at home."""
    return tuple(replace(p, joins=()) for p in persons if p.phone_sha256 or p.email_sha256)
