"""Every lead modified inside a window, whatever changes while it is read.

The vendor pages by offset over live data: a lead that is edited moves to the end, the rows behind it shift up, and one
is skipped (contract amocrm 2.4). So pages are not counted here. Each request asks for the *first* page from the last
second seen on; a lead that moves can only move behind the reader. Offsets are used inside one second alone, when a bulk
edit put more leads on it than a page holds.

Whether the bounds of ``filter[updated_at]`` are inclusive is not verified (contract amocrm 17). They are asked one
second wider on both sides and rows outside are dropped, which is right in both cases.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from adapters.amocrm import wire
from adapters.amocrm.api import FEWEST, LEADS, MOST, Api, insist_on_progress
from adapters.amocrm.wire import Lead, OwnMark, Rows, Unreadable
from bridge.errors import Drift, Unavailable
from bridge.model import utc
from bridge.ports import BadRecord, Head, Listing, Window
from bridge.unbroken import stopped

_TRIES = 3  # of a pass over a crowded second whose promised page comes empty
_PASSES = 10  # over a crowded second, until one finds nothing new
_BY_TIME, _BY_ID = ("order[updated_at]", "asc"), ("order[id]", "asc")


def head_of(lead: Lead, own: OwnMark = wire.NO_MARK) -> Head:
    """A lead as listed, but for our own mark."""
    lead = wire.unmarked(lead, own)
    return Head(f"lead:{lead.id}", wire.version_of(lead), utc(lead.updated_at), lead)


def bad_of(row: Unreadable) -> BadRecord:
    """A row that is no lead."""
    return BadRecord(f"lead:{row.id}", wire.UNREADABLE, row.reason, f"{row.updated_at}-{row.digest}")


def seconds_of(window: Window) -> tuple[int, int]:
    """First and last whole second of a window."""
    return math.floor(window.start.timestamp()), math.ceil(window.end.timestamp()) - 1


@dataclass(slots=True)
class LeadScan:
    """One reading of one window. ``first`` and ``last`` are Unix seconds, both inside."""

    api: Api
    first: int
    last: int
    own: OwnMark = wire.NO_MARK
    _listed: dict[int, Lead] = field(default_factory=dict)  # what was listed near the cursor
    _limit: int = MOST  # rows of a page
    _unreadable: dict[str, Unreadable] = field(default_factory=dict)

    async def listings(self) -> AsyncGenerator[Listing, None]:
        """Pages of leads not listed before. While one is worked on, the next is on its way.

        Raises:
            Drift: the account ignores filter or order, or repeats a page.
        """
        cursor = self.first
        ahead: asyncio.Task[Rows[Lead] | None] | None = None
        try:
            while cursor <= self.last:
                rows = await (ahead or self._page(cursor))
                ahead = None
                if rows is None:
                    return
                leads, top = self._reached(rows, cursor)
                if top > cursor and self._goes_on(rows, top):
                    ahead = asyncio.create_task(self._page(top))
                    await asyncio.sleep(0)  # it is asked for now, not when nothing is left to do here
                listing = self._new(rows, leads, cursor, top)
                if listing.heads or listing.bad:
                    yield listing
                if not self._goes_on(rows, top):
                    return
                if ahead is None:
                    async with aclosing(self._crowded(cursor)) as listings:
                        async for listing in listings:
                            yield listing
                cursor = max(top, cursor + 1)
        finally:
            if ahead is not None:
                await stopped(ahead)

    def _goes_on(self, rows: Rows[Lead], top: int) -> bool:
        return rows.has_next and top <= self.last

    async def _crowded(self, second: int) -> AsyncGenerator[Listing, None]:
        """All leads of a second that fills more than a page, pass by pass.

        Raises:
            Drift: a page repeats, comes empty or brings new leads time and again.
        """
        for _ in range(_PASSES):
            has_news = False
            async with aclosing(self._pass(second)) as listings:
                async for listing in listings:
                    has_news = True
                    yield listing
            if not has_news:
                return
        raise Drift("amoCRM's leads of one second changed all the while they were read; the cursor stays")

    async def _pass(self, second: int) -> AsyncGenerator[Listing, None]:
        """What is new among the leads of a second, by offset.

        A page that is empty although it was promised means that rows have moved: once more from the start. What lies
        behind such a page is found by nothing else, so the scan does not go on without it.
        """
        for _ in range(_TRIES):
            before: Rows[Lead] | None = None
            number = 1
            while (rows := await self._ask(second, second, number, order=_BY_ID)) is not None:
                insist_on_progress(before, rows, "leads")
                _insist_on_filter(rows.items, second - 1)
                listing = self._new(rows, rows.items, second)
                if listing.heads or listing.bad:
                    yield listing
                if not rows.has_next:
                    return
                before = rows
                number += 1
            if before is None:
                return
        raise Drift(f"amoCRM promised a further page of leads, which came empty {_TRIES} times; the cursor stays")

    async def _ask(
        self, first: int, last: int, page: int = 1, *, order: tuple[str, str] = _BY_TIME
    ) -> Rows[Lead] | None:
        bounds = [("filter[updated_at][from]", first - 1), ("filter[updated_at][to]", last + 1)]
        return await self.api.page(LEADS, [*bounds, order], page, self._limit)

    async def _page(self, cursor: int) -> Rows[Lead] | None:
        """The first page from this second on; shorter where the gateway does not wait for it (contract amocrm 11)."""
        while True:
            try:
                return await self._ask(cursor, self.last)
            except Unavailable:
                if self._limit <= FEWEST:
                    raise
                self._limit //= 2

    def _reached(self, rows: Rows[Lead], cursor: int) -> tuple[list[Lead], int]:
        """A page's leads, and the last second it reaches (past the window's end: nothing follows).

        A lead changed at this very moment shows a time after the window; it is left for the next one.
        """
        leads = [lead for lead in rows.items if lead.updated_at <= self.last + 1]
        _insist_on_order(leads, cursor - 1)
        reached = [row.updated_at or cursor for row in rows.bad]
        if leads:
            reached.append(leads[-1].updated_at)
        return leads, min(max(reached, default=self.last + 1), self.last + 1)

    def _new(self, rows: Rows[Lead], leads: Sequence[Lead], cursor: int, top: int | None = None) -> Listing:
        """What of a page is not listed yet."""
        self._listed = {own: lead for own, lead in self._listed.items() if lead.updated_at >= cursor - 1}
        self._unreadable = {own: row for own, row in self._unreadable.items() if row.updated_at >= cursor - 1}
        heads = self._heads(leads)
        bad = tuple([bad_of(row) for row in rows.bad if self._unreadable.get(row.id) != row])
        self._unreadable |= {row.id: row for row in rows.bad}
        return Listing(heads, bad, self._share(cursor if top is None else top))

    def _heads(self, leads: Sequence[Lead]) -> tuple[Head, ...]:
        """The leads inside the window that are not listed yet."""
        heads = []
        first, last, listed = self.first, self.last, self._listed
        for lead in leads:
            before = listed.get(lead.id)
            if before == lead or not first <= lead.updated_at <= last:
                continue
            listed[lead.id] = lead
            head = head_of(lead, self.own)
            if (
                before is None or head_of(before, self.own).version != head.version
            ):  # its links may hold the list's query
                heads.append(head)
        return tuple(heads)

    def _share(self, top: int) -> float:
        return min(max((top - self.first) / (self.last + 1 - self.first), 0.0), 1.0)


def _insist_on_filter(leads: Sequence[Lead], lowest: int) -> None:
    if any(lead.updated_at < lowest for lead in leads):
        raise Drift("amoCRM ignores the filter by updated_at; ask its support to switch list filters on")


def _insist_on_order(leads: Sequence[Lead], lowest: int) -> None:
    before = lowest
    for lead in leads:
        if lead.updated_at < before:
            _insist_on_filter(leads, lowest)
            raise Drift("amoCRM ignores the order by updated_at; reading on would lose leads")
        before = lead.updated_at
