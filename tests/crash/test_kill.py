"""``kill -9`` of the real daemon, again and again, while the vendors misbehave: nothing is lost, nothing doubled.

On SQLite conversions go to Metrica and Google; on PostgreSQL to Google and as CRM orders to Metrica. Another business
changes its mind all the time and has an account of every kind.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.sim.clock import SharedClock
from bridge.sim.notify import Notifications
from bridge.sim.stage import GOOGLE, GOOGLE_TARGETS, METRICA, SOURCE, Cast, Stage
from bridge.store import Store
from bridge.store.reports import Reports
from tests.crash.play import START, judge
from tests.crash.process import Daemons, kill
from tests.simulation import flips
from tests.simulation.flips import FlipStage
from tests.simulation.orders import GOALS, keep_orders, verdict_of

SEED = 11
EARLY = 8  # kills of a daemon that is not ready yet; the first of them while the database is being made
KILLS = 24  # kills of a daemon at work
FLIP_SEED, FLIP_LEADS, FLIP_KILLS = 8, 4, 6
FRESH_EVERY = 7  # one daemon in so many is started from nothing
LIFE = 60  # requests to vendors, at most
DAYS, LEADS = 4, 60
STEP, LONG_STEP = timedelta(minutes=30), timedelta(hours=6)
LAG = timedelta(days=5)  # all is delivered so long after it was possible, though hardly anybody lets the daemon work
BOTH = [
    {
        **goal,
        "send": {**goal["send"], **({GOOGLE: GOOGLE_TARGETS[goal["name"]]} if goal["name"] in GOOGLE_TARGETS else {})},
    }
    for goal in GOALS
]
PATIENCE = 240.0  # real seconds for something that a busy machine does late


@dataclass(slots=True)
class Hunt:
    """The business, its bridge, and who kills it. Simulated time keeps step with the daemon, be it slow or fast."""

    stage: Stage
    daemons: Daemons
    dice: random.Random
    settling: frozenset[str] = frozenset({METRICA, GOOGLE})  # what they accept gets a verdict
    step: timedelta = STEP
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

    async def at_work(self, reports: Reports, kills: int = KILLS) -> None:
        """Kills of daemons that have said something to the vendors, or much."""
        for number in range(kills):
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
            self.pass_time(self.step)
            for _ in range(10):
                await asyncio.sleep(self.dice.uniform(0, 0.05))
                if self.heard() > min(goal - 1, before + 5):
                    break

    async def until_quiet(self, reports: Reports, lag: timedelta = LAG) -> None:
        """No more business, trouble or kills: the daemon reads to the end, and everything promised is settled."""
        self.stage.calm()
        end = self.stage.clock.now() + lag
        while self.stage.clock.now() < end or await self.under_way(reports):
            assert self.stage.clock.now() < end + lag, "the daemon does not come to rest; see its log"
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
        count = 0
        for tenant, own in self.places():
            states = (await reports.destination(tenant, own)).states
            count += sum(states[name] for name in ("pending", "sealed"))
            count += states["accepted"] + states["held"] if own in self.settling else 0
        return count

    def places(self) -> list[tuple[str, str]]:
        return [(scene.tenant, name) for scene in self.stage.scenes for name in scene.ads]


@asynccontextmanager
async def hunt(folder: Path, database: str, stage: Stage, **overrides: Any) -> AsyncIterator[Hunt]:
    """Simulators on in this process, a configuration, a shared clock, and a log for whoever has to look."""
    await stage.start()
    try:
        stage.configure(folder / "config.toml", database, **overrides)
        daemons = Daemons(folder / "config.toml", folder / "clock", folder / "daemon.log")
        yield Hunt(stage, daemons, random.Random(stage.cast.seed))
    finally:
        await stage.stop()


async def judge_orders(stage: Stage, store: Store) -> None:
    """As ``judge``, where Metrica keeps orders: each is there once and in its state."""
    assert await Reports(store).broken_chains() == 0
    for scene in stage.scenes:
        orders = verdict_of(stage, scene, LAG)
        assert orders.is_clean, orders
        google = scene.verdict(GOOGLE, stage.told_until, stage.clock.now(), LAG)
        assert google.is_clean, google.summary()


def judge_flips(stage: FlipStage, folder: Path) -> None:
    """Corrected where that can be, and at most once where nothing is proved."""
    result = flips.judge(stage, folder, [], stage.cast.seed)
    assert result.wrong == []
    assert result.checked > 60


@pytest.mark.timeout(600)
async def test_killed_again_and_again_it_loses_and_doubles_nothing(
    database: str, database_url: str, tmp_path: Path
) -> None:
    """Killed more than thirty times while starting, reading and sending, the bridge has delivered everything once."""
    began = time.monotonic()
    stage = Stage(Cast(SEED, START, DAYS, LEADS, is_harsh=True), SharedClock(tmp_path / "clock"))
    has_orders = database == "postgresql"
    if has_orders:
        keep_orders(stage)
    async with hunt(tmp_path, database_url, stage, **({"goals": BOTH} if has_orders else {})) as hunted:
        hunted.settling = frozenset({GOOGLE}) if has_orders else hunted.settling
        await hunted.early()
        store = await Store.open(database_url)
        try:
            reports = Reports(store)
            await hunted.at_work(reports)
            async with hunted.daemon():
                await hunted.until_quiet(reports)
            await (judge_orders(stage, store) if has_orders else judge(stage, store, LAG))
        finally:
            await store.close()
    assert hunted.kills >= 30
    assert "Traceback" not in (tmp_path / "daemon.log").read_text(encoding="utf-8")
    seconds = time.monotonic() - began
    print(f"{database}: {hunted.kills} kills, {hunted.doubts} with a batch in doubt, {seconds:.0f} s, seed {SEED}")


@pytest.mark.timeout(600)
async def test_killed_while_it_corrects_it_is_right_in_the_end_or_sends_at_most_once(tmp_path: Path) -> None:
    """Refunds, spam after all, deletions, at every kind of destination: no kill makes a difference."""
    stage = FlipStage(FLIP_SEED, FLIP_LEADS, is_harsh=True, clock=SharedClock(tmp_path / "clock"))
    database = f"sqlite:///{tmp_path / 'bridge.db'}"
    async with hunt(tmp_path, database, stage, goals=stage.goals()) as hunted:
        hunted.step = LONG_STEP
        async with hunted.daemon():
            pass
        store = await Store.open(database)
        try:
            reports = Reports(store)
            await hunted.at_work(reports, FLIP_KILLS)
            stage.calm()  # what waits for a while would wait for ever: time stands still until all is read
            async with hunted.daemon():
                while stage.told_until < stage.story.end:
                    hunted.pass_time(LONG_STEP)
                    await hunted.has_polled(reports, flips.TENANT)
                await hunted.until_quiet(reports, timedelta(days=2))
            assert await reports.broken_chains() == 0
            judge_flips(stage, tmp_path)
        finally:
            await store.close()
    assert "Traceback" not in (tmp_path / "daemon.log").read_text(encoding="utf-8")
    print(f"{hunted.kills} kills, {hunted.doubts} with a batch in doubt, seed {FLIP_SEED}")
