"""Reads events of stages and budgets by as few requests as the API permits: a window's at once, or a few leads' by id.

A long reading comes as windows that follow each other. Leads that were created in an earlier one and are listed only
now need their events from the beginning, so events are kept from window to window until their lead has been listed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from adapters.amocrm.api import EVENTS, Api, Listed, Query
from adapters.amocrm.history import Moves, entries_of, is_settled, until
from adapters.amocrm.prices import Price, Prices
from adapters.amocrm.scan import seconds_of
from adapters.amocrm.wire import Lead, StatusEvent
from bridge.model import StageChange
from bridge.ports import Head, Window
from bridge.tools import Log
from bridge.unbroken import together

_FEW = 20  # leads whose events are asked for by id (10 to a request) rather than reading the whole window's
_IDS = 10  # most entity ids in one request (contract amocrm 6)
_DAY = 86400
_CHAINS = 4  # a long span is read in so many parts side by side


Past = tuple[tuple[StageChange, ...], list[Price]]  # of one lead


def _no_leads() -> array[int]:
    return array("Q")


@dataclass(slots=True)
class StageTimes:
    """Stage histories of the leads of one account. Between ``begin`` calls it works on one window."""

    api: Api
    log: Log
    listed: Listed[StatusEvent] = EVENTS
    _window: Window | None = None
    _moves: Moves = field(default_factory=Moves)
    _prices: Prices = field(default_factory=Prices)
    _since: int = 0  # the second from which ``_moves`` can be completed by reading on
    _back: int = 0  # the second from which they are wanted for known leads
    _read: int = 0  # the last second read
    _listed: set[int] = field(default_factory=set)  # leads whose events were used in this window
    _dropped: array[int] = field(default_factory=_no_leads)  # and in the windows before, sorted

    def begin(self, window: Window) -> None:
        """A scan of this window starts. One that follows on the last window keeps the events of leads still to come.

        For another one the events of the window before are wanted, too, once it lists known leads: one that moved in
        that window, and again before it was listed, is listed only now. What that window was is forgotten with the
        process: a day is looked back then, and at most.
        """
        if self._window is not None and self._window.end == window.start:
            self._moves.drop(self._listed)
            self._prices.drop(self._listed)
            self._dropped = array("Q", sorted([*self._dropped, *self._listed]))
        else:
            self._moves, self._prices = Moves(), Prices()
            self._dropped = _no_leads()
            self._since = seconds_of(window)[0]
            self._read = self._since - 1
            before = self._since - _DAY if self._window is None else seconds_of(self._window)[0]
            self._back = max(min(self._since, before), self._since - _DAY)
        self._listed.clear()
        self._window = window

    def is_scanning(self, window: Window) -> bool:
        """Whether heads for this window come from its scan; others were asked for by their keys."""
        return window == self._window

    async def histories(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Past]:
        """Stage entries of each head (``history.entries_of``), and its budgets."""
        is_scan = self.is_scanning(window) and await self._read_on(window, len(heads))
        if is_scan and self._back < self._since and any(head.key in known for head in heads):
            await self._read_span(self._back, self._since - 1)
            self._since = self._back
        start = seconds_of(window)[0]
        pasts = [self._past(head.row, head.key in known, start) if is_scan else None for head in heads]
        unclear = [head for head, past in zip(heads, pasts, strict=True) if past is None]
        own = iter(await self._own_pasts(unclear, known))
        if self.is_scanning(window):
            self._listed.update([head.row.id for head in heads])
        return [next(own) if past is None else past for past in pasts]

    def _past(self, lead: Lead, is_known: bool, start: int) -> Past | None:
        """What the events of windows tell of a lead.

        None when its own events must be read: earlier ones are not here, or its stage is not explained.
        """
        if not is_known and (lead.created_at < self._since or self._is_dropped(lead.id)):
            return None
        changes = until(lead, self._moves.of(lead.id))
        if not is_settled(lead, changes, start if is_known else lead.created_at + 1):
            return None
        return entries_of(lead, changes, is_known=is_known), self._prices.of(lead.id)

    def _is_dropped(self, lead: int) -> bool:
        place = bisect_left(self._dropped, lead)
        return place < len(self._dropped) and self._dropped[place] == lead

    async def _read_on(self, window: Window, heads: int) -> bool:
        """Have all events up to the window's end; False when asking lead by lead takes fewer requests."""
        last = seconds_of(window)[1]
        if self._read >= last:
            return True
        if heads <= _FEW:
            return False
        first = self._read + 1
        chains = _CHAINS if last - first > _DAY else 1
        edges = [first + (last + 1 - first) * part // chains for part in range(chains + 1)]
        await together(*(self._read_span(start, end) for start, end in pairwise(edges)))
        self._read = last
        return True

    async def _read_span(self, start: int, end: int) -> None:
        """Events of these seconds, and one more on both sides: bounds may be exclusive (contract amocrm 17)."""
        bounds = [("filter[created_at][from]", start - 1), ("filter[created_at][to]", end + 1)]
        await self._collect(self._moves, self._prices, bounds)

    async def _own_pasts(self, heads: Sequence[Head], known: frozenset[str]) -> list[Past]:
        """What the events of each of these leads tell, which are read for it."""
        moves, prices = Moves(), Prices()
        for start in range(0, len(heads), _IDS):
            own = [("filter[entity_id][]", head.row.id) for head in heads[start : start + _IDS]]
            await self._collect(moves, prices, own)
        pasts: list[Past] = []
        for head in heads:
            lead: Lead = head.row
            changes = until(lead, moves.of(lead.id))
            pasts.append((entries_of(lead, changes, is_known=head.key in known), prices.of(lead.id)))
        return pasts

    async def _collect(self, moves: Moves, prices: Prices, query: Query) -> None:
        async for rows in self.api.pages(self.listed, query):
            moves.add(rows.items)
            if self.listed is not EVENTS:
                prices.add(rows.items)
            for row in rows.bad:
                self.log.warning("quirk", what="unreadable event", id=row.id, reason=row.reason)
