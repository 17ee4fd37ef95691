"""Our rows to Metrica's CSV, and Metrica's answers to our outcomes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from adapters.yandex_metrica.wire import Uploading, error_type, is_json
from bridge.errors import Ambiguous, AuthError, Drift, Refused, Throttled, Unavailable
from bridge.model import Identifier, IdKind, Money, Outgoing, currency_exponent
from bridge.ports import Admission, Answer, Fate, Pass, Payload, RowVerdict, Seen
from bridge.tools import Request, Response

# One identifier per row, in this order: a yclid names the very visit that came from the ad, a ClientID and a UserID
# only the visit before the conversion (contract yandex 2.5); what Metrica does with several is unknown (contract 15).
PREFERENCE = (IdKind.YCLID, IdKind.CLIENT_ID, IdKind.USER_ID, IdKind.PURCHASE_ID)
HEADER = "ClientId,UserId,Yclid,PurchaseId,Target,DateTime,Price,Currency"
# The clocks of two well-kept hosts differ by less; a DateTime in Metrica's future refuses the whole file.
CLOCK_MARGIN = timedelta(seconds=10)
# Refusals of a file which one bad row may have caused (contract yandex 15).
ROW_REFUSALS = frozenset(("invalid_uploading", "invalid_parameter"))
TOO_LARGE = "too_large"
# Scopes of requests: what limits or forbids these must not stop uploads.
REPORTS, LOGS = "reports", "logs"
ACCESS_DENIED = "access_denied"

_RANK = {kind: rank for rank, kind in enumerate(PREFERENCE)}
_COMMAS = {  # the empty cells around the one identifier
    IdKind.CLIENT_ID: ("", ",,,"),
    IdKind.USER_ID: (",", ",,"),
    IdKind.YCLID: (",,", ","),
    IdKind.PURCHASE_ID: (",,,", ""),
}
_DIGITS = re.compile(r"[0-9]{10,20}")
_NEEDS_QUOTES = re.compile(r'[",\r\n]')
_DAY_QUOTAS = frozenset(("quota_requests_by_uid", "quota_requests_by_counter_id"))
_HOUR_QUOTAS = frozenset(("quota_delegate_requests", "quota_grants_requests"))
_SHORT_QUOTAS = {"quota_requests_by_ip": 5.0, "quota_parallel_requests": 1.0}
_HOUR = 3600.0
_FIVE_MINUTES = 300.0
PROCESSED, LINKAGE_FAILURE = "PROCESSED", "LINKAGE_FAILURE"  # contract yandex 2.4: the final ones
STATUSES = frozenset({"UPLOADED", "PREPARED", "EXPORTED", "MATCHED", PROCESSED, LINKAGE_FAILURE})
_AUTH_ADVICE = {
    "invalid_token": "issue a new token",
    "unauthorized": "issue a new token",
    "access_denied": "give the token metrika:read and metrika:offline_data, and its account edit access to the counter",
}


# --- before sending ----------------------------------------------------------------------------------------------


def identifier_of(row: Outgoing) -> Identifier | None:
    """The one identifier a row is sent with: the well-formed one of the most exact kind, None if there is none."""
    best = None
    best_rank = len(PREFERENCE)
    for identifier in row.identifiers:
        rank = _RANK.get(identifier.kind, best_rank)
        if rank < best_rank and _is_well_formed(identifier):
            best, best_rank = identifier, rank
    return best


def _is_well_formed(identifier: Identifier) -> bool:
    """Contract yandex 12: yclid and ClientID are decimal; the other two are the site's own, any printable text."""
    value = identifier.value
    if identifier.kind in (IdKind.YCLID, IdKind.CLIENT_ID):
        return _DIGITS.fullmatch(value) is not None
    return 0 < len(value) <= 255 and value.isprintable() and value == value.strip()


def admit(row: Outgoing, now: datetime, window: timedelta) -> Admission:
    """Whether a row may be sent now. The window counts from the visit to both conversion and upload (contract 2.5)."""
    if identifier_of(row) is None:
        is_malformed = any(identifier.kind in _RANK for identifier in row.identifiers)
        return Admission(Pass.REFUSED, "bad_identifier" if is_malformed else "no_identifier")
    if row.value is not None and row.value.minor < 0:
        return Admission(Pass.REFUSED, "negative_value")
    if row.touched_at is not None and row.touched_at + window <= max(now, row.occurred_at):
        return Admission(Pass.EXPIRED, "window_21d")
    if row.occurred_at + CLOCK_MARGIN > now:
        return Admission(Pass.WAIT, "in_future", row.occurred_at + CLOCK_MARGIN)
    return Admission(Pass.SEND)


# --- rendering ---------------------------------------------------------------------------------------------------


def render(rows: Sequence[Outgoing], label: str) -> Payload:
    """A multipart body with one CSV file (contract yandex 2.1, 2.2).

    Raises:
        ValueError: a row has no usable identifier; ``admit`` lets none through.
    """
    boundary = f"bridge-{label}"
    lines = "\n".join(_lines(rows))
    text = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="conversions.csv"\r\n'
        f"Content-Type: text/csv; charset=utf-8\r\n\r\n{HEADER}\n{lines}\n\r\n--{boundary}--\r\n"
    )
    return Payload(text.encode(), f"multipart/form-data; boundary={boundary}")


def _lines(rows: Iterable[Outgoing]) -> Iterable[str]:
    targets: dict[str, str] = {}
    for row in rows:
        identifier = identifier_of(row)
        if identifier is None:
            raise ValueError(f"delivery {row.delivery} has no identifier that Metrica accepts")
        target = targets.get(row.target) or targets.setdefault(row.target, _cell(row.target))
        before, after = _COMMAS[identifier.kind]
        seconds = int(row.occurred_at.timestamp())
        yield f"{before}{_cell(identifier.value)}{after},{target},{seconds},{_price(row.value)}"


def _cell(text: str) -> str:
    if _NEEDS_QUOTES.search(text) is None:
        return text
    return '"' + text.replace('"', '""') + '"'


def _price(value: Money | None) -> str:
    """The cells Price and Currency; both empty without a value, and Metrica takes the goal's own (contract 2.7)."""
    if value is None:
        return ","
    exponent = currency_exponent(value.currency)
    if exponent == 0:
        return f"{value.minor},{value.currency}"
    whole, part = divmod(value.minor, 10**exponent)
    return f"{whole}.{part:0{exponent}d},{value.currency}"


# --- after sending -----------------------------------------------------------------------------------------------


def answer(uploading: Uploading, rows: Sequence[str]) -> Answer:
    """What an upload's record means for our rows, whether it came from the upload or from a later lookup.

    ``line_quantity`` is the only row-level signal, and does not name the rows (contract yandex 2.3): if it falls short
    the batch is halved. The good rows of a halved batch are sent twice; Metrica counts them once (contract 2.6).
    ``source_quantity`` decides nothing: asking again would bring the same number for ever.
    """
    receipt = {"uploading_id": str(uploading.id)}
    if uploading.line_quantity is None or uploading.line_quantity >= len(rows):
        return Answer.alike(rows, Fate.ACCEPTED, receipt=receipt)
    return Answer.halved(rows, "row_refused", receipt)


def refused_answer(refusal: Refused, rows: Sequence[str]) -> Answer | None:
    """Outcomes of a refused file, or None when the refusal has nothing to do with its rows."""
    if refusal.code in ROW_REFUSALS:
        return Answer.halved(rows, refusal.code)
    if refusal.code == TOO_LARGE and len(rows) > 1:
        return Answer.halved(rows, TOO_LARGE)
    return None


def all_verdicts(rows: Sequence[str], seen: Seen, code: str) -> list[RowVerdict]:
    """The same for every row."""
    return [RowVerdict(row, seen, code) for row in rows]


# --- errors ------------------------------------------------------------------------------------------------------


def judge(request: Request, response: Response) -> None:
    """The error an answer means (contract yandex 1 and 10).

    Raises:
        AuthError: 401, 403. Final: the token is renewed by a human.
        Throttled: 420, 429.
        Refused: no access to reports or logs alone (``access_denied``).
        Unavailable, Ambiguous: 408 and 5xx of a read; of an upload.
        Refused: any other 4xx with Metrica's error body, and 413. ``code`` is the ``error_type``.
        Drift, Ambiguous: not JSON, or anything else; of an upload that may have been taken.
    """
    status = response.status
    if 200 <= status < 300:
        _judge_body(request, response)
        return
    kind = error_type(response)
    if status == 403 and kind == ACCESS_DENIED and request.scope in (REPORTS, LOGS):
        raise Refused(f"this token may not read Metrica's {request.scope}", code=ACCESS_DENIED)
    if status in (401, 403):
        advice = _AUTH_ADVICE.get(kind or "", "check the token and its access to the counter")
        raise AuthError(f"Metrica refused the token ({status} {kind or 'unnamed'}): {advice}", is_final=True)
    if status in (420, 429):
        pause = _retry_after(kind, request.scope)
        raise Throttled(f"Metrica's quota is used up ({kind or 'unnamed'})", retry_after=pause)
    if status == 408 or status >= 500:
        lost = Unavailable if request.is_safe else Ambiguous
        raise lost(f"Metrica answered {status} ({kind or 'no error body'})")
    if status == 413:
        raise Refused("Metrica finds the file too large; lower max_rows", code=TOO_LARGE)
    if status >= 400 and kind is not None:
        raise Refused(f"Metrica refused the request ({status} {kind})", code=kind)
    raise Drift(f"Metrica answered {status} without its error body")


def _judge_body(request: Request, response: Response) -> None:
    if is_json(response.body) or request.url.endswith("/download"):
        return
    lost = Drift if request.is_safe else Ambiguous
    raise lost(f"Metrica answered {response.status} with a body that is no JSON, or cut")


def _retry_after(kind: str | None, scope: str) -> float | None:
    """Seconds. A day's quota is released at 00:00 GMT; without a clock here, look again every hour.

    Reports have a quota of five minutes besides, whose ``error_type`` is not documented.
    """
    if scope == REPORTS and kind not in _SHORT_QUOTAS:
        return _FIVE_MINUTES
    if kind in _DAY_QUOTAS or kind in _HOUR_QUOTAS:
        return _HOUR
    return _SHORT_QUOTAS.get(kind or "")
