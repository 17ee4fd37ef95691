"""A short simulated business whose bridge can be ended at any chosen point, and begun again on what is left.

A *point* is either side of a commit, or of a request to an ad account. Ending at a commit raises :class:`Crash` there.
Ending at a request cuts the line, so that nothing more comes in or goes out, and raises before the next commit: what
the database and the vendors hold is then exactly what a process killed at the request would have left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from adapters.yandex_metrica.fake import Metrica
from bridge.compose import Installation, load_config
from bridge.daemon import cycle
from bridge.model import ConversionKind
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault, FaultPlan
from bridge.sim.stage import METRICA, Cast, Stage
from bridge.store import Store, schema
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
    """A simulator's connection to the bridge: as good as the fuse, and with ``trouble`` of its own.

    Of a CRM's requests only its own writes are points.
    """

    def __init__(self, trouble: FaultPlan, is_crm: bool) -> None:
        super().__init__(trouble.seed)
        self.fuse = Fuse()
        self._trouble = trouble
        self._is_crm = is_crm

    def draw(self, name: str, is_write: bool) -> Fault | None:
        end = self.fuse.request(name, not self._is_crm or name.startswith("PATCH "))
        return end or self._trouble.draw(name, is_write)

    def stop(self) -> None:
        self._trouble.stop()


Judge = Callable[[Stage, Store], Awaitable[int]]


@dataclass(slots=True)
class Play:
    """One business from its beginning to the quiet after it, lived by one bridge after another."""

    stage: Stage
    config: Path
    beats: Sequence[datetime]
    restated: int = 0  # later values that Metrica was sent; known once all is quiet
    judges: Judge | None = None  # of a business that is not judged by its conversions
    _beat: int = 0
    _lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        for scene in self.stage.scenes:
            for one in scene.simulators:
                line = Line(one.faults, is_crm=one is scene.crm)
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
            await self._judge(installation)
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

    async def _judge(self, installation: Installation) -> None:
        assert await self.open_promises(installation.reports) == 0
        assert await installation.reports.held(None) == []
        self.restated = await (self.judges or judge)(self.stage, installation.store)


async def judge(stage: Stage, store: Store, lag: timedelta = timedelta(hours=12)) -> int:
    """Nothing lost, nothing doubled, no gap in any chain; nor was it the vendor alone that saved us from doubling.

    Args:
        stage: what happened, and what the vendors hold.
        store: what the bridge holds.
        lag: how long a delivery may take.

    Returns:
        How many later values Metrica was sent.
    """
    assert await Reports(store).broken_chains() == 0
    for (tenant, name), verdict in stage.verdicts(lag).items():
        assert verdict.is_clean, f"{tenant}/{name}: {verdict.summary()}"
    total = 0
    for scene in stage.scenes:
        metrica = scene.ads[METRICA]
        assert isinstance(metrica, Metrica)
        assert metrica.repeated_labels == 0, "an upload that can be looked up is never sent again"
        restated = await _restatements(store, scene.tenant, METRICA)
        assert metrica.rows_repeated == restated, "a row comes again only with another value"
        total += restated
    return total


async def _restatements(store: Store, tenant: str, destination: str) -> int:
    sent, parent = schema.delivery, schema.conversion
    query = (
        select(func.count())
        .select_from(sent.join(parent, sent.c.conversion == parent.c.id))
        .where(sent.c.tenant == tenant, sent.c.destination == destination, parent.c.kind == ConversionKind.RESTATEMENT)
        .where(sent.c.state.in_(["accepted", "verified", "unlinked"]))
    )
    async with store.read() as connection:
        return await connection.scalar(query) or 0


@asynccontextmanager
async def play(
    cast: Cast,
    folder: Path,
    database: str,
    beats: Iterable[timedelta],
    *,
    prepare: Callable[[Stage], None] | None = None,
    judges: Judge | None = None,
    **overrides: Any,
) -> AsyncIterator[Play]:
    """A stage with its simulators on, and a configuration; the bridge takes its turns so long after the start.

    ``prepare`` changes the stage before anything is on; ``judges`` as in ``Play``, ``overrides`` as for
    ``Stage.configure``.
    """
    stage = Stage(cast, ManualClock(cast.start))
    if prepare is not None:
        prepare(stage)
    await stage.start()
    try:
        stage.configure(folder / "config.toml", database, **overrides)
        yield Play(stage, folder / "config.toml", [cast.start + beat for beat in beats], judges=judges)
    finally:
        await stage.stop()
