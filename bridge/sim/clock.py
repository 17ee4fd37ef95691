"""Clocks: the real one, a hand-moved one for tests, and one shared between processes through a file."""

from __future__ import annotations

import asyncio
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path


class ManualClock:
    """Stands still until told. ``sleep`` moves it, so code that waits runs at once."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def set(self, moment: datetime) -> None:
        """Move forward to a moment; never back."""
        self._now = max(self._now, moment)

    def advance(self, by: timedelta) -> None:
        self._now += by

    async def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=max(seconds, 0))
        await asyncio.sleep(0)


class SharedClock:
    """Simulated time kept in a small file: one process drives it, others (``bridge run --clock``) follow it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> datetime:
        (micros,) = struct.unpack("<q", self._path.read_bytes()[:8])
        return datetime.fromtimestamp(micros / 1e6, UTC)

    def set(self, moment: datetime) -> None:
        """Publish a new time; eight bytes are replaced in place, so a reader never sees half of them."""
        mode = "r+b" if self._path.exists() else "w+b"
        with open(self._path, mode, buffering=0) as file:
            file.write(struct.pack("<q", round(moment.timestamp() * 1e6)))

    async def sleep(self, seconds: float) -> None:
        """Real time, cut short: simulated days pass in seconds."""
        await asyncio.sleep(min(max(seconds, 0), 0.05))
