"""Goals compiled against what one source knows: names become ids, conditions become checks. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import partial

from bridge.config import Goal, When
from bridge.model import Catalogue, Deal, DealKind, Money, Outcome, Payment, StageChange, frozen
from bridge.rules import conditions
from bridge.rules.conditions import Check, UnusableError
from bridge.rules.expression import Expression, ExpressionError, Labels
from bridge.rules.names import any_of, meant, path, plain, unknown
from bridge.rules.value import number

_AMOUNT_MAX = 10**13  # whole units; far above any deal, far below 64-bit minor units

_Place = tuple[str, str]  # pipeline id, stage id


# --- compiled goals ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """Which stage entries reach a goal. ``stages`` maps (pipeline, stage) to the rule's text; None = any.

    ``is_open``: the source has no catalogue; ids are compared as names, a stage without a pipeline under ("", stage).
    """

    stages: Mapping[_Place, str] | None
    pipelines: frozenset[str] | None
    outcomes: tuple[Outcome, ...] | None
    is_open: bool
    rule: str
    missing: str

    def reached(self, change: StageChange) -> bool:
        if self.outcomes is not None and change.outcome not in self.outcomes:
            return False
        if self.is_open:
            return self._reached_by_name(change)
        if self.pipelines is not None and change.pipeline not in self.pipelines:
            return False
        return self.stages is None or (change.pipeline, change.stage) in self.stages

    def _reached_by_name(self, change: StageChange) -> bool:
        pipeline, stage = plain(change.pipeline), plain(change.stage)
        if self.pipelines is not None and pipeline not in self.pipelines:
            return False
        return self.stages is None or (pipeline, stage) in self.stages or ("", stage) in self.stages

    def told(self, change: StageChange) -> str:
        """The condition that decided, in words."""
        if self.stages is not None:
            if self.is_open:
                return f"stage {change.stage}"
            return self.stages[change.pipeline, change.stage]
        return f"outcome {change.outcome}" if self.outcomes is not None else self.rule


@dataclass(frozen=True, slots=True)
class LossReasons:
    """Loss reasons by id and by comparable name."""

    ids: frozenset[str]
    names: frozenset[str]
    rule: str

    def why_not(self, deal: Deal) -> str:
        """ "" when the deal is lost for one of them now."""
        if deal.outcome is not Outcome.LOST:
            return "not lost now"
        if deal.loss_reason is None:
            return "lost without a loss reason"
        own_id, name = deal.loss_reason
        return "" if own_id in self.ids or plain(name) in self.names else f"loss reason is {name or own_id}"


@frozen
class Occasion:
    """What reached a goal: the moment, and the payment of a goal per payment."""

    at: datetime
    payment: Payment | None = None


# What a deal that reached its goal on that occasion is worth.
Worth = Callable[[Deal, Occasion], Money | None]


class WorthError(ValueError):
    """A goal's value cannot be computed for a deal."""


@dataclass(frozen=True, slots=True)
class CompiledGoal:
    """A goal with its names resolved to a source's ids. ``checks`` look at the deal as it is now.

    ``zone`` is that of times told to people.
    """

    name: str
    lead: Entry
    deal: Entry
    losses: LossReasons | None
    checks: tuple[Check, ...]
    worth: Worth | None
    zone: tzinfo = UTC
    is_per_payment: bool = False


@dataclass(frozen=True, slots=True)
class Compiled:
    """Goals ready to judge, and what is wrong with them, one line each (for ``bridge check``).

    ``doubts``: names that an open catalogue has not met so far. They may come tomorrow, or be misspelt.
    """

    goals: tuple[CompiledGoal, ...]
    problems: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(slots=True)
class _Notes:
    """What is noted while one goal is compiled. A name nobody knows is a doubt where any name may come."""

    is_open: bool
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def unknown(self, what: str, name: str, shown: Mapping[str, str]) -> None:
        (self.doubts if self.is_open else self.problems).append(unknown(what, name, shown))


# --- compiling ---------------------------------------------------------------------------------------------------


def compile_goals(goals: Sequence[Goal], catalogue: Catalogue, currency: str, zone: tzinfo = UTC) -> Compiled:
    """Goals with names resolved against one source's catalogue.

    A goal with problems is compiled as far as it goes: names that exist still work, a condition that cannot be
    compiled excludes every deal and says why. ``currency`` (the tenant's) is that of values that are numbers or
    expressions, unless the goal names its own; the deal's own value keeps its currency. ``zone`` is the tenant's, for
    times in reasons.
    """
    directory = _Directory.of(catalogue)
    problems: list[str] = []
    doubts: list[str] = []
    compiled = []
    for goal in goals:
        notes = _Notes(catalogue.is_open)
        compiled.append(replace(_goal(goal, directory, currency, notes), zone=zone))
        problems += [f'goal "{goal.name}": {problem}' for problem in dict.fromkeys(notes.problems)]
        doubts += [f'goal "{goal.name}": {doubt}' for doubt in dict.fromkeys(notes.doubts)]
    return Compiled(tuple(compiled), tuple(problems), tuple(doubts))


def _goal(goal: Goal, directory: _Directory, currency: str, notes: _Notes) -> CompiledGoal:
    checks = _checks(goal, directory, notes)
    losses = _losses(goal.when.loss_reason, directory, notes)
    lead, deal = [_entry(goal, kind, directory, notes) for kind in (DealKind.LEAD, DealKind.DEAL)]
    worth = _worth(goal, directory.labels, currency, notes.problems)
    return CompiledGoal(goal.name, lead, deal, losses, checks, worth, is_per_payment=goal.is_per_payment)


@dataclass(frozen=True, slots=True)
class _Directory:
    """A catalogue turned round: comparable labels to places, and labels as they are shown."""

    catalogue: Catalogue
    labels: Labels
    stages: Mapping[str, set[tuple[DealKind, _Place]]]
    stages_shown: Mapping[str, str]
    pipelines: Mapping[str, set[tuple[DealKind, str]]]
    pipelines_shown: Mapping[str, str]

    @classmethod
    def of(cls, catalogue: Catalogue) -> _Directory:
        stages: dict[str, set[tuple[DealKind, _Place]]] = {}
        pipelines: dict[str, set[tuple[DealKind, str]]] = {}
        for pipeline in catalogue.pipelines:
            own = {path(pipeline.name), path(pipeline.id)}
            for label in own:
                pipelines.setdefault(label, set()).add((pipeline.kind, pipeline.id))
            for stage in pipeline.stages:
                short = {path(stage.name), path(stage.id)}
                for label in short | {f"{first}/{second}" for first in own for second in short}:
                    stages.setdefault(label, set()).add((pipeline.kind, (pipeline.id, stage.id)))
        pairs = [(pipeline, stage) for pipeline in catalogue.pipelines for stage in pipeline.stages]
        shown = [stage.name for _, stage in pairs]
        shown += [f"{pipeline.name}/{stage.name}" for pipeline, stage in pairs if pipeline.name]
        return cls(
            catalogue,
            Labels(
                {(pipeline.kind.value, pipeline.id): pipeline.name for pipeline in catalogue.pipelines},
                {(pipeline.kind.value, pipeline.id, stage.id): stage.name for pipeline, stage in pairs},
            ),
            stages,
            {path(name): name for name in shown},
            pipelines,
            {path(pipeline.name): pipeline.name for pipeline in catalogue.pipelines if pipeline.name},
        )


def _entry(goal: Goal, kind: DealKind, directory: _Directory, notes: _Notes) -> Entry:
    when = goal.when
    conditions_given = (("stage", when.stage), ("pipeline", when.pipeline), ("outcome", when.outcome))
    rule = ", ".join(f"{what} {any_of(names)}" for what, names in conditions_given if names is not None)
    return Entry(
        stages=None if when.stage is None else _stages(when.stage, kind, directory, notes),
        pipelines=None if when.pipeline is None else _pipelines(when.pipeline, kind, directory, notes),
        outcomes=None if when.outcome is None else tuple([Outcome(name) for name in when.outcome]),
        is_open=directory.catalogue.is_open,
        rule=rule,
        missing=_missing(when),
    )


def _missing(when: When) -> str:
    if when.stage is not None:
        return "stage never reached"
    if when.pipeline is not None:
        return "pipeline never reached"
    return f"outcome never {any_of(when.outcome or ())}"


def _stages(names: Sequence[str], kind: DealKind, directory: _Directory, notes: _Notes) -> dict[_Place, str]:
    for name in names:
        if path(name) not in directory.stages:
            notes.unknown("stage", name, directory.stages_shown)
    if directory.catalogue.is_open:
        return {place: f"stage {name}" for name in names for place in _open_places(name)}
    found: dict[_Place, str] = {}
    for name in names:
        for own_kind, (pipeline, stage) in directory.stages.get(path(name), ()):
            if _is_judged_as(own_kind, kind):
                shown = directory.labels.stages[own_kind.value, pipeline, stage]
                found[pipeline, stage] = f"stage {shown}"
    return found


def _open_places(name: str) -> list[_Place]:
    """A stroke may part pipeline and stage, or belong to the stage's name."""
    places = [("", plain(name))]
    for at, sign in enumerate(name):
        if sign == "/":
            places.append((plain(name[:at]), plain(name[at + 1 :])))
    return places


def _pipelines(names: Sequence[str], kind: DealKind, directory: _Directory, notes: _Notes) -> frozenset[str]:
    for name in names:
        if path(name) not in directory.pipelines:
            notes.unknown("pipeline", name, directory.pipelines_shown)
    if directory.catalogue.is_open:
        return frozenset(map(plain, names))
    known = [place for name in names for place in directory.pipelines.get(path(name), ())]
    return frozenset(pipeline for own_kind, pipeline in known if _is_judged_as(own_kind, kind))


def _is_judged_as(own: DealKind, kind: DealKind) -> bool:
    """Items are judged by what is compiled for deals: their pipelines have ids of their own."""
    return (own is DealKind.LEAD) == (kind is DealKind.LEAD)


def _losses(names: Sequence[str] | None, directory: _Directory, notes: _Notes) -> LossReasons | None:
    if names is None:
        return None
    known = directory.catalogue.loss_reasons
    shown = {path(name): name for _, name in known}
    ids = {reason for reason, name in known for wanted in names if wanted == reason or plain(wanted) == plain(name)}
    for wanted in () if directory.catalogue.has_free_reasons else names:
        if path(wanted) not in shown and wanted not in ids:
            notes.unknown("loss reason", wanted, shown)
    return LossReasons(frozenset(ids), frozenset(map(plain, names)), f"loss reason {any_of(names)}")


def _checks(goal: Goal, directory: _Directory, notes: _Notes) -> tuple[Check, ...]:
    when = goal.when
    makers: list[tuple[str, Callable[[], Check]]] = []
    if when.tag is not None:
        makers.append(("tag", partial(conditions.tag, when.tag)))
    for name, wanted in when.field.items():
        makers.append((f"field {name}", partial(conditions.field, name, wanted)))
    if when.source is not None:
        makers.append(("source", partial(conditions.source, when.source)))
    if when.created_after is not None:
        makers.append(("created_after", partial(conditions.created_after, when.created_after)))
    if when.expression is not None:
        makers.append(("expression", partial(conditions.expression, when.expression, directory.labels)))
    _note_unknown_fields(when.field, directory.catalogue, notes)
    return tuple([_made(rule, make, notes.problems) for rule, make in makers])


def _made(rule: str, make: Callable[[], Check], problems: list[str]) -> Check:
    try:
        return make()
    except UnusableError as error:
        problems.append(str(error))
        return conditions.never(rule, f"{rule} cannot be used: {error}")


def _note_unknown_fields(names: Iterable[str], catalogue: Catalogue, notes: _Notes) -> None:
    if not catalogue.fields:
        return
    shown = {path(name): name for name in catalogue.fields}
    for name in names:
        if path(name) not in shown and not name.isdigit():  # ids are not listed
            notes.unknown("field", name, shown)


# --- value -------------------------------------------------------------------------------------------------------


def _worth(goal: Goal, labels: Labels, currency: str, problems: list[str]) -> Worth | None:
    currency = goal.currency or currency
    if goal.value is None:
        return None
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
        problems.append(f"value expression: {error}{meant(str(goal.value).strip().lower(), OWN_VALUES)}")
        return partial(_no_value, str(error))
    return partial(_computed, compiled, currency)


def _value_now(deal: Deal, _: Occasion) -> Money | None:
    return deal.value


def _value_then(deal: Deal, occasion: Occasion) -> Money | None:
    return deal.value_at(occasion.at)


def _value_paid(_: Deal, occasion: Occasion) -> Money | None:
    return None if occasion.payment is None else occasion.payment.value


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
