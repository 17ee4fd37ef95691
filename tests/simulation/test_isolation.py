"""Four advertisers in one daemon: what happens to three of them does not touch the fourth."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.compose import Installation, load_config
from bridge.daemon import Daemon
from bridge.sim.clock import SharedClock
from bridge.sim.events import Carrier, Click, Lead, StageName, Step
from bridge.sim.stage import GOOGLE, METRICA, SOURCE, Cast, Scene, Stage, simulator
from bridge.sim.world import World
from bridge.web.status import status
from tests.simulation.kit import START, tell

TICK = 0.1
PATIENCE = 60.0  # seconds, on a busy machine
FLOOD = 6000  # records; at seven requests a second they take half a minute
KINDS = ("amocrm", "bitrix24", "bitrix24", "amocrm")
HEALTHY, DEAD, BROKEN, FLOODED = "okna", "dom", "sad", "les"
NOON = START + timedelta(days=1, hours=12)


@dataclass(slots=True)
class Office:
    """A daemon at work in this process, for four advertisers."""

    stage: Stage
    installation: Installation

    def scene(self, name: str) -> Scene:
        return next(scene for scene in self.stage.scenes if scene.tenant == name)

    async def until(self, look: Callable[[], Any], what: str) -> None:
        """Let the daemon work, and time pass, until something is so."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while True:
                    found = look()
                    if await found if asyncio.iscoroutine(found) else found:
                        return
                    await asyncio.sleep(TICK)
                    self.stage.advance(self.stage.told_until + timedelta(minutes=1))
        raise AssertionError(f"never: {what}")

    async def report(self, name: str) -> dict[str, Any]:
        now = self.stage.clock.now()
        whole = await status(self.installation.reports, self.installation.config, [name], now)
        report: dict[str, Any] = whole["tenants"][name]
        return report

    async def deals(self, name: str) -> int:
        count: int = (await self.report(name))["sources"][SOURCE]["deals"]
        return count


@asynccontextmanager
async def office(folder: Path) -> AsyncIterator[Office]:
    """One tenant is well; one has dead credentials on both sides; one a broken value in its configuration."""
    stage = Stage(Cast(1, START, days=3, leads=0, kinds=KINDS), SharedClock(folder / "clock"))
    _slow_down(stage.scenes[-1], stage)
    await stage.start()
    stage.advance(START + timedelta(days=1))
    stage.configure(folder / "config.toml", "sqlite:///bridge.db")
    _break(folder)
    installation = await Installation.open(load_config(folder / "config.toml"), stage.clock)
    daemon = Daemon(installation, tick=TICK)
    running = asyncio.create_task(daemon.run())
    try:
        yield Office(stage, installation)
    finally:
        daemon.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(running, PATIENCE)
        await installation.close()
        await stage.stop()


def _slow_down(scene: Scene, stage: Stage) -> None:
    """This tenant's CRM keeps its rate limit, so that reading a flood takes its time."""
    amocrm: Any = simulator("amocrm")
    scene.crm = amocrm(stage.clock, name=scene.crm.name, is_limited=True)


def _break(folder: Path) -> None:
    config = folder / "config.toml"
    text = config.read_text(encoding="utf-8")
    text = re.sub(rf'(\[tenants\.{BROKEN}\][^\[]*timezone = )"[^"]*"', r'\1"Europe/Atlantis"', text)
    config.write_text(text, encoding="utf-8")
    for secret in (folder / "secrets").glob(f"{DEAD.upper()}_*"):
        if "GOOGLE" not in secret.name:  # a key file of another shape would be a broken setting instead
            secret.write_text("77/deadbeefdeadbeef", encoding="utf-8")


def lead(number: int) -> Lead:
    """Somebody who clicked in the morning and was qualified at noon."""
    came = NOON - timedelta(hours=3) + timedelta(minutes=number)
    yclid, gclid = f"1775110000000000{number:04d}", f"Cj0KCQiAsample{number:026d}"
    click = Click(number, came - timedelta(hours=6), number, f"https://okna.example/?yclid={yclid}", "", yclid, gclid)
    steps = (Step(came, StageName.NEW), Step(came + timedelta(hours=2), StageName.QUALIFIED))
    phone = f"+7999000{number:04d}"
    return Lead(number, number, came, "Иван Тестов", (phone,), (), click, Carrier.FIELD, "", "Сайт", (), steps)


def arrived(scene: Scene) -> dict[str, int]:
    return {name: sum(row.is_linked for row in account.applied()) for name, account in scene.ads.items()}


async def test_neither_dead_credentials_nor_a_broken_value_nor_a_flood_delays_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one tenant's flood of records is being read, another's fresh lead goes through to both ad systems; the
    broken ones say what is wrong with them."""
    monkeypatch.setattr("bridge.daemon.STOP_LIMIT", timedelta(seconds=0.2))  # the rest of the flood is not waited for
    async with office(tmp_path) as made:
        healthy, flooded = made.scene(HEALTHY), made.scene(FLOODED)
        await made.until(lambda: _is_polled(made, HEALTHY), "first poll")
        tell(healthy, lead(1), made.stage)
        made.stage.advance(NOON + timedelta(hours=6))
        await made.until(lambda: arrived(healthy) == {METRICA: 1, GOOGLE: 1}, "a lead beside broken tenants")

        for event in World.make(3, FLOOD, start=START, days=1).happenings():
            if event.at <= NOON:
                flooded.crm.happen(event)
        made.stage.advance(NOON + timedelta(hours=7))
        asked = flooded.crm.requests.total()
        await made.until(lambda: flooded.crm.requests.total() > asked + 3, "the flood begins")
        tell(healthy, lead(2), made.stage)
        await made.until(lambda: arrived(healthy) == {METRICA: 2, GOOGLE: 2}, "a lead beside the flood")
        assert await made.deals(FLOODED) < FLOOD / 2  # it is far from over

        dead = await made.report(DEAD)
        assert "AuthError" in dead["sources"][SOURCE]["last_error"]
        assert list(made.installation.config.broken) == [BROKEN]
        assert "timezone" in made.installation.config.broken[BROKEN][0]
        assert (await made.report(HEALTHY))["sources"][SOURCE]["last_error"] is None


async def _is_polled(made: Office, name: str) -> bool:
    return (await made.report(name))["sources"][SOURCE]["lag_s"] is not None
