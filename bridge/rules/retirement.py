"""Versions of vendors' APIs that end: how soon, and in which words that is said. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from bridge.model import frozen
from bridge.ports import Api

WARN_DAYS = 60


@frozen
class Ending:
    """A version with a known end; ``days`` until the first day on which it may be gone, negative after it."""

    api: Api
    sunset: date
    days: int

    @property
    def is_near(self) -> bool:
        """Whether somebody ought to do something about it."""
        return self.days <= WARN_DAYS

    @property
    def words(self) -> str:
        """For people, with what to do."""
        when = f"ends on {self.sunset}, in {self.days} days" if self.days > 0 else f"may be gone since {self.sunset}"
        return f"{self.api} {when}: update the bridge to a release that speaks a later version"


def endings(apis: Iterable[Api], today: date) -> list[Ending]:
    """The versions whose end is known, the nearest first."""
    found = [Ending(api, api.sunset, (api.sunset - today).days) for api in apis if api.sunset is not None]
    return sorted(found, key=lambda ending: ending.sunset)
