"""Which form a deal came of, and how often its visitor had been there before. Pure.

The form whose lead key the deal (or the lead it was made from) carries; else the nearest form of the same person or
browser that matching would take: inside its window, not over a key of many people, nothing speaking against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bridge.clues import Reading
from bridge.model import Deal, IdKind, Learnt, Touch
from bridge.rules import graph
from bridge.rules.graph import Around, Strength

_ROISTAT = str(IdKind.ROISTAT)


def keys_of(deal: Deal, reading: Reading, lead: Deal | None, lead_reading: Reading) -> tuple[str, ...]:
    """By which forms and visits of a deal are found: its own keys, and those of the lead it was made from."""
    own = graph.joins_of(deal, reading.identifiers)
    if lead is None:
        return own
    return tuple(dict.fromkeys((*own, *graph.joins_of(lead, lead_reading.identifiers))))


def forms(deal: Deal, keys: Sequence[str], near: Around) -> list[str]:
    """Records of forms, the one that counts first. ``deal`` stands at the time of its request."""
    own = [touch for touch in near.same_visit if _is(touch, "form")]
    others = [touch for touch in _of_visitor(keys, near) if _is(touch, "form")]
    return list(dict.fromkeys(touch.deal for group in (own, others) for touch in _nearest(deal, group)))


def _nearest(deal: Deal, touches: Iterable[Touch]) -> list[Touch]:
    """The nearest first; of two equally near ones that before the deal."""
    at = deal.created_at
    return sorted(touches, key=lambda one: (abs(one.at - at), one.at > at, one.deal))


def _of_visitor(keys: Sequence[str], near: Around) -> Iterator[Touch]:
    """Records of the same person or browser, where nothing speaks for somebody else."""
    contested = graph.contested(keys, near.ties)
    for tie in near.ties:
        is_doubtful = tie.strength is Strength.WEAK or contested.issuperset(tie.keys)
        if tie.strength is Strength.STRONG or not is_doubtful:
            yield tie.touch


def _is(touch: Touch, kind: str) -> bool:
    """Whether a record is of this kind, in whichever source."""
    return touch.deal.startswith(f"{kind}:") or f"/{kind}:" in touch.deal


def visits_before(deal: Deal, keys: Sequence[str], near: Around, form: Mapping[str, Learnt]) -> Learnt | None:
    """How many visits there were before the one the deal came of; None where nothing is known of visits.

    What the visitor's browser remembers, or the visits that are stored, whichever is more: neither sees all of them.
    ``form``: what is learnt from the form.
    """
    marks = {key for key in keys if graph.kind_of(key) == _ROISTAT}
    others = [touch for touch in near.same_visit if not marks.intersection(touch.keys)]  # a mark is of this very visit
    stored = {
        touch.deal for touch in (*others, *_of_visitor(keys, near)) if _is(touch, "visit") and _is_before(touch, deal)
    }
    told = form.get("visits")
    remembered = max(int(told.values[0]) - 1, 0) if told is not None and told.values[0].isdigit() else 0
    if told is not None and remembered >= len(stored):
        return Learnt((str(remembered),), told.known_from)
    return Learnt((str(len(stored)),), ", ".join(sorted(stored)[:3])) if stored else None


def _is_before(touch: Touch, deal: Deal) -> bool:
    return touch.at < deal.created_at
