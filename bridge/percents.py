"""Shares that look like percents: for ``bridge check``. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.config import Goal, TenantSettings
from bridge.ports import Finding, Level
from bridge.valuing import ValueOf

_LEAST = 2  # more than the amount itself may be meant, for what customers buy later; from here on it hardly is


def findings(settings: TenantSettings) -> list[Finding]:
    """A warning for each goal that is worth a multiple of the amount."""
    return [Finding(Level.WARNING, "goals", text) for goal in settings.goals for text in _told(goal)]


def _told(goal: Goal) -> Iterator[str]:
    if isinstance(goal.value, ValueOf):
        shares = [goal.value.share, *(goal.value.products or {}).values()]
        large = max((share for share in shares if share is not None), default=0)
        if large >= _LEAST:
            yield f'goal "{goal.name}" is worth {large} times the amount; if {large} % is meant, write {large / 100}'
