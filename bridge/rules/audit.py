"""What the difference between our counts and a vendor's means. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum

from bridge.audits import DayCount
from bridge.frozen import replace
from bridge.model import frozen

SHOWN = timedelta(days=28)  # how long a difference asks for attention; the command shows it for ever


class Standing(StrEnum):
    """LOST and EXTRA are alarms; MORE only says that others reach this goal, too."""

    EQUAL = "equal"
    OPEN = "open"  # some are not counted yet and may be
    MORE = "more"
    LOST = "lost"
    EXTRA = "extra"


ALARMS = frozenset((Standing.LOST, Standing.EXTRA))
# A goal there, on a day there.
Place = tuple[str, date]


def standing(count: DayCount) -> Standing:
    """What one day of one goal says. A loss counts even where others' conversions make the sums agree."""
    if count.missing:
        return Standing.LOST
    if count.theirs > count.ours - count.open:
        return Standing.EXTRA if count.is_ours_only else Standing.MORE
    return Standing.OPEN if count.open else Standing.EQUAL


def size(count: DayCount) -> int:
    """How many conversions an alarm is about; 0 without one."""
    found = standing(count)
    if found is Standing.LOST:
        return count.missing
    return count.theirs - count.ours if found is Standing.EXTRA else 0


def located(before: Iterable[DayCount], now: Iterable[DayCount]) -> list[DayCount]:
    """What is missing is put on the day to which it belonged when it was last seen.

    A row that is gone can be put by its click alone, while the visit may have been days before. The last comparison
    knew: there the days from which it is gone had more of ours. What was not seen yet had no more than a likely day
    there, so days from which something seen is gone come first.
    """
    found = {(one.target, one.day): one for one in now}
    known = {(one.target, one.day): one for one in before}
    was = {place: one.ours for place, one in known.items()}
    for old in ({place: one.ours - one.open for place, one in known.items()}, was):
        for place, count in old.items():
            _move(found, was, place, count)
    return [one for one in found.values() if one.ours or one.theirs]


def _move(found: dict[Place, DayCount], was: Mapping[Place, int], place: Place, count: int) -> None:
    """To a place that had so many, from days of the same goal where some are missing that were not there before."""
    for other in [other for other, one in found.items() if other[0] == place[0] and one.missing]:
        one, here = found[other], found.get(place) or DayCount(*place, 0, 0)
        gone = min(count - here.ours, one.missing, one.ours - was.get(other, 0))
        if gone > 0:
            found[place] = replace(here, ours=here.ours + gone, missing=here.missing + gone)
            found[other] = replace(one, ours=one.ours - gone, missing=one.missing - gone)


@frozen
class Change:
    """``begun``: alarms that are new or have grown; ``over``: places where all is well again."""

    begun: tuple[DayCount, ...]
    over: tuple[Place, ...]


def changes(before: Iterable[DayCount], now: Iterable[DayCount], since: date) -> Change:
    """What this comparison tells that the last one did not; days before ``since`` were not compared again."""
    known = {(one.target, one.day): size(one) for one in before if one.day >= since}
    found = {(one.target, one.day): one for one in now}
    begun = tuple(one for place, one in found.items() if size(one) > known.get(place, 0))
    over = tuple(place for place, was in known.items() if was and not (place in found and size(found[place])))
    return Change(begun, over)


def recent(counts: Iterable[DayCount], counted_at: datetime) -> list[DayCount]:
    """Alarms that still ask for attention, newest day first."""
    first = (counted_at - SHOWN).date()
    return sorted(
        (one for one in counts if size(one) and one.day >= first), key=lambda one: (one.day, one.target), reverse=True
    )


def words(counts: Iterable[DayCount]) -> str:
    """Alarms in one sentence; "" without any."""
    listed = list(counts)
    lost = [one for one in listed if standing(one) is Standing.LOST]
    extra = [one for one in listed if standing(one) is Standing.EXTRA]
    parts = []
    if lost:
        parts.append(f"{_number(lost)} accepted there {_are(lost)} not counted there ({_places(lost)})")
    if extra:
        parts.append(f"{_number(extra)} more than it was sent {_are(extra)} counted there ({_places(extra)})")
    return "; ".join(parts)


def _number(counts: list[DayCount]) -> str:
    number = sum(map(size, counts))
    return f"{number} conversion{'' if number == 1 else 's'}"


def _are(counts: list[DayCount]) -> str:
    return "is" if sum(map(size, counts)) == 1 else "are"


def _places(counts: list[DayCount]) -> str:
    first, rest = counts[0], len(counts) - 1
    more = f", and {rest} more day{'' if rest == 1 else 's'}" if rest else ""
    return f"{first.target} on {first.day}: {first.theirs} counted, {first.ours} sent{more}"
