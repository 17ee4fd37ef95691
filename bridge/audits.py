"""What a destination may also tell: how many conversions it counts, by its own goal and its own days.

Optional, like the protocols of ``survey``: a destination without it works, and is audited by nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import date, datetime
from typing import Protocol, runtime_checkable

from bridge.model import Outgoing, frozen


@frozen
class Sent:
    """A conversion that the vendor accepted, and when. One for each conversion, however often it was restated.

    ``latest``: the last correction of it that was accepted; None: there was none.
    """

    row: Outgoing
    answered_at: datetime
    latest: Outgoing | None = None


def by_target(sent: Iterable[Sent]) -> Mapping[str, list[Sent]]:
    """The same by the vendor's goals."""
    found: defaultdict[str, list[Sent]] = defaultdict(list)
    for one in sent:
        found[one.row.target].append(one)
    return found


@frozen
class DayCount:
    """One of the vendor's goals on one of its days.

    ``ours``: conversions of ours that belong to this day; ``theirs``: what the vendor counts, whoever sent it.
    Of ours ``missing`` are not among theirs although they should be, ``open`` not yet. ``is_ours_only``: nobody else
    can reach this goal, so that more than ours is wrong, too.
    """

    target: str
    day: date
    ours: int
    theirs: int
    missing: int = 0
    open: int = 0
    is_ours_only: bool = False


@frozen
class Counts:
    """``untold``: goals there of which nothing certain can be told now, each with the reason in a few words."""

    days: tuple[DayCount, ...]
    untold: tuple[tuple[str, str], ...] = field(default=())


@runtime_checkable
class CountsConversions(Protocol):
    """A destination whose vendor tells how many conversions it counts."""

    @property
    def uncounted(self) -> str:
        """Why it is not asked as it is set up, in a few words; "" when it can be."""
        ...

    async def counts(self, sent: Sequence[Sent], since: datetime) -> Counts:
        """What the vendor counts on its days from ``since`` on, beside these conversions.

        ``sent`` are all of ours that occurred since then; each belongs to the day to which the vendor's reports put it.

        Raises:
            AuthError, Refused, Throttled, Unavailable, Drift: the counts cannot be read now.
        """
        ...
