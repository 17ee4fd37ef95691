"""What is known of a deal beside its CRM fields: its contact, how it came, its click. Nothing personal. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bridge.model import Match
from bridge.rules.case import Case
from bridge.scoring import NOTED

Values = tuple[str, ...]


def _yes_no(holds: bool) -> Values:
    return ("yes" if holds else "no",)


def _identifiers(case: Case) -> Values:
    """Kinds of those the deal was matched by."""
    return tuple([one.kind for one in case.match.identifiers]) if isinstance(case.match, Match) else ()


def _method(case: Case) -> Values:
    return (case.match.method if isinstance(case.match, Match) else "none",)


def _noted(name: str) -> Callable[[Case], Values]:
    return lambda case: case.deal.noted.get(name, ())


FACTS: Mapping[str, Callable[[Case], Values]] = {
    "has_phone": lambda case: _yes_no(any(person.phone_sha256 for person in case.deal.persons)),
    "has_email": lambda case: _yes_no(any(person.email_sha256 for person in case.deal.persons)),
    "contacts": lambda case: (str(len(case.deal.persons)),),
    "channel": lambda case: (case.reading.channel,) if case.reading.channel else (),
    "identifier": _identifiers,
    "method": _method,
    **{name: _noted(name) for name in sorted(NOTED)},
}
