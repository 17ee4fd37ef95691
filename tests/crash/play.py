"""A short simulated business whose bridge can be ended at any chosen point, and begun again on what is left.

A *point* is either side of a commit, or of a request to an ad account. Ending at a commit raises :class:`Crash` there.
Ending at a request cuts the line, so that nothing more comes in or goes out, and raises before the next commit: what
the database and the vendors hold is then exactly what a process killed at the request would have left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select

from bridge.compose import Installation, load_config
from bridge.daemon import cycle
from bridge.model import ConversionKind
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault, FaultPlan
from bridge.sim.stage import Cast, Stage
from bridge.store import schema
from bridge.store.reports import Reports

START = datetime(2026, 3, 2, tzinfo=UTC)
_TAIL = timedelta(hours=7)  # the longest wait is Google's: a click is sent when it is six hours old
_TAIL_MOST = 24


class Crash(BaseException):
    """The process ends here. No code of ours may catch it."""


@dataclass(slots=True)
class Fuse:
    """Counts the points of one life and ends it at number ``at`` (from 1; None: never)."""

    at: int | None = None
    passed: list[str] = field(default_factory=list)
    is_blown: bool = False

    def commit(self, label: str) -> None:
        """Hook of the store."""
        if self.is_blown or self._blows(label):
            raise Crash(label)

    def request(self, label: str, is_counted: bool) -> Fault | None:
        """What becomes of a request: lost before it arrives, lost after it was answered, or nothing special."""
        if self.is_blown or (is_counted and self._blows(f"before {label}")):
            return Fault.DROP_BEFORE
        if is_counted and self._blows(f"after {label}"):
            return Fault.LOST_ANSWER
        return None

    def _blows(self, label: str) -> bool:
        self.passed.append(label)
        self.is_blown = len(self.passed) == self.at
        return self.is_blown


class Line(FaultPlan):
    """A simulator's connection to the bridge: as good as the fuse, and with ``trouble`` of its own."""

    def __init__(self, trouble: FaultPlan, is_counted: bool) -> None:
        super().__init__(trouble.seed)
        self.fuse = Fuse()
        self._trouble = trouble
        self._is_counted = is_counted

    def draw(self, name: str, is_write: bool) -> Fault | None:
        end = self.fuse.request(name, self._is_counted)
        return end or self._trouble.draw(name, is_write)

    def stop(self) -> None:
        self._trouble.stop()


@dataclass(slots=True)
class Play:
    """One business from its beginning to the quiet after it, lived by one bridge after another."""

    stage: Stage
    config: Path
    beats: Sequence[datetime]
    _beat: int = 0
    _lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        for scene in self.stage.scenes:
            for one in scene.simulators:
                line = Line(one.faults, is_counted=one is not scene.crm)
                one.faults = line
                self._lines.append(line)

    async def live(self, at: int | None = None) -> Fuse:
        """One life of the bridge, on the database as it is: until a point, or until all is quiet, and then judged."""
        fuse = Fuse(at)
        for line in self._lines:
            line.fuse = fuse
        installation = await Installation.open(
            load_config(self.config), self.stage.clock, on_commit=fuse.commit, seed=1
        )
        try:
            await self._live(installation)
            await self._judge(installation.reports)
        except Crash:
            assert fuse.is_blown
        finally:
            await installation.close()
        return fuse

    async def _live(self, installation: Installation) -> None:
        """Turn after turn; a new life begins with the turn the last one did not finish."""
        while self._beat < len(self.beats):
            await self._turn(installation, self.beats[self._beat])
        self.stage.calm()
        while self._beat == len(self.beats) or await self.open_promises(installation.reports):
            assert self._beat < len(self.beats) + _TAIL_MOST, "something is stuck"
            await self._turn(installation, self.beats[-1] + _TAIL * (self._beat - len(self.beats) + 1))

    async def _turn(self, installation: Installation, now: datetime) -> None:
        self.stage.advance(now)
        for name in installation.names():
            await cycle(await installation.tenant(name))
        self._beat += 1

    async def open_promises(self, reports: Reports) -> int:
        """Deliveries and batches that are still on their way."""
        count = 0
        for scene in self.stage.scenes:
            for name in scene.ads:
                report = await reports.destination(scene.tenant, name)
                count += report.in_doubt + sum(report.states[state] for state in ("pending", "sealed", "accepted"))
        return count

    async def restatements(self) -> int:
        """How many later values were promised."""
        installation = await Installation.open(load_config(self.config), self.stage.clock)
        table = schema.conversion
        async with installation.store.read() as connection:
            query = select(func.count()).where(table.c.kind == ConversionKind.RESTATEMENT)
            count = await connection.scalar(query)
        await installation.close()
        return int(count or 0)

    async def _judge(self, reports: Reports) -> None:
        """Nothing lost, nothing doubled, nothing under way, no gap in any chain."""
        assert await self.open_promises(reports) == 0
        assert await reports.broken_chains() == 0
        assert await reports.held(None) == []
        for (tenant, name), verdict in self.stage.verdicts().items():
            assert verdict.is_clean, f"{tenant}/{name}: {verdict.summary()}"


@asynccontextmanager
async def play(cast: Cast, folder: Path, database: str, beats: Iterable[timedelta]) -> AsyncIterator[Play]:
    """A stage with its simulators on, and a configuration; the bridge takes its turns so long after the start."""
    stage = Stage(cast, ManualClock(cast.start))
    await stage.start()
    try:
        stage.configure(folder / "config.toml", database)
        yield Play(stage, folder / "config.toml", [cast.start + beat for beat in beats])
    finally:
        await stage.stop()
