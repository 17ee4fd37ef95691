"""What the settings ask to read, resolved against what the account has. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from adapters.hubspot import directory
from adapters.hubspot.directory import Directory
from adapters.hubspot.entities import CLICK_IDS, CONTACT, DEAL, FIRST_URL, SUGGESTED, UTM, Entity
from bridge.model import IdKind, frozen


@frozen
class Rules:
    """What the settings say about reading: identifier properties, others, the loss reason's, the home currency."""

    fields: Mapping[IdKind, Sequence[str]]
    properties: Sequence[str]
    loss_reason_field: str
    currency: str
    needs_values: bool = False
    parents: bool = True


@frozen
class Plan:
    """The rules of one entity with every configured name resolved to its property.

    ``identifiers`` in order of preference, ``texts`` may hide one, ``told`` are what goals can look at. ``requested``:
    every property to ask for, none that the portal does not have; ``histories``: those to ask for with their history.
    ``labels`` of options, in small letters, by the names of properties that have some.
    """

    entity: Entity
    names: Directory
    identifiers: tuple[tuple[str, IdKind], ...]
    texts: tuple[str, ...]
    told: tuple[str, ...]
    loss_reason: str
    rules: Rules
    requested: tuple[str, ...]
    histories: tuple[str, ...]
    labels: Mapping[str, frozenset[str]]


def plan(entity: Entity, names: Directory, rules: Rules) -> Plan:
    """Resolve names and labels; a name that does not exist (``bridge check`` reports it) is left out."""
    identifiers = _identifiers(entity, names, rules)
    taken = {name for name, _ in identifiers}
    texts = [name for name in (FIRST_URL, *names.own(entity)) if name not in taken and names.has(entity, name)]
    told = directory.told(names, entity, rules.properties)
    reason = (names.code(entity, rules.loss_reason_field) or "") if entity is DEAL else ""
    standard = [name for name in entity.standard if names.has(entity, name)]
    requested = {*standard, *taken, *texts, *told, *([reason] if reason else [])}
    return Plan(
        entity,
        names,
        identifiers,
        tuple(texts),
        tuple(told),
        reason,
        rules,
        tuple(sorted(requested)),
        _histories(
            entity, [*(name for name, _ in identifiers), *(name for name in texts if name.startswith(UTM))], rules
        ),
        _labels(entity, names, told),
    )


def _labels(entity: Entity, names: Directory, told: Iterable[str]) -> dict[str, frozenset[str]]:
    found = {name: names.about(entity, name) for name in told}
    return {
        name: frozenset((option.label or "").strip().casefold() for option in about.options)
        for name, about in found.items()
        if about is not None and about.options
    }


def _identifiers(entity: Entity, names: Directory, rules: Rules) -> tuple[tuple[str, IdKind], ...]:
    """Configured properties first, then the vendor's own and those with telling names."""
    configured = [
        (found, kind)
        for kind, wanted in rules.fields.items()
        for name in wanted
        if (found := names.code(entity, name)) is not None
    ]
    mapped = {name for name, _ in configured}
    known = {**CLICK_IDS, **SUGGESTED}
    others = [(name, kind) for name, kind in known.items() if name not in mapped and names.has(entity, name)]
    return (*configured, *others)


def _histories(entity: Entity, clues: Iterable[str], rules: Rules) -> tuple[str, ...]:
    """A contact lives long: what its clues were when a deal began is told by their histories."""
    if entity is CONTACT:
        return (CONTACT.stage, *dict.fromkeys(clues))
    return ("dealstage", "pipeline", *(["amount"] if rules.needs_values else []))
