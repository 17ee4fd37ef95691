"""Retractions by the Google Ads API: a conversion and its count are taken back for good (contract google 3.5). Pure.

The Data Manager API can only make a conversion worth 0. Whether the Ads API finds conversions that came by the other
one, and whether a new project may call it, is not documented (contract google 11): off unless ``retract`` says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from adapters.google_ads.ads_api import VERSION, Failure, Status
from adapters.google_ads.settings import GoogleAdsSettings
from adapters.google_ads.wire import Sent
from bridge.errors import Drift, Refused
from bridge.model import IdKind, Outgoing
from bridge.ports import Answer, Fate, RowOutcome, Sealed
from bridge.tools import DriftCounts, Response

MOST = 2000  # per request (contract google 3.3)
AGE_MAX = timedelta(days=54)  # of the conversion (contract google 3.4)
_BEGINNING = b'{"conversionAdjustments":'
_DONE = "CONVERSION_ALREADY_RETRACTED"
# Reasons that time may take away, with how long to wait; tried so often. A conversion may be "not found" until its
# upload by the other API is through, which takes up to a day.
_PASSING = {
    "TOO_RECENT_CONVERSION_ACTION": timedelta(hours=6),
    "TOO_RECENT_CONVERSION": timedelta(hours=6),
    "CONVERSION_NOT_FOUND": timedelta(hours=12),
    "INTERNAL_ERROR": timedelta(minutes=30),
    "TRANSIENT_ERROR": timedelta(minutes=30),
}
_TIMES = 5
_FINAL = frozenset(
    {
        "ADJUSTMENT_PRECEDES_CONVERSION",
        "CONVERSION_EXPIRED",
        "DUPLICATE_ADJUSTMENT_IN_REQUEST",
        "GCLID_DATE_TIME_PAIR_AND_ORDER_ID_BOTH_SET",
        "MISSING_ORDER_ID_FOR_WEBPAGE",
        "MORE_RECENT_RESTATEMENT_FOUND",
        "ORDER_ID_CONTAINS_PII",
        "TOO_MANY_ADJUSTMENTS",
    }
)
# Reasons only an operator can remove: they stop the batch and say so.
SETUP = {
    "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE": "this Cloud project may not adjust conversions; set retract = false",
    "CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS": "accept the customer data terms in the account",
    "NO_CONVERSION_ACTION_FOUND": "the goal's conversion action does not exist in this account; correct its id",
    "INVALID_CONVERSION_ACTION_TYPE": "the conversion action must be of type UPLOAD_CLICKS (import from clicks)",
    "USER_PERMISSION_DENIED": "give the credentials standard access to the account, or set retract = false",
}
KNOWN = frozenset({_DONE, *_PASSING, *_FINAL, *SETUP})


class _Adjustment(Sent, frozen=True, kw_only=True):
    order_id: str
    conversion_action: str
    adjustment_type: str
    adjustment_date_time: str


class _Request(Sent, frozen=True, kw_only=True):
    conversion_adjustments: tuple[_Adjustment, ...]
    partial_failure: bool


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    partial_failure_error: Status | None = None


_FIELDS: Mapping[str, frozenset[str]] = {"": frozenset({"partialFailureError", "results", "jobId"})}
_ANSWERS = msgspec.json.Decoder(_Answer)


def is_one(row: Outgoing, settings: GoogleAdsSettings) -> bool:
    """Whether a row goes this way; by wbraid it cannot, and is made worth 0 (contract google 3.5)."""
    if not settings.retract or row.retracted_at is None:
        return False
    return row.first(IdKind.GCLID, IdKind.GBRAID) is not None or row.first(IdKind.WBRAID) is None


def path(customer: str) -> str:
    """Where requests go."""
    return f"/{VERSION}/customers/{customer}:uploadConversionAdjustments"


def render(rows: Sequence[Outgoing], settings: GoogleAdsSettings) -> bytes:
    """The UploadConversionAdjustmentsRequest of these rows; the same for the same rows."""
    made = _Request(conversion_adjustments=tuple(_one(row, settings) for row in rows), partial_failure=True)
    return msgspec.json.encode(made)


def is_body(body: bytes) -> bool:
    """Whether these bytes are a request of this API."""
    return body.startswith(_BEGINNING)


def _one(row: Outgoing, settings: GoogleAdsSettings) -> _Adjustment:
    at = max(row.retracted_at or row.occurred_at, row.occurred_at + timedelta(seconds=1))
    return _Adjustment(
        order_id=row.order_key,  # mandatory, since the original had one
        conversion_action=f"customers/{settings.customer_id}/conversionActions/{row.target}",
        adjustment_type="RETRACTION",
        # A space, and an offset that is mandatory (contract google 10.12).
        adjustment_date_time=f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00:00",
    )


def read(response: Response, batch: Sealed, now: datetime, drift: DriftCounts) -> Answer:
    """One outcome for every row. Errors are found by the index in their paths, never by their order (contract 10.5).

    Raises:
        Drift: the body cannot be read, or an error names none of the rows.
        Refused: something that concerns the account, the project or the conversion action.
    """
    try:
        body = _ANSWERS.decode(response.body)
        drift.note_fields(msgspec.json.decode(response.body), _FIELDS)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Drift("the Google Ads API's answer to adjustments cannot be read") from None
    failed = _failed(body.partial_failure_error, len(batch.rows))
    for code in failed.values():
        if code in SETUP:
            raise Refused(f"Google refuses retractions, {code}: {SETUP[code]}", code=code)
        if code not in KNOWN:
            drift.note("adjustment error", code)
    outcomes = [_outcome(row, failed.get(index), batch.attempt, now) for index, row in enumerate(batch.rows)]
    return Answer(tuple(outcomes), {"adjusted": str(len(batch.rows) - len(failed))})


def _outcome(row: str, code: str | None, attempt: int, now: datetime) -> RowOutcome:
    if code is None:
        return RowOutcome(row, Fate.ACCEPTED)
    if code == _DONE:
        return RowOutcome(row, Fate.ACCEPTED, code)
    wait = _PASSING.get(code)
    if wait is not None and attempt <= _TIMES:
        return RowOutcome(row, Fate.AGAIN, code, now + wait)
    return RowOutcome(row, Fate.REJECTED, code)


def _failed(status: Status | None, size: int) -> dict[int, str]:
    """The first error of each row that has any."""
    if status is None:
        return {}
    found: dict[int, str] = {}
    for failure in status.details:
        for error in failure.errors:
            index = _index(error)
            if index is None or index >= size:
                raise Drift(f"the Google Ads API names no row for {error.code}")
            found.setdefault(index, error.code)
    if not found:
        raise Drift("the Google Ads API tells of failed adjustments and names none")
    return found


def _index(error: Failure) -> int | None:
    """Index 0 may be left out (contract google 3.2); the first element is the list of adjustments."""
    elements = error.location.field_path_elements if error.location else ()
    return (elements[0].index or 0) if elements else None
