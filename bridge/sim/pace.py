"""Simulated time that waits for the daemon: what the demo shows must not depend on how fast the machine is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bridge.errors import BridgeError
from bridge.store.backlog import oldest_due
from bridge.store.engine import Store

_LOOK = 0.03  # real seconds between two looks at the daemon's database
_PATIENCE = 90.0  # real seconds in which a living daemon gets something done
# The daemon pauses by this very clock (told to slow down, before it tries again), so time creeps on meanwhile: first
# fast enough for such a pause, then so slowly that a stalled machine costs nothing.
_CREEP, _CRAWL = timedelta(seconds=30), timedelta(seconds=1)
_CREEPS = 60


@dataclass(slots=True)
class Pace:
    """Keeps the clock near the daemon's work.

    ``advance`` moves simulated time; ``check`` raises when the daemon has ended, and is asked at each look.
    """

    store: Store
    sources: Sequence[tuple[str, str]]  # (tenant, source)
    advance: Callable[[datetime], object]
    check: Callable[[], None]
    patience: float = _PATIENCE
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    real: Callable[[], float] = time.monotonic

    async def keep(self, now: datetime, leeway: timedelta) -> datetime:
        """Wait until nothing is due for longer than ``leeway`` of simulated time, which creeps on; returns that time.

        Raises:
            BridgeError: the daemon ended, or got nothing done for ``patience`` seconds of real time.
        """
        before, since, looks = await oldest_due(self.store, self.sources), self.real(), 0
        oldest = before
        while oldest < now - leeway:
            self.check()
            now += _CREEP if looks < _CREEPS else _CRAWL
            looks += 1
            self.advance(now)
            await self.pause(_LOOK)
            oldest = await oldest_due(self.store, self.sources)
            if oldest != before:
                before, since = oldest, self.real()
            if self.real() - since > self.patience:
                raise BridgeError(
                    f"the daemon lives, but got nothing done for {self.patience:.0f} seconds: "
                    f"what was due at {before:%Y-%m-%d %H:%M} waits at {now:%Y-%m-%d %H:%M} of simulated time"
                )
        return now
