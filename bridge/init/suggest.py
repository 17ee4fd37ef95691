"""What goals and fields to begin with, from what the accounts tell. Pure judgement; a human has the last word.

Names are judged in Russian and English, by word stems. Nothing is suggested that the accounts do not have.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.catalogue import Catalogue, Pipeline, Stage
from bridge.model import DealKind, Outcome, frozen
from bridge.rules.names import plain
from bridge.survey import FieldSample, Guess, Target, guess, merged

QUALIFIED, SPAM, SALE = "qualified", "spam", "sale"
_SPAM = re.compile(r"спам|spam|дубл|duplicat|junk|мусор|фрод|fraud|накрут|\bбот(ы|ов)?\b|\bbots?\b|тестов|\btest")
_QUALIFIED = re.compile(
    r"(?<!не)(?<!не )(?:квалифиц|целев|качественн)|(?<!dis)(?<!un)qualif|\bsql\b|встреч|замер|meeting|appointment"
)
_BY_NAME = {
    QUALIFIED: re.compile(r"(?<!dis)(?<!un)qualif|квалифиц|(?<!не)(?<!не )(?:целев|качественн)|good.?lead|\bsql\b"),
    SPAM: re.compile(r"spam|спам|дубл|junk|bad.?lead|мусор|некачеств|нецелев|disqual"),
    SALE: re.compile(r"sale|\bsold|won|paid|purchase|deal|продаж|прода[нж]|сделк|оплат|оплач|выигр|converted"),
}
_TITLES = {QUALIFIED: "CRM: qualified lead", SPAM: "CRM: spam lead", SALE: "CRM: sale"}
_IDENTIFIERS = {QUALIFIED: "qualified_lead", SPAM: "spam_lead", SALE: "deal_won"}


# --- fields ------------------------------------------------------------------------------------------------------


@frozen
class FieldView:
    """A field that looks like an identifier, for the report."""

    sample: FieldSample
    guess: Guess

    @property
    def setting(self) -> str:
        return self.sample.setting

    @property
    def is_known(self) -> bool:
        """Whether the source reads it by itself."""
        return self.sample.known is not None


def field_views(samples: Iterable[FieldSample]) -> list[FieldView]:
    """Fields that look like identifiers, each setting once."""
    judged = ((sample, guess(sample)) for sample in merged(samples))
    return [FieldView(sample, found) for sample, found in judged if found is not None]


def texts_with_ids(samples: Iterable[FieldSample]) -> list[FieldSample]:
    """Fields of other kinds in whose texts identifiers were found."""
    return [sample for sample in merged(samples) if sample.holding and guess(sample) is None]


# --- goals -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Send:
    """Where a goal goes at one destination. ``target`` "" is not known; ``is_sure``: written active.

    ``is_wanted``: it is to be created there.
    """

    target: str = ""
    is_sure: bool = False
    why: str = ""
    candidates: tuple[Target, ...] = ()
    is_wanted: bool = False


@dataclass(slots=True)
class GoalPlan:
    """A goal to write. Unless ``is_sure`` it is written as a comment; ``why`` explains it there."""

    name: str
    when: dict[str, Any]
    why: str
    is_sure: bool
    value: str = ""
    send: dict[str, Send] = field(default_factory=dict)

    @property
    def sent(self) -> dict[str, str]:
        """Destination -> its own goal, as it is written; nothing: the goal is judged only."""
        return {own: send.target for own, send in self.send.items() if send.is_sure}


def goals(catalogues: Sequence[Catalogue], qualified: Sequence[str]) -> list[GoalPlan]:
    """The three goals to begin with. ``qualified``: stages named by the operator, "" where nobody did."""
    return [_qualified(catalogues, qualified), _spam(catalogues), _sale(catalogues)]


def _qualified(catalogues: Sequence[Catalogue], told: Sequence[str]) -> GoalPlan:
    if told:
        return GoalPlan(QUALIFIED, {"stage": [*told]}, "as you said", True)
    near = likely_stages(catalogues)
    if near:
        return GoalPlan(QUALIFIED, {"stage": near}, "stages that sound like it; keep what is right", False)
    stage = next(iter(open_stages(catalogues)), "STAGE")
    return GoalPlan(QUALIFIED, {"stage": [stage]}, "name the stage a lead reaches when it is worth something", False)


def _spam(catalogues: Sequence[Catalogue]) -> GoalPlan:
    reasons = list(dict.fromkeys(name for catalogue in catalogues for _, name in catalogue.loss_reasons))
    found = [name for name in reasons if _SPAM.search(plain(name))]
    if found:
        return GoalPlan(SPAM, {"outcome": "lost", "loss_reason": found}, "loss reasons that mean it by name", True)
    lost = [stage for stage in _stages(catalogues, Outcome.LOST) if _SPAM.search(plain(stage))]
    if lost:
        return GoalPlan(SPAM, {"stage": lost}, "stages that mean it by name", True)
    example = reasons[:2] or ["LOSS REASON"]
    why = "name the loss reasons that mean spam or a duplicate"
    return GoalPlan(SPAM, {"outcome": "lost", "loss_reason": example}, why, False)


def _sale(catalogues: Sequence[Catalogue]) -> GoalPlan:
    is_open = not catalogues or any(catalogue.is_open for catalogue in catalogues)
    has_won = any(_stages(catalogues, Outcome.WON)) or is_open or not any(c.pipelines for c in catalogues)
    why = "every deal that is won" if has_won else "no stage here means won; name one instead"
    return GoalPlan(SALE, {"outcome": "won"}, why, has_won, value="deal")


@frozen
class _Labelled:
    """A stage under the name that a goal would give it: its own, or "pipeline/stage" where two pipelines share it."""

    label: str
    stage: Stage
    pipeline: Pipeline


def _labelled(catalogues: Sequence[Catalogue]) -> list[_Labelled]:
    pipelines = [pipe for catalogue in catalogues for pipe in catalogue.pipelines if not pipe.is_archived]
    counts = Counter(plain(stage.name) for pipe in pipelines for stage in pipe.stages)
    return [
        _Labelled(
            stage.name if counts[plain(stage.name)] == 1 or not pipe.name else f"{pipe.name}/{stage.name}", stage, pipe
        )
        for pipe in pipelines
        for stage in pipe.stages
        if stage.name
    ]


def _stages(catalogues: Sequence[Catalogue], outcome: Outcome) -> list[str]:
    return list(dict.fromkeys(item.label for item in _labelled(catalogues) if item.stage.outcome is outcome))


def open_stages(catalogues: Sequence[Catalogue]) -> list[str]:
    """Stages a lead can be qualified by, in the accounts' order."""
    return _stages(catalogues, Outcome.OPEN)


def likely_stages(catalogues: Sequence[Catalogue]) -> list[str]:
    """The first stage of each pipeline that sounds like it.

    Of leads and the deals they turn into only the deals' are named: one customer would be counted twice.
    """
    first: dict[str, _Labelled] = {}
    for item in _labelled(catalogues):
        if item.stage.outcome is Outcome.OPEN and _QUALIFIED.search(plain(item.stage.name)):
            first.setdefault(item.pipeline.id, item)
    deals = [item.label for item in first.values() if item.pipeline.kind is not DealKind.LEAD]
    return list(dict.fromkeys(deals or [item.label for item in first.values()]))


# --- where goals go ----------------------------------------------------------------------------------------------


def send_to(goal: str, targets: Sequence[Target]) -> Send:
    """The destination's goal for ours: by the vendor's type, else by name. Sure only when nothing else fits as well."""
    usable = [target for target in targets if target.is_usable]
    by_type = [target for target in usable if target.means == goal]
    pattern = _BY_NAME.get(goal)
    untyped = [target for target in usable if not target.means]
    by_name = [t for t in untyped if pattern and pattern.search(f"{plain(t.id)} {plain(t.name)}")]
    for found, why in ((by_type, "by its type"), (by_name, "by its name")):
        exact = [target for target in found if target.id == _IDENTIFIERS.get(goal)]
        best = exact if len(exact) == 1 else found
        if len(best) == 1:
            return Send(best[0].id, True, why, tuple(found))
        if found:
            return Send(found[0].id, False, "several fit; choose one", tuple(found))
    others = tuple(target for target in usable if target.means in ("", goal))
    return Send(candidates=others, why="nothing there looks like it")


def new_target(goal: str) -> tuple[str, str]:
    """Identifier and title of a goal to create."""
    return _IDENTIFIERS.get(goal, goal), _TITLES.get(goal, f"CRM: {goal}")
