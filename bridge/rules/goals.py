"""Goals compiled against what one source knows: names become ids, conditions become checks. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import partial

from bridge.catalogue import Catalogue
from bridge.config import Goal
from bridge.frozen import replace
from bridge.model import Deal, Money, Payment, frozen
from bridge.rules import conditions, products
from bridge.rules.blocks import Block, Directory, Notes, compile_block
from bridge.rules.expectation import Estimate, Expectation
from bridge.rules.expression import Expression, ExpressionError, Labels
from bridge.rules.names import meant
from bridge.rules.score import CompiledScore, ask, compile_scores
from bridge.rules.value import number
from bridge.scoring import Score
from bridge.valuing import ValueOf

_AMOUNT_MAX = 10**13  # whole units; far above any deal, far below 64-bit minor units


# --- compiled goals ----------------------------------------------------------------------------------------------


@frozen
class Occasion:
    """What reached a goal: the moment, the payment of a goal per payment, else the pipeline in which it was."""

    at: datetime
    payment: Payment | None = None
    pipeline: str = ""


# What a deal that reached its goal on that occasion is worth.
Worth = Callable[[Deal, Occasion], Money | None]


class WorthError(ValueError):
    """A goal's value cannot be computed for a deal."""


@frozen
class CompiledGoal:
    """A goal with its names resolved to a source's ids. ``zone`` is that of times told to people.

    ``no_spam``: it excludes spam, which is then worth so much: nothing. ``expectation``: its value is an expected one,
    by these estimates. ``products``: its value is made of the deal's product rows.
    """

    name: str
    block: Block
    worth: Worth | None
    zone: tzinfo = UTC
    is_per_payment: bool = False
    no_spam: Money | None = None
    expectation: Expectation | None = None
    products: products.Worth | None = None


@frozen
class Compiled:
    """Goals ready to judge, and what is wrong with them, one line each (for ``bridge check``).

    ``doubts``: names that an open catalogue has not met so far. They may come tomorrow, or be misspelt. ``scores`` are
    those of the tenant, whether or not a goal asks for them.
    """

    goals: tuple[CompiledGoal, ...]
    problems: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    scores: tuple[CompiledScore, ...] = ()

    def knowing(self, estimates: Mapping[str, tuple[Estimate, ...]], *, has_children: bool) -> Compiled:
        """The same with these estimates, by goal; ``has_children``: leads of the source become deals."""
        goals = []
        for goal in self.goals:
            before = goal.expectation
            if before is not None:
                known = Expectation(before.currency, estimates.get(goal.name, ()), has_children)
                goal = replace(goal, expectation=known)  # noqa: PLW2901 - the same goal, knowing more
            goals.append(goal)
        return replace(self, goals=tuple(goals))

    def with_children(self) -> Compiled:
        """The same, leads of the source having become deals since."""
        return self.knowing({g.name: g.expectation.versions for g in self.goals if g.expectation}, has_children=True)


# --- compiling ---------------------------------------------------------------------------------------------------


def compile_goals(
    goals: Sequence[Goal],
    catalogue: Catalogue,
    currency: str,
    zone: tzinfo = UTC,
    scores: Mapping[str, Score] | None = None,
) -> Compiled:
    """Goals with names resolved against one source's catalogue.

    A goal with problems is compiled as far as it goes: names that exist still work, a condition that cannot be
    compiled excludes every deal and says why. ``currency`` (the tenant's) is that of values that are numbers or
    expressions, unless the goal names its own; the deal's own value keeps its currency. ``zone`` is the tenant's, for
    times in reasons. ``scores`` are those that the goals ask for.
    """
    directory = Directory.of(catalogue)
    told = _Told()
    known: dict[str, CompiledScore] = {}
    for name, score in (scores or {}).items():
        notes = Notes(catalogue.is_open)
        known |= compile_scores({name: score}, directory, notes)
        told.add(f'score "{name}"', notes)
    compiled = []
    for goal in goals:
        notes = Notes(catalogue.is_open)
        block = compile_block(goal.when, directory, notes, partial(ask, known))
        worth = _worth(goal, directory.labels, currency, notes.problems)
        own = goal.currency or currency
        no_spam = Money(0, own) if goal.exclude_spam else None
        expectation = Expectation(own) if goal.value == "expected" else None
        rows = products.compiled(goal.value) if isinstance(goal.value, ValueOf) else None
        compiled.append(CompiledGoal(goal.name, block, worth, zone, goal.is_per_payment, no_spam, expectation, rows))
        told.add(f'goal "{goal.name}"', notes)
    return Compiled(tuple(compiled), tuple(told.problems), tuple(told.doubts), tuple(known.values()))


@dataclass(slots=True)
class _Told:
    """What was noted of each goal and score, one line each."""

    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def add(self, what: str, notes: Notes) -> None:
        self.problems += [f"{what}: {problem}" for problem in dict.fromkeys(notes.problems)]
        self.doubts += [f"{what}: {doubt}" for doubt in dict.fromkeys(notes.doubts)]


# --- value -------------------------------------------------------------------------------------------------------


def _worth(goal: Goal, labels: Labels, currency: str, problems: list[str]) -> Worth | None:
    currency = goal.currency or currency
    if goal.value is None or goal.value == "expected":
        return None
    if isinstance(goal.value, ValueOf) and goal.value.products is not None:
        return None
    if isinstance(goal.value, ValueOf):
        return partial(_value_of, goal.value, currency)
    if isinstance(goal.value, str) and goal.value in OWN_VALUES:
        return OWN_VALUES[goal.value]
    exact = number(goal.value) if isinstance(goal.value, str) else goal.value
    if exact is not None:
        fixed = Money.of(exact, currency)
        return lambda _, __: fixed
    try:
        compiled = Expression.compile(str(goal.value), labels, is_per_payment=goal.is_per_payment)
        _amount(compiled.example())
    except (ExpressionError, WorthError) as error:
        problems.append(f"value expression: {error}{meant(str(goal.value).strip().lower(), (*OWN_VALUES, 'expected'))}")
        return partial(_no_value, str(error))
    return partial(_computed, compiled, currency)


def _value_now(deal: Deal, _: Occasion) -> Money | None:
    return deal.value


def _value_then(deal: Deal, occasion: Occasion) -> Money | None:
    return deal.value_at(occasion.at)


def _value_paid(_: Deal, occasion: Occasion) -> Money | None:
    return None if occasion.payment is None else occasion.payment.value


def _value_of(wanted: ValueOf, currency: str, deal: Deal, occasion: Occasion) -> Money | None:
    """A field's amount or the deal's (the payment's), or a share of it, exactly; None where there is no amount."""
    if wanted.field is None:
        whole = deal.value if occasion.payment is None else occasion.payment.value
    else:
        whole = _in_field(deal, wanted.field, currency)
    if whole is None or wanted.share is None:
        return whole
    return Money.of(whole.amount * wanted.share, whole.currency)


def _in_field(deal: Deal, name: str, currency: str) -> Money | None:
    """The amount in a custom field; several values are no amount."""
    texts = [text for text in conditions.values_of(deal, name) if text.strip()]
    if not texts:
        return None
    exact = number(texts[0]) if len(texts) == 1 else None
    if exact is None or abs(exact) > _AMOUNT_MAX:
        raise WorthError(f"field {name} holds no amount")
    return Money.of(exact, currency)


OWN_VALUES: Mapping[str, Worth] = {"deal": _value_now, "deal_at_goal": _value_then, "payment": _value_paid}


def _no_value(reason: str, _: Deal, __: Occasion) -> Money | None:
    raise WorthError(reason)


def _computed(compiled: Expression, currency: str, deal: Deal, occasion: Occasion) -> Money | None:
    try:
        amount = _amount(compiled.of(deal, occasion.payment))
    except ExpressionError as error:
        raise WorthError(str(error)) from None
    return None if amount is None else Money.of(amount, currency)


def _amount(result: object) -> Decimal | None:
    """A CEL result as whole units, null as no value. Doubles come through their shortest text: 0.1 stays 0.1."""
    if result is None:
        return None
    if isinstance(result, bool) or not isinstance(result, int | float):
        raise WorthError("gives no number")
    if not math.isfinite(result) or abs(result) > _AMOUNT_MAX:
        raise WorthError("gives a number out of range")
    return Decimal(str(result))
