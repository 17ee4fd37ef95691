"""Goals that are judged and sent nowhere: what ``bridge check`` and ``bridge explain`` say of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.catalogue import Catalogue
from bridge.config import TenantSettings
from bridge.consent import ConsentedSettings
from bridge.model import Judgement, Verdict
from bridge.ports import Finding, Level
from bridge.rules.consent import Terms
from bridge.rules.names import any_of, plain
from bridge.rules.plan import Skip

_NO_CONSENT = (
    "every deal is withheld: consent is required (by the tenant's region, or consent.required) and nothing grants it; "
    "set consent.ad_user_data to what your visitors agreed to, or consent.field to the custom field that tells it"
)

_NO_YES = (
    'every answer in the field {name} is a no: it can hold {choices}, and none of these is in "consent.granted"; '
    "list there what is a yes"
)
_SHOWN = 10  # options of one field


def findings(settings: TenantSettings) -> list[Finding]:
    """One warning for each goal without a destination."""
    return [
        Finding(Level.WARNING, "goals", f'goal "{goal.name}" is sent nowhere: {_advice(settings)}')
        for goal in settings.goals
        if not goal.send
    ]


def withheld(settings: TenantSettings) -> list[Finding]:
    """An error for each destination to which no deal at all may go for lack of consent."""
    asking = {own: one.consent for own, one in settings.destinations.items() if isinstance(one, ConsentedSettings)}
    silent = {own: one for own, one in asking.items() if one.ad_user_data != "granted" and not one.is_per_deal}
    return [
        Finding(Level.ERROR, f"consent of {own}", _NO_CONSENT)
        for own, consent in silent.items()
        if Terms.of(consent, settings.region).is_required
    ]


def without_yes(settings: TenantSettings, catalogue: Catalogue) -> list[Finding]:
    """A warning for each field of a source that says consent and can hold no yes: whoever answers, refuses."""
    known = {plain(name): choices for name, choices in catalogue.choices.items()}
    found = []
    for own, one in settings.destinations.items():
        if not isinstance(one, ConsentedSettings):
            continue
        granted = set(map(plain, one.consent.granted))
        for name in dict.fromkeys(one.consent.names):
            choices = known.get(plain(name), ())
            if choices and granted.isdisjoint(map(plain, choices)):
                left = len(choices) - _SHOWN
                told = any_of([*choices[:_SHOWN], *([f"{left} others"] if left > 0 else [])])
                found.append(Finding(Level.WARNING, f"consent of {own}", _NO_YES.format(name=name, choices=told)))
    return found


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
