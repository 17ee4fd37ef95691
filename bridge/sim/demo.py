"""``bridge demo``: an imaginary month of two advertisers, the real daemon in between, and an oracle that counts.

The daemon is the real ``bridge run`` in a process of its own, talking HTTP to the simulators, on a clock that runs a
month in about a minute. It is killed without warning on the way, and started again. Where the machine is too busy for
that pace, simulated time waits for the daemon.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bridge.compose import load_config
from bridge.config import Config, empty
from bridge.errors import BridgeError, ConfigError
from bridge.sim import gone
from bridge.sim.clock import SharedClock
from bridge.sim.faults import Fault, FaultPlan
from bridge.sim.notify import Notifications
from bridge.sim.pace import Pace
from bridge.sim.stage import SOURCE, Cast, Scene, Stage
from bridge.sim.table_road import look_at, table_road
from bridge.store.engine import Store
from bridge.store.reports import Reports
from bridge.terminal import number, out, table
from bridge.typed import program
from bridge.web.status import status

DAYS = 30
LEADS = 250
_STEP = timedelta(hours=2)
_BEAT = 0.09  # real seconds for one step
_LEEWAY = timedelta(hours=3)  # how far the daemon may be behind: read and sent so late is still in good time
_SOON = timedelta(hours=1)  # the same after an outage
_OUTAGE = timedelta(hours=8)  # how long the advertisers' business goes on without the killed daemon
_TAIL = timedelta(days=3)  # after the last lead: hold-backs end, verifications settle
_KILLS = (0.31, 0.62)  # shares of the month after which the daemon is killed
_TROUBLE = {
    Fault.THROTTLE: 0.03,
    Fault.ERROR_BEFORE: 0.02,
    Fault.ERROR_AFTER: 0.02,
    Fault.LOST_ANSWER: 0.03,
    Fault.CUT_BODY: 0.01,
}


_TOLD = {
    Fault.THROTTLE: "told to slow down",
    Fault.ERROR_BEFORE: "server errors before applying",
    Fault.ERROR_AFTER: "server errors after applying",
    Fault.LOST_ANSWER: "answers lost",
    Fault.CUT_BODY: "answers cut short",
}


@dataclass(slots=True)
class Play:
    """The demo as it runs."""

    folder: Path
    stage: Stage
    config: Config
    process: asyncio.subprocess.Process | None = None
    kills: int = 0
    example: str = ""  # a deal to explain

    async def start_daemon(self) -> None:
        """Start ``bridge run`` and wait until it says it is ready, as a service manager would."""
        command = [sys.executable, "-m", "bridge", "run", "--config", str(self.config.path)]
        log = await asyncio.to_thread(open, self.folder / "daemon.log", "ab")
        with Notifications() as ready, log:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                *("--clock", str(self.folder / "clock")),
                stdout=log,
                stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": ready.address},
            )
            if not await ready.wait(b"READY=1", self.process):
                await self.stop_daemon()
                raise BridgeError(f"the daemon did not start; see {self.folder / 'daemon.log'}")

    async def kill_daemon(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()
        self.kills += 1

    async def stop_daemon(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        await self.process.wait()

    def check_daemon(self) -> None:
        """Raises BridgeError when the daemon ended by itself."""
        if self.process is not None and self.process.returncode is not None:
            raise BridgeError(f"the daemon ended with status {self.process.returncode}")


def run_demo(folder: Path, seed: int, leads: Path | None) -> int:
    """Both parts of the demo; returns the exit status: 0 when nothing is missing and nothing doubled.

    Raises:
        ConfigError: the folder holds something else, or the table cannot be used; nothing was begun.
    """
    if leads is not None and not leads.is_file():
        raise ConfigError(f"there is no table {leads}; name a CSV or XLSX file with --leads")
    return asyncio.run(_demo(folder, seed, leads))


async def _demo(folder: Path, seed: int, leads: Path | None) -> int:
    if leads is not None:
        await look_at(leads)
    _fresh(folder)
    out.rule("[bold]Part 1: a month of two advertisers, simulated")
    out.print(f"{LEADS} leads each, {DAYS} days in about a minute, seed {seed}; files in {folder}/", soft_wrap=True)
    play = _prepare(folder, seed)
    await play.stage.start()
    try:
        play.stage.configure(play.folder / "config.toml", "sqlite:///bridge.db")
        play.config = load_config(play.folder / "config.toml")
        await play.start_daemon()
        try:
            await _played(play)
        finally:
            await play.stop_daemon()
        is_clean = await _tell(play)
    finally:
        await play.stage.stop()
        gone.note(folder, [one.base_url for scene in play.stage.scenes for one in scene.simulators])
    out.rule("[bold]Part 2: a table of leads in, upload files out")
    is_fine = await table_road(folder, leads)
    _invite(folder, play)
    return 0 if is_clean and is_fine else 1


def _fresh(folder: Path) -> None:
    """An empty folder; one that holds something else than an earlier demo is left alone."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "clock").exists():
        raise ConfigError(f"{folder} exists and is no demo folder; choose another with --folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)


def _prepare(folder: Path, seed: int) -> Play:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = today - timedelta(days=DAYS) - _TAIL
    stage = Stage(Cast(seed, start, DAYS, LEADS), SharedClock(folder / "clock"))
    for place, scene in enumerate(stage.scenes):
        for offset, one in enumerate(scene.simulators):
            one.faults = FaultPlan(seed * 100 + place * 10 + offset, _TROUBLE)
    return Play(folder, stage, empty(folder / "config.toml"))  # until the real one is written: simulators listen first


async def _played(play: Play) -> None:
    """The whole time of the simulation, as fast as the daemon can follow."""
    store = await Store.open(play.config.database_url())
    try:
        sources = [(scene.tenant, SOURCE) for scene in play.stage.scenes]
        await _month(play, Pace(store, sources, play.stage.advance, play.check_daemon))
    except BridgeError as error:
        raise BridgeError(f"{error}; see {play.folder / 'daemon.log'}") from error
    finally:
        await store.close()


async def _month(play: Play, pace: Pace) -> None:
    """Drive the clock: the month, then a calm tail until nothing is on its way any more."""
    stage = play.stage
    start, end = stage.cast.start, stage.cast.start + timedelta(days=DAYS)
    kills = [start + (end - start) * share for share in _KILLS]
    with _bar() as bar:
        task = bar.add_task("day 0", total=(end + _TAIL - start) / _STEP, note="")
        now, note = start, ""
        while now < end + _TAIL:
            now += _STEP
            if now > end:
                stage.calm()
            stage.advance(now)
            if kills and now >= kills[0]:
                kills.pop(0)
                await play.kill_daemon()
                now += _OUTAGE
                stage.advance(now)
                await play.start_daemon()
                now = await pace.keep(now, _SOON)  # what happened meanwhile is late already
            await asyncio.sleep(_BEAT)
            play.check_daemon()
            now = await pace.keep(now, _LEEWAY)
            events = sum(sum(one.requests.values()) for scene in stage.scenes for one in scene.simulators)
            note = f"{number(events)} requests, daemon killed {play.kills} times"
            bar.update(task, completed=(now - start) / _STEP, description=f"day {(now - start).days}", note=note)
        await _until_quiet(play, pace, now, bar)
        bar.update(task, description="done", note=note)


async def _until_quiet(play: Play, pace: Pace, now: datetime, bar: Progress) -> None:
    """Let time pass until no delivery waits and no batch is open (two more days at most)."""
    reports = Reports(pace.store)
    for step in range(24):
        now = await pace.keep(now, _LEEWAY)
        states = [(await reports.destination(scene.tenant, name)) for scene in play.stage.scenes for name in scene.ads]
        busy = sum(s.states["pending"] + s.states["sealed"] + s.states["accepted"] + s.in_doubt for s in states)
        if not busy:
            return
        now += _STEP
        play.stage.advance(now)
        bar.update(bar.task_ids[0], description=f"waiting for {busy}", note=f"step {step + 1}")
        await asyncio.sleep(_BEAT * 4)
        play.check_daemon()


def _bar() -> Progress:
    columns = (TextColumn("{task.description:<14}"), BarColumn(40), TextColumn("{task.fields[note]}"))
    return Progress(*columns, TimeElapsedColumn(), console=out)


async def _tell(play: Play) -> bool:
    """The story: what came in, what was sent, what the oracle says. True when nothing is missing or doubled."""
    store = await Store.open(play.config.database_url())
    try:
        reports = Reports(store)
        tenants = [scene.tenant for scene in play.stage.scenes]
        report = await status(reports, play.config, tenants, play.stage.clock.now())
        broken = await reports.broken_chains()
        play.example = await _example(reports, play.stage.scenes[0])
    finally:
        await store.close()
    _tell_leads(play, report)
    _tell_deliveries(report)
    is_clean = _tell_oracle(play) and not broken
    _tell_trouble(play, broken)
    return is_clean


async def _example(reports: Reports, scene: Scene) -> str:
    """A deal worth explaining: sold, and its sale verified by an ad system; else any that was read."""
    sold = [lead for lead in scene.world.leads if any(step.stage == "won" for step in lead.steps) and lead.click]
    for key in (scene.crm.deal_key(lead.id) for lead in sold):
        if await reports.find_deals(scene.tenant, key):
            deal = await reports.deal(scene.tenant, SOURCE, key)
            if any(d.conversion.goal == "sale" and d.state == "verified" for d in deal.deliveries):
                return key
    return scene.crm.deal_key(scene.world.leads[0].id)


def _tell_leads(play: Play, report: dict[str, Any]) -> None:
    made = table("What came in", "advertiser", "CRM", "#read", "matched by", "#unmatched", "goals reached by")
    for scene in play.stage.scenes:
        parts = report["tenants"][scene.tenant]
        source = parts["sources"][SOURCE]
        methods = ", ".join(f"{name} {number(count)}" for name, count in sorted(source["methods"].items()))
        goals = ", ".join(f"{name} {number(counts['reached'])}" for name, counts in parts["goals"].items())
        cells = (
            scene.tenant,
            scene.title.partition(" (")[0],
            number(source["deals"]),
            methods,
            number(source["unmatched"]),
            goals,
        )
        made.add_row(*map(escape, cells))
    out.print(made)


def _tell_deliveries(report: dict[str, Any]) -> None:
    columns = ("#verified", "#unlinked", "#accepted", "#expired", "#rejected", "#pending", "#held")
    made = table("What was delivered", "advertiser", "destination", *columns)
    for tenant, parts in report["tenants"].items():
        for name, states in parts["destinations"].items():
            made.add_row(tenant, name, *(number(states[column.removeprefix("#")]) for column in columns))
    out.print(made)
    out.print(
        "A goal is sent where the click came from; a lead without a known click goes nowhere (bridge explain says why)."
    )
    out.print("A value corrected after sending is one more delivery of the same conversion.")


def _tell_oracle(play: Play) -> bool:
    made = table(
        "What the oracle expected, and found at the vendors",
        *("advertiser", "destination", "#expected", "#borderline", "#found", "#not linked", "#missing", "#doubled"),
        *("#unexpected", "#wrong value"),
    )
    verdicts = play.stage.verdicts()
    for (tenant, name), verdict in verdicts.items():
        counts = verdict.counts()
        keys = ("expected", "uncertain", "found", "unlinked", "missing", "doubled", "unexpected", "wrong_value")
        made.add_row(tenant, name, *(number(counts[key]) for key in keys))
    out.print(made)
    out.print("borderline: so near the end of a vendor's window that both answers are right; not counted as expected")
    missing = sum(len(verdict.missing) for verdict in verdicts.values())
    doubled = sum(len(verdict.doubled) for verdict in verdicts.values())
    if any(verdict.unlinked for verdict in verdicts.values()):
        out.print("not linked: found, but the vendor did not link it with a visit; one that was expected is missing")
    is_clean = all(verdict.is_clean for verdict in verdicts.values())
    style = "bold green" if is_clean else "bold red"
    out.print(f"[{style}]missing {missing}, doubled {doubled}[/]")
    return is_clean


def _tell_trouble(play: Play, broken: int) -> None:
    drawn: dict[Fault, int] = {}
    for scene in play.stage.scenes:
        for one in scene.simulators:
            for fault, count in one.faults.drawn.items():
                drawn[fault] = drawn.get(fault, 0) + count
    trouble = ", ".join(f"{words} {number(drawn.get(fault, 0))}" for fault, words in _TOLD.items())
    out.print(f"on the way: {trouble}; daemon killed {play.kills} times")
    if broken:
        out.print(f"[bold red]{broken} breaks in the chains of events[/]")


def _invite(folder: Path, play: Play) -> None:
    """Three commands to try on what the demo left."""
    scene = play.stage.scenes[0]
    config = f"--config {folder / 'config.toml'}"
    bridge = program()
    out.rule("[bold]Try")
    out.print(f"{bridge} explain {play.example} --tenant {scene.tenant} {config}", soft_wrap=True)
    out.print(f"{bridge} status {config}", soft_wrap=True)
    out.print(f"{bridge} held list {config}", soft_wrap=True)
    out.print("Status says that no new leads come any more: the month is over.")
