"""Request status to verdicts (contract google 2.9). Google counts by reason and names no row. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from adapters.google_ads import wire
from bridge.errors import Drift, Refused
from bridge.frozen import frozen, replace
from bridge.ports import RowVerdict, Seen
from bridge.tools import DriftCounts, Response

_PREFIXES = ("PROCESSING_ERROR_REASON_", "PROCESSING_ERROR_")
_DONE = frozenset({"DUPLICATE_GCLID", "DUPLICATE_TRANSACTION_ID"})
# Received, but no click to give it to.
_UNLINKED = frozenset(
    {
        "CLICK_NOT_FOUND",
        "CONVERSION_PRECEDES_CLICK",
        "EVENT_TOO_OLD",
        "INVALID_AD_IDENTIFIERS",
        "INVALID_CLICK",
        "INVALID_GBRAID",
        "INVALID_GCLID",
        "INVALID_OPERATING_ACCOUNT_FOR_CLICK",
        "INVALID_WBRAID",
        "OPERATING_ACCOUNT_MISMATCH_FOR_AD_IDENTIFIER",
        "TOO_RECENT_CLICK",
    }
)
_UNSETTLED = frozenset({"INTERNAL_ERROR"})
# Refused, by the lead's, the row's or the account's fault; and what concerns other uses of the API.
_REFUSED = frozenset(
    {
        "CUSTOM_VARIABLE_NOT_ENABLED",
        "DENIED_CONSENT",
        "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED",
        "EXTERNAL_ATTRIBUTION_DATA_MISSING",
        "INVALID_CUSTOM_VARIABLE",
        "INVALID_EVENT",
        "INVALID_FORMAT",
        "INVALID_MERCHANT_ID",
        "NO_CONSENT",
        "ONE_PER_CLICK_CONVERSION_ACTION_NOT_PERMITTED_WITH_BRAID",
        "ORIGINAL_CONVERSIONS_NOT_FOUND",
        "UNKNOWN_CONSENT",
    }
)
_KNOWN = _DONE | _UNLINKED | _UNSETTLED | _REFUSED
_FIELDS = {
    "": frozenset({"requestStatusPerDestination"}),
    "requestStatusPerDestination": frozenset(
        {"destination", "requestStatus", "errorInfo", "warningInfo", "eventsIngestionStatus"}
        | {"audienceMembersIngestionStatus"}
    ),
    "errorInfo": frozenset({"errorCounts"}),
    "errorCounts": frozenset({"recordCount", "reason"}),
    "warningInfo": frozenset({"warningCounts"}),
    "warningCounts": frozenset({"recordCount", "reason"}),
    "eventsIngestionStatus": frozenset({"recordCount"}),
}
_STATUSES = frozenset({"REQUEST_STATUS_UNKNOWN", "SUCCESS", "PROCESSING", "FAILED", "PARTIAL_SUCCESS"})


@frozen
class _Passing:
    """A reason that time takes away: how long to wait, and how often to try again at most."""

    after: timedelta
    times: int


# A click is too recent for six hours, by the other API's word (contract google 2.9, 3.4): tried for two days.
_PASSING = {"TOO_RECENT_CLICK": _Passing(timedelta(hours=6), 8), "INTERNAL_ERROR": _Passing(timedelta(minutes=30), 2)}
_GONE = frozenset({"REQUEST_TOO_OLD", "INVALID_REQUEST_ID"})
# One row with several reasons: the one that tells most.
_RANK = (Seen.VERIFIED, Seen.REJECTED, Seen.UNLINKED, Seen.UNKNOWN)


@frozen
class Asked:
    """What a status is read for: the rows of one request, by delivery with their attempts, and the time now.

    ``resendable``: rows whose windows would still let them go; ``may_split``: calls are left to send parts again.
    """

    attempts: Mapping[str, int]
    now: datetime
    resendable: frozenset[str]
    may_split: bool

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(self.attempts)


def read_status(response: Response, asked: Asked, drift: DriftCounts) -> list[RowVerdict] | None:
    """Verdicts on the rows of one request; None while Google still works on it (or does not know it yet: 404).

    Where some of several rows failed, all go again in smaller requests until each failure stands alone: Google does
    not tell which they are, and a transaction id that is there already is not counted anew (contract google 2.10).
    ``unknown`` with a code such as ``3_of_40:CLICK_NOT_FOUND`` where that is not possible. A request id that Google no
    longer has is ``unknown`` too.

    Raises:
        Drift: the body cannot be read, or has no status for our destination.
        Refused: the status call itself is refused.
    """
    if response.status == 404:
        return None
    if response.status != 200:
        return _no_status(response, asked.rows)
    try:
        body = _STATUS.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Drift("Google's request status cannot be read") from None
    if not body.request_status_per_destination:
        raise Drift("Google's request status names no destination")
    status = body.request_status_per_destination[0]
    drift.note_fields(msgspec.json.decode(response.body), _FIELDS)
    _note_drift(status, drift)
    return _verdicts(status, asked)


def _note_drift(status: wire.DestinationStatus, drift: DriftCounts) -> None:
    """Count what the contract does not have (google 2.9)."""
    if status.request_status not in _STATUSES:
        drift.note("request status", status.request_status)
    for reason in _counts(status):
        if reason not in _KNOWN:
            drift.note("processing error", reason)


def _no_status(response: Response, rows: Sequence[str]) -> list[RowVerdict]:
    error = wire.read_error(response.body) or wire.GoogleError()
    # The field's reason tells more than the general one (contract google 11: read both).
    reasons = [*(violation.reason for violation in error.violations if violation.reason), error.reason]
    for reason in reasons:
        if reason in _GONE:
            return _all(rows, Seen.UNKNOWN, reason)
    raise Refused(f"Google refuses to tell a request's status ({reasons[0]})", code=reasons[0])


def _counts(status: wire.DestinationStatus) -> dict[str, int]:
    return {_plain(item.reason): item.count for item in status.error_info.error_counts} if status.error_info else {}


def _verdicts(status: wire.DestinationStatus, asked: Asked) -> list[RowVerdict] | None:
    rows = asked.rows
    if status.request_status == "SUCCESS":
        return _all(rows, Seen.VERIFIED)
    if status.request_status not in ("FAILED", "PARTIAL_SUCCESS"):
        return None
    counts = _counts(status)
    if not counts:
        # A single row without counted errors was accepted (contract google 2.13); a bare failure tells nothing.
        if len(rows) == 1 and status.request_status == "PARTIAL_SUCCESS":
            return _all(rows, Seen.VERIFIED)
        return _all(rows, Seen.UNKNOWN, status.request_status)
    if len(rows) == 1:
        return [_alone(rows[0], min(counts, key=lambda reason: _RANK.index(_seen(reason))), asked)]
    if set(counts) <= _DONE:
        return _all(rows, Seen.VERIFIED, "+".join(sorted(counts)))
    ((reason, count), *others) = counts.items()
    if not others and count >= len(rows):
        return [_alone(row, reason, asked) for row in rows]
    return _split(rows, counts, asked)


def _alone(row: str, reason: str, asked: Asked) -> RowVerdict:
    """What a reason means for a row that surely has it. Some pass with time (contract google 2.9): those go again."""
    attempt = asked.attempts[row]
    again = _PASSING.get(reason)
    if again is not None and attempt < again.times and row in asked.resendable:
        return RowVerdict(row, Seen.AGAIN, reason, asked.now + again.after)
    return RowVerdict(row, _seen(reason), reason)


def _split(rows: Sequence[str], counts: dict[str, int], asked: Asked) -> list[RowVerdict]:
    """All again in parts, half of which ought to be without a failure; a part is never more than half of the whole."""
    code = _tally(counts, len(rows))
    if not asked.may_split:
        return _all(rows, Seen.UNKNOWN, code)
    failed = max(1, sum(count for reason, count in counts.items() if reason not in _DONE))
    size = max(1, min(len(rows) // 2, len(rows) // (2 * failed)))
    again = RowVerdict("", Seen.AGAIN, code, asked.now, size)
    stays = RowVerdict("", Seen.UNKNOWN, code)
    return [replace(again if row in asked.resendable else stays, delivery=row) for row in rows]


def _tally(counts: dict[str, int], total: int) -> str:
    failed = sorted(((reason, count) for reason, count in counts.items() if reason not in _DONE), key=lambda c: -c[1])
    return "+".join(f"{count}_of_{total}:{reason}" for reason, count in failed)


def _plain(reason: str) -> str:
    for prefix in _PREFIXES:
        if reason.startswith(prefix):
            return reason.removeprefix(prefix)
    return reason or "UNNAMED"


def _seen(reason: str) -> Seen:
    if reason in _DONE:
        return Seen.VERIFIED
    if reason in _UNLINKED:
        return Seen.UNLINKED
    return Seen.UNKNOWN if reason in _UNSETTLED else Seen.REJECTED


def _all(rows: Sequence[str], seen: Seen, code: str = "") -> list[RowVerdict]:
    return [RowVerdict(delivery, seen, code) for delivery in rows]


_STATUS = msgspec.json.Decoder(wire.RequestStatus)
