"""Reading from the API: searches, records by id, associations, names. No judgement about deals here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from adapters.hubspot import wire
from adapters.hubspot.auth import SEARCH
from adapters.hubspot.entities import CONTACT, DEAL, Entity
from adapters.hubspot.wire import Found, Link, Page, Record, Rows
from bridge.errors import Drift
from bridge.tools import Account, Request
from bridge.unbroken import together

T = TypeVar("T")
PAGE = 200  # records of a search (contract hubspot 3)
_BATCH = 100  # records of a batch (contract 2)
_BATCH_WITH_HISTORY = 50  # the same with history (contract, unverified 2)
_LINKS = 1000  # ids of a batch of associations (contract 5)
_ONE = 500  # associations of one record in a page


class Api:
    """Typed reading over one account. ``objects`` is the path before an object's name."""

    def __init__(self, account: Account, objects: str) -> None:
        self._account = account
        self._objects = objects

    async def search(self, entity: Entity, query: dict[str, Any]) -> Page:
        """One page of a search, from its beginning: nothing is ever asked for by offset."""
        path = f"{self._objects}/{entity.path}/search"
        return wire.page(await self._post(path, query, SEARCH))

    async def records(
        self, entity: Entity, ids: Iterable[str], names: Sequence[str], history: Sequence[str] = ()
    ) -> Found:
        """These records as they are now, with the history of some properties.

        Raises:
            Drift: a record is neither returned nor said to be missing.
        """
        size = _BATCH_WITH_HISTORY if history else _BATCH
        url = f"{self._objects}/{entity.path}/batch/read"
        return await self._batches(url, chunks(list(dict.fromkeys(ids)), size), names, history)

    async def archived(self, entity: Entity, ids: Iterable[str]) -> Found:
        """Those of these records that were deleted (contract 2: ``archived``)."""
        url = f"{self._objects}/{entity.path}/batch/read?archived=true"
        return await self._batches(url, chunks(list(ids), _BATCH), (), ())

    async def _batches(
        self, url: str, parts: Iterable[Sequence[str]], names: Sequence[str], history: Sequence[str]
    ) -> Found:
        return _joined(await together(*(self._batch(url, part, names, history) for part in parts)))

    async def _batch(self, url: str, ids: Sequence[str], names: Sequence[str], history: Sequence[str]) -> Found:
        """One request; an id that is left out of its answer is asked for alone.

        Two ids of which one was merged into the other bring one record; alone, a merged id brings its survivor.
        """
        body = {"inputs": [{"id": number} for number in ids], "properties": names, "propertiesWithHistory": history}
        found = wire.batch(await self._post(url, body), frozenset(ids))
        if not found.silent:
            return found
        if len(ids) == 1:
            raise Drift("HubSpot left a record out of a batch without a word")
        alone = await self._batches(url, [[number] for number in sorted(found.silent)], names, history)
        return _joined([replace(found, silent=frozenset()), alone])

    async def contacts_of(self, deals: Sequence[str]) -> dict[str, list[Link]]:
        """The contacts of each of these deals; deals without any are left out."""
        found: dict[str, list[Link]] = {}
        for one in await together(*(self._links(part) for part in chunks(deals, _LINKS))):
            found |= one
        return found

    async def _links(self, deals: Sequence[str]) -> dict[str, list[Link]]:
        url = f"/crm/v4/associations/{DEAL.path}/{CONTACT.path}/batch/read"
        body = await self._post(url, {"inputs": [{"id": number} for number in deals]})
        found, more = wire.links(body, frozenset(deals))
        for number in more:
            found[number] = await self._all_links(number)
        return found

    async def _all_links(self, deal: str) -> list[Link]:
        """Every association of a deal with more of them than a batch tells of."""
        found: list[Link] = []
        after = ""
        while True:
            start = f"&after={after}" if after else ""
            url = f"/crm/v4/objects/{DEAL.path}/{deal}/associations/{CONTACT.path}?limit={_ONE}{start}"
            page, following = wire.links_of_one(await self._get(url))
            found += page
            if not following:
                return found
            if following == after or not page:
                raise Drift("HubSpot sent the same page of associations twice")
            after = following

    async def properties(self, entity: Entity) -> list[wire.Property]:
        """The properties of contacts or deals."""
        return wire.properties(await self._get(f"/crm/v3/properties/{entity.path}"))

    async def pipelines(self) -> list[wire.Pipeline]:
        """The pipelines of deals."""
        return wire.pipelines(await self._get(f"/crm/v3/pipelines/{DEAL.path}"))

    async def _get(self, url: str) -> bytes:
        return (await self._account.send(Request("GET", url, is_safe=True))).body

    async def _post(self, url: str, body: object, scope: str = "") -> bytes:
        """Every POST here is a read."""
        headers = {"content-type": "application/json"}
        content = msgspec.json.encode(body)
        request = Request("POST", url, headers=headers, body=content, is_safe=True, scope=scope)
        return (await self._account.send(request)).body


def _joined(found: Sequence[Found]) -> Found:
    records = [record for one in found for record in one.rows.records]
    bad = [number for one in found for number in one.rows.bad]
    merged = {number: record for one in found for number, record in one.merged.items()}
    return Found(Rows(records, bad), frozenset[str]().union(*(one.missing for one in found)), merged=merged)


def by_number(records: Iterable[Record]) -> dict[str, Record]:
    """Records by their id."""
    return {record.number: record for record in records}


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in pieces of at most this size."""
    return (items[at : at + size] for at in range(0, len(items), size))
