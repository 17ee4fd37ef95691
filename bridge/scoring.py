"""Conditions of goals, and scores: how they are configured.

A score is a sum of points: each rule whose conditions hold gives its own, in whole points, for ever or fading with
time. A goal may ask for a score, or for a number of criteria out of several.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from bridge.config_base import Duration, Model, Names, as_list
from bridge.spam import SignalName

Sign = Literal["=", "!=", ">", ">=", "<", "<=", "in", "contains"]
FieldTest = str | int | Decimal | bool | list[str | int] | dict[Sign, Any]

# What is known of a deal beside the CRM's own fields; rules/facts.py tells where each comes from.
FactName = Literal[
    "has_phone", "has_email", "contacts", "phone_country", "phone_type", "channel", "identifier", "method", "landing",
    "utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term",
    "visits", "visits_before", "pages_seen", "form", "form_seconds", "too_fast", "honeypot",
]  # fmt: skip

_BAND = "[a-z][a-z0-9_-]{0,39}"
# Those that have to be noted while a deal's texts and contacts are at hand.
NOTED: frozenset[str] = frozenset((
    "phone_country", "phone_type", "landing", "utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term",
))  # fmt: skip

# What the form tells that a deal came of, and earlier visits.
BEHAVIOUR: frozenset[str] = frozenset((
    "visits", "visits_before", "pages_seen", "form", "form_seconds", "too_fast", "honeypot",
))  # fmt: skip
# What the lead that a deal was made from, and its form, tell where the deal's own is silent.
INHERITED = NOTED | {"has_phone", "has_email", "contacts", "channel"}
_COUNTS = frozenset(("contacts", "visits", "visits_before", "form_seconds"))
_COUNT_TEST = re.compile(r"(>=|>|<=|<|!=|=)?\s*([0-9]{1,9})")

SCORE_TEST = re.compile(rf"(>=|>|<=|<)?\s*(-?[0-9]{{1,6}}|{_BAND})")
POINTS_MAX = 1000


def _score_test(value: str) -> str:
    if SCORE_TEST.fullmatch(value.strip()) is None:
        raise ValueError('write a threshold, ">= 60", or a band, "hot" or ">= warm"')
    return value.strip()


ScoreTest = Annotated[str, AfterValidator(_score_test)]


def _count_test(name: str, test: FieldTest) -> FieldTest:
    """``">= 2"`` as a comparison."""
    if not isinstance(test, str):
        return test
    found = _COUNT_TEST.fullmatch(test.strip())
    if found is None:
        raise ValueError(f'{name} is a number: write {name} = 2, or {name} = ">= 2"')
    return {found[1] or "=": int(found[2])}  # type: ignore[dict-item]  # the pattern knows the signs


class When(Model):
    """Conditions of a goal. All that are given must hold; a list means any of.

    ``of``: criteria, each with conditions of its own; at least ``at_least`` of them must hold. ``score``: by a score's
    name, a threshold or a band. ``pages``: by a part of a page's path, how often it was looked at before the form.
    """

    stage: Names | None = None
    pipeline: Names | None = None
    outcome: Annotated[list[Literal["open", "won", "lost"]], BeforeValidator(as_list)] | None = None
    loss_reason: Names | None = None
    tag: Names | None = None
    field: dict[str, FieldTest] = Field(default_factory=dict)
    fact: dict[FactName, FieldTest] = Field(default_factory=dict)
    pages: dict[Annotated[str, Field(min_length=1)], FieldTest] = Field(default_factory=dict)
    source: Names | None = None
    created_after: datetime | date | None = None
    expression: str | None = None  # CEL over the deal, true or false
    spam: bool | None = None  # whether the tenant's spam rules say so
    signal: Annotated[list[SignalName], BeforeValidator(as_list), Field(min_length=1)] | None = None
    score: dict[str, ScoreTest] = Field(default_factory=dict)
    at_least: Annotated[int, Field(ge=1)] | None = None
    of: Annotated[list[When], Field(min_length=1)] | None = None

    @field_validator("fact", "pages")
    @classmethod
    def _numbers_are_compared(cls, given: dict[str, FieldTest], info: ValidationInfo) -> dict[str, FieldTest]:
        every = info.field_name == "pages"
        return {name: _count_test(name, test) if every or name in _COUNTS else test for name, test in given.items()}

    @model_validator(mode="after")
    def _not_empty(self) -> When:
        if not self.model_fields_set:
            raise ValueError("at least one condition is needed: stage, pipeline, outcome, loss_reason, tag, field, ...")
        return self

    @model_validator(mode="after")
    def _criteria_are_whole(self) -> When:
        if (self.at_least is None) != (self.of is None):
            raise ValueError("at_least and of belong together: at_least = 2, of = [{ ... }, { ... }, { ... }]")
        if self.at_least is not None and self.of is not None and self.at_least > len(self.of):
            raise ValueError(f"at_least = {self.at_least}, and of has {len(self.of)}: no deal can meet so many")
        return self

    @property
    def facts(self) -> Iterator[str]:
        """Names of the facts that these conditions look at, without those of criteria."""
        yield from self.fact
        if self.pages:
            yield "pages_seen"

    @property
    def blocks(self) -> Iterator[When]:
        """These conditions, and those of every criterion."""
        yield self
        for inner in self.of or ():
            yield from inner.blocks


class DatedField(Model):
    """A custom field that holds a date."""

    field: str


class Decay(Model):
    """How points fade, by whole days: to a half in ``half_life``, or by ``per_day`` points a day; never below zero.

    ``since``: the day they are counted from: when the rule's stage was reached (else when the deal came in), when the
    deal was created, when its click was, or a date in a custom field.
    """

    half_life: Duration | None = None
    per_day: Annotated[int, Field(ge=1, le=POINTS_MAX)] | None = None
    since: Literal["met", "created", "touched"] | DatedField = "met"

    @model_validator(mode="after")
    def _one_way(self) -> Decay:
        if (self.half_life is None) == (self.per_day is None):
            raise ValueError('give exactly one of half_life ("30d") and per_day (points)')
        if self.half_life is not None and not timedelta(days=1) <= self.half_life <= timedelta(days=3650):
            raise ValueError("half_life is at least a day and at most ten years")
        return self


class ScoreRule(Model):
    """``points`` (less than zero to take away) for deals that satisfy ``when``."""

    points: Annotated[int, Field(ge=-POINTS_MAX, le=POINTS_MAX)]
    when: When
    decay: Decay | None = None

    @model_validator(mode="after")
    def _stands_alone(self) -> ScoreRule:
        if any(block.score for block in self.when.blocks):
            raise ValueError("a rule of a score cannot look at a score; repeat the conditions")
        if self.points == 0:
            raise ValueError("a rule without points changes nothing; remove it")
        return self


class Score(Model):
    """Rules, in any order, and ``bands``: from how many points on a deal belongs to each."""

    rules: Annotated[list[ScoreRule], Field(min_length=1)]
    bands: dict[Annotated[str, Field(pattern=f"^{_BAND}$")], int] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _bands_differ(self) -> Score:
        if len(set(self.bands.values())) < len(self.bands):
            raise ValueError("two bands begin at the same number of points")
        return self


def threshold(test: str, bands: dict[str, int]) -> tuple[str, int | str]:
    """Sign and number of a score's test; a band without a sign stays a name.

    Raises:
        ValueError: there is no such band.
    """
    found = SCORE_TEST.fullmatch(test)
    assert found is not None
    sign, wanted = found[1] or "", found[2]
    if wanted.lstrip("-").isdigit():
        return sign or "=", int(wanted)
    if wanted not in bands:
        raise ValueError(f'no band "{wanted}" (known: {", ".join(bands) or "none"})')
    return (sign, bands[wanted]) if sign else ("", wanted)


def unknown_scores(when: When, scores: dict[str, Score]) -> str:
    """What is wrong with the scores that these conditions ask for; "" when nothing is."""
    for name, test in (pair for block in when.blocks for pair in block.score.items()):
        if name not in scores:
            return f'there is no score "{name}" (known: {", ".join(scores) or "none"})'
        try:
            threshold(test, scores[name].bands)
        except ValueError as error:
            return f'score "{name}": {error}'
    return ""


def of_scores(scores: Iterable[Score]) -> Iterator[When]:
    """Every block of conditions of these scores."""
    for score in scores:
        for rule in score.rules:
            yield from rule.when.blocks


def fields_of_dates(scores: Iterable[Score]) -> list[str]:
    """Custom fields from whose dates points fade."""
    decays = [rule.decay for score in scores for rule in score.rules]
    return [one.since.field for one in decays if one is not None and isinstance(one.since, DatedField)]
