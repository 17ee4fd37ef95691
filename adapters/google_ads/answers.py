"""What Data Manager's answers mean: error classes, one outcome per row, verdicts. Pure.

Decisions rest on status, ``reason`` codes and field paths, never on prose (contract google, head note).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from adapters.google_ads import wire
from adapters.google_ads.auth import TOKEN_CALL, judge_token
from bridge.errors import Ambiguous, AuthError, Drift, Refused, Throttled, Unavailable
from bridge.frozen import frozen
from bridge.ports import Answer, Fate, RowOutcome
from bridge.tools import Request, Response

INGEST_CALL = "ingest"  # request scopes: Google counts the two quotas apart (contract google 2.8)
STATUS_CALL = "status"
TOO_YOUNG = "CONVERSION_ACTION_TOO_RECENTLY_CREATED"
YOUNG_ACTION = timedelta(hours=6)  # a new conversion action is unusable for up to 6 h (contract google 10.3)
NOT_FOUND_WAIT = timedelta(hours=1)  # a just-created action may be "not found" for a while (contract google 10.9)
DAY_QUOTA_WAIT = 3600.0  # seconds; the hour of the daily reset is not documented, so look again every hour

JSON_HEADERS = {"Content-Type": "application/json"}
_EVENT_INDEX = re.compile(r"events\[(\d+)\]")
_LATER = frozenset({"INTERNAL_ERROR", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"})
# Reasons only an operator can remove, wherever the path points, with what to do (contract google 2.7).
_SETUP = {
    "INVALID_DESTINATION": "check customer_id, login_customer_id and the conversion action id",
    "INVALID_CONVERSION_ACTION_ID": "the goal's conversion action does not exist in this account; correct its id",
    "INVALID_CONVERSION_ACTION_TYPE": "the conversion action must be of type UPLOAD_CLICKS (import from clicks)",
    "DUPLICATE_DESTINATION_REFERENCE": "report this as a defect of the bridge",
    "LINKED_ACCOUNT_ONLY_ALLOWED_WITH_DATA_PARTNER_LOGIN_ACCOUNT": "report this as a defect of the bridge",
    "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH": "login_customer_id is no manager of customer_id; correct or remove it",
    "DESTINATION_ACCOUNT_TYPE_MISMATCH": "customer_id is no Google Ads account",
    "EVENT_SOURCE_AND_DESTINATION_MISMATCH": "the conversion action does not take this event_source; change it",
    "CUSTOM_VARIABLE_NOT_ENABLED": "switch the custom variable on in the account",
    "TERMS_AND_CONDITIONS_NOT_SIGNED": "sign the terms in the Google Ads account",
    "DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS": (
        "turn on enhanced conversions for leads in the account, or set send_persons = false"
    ),
    "DESTINATION_ACCOUNT_DATA_POLICY_PROHIBITS_ENHANCED_CONVERSIONS": "set send_persons = false",
    "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED": (
        "accept the customer data terms in the account, or set send_persons = false"
    ),
    "NOT_ALLOWLISTED": "this use needs Google's permission; ask their support",
    "EU_POLITICAL_ADVERTISING_DECLARATION_REQUIRED": "declare political advertising in the account",
}
_FORBIDDEN = {
    "SERVICE_DISABLED": "the Data Manager API is switched off; enable it in the Cloud project",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "the token lacks the datamanager scope; authorise again with it",
    "PERMISSION_DENIED": (
        "no way to the Google Ads account; make the service account or user a member of it "
        "(Access and security), and leave login_customer_id out unless access goes through that manager"
    ),
}


# --- error classes -----------------------------------------------------------------------------------------------


def judge(request: Request, response: Response) -> None:
    """Raise what an answer means (contract google 2.7); return when it can be read as an answer.

    A 400 or 404 with Google's error body is such an answer: it is about rows, destinations or a request id, and
    only the caller knows which. An unsafe ingest that met a 5xx may have been stored: Ambiguous.
    """
    if request.scope == TOKEN_CALL:
        judge_token(request, response)
        return
    status = response.status
    if status == 200:
        _parse(response.body)
        return
    error = wire.read_error(response.body)
    if status == 429:
        raise Throttled("Google's quota is used up", retry_after=_retry_after(response, error))
    if status == 401:
        raise AuthError(f"Google refused the access token ({error.reason if error else status})")
    if status == 403:
        raise _forbidden(error)
    if status == 409:
        raise Unavailable("Google met concurrent changes (ABORTED)")
    if status == 408 or status >= 500:
        raise (Unavailable if request.is_safe else Ambiguous)(f"Google answered {status}")
    if status not in (400, 404) or error is None:
        raise Drift(f"Google answered {status} in an unknown form; check base_url")


def _parse(body: bytes) -> None:
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise Drift("Google's answer is cut or no JSON; check base_url if this persists") from None


def _retry_after(response: Response, error: wire.GoogleError | None) -> float | None:
    if response.retry_after is not None:
        return response.retry_after
    limit = error.metadata.get("quota_limit", "") if error else ""
    return DAY_QUOTA_WAIT if "PerDay" in limit else None


def _forbidden(error: wire.GoogleError | None) -> AuthError:
    reason = error.reason if error else "403"
    advice = _FORBIDDEN.get(reason, _FORBIDDEN["PERMISSION_DENIED"])
    project = error.metadata.get("consumer", "") if error else ""
    where = f" ({project})" if project else ""
    return AuthError(f"Google forbids it, {reason}{where}: {advice}", is_final=True)


# --- a refused ingest --------------------------------------------------------------------------------------------


@frozen
class Complaint:
    """One violation: its code, the row it names (if any), and the first part of its path."""

    code: str
    row: int | None
    place: str

    @property
    def names_row(self) -> bool:
        return self.row is not None and self.code not in _SETUP


def complaints(error: wire.GoogleError, size: int) -> list[Complaint]:
    """The violations of an error; its ErrorInfo reason alone when there are none."""
    found = [_complaint(violation, error.status, size) for violation in error.violations]
    return found or [Complaint(error.reason or "INVALID_ARGUMENT", None, "")]


def _complaint(violation: wire.FieldViolation, status: str, size: int) -> Complaint:
    match = _EVENT_INDEX.search(violation.field)
    row = int(match[1]) if match and int(match[1]) < size else None
    place = re.split(r"[.\[]", violation.field, maxsplit=1)[0]
    return Complaint(violation.reason or status or "INVALID_ARGUMENT", row, place)


def refused(error: wire.GoogleError, rows: Sequence[str], now: datetime) -> Answer:
    """One outcome for every row of a request that was refused whole, with nothing stored (contract google 2.7).

    Rows that are named are rejected, the others go again. Where no row is named the batch is split, down to one row.

    Raises:
        Refused: the complaint is about the account, the destination or the request itself.
    """
    found = complaints(error, len(rows))
    codes = {complaint.code for complaint in found}
    if TOO_YOUNG in codes:
        return everyone(rows, Fate.AGAIN, TOO_YOUNG, now + YOUNG_ACTION)
    named = {complaint.row: complaint.code for complaint in reversed(found) if complaint.names_row}
    if named:
        return Answer(tuple(_set_aside(delivery, named.get(index)) for index, delivery in enumerate(rows)))
    _raise_setup(found)
    if codes & _LATER:
        return everyone(rows, Fate.AGAIN, min(codes & _LATER))
    return Answer.halved(rows, found[0].code)


def not_found(rows: Sequence[str], now: datetime) -> Answer:
    """Every row again in an hour: the conversion action may be minutes old. ``check`` tells of one that never comes."""
    return everyone(rows, Fate.AGAIN, "NOT_FOUND", now + NOT_FOUND_WAIT)


def _set_aside(delivery: str, code: str | None) -> RowOutcome:
    if code is None:
        return RowOutcome(delivery, Fate.AGAIN, "beside_a_bad_row")
    return RowOutcome(delivery, Fate.REJECTED, code)


def advice(code: str) -> str:
    """A code with what to do about it."""
    if code == TOO_YOUNG:
        return f"{code}: it was created less than 6 hours ago; deliveries wait"
    return f"{code}: {_SETUP.get(code, 'check the id, the account and its access')}"


def _raise_setup(found: Sequence[Complaint]) -> None:
    for complaint in found:
        if complaint.code in _SETUP:
            raise Refused(f"Google refuses the batch, {complaint.code}: {_SETUP[complaint.code]}", code=complaint.code)
    for complaint in found:
        if complaint.place not in ("", "events"):
            message = f"Google refuses {complaint.place} of the request, {complaint.code}: check the settings"
            raise Refused(message, code=complaint.code)


def everyone(rows: Sequence[str], fate: Fate, code: str, not_before: datetime | None = None) -> Answer:
    """The same outcome for every row."""
    return Answer(tuple(RowOutcome(delivery, fate, code, not_before) for delivery in rows))


def accepted(response: Response, rows: Sequence[str]) -> tuple[Answer, wire.IngestResponse]:
    """All rows accepted, with the receipt. Accepted means received: verdicts come with the request status.

    Raises:
        Drift: the body is cut, or has no requestId.
    """
    try:
        body = _INGESTED.decode(response.body)
    except msgspec.DecodeError:
        raise Drift("Google's answer to an upload cannot be read") from None
    if not body.request_id:
        raise Drift("Google's answer to an upload has no requestId")
    return Answer.alike(rows, Fate.ACCEPTED, receipt={"request_id": body.request_id}), body


_INGESTED = msgspec.json.Decoder(wire.IngestResponse)
