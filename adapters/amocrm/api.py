"""Reading lists from the API: pages, and items by id. No judgement about leads here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from adapters.amocrm import wire
from adapters.amocrm.wire import Rows, Shape
from bridge.errors import Drift, Refused, Unavailable
from bridge.tools import Account, Request

T = TypeVar("T")


class Numbered(Protocol):
    """An item with a number."""

    @property
    def id(self) -> int: ...


N = TypeVar("N", bound=Numbered)
Query = Sequence[tuple[str, str | int]]

MOST = 250  # rows of a page (contract amocrm 2.1)
FEWEST = 50  # below that a gateway that cannot answer has another trouble
MOST_EVENTS = 100  # contract amocrm 6
_JSON = {"content-type": "application/json"}
_NOT_A_MATTER_OF_SIZE = ("http_403", "http_404", "http_405")


class Listed(Struct, Generic[T], frozen=True):
    """Which list: how to read it, where it is, what to ask besides ids and pages."""

    shape: Shape[T]
    path: str
    query: tuple[tuple[str, str | int], ...] = ()
    limit: int = MOST


LEADS = Listed(wire.LEADS, "/api/v4/leads", (("with", "contacts,loss_reason,source"),))
CONTACTS = Listed(wire.CONTACTS, "/api/v4/contacts")
EVENTS = Listed(
    wire.EVENTS,
    "/api/v4/events",
    (("filter[type][]", "lead_status_changed"), ("filter[entity]", "lead")),
    MOST_EVENTS,
)
EVENTS_WITH_VALUES = replace(EVENTS, query=(("filter[type][]", "sale_field_changed"), *EVENTS.query))
FATES = Listed(
    wire.FATES,
    "/api/v4/events",
    (
        *(("filter[type][]", kind) for kind in ("lead_deleted", "lead_restored", "entity_merged")),
        ("filter[entity]", "lead"),
    ),
    MOST_EVENTS,
)
MERGES = Listed(
    wire.FATES, "/api/v4/events", (("filter[type][]", "entity_merged"), ("filter[entity]", "lead")), MOST_EVENTS
)
STUBS = Listed(wire.STUBS, "/api/v4/leads", (("with", "only_deleted"), ("order[updated_at]", "asc")))
UNSORTED = Listed(
    wire.UNSORTED, "/api/v4/leads/unsorted", (("filter[category][]", "forms"), ("order[created_at]", "desc"))
)
PIPELINES = Listed(wire.PIPELINES, "/api/v4/leads/pipelines")
LOSS_REASONS = Listed(wire.LOSS_REASONS, "/api/v4/leads/loss_reasons")
LEAD_FIELDS = Listed(wire.CUSTOM_FIELDS, "/api/v4/leads/custom_fields")
CONTACT_FIELDS = Listed(wire.CUSTOM_FIELDS, "/api/v4/contacts/custom_fields")


class Api:
    """Typed reading over one account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._chunk = MOST

    async def account(self) -> wire.Account:
        """The account itself, with its currency (contract amocrm 10)."""
        answer = await self._account.send(Request("GET", "/api/v4/account?with=is_api_filter_enabled", is_safe=True))
        return wire.read_one(answer.body, wire.Account, "account")

    async def page(self, listed: Listed[T], query: Query, page: int = 1, limit: int = 0) -> Rows[T] | None:
        """One page, of ``limit`` rows if that is given; None when the vendor says there is nothing (204).

        Brackets stay unescaped: an address with 250 ids must fit into a gateway's 8 kB.
        """
        parts = [*listed.query, *query, ("limit", limit or listed.limit), ("page", page)]
        url = f"{listed.path}?{'&'.join(f'{name}={value}' for name, value in parts)}"
        answer = await self._account.send(Request("GET", url, is_safe=True))
        return listed.shape.read(answer.body) if answer.status != 204 else None

    async def pages(self, listed: Listed[T], query: Query = ()) -> AsyncIterator[Rows[T]]:
        """All pages of a list that does not change while it is read.

        Raises:
            Drift: a page comes again although the next one was asked for.
        """
        before: Rows[T] | None = None
        number = 1
        while (rows := await self.page(listed, query, number)) is not None:
            insist_on_progress(before, rows, listed.shape.name)
            yield rows
            if not rows.has_next:
                return
            before = rows
            number += 1

    async def patch_leads(self, leads: Sequence[Mapping[str, Any]]) -> None:
        """Change these leads, each named by its ``id``: only what is given (contract amocrm 9.1).

        Raises:
            Refused: one of them at least is not what the account takes; what became of the others is unknown.
        """
        body = msgspec.json.encode(leads)
        # Setting a field or a tag twice is setting it once: a lost answer may be asked for again.
        await self._account.send(Request("PATCH", "/api/v4/leads", headers=_JSON, body=body, is_safe=True))

    async def everything(self, listed: Listed[T]) -> list[T]:
        """A short list whole."""
        return [item async for rows in self.pages(listed) for item in rows.items]

    async def by_ids(self, listed: Listed[N], ids: Iterable[int]) -> AsyncIterator[Rows[N]]:
        """These items, 250 ids to a request, or half as many as often as the vendor refuses or cannot answer.

        Raises:
            Drift: the answer holds none of the items asked for.
        """
        rest = list(dict.fromkeys(ids))
        size = self._chunk
        while rest:
            chunk = rest[:size]
            try:
                found = await self._chunk_of(listed, chunk)
            except (Refused, Unavailable) as error:
                if not _may_be_size(error, len(chunk)):
                    raise
                size = len(chunk) // 2
                if isinstance(error, Refused):  # an address is as long the next time, an outage is over by then
                    self._chunk = size
                continue
            rest = rest[len(chunk) :]
            for rows in found:
                yield rows

    async def _chunk_of(self, listed: Listed[N], chunk: Sequence[int]) -> list[Rows[N]]:
        asked = frozenset(chunk)
        found = []
        async for rows in self.pages(listed, [("filter[id][]", item) for item in chunk]):
            if rows.items and not any(item.id in asked for item in rows.items):
                raise Drift(f"amoCRM ignores the filter by id of {listed.shape.name}")
            found.append(rows)
        return found


def _may_be_size(error: Refused | Unavailable, size: int) -> bool:
    """Whether fewer rows might do: too long an address, or a query that takes too long (contract amocrm 11)."""
    if isinstance(error, Unavailable):
        return size > FEWEST
    return size > 1 and error.code not in _NOT_A_MATTER_OF_SIZE


def insist_on_progress(before: Rows[T] | None, rows: Rows[T], name: str) -> None:
    """Raise Drift when a page equals the one before it."""
    if before is not None and (before.items, before.bad) == (rows.items, rows.bad):
        raise Drift(f"amoCRM sent the same page of {name} twice; the cursor stays")
