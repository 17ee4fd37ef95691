"""Posts on their way into the database: those that arrive while one transaction is written share the next."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

from bridge.errors import StoreError
from bridge.store.collected import TAKEN, Collected, Post
from bridge.tools import Clock
from bridge.web.rounds import Rounds

_MOST = 10_000  # posts that may wait for the database at once
_PAUSE = 5.0  # seconds between two transactions that only count


class PostBox:
    """Keeps posts and counts what was refused. Counts alone wait a little, so that a flood is not one of writes."""

    def __init__(self, collected: Collected, clock: Clock) -> None:
        self._collected = collected
        self._clock = clock
        self._posts: dict[tuple[str, str], Post] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._rounds = Rounds(self._write, "collected")
        self._counting: asyncio.Task[None] | None = None

    async def put(self, tenant: str, post: Post, codes: list[str]) -> None:
        """Keep a post, and count what was left out of it; committed when it returns.

        Raises:
            StoreError: the database refused, or cannot keep up; the post is lost.
        """
        if len(self._posts) >= _MOST:
            raise StoreError("posts arrive faster than the database takes them")
        self._posts[tenant, post.record] = post
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
        await self._collected.add(posts, counts, self._clock.now())
