"""The names a source knows: pipelines with their stages, loss reasons, fields. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from bridge.model import DealKind, Outcome, frozen


@frozen
class Stage:
    id: str
    name: str
    outcome: Outcome = Outcome.OPEN


@frozen
class Pipeline:
    id: str
    name: str
    kind: DealKind
    stages: tuple[Stage, ...]
    is_archived: bool = False


@frozen
class Catalogue:
    """The names a source knows. With ``is_open`` any stage name is legal (tables have no catalogue of their own).

    With ``has_free_reasons`` people write loss reasons as text, so that any name may be one beside those listed.
    ``choices``: what list and yes/no fields can hold, as people see it, by each of their names.
    """

    pipelines: tuple[Pipeline, ...] = ()
    loss_reasons: tuple[tuple[str, str], ...] = ()  # (id, name)
    fields: tuple[str, ...] = ()
    is_open: bool = False
    has_free_reasons: bool = False
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
