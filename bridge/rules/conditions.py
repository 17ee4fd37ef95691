"""Conditions of a goal that look at a deal as it is now: tag, field, fact, source, created after, expression. Pure.

Each is compiled once into a :class:`Check`. A check that fails names the condition and never a value of the deal.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from bridge.frozen import frozen
from bridge.model import Deal
from bridge.rules.case import Case
from bridge.rules.expression import Expression, ExpressionError, Labels
from bridge.rules.facts import FACTS
from bridge.rules.names import any_of, plain
from bridge.rules.value import moment, moment_of, number, yes_no


@frozen
class Check:
    """One condition. ``holds(case)`` gives "" when it does, else why not."""

    rule: str
    holds: Callable[[Case], str]


class UnusableError(ValueError):
    """A condition cannot be compiled; the message says what is wrong with it."""


def tag(names: Sequence[str]) -> Check:
    """Any of these tags is on the deal."""
    wanted = frozenset(map(plain, names))
    failed = f"no tag {any_of(names)}"
    return Check(
        f"tag {any_of(names)}",
        lambda case: "" if any(plain(own) in wanted for own in case.deal.tags) else failed,
    )


def source(names: Sequence[str]) -> Check:
    """The deal was read from one of these sources, or the CRM's own source of the lead (id or name) is one of them."""
    wanted = frozenset(map(plain, names))
    failed = f"source is not {any_of(names)}"

    def holds(case: Case) -> str:
        known = (case.source, *(case.deal.origin or ()))
        return "" if any(plain(name) in wanted for name in known) else failed

    return Check(f"source {any_of(names)}", holds)


def created_after(start: date | datetime) -> Check:
    """The deal was created at this moment or later; a day begins at midnight UTC."""
    floor = moment_of(start).at
    failed = f"created before {start.isoformat()}"
    rule = f"created after {start.isoformat()}"
    return Check(rule, lambda case: "" if case.deal.created_at >= floor else failed)


def expression(text: str, labels: Labels) -> Check:
    """The CEL expression is true.

    Raises:
        UnusableError: it is no valid expression over a deal.
    """
    try:
        compiled = Expression.compile(text, labels)
    except ExpressionError as error:
        raise UnusableError(f"expression: {error}") from None
    if not isinstance(compiled.example(), bool | None):
        raise UnusableError("expression: gives neither true nor false")

    def holds(case: Case) -> str:
        try:
            result = compiled.of(case.deal)
        except ExpressionError as error:
            return f"expression failed: {error}"
        if result is True:
            return ""
        return "expression is false" if result is False else "expression failed: gives neither true nor false"

    return Check(f"expression {text}", holds)


def never(rule: str, reason: str) -> Check:
    """In place of a condition that cannot be compiled: the goal is never reached, and says why."""
    return Check(rule, lambda _: reason)


# --- custom fields -----------------------------------------------------------------------------------------------

Values = tuple[str, ...]
# Looks at texts as people see them, and at those by which options among them are stored.
Test = Callable[[Values, Values], bool]
_ORDERINGS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip


def field(name: str, wanted: Any) -> Check:
    """A custom field, found by name, code or id. ``wanted``: see ``config.FieldTest``.

    A text equals whatever its case and spaces; a number, a date and yes/no as people write them. A field with
    several values satisfies a test when one of them does; "!=" holds when none equals, so also for an empty field.
    A text also equals what an option is stored by; nothing else looks at that, for an id is no answer.

    Raises:
        UnusableError: a comparison with something that is neither a number nor a date, or an unknown operator.
    """
    test = compared(wanted)
    key = plain(name)
    failed = f"field {name} is not {shown(wanted)}"

    def holds(case: Case) -> str:
        deal = case.deal
        options = _values(deal.options, name, key) if deal.options else ()
        return "" if test(_values(deal.fields, name, key), options) else failed

    return Check(f"field {name} {shown(wanted)}", holds)


def fact(name: str, wanted: Any) -> Check:
    """What is known of the deal beside its fields (``rules.facts``), compared like a custom field.

    Raises:
        UnusableError: as for ``field``.
    """
    test, values = compared(wanted), FACTS[name]
    failed = f"{name} is not {shown(wanted)}"
    return Check(f"{name} {shown(wanted)}", lambda case: "" if test(values(case), ()) else failed)


def pages(part: str, wanted: Any) -> Check:
    """How many of the pages that were looked at last before the form have this in their path. Not known: never.

    Raises:
        UnusableError: as for ``field``.
    """
    test, key = compared(wanted), plain(part)
    rule = f"views of {part} {shown(wanted)}"

    def holds(case: Case) -> str:
        seen = FACTS["pages_seen"](case)
        if not seen:
            return f"{rule}: pages are not known"
        return "" if test((str(sum(key in plain(page) for page in seen)),), ()) else f"{rule}: not so"

    return Check(rule, holds)


def compared(wanted: Any) -> Test:
    """A comparison as configured, with values as people write them. Several signs must all hold.

    Raises:
        UnusableError: it compares with something that is neither a number nor a date, or its sign is unknown.
    """
    compiled = [_test(sign, value) for sign, value in _signs(wanted).items()]
    return lambda values, options: all(test(values, options) for test in compiled)


def shown(wanted: Any) -> str:
    """A comparison in words."""
    return " and ".join(f"{sign} {_shown(value)}" for sign, value in _signs(wanted).items())


def _signs(wanted: Any) -> Mapping[str, Any]:
    return wanted if isinstance(wanted, dict) else {"in" if isinstance(wanted, list) else "=": wanted}


def values_of(deal: Deal, name: str) -> Values:
    """What people see in a custom field, whatever the case of its name."""
    return _values(deal.fields, name, plain(name))


def _values(fields: Mapping[str, Values], name: str, key: str) -> Values:
    values = fields.get(name)
    return _loosely(fields, key) if values is None else values


def _loosely(fields: Mapping[str, Values], key: str) -> Values:
    for name, values in fields.items():
        if plain(name) == key:
            return values
    return ()


def _shown(value: Any) -> str:
    return any_of(map(str, value)) if isinstance(value, list) else str(value)


def _test(sign: str, wanted: Any) -> Test:
    if sign in _ORDERINGS:
        return _ordering(sign, wanted)
    if sign == "contains":
        return _contains([plain(str(item)) for item in (wanted if isinstance(wanted, list) else [wanted])])
    if sign not in ("=", "!=", "in"):
        raise UnusableError(f'unknown comparison "{sign}"')
    items = wanted if isinstance(wanted, list) else [wanted]
    equals = [_equality(item) for item in items]
    stored = frozenset(_stored(item) for item in items if isinstance(item, str | bool))
    is_wanted = sign != "!="

    def test(values: Values, options: Values) -> bool:
        is_met = any(equal(value) for value in values for equal in equals)
        return (is_met or any(plain(option) in stored for option in options)) == is_wanted

    return test


def _contains(parts: Sequence[str]) -> Test:
    return lambda values, _: any(part in plain(value) for value in values for part in parts)


def _stored(wanted: str | bool) -> str:
    """By what an option is stored that is named so: yes and no as ``true`` and ``false``."""
    return str(wanted).lower() if isinstance(wanted, bool) else plain(wanted)


def _equality(wanted: Any) -> Callable[[str], bool]:
    if isinstance(wanted, bool):
        return lambda value: yes_no(value) is wanted
    if isinstance(wanted, int | float | Decimal):
        exact = Decimal(str(wanted))
        return lambda value: number(value) == exact
    if isinstance(wanted, date):
        at = moment_of(wanted)
        return lambda value: (own := moment(value)) is not None and own.compared(at) == 0
    key = plain(str(wanted))
    return lambda value: plain(value) == key


def _ordering(sign: str, wanted: Any) -> Test:
    compare = _ORDERINGS[sign]
    exact = _as_number(wanted)
    if exact is not None:
        return lambda values, _: any((own := number(value)) is not None and compare(own, exact) for value in values)
    at = moment_of(wanted) if isinstance(wanted, date) else moment(wanted) if isinstance(wanted, str) else None
    if at is None:
        raise UnusableError(f'"{sign} {_shown(wanted)}" compares with neither a number nor a date')

    def test(values: Values, _: Values) -> bool:
        return any((own := moment(value)) is not None and compare(own.compared(at), 0) for value in values)

    return test


def _as_number(wanted: Any) -> Decimal | None:
    if isinstance(wanted, bool):
        return None
    if isinstance(wanted, int | float | Decimal):
        return Decimal(str(wanted))
    return number(wanted) if isinstance(wanted, str) else None
