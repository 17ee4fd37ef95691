"""HubSpot's JSON as typed structs, decoded straight from bytes. Only what is read stands here.

Every value of a property is text or null (contract hubspot 2): numbers and identifiers keep their digits. Ids are text
in objects and numbers in associations (5); both are read as text.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from bridge.errors import Drift

T = TypeVar("T")
NOT_FOUND = "OBJECT_NOT_FOUND"
NO_ASSOCIATIONS = "NO_ASSOCIATIONS_FOUND"  # ends the subCategory of ids that have none
_NULL = Raw(b"null")


class Change(Struct, frozen=True):
    """One value a property had, and since when."""

    timestamp: str
    value: str | None = None


class Record(Struct, frozen=True, rename="camel"):
    """A contact or deal. ``properties_with_history`` has the newest change first."""

    id: str | int
    properties: dict[str, str | None]
    properties_with_history: dict[str, list[Change]] | None = None
    created_at: str | None = None
    archived: bool | None = None
    archived_at: str | None = None

    @property
    def number(self) -> str:
        return str(self.id)

    def get(self, name: str) -> str:
        """The property's value; "" where it has none."""
        return self.properties.get(name) or ""

    def history(self, name: str) -> list[Change]:
        """Its changes, oldest first."""
        return ((self.properties_with_history or {}).get(name) or [])[::-1]


class _Next(Struct, frozen=True):
    after: str | int


class _Paging(Struct, frozen=True):
    next: _Next | None = None


class _Search(Struct, frozen=True):
    results: list[Raw]
    total: int = 0
    paging: _Paging | None = None


class Problem(Struct, frozen=True, rename="camel"):
    """The vendor's error, whole or one of a partial answer. Its ``message`` may hold anything and is never repeated."""

    category: Any = None
    sub_category: Any = None
    policy_name: Any = None
    status: Any = None
    context: Any = None
    errors: Any = None

    @property
    def code(self) -> str:
        """The category, "" for one that is none."""
        return self.category if isinstance(self.category, str) else ""

    def listed(self, name: str) -> list[str]:
        """A list of the context, such as ``ids``, of this error and those inside it."""
        inner = [one.get("context") for one in _list(self.errors) if isinstance(one, dict)]
        found = [one.get(name) for one in (self.context, *inner) if isinstance(one, dict)]
        return [str(item) for one in found for item in _list(one)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


class _Batch(Struct, frozen=True):
    results: list[Raw]
    errors: list[Problem] | None = None


class _From(Struct, frozen=True):
    id: str | int


class LinkType(Struct, frozen=True):
    label: str | None = None


class Link(Struct, frozen=True, rename="camel"):
    """An associated object and what the associations are called."""

    to_object_id: str | int
    association_types: list[LinkType] = []

    @property
    def number(self) -> str:
        return str(self.to_object_id)

    @property
    def is_primary(self) -> bool:
        return any((kind.label or "").strip().casefold() == "primary" for kind in self.association_types)


class _Linked(Struct, frozen=True):
    source: _From = msgspec.field(name="from")
    to: list[Link] = []
    paging: _Paging | None = None


class _Links(Struct, frozen=True):
    results: list[_Linked]
    errors: list[Problem] | None = None


class _OneLinks(Struct, frozen=True):
    results: list[Link]
    paging: _Paging | None = None


class Option(Struct, frozen=True):
    value: str
    label: str | None = None


class Property(Struct, frozen=True, rename="camel"):
    """A property of contacts or deals (contract 4). ``hubspot_defined``: the vendor's own."""

    name: str
    label: str | None = None
    type: str | None = None
    options: list[Option] | None = None
    hubspot_defined: bool | None = None


class _Properties(Struct, frozen=True):
    results: list[Property]


class Stage(Struct, frozen=True):
    id: str
    label: str | None = None
    metadata: dict[str, Any] | None = None


class Pipeline(Struct, frozen=True):
    id: str
    label: str | None = None
    stages: list[Stage] = []
    archived: bool | None = None


class _Pipelines(Struct, frozen=True):
    results: list[Pipeline]


class Issued(Struct, frozen=True):
    """Answer of the token endpoint. ``expires_in`` in seconds."""

    access_token: str
    expires_in: int
    refresh_token: str | None = None


class _Marked(Struct, frozen=True):
    id: Any = None


class Rows(Struct, frozen=True):
    """Records of an answer, and the ids of those that cannot be read ("" where not even that can)."""

    records: list[Record]
    bad: list[str]


class Page(Struct, frozen=True):
    """One page of a search. ``is_promised``: a next one; ``total``: how many records the vendor counts."""

    rows: Rows
    is_promised: bool
    total: int

    @property
    def has_more(self) -> bool:
        return self.is_promised or self.total > len(self.rows.records) + len(self.rows.bad)


class Found(Struct, frozen=True):
    """Records asked for by id. ``missing``: the vendor says it does not have them; of ``silent`` it says nothing.

    ``merged``: those that became part of another record, with that one.
    """

    rows: Rows
    missing: frozenset[str]
    silent: frozenset[str] = frozenset()
    merged: dict[str, Record] = {}


def decoded(body: bytes, shape: type[T], what: str) -> T:
    """The answer as this shape.

    Raises:
        Drift: it is not.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        place = str(error).partition(" - at ")[2][:80]
        raise Drift(f"HubSpot: the {what} cannot be read{f' at {place}' if place else ''}") from None


_record = msgspec.json.Decoder(Record)
_marked = msgspec.json.Decoder(_Marked)


def _rows(raw: list[Raw]) -> Rows:
    records: list[Record] = []
    bad: list[str] = []
    for item in raw:
        try:
            records.append(_record.decode(item))
        except (msgspec.DecodeError, UnicodeDecodeError):
            bad.append(_id_of(item))
    return Rows(records, bad)


def _id_of(item: Raw) -> str:
    try:
        found = _marked.decode(item).id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return str(found) if isinstance(found, str | int) else ""


def page(body: bytes) -> Page:
    """An answer of a search endpoint (contract 3)."""
    found = decoded(body, _Search, "search page")
    is_promised = found.paging is not None and found.paging.next is not None
    return Page(_rows(found.results), is_promised, found.total)


def batch(body: bytes, asked: frozenset[str]) -> Found:
    """An answer of ``batch/read``, whole (200) or partial (207) (contract 2)."""
    found = decoded(body, _Batch, "batch of records")
    rows = _rows(found.results)
    mine = [record for record in rows.records if record.number in asked]
    absent = asked - {record.number for record in mine} - set(rows.bad)
    missing = _named(found, absent)
    merged: dict[str, Record] = {}
    if len(asked) == 1 and len(mine) < len(rows.records):  # it became part of another record, which came instead
        missing = absent
        merged = dict.fromkeys(absent, rows.records[0])
    unread = sorted((asked & set(rows.bad)) | (absent - missing if "" in rows.bad else frozenset()))
    return Found(Rows(mine, unread), missing, absent - missing - set(unread), merged)


def _named(found: _Batch, missing: frozenset[str]) -> frozenset[str]:
    """Those of the missing ids that an error names; all of them where it names none."""
    errors = [error for error in found.errors or () if error.code == NOT_FOUND]
    named = frozenset([number for error in errors for number in error.listed("ids")])
    return missing if errors and not named else named & missing


def links(body: bytes, asked: frozenset[str]) -> tuple[dict[str, list[Link]], list[str]]:
    """An answer of the associations' ``batch/read``: links by id, and the ids that have further pages (contract 5).

    Raises:
        Drift: an id is refused for another reason than having none.
    """
    found = decoded(body, _Links, "batch of associations")
    for error in found.errors or ():
        if error.code != NOT_FOUND and not str(error.sub_category or "").endswith(NO_ASSOCIATIONS):
            raise Drift(f"HubSpot could not read associations ({error.code[:40] or 'no category'})")
    by_id = {str(item.source.id): item.to for item in found.results}
    more = [str(item.source.id) for item in found.results if item.paging is not None and item.paging.next is not None]
    return {number: to for number, to in by_id.items() if number in asked}, [n for n in more if n in asked]


def links_of_one(body: bytes) -> tuple[list[Link], str]:
    """A page of one record's associations, and where the next one begins ("" after the last)."""
    found = decoded(body, _OneLinks, "associations of a record")
    following = found.paging.next if found.paging is not None else None
    return found.results, "" if following is None else str(following.after)


def properties(body: bytes) -> list[Property]:
    """The properties of contacts or deals."""
    return decoded(body, _Properties, "list of properties").results


def pipelines(body: bytes) -> list[Pipeline]:
    """The pipelines of deals with their stages."""
    return decoded(body, _Pipelines, "list of pipelines").results


def problem(body: bytes) -> Problem:
    """The vendor's error, or an empty one where the body is something else (HTML, nothing)."""
    try:
        return msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Problem()
