"""What is wrong with conversion actions and their account, by what the Google Ads API tells of them. Pure.

Uploads need none of this; a wrong owner, type or window is what makes them come to nothing without an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from adapters.google_ads.ads_api import ENABLED, ONE_PER_CLICK, UPLOADED, Action, Customer
from adapters.google_ads.settings import GoogleAdsSettings
from bridge.ports import Finding, Level
from bridge.tools import DriftCounts

_STATUSES = {"REMOVED": "was removed", "HIDDEN": "is hidden"}
_COUNTED = frozenset({ONE_PER_CLICK, "MANY_PER_CLICK"})
_NAMED = 5

Trouble = tuple[Level, str]


def of_goals(
    goals: Mapping[str, str], found: Sequence[Action], settings: GoogleAdsSettings, drift: DriftCounts
) -> list[Finding]:
    """Findings for each goal (name -> conversion action id), in words that say what to do."""
    known = {action.id: action for action in found}
    findings = []
    for goal, target in goals.items():
        action = known.get(target)
        troubles = (
            [(Level.ERROR, _missing(target, found, settings))] if action is None else _all(action, settings, drift)
        )
        findings += [Finding(level, f"goal {goal}", message) for level, message in troubles]
    return findings


def _missing(target: str, found: Sequence[Action], settings: GoogleAdsSettings) -> str:
    usable = [f"{item.id} ({item.name})" for item in found if item.type == UPLOADED and item.status == ENABLED]
    listed = ", ".join(usable[:_NAMED]) or "none yet: create one of the kind import from clicks"
    return f"account {settings.customer_id} has no conversion action {target}; those that take uploads: {listed}"


def _all(action: Action, settings: GoogleAdsSettings, drift: DriftCounts) -> list[Trouble]:
    """What is wrong with one; of an action that cannot be used at all nothing else matters."""
    return list(_unusable(action, settings, drift)) or list(_doubtful(action, settings, drift))


def _unusable(action: Action, settings: GoogleAdsSettings, drift: DriftCounts) -> Iterator[Trouble]:
    what = f"conversion action {action.id} ({action.name})"
    owner = action.owner_customer.removeprefix("customers/")
    if owner and owner != settings.customer_id:
        advice = (
            f'set customer_id = "{owner}" (conversions are tracked across accounts), and give the credentials access'
        )
        yield Level.ERROR, f"{what} belongs to account {owner}, not {settings.customer_id}: {advice}"
    if action.type and action.type != UPLOADED:
        advice = "create one of the kind import from clicks and send the goal to its number"
        yield Level.ERROR, f"{what} is of type {action.type}, uploads need {UPLOADED}: {advice}"
    if action.status in _STATUSES:
        advice = "switch it on in Google Ads, or send the goal to another"
        yield Level.ERROR, f"{what} {_STATUSES[action.status]} and counts nothing: {advice}"
    elif action.status not in ("", ENABLED):
        drift.note("conversion action status", action.status)
        yield Level.WARNING, f"{what} has a status that the bridge does not know: {action.status}"
    if action.attribution_model_settings.attribution_model == "EXTERNAL":
        yield Level.ERROR, f"{what} has external attribution, which uploads cannot serve: choose another model for it"


def _doubtful(action: Action, settings: GoogleAdsSettings, drift: DriftCounts) -> Iterator[Trouble]:
    what = f"conversion action {action.id} ({action.name})"
    if action.primary_for_goal is False:
        yield Level.WARNING, f"{what} is secondary: it is reported, but bidding does not see it; make it primary"
    if action.counting_type == ONE_PER_CLICK:
        advice = 'leads from iOS with gbraid or wbraid are refused; set Count to "Every"'
        yield Level.WARNING, f"{what} counts one conversion per click: {advice}"
    elif action.counting_type and action.counting_type not in _COUNTED:
        drift.note("counting type", action.counting_type)
    if action.value_settings.always_use_default_value:
        advice = "values from the CRM and corrections are ignored; let it use different values"
        yield Level.WARNING, f"{what} always uses its default value: {advice}"
    days, window = action.click_through_lookback_window_days, settings.window_click.days
    if days is not None and days < window:
        advice = f'set it to {window} days in Google Ads, or window_click = "{days}d" here'
        yield Level.WARNING, f"{what} counts conversions up to {days} days after the click, not {window}: {advice}"


def of_account(customer: Customer, settings: GoogleAdsSettings) -> list[Finding]:
    """Findings about the account."""
    subject = f"account {settings.customer_id}"
    return [Finding(level, subject, message) for level, message in _account(customer, settings)]


def _account(customer: Customer, settings: GoogleAdsSettings) -> Iterator[Trouble]:
    tracking = customer.conversion_tracking_setting
    owner = tracking.google_ads_conversion_customer.removeprefix("customers/")
    if owner and owner != settings.customer_id:
        advice = f'set customer_id = "{owner}"'
        yield Level.ERROR, f"its conversions are counted in account {owner}: {advice}"
    if customer.auto_tagging_enabled is False and not customer.manager:
        yield Level.ERROR, "auto-tagging is off, so that clicks bring no gclid: switch it on in the account's settings"
    if not settings.sends_persons:
        return
    if tracking.accepted_customer_data_terms is False:
        yield Level.ERROR, "the customer data terms are not accepted: accept them, or set send_persons = false"
    if tracking.effective_enablement_setting == "OFF":
        advice = "turn them on, or set send_persons = false"
        yield Level.ERROR, f"enhanced conversions for leads are off: {advice}"
