"""Offline events: a queue that the portal keeps for an application (contract bitrix24 8.2).

What is taken stays in the portal, reserved under a process id, until it is confirmed; a crash leaves it there, and the
next process finds it in the list of everything queued.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from adapters.bitrix24 import hooks, wire
from adapters.bitrix24.entities import Entity
from adapters.bitrix24.portal import PAGE, Command, Portal
from bridge.errors import BridgeError, Refused
from bridge.hints import Parcel
from bridge.ports import Finding, Level
from bridge.tools import Tools

_BIND_EVERY = timedelta(hours=6)  # an application that was installed anew has lost what it was bound to
_PLAN = "the portal's plan has no offline events with confirmation; set offline_events = false, polls read everything"


class _Row(msgspec.Struct, frozen=True, rename="upper"):
    """One queued event. ``event_data`` is false in some samples; ``process_id`` is only in the list, if there."""

    id: int
    event_name: str = ""
    event_data: Any = None
    message_id: str | int = ""
    process_id: str | msgspec.UnsetType | None = msgspec.UNSET


class _Bound(msgspec.Struct, frozen=True):
    """A handler as ``event.get`` lists it: the vendor's SDK (b24pysdk) knows these fields."""

    event: str = ""
    offline: Any = None


class _Reserved(msgspec.Struct, frozen=True):
    process_id: str | None = None
    events: list[_Row] = []


class _Feature(msgspec.Struct, frozen=True):
    value: str | bool | None = None


_ROWS = msgspec.json.Decoder(list[_Row], strict=False)
_BOUND = msgspec.json.Decoder(list[_Bound], strict=False)
_RESERVED = msgspec.json.Decoder(_Reserved, strict=False)
_FEATURE = msgspec.json.Decoder(_Feature)


class OfflineEvents:
    """``hints.HintQueue`` of one application."""

    def __init__(self, portal: Portal, read: Sequence[Entity], name: str, tools: Tools) -> None:
        self._portal = portal
        self._read = read
        self._tools = tools
        own = hashlib.sha256(f"{tools.tenant.name}/{name}".encode()).hexdigest()
        self._own_name = f"bridge-{own[:12]}"
        self._connector: dict[str, str] = {}  # what tells our queue from others of the application, where the plan can
        self._begun_at: datetime | None = None
        self._left: list[Parcel] = []
        self._open: Parcel | None = None

    async def take(self) -> Parcel | None:
        """See ``hints.HintQueue.take``."""
        if self._open is None:
            await self._begin()
            self._open = self._left.pop(0) if self._left else await self._next()
        return self._open

    async def done(self, parcel: Parcel) -> None:
        """See ``hints.HintQueue.done``."""
        await self._settle("event.offline.clear", parcel.receipt, parcel.tickets)
        self._open = None

    async def failed(self, parcel: Parcel) -> None:
        """See ``hints.HintQueue.failed``."""
        await self._settle("event.offline.error", parcel.receipt, parcel.tickets)
        self._open = None

    async def check(self) -> list[Finding]:
        """What ``bridge check`` says of it. Changes nothing."""
        try:
            confirms, connector = await self._features()
            if not confirms:
                return [Finding(Level.ERROR, "offline events", _PLAN)]
            await self._listed(0, connector)
        except BridgeError as error:
            return [Finding(Level.ERROR, "offline events", str(error))]
        shared = "" if connector else "; the plan has no auth_connector, so nothing else may read this application's"
        return [Finding(Level.OK, "offline events", f"the queue can be read{shared}")]

    async def _begin(self) -> None:
        """Bind the events we want, and look for what an earlier process reserved and did not finish.

        Raises:
            Refused: the plan has no confirmation, or an event cannot be bound.
        """
        now = self._tools.clock.now()
        if self._begun_at is not None and now - self._begun_at < _BIND_EVERY:
            return
        confirms, self._connector = await self._features()
        if not confirms:
            raise Refused(_PLAN, code="no_confirmation")
        await self._bind()
        self._left = await self._reserved_before()
        self._begun_at = now

    async def _features(self) -> tuple[bool, dict[str, str]]:
        """Whether events can be confirmed, and our connector where the plan has such."""
        names = ("rest_offline_extended", "rest_auth_connector")
        asked = await self._portal.all([Command("feature.get", {"CODE": name}) for name in names])
        has = [done.rows(_FEATURE).value in ("Y", True) for done in asked]
        return has[0], {"auth_connector": self._own_name} if has[1] else {}

    async def _bind(self) -> None:
        """Bind every event. How the portal refuses one that is bound already is not documented: it is looked up then.

        Raises:
            Refused: an event cannot be bound.
        """
        events = hooks.events_of(self._read)
        answers = zip(events, await self._portal.all([self._binding(event) for event in events]), strict=True)
        refused = {event: done for event, done in answers if done.error is not None}
        if not refused:
            return
        (listed,) = await self._portal.all([Command("event.get")])
        bound = {row.event.upper() for row in listed.rows(_BOUND) if str(row.offline).upper() in ("1", "Y", "TRUE")}
        for event, done in refused.items():
            if event not in bound:
                done.rows(_BOUND)  # raises what its error means

    def _binding(self, event: str) -> Command:
        return Command("event.bind", {"event": event, "event_type": "offline", **self._connector})

    async def _reserved_before(self) -> list[Parcel]:
        """By process id. Where the list does not tell it, everything queued is read again, and nothing confirmed."""
        reserved: dict[str, list[_Row]] = defaultdict(list)
        async for rows in self._everything():
            for row in rows:
                if row.process_id is msgspec.UNSET or row.process_id:
                    reserved["" if row.process_id is msgspec.UNSET else str(row.process_id)].append(row)
        return [self._parcel(process, rows) for process, rows in reserved.items()]

    async def _everything(self) -> AsyncIterator[list[_Row]]:
        last = 0
        while True:
            rows = await self._listed(last, self._connector)
            yield rows
            if len(rows) < PAGE:
                return
            last = max(row.id for row in rows)

    async def _listed(self, after: int, connector: dict[str, str]) -> list[_Row]:
        params = {"filter": {">ID": after}, "order": {"ID": "ASC"}, **connector}
        body = await self._portal.call(Command("event.offline.list", params))
        return wire.decode(_ROWS, wire.answered(body), "event.offline.list")

    async def _next(self) -> Parcel | None:
        """Reserve the next events; whatever goes wrong on the way, what is reserved by then is looked for first."""
        try:
            return await self._reserved()
        except BaseException:
            self._begun_at = None
            raise

    async def _reserved(self) -> Parcel | None:
        """The request is not repeated by itself: a lost answer has reserved some already."""
        command = Command("event.offline.get", {"clear": 0, "limit": PAGE, **self._connector})
        body = await self._portal.call(command, is_safe=False)
        got = wire.decode(_RESERVED, wire.answered(body), "event.offline.get")
        process = got.process_id or ""
        strange = [row for row in got.events if not _fields(row)]
        if strange:
            self._tools.log.warning("quirk", what="offline events without a record", count=len(strange))
            await self._settle("event.offline.error", process, [str(row.message_id) for row in strange])
        events = [row for row in got.events if _fields(row)]
        return self._parcel(process, events) if events else None

    def _parcel(self, process: str, rows: Sequence[_Row]) -> Parcel:
        keys = dict.fromkeys(hooks.key_of(row.event_name, _fields(row), self._read) for row in rows)
        tickets = tuple([str(row.message_id) for row in rows if row.message_id])
        return Parcel(tuple([key for key in keys if key]), process, tickets)

    async def _settle(self, method: str, process: str, tickets: Sequence[str]) -> None:
        for start in range(0, len(tickets) if process else 0, PAGE):
            params = {"process_id": process, "message_id": list(tickets[start : start + PAGE])}
            await self._portal.call(Command(method, params))


def _fields(row: _Row) -> dict[str, Any]:
    """What identifies the record; empty when nothing does."""
    data = row.event_data.get("FIELDS") if isinstance(row.event_data, dict) else None
    return data if isinstance(data, dict) and data.get("ID") else {}
