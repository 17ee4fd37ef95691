"""Which of several clicks a destination is told of: what it takes, its model, its window, how sure it must be. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from enum import IntEnum

from bridge.matching import TouchModel
from bridge.model import COMPANIONS, Confidence, Deal, Identifier, IdKind, Match, Method, Unmatched, frozen
from bridge.rules.graph import Order

ONLY_PROBABLE = "only_probable"
TOO_OLD = "touch_outside_window"

PAID = frozenset(
    (
        IdKind.YCLID,
        IdKind.YMCLID,
        IdKind.GCLID,
        IdKind.GBRAID,
        IdKind.WBRAID,
        IdKind.FBCLID,
        IdKind.FB_LEAD_ID,
        IdKind.RB_CLICKID,
    )
)
_WINDOWED = frozenset((Method.VISITOR, Method.CALL, Method.CONTACT, Method.CHAIN))


@frozen
class Want:
    """What one destination is to be told. ``accepts`` is empty for "whatever there is"."""

    destination: str
    accepts: frozenset[IdKind]
    model: TouchModel = TouchModel.LAST_PAID_CLICK
    look_back: timedelta = timedelta(days=90)
    sends_probable: bool = False

    def takes(self, identifiers: Iterable[Identifier]) -> bool:
        """Whether one of these identifiers is of use there by itself."""
        kinds = [item.kind for item in identifiers if item.kind not in COMPANIONS]
        return not self.accepts.isdisjoint(kinds) if self.accepts else bool(kinds)


class Tier(IntEnum):
    """What wins over what, whatever the times."""

    OWN = 0
    CLICK = 1
    VISIT = 2
    MARK = 3  # the mere number of a visit of which nothing is known
    LEAD = 4
    JOINED = 5
    PROBABLE = 6
    PAGE = 7  # not even a person in common


@frozen
class Candidate:
    """A possible match. Of records of the same click or visit the one that tells most wins (``weight``); ``order``
    decides between equals.
    """

    match: Match
    tier: Tier
    order: Order
    weight: int = 0

    @property
    def is_paid(self) -> bool:
        return any(item.kind in PAID for item in self.match.identifiers)


def choose(deal: Deal, candidates: Sequence[Candidate], want: Want) -> Match | None:
    """The candidate that this destination is told of, however sure; None where none is of use there."""
    usable = [one for one in candidates if want.takes(one.match.identifiers) and _is_recent(deal, one.match, want)]
    if not usable:
        return None
    if want.model is TouchModel.FIRST:
        sure = [one for one in usable if one.tier < Tier.PROBABLE]
        return min(sure or usable, key=lambda one: (one.match.touched_at, one.tier, one.order)).match
    best = min(one.tier for one in usable)
    top = [one for one in usable if one.tier == best]
    if want.model is TouchModel.LAST_PAID_CLICK:
        top = [one for one in top if one.is_paid] or top
    return max(top, key=lambda one: _nearness(deal, one)).match


def _nearness(deal: Deal, one: Candidate) -> tuple[int, timedelta, bool, object]:
    """The nearest to the deal; of two equally near ones that before it; then what the records say, never the order of
    arrival.
    """
    at = one.match.touched_at
    return one.weight, -abs(at - deal.came), at <= deal.came, one.order


def _is_recent(deal: Deal, match: Match, want: Want) -> bool:
    return match.method not in _WINDOWED or deal.came - want.look_back <= match.touched_at


def told(deal: Deal, candidates: Sequence[Candidate], want: Want, main: Match | Unmatched) -> Match | Unmatched | None:
    """The match for one destination; None where it is told by the deal's own one, or that has nothing for it."""
    found = choose(deal, candidates, want)
    if found is None:
        if not isinstance(main, Match) or not want.takes(main.identifiers):
            return None
        return Unmatched(TOO_OLD, f"its click is older than this destination looks back: {main.evidence}")
    if found.confidence is Confidence.PROBABLE and not want.sends_probable:
        return Unmatched(ONLY_PROBABLE, found.evidence)
    return None if found == main else found
