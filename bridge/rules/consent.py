"""What a deal's person agreed to, for one destination, and whether the deal may go there at all. Pure.

A deal made from a lead is also asked what the lead says: who refused there did not agree by becoming a deal.

It is part of what is promised: frozen with the row, looked at again whenever the deal is judged. A deal that may not go
is withheld, which ``explain`` names; what is pending is taken back, and promised again once it may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bridge.consent import ConsentSettings
from bridge.frozen import replace
from bridge.model import Consent, Deal, Learnt, frozen
from bridge.rules.conditions import values_of
from bridge.rules.names import any_of, plain

if TYPE_CHECKING:
    from bridge.rules.plan import Route

WITHHELD = "consent"  # code of what was not sent for lack of consent
_DATA, _PERSONAL = "ad_user_data", "ad_personalization"
# Where Google asks for consent: the European Economic Area, the United Kingdom, Switzerland (ISO 3166).
_COUNTRIES = """
    AT BE BG CH CY CZ DE DK EE ES FI FR GB GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK
"""
ASKING = frozenset(_COUNTRIES.split())


@frozen
class Terms:
    """A destination's settings, ready to be asked of deals."""

    settings: ConsentSettings
    granted: frozenset[str]
    is_required: bool
    is_by_region: bool

    @classmethod
    def of(cls, settings: ConsentSettings, region: str) -> Terms:
        """``region``: the tenant's, which decides where the settings leave it open."""
        is_open = settings.required is None
        is_required = region in ASKING if is_open else bool(settings.required)
        return cls(settings, frozenset(map(plain, settings.granted)), is_required, is_open and is_required)


def is_asked(routes: Mapping[str, Sequence[Route]]) -> bool:
    """Whether any destination asks what deals' persons agreed to."""
    return any(route.terms is not None for each in routes.values() for route in each)


def asking_fields(routes: Mapping[str, Sequence[Route]]) -> dict[str, Terms]:
    """Destinations for which custom fields say it."""
    found = {route.destination: route.terms for each in routes.values() for route in each}
    return {name: terms for name, terms in found.items() if terms is not None and terms.settings.names}


def handed_on(asking: Mapping[str, Terms], lead: Deal) -> dict[str, Learnt]:
    """What a lead says to each of these destinations, as the deals made from it learn it; never what a field holds."""
    found = {}
    for name, terms in asking.items():
        settings = terms.settings
        asked = ((_DATA, settings.field or ()), (_PERSONAL, settings.personalization_field or ()))
        said = [(what, _said(names, terms, lead)) for what, names in asked]
        values = tuple([_words(what, is_yes=one) for what, one in said if one is not None])
        if values:
            found[_subject(name)] = Learnt(values, lead.key)
    return found


def _subject(destination: str) -> str:
    return f"consent of {destination}"


def _words(what: str, *, is_yes: bool) -> str:
    return f"{what} {'granted' if is_yes else 'denied'}"


def for_deal(routes: Mapping[str, Sequence[Route]], deal: Deal) -> Mapping[str, Sequence[Route]]:
    """The routes with what this deal's person agreed to; the same object where no destination asks."""
    if not is_asked(routes):
        return routes
    known: dict[str, tuple[Consent | None, str]] = {}
    return {goal: [_asked(route, deal, known) for route in each] for goal, each in routes.items()}


def _asked(route: Route, deal: Deal, known: dict[str, tuple[Consent | None, str]]) -> Route:
    """``known``: what each destination was told of this deal already, for another goal."""
    if route.terms is None:
        return route
    if route.destination not in known:
        learnt = None if deal.background is None else deal.background.learnt.get(_subject(route.destination))
        known[route.destination] = decide(route.terms, deal, learnt)
    consent, why_not = known[route.destination]
    return replace(route, consent=consent, withheld=why_not)


def decide(terms: Terms, deal: Deal, lead: Learnt | None = None) -> tuple[Consent | None, str]:
    """The deal's own consent (None: the destination's settings are all there is), and why it is withheld, or "".

    Never more than was agreed to: a text that is not among ``granted`` is a no, and so is a no of its ``lead`` alone.
    """
    settings = terms.settings
    default = settings.default
    own_data = _said(settings.field or (), terms, deal)
    told = _told(_DATA, own_data, lead)
    other = told
    if settings.personalization_field:
        other = _told(_PERSONAL, _said(settings.personalization_field, terms, deal), lead)
    personal = default.ad_personalization if other is None else other
    if told is False or (default.ad_personalization is False and not settings.personalization_field):
        personal = False
    effective = Consent(default.ad_user_data if told is None else told, personal)
    withheld = terms.is_required and effective.ad_user_data is not True
    # An answer stands by itself even where it equals the settings: these may change before the row is sent.
    own = effective if told is not None or other is not None else None
    refusing = "" if lead is None or own_data is False else f" of {lead.known_from}"
    return own, _why(terms, told, refusing) if withheld else ""


def _told(what: str, own: bool | None, lead: Learnt | None) -> bool | None:
    """The deal's own answer and its lead's: a no of either is a no, and whoever is silent leaves it to the other."""
    if lead is None:
        return own
    if _words(what, is_yes=False) in lead.values:
        return False
    return True if own is None and _words(what, is_yes=True) in lead.values else own


def _said(names: Sequence[str], terms: Terms, deal: Deal) -> bool | None:
    texts = [plain(text) for name in names for text in values_of(deal, name)]
    texts = [text for text in texts if text]
    return all(text in terms.granted for text in texts) if texts else None


def _why(terms: Terms, told: bool | None, refusing: str) -> str:
    """In words that name fields and settings, never what a field holds. ``refusing``: who does, if not the deal."""
    settings = terms.settings
    fields = f"the field {any_of(settings.field or ())}"
    if told is False:
        why = f'{fields}{refusing} does not say yes; what counts as yes is listed in "consent.granted"'
    else:
        has = {None: "is not set", "denied": "is denied"}[settings.ad_user_data if settings.ad_user_data else None]
        why = f"consent.ad_user_data {has}" + (f" and {fields} is empty" if settings.is_per_deal else "")
    region = " (the tenant's region asks for it; consent.required = false switches that off)"
    return f"withheld: no consent: {why}{region if terms.is_by_region else ''}"
