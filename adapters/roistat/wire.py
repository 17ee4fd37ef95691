"""Roistat's JSON as typed structs; only what is read stands here (contract roistat 1, 3, 5, 6).

Identifiers become text without passing a float.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from bridge.errors import Drift
from bridge.model import frozen
from bridge.ports import BadRecord
from bridge.sources import digest, unreadable
from bridge.tools import DriftCounts

T = TypeVar("T")
Loose = str | int | None  # what is text for us, however it comes


class Verdict(Struct, frozen=True):
    """What an answer says of itself, whatever its HTTP status (contract roistat 1). ``description`` is not shown."""

    status: str | None = None
    error: str | None = None


# What an answer is made of (contract roistat 1, 3, 5, 6.1), without its rows, and what it can say of itself.
PARTS = {"": frozenset({"status", "data", "total", "projects", "ProxyLeads"})}
STATUSES = frozenset({"success", "error"})


class Visit(Struct, frozen=True, gc=False):
    """A visit as calls and orders are extended by it. ``id`` is its number, the cookie ``roistat_visit``."""

    id: Loose = None
    date: str | None = None
    metrica_client_id: Loose = msgspec.field(name="metrika_client_id", default=None)
    google_client_id: Loose = None
    gclid: Loose = None
    landing_page: str | None = None


class Call(Struct, frozen=True, gc=False):
    """``caller`` is the client; ``callee`` is the tracking number."""

    id: int | str
    date: str
    caller: Loose = None
    visit: Visit | None = None


class ProxyLead(Struct, frozen=True, gc=False):
    """A form that went through Roistat. ``roistat`` is the visit's number, or the text of a marker."""

    id: int | str
    creation_date: str
    phone: Loose = None
    email: Loose = None
    roistat: Loose = None


class Order(Struct, frozen=True, gc=False):
    """A deal as Roistat knows it. Nothing is read of it but the visit it is bound to."""

    id: int | str
    creation_date: str
    visit: Visit | None = None


@frozen
class Form:
    """A proxy lead, and its visit where an order tells of that."""

    lead: ProxyLead
    visit: Visit | None


Record = Call | Form | Order


class _Page(Struct, frozen=True):
    data: list[Raw] | None = None


class _ProxyLeads(Struct, frozen=True):
    leads: list[Raw] | None = msgspec.field(name="ProxyLeads", default=None)


class Project(Struct, frozen=True):
    id: int
    name: str | None = None


class _Projects(Struct, frozen=True):
    projects: list[Project] | None = None


class _Numbered(Struct, frozen=True):
    id: Any = None


_PREFIXES: dict[type[Any], str] = {Call: "call", ProxyLead: "form", Order: "visit"}


def note(body: bytes, drift: DriftCounts) -> None:
    """Count what a good answer has that no contract has."""
    names = msgspec.json.decode(body, type=dict[str, Raw])
    drift.note_fields(names, PARTS)
    status = msgspec.json.decode(body, type=Verdict).status
    if status is not None and status not in STATUSES:
        drift.note("status", status)


def rows(body: bytes) -> list[Raw]:
    """The rows of a list; a good answer without any is drift.

    Raises:
        Drift: it is no list.
    """
    found = _decoded(body, _Page, "list")
    if found.data is None:
        raise Drift("Roistat sent a good answer without data; the cursor stays where it was")
    return found.data


def proxy_leads(body: bytes) -> list[Raw]:
    """Rows of the list whose key is ``ProxyLeads``; null for none.

    Raises:
        Drift: it is no list.
    """
    return _decoded(body, _ProxyLeads, "list of proxy leads").leads or []


def projects(body: bytes) -> list[Project]:
    """The projects of a key.

    Raises:
        Drift: it is no list.
    """
    return _decoded(body, _Projects, "list of projects").projects or []


def _decoded(body: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Drift(f"Roistat sent no {what}; the cursor stays where it was") from None


def record(row: Raw, kind: type[T]) -> T | BadRecord:
    """One row: one that cannot be read does not hold up the others."""
    try:
        return msgspec.json.decode(row, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return unreadable(f"{_PREFIXES[kind]}:{_id_of(row)}", bytes(row), error)


def _id_of(row: Raw) -> str:
    try:
        own = msgspec.json.decode(row, type=_Numbered).id
    except (msgspec.DecodeError, UnicodeDecodeError):
        own = None
    return str(own) if isinstance(own, int | str) else digest(bytes(row))


def version_of(found: Record) -> str:
    """Equal for equal content of what is read."""
    parts = (found.lead, found.visit) if isinstance(found, Form) else found
    return digest(msgspec.json.encode(parts))
