"""Leads that went away or came back: deleted, restored, merged (contract amocrm 2.5, 6, 13).

Such a lead is in no list of leads: only its events tell, which is one request for a window. Whether it is there now is
then asked of the list itself, because an event tells what happened and not what has been undone since. Which lead was
merged away is in no event (both values are empty), so after a merge the bin is read as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from adapters.amocrm import wire
from adapters.amocrm.api import FATES, LEADS, STUBS, Api
from adapters.amocrm.scan import head_of, seconds_of
from adapters.amocrm.wire import FateEvent, Lead, OwnMark
from bridge.model import frozen, utc
from bridge.ports import Head, Window

_DELETED, _MERGED = "lead_deleted", "entity_merged"
_SAFE = 50  # ids in a request (contract amocrm 4)


@frozen
class Gone:
    """A lead that is not there any more, found missing after Unix second ``at``."""

    id: int
    at: int


def _head(gone: Gone) -> Head:
    return Head(f"lead:{gone.id}", f"{gone.at}-deleted", utc(gone.at), gone)


@dataclass(slots=True)
class Fates:
    """Fates of the leads of one account."""

    api: Api
    own: OwnMark = wire.NO_MARK
    _missing: set[str] = field(default_factory=set)  # last events of leads that were found missing after them

    async def heads(self, window: Window) -> list[Head]:
        """Leads that went away inside the window, and those that came back or were merged without being modified."""
        first, last = seconds_of(window)
        latest, is_merged = await self._latest(first, last)
        stubs = await self._stubs(first, last) if is_merged else []
        if not latest and not stubs:
            return []
        living = await self._living([lead for lead, event in latest.items() if event.id not in self._missing])
        missing = {lead: event for lead, event in latest.items() if lead not in living}
        gone = {lead: Gone(lead, event.created_at) for lead, event in missing.items() if event.type == _DELETED}
        self._missing = {latest[lead].id for lead in gone}
        gone |= {stub.id: stub for stub in stubs if stub.id not in gone and stub.id not in living}
        # What came back, or took another one in, and is in no list: out of this user's sight, unless the bin has it.
        unseen = await self.deleted(sorted(missing.keys() - gone.keys()))
        # Leads modified inside the window are listed by it anyway.
        back = [lead for lead in living.values() if lead is not None and not first <= lead.updated_at <= last]
        return [*map(_head, gone.values()), *unseen, *[head_of(lead, self.own) for lead in back]]

    async def deleted(self, leads: Sequence[int]) -> list[Head]:
        """Those of these leads that lie in the bin.

        Whether the bin can be asked by id is not documented. Where it cannot, others come, and none of these is found.
        """
        gone: list[Gone] = []
        for start in range(0, len(leads), _SAFE):
            asked = leads[start : start + _SAFE]
            rows = await self.api.page(STUBS, [("filter[id][]", lead) for lead in asked])
            stubs = rows.items if rows is not None else ()
            gone += [Gone(stub.id, stub.updated_at) for stub in stubs if stub.is_deleted and stub.id in asked]
        return [_head(item) for item in gone]

    async def _latest(self, first: int, last: int) -> tuple[dict[int, FateEvent], bool]:
        """The last event of each lead, and whether any was a merge. Bounds may be exclusive (contract amocrm 17)."""
        bounds = [("filter[created_at][from]", first - 1), ("filter[created_at][to]", last + 1)]
        latest: dict[int, FateEvent] = {}
        is_merged = False
        async for rows in self.api.pages(FATES, bounds):
            for event in rows.items:
                if first <= event.created_at <= last:
                    before = latest.get(event.entity_id, event)
                    latest[event.entity_id] = max(before, event, key=lambda item: (item.created_at, item.id))
                    is_merged |= event.type == _MERGED
        return latest, is_merged

    async def _stubs(self, first: int, last: int) -> list[Gone]:
        """What lies in the bin since then: stubs full of nulls (contract amocrm 2.5)."""
        bounds = [("filter[updated_at][from]", first - 1), ("filter[updated_at][to]", last + 1)]
        pages = self.api.pages(STUBS, bounds)
        stubs = [stub async for rows in pages for stub in rows.items]
        return [
            Gone(stub.id, stub.updated_at) for stub in stubs if stub.is_deleted and first <= stub.updated_at <= last
        ]

    async def _living(self, leads: list[int]) -> dict[int, Lead | None]:
        """Those of these leads that are there; None for one that cannot be read."""
        living: dict[int, Lead | None] = {}
        async for rows in self.api.by_ids(LEADS, leads):
            living |= {lead.id: lead for lead in rows.items}
            living |= {int(row.id): None for row in rows.bad if row.id.isdigit()}
        return living
