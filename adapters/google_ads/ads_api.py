"""Conversion actions, listed by the Google Ads API (contract google 4.3) for ``bridge init``. Nothing is sent by it.

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
from bridge.errors import AuthError, Drift, Refused, Throttled, Unavailable
from bridge.survey import Target
from bridge.tools import Account, Request, Response

SCOPE = "https://www.googleapis.com/auth/adwords"
VERSION = "v26"
SUNSET = date(2027, 11, 1)  # "2027-11" (contract google 1): the month's first day, to be early rather than late
_QUERY = (
    "SELECT conversion_action.id, conversion_action.name, conversion_action.type, conversion_action.category "
    "FROM conversion_action WHERE conversion_action.status = 'ENABLED'"
)
# What an action counts, by its category (contract google 4.3).
_MEANS = {"QUALIFIED_LEAD": "qualified", "CONVERTED_LEAD": "sale", "PURCHASE": "sale"}
_UPLOADED = "UPLOAD_CLICKS"
_PAGES_MAX = 10  # of 10,000 rows; no account has so many


class Action(msgspec.Struct, frozen=True):
    """int64 comes as text, an unset field not at all."""

    id: str
    name: str = ""
    type: str = ""
    category: str = ""


class _Row(msgspec.Struct, frozen=True, rename="camel"):
    conversion_action: Action


class _Page(msgspec.Struct, frozen=True, rename="camel"):
    results: list[_Row] = []
    next_page_token: str = ""


_PAGES = msgspec.json.Decoder(_Page, strict=False)


def judge(request: Request, response: Response) -> None:
    """Raise what an answer means (contract google 3.3); all requests here are reads."""
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
        raise Unavailable(f"the Google Ads API answered {status}")
    raise Refused(f"the Google Ads API refused the request ({status} {reason or 'unnamed'})", code=reason or "refused")


async def actions(account: Account, customer: str, login: str | None) -> list[Action]:
    """Every enabled conversion action of a customer.

    Raises:
        AuthError, Throttled, Unavailable, Refused, Drift: Google's answer.
    """
    headers = {**JSON_HEADERS, **({"login-customer-id": login} if login else {})}
    url = f"/{VERSION}/customers/{customer}/googleAds:search"
    found: list[Action] = []
    token = ""
    for _ in range(_PAGES_MAX):
        body = msgspec.json.encode({"query": _QUERY, **({"pageToken": token} if token else {})})
        answer = await account.send(Request("POST", url, headers=headers, body=body, is_safe=True))
        page = _read(answer.body)
        found += [row.conversion_action for row in page.results]
        token = page.next_page_token
        if not token:
            return found
    raise Drift("the Google Ads API's list of conversion actions does not end")


def _read(body: bytes) -> _Page:
    try:
        return _PAGES.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Drift("the Google Ads API answered something else than a list of conversion actions") from None


def targets(found: Sequence[Action]) -> tuple[Target, ...]:
    """Conversion actions as ``bridge init`` shows them; only imported clicks take uploads (contract google 2.3)."""
    return tuple(_target(action) for action in found)


def _target(action: Action) -> Target:
    kind = f"{action.type}, {action.category}" if action.category else action.type
    means = _MEANS.get(action.category, "")
    is_usable = action.type == _UPLOADED
    note = "" if is_usable else "not of the kind import from clicks"
    return Target(action.id, action.name, kind, means, is_usable, note)
