"""Leads that went away or came back: deleted, restored, merged (contract amocrm 2.5, 6, 13).

Such a lead is in no list of leads: only its events tell, which is one request for a window. Whether it is there now is
then asked of the list itself, because an event tells what happened and not what has been undone since. Which lead was
merged away is in no event (both values are empty), so after a merge the bin is read as well. What came there at the
moment of one single merge, and was not deleted by an event of its own, was taken in by the lead of that merge. For
that the events of that very moment are asked for, whatever window is read, and also where a hint or the deep sweep
finds the lead missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from adapters.amocrm import wire
from adapters.amocrm.api import FATES, LEADS, MERGES, STUBS, Api, Listed
from adapters.amocrm.scan import head_of, seconds_of
from adapters.amocrm.wire import FateEvent, Lead, OwnMark
from bridge.frozen import replace
from bridge.model import Deal, DealKind, Outcome, frozen, utc
from bridge.ports import Head, Window

_DELETED, _MERGED = "lead_deleted", "entity_merged"
_SAFE = 50  # ids in a request (contract amocrm 4)
_OF_EVENTS = 10  # ids in a request for events (contract amocrm 6)
_AT_ONCE = 5  # seconds between the event of a merge and the change of what was merged away; not documented


@frozen
class Gone:
    """A lead that is not there any more, found missing after Unix second ``at``. ``into``: what has taken it in."""

    id: int
    at: int
    into: int | None = None


def _head(gone: Gone) -> Head:
    fate = "deleted" if gone.into is None else f"into-{gone.into}"
    return Head(f"lead:{gone.id}", f"{gone.at}-{fate}", utc(gone.at), gone)


def gone_deal(gone: Gone, version: str) -> Deal:
    """All that is known of a lead that is not there any more."""
    at, place = utc(gone.at), ("", "", Outcome.OPEN)
    into = None if gone.into is None else f"lead:{gone.into}"
    return Deal(DealKind.LEAD, str(gone.id), version, at, at, *place, is_deleted=True, merged_into=into)


@dataclass(slots=True)
class Fates:
    """Fates of the leads of one account."""

    api: Api
    own: OwnMark = wire.NO_MARK
    _missing: set[str] = field(default_factory=set)  # last events of leads that were found missing after them

    async def heads(self, window: Window) -> list[Head]:
        """Leads that went away inside the window, and those that came back or were merged without being modified."""
        first, last = seconds_of(window)
        latest, has_merges = await self._latest(first, last)
        stubs = await self._stubs(first, last) if has_merges else []
        if not latest and not stubs:
            return []
        living = await self._living([lead for lead, event in latest.items() if event.id not in self._missing])
        missing = {lead: event for lead, event in latest.items() if lead not in living}
        gone = {lead: Gone(lead, event.created_at) for lead, event in missing.items() if event.type == _DELETED}
        self._missing = {latest[lead].id for lead in gone}
        lost = [stub for stub in stubs if stub.id not in gone and stub.id not in living]
        gone |= {stub.id: stub for stub in await self._with_survivors(lost)}
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
        return [_head(item) for item in await self._with_survivors(gone)]

    async def _with_survivors(self, stubs: Sequence[Gone]) -> list[Gone]:
        """Each with what has taken it in, where that is certain."""
        if not stubs:
            return []
        merges = [event async for event in self._events(MERGES, _about(stubs))]
        found = [replace(stub, into=_survivor(stub, merges)) for stub in stubs]
        taken = {stub.id: stub for stub in found if stub.into is not None}
        deleted: set[int] = set()
        for start in range(0, len(taken), _OF_EVENTS):
            some = list(taken.values())[start : start + _OF_EVENTS]
            asked = [*_about(some), *[("filter[entity_id][]", stub.id) for stub in some]]
            async for event in self._events(FATES, asked):
                stub = taken.get(event.entity_id)
                if stub is not None and event.type == _DELETED and abs(event.created_at - stub.at) <= _AT_ONCE:
                    deleted.add(stub.id)
        return [replace(stub, into=None) if stub.id in deleted else stub for stub in found]

    async def _events(self, listed: Listed[FateEvent], asked: Sequence[tuple[str, int]]) -> AsyncIterator[FateEvent]:
        async for rows in self.api.pages(listed, asked):
            for event in rows.items:
                yield event

    async def _latest(self, first: int, last: int) -> tuple[dict[int, FateEvent], bool]:
        """The last event of each lead, and whether there were merges."""
        latest: dict[int, FateEvent] = {}
        has_merges = False
        async for event in self._events(FATES, _between(first, last)):
            if first <= event.created_at <= last:
                before = latest.get(event.entity_id, event)
                latest[event.entity_id] = max(before, event, key=lambda item: (item.created_at, item.id))
                has_merges = has_merges or event.type == _MERGED
        return latest, has_merges

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


def _between(first: int, last: int) -> list[tuple[str, int]]:
    """Bounds may be exclusive (contract amocrm 17)."""
    return [("filter[created_at][from]", first - 1), ("filter[created_at][to]", last + 1)]


def _about(stubs: Sequence[Gone]) -> list[tuple[str, int]]:
    """About the moments at which these went away."""
    times = [stub.at for stub in stubs]
    return _between(min(times) - _AT_ONCE, max(times) + _AT_ONCE)


def _survivor(stub: Gone, merges: Sequence[FateEvent]) -> int | None:
    """The lead that took this one in, where only one did so at that moment. Pure."""
    near = {event.entity_id for event in merges if abs(event.created_at - stub.at) <= _AT_ONCE}
    return near.pop() if len(near) == 1 and stub.id not in near else None
