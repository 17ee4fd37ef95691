"""Posts on their way into the database: those that arrive while one transaction is written share the next."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.errors import StoreError
from bridge.store.collected import TAKEN, Collected
from bridge.tools import Clock
from bridge.web.rounds import Rounds

_MOST = 10_000  # posts that may wait for the database at once
_PAUSE = 5.0  # seconds between two transactions that only count
_LOOKS = timedelta(minutes=1)


@dataclass(slots=True)
class _Day:
    """How many posts of a tenant are kept of the day on which that was looked up."""

    looked_at: datetime
    posts: int


class PostBox:
    """Keeps posts and counts what was refused. Counts alone wait a little, so that a flood is not one of writes."""

    def __init__(self, collected: Collected, clock: Clock) -> None:
        self._collected = collected
        self._clock = clock
        self._posts: dict[tuple[str, str], bytes] = {}
        self._days: dict[str, _Day] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._rounds = Rounds(self._write, "collected")
        self._counting: asyncio.Task[None] | None = None

    async def has_room(self, tenant: str, per_day: int) -> bool:
        """Whether one more may be kept on this day (UTC); if so, it is counted.

        What is kept is counted anew each minute: other processes may take posts as well, and this one is not the first.

        Raises:
            StoreError: the database refused.
        """
        now, known = self._clock.now(), self._days.get(tenant)
        if known is not None and known.looked_at.date() != now.date():
            known = None
        if known is None or now - known.looked_at >= _LOOKS:
            stored = await self._collected.since(tenant, now.replace(hour=0, minute=0, second=0, microsecond=0))
            # Not fewer than were let in here: those on their way are not stored yet. Others may have looked meanwhile.
            before = [
                day.posts for day in (known, self._days.get(tenant)) if day and day.looked_at.date() == now.date()
            ]
            known = self._days[tenant] = _Day(now, max(stored, *before, 0))
        if known.posts >= per_day:
            return False
        known.posts += 1
        return True

    async def put(self, tenant: str, record: str, body: bytes, codes: list[str]) -> None:
        """Keep a post under its lead key, and count what was left out of it; committed when it returns.

        Raises:
            StoreError: the database refused, or cannot keep up; the post is lost.
        """
        if len(self._posts) >= _MOST:
            raise StoreError("posts arrive faster than the database takes them")
        self._posts[tenant, record] = body
        self._counts.update((tenant, code) for code in (TAKEN, *codes))
        await self._rounds.written()

    def count(self, tenant: str, code: str) -> None:
        """Count what was refused; written with the next post, or a little later."""
        self._counts[tenant, code] += 1
        if self._counting is None:
            self._counting = asyncio.create_task(self._write_counts())

    async def close(self) -> None:
        """Wait until everything that arrived is written."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.gather(self._counting, return_exceptions=True)
        await self._rounds.close()
        if self._counts:
            with suppress(StoreError):
                await self._write()

    async def _write_counts(self) -> None:
        try:
            await asyncio.sleep(_PAUSE)
            if self._counts and not self._rounds.is_writing:
                with suppress(StoreError):
                    await self._write()
        finally:
            self._counting = None

    async def _write(self) -> None:
        """One transaction; counts of one that fails are lost."""
        posts, counts = self._posts, self._counts
        self._posts, self._counts = {}, Counter()
        await self._collected.add(posts, counts, self._clock)
