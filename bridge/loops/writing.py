"""Pages on their way into the database: in their order, each a transaction; the next is judged meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from bridge.model import frozen
from bridge.store.records import Assessed
from bridge.unbroken import ended, stopped

_MOST = 2  # one is written, one waits for it: whoever judges waits neither for commits nor for the driver's turns


@frozen
class _Page:
    task: asyncio.Task[None]
    keys: frozenset[str]
    assessed: Sequence[Assessed]
    has_kin: bool


@dataclass(slots=True)
class Writing:
    """The pages of a reading that are being written. ``stored``: so many are, of those that were begun.

    ``_numbered``: numbers and keys of the latest, which whoever reads ahead may not have seen stored; not of all, since
    one slice may be a whole table.
    """

    stored: int = 0
    _begun: int = 0
    _pages: deque[_Page] = field(default_factory=deque)
    _numbered: deque[tuple[int, frozenset[str]]] = field(default_factory=deque)

    @property
    def assessed(self) -> list[Assessed]:
        """The deals that are being written."""
        return [item for page in self._pages for item in page.assessed]

    def is_beside(self, keys: frozenset[str], unchanged: Sequence[str]) -> bool:
        """Whether nothing of it matters to a page of these keys but what ``assessed`` tells."""
        return not any(
            page.has_kin or not page.keys.isdisjoint(keys) or not page.keys.isdisjoint(unchanged)
            for page in self._pages
        )

    def stored_since(self, stored: int, keys: frozenset[str]) -> frozenset[str]:
        """Which of these keys were begun after ``stored`` pages were; what lies before nobody asks for again."""
        while self._numbered and self._numbered[0][0] <= stored:
            self._numbered.popleft()
        return frozenset().union(*[keys & page for _, page in self._numbered])

    async def begin(
        self, write: Callable[[], Awaitable[None]], keys: frozenset[str], assessed: Sequence[Assessed], *, has_kin: bool
    ) -> None:
        """Write a page as soon as those before it are. Returns at once, unless too many wait already.

        ``keys``: what was read of it. ``has_kin``: there are leads and deals made from one another among it.
        """
        await self.settled(_MOST - 1)
        before = self._pages[-1].task if self._pages else None
        task = asyncio.create_task(_after(before, write))
        self._begun += 1
        self._numbered.append((self._begun, keys))
        self._pages.append(_Page(task, keys.union([item.deal.key for item in assessed]), assessed, has_kin))

    async def settled(self, most: int = 0) -> None:
        """Wait until no more than so many are under way; a failure is told as soon as it is seen.

        Raises:
            BridgeError: a page could not be written; nor were those after it.
        """
        while len(self._pages) > most or (self._pages and self._pages[0].task.done()):
            await self._pages.popleft().task
            self.stored += 1

    async def left(self, *, is_stopped: bool) -> None:
        """The end of a reading that failed: what was begun is written, unless it was stopped. Raises nothing."""
        tasks = [page.task for page in self._pages]
        self._pages.clear()
        if is_stopped:
            for task in tasks:
                task.cancel()
        try:
            for task in tasks:
                await ended(task)
        except asyncio.CancelledError:
            for task in tasks:
                await stopped(task)
            raise


async def _after(before: asyncio.Task[None] | None, write: Callable[[], Awaitable[None]]) -> None:
    """What was judged by the page before is not written without it."""
    if before is not None:
        await before
    await write()
