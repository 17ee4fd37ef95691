"""Google Sheets' JSON, and what its answers mean (contract tables A2, A4). Pure.

Decisions rest on status codes and reasons, never on prose: the texts of Google's messages are not verified.
"""

from __future__ import annotations

import msgspec

from adapters.table.auth import TOKEN_CALL, judge_token
from bridge.errors import AuthError, Drift, Refused, Throttled, Unavailable
from bridge.tools import Request, Response

QUOTA_WAIT = 30.0  # seconds; the quota is filled again each minute, so the third attempt meets a full one

Cell = str | int | float | bool | None


class Read(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what comes in; fields that are not read are ignored."""


class SpreadsheetProperties(Read, frozen=True, kw_only=True):
    title: str = ""
    locale: str = ""
    time_zone: str = ""


class GridProperties(Read, frozen=True, kw_only=True):
    row_count: int = 0
    column_count: int = 0


class SheetProperties(Read, frozen=True, kw_only=True):
    """``grid_properties`` is absent of sheets that hold a chart and no cells."""

    sheet_id: int = 0
    title: str
    hidden: bool = False
    grid_properties: GridProperties | None = None


class Sheet(Read, frozen=True, kw_only=True):
    properties: SheetProperties


class Spreadsheet(Read, frozen=True, kw_only=True):
    properties: SpreadsheetProperties
    sheets: tuple[Sheet, ...] = ()


class ValueRange(Read, frozen=True, kw_only=True):
    """Rows of a range: without trailing empty cells and rows, without ``values`` if all are empty."""

    values: list[list[Cell]] = []


class ValueRanges(Read, frozen=True, kw_only=True):
    value_ranges: list[ValueRange]


class Detail(Read, frozen=True, kw_only=True):
    reason: str = ""


class GoogleError(Read, frozen=True, kw_only=True):
    status: str = ""
    details: tuple[Detail, ...] = ()


class ErrorBody(Read, frozen=True, kw_only=True):
    error: GoogleError


def read_spreadsheet(body: bytes) -> Spreadsheet:
    """What a spreadsheet says of itself.

    Raises:
        Drift: unreadable.
    """
    try:
        return _SPREADSHEETS.decode(body)
    except msgspec.DecodeError:
        raise _strange() from None


def read_ranges(body: bytes, count: int) -> list[ValueRange]:
    """As many ranges as were asked for.

    Raises:
        Drift: unreadable, or another number of ranges.
    """
    try:
        found = _RANGES.decode(body).value_ranges
    except msgspec.DecodeError:
        raise _strange() from None
    if len(found) != count:
        raise Drift(f"Google Sheets answered {len(found)} ranges of {count}; the table is read again next time")
    return found


def judge(request: Request, response: Response) -> None:
    """Raise what an answer means (contract tables A4); return when it is a good one."""
    if request.scope == TOKEN_CALL:
        judge_token(request, response)
        return
    status = response.status
    if status == 200:
        _check_json(response.body)
        return
    error = _error(response.body)
    if status == 429:
        told = response.retry_after
        raise Throttled("Google Sheets' quota is used up", retry_after=QUOTA_WAIT if told is None else told)
    if status == 401:
        raise AuthError("Google refused the access token")
    if status == 403:
        raise AuthError(_forbidden(error), is_final=True)
    if status == 408 or status >= 500:
        raise Unavailable(f"Google Sheets answered {status}")
    if error is None or status not in (400, 404):
        raise Drift(f"Google Sheets answered {status} in an unknown form; check base_url")
    raise Refused(_refusal(status), code=error.status or str(status))


def _forbidden(error: GoogleError | None) -> str:
    reasons = {detail.reason for detail in error.details} if error else set[str]()
    if "SERVICE_DISABLED" in reasons:
        return "the Google Sheets API is switched off; enable it in the service account's Cloud project"
    if "ACCESS_TOKEN_SCOPE_INSUFFICIENT" in reasons:
        return "the token does not cover reading spreadsheets; check credentials"
    return "the spreadsheet is not shared with the service account; share it with its client_email as a viewer"


def _refusal(status: int) -> str:
    if status == 404:
        return "Google knows no such spreadsheet; copy its address into spreadsheet again"
    return "Google Sheets knows no such range; was the sheet renamed or cut just now? Check sheet and range"


def _check_json(body: bytes) -> None:
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise Drift("Google Sheets' answer is cut or no JSON; check base_url if this persists") from None


def _error(body: bytes) -> GoogleError | None:
    try:
        return _ERRORS.decode(body).error
    except msgspec.DecodeError:
        return None


def _strange() -> Drift:
    return Drift("Google Sheets answered in an unknown form; check base_url")


_SPREADSHEETS = msgspec.json.Decoder(Spreadsheet)
_RANGES = msgspec.json.Decoder(ValueRanges)
_ERRORS = msgspec.json.Decoder(ErrorBody)
