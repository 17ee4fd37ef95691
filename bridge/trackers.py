"""What ``bridge check`` says of call trackers and counters: what they count is not to be counted here once more."""

from __future__ import annotations

from bridge.config import TrackerSettings
from bridge.ports import Finding, Level
from bridge.tenant import SourceUnit, Tenant
from bridge.visits import VisitSettings

_SUBJECT = "double counting"


def finding(tenant: Tenant, unit: SourceUnit) -> Finding:
    """Whether the tracker counts its calls at the ad systems as well, as its operator says.

    No API of a tracker tells that, and nothing here is sent of a call itself: only what became of it later.
    """
    if isinstance(unit.settings, VisitSettings):
        return _of_visits(tenant, unit.settings)
    told = unit.settings.sends_calls if isinstance(unit.settings, TrackerSettings) else "no"
    if told == "no":
        return Finding(Level.OK, _SUBJECT, "nothing of it is sent to ad systems by itself, as its settings here say")
    places = ", ".join(
        sorted({f"{target} ({name})" for goal in tenant.settings.goals for name, target in goal.send.items()})
    )
    if told == "yes":
        text = f"the tracker sends its calls itself; they must not go to the goals used here: {places or 'none yet'}"
        return Finding(Level.OK, _SUBJECT, text)
    text = (
        "a call tracker may already send its calls to Metrica or Google: look into its integrations. If it does, its "
        f"goals there must be others than those used here ({places or 'none yet'}), or one lead counts twice; then set "
        'sends_calls = "yes", else "no"'
    )
    return Finding(Level.WARNING, _SUBJECT, text)


def _of_visits(tenant: Tenant, settings: VisitSettings) -> Finding:
    """The counter counts its forms by itself."""
    targets = {target for goal in tenant.settings.goals for target in goal.send.values()}
    both = ", ".join(sorted(targets.intersection(settings.form_goals)))
    if both:
        text = f"the site itself reaches {both} with each form; send to a goal of its own, or one lead counts twice"
        return Finding(Level.WARNING, _SUBJECT, text)
    return Finding(Level.OK, _SUBJECT, "no goal that is sent to is one that the site's forms reach")
