"""Bitrix24's JSON as it comes, decoded straight from bytes, and what its errors mean (contract bitrix24 1.3, 2, 7).

PHP writes an empty map as ``[]``, so every map may be a list. Numbers and numbers in quotes are one thing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from adapters.bitrix24.entities import ITEM_LIST
from bridge.errors import AuthError, BridgeError, Drift, Refused, Throttled, Unavailable
from bridge.model import Payment
from bridge.tools import Request, Response

T = TypeVar("T")
Row = dict[str, Any]
Wait = Callable[[str], float | None]  # a method was refused: seconds until its operating time resets, as last seen

# Repeating these later can help; the rest of contract 1.3 is fatal.
_TRANSIENT = frozenset({"INTERNAL_SERVER_ERROR", "ERROR_UNEXPECTED_ANSWER", "CONNECTION_ERROR"})
_SCOPE = frozenset({"INSUFFICIENT_SCOPE"})
_AUTH = _SCOPE | {
    "EXPIRED_TOKEN",
    "INVALID_TOKEN",
    "NO_AUTH_FOUND",
    "INVALID_CREDENTIALS",
    "USER_ACCESS_ERROR",
    "AUTHORIZATION_ERROR",
    "PAYMENT_REQUIRED",
    "APPLICATION_NOT_FOUND",
    "ERROR_OAUTH",
    "NOT_INSTALLED",
    "METHOD_CONFIRM_WAITING",
    "METHOD_CONFIRM_DENIED",
    "WRONG_AUTH_TYPE",
    "ALLOWED_ONLY_INTRANET_USER",
    "PORTAL_DELETED",
    "OVERLOAD_LIMIT",
}
_ADVICE = {
    "EXPIRED_TOKEN": "the access token has expired",
    "INVALID_TOKEN": "the portal does not know this application's tokens: install it again",
    "APPLICATION_NOT_FOUND": "the application was removed from the portal: install it again",
    "NOT_INSTALLED": "the application was removed from the portal: install it again",
    "USER_ACCESS_ERROR": "the user behind the credentials may not use this application: the portal's administrator can",
    "METHOD_CONFIRM_WAITING": "an administrator of the portal has to confirm this first",
    "INVALID_CREDENTIALS": "the webhook is wrong, removed or expired: create a new one and store its USER/CODE",
    "INSUFFICIENT_SCOPE": "tick the scope CRM (crm) in the settings of the webhook or application",
    "OVERLOAD_LIMIT": "the vendor has blocked this portal's REST by hand: write to Bitrix24 support",
    "PORTAL_DELETED": "the portal is closed",
    "AUTHORIZATION_ERROR": "the user behind the credentials was dismissed: make new ones under another employee",
    "PAYMENT_REQUIRED": "the portal's subscription has ended",
    "ACCESS_DENIED": "the user behind the credentials lacks the right to read this: make new ones as an administrator",
    "INVALID_REQUEST": "webhooks need https: correct base_url",
    "ERROR_METHOD_NOT_FOUND": "no such method here: is base_url a Bitrix24 portal, and the webhook USER/CODE?",
}


# Without them everything but the queue of events works: no reason to stop the account (contract 8.2).
_NO_EVENTS = frozenset({"ACCESS_DENIED", "WRONG_AUTH_TYPE"})
_EVENTS_NEED = "offline events need an application that an administrator has installed; or set offline_events = false"
_NO_PLAN = "REST is available only"  # on commercial plans / by subscription (contract 1.3)
_SUBSCRIBE = "the portal's plan has no REST: it needs a paid plan with the Market subscription (or a trial)"


class Time(msgspec.Struct, frozen=True):
    """Seconds of server time this method has used up, and the Unix time its oldest minute drops out (contract 9)."""

    operating: float | None = None
    operating_reset_at: float | None = None


class Envelope(msgspec.Struct, frozen=True):
    """Any answer. ``error`` means failure by being there at all: it may be "", 0 or a number (contract 2)."""

    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: Any = msgspec.UNSET
    error_description: Any = ""
    time: Time | list[Any] = Time()


class CommandError(msgspec.Struct, frozen=True):
    """Why one command of a batch failed."""

    error: Any = ""
    error_description: Any = ""

    @property
    def code(self) -> str:
        return str(self.error).upper()


class Batch(msgspec.Struct, frozen=True):
    """The inside of a batch answer: results stay bytes until their type is known."""

    result: dict[str, msgspec.Raw] | list[msgspec.Raw] = {}
    result_error: dict[str, CommandError] | list[CommandError] = {}
    result_total: dict[str, int] | list[int] = {}
    result_next: dict[str, int] | list[int] = {}
    result_time: dict[str, Time] | list[Any] = {}


class _Commands(msgspec.Struct, frozen=True):
    cmd: dict[str, str] = {}


class BatchAnswer(msgspec.Struct, frozen=True):
    """What an ``Envelope`` tells, around a batch."""

    result: Batch
    error: Any = msgspec.UNSET
    error_description: Any = ""


class Items(msgspec.Struct, frozen=True):
    """The result of a universal list."""

    items: list[msgspec.Raw]


class _Marks(msgspec.Struct, frozen=True, gc=False, rename="upper"):
    id: Any = None
    date_modify: Any = None
    is_recurring: Any = None


class _ItemMarks(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    id: Any = None
    updated_time: Any = None


class Listed(msgspec.Struct, frozen=True, gc=False):
    """A row of a list: what a listing looks at, and the whole as JSON. Most of a poll is known already.

    ``payments`` (of deals) and ``products`` are read apart; None where they were not.
    """

    id: int
    modified: Any
    is_template: bool
    json: msgspec.Raw
    payments: tuple[Payment, ...] | None = None
    products: tuple[ProductRow, ...] | None = None


class ProductRow(msgspec.Struct, frozen=True, rename="camel"):
    """A product row (contract 4.4). ``price``: of one piece, discounts and taxes included (the vendor's page of
    ``crm.item.productrow.get``).
    """

    id: int
    owner_id: int | None = None
    product_id: int | str | None = None
    product_name: str | None = None
    price: Decimal | None = None
    quantity: Decimal | None = None


class ProductRows(msgspec.Struct, frozen=True, rename="camel"):
    product_rows: list[ProductRow]


class HistoryRow(msgspec.Struct, frozen=True, rename="upper"):
    """One stage entry (contract 6). Deals use STAGE_*, leads STATUS_*; ids are numbers, in older portals text."""

    id: int
    owner_id: int
    created_time: str
    type_id: int = 0
    category_id: int | None = None
    stage_id: str | None = None
    stage_semantic_id: str | None = None
    status_id: str | None = None
    status_semantic_id: str | None = None


class HistoryPage(msgspec.Struct, frozen=True):
    items: list[HistoryRow]


class MultiField(msgspec.Struct, frozen=True, rename="upper"):
    """A phone or e-mail of a lead or contact, as typed."""

    value: str | None = None


class ContactRow(msgspec.Struct, frozen=True, rename="upper"):
    id: int
    phone: list[MultiField] = []
    email: list[MultiField] = []


class PaymentRow(msgspec.Struct, frozen=True, rename="camel"):
    """A payment of a deal (contract 4.4). ``paid`` is Y or N, ``date_paid`` null while it is not."""

    id: int
    paid: str | bool | int = "N"
    date_paid: str | None = None
    sum: Decimal | None = None
    currency: str | None = None


class InvoiceRow(msgspec.Struct, frozen=True, rename="camel"):
    """A smart invoice (contract 4.4). ``parent_id2``: the deal it belongs to, null or 0 for none."""

    id: int
    parent_id2: int | None = None
    opportunity: Decimal | None = None
    currency_id: str | None = None
    stage_id: str = ""
    moved_time: str | None = None
    updated_time: str | None = None


class StatusRow(msgspec.Struct, frozen=True, rename="upper"):
    """A stage or source of a directory. ``semantics``: None in progress, S success, F failure."""

    status_id: str
    name: str = ""
    semantics: str | None = None


class Category(msgspec.Struct, frozen=True):
    id: int
    name: str = ""


class Categories(msgspec.Struct, frozen=True):
    categories: list[Category]


class Option(msgspec.Struct, frozen=True, rename="upper"):
    """A choice of an enumeration field."""

    id: str | int
    value: str = ""


class FieldInfo(msgspec.Struct, frozen=True, rename="camel"):
    """A field as ``crm.*.fields`` tells it. A custom field's title may be its code; labels are what people see."""

    type: str = "string"
    is_multiple: bool = False
    title: str | None = None
    upper_name: str | None = None  # only of universal methods: the classic name
    list_label: str | None = None
    form_label: str | None = None
    filter_label: str | None = None
    items: list[Option] = []

    def labels(self) -> set[str]:
        return {label for label in (self.list_label, self.form_label, self.filter_label, self.title) if label}


class ItemFields(msgspec.Struct, frozen=True):
    fields: dict[str, FieldInfo] | list[Any]


class Profile(msgspec.Struct, frozen=True, rename="upper"):
    id: int = 0
    admin: bool = False
    time_zone: str | None = None


_envelope = msgspec.json.Decoder(Envelope, strict=False)
_batch = msgspec.json.Decoder(BatchAnswer, strict=False)
ROWS = msgspec.json.Decoder(list[Row], float_hook=str)  # exact digits: a float would round a long number
ROW = msgspec.json.Decoder(Row, float_hook=str)
PARTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
RAW_ROWS = msgspec.json.Decoder(list[msgspec.Raw])
_ITEMS = msgspec.json.Decoder(Items)
_MARKS = msgspec.json.Decoder(_Marks)
_ITEM_MARKS = msgspec.json.Decoder(_ItemMarks)
HISTORY = msgspec.json.Decoder(HistoryPage, strict=False)
CONTACTS = msgspec.json.Decoder(list[ContactRow], strict=False)
PAYMENTS = msgspec.json.Decoder(list[PaymentRow], strict=False)
PRODUCT_ROWS = msgspec.json.Decoder(ProductRows, strict=False)
INVOICE = msgspec.json.Decoder(InvoiceRow, strict=False)
STATUSES = msgspec.json.Decoder(list[StatusRow], strict=False)
CATEGORIES = msgspec.json.Decoder(Categories, strict=False)
FIELDS = msgspec.json.Decoder(dict[str, FieldInfo] | list[Any], strict=False)
ITEM_FIELDS = msgspec.json.Decoder(ItemFields, strict=False)
PROFILE = msgspec.json.Decoder(Profile | list[Any], strict=False)
TEXT = msgspec.json.Decoder(str)
TEXTS = msgspec.json.Decoder(list[str])


def mapped(value: dict[str, T] | list[T]) -> dict[str, T]:
    """A map that PHP may have written as a list: empty, or with keys 0..n (contract 7)."""
    return value if isinstance(value, dict) else {str(index): item for index, item in enumerate(value)}


def decode(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw, what: str) -> T:
    """Typed values from bytes.

    Raises:
        Drift: not what the contract promises; the message names the place, never the content.
    """
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        kind = "another shape" if isinstance(error, msgspec.ValidationError) else "no valid JSON"
        raise Drift(f"Bitrix24 answered {what} with {kind} than its documentation says; nothing was read") from None


def answered(data: bytes) -> msgspec.Raw:
    """The result of an answer that ``judge`` accepted."""
    result = _envelope.decode(data).result
    assert result is not msgspec.UNSET
    return result


def page(result: msgspec.Raw, method: str) -> list[Listed]:
    """Rows of a list, classic or universal.

    Raises:
        Drift: another shape, a row that is no object, or one without a number.
    """
    if method == ITEM_LIST:
        return [_item(raw, method) for raw in decode(_ITEMS, result, method).items]
    return listed(decode(RAW_ROWS, result, method), method)


def listed(rows: list[msgspec.Raw], what: str) -> list[Listed]:
    """Rows of a classic list; raises like ``page``."""
    found = []
    for raw in rows:
        marks = decode(_MARKS, raw, what)
        try:
            found.append(Listed(int(marks.id), marks.date_modify, marks.is_recurring == "Y", raw))
        except (TypeError, ValueError):
            raise Drift("a list holds a row without ID") from None
    return found


def _item(raw: msgspec.Raw, what: str) -> Listed:
    marks = decode(_ITEM_MARKS, raw, what)
    try:
        return Listed(int(marks.id), marks.updated_time, False, raw)
    except (TypeError, ValueError):
        raise Drift("a list holds a row without ID") from None


def batch(data: bytes) -> Batch:
    """The inside of a ``batch`` answer.

    Raises:
        Drift: not a batch answer.
    """
    return decode(_batch, data, "batch").result


def spent(data: bytes) -> Time:
    """The ``time`` of an answer that ``judge`` accepted."""
    time = _envelope.decode(data).time
    return time if isinstance(time, Time) else Time()


# --- judging -----------------------------------------------------------------------------------------------------


class Moved(Refused):
    """The portal was renamed and answers 302 (contract 1.2). ``base_url`` is its new address."""

    def __init__(self, base_url: str) -> None:
        super().__init__(f'the portal was renamed: set base_url to "{base_url}"', code="moved")
        self.base_url = base_url


def no_wait(_scope: str) -> float | None:
    """Nothing is known of any method's operating time."""
    return None


def judge(request: Request, response: Response, wait: Wait = no_wait) -> None:
    """Raise what an answer means; return quietly when it is good. ``wait`` because an error body tells no time."""
    if 300 <= response.status < 400:
        raise _moved(response.headers)
    try:
        envelope = _opened(request, response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _not_json(request, response) from None
    if envelope.error is not msgspec.UNSET:
        failed = CommandError(envelope.error, envelope.error_description)
        raise meaning(failed, request.url, response.status, lambda _: wait(request.scope))
    if response.status >= 400 or envelope.result is msgspec.UNSET:
        raise _not_json(request, response)
    if isinstance(envelope, BatchAnswer):
        _judge_commands(request, envelope.result, wait)
    elif request.url == "batch":
        batch(response.body)  # raises: an answer of another shape is asked for once more


def _opened(request: Request, body: bytes) -> Envelope | BatchAnswer:
    """A batch's answer is large, and gone through once; whatever has not its shape is read as any other."""
    if request.url == "batch":
        with suppress(msgspec.ValidationError):
            return _batch.decode(body)
    return _envelope.decode(body)


def _judge_commands(request: Request, answer: Batch, wait: Wait) -> None:
    """Errors of one command that hit the whole account are the batch's own; the others are left to the caller."""
    for key, failed in mapped(answer.result_error).items():
        error = meaning(failed, _method(request, key), 400, wait)
        if isinstance(error, Throttled | Unavailable) or (isinstance(error, AuthError) and failed.code not in _SCOPE):
            raise error


def _method(request: Request, key: str) -> str:
    """The method of a batch's command; only looked for when one has failed."""
    commands = msgspec.json.decode(request.body or b"{}", type=_Commands).cmd
    return commands.get(key, "batch").partition("?")[0]


def meaning(failed: CommandError, method: str, status: int = 400, wait: Wait = no_wait) -> BridgeError:
    """The error class of a vendor error (contract 1.3; codes match whatever their case)."""
    code = failed.code
    advice = _ADVICE.get(code, "")
    if code == "QUERY_LIMIT_EXCEEDED":
        return Throttled(f"{method}: too many requests from this host's address")
    if code == "OPERATION_TIME_LIMIT":
        return Throttled(f"{method}: the portal's operating-time limit is used up", retry_after=wait(method))
    if code == "ACCESS_DENIED" and _NO_PLAN in str(failed.error_description):
        return AuthError(f"{method}: {code}: {_SUBSCRIBE}", is_final=True)
    if method.startswith("event.") and code in _NO_EVENTS:
        return Refused(f"{method}: {code}: {_EVENTS_NEED}", code=code.lower())
    if code in _AUTH:
        text = advice or "the portal refuses these credentials"
        return AuthError(f"{method}: {code}: {text}", is_final=code != "EXPIRED_TOKEN")
    if code in _TRANSIENT:
        return Unavailable(f"{method}: {code}")
    text = advice or str(failed.error_description)[:160]
    if code in ("", "0") or code.isdigit():
        code = f"http_{status}"
    return _by_status(status, f"{method}: {code}: {text}", code.lower())


def _by_status(status: int, message: str, code: str) -> BridgeError:
    if status == 429:
        return Throttled(message)
    if status in (401, 403):
        return AuthError(message, is_final=True)
    if status >= 500:
        return Unavailable(message)
    return Refused(message, code=code)


def _not_json(request: Request, response: Response) -> BridgeError:
    """HTML, cut JSON or a JSON that is no answer: judged by status alone (contract 2)."""
    status = response.status
    if status < 400:
        return Drift(f"{request.url}: HTTP {status} without a Bitrix24 answer (cut JSON, or a page instead of it)")
    return _by_status(status, f"{request.url}: HTTP {status} without a Bitrix24 answer", f"http_{status}")


def _moved(headers: Mapping[str, str]) -> Refused:
    """Only what stands before ``/rest/`` is repeated: the rest of the address is the secret."""
    parts = urlsplit(headers.get("location", ""))
    if not parts.hostname or parts.scheme not in ("http", "https"):
        return Refused("the portal redirects without saying where: check base_url", code="moved")
    port = f":{parts.port}" if parts.port else ""
    folder, is_rest, _ = parts.path.partition("/rest/")
    return Moved(f"{parts.scheme}://{parts.hostname}{port}{folder if is_rest else ''}")
