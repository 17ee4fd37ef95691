"""Posts on their way into the database: those that arrive while one transaction is written share the next."""

from __future__ import annotations

import asyncio
from collections import Counter

from bridge.errors import StoreError
from bridge.store.collected import TAKEN, Collected, Post
from bridge.tools import Clock, Log

_MOST = 10_000  # posts that may wait for the database at once
_PAUSE = 5.0  # seconds between two transactions that only count


class PostBox:
    """Keeps posts and counts what was refused. Counts alone wait a little, so that a flood is not one of writes."""

    def __init__(self, collected: Collected, clock: Clock, log: Log) -> None:
        self._collected = collected
        self._clock = clock
        self._log = log
        self._posts: dict[tuple[str, str], Post] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._round: asyncio.Future[None] | None = None
        self._writer: asyncio.Task[None] | None = None
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
        if self._round is None:
            self._round = asyncio.get_running_loop().create_future()
        written = self._round
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        await asyncio.shield(written)

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
        if self._writer is not None:
            await self._writer
        if self._counts:
            await self._write(asyncio.get_running_loop().create_future())

    async def _write_counts(self) -> None:
        try:
            await asyncio.sleep(_PAUSE)
            if self._counts and self._writer is None:
                await self._write(asyncio.get_running_loop().create_future())
        finally:
            self._counting = None

    async def _write_all(self) -> None:
        try:
            while (written := self._round) is not None:
                self._round = None
                await self._write(written)
        finally:
            self._writer = None

    async def _write(self, written: asyncio.Future[None]) -> None:
        """One transaction. Whoever waits learns how it ended; counts of one that failed are lost."""
        posts, counts = self._posts, self._counts
        self._posts, self._counts = {}, Counter()
        try:
            await self._collected.add(posts, counts, self._clock.now())
            written.set_result(None)
        except BaseException as error:
            is_ours = isinstance(error, StoreError)
            written.set_exception(error if is_ours else StoreError(f"collected: {type(error).__name__}"))
            written.exception()  # whoever gave up waiting does not ask for it
            if not is_ours:
                raise
