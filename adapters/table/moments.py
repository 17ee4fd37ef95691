"""When things of a deal happened, where its table writes some days without a clock time. Pure.

Such a day is placed at a time that we choose (``date_time_policy``). What we choose must not put a stage before its own
lead: the lead's click would be later than the conversion, and no ad system links the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from adapters.table.values import Moment
from bridge.frozen import frozen


@frozen
class Told:
    """What one row says of times; at least one of them is known."""

    status: Moment | None
    updated: Moment | None
    created: Moment | None

    @property
    def known(self) -> tuple[Moment, ...]:
        """What is there, and first what dates the stage."""
        return tuple(moment for moment in (self.status, self.updated, self.created) if moment is not None)


def is_same_day(one: Moment, other: Moment) -> bool:
    """Whether two moments lie on one day, as they are written or in the zone of either."""
    return one.day in (other.day, _day(other, one)) or other.day == _day(one, other)


def _day(moment: Moment, other: Moment) -> date:
    """The day of a moment where another was written."""
    return moment.at.astimezone(other.zone).date()


def creation(told: Sequence[Told]) -> Moment:
    """When the deal of these rows was created: the earliest that a row says, as precisely as any says it.

    Of a creation without a clock time it is certain that nothing of the deal that has one was before it on that day.
    """
    first = min((row.created or min(row.known, key=_at) for row in told), key=_at)
    exact = [row.created for row in told if row.created is not None and _is_exact(row.created, first)]
    if exact:
        return min(exact if first.is_day else (first, *exact), key=_at)
    return min((first, *(moment for row in told for moment in row.known if _is_exact(moment, first))), key=_at)


def _is_exact(moment: Moment, day: Moment) -> bool:
    return not moment.is_day and is_same_day(moment, day)


def _at(moment: Moment) -> datetime:
    return moment.at


def placed(moment: Moment, start: Moment) -> datetime:
    """When something of a deal happened: what is written as a day was not before a creation on that day."""
    return max(moment.at, start.at) if moment.is_day and is_same_day(moment, start) else moment.at


def is_day_before(moment: Moment, start: Moment) -> bool:
    """Whether something lies on an earlier day than the creation."""
    return moment.at < start.at and not is_same_day(moment, start)
