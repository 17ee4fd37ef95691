"""Which moments count: those since a source's start, and those of older periods that backfills opened. Pure."""

from __future__ import annotations

from datetime import datetime

from bridge.model import frozen


@frozen
class Period:
    """Half-open: ``until`` is the first moment after it."""

    since: datetime
    until: datetime


@frozen
class Floor:
    """Goals reached before ``start`` are not sent, unless in an ``opened`` period. Without a start every moment counts.

    Periods are in order, apart from each other, and over before the start.
    """

    start: datetime | None = None
    opened: tuple[Period, ...] = ()

    def is_open(self, at: datetime) -> bool:
        """Whether a goal reached then is to be sent."""
        if self.start is None or at >= self.start:
            return True
        return any(period.since <= at < period.until for period in self.opened)

    def opening(self, period: Period) -> Floor:
        """The same with this period open, too."""
        until = period.until if self.start is None else min(period.until, self.start)
        if period.since >= until:
            return self
        since, apart = period.since, []
        for other in self.opened:
            if other.until < since or until < other.since:
                apart.append(other)
            else:
                since, until = min(since, other.since), max(until, other.until)
        joined = [*apart, Period(since, until)]
        return Floor(self.start, tuple(sorted(joined, key=lambda one: one.since)))
