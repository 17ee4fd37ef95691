"""Forms that the collector knows, as touches: the form with all that the browser held, and its first landing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from urllib.parse import urlencode

from bridge.collector.post import Form, Landing
from bridge.model import Clue, Deal, DealKind, Identifier, IdKind, Outcome, Person

# What tells the browser rather than a click: true of every landing.
_BROWSER = (IdKind.CLIENT_ID, IdKind.GA_CLIENT_ID)
_NOWHERE = ("", "", Outcome.OPEN)  # pipeline and stage


def touches_of(form: Form, version: str, kept_at: datetime) -> Iterator[Deal]:
    """The form as ``form:KEY``, and the first landing as ``visit:KEY`` where it shows another click than the last.

    ``kept_at``: when the post came into the database, a little after the form was sent.
    """
    key = Clue("lead key of the form", form.key, IdKind.LEAD_KEY)
    persons = (Person(joins=form.joins),) if form.joins else ()
    last, first = form.last or form.first, form.first
    clues = (*_clues(last, form.cookies), key)
    yield Deal(
        DealKind.FORM,
        form.key,
        version,
        form.at,
        kept_at,
        *_NOWHERE,
        fields=_fields(form),
        clues=clues,
        persons=persons,
    )
    if first is not None and last is not first and set(_values(first)) - set(_values(last)):
        browser = [item for item in form.cookies if item.kind in _BROWSER]
        clues = (*_clues(first, browser), key)
        yield Deal(DealKind.VISIT, form.key, version, first.at, kept_at, *_NOWHERE, clues=clues, persons=persons)


def _values(landing: Landing | None) -> list[tuple[IdKind, str]]:
    return [(item.kind, item.value) for item in landing.identifiers] if landing is not None else []


def _clues(landing: Landing | None, cookies: Iterable[Identifier]) -> Iterator[Clue]:
    """A click of the landing before one that a cookie remembers."""
    if landing is not None:
        yield from [Clue(item.found_in, item.value, item.kind) for item in landing.identifiers]
        marks = f"?{urlencode(landing.utm)}" if landing.utm else ""
        yield Clue("landing page", f"{landing.page}{marks}")
        yield Clue("referrer", landing.referrer)
    yield from [Clue(item.found_in, item.value, item.kind) for item in cookies]


def _fields(form: Form) -> dict[str, tuple[str, ...]]:
    """The form's facts, and those of its landings: of the one that counts without a prefix."""
    fields = dict(form.facts)
    for prefix, landing in (("", form.last or form.first), ("first_", form.first)):
        if landing is not None:
            at = landing.at.isoformat(timespec="seconds")
            told = (("landing_page", landing.page), ("referrer", landing.referrer), ("landed_at", at), *landing.utm)
            fields |= {f"{prefix}{name}": (value,) for name, value in told if value}
    return fields
