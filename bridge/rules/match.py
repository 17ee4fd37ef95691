"""Which click a deal came from. Pure: the same deal, reading and touches give the same answer in any order.

A deal's own identifiers win; then those of the lead it was converted from; then the latest touch of the same person
before the deal. Identifiers are never mixed from two touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from bridge.clues import Garbage, Reading
from bridge.model import Deal, Identifier, Match, Method, Touch, Unmatched

NO_IDENTIFIER = "no_identifier"
ONLY_GARBAGE = "only_garbage"
TOUCH_OUTSIDE_WINDOW = "touch_outside_window"
_PLACES_MAX = 12


def touch_of(deal: Deal, reading: Reading) -> Touch | None:
    """What a deal tells of a click of its own, for other deals of the same person; None when it tells nothing."""
    if not reading.found:
        return None
    return Touch(deal.key, deal.created_at, reading.identifiers)


def find(
    deal: Deal, reading: Reading, parent: Touch | None, others: Sequence[Touch], look_back: timedelta
) -> Match | Unmatched:
    """The deal's click, or why there is none.

    Args:
        deal: the deal; only its key and its creation are looked at.
        reading: its clues as read by ``identity.read``.
        parent: the touch of the lead this deal was converted from, whatever its age.
        others: touches of the same person, in any order; those of the deal itself are ignored.
        look_back: how long before the deal's creation another deal's touch may lie.
    """
    if reading.found:
        identifiers = reading.identifiers
        return Match(reading.found[0][0], _places(identifiers), identifiers, deal.created_at)
    if parent is not None and parent.identifiers:
        evidence = f"converted from {parent.deal}: {_places(parent.identifiers)}"
        return Match(Method.LEAD, evidence, parent.identifiers, parent.at)
    start = deal.created_at - look_back
    candidates = [touch for touch in others if touch.identifiers and touch.deal != deal.key]
    inside = [touch for touch in candidates if start <= touch.at <= deal.created_at]
    if inside:
        touch = max(inside, key=_recency)
        evidence = f"same person as {touch.deal} of {touch.at:%Y-%m-%d}: {_places(touch.identifiers)}"
        return Match(Method.CONTACT, evidence, touch.identifiers, touch.at)
    return _unmatched(deal, reading, start, len(candidates))


def _recency(touch: Touch) -> tuple[datetime, str, tuple[tuple[str, str, str], ...]]:
    """Latest first; equal times by deal key, then content, so that order of arrival never decides."""
    return touch.at, touch.deal, tuple([(item.kind, item.value, item.found_in) for item in touch.identifiers])


def _places(identifiers: Iterable[Identifier]) -> str:
    return ", ".join([" in ".join((item.kind, item.found_in or "an unnamed place")) for item in identifiers])


def _unmatched(deal: Deal, reading: Reading, start: datetime, outside: int) -> Unmatched:
    evidence = [_looked_at(reading.places)]
    if reading.garbage:
        evidence.append(f"refused: {_refused(reading.garbage)}")
    if outside:
        window = f"{start:%Y-%m-%d %H:%M} and {deal.created_at:%Y-%m-%d %H:%M} UTC"
        evidence.append(f"other clicks of the same person: {outside}, none between {window}")
    code = TOUCH_OUTSIDE_WINDOW if outside else NO_IDENTIFIER
    return Unmatched(ONLY_GARBAGE if reading.garbage else code, "; ".join(evidence))


def _looked_at(places: Sequence[str]) -> str:
    if not places:
        return "looked at: nothing, no identifier field, URL or utm field is filled"
    more = f" and {len(places) - _PLACES_MAX} more" if len(places) > _PLACES_MAX else ""
    return f"looked at: {', '.join(places[:_PLACES_MAX])}{more}"


def _refused(garbage: Iterable[Garbage]) -> str:
    return ", ".join([f"{item.where} ({item.reason})" for item in garbage])
