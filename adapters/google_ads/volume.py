"""How many calls are left, and so whether conversions go one by one. Quotas: contract google 2.8; sums: README."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from adapters.google_ads.settings import GoogleAdsSettings

LOOKS = 3  # status calls a conversion sent alone usually costs: results come after 30 minutes to 24 hours
TURN = timedelta(minutes=5)  # the longest that one turn of sending is to last
KEPT_BACK = 0.1  # share of the day's calls left to others: checks, repairs, a restart that forgot the count
_DAY = timedelta(hours=24)
_PART = timedelta(minutes=15)


class Volume:
    """Calls of the last 24 hours by kind, which have quotas of their own. A restart begins to count anew."""

    def __init__(self, settings: GoogleAdsSettings) -> None:
        self._settings = settings
        self._calls: Counter[tuple[str, int]] = Counter()

    def note(self, kind: str, now: datetime) -> None:
        """A call was made."""
        self._calls[kind, self._part(now)] += 1
        oldest = self._part(now - _DAY)
        for key in [key for key in self._calls if key[1] < oldest]:
            del self._calls[key]

    def left(self, kind: str, now: datetime) -> int:
        """How many more calls of this kind a day of the share allows now."""
        oldest = self._part(now - _DAY)
        made = sum(count for (own, part), count in self._calls.items() if own == kind and part >= oldest)
        return int(self._settings.requests_per_day * (1 - KEPT_BACK)) - made

    def fits(self, rows: int, uploads: int, looks: int) -> bool:
        """Whether so many rows may go one by one, with so many calls left."""
        most = self._settings.single_below
        if most is None:
            most = int(self._settings.requests_per_second * TURN.total_seconds())
        return rows <= most and rows <= uploads and rows * LOOKS <= looks

    @staticmethod
    def _part(at: datetime) -> int:
        return int(at.timestamp() // _PART.total_seconds())
