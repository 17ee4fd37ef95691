"""What the simulated Google Ads reports say of conversions: sums of each action and day, in the account's time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from adapters.google_ads.fake_ads import FakeAction, FakeCustomer, failure
from adapters.google_ads.fake_books import Booked

_QUERY = re.compile(
    r"SELECT segments\.conversion_action, segments\.date, metrics\.all_conversions_by_conversion_date FROM customer "
    r"WHERE segments\.date BETWEEN '([0-9]{4}-[0-9]{2}-[0-9]{2})' AND '([0-9]{4}-[0-9]{2}-[0-9]{2})'"
)


def is_asked(query: str) -> bool:
    """Whether a query is of conversions by day."""
    return _QUERY.fullmatch(query.strip()) is not None


def problem(account: FakeCustomer) -> dict[str, Any] | None:
    """Why there are no metrics of an account (contract google 4.1)."""
    return failure("queryError", "REQUESTED_METRICS_FOR_MANAGER") if account.is_manager else None


def report(
    query: str, booked: Iterable[Booked], actions: Iterable[FakeAction], customer: str, account: FakeCustomer
) -> dict[str, Any]:
    """The answer. Days without conversions give no row (contract google 4.1)."""
    match = _QUERY.fullmatch(query.strip())
    assert match is not None
    first, last = date.fromisoformat(match[1]), date.fromisoformat(match[2])
    listed = {action.id: action for action in actions}
    sums: Counter[tuple[str, date]] = Counter()
    clicks: set[tuple[str, str]] = set()
    zone = ZoneInfo(account.zone)
    for one in sorted(booked, key=_time):
        action = listed.get(one.action)
        if not one.is_linked or one.is_retracted or one.is_lost or action is None:
            continue
        if action.counting == "ONE_PER_CLICK" and (one.action, one.identifier) in clicks:
            continue
        clicks.add((one.action, one.identifier))
        sums[one.action, one.at.astimezone(zone).date()] += 1
    rows = [
        {
            "customer": {"resourceName": f"customers/{customer}"},
            "segments": {"conversionAction": f"customers/{customer}/conversionActions/{number}", "date": str(day)},
            "metrics": {"allConversionsByConversionDate": count * listed[number].share},
        }
        for (number, day), count in sorted(sums.items())
        if first <= day <= last
    ]
    mask = "segments.conversionAction,segments.date,metrics.allConversionsByConversionDate"
    return {**({"results": rows} if rows else {}), "fieldMask": mask}


def _time(one: Booked) -> datetime:
    return one.at
