"""Where a record may show a click, and whose click a deal has. Pure: recognition is the core's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from adapters.hubspot.entities import FIRST_URL, UTM
from adapters.hubspot.plan import Plan
from adapters.hubspot.times import created_at, known
from adapters.hubspot.wire import Record
from bridge.identity import read_clue
from bridge.model import Clue, Identifier, IdKind, frozen

_HINTS = ("://", "clid", "braid", "ym_", "client_id", "clientid", "_ga")  # else a text is nobody's business
_TOUCH = timedelta(minutes=30)  # identifiers that came within this time came by one visit
_OLDEST = timedelta(days=90)  # no destination takes an older click (contract google 3.4, yandex 2.5)
_BROWSER = (IdKind.CLIENT_ID, IdKind.USER_ID, IdKind.GA_CLIENT_ID)  # of a browser or person, not of a click


def clues(record: Record, plan: Plan, at: datetime, where: str = "") -> Iterator[Clue]:
    """Identifier properties as they were ``at``, then the first page, then texts that look like they hide one.

    A person who comes back by another advertisement brings new identifiers: those belong to what begins after that.
    Where a click id is known, neither the first page nor utm tags are asked for one: they may be of another visit.
    """
    has_click = False
    for item in _of_one_touch(record, plan, at):
        has_click = has_click or (item.is_good and item.is_click)
        yield Clue(f"{where}property {item.name}", item.text, item.kind)
    for name in plan.texts:
        text = _text_at(record, name, at)
        if text and (_is_of_now(record, name, at) and not has_click if _is_of_a_visit(name) else _may_hide_id(text)):
            yield Clue(f"{where}property {name}", text)


def _is_of_a_visit(name: str) -> bool:
    return name == FIRST_URL or name.startswith(UTM)


def _is_of_now(record: Record, name: str, at: datetime) -> bool:
    """Not the first page of a contact that came so long ago that no click of then counts any more."""
    return name != FIRST_URL or created_at(record) >= at - _OLDEST


@frozen
class _Held:
    """What an identifier property held when a record began, or (``is_late``) the first it held after that.

    ``since`` is None where the portal tells no history; ``is_good``: it is an identifier, not junk.
    """

    name: str
    kind: IdKind
    text: str
    since: datetime | None
    is_late: bool
    is_good: bool

    @property
    def is_click(self) -> bool:
        return self.kind not in _BROWSER


def _of_one_touch(record: Record, plan: Plan, at: datetime) -> Iterator[_Held]:
    """Identifiers of one touch: the last one before ``at``, or (none is known) the first one after it.

    A browser's own id stays good from touch to touch; a click's does not stay good for ever.
    """
    held = [found for name, kind in plan.identifiers if (found := _held(record, name, kind, at)) is not None]
    fresh = [item for item in held if not (item.is_click and item.since and item.since < at - _OLDEST)]
    touch = _touch([item for item in fresh if item.is_good])
    for item in fresh:
        is_lasting = not (item.is_click or item.is_late)
        if item.since is None or touch is None or is_lasting or abs(item.since - touch) <= _TOUCH:
            yield item


def _touch(held: Sequence[_Held]) -> datetime | None:
    """When the touch was that counts; None where nobody tells."""
    clicks = [item.since for item in held if item.since and item.is_click and not item.is_late]
    others = [item.since for item in held if item.since and not item.is_late]
    later = [item.since for item in held if item.since and item.is_late]
    return max(clicks or others, default=min(later, default=None))


def _held(record: Record, name: str, kind: IdKind, at: datetime) -> _Held | None:
    text, since, is_late = _value_at(record, name, at)
    if not text:
        return None
    return _Held(name, kind, text, since, is_late, has_identifier((Clue("", text, kind),)))


def _value_at(record: Record, name: str, at: datetime) -> tuple[str, datetime | None, bool]:
    """What a property was then, and since when; where it was empty, the first value after that (``True``)."""
    changes = [(known(change.timestamp), change.value or "") for change in record.history(name)]
    if not changes:
        return record.get(name), None, False
    before = [(since, text) for since, text in changes if since <= at]
    if before and before[-1][1]:
        return before[-1][1], before[-1][0], False
    return next(((text, since, True) for since, text in changes[len(before) :] if text), ("", None, False))


def _text_at(record: Record, name: str, at: datetime) -> str:
    """A text as it was then; one that came by a later visit is none."""
    text, since, is_late = _value_at(record, name, at)
    return "" if is_late and since is not None and since > at + _TOUCH else text


def clues_of_deal(record: Record, plan: Plan, main: tuple[Record, Plan] | None, created: datetime) -> tuple[Clue, ...]:
    """The deal's own clues; its main contact's where no identifier is among them, so that two clicks never mix."""
    own = tuple(clues(record, plan, created))
    if main is None or has_identifier(own):
        return own
    return (*own, *clues(*main, created, "contact "))


def has_identifier(found: Iterable[Clue]) -> bool:
    """Whether these clues hold an identifier that is none in name only."""
    return any(isinstance(one, Identifier) for clue in found for one in read_clue(clue))


def _may_hide_id(text: str) -> bool:
    lowered = text.lower()
    return any(hint in lowered for hint in _HINTS)


def main_first(people: Sequence[Record], primary: frozenset[str], plan: Plan, created: datetime) -> list[Record]:
    """The contact labelled primary first; else the oldest one that shows a click; else the oldest (contract 5)."""

    def rank(record: Record) -> tuple[bool, bool, datetime, int, str]:
        is_other = record.number not in primary
        is_silent = is_other and not has_identifier(clues(record, plan, created))
        return is_other, is_silent, created_at(record), len(record.number), record.number

    return sorted(people, key=rank) if len(people) > 1 else list(people)
