"""Request status to verdicts (contract google 2.9). Google counts by reason and names no row. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from adapters.google_ads import wire
from bridge.errors import Drift, Refused
from bridge.ports import RowVerdict, Seen
from bridge.tools import Response

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
_GONE = frozenset({"REQUEST_TOO_OLD", "INVALID_REQUEST_ID"})
# One row with several reasons: the one that tells most.
_RANK = (Seen.VERIFIED, Seen.REJECTED, Seen.UNLINKED, Seen.UNKNOWN)


def read_status(response: Response, rows: Sequence[str]) -> list[RowVerdict] | None:
    """Verdicts on the rows of one request; None while Google still works on it (or does not know it yet: 404).

    ``unknown`` with a code such as ``3_of_40:CLICK_NOT_FOUND`` says how many of the rows failed for what; which ones
    they are Google does not tell. A request id that Google no longer has is ``unknown`` too.

    Raises:
        Drift: the body cannot be read, or has no status for our destination.
        Refused: the status call itself is refused.
    """
    if response.status == 404:
        return None
    if response.status != 200:
        return _no_status(response, rows)
    try:
        body = _STATUS.decode(response.body)
    except msgspec.DecodeError:
        raise Drift("Google's request status cannot be read") from None
    if not body.request_status_per_destination:
        raise Drift("Google's request status names no destination")
    return _verdicts(body.request_status_per_destination[0], rows)


def _no_status(response: Response, rows: Sequence[str]) -> list[RowVerdict]:
    error = wire.read_error(response.body) or wire.GoogleError()
    # The field's reason tells more than the general one (contract google 11: read both).
    reasons = [*(violation.reason for violation in error.violations if violation.reason), error.reason]
    for reason in reasons:
        if reason in _GONE:
            return _all(rows, Seen.UNKNOWN, reason)
    raise Refused(f"Google refuses to tell a request's status ({reasons[0]})", code=reasons[0])


def _verdicts(status: wire.DestinationStatus, rows: Sequence[str]) -> list[RowVerdict] | None:
    if status.request_status == "SUCCESS":
        return _all(rows, Seen.VERIFIED)
    if status.request_status not in ("FAILED", "PARTIAL_SUCCESS"):
        return None
    counts = {_plain(item.reason): item.count for item in status.error_info.error_counts} if status.error_info else {}
    if not counts:
        # A single row without counted errors was accepted (contract google 2.13); a bare failure tells nothing.
        if len(rows) == 1 and status.request_status == "PARTIAL_SUCCESS":
            return _all(rows, Seen.VERIFIED)
        return _all(rows, Seen.UNKNOWN, status.request_status)
    if len(rows) == 1:
        code = min(counts, key=lambda reason: _RANK.index(_seen(reason)))
        return _all(rows, _seen(code), code)
    if set(counts) <= _DONE:
        return _all(rows, Seen.VERIFIED, "+".join(sorted(counts)))
    ((reason, count), *others) = counts.items()
    if not others and count >= len(rows):
        return _all(rows, _seen(reason), reason)
    return _all(rows, Seen.UNKNOWN, _tally(counts, len(rows)))


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
