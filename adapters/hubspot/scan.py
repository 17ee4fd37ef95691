"""Every record of one entity that was modified inside a window.

A search gives at most 10,000 results, by offset (contract hubspot 3). Offsets are not used at all: whatever is modified
while it is read leaves its place, and the next offset would skip a record. Each page instead starts where the last one
ended; records of one millisecond that fill a page (a mass import) are told apart by their ids.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adapters.hubspot.api import PAGE, Api
from adapters.hubspot.entities import Entity
from adapters.hubspot.times import millis, stamp_of
from adapters.hubspot.wire import Page, Record, Rows
from bridge.errors import Drift
from bridge.ports import Window

_ID = "hs_object_id"


@dataclass(slots=True)
class Scan:
    """One window of one entity. ``names`` are the properties to read; ``at`` (milliseconds) is where reading stands."""

    api: Api
    entity: Entity
    names: Sequence[str]
    low: int
    high: int
    at: int
    _seen: set[str] = field(default_factory=set)  # ids that were read at ``at``

    @classmethod
    def of(cls, api: Api, entity: Entity, names: Sequence[str], window: Window) -> Scan:
        """The window widened to whole milliseconds, which is all the vendor's filters have."""
        low, high = millis(window.start), _up(window.end)
        return cls(api, entity, names, low, high, low)

    @property
    def done(self) -> float:
        """The share of the window that is read."""
        return min((self.at - self.low) / (self.high - self.low), 1.0) if self.high > self.low else 1.0

    async def rows(self) -> AsyncGenerator[Rows, None]:
        """Pages of records, each record once.

        Raises:
            Drift: records come unsorted, from outside the window, or a promised page is empty.
        """
        while self.low < self.high:
            changed = self.entity.changed
            page = await self._search(changed, ((changed, "GTE", self.at), (changed, "LT", self.high)))
            stamps = self._stamps(page.rows.records)
            yield self._fresh(page.rows)
            if not page.has_more or self._is_end(page):
                break
            if not stamps:
                raise Drift(f"HubSpot sent a page of {self.entity.path} of which nothing can be read")
            if stamps[-1] > self.at:
                self._move(stamps[-1], [record.number for record, at in self._stamped(page) if at == stamps[-1]])
                continue
            async with aclosing(self._of_one_moment()) as others:
                async for rows in others:
                    yield rows
            self._move(self.at + 1, ())
        self.at = self.high

    async def _of_one_moment(self) -> AsyncGenerator[Rows, None]:
        """All records modified at the millisecond ``at``, by id (contract 3)."""
        after = 0
        while True:
            exactly = ((self.entity.changed, "EQ", self.at), (_ID, "GT", after))
            page = await self._search(_ID, exactly)
            yield self._fresh(page.rows)
            if not page.has_more or self._is_end(page):
                return
            last = max((int(one.number) for one in page.rows.records if one.number.isdigit()), default=0)
            if last <= after:
                raise Drift(f"HubSpot does not sort or filter {self.entity.path} by {_ID}")
            after = last

    async def _search(self, sort: str, filters: Iterable[tuple[str, str, int]]) -> Page:
        only = [{"propertyName": name, "operator": how, "value": str(value)} for name, how, value in filters]
        query: dict[str, Any] = {
            "filterGroups": [{"filters": only}],
            "sorts": [{"propertyName": sort, "direction": "ASCENDING"}],
            "properties": self.names,
            "limit": PAGE,
        }
        return await self.api.search(self.entity, query)

    def _is_end(self, page: Page) -> bool:
        if page.rows.records or page.rows.bad:
            return False
        if page.is_promised:
            raise Drift(f"HubSpot promised more {self.entity.path} and sent none")
        return True

    def _stamped(self, page: Page) -> list[tuple[Record, int]]:
        return [(record, at) for record in page.rows.records if (at := stamp_of(self.entity, record)) is not None]

    def _stamps(self, records: Iterable[Record]) -> list[int]:
        """Modification times of the page inside the window; a later one belongs to the next window."""
        stamps = [at for record in records if (at := stamp_of(self.entity, record)) is not None and at < self.high]
        if stamps != sorted(stamps):
            raise Drift(f"HubSpot does not sort {self.entity.path} by {self.entity.changed}")
        if stamps and stamps[0] < self.at:
            raise Drift(f"HubSpot sent {self.entity.path} from before the window: it ignores the filter of times")
        return stamps

    def _fresh(self, rows: Rows) -> Rows:
        """Without what was read at this very moment already."""
        fresh = [r for r in rows.records if r.number not in self._seen or stamp_of(self.entity, r) != self.at]
        self._seen.update(record.number for record in fresh if stamp_of(self.entity, record) == self.at)
        return Rows(fresh, rows.bad)

    def _move(self, at: int, seen: Iterable[str]) -> None:
        self.at, self._seen = at, set(seen)


def _up(end: datetime) -> int:
    whole = millis(end)
    return whole + 1 if end.microsecond % 1000 else whole
