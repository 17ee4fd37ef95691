"""What a deal's person agreed to, for one destination, and whether the deal may go there at all. Pure.

It is part of what is promised: frozen with the row, looked at again whenever the deal is judged. A deal that may not go
is withheld, which ``explain`` names; what is pending is taken back, and promised again once it may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bridge.consent import ConsentSettings
from bridge.frozen import replace
from bridge.model import Consent, Deal, frozen
from bridge.rules.conditions import values_of
from bridge.rules.names import any_of, plain

if TYPE_CHECKING:
    from bridge.rules.plan import Route

WITHHELD = "consent"  # code of what was not sent for lack of consent
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


def for_deal(routes: Mapping[str, Sequence[Route]], deal: Deal) -> Mapping[str, Sequence[Route]]:
    """The routes with what this deal's person agreed to; the same object where no destination asks."""
    if not any(route.terms is not None for each in routes.values() for route in each):
        return routes
    known: dict[str, tuple[Consent | None, str]] = {}
    return {goal: [_asked(route, deal, known) for route in each] for goal, each in routes.items()}


def _asked(route: Route, deal: Deal, known: dict[str, tuple[Consent | None, str]]) -> Route:
    """``known``: what each destination was told of this deal already, for another goal."""
    if route.terms is None:
        return route
    if route.destination not in known:
        known[route.destination] = decide(route.terms, deal)
    consent, why_not = known[route.destination]
    return replace(route, consent=consent, withheld=why_not)


def decide(terms: Terms, deal: Deal) -> tuple[Consent | None, str]:
    """The deal's own consent (None: the destination's settings are all there is), and why it is withheld, or "".

    Never more than was agreed to: a text that is not among ``granted`` is a no.
    """
    settings = terms.settings
    default = settings.default
    told = _told(settings.field or (), terms, deal)
    other = _told(settings.personalization_field, terms, deal) if settings.personalization_field else told
    personal = default.ad_personalization if other is None else other
    if told is False or (default.ad_personalization is False and not settings.personalization_field):
        personal = False
    effective = Consent(default.ad_user_data if told is None else told, personal)
    withheld = terms.is_required and effective.ad_user_data is not True
    # An answer stands by itself even where it equals the settings: these may change before the row is sent.
    own = effective if told is not None or other is not None else None
    return own, _why(terms, told) if withheld else ""


def _told(names: Sequence[str], terms: Terms, deal: Deal) -> bool | None:
    texts = [plain(text) for name in names for text in values_of(deal, name)]
    texts = [text for text in texts if text]
    return all(text in terms.granted for text in texts) if texts else None


def _why(terms: Terms, told: bool | None) -> str:
    """In words that name fields and settings, never what a field holds."""
    settings = terms.settings
    fields = f"the field {any_of(settings.field or ())}"
    if told is False:
        why = f'{fields} does not say yes; what counts as yes is listed in "consent.granted"'
    else:
        has = {None: "is not set", "denied": "is denied"}[settings.ad_user_data if settings.ad_user_data else None]
        why = f"consent.ad_user_data {has}" + (f" and {fields} is empty" if settings.is_per_deal else "")
    region = " (the tenant's region asks for it; consent.required = false switches that off)"
    return f"withheld: no consent: {why}{region if terms.is_by_region else ''}"
