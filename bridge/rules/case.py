"""What a goal's conditions look at: a deal, where it was read, how it came, and the time it is. Pure."""

from __future__ import annotations

from datetime import datetime

from bridge.clues import Reading
from bridge.model import Deal, Match, Unmatched, frozen


@frozen
class Case:
    """A deal that is judged. ``source`` is the tenant's own name of where it was read.

    ``looked_at``, the time it is, decides only what fades with time: whether the moment at which a score reaches its
    threshold has come.
    """

    deal: Deal
    source: str
    looked_at: datetime
    reading: Reading = Reading()
    match: Match | Unmatched | None = None
