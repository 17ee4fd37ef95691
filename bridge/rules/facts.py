"""What is known of a deal beside its CRM fields: contact, channel, click, visits. Nothing personal. Pure.

A deal's own word counts; where it is silent, that of the lead it was made from, then that of the form it came of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from bridge.channels import UNKNOWN
from bridge.clues import Reading
from bridge.model import Background, Deal, Learnt, Match
from bridge.rules.case import Case
from bridge.scoring import BEHAVIOUR, INHERITED, NOTED

Values = tuple[str, ...]
# A record as facts are read from it, and its name for people.
Origin = tuple[str, Deal, Reading]

_YES: Values = ("yes",)
_FORMS_OWN = BEHAVIOUR - {"visits_before"}


def _noted(name: str, deal: Deal, _: Reading) -> Values:
    return deal.noted.get(name, ())


# What a record tells by itself; () where it is silent.
_OWN: Mapping[str, Callable[[Deal, Reading], Values]] = {
    "has_phone": lambda deal, _: _YES if any(person.phone_sha256 for person in deal.persons) else (),
    "has_email": lambda deal, _: _YES if any(person.email_sha256 for person in deal.persons) else (),
    "contacts": lambda deal, _: (str(len(deal.persons)),) if deal.persons else (),
    "channel": lambda _, reading: () if reading.channel in ("", UNKNOWN) else (reading.channel,),
    **{name: partial(_noted, name) for name in sorted(NOTED)},
}
assert _OWN.keys() == INHERITED
_SILENT: Mapping[str, Values] = {"has_phone": ("no",), "has_email": ("no",), "contacts": ("0",)}
_NOTHING: Mapping[str, Learnt] = Background().learnt


def told(deal: Deal, reading: Reading, asked: Iterable[str]) -> dict[str, Values]:
    """Which of these facts a record tells by itself: a form also what its visitor did."""
    found = {name: _OWN[name](deal, reading) for name in asked if name in _OWN}
    if deal.is_touch:
        found["contacts"] = ()  # who sends a form is one of the deal's
        found |= {name: deal.fields.get(name, ()) for name in asked if name in _FORMS_OWN}
    return {name: values for name, values in found.items() if values}


def learnt(deal: Deal, reading: Reading, origins: Sequence[Origin], asked: frozenset[str]) -> dict[str, Learnt]:
    """Facts on which the deal is silent, each from the first of these records that tells it."""
    silent = asked - told(deal, reading, asked).keys()
    found: dict[str, Learnt] = {}
    for name, other, read in origins:
        for fact, values in told(other, read, silent).items():
            found.setdefault(fact, Learnt(values, name))
    return found


def _known(name: str, case: Case) -> Values:
    background = case.deal.background
    one = (background.learnt if background is not None else _NOTHING).get(name)
    return one.values if one is not None else ()


def _any(name: str, case: Case) -> Values:
    """The deal's own word, else what others tell."""
    own = _OWN[name](case.deal, case.reading) or _known(name, case) or _SILENT.get(name, ())
    return (case.reading.channel,) if name == "channel" and not own and case.reading.channel else own


def _identifiers(case: Case) -> Values:
    """Kinds of those the deal was matched by."""
    return tuple([one.kind for one in case.match.identifiers]) if isinstance(case.match, Match) else ()


def _method(case: Case) -> Values:
    return (case.match.method if isinstance(case.match, Match) else "none",)


FACTS: Mapping[str, Callable[[Case], Values]] = {
    "identifier": _identifiers,
    "method": _method,
    **{name: partial(_any, name) for name in sorted(INHERITED)},
    **{name: partial(_known, name) for name in sorted(BEHAVIOUR)},
}
