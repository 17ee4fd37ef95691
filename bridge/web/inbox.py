"""Hints on their way into the database: those that arrive while one transaction is written share the next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from bridge.errors import StoreError
from bridge.store.hints import Hints, Place
from bridge.tools import Clock, Log
from bridge.web.rounds import Rounds

_MOST = 50_000  # records that may wait for the database at once


class Inbox:
    """Writes what arrives, in as few transactions as the database's pace asks for."""

    def __init__(self, hints: Hints, clock: Clock, log: Log) -> None:
        self._hints = hints
        self._clock = clock
        self._log = log
        self._arrived: dict[Place, set[str]] = defaultdict(set)
        self._count = 0
        self._rounds = Rounds(self._write, "hints")
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
        await self._rounds.written()

    async def close(self) -> None:
        """Wait until everything that arrived is written."""
        await self._rounds.close()

    async def _write(self) -> None:
        arrived = self._arrived
        self._arrived, self._count = defaultdict(set), 0
        self._tell(set(arrived), await self._hints.add(arrived, self._clock.now()))

    def _tell(self, places: set[Place], left_out: dict[Place, int]) -> None:
        """Say once that a source has too many hints, and again only after there was room."""
        for tenant, source in left_out.keys() - self._full:
            self._log.warning("hints_full", tenant=tenant, source=source, left_out=left_out[tenant, source])
        self._full = (self._full - places) | left_out.keys()
