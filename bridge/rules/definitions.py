"""What each goal was judged by, and since when: a changed goal makes no promises of what was reached before. Pure.

A goal's definition has parts, each known by a digest: its rule (everything about it but where it goes), its value, and
its name at each destination. A part that is new or changed has a floor, the moment the change was seen: what was
reached before is not promised until a backfill opens its period, or ``plan --apply`` takes the floor away. The first
definitions ever seen of a source's goals have none.

What was promised under the definition before goes on as it was: a changed value does not correct it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Any

from bridge.config import Goal, When
from bridge.frozen import replace
from bridge.model import frozen
from bridge.rules import products
from bridge.rules.floor import Floor, Period
from bridge.rules.goals import OWN_VALUES
from bridge.rules.names import path, plain
from bridge.rules.value import moment, moment_of, number
from bridge.scoring import DatedField, Decay, Score, of_scores, threshold
from bridge.valuing import ValueOf

BEFORE_CHANGE = "before_change"
RULE, VALUE = "rule", "value"
_TO = "to "


@frozen
class Part:
    """One part of a goal's definition as it was seen last. ``digest`` is "" once it is not in the configuration.

    ``is_left``: the operator has decided to leave what was reached before as it is.
    """

    digest: str
    floor: Floor = Floor()
    is_left: bool = False


Digests = Mapping[str, Mapping[str, str]]  # by goal and part
Seen = Mapping[str, Mapping[str, Part]]


@frozen
class Guard:
    """What keeps a goal from one destination: floors of its rule, its value and its name there.

    ``zone`` is that of times told to people.
    """

    rule: Floor = Floor()
    value: Floor = Floor()
    send: Floor = Floor()
    zone: tzinfo = field(default=UTC)

    def promises(self, at: datetime) -> bool:
        """Whether what was reached then may be promised anew."""
        return self.rule.is_open(at) and self.send.is_open(at)

    def why_not(self, at: datetime) -> str:
        """Why what was reached then is not promised."""
        is_rule = not self.rule.is_open(at)
        since = self.rule.start if is_rule else self.send.start
        what = "this goal was changed" if is_rule else "this destination was given to it"
        return f"{BEFORE_CHANGE}: reached {self._told(at)}, before {what} ({self._told(since)}); {_ADVICE}"

    def why_kept(self) -> str:
        """Why what was promised keeps its value."""
        return (
            f"{BEFORE_CHANGE}: promised before the goal's value was changed ({self._told(self.value.start)}); {_ADVICE}"
        )

    def _told(self, at: datetime | None) -> str:
        return "-" if at is None else f"{at.astimezone(self.zone):%Y-%m-%d %H:%M}"


_ADVICE = '"bridge plan" shows what it would send'


@frozen
class Change:
    """A goal whose old reaches wait for a decision: which parts were changed, and since when."""

    goal: str
    parts: tuple[str, ...]
    since: datetime


# --- digests -----------------------------------------------------------------------------------------------------


@frozen
class Meanings:
    """What a tenant's ``spam`` rules and its way to estimate an ``expected`` value mean: equal texts mean the same."""

    spam: str = ""
    expected: str = ""


_NONE = Meanings()


def digests(
    goals: Iterable[Goal],
    currency: str,
    scores: Mapping[str, Score] | None = None,
    meanings: Meanings = _NONE,
) -> Digests:
    """Every goal's parts. Neither order nor any spelling that means the same changes a digest.

    ``currency``: the tenant's, for values that are numbers or expressions. ``scores``: those goals ask for; another
    definition of a score is another one of each such goal. So are other ``meanings`` of those that depend on them.
    """
    return {goal.name: _parts(goal, currency, scores or {}, meanings) for goal in goals}


def fingerprint(found: Digests, names: Iterable[str]) -> str:
    """One digest of these goals' definitions."""
    return _digest({name: dict(found[name]) for name in names})


def _parts(goal: Goal, currency: str, scores: Mapping[str, Score], meanings: Meanings) -> dict[str, str]:
    when, value = _when(goal.when, scores), _value(goal, goal.currency or currency, meanings.expected)
    if goal.exclude_spam or _looks_at_spam(goal.when, scores):
        when |= {"spam rules": meanings.spam, "exclude_spam": goal.exclude_spam}
    # What a deal was worth when it reached the goal depends on when that was, an expected value on who reaches it.
    depends_on = when if goal.value in ("deal_at_goal", "expected") else None
    return {
        RULE: _digest([when, goal.per, value, *([sorted(goal.undone_by)] if goal.undone_by else [])]),
        VALUE: _digest([goal.per, value, depends_on]),
        **{f"{_TO}{name}": _digest(target) for name, target in goal.send.items()},
    }


def _looks_at_spam(when: When, scores: Mapping[str, Score]) -> bool:
    """Whether spam or its signals decide, in the conditions themselves or in a score they ask for."""
    asked = of_scores(scores[name] for block in when.blocks for name in block.score)
    return any(block.spam is not None or block.signal for block in (*when.blocks, *asked))


def _digest(meaning: Any) -> str:
    return hashlib.sha256(json.dumps(meaning, ensure_ascii=False, sort_keys=True).encode()).hexdigest()[:16]


def _when(when: When, scores: Mapping[str, Score]) -> dict[str, Any]:
    given: dict[str, Any] = {
        "stage": _names(when.stage, path),
        "pipeline": _names(when.pipeline, path),
        "outcome": _names(when.outcome, plain),
        "loss_reason": _names(when.loss_reason, plain),
        "tag": _names(when.tag, plain),
        "source": _names(when.source, plain),
        "field": {plain(name): _tests(wanted) for name, wanted in when.field.items()} or None,
        "fact": {name: _tests(wanted) for name, wanted in when.fact.items()} or None,
        "pages": {plain(part): _tests(wanted) for part, wanted in when.pages.items()} or None,
        "created_after": None if when.created_after is None else moment_of(when.created_after).at.isoformat(),
        "expression": None if when.expression is None else _expression(when.expression),
        "spam": when.spam,
        "signal": _names(when.signal, plain),
        "score": [[*_asked(test, scores[name]), _score(scores[name])] for name, test in when.score.items()] or None,
        "of": None if when.of is None else [when.at_least, *_unordered(_when(one, scores) for one in when.of)],
    }
    return {name: meaning for name, meaning in given.items() if meaning is not None}


def _unordered(meanings: Iterable[Any]) -> list[str]:
    """Meanings whose order says nothing. Their number does: two criteria of one meaning are two."""
    return sorted(json.dumps(one, ensure_ascii=False, sort_keys=True) for one in meanings)


def _asked(test: str, score: Score) -> list[Any]:
    """What is asked of a score: a threshold, or the limits of a band."""
    sign, wanted = threshold(test, score.bands)
    if isinstance(wanted, int):
        return [sign, wanted]
    least = score.bands[wanted]
    return ["in", least, min((other for other in score.bands.values() if other > least), default=None)]


def _score(score: Score) -> list[str]:
    return _unordered([rule.points, _when(rule.when, {}), _decay(rule.decay)] for rule in score.rules)


def _decay(decay: Decay | None) -> list[Any] | None:
    if decay is None:
        return None
    since = f"field {plain(decay.since.field)}" if isinstance(decay.since, DatedField) else decay.since
    return [None if decay.half_life is None else decay.half_life.total_seconds(), decay.per_day, since]


def _names(names: Iterable[str] | None, comparable: Callable[[str], str]) -> list[str] | None:
    return None if names is None else sorted({comparable(name) for name in names})


def _tests(wanted: Any) -> list[Any]:
    tests = wanted if isinstance(wanted, dict) else {"=": wanted}
    return sorted([_test(sign, value) for sign, value in tests.items()])


def _test(sign: str, value: Any) -> list[Any]:
    """One comparison; "in" is "=" with several."""
    is_order = sign[:1] in ("<", ">")
    values = value if isinstance(value, list) else [value]
    return ["=" if sign == "in" else sign, sorted({_operand(item, is_order) for item in values})]


def _operand(value: Any, is_order: bool) -> str:
    """What a field is compared with, its type in front; an order takes texts for numbers or dates."""
    if isinstance(value, bool):
        return f"yes/no {value}"
    if isinstance(value, int | float | Decimal):
        return f"number {_plain_number(Decimal(str(value)))}"
    if isinstance(value, date):
        at = moment_of(value)
        return f"time {at.at.isoformat()} {at.is_day}"
    exact = number(str(value)) if is_order else None
    if exact is not None:
        return f"number {_plain_number(exact)}"
    at_text = moment(str(value)) if is_order else None
    return f"text {plain(str(value))}" if at_text is None else f"time {at_text.at.isoformat()} {at_text.is_day}"


def _value(goal: Goal, currency: str, expected: str) -> list[Any] | None:
    if goal.value is None:
        return None
    if goal.value == "expected":
        return ["expected", currency, expected]
    if isinstance(goal.value, ValueOf) and (rows := products.compiled(goal.value)) is not None:
        return ["products", *products.meaning(rows)]
    if isinstance(goal.value, ValueOf):
        share = None if goal.value.share is None else _plain_number(goal.value.share)
        own = goal.value.field
        return ["of", None if own is None else plain(own), share, None if own is None else currency]
    if isinstance(goal.value, str) and goal.value in OWN_VALUES:
        return [goal.value]
    exact = number(goal.value) if isinstance(goal.value, str) else goal.value
    return [_expression(str(goal.value)) if exact is None else _plain_number(exact), currency]


def _plain_number(value: Decimal) -> str:
    return f"{value.normalize():f}"


_QUOTED = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")


def _expression(text: str) -> str:
    """White space outside of quotes means nothing, unless a comment ends with its line."""
    if "//" in text or '"""' in text or "'''" in text:
        return text.strip()
    pieces = _QUOTED.split(text)
    return "".join(piece if number % 2 else re.sub(r"\s+", " ", piece) for number, piece in enumerate(pieces)).strip()


# --- what was seen -----------------------------------------------------------------------------------------------


def noted(seen: Seen | None, present: Digests, now: datetime) -> Seen:
    """What is known once the present definitions were looked at; ``seen`` is None or empty while there never were any.

    What is gone is remembered as gone: should it come back, that is a change.
    """
    first = Floor(now) if seen else Floor()
    before: Seen = seen or {}
    found: dict[str, dict[str, Part]] = {}
    for goal, parts in present.items():
        old = before.get(goal, {})
        found[goal] = {
            part: old[part] if part in old and old[part].digest == digest else Part(digest, first)
            for part, digest in parts.items()
        }
    for goal, old in before.items():
        gone = {part: Part("") for part in old if part not in found.get(goal, {})}
        if gone or goal not in found:
            found.setdefault(goal, {}).update(gone)
    return found


def guard(seen: Seen, goal: str, destination: str, zone: tzinfo) -> Guard:
    """What keeps this goal from this destination."""
    parts = seen.get(goal, {})
    rule, value, send = [parts[name].floor if name in parts else Floor() for name in (RULE, VALUE, _TO + destination)]
    return Guard(rule, value, send, zone)


def opened(seen: Seen, period: Period) -> Seen:
    """The same with this period open, too: a backfill has asked for it."""

    def open_up(part: Part) -> Part:
        return part if part.floor.start is None else replace(part, floor=part.floor.opening(period))

    return _each(seen, seen, open_up)


def lifted(seen: Seen, goals: Iterable[str]) -> Seen:
    """The same without any floor for these goals: their old reaches count."""
    return _each(seen, goals, lambda part: Part(part.digest))


def left(seen: Seen, goals: Iterable[str]) -> Seen:
    """The same with the decision noted that old reaches of these goals stay as they are."""
    return _each(seen, goals, lambda part: replace(part, is_left=part.floor.start is not None))


def _each(seen: Seen, goals: Iterable[str], change: Callable[[Part], Part]) -> Seen:
    chosen = set(goals)
    return {
        goal: {name: change(part) for name, part in parts.items()} if goal in chosen else parts
        for goal, parts in seen.items()
    }


def changes(seen: Seen | None) -> list[Change]:
    """Goals whose old reaches wait for a decision."""
    return list(_changes(seen or {}))


def _changes(seen: Seen) -> Iterator[Change]:
    for goal, parts in sorted(seen.items()):
        since = {name: part.floor.start for name, part in parts.items() if not part.is_left}
        waiting = {name: at for name, at in since.items() if at is not None}
        if waiting:
            yield Change(goal, tuple(sorted(waiting)), max(waiting.values()))


def waiting(tenant: str, goal: str, since: datetime) -> str:
    """The line that asks for a decision."""
    return f'goal "{goal}" was changed (seen {since:%Y-%m-%d %H:%M} UTC): {advice(tenant)}, and asks'


def advice(tenant: str) -> str:
    """What happens to what was reached before a change, and where more is told."""
    return f'what was reached before is not sent; "bridge plan --tenant {tenant}" shows what would be'


def differs(seen: Seen | None, present: Digests) -> list[str]:
    """Goals whose definition is another than the one seen last; none before the first time."""
    if not seen:
        return []
    return [
        goal
        for goal, parts in present.items()
        if any(part not in seen.get(goal, {}) or seen[goal][part].digest != digest for part, digest in parts.items())
    ]
