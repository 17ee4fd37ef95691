"""Goals that are judged and sent nowhere: what ``bridge check`` and ``bridge explain`` say of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.config import TenantSettings
from bridge.model import Judgement, Verdict
from bridge.ports import Finding, Level
from bridge.rules.plan import Skip


def findings(settings: TenantSettings) -> list[Finding]:
    """One warning for each goal without a destination."""
    return [
        Finding(Level.WARNING, "goals", f'goal "{goal.name}" is sent nowhere: {_advice(settings)}')
        for goal in settings.goals
        if not goal.send
    ]


def skips(settings: TenantSettings, judgements: Sequence[Judgement]) -> list[Skip]:
    """What is not promised because its goal has no destination; ``destination`` of these is ""."""
    nowhere = {goal.name for goal in settings.goals if not goal.send}
    return [
        Skip(item.goal, "", f"the goal is sent nowhere: {_advice(settings)}", item.occurrence)
        for item in judgements
        if item.goal in nowhere and item.verdict is Verdict.QUALIFIED
    ]


def _advice(settings: TenantSettings) -> str:
    named = ", ".join(f'{own} = "ITS GOAL"' for own in settings.destinations)
    return f"add send = {{ {named} }}" if named else "add a destination, and send = { ITS NAME = ... }"
