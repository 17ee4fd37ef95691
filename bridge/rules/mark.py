"""What a deal's mark says: each goal and destination with its latest outcome, short, for people. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from bridge.marks import LONGEST, Mark
from bridge.model import frozen
from bridge.states import DeliveryState

_S = DeliveryState
SHOWN = frozenset({_S.ACCEPTED, _S.VERIFIED, _S.UNLINKED, _S.REJECTED, _S.EXPIRED, _S.HELD, _S.CANCELLED})
_SENT = frozenset({_S.ACCEPTED, _S.VERIFIED})
_EXPLAINED = SHOWN - _SENT
_CODE = 40  # characters of a reason
_MORE = "…"


@frozen
class Told:
    """A delivery of a deal as the ledger has it. ``occurrence`` and ``revision`` are its conversion's."""

    goal: str
    destination: str
    occurrence: str
    revision: int
    state: DeliveryState
    code: str
    at: datetime


def mark_of(deal: str, told: Sequence[Told], zone: ZoneInfo, remark: str = "") -> Mark:
    """The mark of a deal with these deliveries, behind a remark about the deal itself.

    ``is_sent``: some conversion of it has arrived somewhere.
    """
    latest = _latest(told)
    places: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for item in latest:
        places[item.goal, item.destination].append(item)
    parts = [remark] if remark else []
    parts += [_part(place, items, zone) for place, items in sorted(places.items())]
    return Mark(deal, _joined(parts), any(item.state in _SENT for item in latest))


def _latest(told: Iterable[Told]) -> list[Told]:
    """Of each conversion's revisions the newest one with an outcome: a correction on its way changes nothing yet."""
    newest: dict[tuple[str, str, str], Told] = {}
    for item in told:
        key = (item.goal, item.destination, item.occurrence)
        if item.state in SHOWN and (key not in newest or newest[key].revision < item.revision):
            newest[key] = item
    return list(newest.values())


def _part(place: tuple[str, str], items: Sequence[Told], zone: ZoneInfo) -> str:
    """``sale → google: rejected (INVALID_GCLID) 2026-03-10``; of several payments the counts."""
    day = max(item.at for item in items).astimezone(zone).date()
    counts = Counter(item.state for item in items)
    if len(items) == 1:
        (one,) = items
        reason = f" ({one.code[:_CODE]})" if one.code and one.state in _EXPLAINED else ""
        words = f"{one.state}{reason}"
    else:
        words = ", ".join(f"{counts[state]} {state}" for state in DeliveryState if counts[state])
    return f"{place[0]} → {place[1]}: {words} {day}"


def _joined(parts: Sequence[str]) -> str:
    """As many whole parts as there is room for."""
    text = "; ".join(parts)
    if len(text) <= LONGEST:
        return text
    kept = list(parts)
    while kept and len("; ".join([*kept, _MORE])) > LONGEST:
        kept.pop()
    return "; ".join([*kept, _MORE])
