"""What was stored while this machine's clock was ahead: told from what only lies in the future."""

from __future__ import annotations

from datetime import datetime, timedelta

LONG_AGO = timedelta(days=1)  # no clock is so wrong, nothing that happened then shows only now


def is_ahead(moment: datetime | None, now: datetime) -> bool:
    """Whether it lies where nothing can have happened yet: our clock was wrong when it was stored."""
    return moment is not None and moment > now + LONG_AGO


def is_due(due: datetime, every: timedelta, now: datetime) -> bool:
    """Whether what is done so often is due; one that was put off until years from now was put off by a wrong clock."""
    return due <= now or is_ahead(due, now + every)
