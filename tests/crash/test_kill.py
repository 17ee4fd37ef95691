"""``kill -9`` of the real daemon, again and again, while the vendors misbehave: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bridge.sim.clock import SharedClock
from bridge.sim.notify import Notifications
from bridge.sim.stage import SOURCE, Cast, Stage
from bridge.store import Store
from bridge.store.reports import Reports
from tests.crash.play import START, judge
from tests.crash.process import Daemons, kill

SEED = 11
EARLY = 8  # kills of a daemon that is not ready yet; the first of them while the database is being made
KILLS = 28  # kills of a daemon at work
FRESH_EVERY = 7  # one daemon in so many is started from nothing
LIFE = 60  # requests to vendors, at most
DAYS, LEADS = 4, 60
STEP, LONG_STEP = timedelta(minutes=30), timedelta(hours=6)
LAG = timedelta(days=5)  # all is delivered so long after it was possible, though hardly anybody lets the daemon work
PATIENCE = 240.0  # real seconds for something that a busy machine does late


@dataclass(slots=True)
class Hunt:
    """The business, its bridge, and who kills it. Simulated time keeps step with the daemon, be it slow or fast."""

    stage: Stage
    daemons: Daemons
    dice: random.Random
    kills: int = 0
    doubts: int = 0  # kills that left a batch of which nobody knows whether it arrived

    @asynccontextmanager
    async def daemon(self, *, is_fresh: bool = False, patience: float = PATIENCE) -> AsyncIterator[bool]:
        """A daemon that is ready (true), or not yet after so many real seconds; killed at the end of the block."""
        with Notifications() as ready:
            process = await self.daemons.start(ready, is_forked=not is_fresh)
            yield await ready.wait(b"READY=1", process, patience)
            await kill(process)
            self.kills += 1

    async def early(self) -> None:
        """Kills in the middle of starting, ever later."""
        for number in range(EARLY):
            async with self.daemon(patience=0.06 * (number + self.dice.random())):
                self.pass_time(STEP)

    async def at_work(self, reports: Reports) -> None:
        """Kills of daemons that have said something to the vendors, or much."""
        for number in range(KILLS):
            async with self.daemon(is_fresh=number % FRESH_EVERY == 0) as is_ready:
                assert is_ready, "the daemon did not start; see its log"
                await self.until_heard(self.heard() + self.dice.randint(1, LIFE))
            self.doubts += await self.in_doubt(reports) > 0

    async def until_heard(self, goal: int) -> None:
        """Let time pass, a step whenever the daemon has been at work or seems to have nothing to do."""
        end = time.monotonic() + PATIENCE
        while self.heard() < goal:
            assert time.monotonic() < end, "the daemon does nothing; see its log"
            before = self.heard()
            self.pass_time(STEP)
            for _ in range(10):
                await asyncio.sleep(self.dice.uniform(0, 0.05))
                if self.heard() > min(goal - 1, before + 5):
                    break

    async def until_quiet(self, reports: Reports) -> None:
        """No more business, trouble or kills: the daemon reads to the end, and everything promised is settled."""
        self.stage.calm()
        end = self.stage.clock.now() + LAG
        while self.stage.clock.now() < end or await self.under_way(reports):
            assert self.stage.clock.now() < end + LAG, "the daemon does not come to rest; see its log"
            self.stage.clock.set(self.stage.clock.now() + LONG_STEP)
            for scene in self.stage.scenes:
                await self.has_polled(reports, scene.tenant)

    async def has_polled(self, reports: Reports, tenant: str) -> None:
        """The daemon has read this tenant's source up to the present moment."""
        limit = time.monotonic() + PATIENCE
        while await self.polled_at(reports, tenant) < self.stage.clock.now():
            assert time.monotonic() < limit, f"{tenant} is not read any more; see the daemon's log"
            await asyncio.sleep(0.02)

    async def polled_at(self, reports: Reports, tenant: str) -> datetime:
        return (await reports.source(tenant, SOURCE)).polled_at or START

    def pass_time(self, step: timedelta) -> None:
        self.stage.advance(self.stage.clock.now() + step)

    def heard(self) -> int:
        """Requests that the vendors have got."""
        return sum(one.requests.total() for scene in self.stage.scenes for one in scene.simulators)

    async def in_doubt(self, reports: Reports) -> int:
        return sum([(await reports.destination(*place)).in_doubt for place in self.places()])

    async def under_way(self, reports: Reports) -> int:
        states = [(await reports.destination(*place)).states for place in self.places()]
        return sum(s[name] for s in states for name in ("pending", "sealed", "accepted", "held"))

    def places(self) -> list[tuple[str, str]]:
        return [(scene.tenant, name) for scene in self.stage.scenes for name in scene.ads]


@asynccontextmanager
async def hunt(folder: Path, database: str, seed: int) -> AsyncIterator[Hunt]:
    """Simulators on in this process, a configuration, a shared clock, and a log for whoever has to look."""
    stage = Stage(Cast(seed, START, DAYS, LEADS, is_harsh=True), SharedClock(folder / "clock"))
    await stage.start()
    try:
        stage.configure(folder / "config.toml", database)
        yield Hunt(stage, Daemons(folder / "config.toml", folder / "clock", folder / "daemon.log"), random.Random(seed))
    finally:
        await stage.stop()


@pytest.mark.timeout(600)
async def test_killed_again_and_again_it_loses_and_doubles_nothing(
    database: str, database_url: str, tmp_path: Path
) -> None:
    """Killed more than thirty times while starting, reading and sending, the bridge has delivered everything once."""
    began = time.monotonic()
    async with hunt(tmp_path, database_url, SEED) as hunted:
        await hunted.early()
        store = await Store.open(database_url)
        try:
            reports = Reports(store)
            await hunted.at_work(reports)
            async with hunted.daemon():
                await hunted.until_quiet(reports)
            await judge(hunted.stage, store, LAG)
        finally:
            await store.close()
    assert hunted.kills >= 30
    assert "Traceback" not in (tmp_path / "daemon.log").read_text(encoding="utf-8")
    seconds = time.monotonic() - began
    print(f"{database}: {hunted.kills} kills, {hunted.doubts} with a batch in doubt, {seconds:.0f} s, seed {SEED}")
