"""Until when a conversion may be sent, asked of the destination's own ``admit``. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from bridge.model import Outgoing, frozen
from bridge.ports import Admission, Pass

SOON = timedelta(hours=48)
OVERDUE = timedelta(hours=1)  # a window that closes soon is trouble where the delivery waits for so long already
_EXACT = timedelta(minutes=1)

Admit = Callable[[Outgoing, datetime], Admission]


@frozen
class Waiting:
    """A promise that is not answered yet."""

    row: Outgoing
    planned_at: datetime


@frozen
class Closing:
    """Deliveries of one destination whose window closes within ``SOON``, as found at ``at``.

    ``first``: when the first one closes; ``overdue``: those that have waited for longer than ``OVERDUE`` and are not
    held back by the destination itself until a better hour before that; ``goals``: how many of each goal.
    """

    at: datetime
    count: int = 0
    overdue: int = 0
    first: datetime | None = None
    goals: tuple[tuple[str, int], ...] = ()


def is_late(admit: Admit, waiting: Waiting, give_up_after: timedelta, at: datetime) -> bool:
    """Whether it would be too late to send it then."""
    if at - waiting.planned_at > give_up_after:
        return True
    return admit(waiting.row, at).verdict is Pass.EXPIRED


def is_overdue(admit: Admit, waiting: Waiting, end: datetime, now: datetime) -> bool:
    """Whether it waits for longer than it ought to. A message that waits for the morning does not."""
    if now - waiting.planned_at <= OVERDUE:
        return False
    admission = admit(waiting.row, now)
    return admission.verdict is not Pass.WAIT or admission.until is None or admission.until >= end


def closes(
    admit: Admit, waiting: Waiting, give_up_after: timedelta, since: datetime, until: datetime
) -> datetime | None:
    """When it becomes too late between two moments, to the minute; ``since`` if it is already, None if not by then."""
    if not is_late(admit, waiting, give_up_after, until):
        return None
    if is_late(admit, waiting, give_up_after, since):
        return since
    while until - since > _EXACT:
        middle = since + (until - since) / 2
        if is_late(admit, waiting, give_up_after, middle):
            until = middle
        else:
            since = middle
    return until
