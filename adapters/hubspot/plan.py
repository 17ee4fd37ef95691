"""What the settings ask to read, resolved against what the account has. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.hubspot import directory
from adapters.hubspot.directory import Directory
from adapters.hubspot.entities import CLICK_IDS, CONTACT, DEAL, FIRST_URL, SUGGESTED, Entity
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

    ``identifiers`` in order of preference, ``texts`` may hide one, ``told`` are what goals can look at.
    """

    entity: Entity
    names: Directory
    identifiers: tuple[tuple[str, IdKind], ...]
    texts: tuple[str, ...]
    told: tuple[str, ...]
    loss_reason: str
    rules: Rules

    @property
    def requested(self) -> tuple[str, ...]:
        """Every property to ask for; none that the portal does not have."""
        standard = [name for name in self.entity.standard if self.names.has(self.entity, name)]
        named = [name for name, _ in self.identifiers]
        reason = [self.loss_reason] if self.loss_reason else []
        return tuple(dict.fromkeys([*standard, *named, *self.texts, *self.told, *reason]))

    @property
    def histories(self) -> tuple[str, ...]:
        """Properties to ask for with their history."""
        if self.entity is CONTACT:
            return (CONTACT.stage, *dict.fromkeys(name for name, _ in self.identifiers))
        return ("dealstage", "pipeline", *(["amount"] if self.rules.needs_values else []))


def plan(entity: Entity, names: Directory, rules: Rules) -> Plan:
    """Resolve names and labels; a name that does not exist (``bridge check`` reports it) is left out."""
    configured = [
        (found, kind)
        for kind, wanted in rules.fields.items()
        for name in wanted
        if (found := names.code(entity, name)) is not None
    ]
    mapped = {name for name, _ in configured}
    known = {**CLICK_IDS, **SUGGESTED}
    others = [(name, kind) for name, kind in known.items() if name not in mapped and names.has(entity, name)]
    taken = mapped | {name for name, _ in others}
    texts = [name for name in (FIRST_URL, *names.own(entity)) if name not in taken and names.has(entity, name)]
    told = directory.told(names, entity, rules.properties)
    reason = names.code(entity, rules.loss_reason_field) if entity is DEAL else None
    return Plan(entity, names, (*configured, *others), tuple(texts), tuple(told), reason or "", rules)
