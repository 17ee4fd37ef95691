"""What the reports and the raw visits say of rows that Metrica has processed. Pure.

An upload brings back counts only (contract yandex 2.3, 2.4), so each row is looked for where its goal reach must show.
The code of a verdict names what it rests on:

- ``goal_reach``: the reports show that this visitor (ClientID) reached this goal, as often as the batch says;
- ``visit_log``: the raw visits show the goal on the visit that began with this yclid;
- ``file_processed``: only that Metrica processed the file, in which at least one row matched;
- of ``unlinked``: ``goal_missing``, ``unknown_id``, ``visit_too_old``, ``visit_after_conversion``, ``not_seen``;
- of rows that stay accepted: ``not_seen`` (sent by another identifier than the one that was looked for),
  ``partly_seen`` (fewer reaches than conversions), ``sampled`` (the report was not whole).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from adapters.yandex_metrica.mapping import identifier_of
from adapters.yandex_metrica.wire import Goal
from bridge.model import IdKind, Outgoing, frozen
from bridge.ports import RowVerdict, Seen

GOAL_REACH, VISIT_LOG, FILE_PROCESSED = "goal_reach", "visit_log", "file_processed"
GOAL_MISSING, UNKNOWN_ID, NOT_SEEN = "goal_missing", "unknown_id", "not_seen"
PARTLY_SEEN, SAMPLED = "partly_seen", "sampled"
VISIT_TOO_OLD, VISIT_AFTER = "visit_too_old", "visit_after_conversion"
WINDOW = timedelta(days=21)  # contract yandex 2.5

_CLIENT_ID = re.compile(r"[0-9]{10,20}")
_YCLID = re.compile(r"[?&]yclid=([0-9]{10,20})(?![0-9])")

# A visitor and an event identifier: (ClientID or yclid, target).
Place = tuple[str, str]


@frozen
class Reaches:
    """How often each visitor reached one goal, by the days (UTC) of the visits. ``is_whole``: who is absent did not."""

    taken_at: datetime
    counts: Mapping[str, Sequence[tuple[date, int]]]
    is_whole: bool


@frozen
class Visit:
    """One visit of the raw log. ``at`` is exact to the second; ``goals`` are numbers, one for each reach."""

    at: datetime
    goals: tuple[int, ...]


def goals_of(target: str, goals: Iterable[Goal]) -> tuple[int, ...]:
    """Numbers of the goals that an event reaches: ``exact`` ones, and those whose condition is part of it."""
    return tuple(goal.id for goal in goals if goal.type == "action" and _is_reached(target, goal))


def _is_reached(target: str, goal: Goal) -> bool:
    return any(
        condition.url == target or (condition.type == "contain" and bool(condition.url) and condition.url in target)
        for condition in goal.conditions or ()
        if condition.url
    )


def client_ids(row: Outgoing) -> tuple[str, ...]:
    """Its well-formed ClientIDs, whichever identifier it was sent under."""
    found = (i.value for i in row.identifiers if i.kind is IdKind.CLIENT_ID)
    return tuple(value for value in found if _CLIENT_ID.fullmatch(value))


def sent_as(row: Outgoing) -> tuple[IdKind | None, str]:
    """Under which identifier a row went out."""
    identifier = identifier_of(row)
    return (None, "") if identifier is None else (identifier.kind, identifier.value)


# --- reports -----------------------------------------------------------------------------------------------------


def by_reaches(
    rows: Sequence[Outgoing],
    targets: Mapping[str, Sequence[int]],
    reaches: Mapping[int, Reaches],
    answered_at: datetime,
) -> dict[str, RowVerdict]:
    """Verdicts on the rows whose goal reach the reports show; the others are not named.

    Of two conversions of one visitor and goal of which only one shows, nobody can tell which: neither is named.
    """
    groups: defaultdict[Place, list[Outgoing]] = defaultdict(list)
    for row in rows:
        for client_id in client_ids(row):
            groups[client_id, row.target].append(row)
    shown = {
        place for place, group in groups.items() if _all_shown(place[0], group, targets[place[1]], reaches, answered_at)
    }
    return {
        row.delivery: RowVerdict(row.delivery, Seen.VERIFIED, GOAL_REACH)
        for row in rows
        if any((client_id, row.target) in shown for client_id in client_ids(row))
    }


def _all_shown(
    visitor: str,
    group: Sequence[Outgoing],
    goals: Sequence[int],
    reaches: Mapping[int, Reaches],
    answered_at: datetime,
) -> bool:
    """Whether the visits that may hold these conversions hold enough reaches; equal rows are one (contract 2.6)."""
    moments = sorted({int(row.occurred_at.timestamp()) for row in group})
    wanted = {moment: number for number, moment in enumerate(moments, 1)}
    return all(
        _count(visitor, row, goals, reaches, answered_at) >= wanted[int(row.occurred_at.timestamp())] for row in group
    )


def doubt(row: Outgoing, goals: Sequence[int], reaches: Mapping[int, Reaches], answered_at: datetime) -> str:
    """Why the reports that do not show a row prove nothing about it; "" if they do."""
    if any(_count(visitor, row, goals, reaches, answered_at) for visitor in client_ids(row)):
        return PARTLY_SEEN
    return "" if all(reaches[goal].is_whole for goal in goals) else SAMPLED


def _count(
    visitor: str, row: Outgoing, goals: Sequence[int], reaches: Mapping[int, Reaches], answered_at: datetime
) -> int:
    """Reaches in visits that the row may have been linked to: not after it, at most 21 days before its processing.

    Two goals on one event are reached together: the one with more reaches counts.
    """
    first, last = (answered_at - WINDOW).date(), row.occurred_at.date()
    found = (reaches[goal].counts.get(visitor, ()) for goal in goals)
    return max((sum(count for day, count in days if first <= day <= last) for days in found), default=0)


def by_absence(row: Outgoing, days: Mapping[str, Sequence[date]] | None, processed_at: datetime) -> RowVerdict:
    """The verdict on a row that whole reports do not show, by the days (UTC) of its visitor's visits (None: untold).

    A ClientID that never visited may be wrong itself: it tells nothing of a row that was sent by another identifier.
    """
    code = NOT_SEEN if days is None else _why_unseen(row, days, processed_at)
    is_strange = days is None or code == UNKNOWN_ID
    if is_strange and sent_as(row)[0] is not IdKind.CLIENT_ID:
        return RowVerdict(row.delivery, Seen.UNKNOWN, NOT_SEEN)
    return RowVerdict(row.delivery, Seen.UNLINKED, code)


def _why_unseen(row: Outgoing, days: Mapping[str, Sequence[date]], processed_at: datetime) -> str:
    visits = [day for client_id in client_ids(row) for day in days.get(client_id, ())]
    if not visits:
        return UNKNOWN_ID
    before = [day for day in visits if day <= row.occurred_at.date()]
    if not before:
        return VISIT_AFTER
    return VISIT_TOO_OLD if processed_at.date() - max(before) > WINDOW else NOT_SEEN


# --- raw visits --------------------------------------------------------------------------------------------------


def yclid_of(url: str) -> str:
    """The click id in a landing page's address, "" if there is none."""
    found = _YCLID.search(url)
    return found[1] if found else ""


def by_visits(
    rows: Sequence[Outgoing],
    targets: Mapping[str, Sequence[int]],
    visits: Mapping[str, Sequence[Visit]],
    processed_at: datetime,
) -> dict[str, RowVerdict]:
    """A verdict on each row that was sent by yclid, from the visits that began with these click ids."""
    keys = {(sent_as(row)[1], row.target, int(row.occurred_at.timestamp())) for row in rows}
    wanted = Counter((yclid, target) for yclid, target, _ in keys)
    verdicts = {}
    for row in rows:
        yclid = sent_as(row)[1]
        found = visits.get(yclid, ())
        goals = Counter(goal for visit in found for goal in visit.goals)
        if max((goals[goal] for goal in targets[row.target]), default=0) >= wanted[yclid, row.target]:
            verdicts[row.delivery] = RowVerdict(row.delivery, Seen.VERIFIED, VISIT_LOG)
        else:
            code = _why_without(row, found, processed_at)
            verdicts[row.delivery] = RowVerdict(row.delivery, Seen.UNLINKED, code)
    return verdicts


def _why_without(row: Outgoing, visits: Sequence[Visit], processed_at: datetime) -> str:
    if not visits:
        return UNKNOWN_ID
    before = [visit.at for visit in visits if visit.at <= row.occurred_at]
    if not before:
        return VISIT_AFTER
    return VISIT_TOO_OLD if processed_at - max(before) > WINDOW else NOT_SEEN
