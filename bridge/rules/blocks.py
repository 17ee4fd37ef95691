"""Conditions compiled against what one source knows: names become ids, tests become checks. Pure.

A block is one set of conditions that must hold together: a goal's own, one of its criteria, or those of a score's rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from bridge.catalogue import Catalogue
from bridge.config import When
from bridge.frozen import frozen
from bridge.model import Deal, DealKind, Outcome, StageChange
from bridge.rules import conditions
from bridge.rules.conditions import Check, UnusableError
from bridge.rules.expression import Labels
from bridge.rules.names import any_of, path, plain, unknown
from bridge.rules.suspicion import signal_check, spam_check

if TYPE_CHECKING:
    from bridge.rules.score import Ask

Place = tuple[str, str]  # pipeline id, stage id
_LOST = Outcome.LOST  # Python is slow to look up a member of an enum


@frozen
class Entry:
    """Which stage entries reach a goal. ``stages`` maps (pipeline, stage) to the rule's text; None = any.

    ``is_open``: the source has no catalogue; ids are compared as names, a stage without a pipeline under ("", stage).
    """

    stages: Mapping[Place, str] | None
    pipelines: frozenset[str] | None
    outcomes: tuple[Outcome, ...] | None
    is_open: bool
    rule: str
    missing: str

    def first(self, history: Iterable[StageChange]) -> StageChange | None:
        """The first of these that reaches the goal."""
        outcomes, pipelines, stages, is_open = self.outcomes, self.pipelines, self.stages, self.is_open
        for change in history:
            if outcomes is not None and change.outcome not in outcomes:
                continue
            if is_open:
                if self._is_named(change):
                    return change
            elif pipelines is not None and change.pipeline not in pipelines:
                continue
            elif stages is None or (change.pipeline, change.stage) in stages:
                return change
        return None

    def reached(self, change: StageChange) -> bool:
        return self.first((change,)) is not None

    def _is_named(self, change: StageChange) -> bool:
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


@frozen
class LossReasons:
    """Loss reasons by id and by comparable name."""

    ids: frozenset[str]
    names: frozenset[str]
    rule: str

    def why_not(self, deal: Deal) -> str:
        """ "" when the deal is lost for one of them now."""
        if deal.outcome is not _LOST:
            return "not lost now"
        if deal.loss_reason is None:
            return "lost without a loss reason"
        own_id, name = deal.loss_reason
        return "" if own_id in self.ids or plain(name) in self.names else f"loss reason is {name or own_id}"


@frozen
class Criteria:
    """At least so many of these blocks hold; each with its conditions in words."""

    at_least: int
    each: tuple[tuple[str, Block], ...]

    @property
    def rule(self) -> str:
        return f"at least {self.at_least} of {len(self.each)} criteria"


@frozen
class Block:
    """Conditions that must hold together. ``checks`` look at the deal as it is now; ``asks`` are about scores.

    ``lead`` and ``deal`` say which stage entries satisfy it, by what the deal is.
    """

    lead: Entry
    deal: Entry
    losses: LossReasons | None
    checks: tuple[Check, ...]
    criteria: Criteria | None = None
    asks: tuple[Ask, ...] = ()

    @property
    def is_timed(self) -> bool:
        """Whether more than a stage entry decides when it is satisfied."""
        return self.criteria is not None or bool(self.asks)


@dataclass(slots=True)
class Notes:
    """What is noted while one goal is compiled. A name nobody knows is a doubt where any name may come."""

    is_open: bool
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def unknown(self, what: str, name: str, shown: Mapping[str, str]) -> None:
        (self.doubts if self.is_open else self.problems).append(unknown(what, name, shown))


# --- compiling ---------------------------------------------------------------------------------------------------

# Makes what a block asks of a score, by the score's name and the test as configured.
Asking = Callable[[str, str], "Ask"]


def compile_block(when: When, directory: Directory, notes: Notes, asking: Asking) -> Block:
    """One set of conditions, with the criteria inside it."""
    criteria = None
    if when.of is not None and when.at_least is not None:
        each = tuple([(told(inner), compile_block(inner, directory, notes, asking)) for inner in when.of])
        criteria = Criteria(when.at_least, each)
    return Block(
        _entry(when, DealKind.LEAD, directory, notes),
        _entry(when, DealKind.DEAL, directory, notes),
        _losses(when.loss_reason, directory, notes),
        _checks(when, directory, notes),
        criteria,
        tuple([asking(name, test) for name, test in when.score.items()]),
    )


def told(when: When) -> str:
    """Conditions in words."""
    named = (
        ("stage", when.stage), ("pipeline", when.pipeline), ("outcome", when.outcome),
        ("loss reason", when.loss_reason), ("tag", when.tag), ("source", when.source),
    )  # fmt: skip
    parts = [f"{what} {any_of(names)}" for what, names in named if names is not None]
    parts += [f"field {name} {conditions.shown(wanted)}" for name, wanted in when.field.items()]
    parts += [f"{name} {conditions.shown(wanted)}" for name, wanted in when.fact.items()]
    parts += [f"views of {part} {conditions.shown(wanted)}" for part, wanted in when.pages.items()]
    parts += [] if when.created_after is None else [f"created after {when.created_after.isoformat()}"]
    parts += [] if when.expression is None else [f"expression {when.expression}"]
    parts += [f"score {name} {test}" for name, test in when.score.items()]
    if when.of is not None:
        parts.append(f"at least {when.at_least} of ({'; '.join(map(told, when.of))})")
    return ", ".join(parts)


@frozen
class Directory:
    """A catalogue turned round: comparable labels to places, and labels as they are shown."""

    catalogue: Catalogue
    labels: Labels
    stages: Mapping[str, set[tuple[DealKind, Place]]]
    stages_shown: Mapping[str, str]
    pipelines: Mapping[str, set[tuple[DealKind, str]]]
    pipelines_shown: Mapping[str, str]

    @classmethod
    def of(cls, catalogue: Catalogue) -> Directory:
        stages: dict[str, set[tuple[DealKind, Place]]] = {}
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


def _entry(when: When, kind: DealKind, directory: Directory, notes: Notes) -> Entry:
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


def _stages(names: Sequence[str], kind: DealKind, directory: Directory, notes: Notes) -> dict[Place, str]:
    for name in names:
        if path(name) not in directory.stages:
            notes.unknown("stage", name, directory.stages_shown)
    if directory.catalogue.is_open:
        return {place: f"stage {name}" for name in names for place in _open_places(name)}
    found: dict[Place, str] = {}
    for name in names:
        for own_kind, (pipeline, stage) in directory.stages.get(path(name), ()):
            if _is_judged_as(own_kind, kind):
                shown = directory.labels.stages[own_kind.value, pipeline, stage]
                found[pipeline, stage] = f"stage {shown}"
    return found


def _open_places(name: str) -> list[Place]:
    """A stroke may part pipeline and stage, or belong to the stage's name."""
    places = [("", plain(name))]
    for at, sign in enumerate(name):
        if sign == "/":
            places.append((plain(name[:at]), plain(name[at + 1 :])))
    return places


def _pipelines(names: Sequence[str], kind: DealKind, directory: Directory, notes: Notes) -> frozenset[str]:
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


def _losses(names: Sequence[str] | None, directory: Directory, notes: Notes) -> LossReasons | None:
    if names is None:
        return None
    known = directory.catalogue.loss_reasons
    shown = {path(name): name for _, name in known}
    ids = {reason for reason, name in known for wanted in names if wanted == reason or plain(wanted) == plain(name)}
    for wanted in () if directory.catalogue.has_free_reasons else names:
        if path(wanted) not in shown and wanted not in ids:
            notes.unknown("loss reason", wanted, shown)
    return LossReasons(frozenset(ids), frozenset(map(plain, names)), f"loss reason {any_of(names)}")


def _checks(when: When, directory: Directory, notes: Notes) -> tuple[Check, ...]:
    makers: list[tuple[str, Callable[[], Check]]] = []
    if when.tag is not None:
        makers.append(("tag", partial(conditions.tag, when.tag)))
    for name, wanted in when.field.items():
        makers.append((f"field {name}", partial(conditions.field, name, wanted)))
    for name, wanted in when.fact.items():
        makers.append((name, partial(conditions.fact, name, wanted)))
    for part, wanted in when.pages.items():
        makers.append((f"views of {part}", partial(conditions.pages, part, wanted)))
    if when.source is not None:
        makers.append(("source", partial(conditions.source, when.source)))
    if when.created_after is not None:
        makers.append(("created_after", partial(conditions.created_after, when.created_after)))
    if when.expression is not None:
        makers.append(("expression", partial(conditions.expression, when.expression, directory.labels)))
    if when.spam is not None:
        makers.append(("spam", partial(spam_check, when.spam)))
    if when.signal is not None:
        makers.append(("signal", partial(signal_check, when.signal)))
    _note_unknown_fields(when.field, directory.catalogue, notes)
    return tuple([_made(rule, make, notes.problems) for rule, make in makers])


def _made(rule: str, make: Callable[[], Check], problems: list[str]) -> Check:
    try:
        return make()
    except UnusableError as error:
        problems.append(str(error))
        return conditions.never(rule, f"{rule} cannot be used: {error}")


def _note_unknown_fields(names: Iterable[str], catalogue: Catalogue, notes: Notes) -> None:
    if not catalogue.fields:
        return
    shown = {path(name): name for name in catalogue.fields}
    for name in names:
        if path(name) not in shown and not name.isdigit():  # ids are not listed
            notes.unknown("field", name, shown)
