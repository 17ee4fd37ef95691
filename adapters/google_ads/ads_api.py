"""The Google Ads API, read: conversion actions and the account (contract google 4.3, 4.4) for ``init`` and ``check``.

It takes another right than uploads do: the scope adwords, and the API switched on in the Cloud project. Where the
credentials do not have that, uploads work all the same, and the actions' numbers are read off the Ads interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec

from adapters.google_ads.answers import JSON_HEADERS
from adapters.google_ads.auth import TOKEN_CALL, judge_token
from adapters.google_ads.wire import read_error
from bridge.errors import Ambiguous, AuthError, Drift, Refused, Throttled, Unavailable
from bridge.model import frozen
from bridge.survey import Target
from bridge.tools import Account, Request, Response

SCOPE = "https://www.googleapis.com/auth/adwords"
VERSION = "v26"
SUNSET = date(2027, 11, 1)  # "2027-11" (contract google 1): the month's first day, to be early rather than late
_FIELDS = (
    *("id", "name", "type", "category", "status", "counting_type", "owner_customer", "primary_for_goal"),
    *("click_through_lookback_window_days", "value_settings.always_use_default_value"),
    "attribution_model_settings.attribution_model",
)
ACTIONS = " ".join(("SELECT", ", ".join(f"conversion_action.{name}" for name in _FIELDS), "FROM conversion_action"))
CUSTOMER = (
    "SELECT customer.auto_tagging_enabled, customer.manager, customer.time_zone, "
    "customer.conversion_tracking_setting.google_ads_conversion_customer, "
    "customer.conversion_tracking_setting.accepted_customer_data_terms, "
    "customer.conversion_tracking_setting.effective_enablement_setting FROM customer"
)
# By the day of the conversion, not of the click (contract google 4; the metric's own documentation).
DAYS = (
    "SELECT segments.conversion_action, segments.date, metrics.all_conversions_by_conversion_date FROM customer "
    "WHERE segments.date BETWEEN '{first}' AND '{last}'"
)
# What an action counts, by its category (contract google 4.3).
_MEANS = {"QUALIFIED_LEAD": "qualified", "CONVERTED_LEAD": "sale", "PURCHASE": "sale"}
UPLOADED, ENABLED, ONE_PER_CLICK = "UPLOAD_CLICKS", "ENABLED", "ONE_PER_CLICK"
_PAGES_MAX = 10  # of 10,000 rows; no account has so many


class _Values(msgspec.Struct, frozen=True, rename="camel"):
    always_use_default_value: bool = False


class _Attribution(msgspec.Struct, frozen=True, rename="camel"):
    attribution_model: str = ""


class Action(msgspec.Struct, frozen=True, rename="camel"):
    """int64 comes as text, an unset field not at all. ``owner_customer``: ``customers/1234567890``."""

    id: str
    name: str = ""
    type: str = ""
    category: str = ""
    status: str = ""
    counting_type: str = ""
    owner_customer: str = ""
    primary_for_goal: bool | None = None
    click_through_lookback_window_days: int | None = None
    value_settings: _Values = _Values()
    attribution_model_settings: _Attribution = _Attribution()


class Tracking(msgspec.Struct, frozen=True, rename="camel"):
    """How the account counts; None: not told. ``google_ads_conversion_customer``: who owns its conversion actions."""

    google_ads_conversion_customer: str = ""
    accepted_customer_data_terms: bool | None = None
    effective_enablement_setting: str = ""


class Customer(msgspec.Struct, frozen=True, rename="camel"):
    auto_tagging_enabled: bool | None = None
    manager: bool = False
    time_zone: str = ""
    conversion_tracking_setting: Tracking = Tracking()


class PathElement(msgspec.Struct, frozen=True, rename="camel"):
    index: int | None = None


class Location(msgspec.Struct, frozen=True, rename="camel"):
    field_path_elements: tuple[PathElement, ...] = ()


class Failure(msgspec.Struct, frozen=True, rename="camel"):
    """One error: ``{"conversionAdjustmentUploadError": "CONVERSION_NOT_FOUND"}``, and where."""

    error_code: dict[str, str] = {}
    location: Location | None = None

    @property
    def code(self) -> str:
        return next(iter(self.error_code.values()), "UNNAMED")


class FailureDetail(msgspec.Struct, frozen=True):
    errors: tuple[Failure, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """A google.rpc.Status whose details are GoogleAdsFailure (contract google 3.2)."""

    details: tuple[FailureDetail, ...] = ()


class Segments(msgspec.Struct, frozen=True, rename="camel"):
    conversion_action: str = ""
    date: str = ""


class Metrics(msgspec.Struct, frozen=True, rename="camel"):
    all_conversions_by_conversion_date: float = 0.0


@frozen
class DayTotal:
    """How many conversions of one action (its number) the account counts on one of its days; shares are summed."""

    action: str
    day: date
    count: float


class _Row(msgspec.Struct, frozen=True, rename="camel"):
    conversion_action: Action | None = None
    customer: Customer | None = None
    segments: Segments | None = None
    metrics: Metrics = Metrics()


class _Page(msgspec.Struct, frozen=True, rename="camel"):
    results: list[_Row] = []
    next_page_token: str = ""


_PAGES = msgspec.json.Decoder(_Page, strict=False)


def judge(request: Request, response: Response) -> None:
    """Raise what an answer means (contract google 3.3). What was not safe to repeat may have been stored."""
    if request.scope == TOKEN_CALL:
        judge_token(request, response)
        return
    status = response.status
    if status == 200:
        return
    error = read_error(response.body)
    reason = (error.reason or error.status) if error else ""
    if status in (401, 403):
        raise AuthError(f"the Google Ads API refuses it ({status} {reason or 'unnamed'})", is_final=status == 403)
    if status == 429:
        raise Throttled("the Google Ads API's quota is used up")
    if status == 408 or status >= 500:
        raise (Unavailable if request.is_safe else Ambiguous)(f"the Google Ads API answered {status}")
    raise Refused(f"the Google Ads API refused the request ({status} {reason or 'unnamed'})", code=reason or "refused")


def headers(login: str | None) -> dict[str, str]:
    """Of every request; ``login``: the manager account the credentials come through."""
    return {**JSON_HEADERS, **({"login-customer-id": login} if login else {})}


async def actions(account: Account, customer: str, login: str | None) -> list[Action]:
    """Every conversion action of a customer, removed ones too.

    Raises:
        AuthError, Throttled, Unavailable, Refused, Drift: Google's answer.
    """
    rows = await _search(account, ACTIONS, customer, login)
    found = [row.conversion_action for row in rows if row.conversion_action is not None]
    if len(found) < len(rows):
        raise Drift("the Google Ads API listed something else than conversion actions")
    return found


async def customer_of(account: Account, customer: str, login: str | None) -> Customer:
    """The account itself.

    Raises:
        AuthError, Throttled, Unavailable, Refused, Drift: Google's answer.
    """
    rows = await _search(account, CUSTOMER, customer, login)
    return next((row.customer for row in rows if row.customer is not None), Customer())


async def daily(account: Account, customer: str, login: str | None, span: tuple[date, date]) -> list[DayTotal]:
    """What the account counts of each conversion action on each of its days, from the first to the last.

    Raises:
        AuthError, Throttled, Unavailable, Refused, Drift: Google's answer.
    """
    rows = await _search(account, DAYS.format(first=span[0], last=span[1]), customer, login)
    return [_total(row) for row in rows]


def _total(row: _Row) -> DayTotal:
    if row.segments is None:
        raise Drift("the Google Ads API listed something else than the days of conversion actions")
    try:
        day = date.fromisoformat(row.segments.date)
    except ValueError:
        raise Drift("the Google Ads API names a day that is none") from None
    action = row.segments.conversion_action.rpartition("/")[2]
    return DayTotal(action, day, row.metrics.all_conversions_by_conversion_date)


async def _search(account: Account, query: str, customer: str, login: str | None) -> list[_Row]:
    url = f"/{VERSION}/customers/{customer}/googleAds:search"
    found: list[_Row] = []
    token = ""
    for _ in range(_PAGES_MAX):
        body = msgspec.json.encode({"query": query, **({"pageToken": token} if token else {})})
        answer = await account.send(Request("POST", url, headers=headers(login), body=body, is_safe=True))
        page = _read(answer.body)
        found += page.results
        token = page.next_page_token
        if not token:
            return found
    raise Drift("the Google Ads API's list does not end")


def _read(body: bytes) -> _Page:
    try:
        return _PAGES.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Drift("the Google Ads API answered something else than a list") from None


def targets(found: Sequence[Action]) -> tuple[Target, ...]:
    """Conversion actions as ``bridge init`` shows them; only imported clicks take uploads (contract google 2.3)."""
    return tuple(_target(action) for action in found if action.status in ("", ENABLED))


def _target(action: Action) -> Target:
    kind = f"{action.type}, {action.category}" if action.category else action.type
    means = _MEANS.get(action.category, "")
    is_usable = action.type == UPLOADED
    note = "" if is_usable else "not of the kind import from clicks"
    return Target(action.id, action.name, kind, means, is_usable, note)
