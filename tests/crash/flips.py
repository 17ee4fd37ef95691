"""A business that changes its mind, with every kind of destination, whose bridge is ended at any point (see ``play``).

Where a vendor proves what it has (ROW, TAG), the end must be the one right end, however often the bridge was ended.
Where it proves nothing a conversion may be missing, or held for a human, and is never there twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import cast

from bridge.compose import Installation
from bridge.store.reports import Reports
from tests.crash.play import Play
from tests.simulation.flips import FILE, TENANT, UNPROVED, FlipStage, complaint, ends, held
from tests.simulation.stories import START

_SETTLING = frozenset({"metrica", "google"})  # the others leave what was accepted as it is


@dataclass(slots=True)
class FlipPlay(Play):
    """As ``Play``, judged by the oracle of flips. ``lost``, ``doubled`` and ``wrong`` must be empty at the end."""

    folder: Path = Path()
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    missing_unproved: int = 0

    async def open_promises(self, reports: Reports) -> int:
        count = 0
        for own in (*self.flips.scene.ads, FILE):
            report = await reports.destination(TENANT, own)
            states = ("pending", "sealed", *(("accepted",) if own in _SETTLING else ()))
            count += report.in_doubt + sum(report.states[state] for state in states)
        return count

    @property
    def flips(self) -> FlipStage:
        return cast(FlipStage, self.stage)

    async def _judge(self, installation: Installation) -> None:
        assert await self.open_promises(installation.reports) == 0
        assert await installation.reports.broken_chains() == 0
        assert {row.destination for row in await installation.reports.held(None)} <= UNPROVED
        found = held(self.flips, self.folder)
        for (lead, goal, own), end in ends(self.flips, found, self.beats):
            there = found.get((lead, goal, own))
            self.missing_unproved += own in UNPROVED and there is None and not end.may_be_absent
            said = complaint(there, dataclasses.replace(end, may_be_absent=end.may_be_absent or own in UNPROVED), own)
            if said:
                self._note(f"lead {lead} {goal} at {own}: {said}", said)

    def _note(self, line: str, said: str) -> None:
        (self.lost if said.startswith("missing") else self.doubled if "times" in said else self.wrong).append(line)


@asynccontextmanager
async def flip_play(
    seed: int, leads: int, folder: Path, database: str, only: Iterable[str] | None = None
) -> AsyncIterator[FlipPlay]:
    """A stage with its simulators on, and a configuration; the bridge looks every half day until all has happened."""
    stage = FlipStage(seed, leads) if only is None else FlipStage(seed, leads, only=only)
    await stage.start()
    try:
        stage.configure(folder / "config.toml", database, goals=stage.goals())
        count = (stage.story.end - START) // timedelta(hours=12) + 2
        beats = [START + timedelta(hours=12) * number for number in range(1, count + 1)]
        yield FlipPlay(stage, folder / "config.toml", beats, folder=folder)
    finally:
        await stage.stop()
