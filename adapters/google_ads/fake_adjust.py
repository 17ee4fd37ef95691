"""A simulated ``uploadConversionAdjustments``: retractions and restatements by order id (contract google 3.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from adapters.google_ads.fake_ads import camel, failure_detail
from adapters.google_ads.fake_books import Books
from adapters.google_ads.fake_checks import Rules

PATH = r"/v26/customers/{customer:[0-9]+}:uploadConversionAdjustments"
MOST = 2000
AGE_MAX = timedelta(days=54)
_ERROR = "conversionAdjustmentUploadError"
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d")


def whole_problem(request: dict[str, Any]) -> tuple[str, str] | None:
    """Why a request is refused whole: kind and code of the error."""
    if not request.get("partial_failure"):
        return "partialFailureError", "PARTIAL_FAILURE_MODE_REQUIRED"
    size = len(request.get("conversion_adjustments", ()))
    if size > MOST:
        return _ERROR, "TOO_MANY_ADJUSTMENTS_IN_REQUEST"
    return None if size else ("fieldError", "REQUIRED")


def upload(request: dict[str, Any], customer: str, books: Books, rules: Rules, now: datetime) -> dict[str, Any]:
    """Carry out what is right and name what is not, row by row; ``validateOnly`` carries out nothing."""
    rows = request["conversion_adjustments"]
    desk = _Desk(customer, books, rules, now, is_dry=bool(request.get("validate_only")))
    errors, results = [], []
    for index, row in enumerate(rows):
        problem = desk.problem(row)
        if problem is None:
            desk.carry_out(row)
            shown = ("conversion_action", "adjustment_date_time", "order_id", "adjustment_type")
            results.append({camel(name): row[name] for name in shown if name in row})
        else:
            results.append({})
            # Index 0 is left out: the field has presence, and servers may do so (contract google 3.2).
            element = {"fieldName": "conversion_adjustments", **({"index": index} if index else {})}
            errors.append({**problem, "location": {"fieldPathElements": [element]}})
    answer: dict[str, Any] = {} if desk.is_dry else {"results": results, "jobId": "2147483655"}
    if errors:
        # In another order than the rows: only the paths tell (contract google 10.5).
        details = [failure_detail(list(reversed(errors)))]
        answer["partialFailureError"] = {"code": 3, "message": "Multiple errors in 'details'.", "details": details}
    return answer


class _Desk:
    """One request's adjustments, looked at one by one."""

    def __init__(self, customer: str, books: Books, rules: Rules, now: datetime, *, is_dry: bool) -> None:
        self._customer = customer
        self._books = books
        self._rules = rules
        self._now = now
        self._seen: set[tuple[str, str]] = set()
        self.is_dry = is_dry

    def problem(self, row: dict[str, Any]) -> dict[str, Any] | None:
        for kind, code in self._problems(row):
            return {"errorCode": {kind: code}, "message": "refused"}
        return None

    def _problems(self, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """In the order in which they are looked for."""
        if not self._rules.may_adjust:
            yield "notAllowlistedError", "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE"
        if not _TIME.fullmatch(row.get("adjustment_date_time", "")):
            yield "dateError", "INVALID_STRING_DATE_TIME_SECONDS_WITH_OFFSET"
            return
        if "order_id" in row and "gclid_date_time_pair" in row:
            yield _ERROR, "GCLID_DATE_TIME_PAIR_AND_ORDER_ID_BOTH_SET"
        place = self._place(row)
        if place is None:
            yield _ERROR, "NO_CONVERSION_ACTION_FOUND"
            return
        if place in self._seen:
            yield _ERROR, "DUPLICATE_ADJUSTMENT_IN_REQUEST"
        self._seen.add(place)
        yield from self._of_conversion(row, place)

    def _place(self, row: dict[str, Any]) -> tuple[str, str] | None:
        """Order id and conversion action: how a conversion is known; None without an action of this account."""
        match = re.fullmatch(r"customers/([0-9]+)/conversionActions/([0-9]+)", row.get("conversion_action", ""))
        known = self._rules.actions
        if match is None or match[1] != self._customer or (known is not None and match[2] not in known):
            return None
        return row.get("order_id", ""), match[2]

    def _of_conversion(self, row: dict[str, Any], place: tuple[str, str]) -> Iterator[tuple[str, str]]:
        booked = self._books.booked(*place)
        if booked is None or booked.is_braid:
            yield _ERROR, "CONVERSION_NOT_FOUND"
            return
        if booked.is_retracted:
            yield _ERROR, "CONVERSION_ALREADY_RETRACTED"
        if datetime.fromisoformat(row["adjustment_date_time"]) <= booked.at:
            yield _ERROR, "ADJUSTMENT_PRECEDES_CONVERSION"
        if self._now - booked.at > AGE_MAX:
            yield _ERROR, "CONVERSION_EXPIRED"

    def carry_out(self, row: dict[str, Any]) -> None:
        place = self._place(row)
        if self.is_dry or place is None:
            return
        if row.get("adjustment_type") == "RETRACTION":
            self._books.retract(*place)
        elif row.get("adjustment_type") == "RESTATEMENT":
            self._books.revalue(*place, row.get("restatement_value", {}).get("adjusted_value"))
