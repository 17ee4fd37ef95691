"""Writing in rounds: what arrives while one transaction is written shares the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bridge.errors import StoreError


class Rounds:
    """Calls ``write`` for all that has arrived since it was last called, one call at a time.

    ``write`` takes what there is before it waits for anything; ``what`` names it in the errors of those who wait.
    """

    def __init__(self, write: Callable[[], Awaitable[None]], what: str) -> None:
        self._write = write
        self._what = what
        self._round: asyncio.Future[None] | None = None
        self._writer: asyncio.Task[None] | None = None

    @property
    def is_writing(self) -> bool:
        return self._writer is not None

    async def written(self) -> None:
        """Wait until what has arrived by now is committed. It goes on for whoever gives up waiting.

        Raises:
            StoreError: it is not.
        """
        if self._round is None:
            self._round = asyncio.get_running_loop().create_future()
        written = self._round
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        await asyncio.shield(written)

    async def close(self) -> None:
        """Wait until everything that arrived is written."""
        if self._writer is not None:
            await self._writer

    async def _write_all(self) -> None:
        try:
            while (written := self._round) is not None:
                self._round = None
                await self._settle(written)
        finally:
            self._writer = None

    async def _settle(self, written: asyncio.Future[None]) -> None:
        try:
            await self._write()
            written.set_result(None)
        except BaseException as error:
            is_ours = isinstance(error, StoreError)
            written.set_exception(error if is_ours else StoreError(f"{self._what}: {type(error).__name__}"))
            written.exception()  # whoever gave up waiting does not ask for it
            if not is_ours:
                raise
