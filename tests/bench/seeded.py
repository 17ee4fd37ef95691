"""One simulated business after another, for ``seeds``: a process of its own, a line of JSON for each seed."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bridge.sim.stage import SOURCE, Cast
from bridge.web.status import status
from tests.bench import child
from tests.contract.rig import TRACKERS
from tests.simulation.kit import START, Play, captured_logs, events, play, staged
from tests.simulation.traps import OPTIONS, edit_in_bulk, restless

_DAYS = 4
_STEP = timedelta(hours=8)
_TURNS = _DAYS * 3
_EDITED = (3, 6)  # turns before which somebody edits hundreds of records in one second
_LONG = timedelta(hours=12)
_CALM = 6  # turns without faults: what was held up comes to its end
_AT_REST = 4  # turns in which nothing happens any more: what was sent last is verified
_CALLING = 60  # leads of a business with a tracker and a collector
_LAG = timedelta(days=2)  # a fault costs a whole step here, and several may follow each other


@dataclass(slots=True)
class Outcome:
    """What is left of one seed. ``events``: what happened in the CRM; ``swept``: deals that sweeps read again."""

    seed: int
    leads: int
    events: int
    conversions: int
    missed: int
    invented: int
    doubled: int
    wrong_value: int
    found_by_sweep: int
    unsettled: int
    swept: int
    faults: int


async def one(kind: str, seed: int, leads: int) -> Outcome:
    """The daemon's loops against simulators on sockets, every trap and every fault on, then calm."""
    if kind == "touches":
        return await _with_touches(seed)
    cast = Cast(seed, START, _DAYS, leads, kinds=(kind,), is_harsh=True, crm_options=OPTIONS[kind])
    with tempfile.TemporaryDirectory(prefix="bridge-seeds-") as folder, captured_logs() as logs:
        async with play(Path(folder), staged(cast), source={"sweep_every": "6h"}) as made:
            await _live(made)
            return await _look(made, events(logs, "source_swept"))


async def _with_touches(seed: int) -> Outcome:
    """A CRM whose phone leads show no click: a call tracker knows of some, our collector of the others."""
    cast = Cast(
        seed,
        START,
        days=5,
        leads=_CALLING,
        kinds=(("amocrm", "bitrix24")[seed % 2],),
        is_harsh=True,
        tracker=TRACKERS[seed % len(TRACKERS)],
        collects=True,
    )
    with tempfile.TemporaryDirectory(prefix="bridge-seeds-") as folder, captured_logs() as logs:
        async with play(Path(folder), staged(cast)) as made:
            await made.live(_LONG)
            await _rest(made)
            return await _look(made, events(logs, "source_swept"))


async def _live(made: Play) -> None:
    for turn in range(_TURNS):
        if turn in _EDITED:
            edit_in_bulk(made)
        await restless(made, _STEP)
    made.stage.calm()
    for _ in range(_CALM):
        await made.turn(_LONG)
    await _rest(made)


async def _rest(made: Play) -> None:
    for _ in range(_AT_REST):
        made.stage.clock.set(made.stage.clock.now() + _LONG)
        await made.cycle()


async def _look(made: Play, sweeps: list[dict[str, Any]]) -> Outcome:
    stage, (scene,) = made.stage, made.stage.scenes
    verdicts = stage.verdicts(_LAG).values()
    return Outcome(
        seed=stage.cast.seed,
        leads=len(scene.world.leads),
        events=sum(happening.at <= stage.told_until for happening in scene.world.happenings()),
        conversions=sum(verdict.found for verdict in verdicts),
        missed=sum(len(verdict.missing) for verdict in verdicts),
        invented=sum(len(verdict.unexpected) for verdict in verdicts),
        doubled=sum(len(verdict.doubled) for verdict in verdicts),
        wrong_value=sum(len(verdict.wrong_value) for verdict in verdicts),
        found_by_sweep=sum(line["missed"] + line["gone"] for line in sweeps),
        unsettled=await _unsettled(made),
        swept=sum(line["deals"] for line in sweeps),
        faults=sum(sum(simulator.faults.drawn.values()) for simulator in scene.simulators),
    )


async def _unsettled(made: Play) -> int:
    """Deliveries without an end, records set aside, errors that last: nothing may be stuck once the trouble is over."""
    report = await status(made.installation.reports, made.config, made.installation.names(), made.stage.clock.now())
    (tenant,) = report["tenants"].values()
    waiting = ("pending", "sealed", "accepted", "held", "rejected", "in_doubt")
    stuck = sum(account[state] for account in tenant["destinations"].values() for state in waiting)
    source = tenant["sources"][SOURCE]
    broken = [source["last_error"], *(account["last_error"] for account in tenant["destinations"].values())]
    return int(stuck + source["quarantined"] + sum(error is not None for error in broken))


async def main(told: dict[str, Any]) -> None:
    for seed in range(told["first"], told["first"] + told["seeds"]):
        try:
            line: dict[str, Any] = asdict(await one(told["source"], seed, told["leads"]))
        except Exception as error:  # a seed that breaks is a finding: it is named, the others are played
            line = {"seed": seed, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    asyncio.run(main(child.arguments()))
