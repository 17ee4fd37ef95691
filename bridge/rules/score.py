"""Scores compiled: rules with their conditions, how their points fade, bands, and what goals ask of them. Pure.

Points are whole numbers, and fade by whole days: a score changes at known moments only, the same whenever it is looked
at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import partial

from bridge.frozen import frozen
from bridge.model import Match, Unmatched
from bridge.rules.blocks import Block, Directory, Notes, compile_block, told
from bridge.rules.case import Case
from bridge.rules.conditions import values_of
from bridge.rules.value import moment
from bridge.scoring import DatedField, Decay, Score, ScoreRule, threshold

_DAY = timedelta(days=1)
_EXACT = Context(prec=28, rounding=ROUND_HALF_UP)
_LAST_YEAR = 3000  # a date beyond it is a slip of the keyboard

# Days since the beginning, and the points from then on; falling to zero.
Table = tuple[tuple[int, int], ...]
# The day from which points fade, given when the rule was met; None where it is not known.
Anchor = Callable[[Case, datetime], datetime | None]


@frozen
class Fade:
    """How a rule's points become fewer. ``missing``: why they are not given where the day is not known."""

    table: Table
    anchor: Anchor
    told: str
    missing: str = ""


@frozen
class Rule:
    """Points for deals that satisfy ``block``; ``told`` are its conditions in words."""

    points: int
    block: Block
    told: str
    fade: Fade | None = None


@frozen
class CompiledScore:
    """``bands``: (least points, name), the lowest first."""

    name: str
    rules: tuple[Rule, ...]
    bands: tuple[tuple[int, str], ...]

    def band(self, points: int) -> str:
        """The band that so many points belong to; "" below the lowest."""
        return next((name for least, name in reversed(self.bands) if points >= least), "")


@frozen
class Ask:
    """What a block asks of a score."""

    score: CompiledScore
    test: Callable[[int], bool]
    rule: str


_SIGNS: Mapping[str, Callable[[int, int], bool]] = {
    ">=": lambda points, wanted: points >= wanted,
    ">": lambda points, wanted: points > wanted,
    "<=": lambda points, wanted: points <= wanted,
    "<": lambda points, wanted: points < wanted,
    "=": lambda points, wanted: points == wanted,
}


# --- compiling ---------------------------------------------------------------------------------------------------


def compile_scores(scores: Mapping[str, Score], directory: Directory, notes: Notes) -> dict[str, CompiledScore]:
    """Every score against one source's names; what is wrong with them goes into the notes."""
    return {name: _compiled(name, score, directory, notes) for name, score in scores.items()}


def ask(scores: Mapping[str, CompiledScore], name: str, test: str) -> Ask:
    """What conditions ask of a score. Both are known to exist: the settings were checked."""
    score = scores[name]
    sign, wanted = threshold(test, {band: least for least, band in score.bands})
    if isinstance(wanted, str):
        return Ask(score, lambda points: score.band(points) == wanted, f"score {name} {test}")
    return Ask(score, partial(_passes, _SIGNS[sign], wanted), f"score {name} {test}")


def _passes(compare: Callable[[int, int], bool], wanted: int, points: int) -> bool:
    return compare(points, wanted)


def _compiled(name: str, score: Score, directory: Directory, notes: Notes) -> CompiledScore:
    rules = tuple([_rule(rule, directory, notes) for rule in score.rules])
    return CompiledScore(name, rules, tuple(sorted((least, band) for band, least in score.bands.items())))


def _rule(rule: ScoreRule, directory: Directory, notes: Notes) -> Rule:
    block = compile_block(rule.when, directory, notes, _no_score)
    return Rule(rule.points, block, told(rule.when), None if rule.decay is None else _fade(rule.points, rule.decay))


def _no_score(name: str, test: str) -> Ask:
    raise AssertionError("the settings let no rule of a score look at a score")


# --- fading ------------------------------------------------------------------------------------------------------


def _fade(points: int, decay: Decay) -> Fade:
    how = f"{decay.per_day} less a day" if decay.half_life is None else f"half after {decay.half_life / _DAY:g} d"
    if isinstance(decay.since, DatedField):
        name = decay.since.field
        return Fade(table(points, decay), partial(_dated, name), how, f"no date in field {name}")
    return Fade(table(points, decay), _ANCHORS[decay.since], how, _MISSING.get(decay.since, ""))


_MISSING = {"touched": "the click is not known"}
_ANCHORS: Mapping[str, Anchor] = {
    "met": lambda _, met: met,
    "created": lambda case, _: case.deal.created_at,
    "touched": lambda case, _: _touched_at(case.match),
}


def _touched_at(match: Match | Unmatched | None) -> datetime | None:
    return match.touched_at if isinstance(match, Match) else None


def _dated(name: str, case: Case, _: datetime) -> datetime | None:
    """The latest date in a custom field."""
    dates = [found.at for text in values_of(case.deal, name) if (found := moment(text)) is not None]
    sound = [at for at in dates if at.year < _LAST_YEAR]
    return max(sound, default=None)


def table(points: int, decay: Decay) -> Table:
    """Points by days since the beginning, each number once; never more than before, in the end zero.

    A half-life gives ``points * 2 ** (-days / half_life)``, rounded half up to whole points.
    """
    whole, sign = abs(points), -1 if points < 0 else 1
    if decay.half_life is None:
        assert decay.per_day is not None
        last = -(-whole // decay.per_day)
        return tuple([(day, sign * max(whole - day * decay.per_day, 0)) for day in range(last + 1)])
    left = partial(_left, whole, decay.half_life)
    found: list[tuple[int, int]] = [(0, whole)]
    while found[-1][1]:
        day = _first_below(found[-1][0], found[-1][1], left)
        found.append((day, left(day)))
    return tuple([(day, sign * value) for day, value in found])


def _left(whole: int, half_life: timedelta, day: int) -> int:
    share = _EXACT.divide(Decimal(-day * 86400), Decimal(int(half_life.total_seconds())))
    return int(_EXACT.multiply(Decimal(whole), _EXACT.power(Decimal(2), share)).to_integral_value(ROUND_HALF_UP))


def _first_below(day: int, value: int, left: Callable[[int], int]) -> int:
    """The first day on which fewer points are left than on this one."""
    low, step = day, 1
    while left(low + step) >= value:
        low, step = low + step, step * 2
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if left(middle) >= value else (low, middle)
    return high


def on_day(points: Table, day: int) -> int:
    """What is left after so many whole days; before the beginning all."""
    return next((value for begins, value in reversed(points) if begins <= max(day, 0)), 0)
