"""A goal that was counted by one kind of occurrence (the deal, its payments) is not counted by another. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bridge.model import ONCE_PER_DEAL, Judgement

if TYPE_CHECKING:
    from bridge.rules.plan import KnownConversion, Told


def kind_of(occurrence: str) -> str:
    """What occurs: the deal itself ("once"), a "payment", an "invoice"."""
    return occurrence.partition(":")[0]


def counted_otherwise(
    judgements: Sequence[Judgement], known: Sequence[KnownConversion]
) -> Mapping[str, Mapping[Told, str]]:
    """For each kind of occurrence that is judged: what is promised already for this deal by another kind, and by which.

    A goal that was counted once per deal and is counted per payment now, or per payment and then per invoice, would
    otherwise tell the same money twice.
    """
    found: dict[str, dict[Told, str]] = {}
    for kind in {kind_of(judgement.occurrence) for judgement in judgements}:
        for item in known:
            own = kind_of(item.conversion.occurrence)
            if own != kind:
                told = "the deal as a whole" if own == ONCE_PER_DEAL else f"its {own}s"
                promised = [(item.conversion.goal, row.destination) for row in item.deliveries if row.is_live]
                found.setdefault(kind, {}).update(dict.fromkeys(promised, told))
    return found
