"""Google's synchronous checks of a parsed request: every violation, not just the first (contract google 2.12)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from adapters.google_ads.fake_ads import ACTIONS, FakeAction, FakeCustomer

_HEX = re.compile(r"[0-9a-fA-F]*")
_CURRENCY = re.compile(r"[A-Za-z]{3}")
_DIGITS = re.compile(r"[0-9]+")
_CLICK_IDS = ("gclid", "gbraid", "wbraid")


class Violation(NamedTuple):
    """A member of ``BadRequest.fieldViolations``."""

    field: str
    description: str
    reason: str


@dataclass(slots=True)
class Rules:
    """What this simulated Google knows and how strict it is. Every value may be changed while it runs.

    ``accounts`` may be written to, through ``managers`` or directly. ``actions`` maps a conversion action to its
    creation; None: every numeric one exists and is old enough. ``per_minute`` and ``per_day`` count real time.
    """

    processing: timedelta = timedelta(minutes=40)
    accounts: frozenset[str] = frozenset({"1234567890"})
    managers: frozenset[str] = frozenset({"9876543210"})
    actions: dict[str, datetime] | None = None
    action_age_min: timedelta = timedelta(hours=6)
    click_age_min: timedelta = timedelta(hours=6)
    window_click: timedelta = timedelta(days=90)
    window_person: timedelta = timedelta(days=63)
    status_kept: timedelta = timedelta(days=50)
    per_minute: int = 300
    per_day: int = 100_000
    token_life: timedelta = timedelta(hours=1)
    clock_skew: timedelta = timedelta(minutes=5)
    reply_delay: float = 0.0  # real seconds between storing an upload and answering
    is_enabled: bool = True  # False: SERVICE_DISABLED
    takes_persons: bool = True  # False: enhanced conversions for leads are off in the account
    checks_event_time: bool = True  # no window is published for Ads (contract google 11)
    scopes: str = "https://www.googleapis.com/auth/datamanager"  # what the user's consent covered
    has_ads_api: bool = True  # False: the Google Ads API is not switched on in the project
    account: FakeCustomer = field(default_factory=FakeCustomer)
    asks_consent: bool = False  # True: all visitors are of the EEA, the UK or Switzerland
    may_adjust: bool = True  # False: this project may not call uploadConversionAdjustments
    listed: tuple[FakeAction, ...] = ACTIONS  # by that API; ``actions`` is what uploads are checked against


def violations(request: dict[str, Any], rules: Rules, now: datetime) -> list[Violation]:
    """Everything wrong with a request, in document order."""
    found = list(_sizes(request))
    for index, destination in enumerate(request.get("destinations", ())):
        found.extend(_destination(destination, f"destinations[{index}]", rules, now))
    found.extend(_references(request))
    context = _Context(request.get("encoding", ""), _known(request), rules, now)
    for index, event in enumerate(request.get("events", ())):
        found.extend(_event(event, f"events.events[{index}]", context))
    if context.encoding not in ("HEX", "BASE64") and any(_identifiers(event) for event in request.get("events", ())):
        found.append(Violation("encoding", "required with user data", "REQUIRED_FIELD_MISSING"))
    return found


def warnings(request: dict[str, Any]) -> list[Violation]:
    """Trouble in optional fields, which does not refuse the request: custom variables the account does not have."""
    return [
        Violation(
            f"events.events[{index}].custom_variables[{place}]",
            "not enabled",
            "WARNING_REASON_CUSTOM_VARIABLE_NOT_ENABLED",
        )
        for index, event in enumerate(request.get("events", ()))
        for place in range(len(event.get("custom_variables", ())))
    ]


class _Context(NamedTuple):
    encoding: str
    references: frozenset[str]
    rules: Rules
    now: datetime


def _known(request: dict[str, Any]) -> frozenset[str]:
    return frozenset(destination.get("reference", "") for destination in request.get("destinations", ()))


def _sizes(request: dict[str, Any]) -> Iterator[Violation]:
    for name, most in (("destinations", 10), ("events", 2000)):
        size = len(request.get(name, ()))
        if size == 0:
            yield Violation(name, "required field is missing", "REQUIRED_FIELD_MISSING")
        if size > most:
            yield Violation(name, f"at most {most}", f"TOO_MANY_{name.upper()}")


def _references(request: dict[str, Any]) -> Iterator[Violation]:
    seen: set[str] = set()
    for index, destination in enumerate(request.get("destinations", ())):
        reference = destination.get("reference", "")
        if reference and reference in seen:
            path = f"destinations[{index}].reference"
            yield Violation(path, "used by another destination", "DUPLICATE_DESTINATION_REFERENCE")
        seen.add(reference)


def _destination(destination: dict[str, Any], path: str, rules: Rules, now: datetime) -> Iterator[Violation]:
    if "operating_account" not in destination:
        yield Violation(f"{path}.operating_account", "required field is missing", "REQUIRED_FIELD_MISSING")
    for name in ("operating_account", "login_account"):
        account = destination.get(name)
        if account is None:
            continue
        if not _DIGITS.fullmatch(account.get("account_id", "")):
            yield Violation(f"{path}.{name}.account_id", "not a number", "INVALID_NUMBER_FORMAT")
        if account.get("account_type") != "GOOGLE_ADS":
            yield Violation(f"{path}.{name}.account_type", "no Ads account", "DESTINATION_ACCOUNT_TYPE_MISMATCH")
    yield from _action(destination.get("product_destination_id", ""), f"{path}.product_destination_id", rules, now)


def _action(action: str, path: str, rules: Rules, now: datetime) -> Iterator[Violation]:
    if not _DIGITS.fullmatch(action) or (rules.actions is not None and action not in rules.actions):
        yield Violation(path, "no conversion action of this account", "INVALID_CONVERSION_ACTION_ID")
    elif rules.actions is not None and now - rules.actions[action] < rules.action_age_min:
        yield Violation(path, "created too recently", "CONVERSION_ACTION_TOO_RECENTLY_CREATED")


def _event(event: dict[str, Any], path: str, context: _Context) -> Iterator[Violation]:
    for name in ("event_timestamp", "event_source"):
        if name not in event or event[name] == "EVENT_SOURCE_UNSPECIFIED":
            yield Violation(f"{path}.{name}", "required field is missing", "REQUIRED_FIELD_MISSING")
    if len(event.get("transaction_id", "")) > 64:
        yield Violation(f"{path}.transaction_id", "longer than 64", "FIELD_VALUE_TOO_LONG")
    if context.rules.checks_event_time and "event_timestamp" in event:
        yield from _time(event["event_timestamp"], f"{path}.event_timestamp", context)
    yield from _value(event, path)
    yield from _ids(event, path, context)
    for index, reference in enumerate(event.get("destination_references", ())):
        if reference not in context.references:
            yield Violation(f"{path}.destination_references[{index}]", "unknown reference", "INVALID_DESTINATION")


def _time(at: datetime, path: str, context: _Context) -> Iterator[Violation]:
    if at > context.now or context.now - at > context.rules.window_click:
        yield Violation(path, "in the future, or too old", "EVENT_TIME_INVALID")


def _value(event: dict[str, Any], path: str) -> Iterator[Violation]:
    value = event.get("conversion_value")
    if value is not None and (not value.is_finite() or value < 0):
        yield Violation(f"{path}.conversion_value", "not a finite number from 0", "INVALID_NUMBER_FORMAT")
    if "currency" in event and not _CURRENCY.fullmatch(event["currency"]):
        yield Violation(f"{path}.currency", "no ISO 4217 code", "INVALID_CURRENCY_CODE")


def _ids(event: dict[str, Any], path: str, context: _Context) -> Iterator[Violation]:
    clicks = [name for name in _CLICK_IDS if event.get("ad_identifiers", {}).get(name)]
    persons = _identifiers(event)
    if not clicks and not persons and not event.get("ad_identifiers", {}).get("session_attributes"):
        yield Violation(path, "at least one identifier is needed", "NO_IDENTIFIERS_PROVIDED")
    if len(clicks) > 1:
        # Most readings say exactly one (contract google 11); the strict side is the safe one for a simulator.
        yield Violation(f"{path}.ad_identifiers", "more than one click id", "INVALID_EVENT")
    if len(persons) > 10:
        yield Violation(f"{path}.user_data.user_identifiers", "at most 10", "TOO_MANY_USER_IDENTIFIERS")
    if persons and not context.rules.takes_persons:
        reason = "DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS"
        yield Violation(f"{path}.user_data", "enhanced conversions for leads are off", reason)
    for index, identifier in enumerate(persons):
        for digest in (identifier.get("email_address"), identifier.get("phone_number")):
            reason = _digest(digest, context.encoding) if digest is not None else ""
            if reason:
                yield Violation(f"{path}.user_data.user_identifiers[{index}]", "not a valid digest", reason)


def _identifiers(event: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = event.get("user_data", {}).get("user_identifiers", [])
    return found


def _digest(text: str, encoding: str) -> str:
    """The reason to refuse an encoded SHA-256, "" when it is one."""
    if encoding == "BASE64":
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return "INVALID_BASE64_ENCODING"
        return "" if len(raw) == 32 else "INVALID_SHA256_FORMAT"
    if not _HEX.fullmatch(text):
        return "INVALID_HEX_ENCODING"
    return "" if len(text) == 64 else "INVALID_SHA256_FORMAT"
