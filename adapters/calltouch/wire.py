"""Calltouch's JSON as typed structs; only what is read stands here (contract calltouch 3, 4).

Numbers may come as text and text as numbers, so both are taken; identifiers become text without passing a float.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from bridge.errors import Drift, RecordInvalid
from bridge.ports import BadRecord
from bridge.sources import UNREADABLE, digest, unreadable

T = TypeVar("T")
Loose = str | int | None  # what is text for us, however it comes


class Call(Struct, frozen=True, gc=False, rename="camel"):
    """A call. ``url`` is the entry page with its query, ``client_id`` Google Analytics', ``ya_client_id`` Metrica's."""

    call_id: int
    date: str | None = None
    timestamp: int | float | None = None  # Unix seconds
    caller_number: Loose = None
    url: str | None = None
    call_url: str | None = None
    ref: str | None = None
    ya_client_id: Loose = None
    client_id: Loose = None
    utm_source: Loose = None
    utm_medium: Loose = None
    utm_campaign: Loose = None
    utm_content: Loose = None
    utm_term: Loose = None
    attrs: Any = None
    additional_tags: Any = None


class Session(Struct, frozen=True, gc=False, rename="camel"):
    """The visit of a form. Google Analytics' id has another name here than at calls (contract calltouch 4)."""

    url: str | None = None
    ref: str | None = None
    ya_client_id: Loose = None
    gua_client_id: Loose = None
    utm_source: Loose = None
    utm_medium: Loose = None
    utm_campaign: Loose = None
    utm_content: Loose = None
    utm_term: Loose = None
    attrs: Any = None


class Phone(Struct, frozen=True, gc=False, rename="camel"):
    phone_number: Loose = None


class Address(Struct, frozen=True, gc=False, rename="camel"):
    contact_type: str | None = None
    contact_value: Loose = None


class Client(Struct, frozen=True, gc=False, rename="camel"):
    phones: list[Phone] | None = None
    contacts: list[Address] | None = None


class Form(Struct, frozen=True, gc=False, rename="camel"):
    """A request: whatever came in writing."""

    request_id: int
    date: int | float | None = None  # Unix milliseconds
    date_str: str | None = None
    session: Session | None = None
    client: Client | None = None


Record = Call | Form


class Page(Struct, frozen=True, rename="camel"):
    """A page of calls. The total has had several names (contract calltouch 3)."""

    records: list[Raw] | None = None
    page: int | None = None
    page_total: int | None = None


# What a page is made of (contract calltouch 3), without its calls: the number of all calls has gone by several names.
PARTS = {"": frozenset({"page", "pageTotal", "pageSize", "recordsTotal", "recordsCount", "total", "records"})}


class _Numbered(Struct, frozen=True, rename="camel"):
    call_id: Any = None
    request_id: Any = None


_pages = msgspec.json.Decoder(Page, strict=False)
_rows = msgspec.json.Decoder(list[Raw])


def ensure_whole(body: bytes) -> None:
    """Whether an answer came to its end.

    Raises:
        Drift: it did not, or it is no JSON.
    """
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Drift("Calltouch sent an answer that breaks off") from None


def page(body: bytes) -> Page:
    """A page of the calls diary.

    Raises:
        Drift: it is none.
    """
    try:
        found = _pages.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Drift("Calltouch sent no page of calls; check site_id and token") from None
    if found.records is None:
        raise Drift("Calltouch sent a page of calls without records; check site_id and token")
    return found


def rows(body: bytes) -> list[Raw]:
    """The bare array of the requests journal.

    Raises:
        Drift: it is none.
    """
    try:
        return _rows.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Drift("Calltouch sent no list of requests; check site_id and token") from None


def decoded(rows_: Sequence[Raw], kind: type[T]) -> list[T | BadRecord]:
    """Rows one by one: one that cannot be read does not hold up the others."""
    return [_decoded(row, kind) for row in rows_]


def _decoded(row: Raw, kind: type[T]) -> T | BadRecord:
    try:
        return msgspec.json.decode(row, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        prefix = "call" if kind is Call else "form"
        return unreadable(f"{prefix}:{_id_of(row)}", bytes(row), error)


def _id_of(row: Raw) -> str:
    try:
        found = msgspec.json.decode(row, type=_Numbered)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return digest(bytes(row))
    own = found.call_id if found.request_id is None else found.request_id
    return str(own) if isinstance(own, int | str) else digest(bytes(row))


def version_of(record: Record) -> str:
    """Equal for equal content of what is read."""
    return digest(msgspec.json.encode(record))


def invalid(what: str) -> RecordInvalid:
    """A record without a part that nothing can be done without."""
    return RecordInvalid(f"Calltouch: {what}", code=UNREADABLE)
