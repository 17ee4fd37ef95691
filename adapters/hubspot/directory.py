"""The portal's names: pipelines, stages and properties, as read once and looked up often. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches

from adapters.hubspot import wire
from adapters.hubspot.entities import CONTACT, DEAL, LEAD_STATUS, LIFECYCLE, ORIGIN, Entity
from bridge.catalogue import Catalogue, Pipeline, Stage
from bridge.frozen import frozen
from bridge.model import DealKind, Outcome

_NO_STAGE = Stage("", "(no lifecycle stage)")  # a contact may have none


def oddity(stage: wire.Stage) -> str:
    """What a stage's metadata say of its end that the contract does not have (hubspot 4); "" for nothing.

    Anything but "true" is taken for open.
    """
    told = str((stage.metadata or {}).get("isClosed", "false")).lower()
    return "" if told in ("true", "false") else told


def outcome_of(stage: wire.Stage) -> Outcome:
    """How a deal's stage ends, by its metadata, whose values are text (contract hubspot 4)."""
    about = stage.metadata or {}
    if str(about.get("isClosed")).lower() != "true":
        return Outcome.OPEN
    try:
        is_won = Decimal(str(about.get("probability"))) == 1
    except InvalidOperation:
        is_won = False
    return Outcome.WON if is_won else Outcome.LOST


@frozen
class Directory:
    """Names by id. ``properties``: for the name of an entity, its properties by name.

    ``stages`` by (pipeline, stage); ``homes``: the one pipeline that has a stage, for stages that are in one only.
    """

    pipelines: tuple[Pipeline, ...] = ()
    properties: Mapping[str, Mapping[str, wire.Property]] = field(default_factory=dict)
    stages: Mapping[tuple[str, str], Stage] = field(default_factory=dict)
    homes: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def code(self, entity: Entity, name: str) -> str | None:
        """The property that a configured name (its name or label, whatever the case) means for this entity."""
        return self.codes.get((entity.name, name.casefold()))

    def has(self, entity: Entity, name: str) -> bool:
        return name in self.properties.get(entity.name, {})

    def own(self, entity: Entity) -> list[str]:
        """Names of the properties that were made in this portal."""
        return [name for name, about in self.properties.get(entity.name, {}).items() if not about.hubspot_defined]

    def about(self, entity: Entity, name: str) -> wire.Property | None:
        return self.properties.get(entity.name, {}).get(name)

    def is_known(self, pipeline: str, stage: str) -> bool:
        return (pipeline, stage) in self.stages

    def place(self, stage: str, pipeline: str) -> tuple[str, str]:
        """(pipeline, stage) of a deal that was in this stage; ``pipeline`` is what it then was in, as far as known."""
        return (pipeline if self.is_known(pipeline, stage) else self.homes.get(stage, pipeline), stage)

    def stage(self, pipeline: str, stage: str) -> Stage:
        """The stage; one that was deleted is open and called by its id."""
        return self.stages.get((pipeline, stage)) or Stage(stage, stage)

    def label(self, entity: Entity, name: str, value: str) -> str:
        """A value as people see it; itself where it is no option."""
        about = self.about(entity, name)
        options = (about.options or ()) if about is not None else ()
        return next((item.label for item in options if item.value == value and item.label), value)

    def nearest(self, entity: Entity, name: str) -> list[str]:
        """Real names and labels that look like a name which does not exist."""
        known = self.properties.get(entity.name, {})
        return get_close_matches(
            name, [text for one in known.values() for text in (one.name, one.label or one.name)], n=3
        )


def build(
    properties: Mapping[Entity, Iterable[wire.Property]], pipelines: Iterable[wire.Pipeline], *, has_leads: bool = True
) -> Directory:
    """A directory out of the portal's lists. ``has_leads``: contacts are read as leads, in a pipeline of their own."""
    known = {entity.name: {one.name: one for one in found} for entity, found in properties.items()}
    made = [_pipeline(item) for item in pipelines]
    if has_leads:
        made.insert(0, _lifecycle(known.get(CONTACT.name, {}).get(CONTACT.stage)))
    homes: dict[str, list[str]] = {}
    for pipeline in made:
        for stage in pipeline.stages if pipeline.kind is DealKind.DEAL else ():
            homes.setdefault(stage.id, []).append(pipeline.id)
    return Directory(
        tuple(made),
        known,
        {(pipeline.id, stage.id): stage for pipeline in made for stage in pipeline.stages},
        {stage: places[0] for stage, places in homes.items() if len(places) == 1},
        _codes(known),
    )


def _pipeline(found: wire.Pipeline) -> Pipeline:
    stages = tuple([Stage(stage.id, stage.label or stage.id, outcome_of(stage)) for stage in found.stages])
    return Pipeline(found.id, found.label or found.id, DealKind.DEAL, stages, is_archived=bool(found.archived))


def _lifecycle(found: wire.Property | None) -> Pipeline:
    """Contacts stay open in each of their stages: a customer's sale is the deal's, and is counted there."""
    stages = [Stage(option.value, option.label or option.value) for option in ((found.options or ()) if found else ())]
    return Pipeline(LIFECYCLE, "Contacts", DealKind.LEAD, (_NO_STAGE, *stages))


def _codes(known: Mapping[str, Mapping[str, wire.Property]]) -> dict[tuple[str, str], str]:
    """Names to names. A name wins over a label, the first label over later equal ones."""
    codes = {(entity, name.casefold()): name for entity, found in known.items() for name in found}
    for entity, found in known.items():
        for name, about in found.items():
            codes.setdefault((entity, (about.label or name).casefold()), name)
    return codes


def catalogue(names: Directory, entities: Sequence[Entity], loss_reason_field: str, extra: Sequence[str]) -> Catalogue:
    """What goals may name. Loss reasons: closed stages that are not won, and the options of the reason's property."""
    reasons: dict[str, str] = {}
    for pipeline in names.pipelines:
        reasons.update((stage.id, stage.name) for stage in pipeline.stages if stage.outcome is Outcome.LOST)
    about = names.about(DEAL, names.code(DEAL, loss_reason_field) or loss_reason_field)
    reasons.update((option.value, option.label or option.value) for option in ((about.options or ()) if about else ()))
    shown = {text for entity in entities for text in _shown(names, entity, extra)}
    is_text = DEAL in entities and about is not None and not about.options
    choices: dict[str, tuple[str, ...]] = {}
    for entity in entities:
        choices.update(_choices(names, entity, extra))
    listed = (names.pipelines, tuple(reasons.items()), tuple(sorted(shown)))
    return Catalogue(*listed, has_free_reasons=is_text, choices=choices)


def _choices(names: Directory, entity: Entity, extra: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The options of properties that have some, by name and label."""
    found: dict[str, tuple[str, ...]] = {}
    for name in told(names, entity, extra):
        about = names.about(entity, name)
        if about is not None and about.options:
            labels = tuple([option.label or option.value for option in about.options])
            found.update(dict.fromkeys((name, about.label) if about.label else (name,), labels))
    return found


def told(names: Directory, entity: Entity, extra: Sequence[str]) -> list[str]:
    """The properties that goals can look at: the portal's own, those of the settings, and the vendor's status."""
    wanted = [*names.own(entity), *(names.code(entity, name) or name for name in extra), LEAD_STATUS, ORIGIN]
    return list(dict.fromkeys(name for name in wanted if names.has(entity, name)))


def _shown(names: Directory, entity: Entity, extra: Sequence[str]) -> Iterable[str]:
    for name in told(names, entity, extra):
        about = names.about(entity, name)
        yield name
        if about is not None and about.label:
            yield about.label
