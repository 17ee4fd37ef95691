"""Hints on their way into the database: those that arrive while one transaction is written share the next."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection

from bridge.errors import StoreError
from bridge.store.hints import Hints, Place
from bridge.tools import Clock, Log

_MOST = 50_000  # records that may wait for the database at once


class Inbox:
    """Writes what arrives, in as few transactions as the database's pace asks for."""

    def __init__(self, hints: Hints, clock: Clock, log: Log) -> None:
        self._hints = hints
        self._clock = clock
        self._log = log
        self._arrived: dict[Place, set[str]] = defaultdict(set)
        self._count = 0
        self._round: asyncio.Future[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._full: set[Place] = set()

    async def put(self, place: Place, records: Collection[str]) -> None:
        """Remember that these records of a source are to be read again; committed when it returns.

        Raises:
            StoreError: the database refused, or cannot keep up; the hints are lost.
        """
        if self._count + len(records) > _MOST:
            raise StoreError("hints arrive faster than the database takes them")
        self._arrived[place].update(records)
        self._count += len(records)
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
            while self._round is not None:
                arrived, written = self._arrived, self._round
                self._arrived, self._count, self._round = defaultdict(set), 0, None
                await self._write(arrived, written)
        finally:
            self._writer = None

    async def _write(self, arrived: dict[Place, set[str]], written: asyncio.Future[None]) -> None:
        try:
            self._tell(set(arrived), await self._hints.add(arrived, self._clock.now()))
            written.set_result(None)
        except BaseException as error:
            is_ours = isinstance(error, StoreError)
            written.set_exception(error if is_ours else StoreError(f"hints: {type(error).__name__}"))
            written.exception()  # whoever gave up waiting does not ask for it
            if not is_ours:
                raise

    def _tell(self, places: set[Place], left_out: dict[Place, int]) -> None:
        """Say once that a source has too many hints, and again only after there was room."""
        for tenant, source in left_out.keys() - self._full:
            self._log.warning("hints_full", tenant=tenant, source=source, left_out=left_out[tenant, source])
        self._full = (self._full - places) | left_out.keys()
