"""When a lead entered which stage, told from ``lead_status_changed`` events. Pure.

The order of events is not documented (contract amocrm 6), so they are collected (``packed``) and sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import pairwise
from struct import Struct
from typing import cast

from adapters.amocrm.packed import HEAD, Packed
from adapters.amocrm.wire import Lead, StatusEvent, StatusValue
from bridge.model import Outcome, StageChange, frozen, utc

WON = 142  # the same ids in every pipeline, whatever their names (contract amocrm 5)
LOST = 143

Place = tuple[int, int]  # (pipeline, stage)

_RECORD = Struct(HEAD + "II")  # place before, place after
_NOWHERE = 0


_OUTCOMES = {WON: Outcome.WON, LOST: Outcome.LOST}


def outcome_of(stage: int) -> Outcome:
    """Open, won or lost, by the id of the stage."""
    return _OUTCOMES.get(stage, Outcome.OPEN)


@lru_cache(maxsize=1024)
def place_of(pipeline: int, stage: int) -> tuple[str, str, Outcome]:
    """Pipeline and stage as the core names them, and what the stage means."""
    return str(pipeline), str(stage), outcome_of(stage)


@frozen
class Change:
    """One move between stages. ``at`` in Unix seconds; ``before`` is None when the event does not say."""

    at: int
    before: Place | None
    after: Place


@dataclass(slots=True)
class Moves:
    """Status events of many leads. An event that is added twice counts once."""

    _kept: Packed = field(default_factory=partial(Packed, _RECORD))
    _places: list[Place | None] = field(default_factory=lambda: [None])
    _numbers: dict[Place, int] = field(default_factory=dict)

    def add(self, events: Iterable[StatusEvent]) -> None:
        """Keep these events; one that names no new stage is of no use and is left out."""
        add, number, pack = self._kept.add, self._number, _RECORD.pack
        for event in events:
            after = number(event.value_after)
            if after != _NOWHERE:
                add(event.entity_id, pack(event.created_at, event.id.encode(), number(event.value_before), after))

    def drop(self, leads: Iterable[int]) -> None:
        """Forget the moves of these leads."""
        self._kept.drop(leads)

    def of(self, lead: int) -> list[Change]:
        """This lead's moves in order of (time, event id)."""
        places = self._places
        # ``add`` keeps only events that have a place after them.
        return [Change(at, places[before], cast(Place, places[after])) for at, _, before, after in self._kept.of(lead)]

    def _number(self, values: list[StatusValue] | None) -> int:
        """Of the place that these tell."""
        status = values[0].lead_status if values else None
        if status is None:
            return _NOWHERE
        place = (status.pipeline_id, status.id)
        number = self._numbers.get(place)
        if number is None:
            number = self._numbers[place] = len(self._places)
            self._places.append(place)
        return number


def is_settled(lead: Lead, changes: Sequence[Change], since: int) -> bool:
    """Whether the changes explain the lead's stage, as far as one can tell.

    Args:
        since: the second from which the changes ought to be complete.
    """
    if changes:
        is_here = changes[-1].after == (lead.pipeline_id, lead.status_id)
        return is_here and all(later.before in (None, earlier.after) for earlier, later in pairwise(changes))
    return not _is_closed(lead) or lead.closed_at is None or lead.closed_at < since


def until(lead: Lead, changes: Sequence[Change]) -> Sequence[Change]:
    """The changes without those that came after the lead was read: the record does not tell what it is worth by then.

    Of those later than its own time only what explains the stage it was read in belongs to it.
    """
    if not changes or changes[-1].at <= lead.updated_at:
        return changes
    here = (lead.pipeline_id, lead.status_id)
    known = [change for change in changes if change.at <= lead.updated_at]
    later = changes[len(known) :]
    if here == (known[-1].after if known else later[0].before):
        return known
    reached = next((number for number, change in enumerate(later, 1) if change.after == here), 0)
    return [*known, *later[:reached]]


def entries_of(lead: Lead, changes: Sequence[Change], *, is_known: bool) -> tuple[StageChange, ...]:
    """Every stage entry that is certain, in time order, the last being the current stage.

    The stage a lead was created in is in no event (contract amocrm 6, ``lead_added``): it is the ``before`` of the
    first change. A lead whose earlier history is stored (``is_known``) was in the ``before`` of its first change here,
    which need not be its first one: that is told as a stand-in, of use where the move into it was never seen. Its
    history is empty when nothing moved. What the events do not explain comes from the record itself, with
    ``source="record"``.
    """
    entries: list[StageChange] = []
    here = (lead.pipeline_id, lead.status_id)
    place: Place | None = None
    if not is_known:
        place = changes[0].before if changes else _first_place(lead)
        if place is not None:
            born = min(lead.created_at, changes[0].at) if changes else lead.created_at
            entries.append(_entry(born, place, "created"))
    elif changes and changes[0].before is not None:
        entries.append(_entry(max(changes[0].at - 1, lead.created_at), changes[0].before, "record"))
    at = lead.created_at
    for change in changes:
        before = change.before
        if place is not None and before is not None and before != place:
            # A move is missing: the lead was in ``before``, and left it now at the latest.
            entries.append(_entry(max(change.at - 1, at), before, "record"))
        place, at = change.after, change.at
        entries.append(_entry(at, place, "events"))
    if place != here and not (place is None and is_known):
        entries.append(_entry(max(_record_time(lead), at), here, "record"))
    return tuple(entries)


def _first_place(lead: Lead) -> Place | None:
    """Where a lead without any event began: its own stage, unless it was closed later than created."""
    if _is_closed(lead) and _record_time(lead) > lead.created_at:
        return None
    return (lead.pipeline_id, lead.status_id)


def _is_closed(lead: Lead) -> bool:
    return lead.status_id in (WON, LOST)


def _record_time(lead: Lead) -> int:
    """``closed_at`` of a closed lead; won leads may lack it (contract amocrm 3), then ``updated_at``."""
    return lead.closed_at if _is_closed(lead) and lead.closed_at else lead.updated_at


def _entry(at: int, place: Place, source: str) -> StageChange:
    pipeline, stage, outcome = place_of(*place)
    return StageChange(utc(at), pipeline, stage, outcome, source)
