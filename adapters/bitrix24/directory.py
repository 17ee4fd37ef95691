"""The portal's names: pipelines, stages, sources and custom fields, as read once and looked up often. Pure.

Codes are never built, only read: a stage's code is cut at 21 characters (contract bitrix24 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from difflib import get_close_matches

from adapters.bitrix24 import entities
from adapters.bitrix24.entities import INVOICE, LEADS, Entity
from adapters.bitrix24.wire import Category, FieldInfo, StatusRow
from bridge.catalogue import Catalogue, Pipeline, Stage
from bridge.frozen import frozen
from bridge.model import DealKind, Outcome

DATES = ("BEGINDATE", "CLOSEDATE")  # plain dates that goals may look at
DATE = 10  # characters of a date; the clock behind it is the zone's offset and means nothing (contract 3.4)
REPEATS = ("IS_RETURN_CUSTOMER", "IS_REPEATED_APPROACH")  # standard fields that goals may look at (contract 4.1, 4.2)
_FLAGS = {"1": "Y", "true": "Y", "y": "Y", "0": "N", "false": "N", "n": "N"}
_SEMANTICS = {"S": Outcome.WON, "F": Outcome.LOST}
IN_WORK = frozenset({None, "", "P"})


def is_known(semantics: object) -> bool:
    """Whether the contract has these semantics of a stage (8); others are taken for "in progress"."""
    return semantics in IN_WORK or semantics in _SEMANTICS


def outcome(kind: DealKind, semantics: object) -> Outcome:
    """What a stage's semantics mean. A converted lead (S) stays open: it lives on as its deal, which is the sale."""
    found = _SEMANTICS.get(semantics, Outcome.OPEN) if isinstance(semantics, str) else Outcome.OPEN
    return Outcome.OPEN if kind is DealKind.LEAD and found is Outcome.WON else found


@frozen
class Directory:
    """Names by id. ``fields`` holds, for the name of an entity, every field by its code.

    ``invoices`` tells how the stages of smart invoices end; nothing else of these is named anywhere.
    """

    pipelines: tuple[Pipeline, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Mapping[str, FieldInfo]] = field(default_factory=dict)
    stages: Mapping[tuple[str, str], Stage] = field(default_factory=dict)
    codes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    invoices: Mapping[str, Outcome] = field(default_factory=dict)

    def code(self, entity: Entity, name: str) -> str | None:
        """The field that a configured name (its code or a label, whatever the case) means for this entity."""
        return self.codes.get((entity.name, name.casefold()))

    def stage_name(self, pipeline: str, stage: str) -> str:
        """The stage's name; its code where the directory does not know it (yet)."""
        found = self.stages.get((pipeline, stage))
        return found.name if found else stage

    def outcome_of(self, pipeline: str, stage: str) -> Outcome:
        """How a stage ends; open where the directory does not know it (yet)."""
        found = self.stages.get((pipeline, stage))
        return found.outcome if found else Outcome.OPEN

    def custom(self, entity: Entity) -> list[str]:
        """Codes of the custom fields."""
        return [code for code in self.fields.get(entity.name, {}) if code.startswith("UF_")]

    def text(self, entity: Entity, code: str, value: str) -> str:
        """A value as people see it: an option's label, a date without a clock, a sum without its currency, Y or N.

        Of an option that is not listed (any more, or yet) people see nothing; its id alone would pass for a number.
        Yes and no come as JSON, as 1 and 0 or as Y and N, by method and portal (contract 4.3, 17).
        """
        info = self.fields.get(entity.name, {}).get(code)
        if info is not None and info.type == "boolean":
            return _FLAGS.get(value.casefold(), value)
        if info is not None and info.type == "date":
            return value[:DATE]
        if info is not None and info.type == "money":
            return value.partition("|")[0]
        if info is None or not info.items:
            return value
        return next((item.value for item in info.items if str(item.id) == value and item.value), f"option {value}")

    def nearest(self, entity: Entity, name: str) -> list[str]:
        """Real field codes and labels that look like a name which does not exist."""
        names = [text for code, info in self.fields.get(entity.name, {}).items() for text in (code, *info.labels())]
        return get_close_matches(name, names, n=3, cutoff=0.5)


def build(
    leads: Iterable[StatusRow] | None,
    others: Iterable[tuple[Entity, Category, Iterable[StatusRow]]],
    sources: Iterable[StatusRow],
    fields: Mapping[str, Mapping[str, FieldInfo]],
) -> Directory:
    """A directory out of the portal's lists. ``leads`` is None where leads are not read, ``others`` have pipelines.

    Smart invoices among the latter are no deals: they get into no pipeline that a goal could name.
    """
    listed = list(others)
    pipelines = [] if leads is None else [Pipeline(LEADS, "Лиды", DealKind.LEAD, _stages(DealKind.LEAD, leads))]
    for entity, category, rows in listed:
        if entity is INVOICE:
            continue
        stages = _stages(entity.kind, rows)
        pipelines.append(Pipeline(entity.pipeline(category.id), category.name, entity.kind, stages))
    return Directory(
        tuple(pipelines),
        {row.status_id: row.name for row in sources},
        fields,
        {(pipeline.id, stage.id): stage for pipeline in pipelines for stage in pipeline.stages},
        _codes(fields),
        {
            row.status_id: outcome(INVOICE.kind, row.semantics)
            for entity, _, rows in listed
            if entity is INVOICE
            for row in rows
        },
    )


def _stages(kind: DealKind, rows: Iterable[StatusRow]) -> tuple[Stage, ...]:
    return tuple(Stage(row.status_id, row.name, outcome(kind, row.semantics)) for row in rows)


def _codes(fields: Mapping[str, Mapping[str, FieldInfo]]) -> dict[tuple[str, str], str]:
    """Names to codes. A code wins over a label, the first label over later equal ones."""
    codes: dict[tuple[str, str], str] = {}
    for entity, known in fields.items():
        for code in known:
            codes[entity, code.casefold()] = code
        for code, info in known.items():
            for label in sorted(info.labels()):
                codes.setdefault((entity, label.casefold()), code)
    return codes


def catalogue(directory: Directory, loss_reason_field: str | None) -> Catalogue:
    """What goals may name. Loss reasons: failure stages, and the choices of the loss-reason field."""
    reasons: dict[str, str] = {}
    for pipeline in directory.pipelines:
        reasons.update((stage.id, stage.name) for stage in pipeline.stages if stage.outcome is Outcome.LOST)
    for entity, known in directory.fields.items():
        info = known.get(directory.code(entities.named(entity), loss_reason_field or "") or "")
        reasons.update((str(item.id), item.value) for item in (info.items if info else ()))
    names = {
        text
        for known in directory.fields.values()
        for code, info in known.items()
        if code.startswith("UF_") or code in (*REPEATS, *DATES)
        for text in ((code, *info.labels()) if code.startswith("UF_") else (code,))
    }
    return Catalogue(directory.pipelines, tuple(reasons.items()), tuple(sorted(names)), choices=_choices(directory))


def _choices(directory: Directory) -> dict[str, tuple[str, ...]]:
    """What custom fields of lists and of the type yes/no can hold, by code and labels, of all entities."""
    found: dict[str, tuple[str, ...]] = {}
    for known in directory.fields.values():
        for code, info in known.items():
            own = ("Y", "N") if info.type == "boolean" else tuple([item.value for item in info.items])
            for name in (code, *info.labels()) if own and code.startswith("UF_") else ():
                found[name] = tuple(dict.fromkeys((*found.get(name, ()), *own)))
    return found
