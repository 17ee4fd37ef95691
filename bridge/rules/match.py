"""Which click a deal came from. Pure: the same deal, reading and touches give the same answer in any order.

A deal's own identifiers win; of a mere Roistat number or lead key the visit it names, where a tracker or our collector
tells of that. Then those of
the lead it was converted from; then the touch of the same person that is nearest in time: another deal before it, or a
call or form that a tracker knows, which may be a little later than the deal made of it. Identifiers are never mixed
from two touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bridge.clues import Garbage, Reading
from bridge.model import Deal, Identifier, IdKind, Match, Method, Touch, Unmatched, frozen

NO_IDENTIFIER = "no_identifier"
ONLY_GARBAGE = "only_garbage"
TOUCH_OUTSIDE_WINDOW = "touch_outside_window"
SHARED_CONTACT = "shared_contact"
_PLACES_MAX = 12
# Identifiers that name a visit which others know. Each begins a join key of its own; all others are digests of persons.
_REFERENCES = (IdKind.ROISTAT, IdKind.LEAD_KEY)
_VISIT = tuple([f"{kind}:" for kind in _REFERENCES])
_LEAD_KEY = f"{IdKind.LEAD_KEY}:"
_VISITOR = (IdKind.CLIENT_ID, IdKind.GA_CLIENT_ID)

# Touches by the join key that leads to them.
Others = Mapping[str, Sequence[Touch]]


@frozen
class Reach:
    """How far matching looks; see ``config.MatchSettings``."""

    look_back: timedelta
    call_after: timedelta = timedelta(minutes=30)
    shared_above: int = 10


def touch_of(deal: Deal, reading: Reading) -> Touch | None:
    """What a deal tells of a click of its own, for other deals of the same person; None when it tells nothing."""
    if not reading.found:
        return None
    return Touch(deal.key, deal.created_at, reading.identifiers)


def joins_of(deal: Deal, identifiers: Iterable[Identifier]) -> tuple[str, ...]:
    """The keys by which a deal with these identifiers of its own is joined to others: its persons', and its visit's."""
    visits = [f"{item.kind}:{item.value}" for item in identifiers if item.kind in _REFERENCES]
    return (*deal.joins, *visits) if visits else deal.joins


def suffices(identifiers: Iterable[Identifier]) -> bool:
    """Whether a click is among them, not merely what names a visit."""
    return any(item.kind not in _REFERENCES for item in identifiers)


def _told(identifiers: tuple[Identifier, ...]) -> tuple[Identifier, ...]:
    """Those that mean something to others: a lead key is ours alone."""
    return tuple([item for item in identifiers if item.kind is not IdKind.LEAD_KEY])


def find(deal: Deal, reading: Reading, parent: Touch | None, others: Others, reach: Reach) -> Match | Unmatched:
    """The deal's click, or why there is none.

    Args:
        deal: the deal; only its key and its creation are looked at.
        reading: its clues as read by ``identity.read``.
        parent: the touch of the lead this deal was converted from, whatever its age.
        others: touches by each of the deal's join keys, in any order; those of the deal itself are ignored.
        reach: how far to look.
    """
    identifiers = _told(reading.identifiers)
    found = None if suffices(identifiers) else _visit(deal, others)
    if found is not None:
        return found
    if identifiers:
        method = next(method for method, item in reading.found if item.kind is not IdKind.LEAD_KEY)
        return Match(method, _places(identifiers), identifiers, deal.created_at)
    if parent is not None and (told := _told(parent.identifiers)):
        return Match(Method.LEAD, f"converted from {parent.deal}: {_places(told)}", told, parent.at)
    return _nearest(deal, others, reach) or _unmatched(deal, reading, others, reach)


def waits(deal: Deal, reading: Reading, found: Match | Unmatched, others: Others, reach: Reach) -> tuple[str, ...]:
    """The join keys by which a touch that becomes known later may change this answer."""
    is_settled = isinstance(found, Match) and found.method is Method.LEAD
    if deal.is_touch or is_settled or suffices(reading.identifiers):
        return ()
    keys = joins_of(deal, reading.identifiers)
    if _told(reading.identifiers):
        return tuple([key for key in keys if _is_visit(key)])
    return tuple([key for key in keys if not _is_shared(others.get(key, ()), reach)])


def _is_visit(key: str) -> bool:
    return key.startswith(_VISIT)


def _visit(deal: Deal, others: Others) -> Match | None:
    """What is known elsewhere of the visit that the deal names; a lead key says best which it was."""
    known = [
        (key, touch)
        for key, touches in others.items()
        if _is_visit(key)
        for touch in touches
        if suffices(touch.identifiers) and touch.deal != deal.key
    ]
    if not known:
        return None
    key, touch = max(known, key=lambda item: _telling(*item))
    name = "lead key" if key.startswith(_LEAD_KEY) else "Roistat visit"
    told = _told(touch.identifiers)
    evidence = f"{name} {key.partition(':')[2]}, known from {touch.deal}: {_places(told)}"
    return Match(Method.VISIT, evidence, told, min(touch.at, deal.created_at))


def _telling(key: str, touch: Touch) -> tuple[bool, int, tuple[Any, ...], str]:
    """How much a record tells of the visit; of one lead key's the latest is the form itself."""
    is_form = key.startswith(_LEAD_KEY)
    return is_form, 0 if is_form else len(touch.identifiers), _order(touch), key


def _nearest(deal: Deal, others: Others, reach: Reach) -> Match | None:
    """The touch of the same person nearest in time; one with a click if there is any."""
    inside = [touch for touch in _of_persons(deal, others, reach) if _is_inside(touch, deal, reach)]
    if not inside:
        return None
    clicks = [touch for touch in inside if suffices(touch.identifiers)]
    touch = max(
        clicks or inside,
        key=lambda touch: (-abs(touch.at - deal.created_at), touch.at <= deal.created_at, _order(touch)),
    )
    identifiers = _told(touch.identifiers)
    places = _places(identifiers)
    if touch.is_tracked:
        evidence = f"same person as {touch.deal}, {_span(touch.at - deal.created_at)} the deal: {places}"
        return Match(Method.CALL, evidence, identifiers, touch.at)
    evidence = f"same person as {touch.deal} of {touch.at:%Y-%m-%d}: {places}"
    return Match(Method.CONTACT, evidence, identifiers, touch.at)


def _of_persons(deal: Deal, others: Others, reach: Reach) -> list[Touch]:
    """Touches of the deal's persons, each once; a phone or e-mail of many people leads to none."""
    found: dict[Touch, None] = {}
    for key, touches in others.items():
        if not _is_visit(key) and not _is_shared(touches, reach):
            found |= dict.fromkeys([touch for touch in touches if _told(touch.identifiers) and touch.deal != deal.key])
    return list(found)


def _is_shared(touches: Sequence[Touch], reach: Reach) -> bool:
    """Whether so many visitors came under one phone or e-mail that it cannot be one person's, nor a family's."""
    return len(touches) > reach.shared_above and len({_visitor(touch) for touch in touches}) > reach.shared_above


def _visitor(touch: Touch) -> tuple[str, str]:
    """Whose click it is, as far as it tells: the browser, else the click itself."""
    browsers = [item for kind in _VISITOR for item in touch.identifiers if item.kind is kind]
    shown = (*browsers, *touch.identifiers)[0]
    return shown.kind, shown.value


def _is_inside(touch: Touch, deal: Deal, reach: Reach) -> bool:
    latest = deal.created_at + reach.call_after if touch.is_tracked else deal.created_at
    return deal.created_at - reach.look_back <= touch.at <= latest


def _order(touch: Touch) -> tuple[datetime, str, tuple[tuple[str, str, str], ...]]:
    """Latest first; equal times by deal key, then content, so that order of arrival never decides."""
    return touch.at, touch.deal, tuple([(item.kind, item.value, item.found_in) for item in touch.identifiers])


def _span(difference: timedelta) -> str:
    """How long before or after, in the largest unit that says something."""
    seconds = int(abs(difference).total_seconds())
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    size, name = next(((size, name) for size, name in units if seconds >= 2 * size), (1, "s"))
    return f"{seconds // size} {name} {'after' if difference > timedelta(0) else 'before'}"


def _places(identifiers: Iterable[Identifier]) -> str:
    return ", ".join([" in ".join((item.kind, item.found_in or "an unnamed place")) for item in identifiers])


def _unmatched(deal: Deal, reading: Reading, others: Others, reach: Reach) -> Unmatched:
    evidence = [_looked_at(reading.places)]
    if reading.garbage:
        evidence.append(f"refused: {_refused(reading.garbage)}")
    start, outside = deal.created_at - reach.look_back, len(_of_persons(deal, others, reach))
    if outside:
        window = f"{start:%Y-%m-%d %H:%M} and {deal.created_at:%Y-%m-%d %H:%M} UTC"
        evidence.append(f"other clicks of the same person: {outside}, none between {window}")
    is_shared = any(_is_shared(touches, reach) for key, touches in others.items() if not _is_visit(key))
    if is_shared:
        many = f"more than {reach.shared_above} visitors came under it"
        evidence.append(f"a phone or e-mail of the deal is many people's ({many}), and joins nobody")
    code = SHARED_CONTACT if is_shared else TOUCH_OUTSIDE_WINDOW if outside else NO_IDENTIFIER
    return Unmatched(ONLY_GARBAGE if reading.garbage else code, "; ".join(evidence))


def _looked_at(places: Sequence[str]) -> str:
    if not places:
        return "looked at: nothing, no identifier field, URL or utm field is filled"
    more = f" and {len(places) - _PLACES_MAX} more" if len(places) > _PLACES_MAX else ""
    return f"looked at: {', '.join(places[:_PLACES_MAX])}{more}"


def _refused(garbage: Iterable[Garbage]) -> str:
    return ", ".join([f"{item.where} ({item.reason})" for item in garbage])
