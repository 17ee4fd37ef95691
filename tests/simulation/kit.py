"""An imaginary business played through in this process: the real loops, real sockets, a clock moved by hand."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from sqlalchemy import Table, select

from bridge import log
from bridge.compose import Installation, load_config
from bridge.config import Config
from bridge.daemon import cycle
from bridge.sim.clock import ManualClock
from bridge.sim.events import Call, Click, Happening, Lead
from bridge.sim.stage import Cast, Scene, Stage
from bridge.store import Store
from bridge.web.server import WebServer
from tests.e2e.kit import free_port

START = datetime(2026, 3, 1, tzinfo=UTC)
CRMS = ("amocrm", "bitrix24", "hubspot")
UPLOADS = ("POST upload", "POST /v1/events:ingest")
TAIL = timedelta(days=5)  # after the last lead: what was held up or is being verified comes to its end
DATABASE = "bridge.db"


@dataclass(slots=True)
class Play:
    """A stage and an installation of the bridge that serves it."""

    stage: Stage
    installation: Installation
    folder: Path
    problems: list[str] = field(default_factory=list)

    @property
    def config(self) -> Config:
        return self.installation.config

    async def live(self, step: timedelta, tail: timedelta = TAIL) -> None:
        """Days of business, one turn of every tenant after each step; then a calm tail."""
        stage = self.stage
        end = stage.cast.start + timedelta(days=stage.cast.days)
        while (left := end + tail - stage.told_until) > timedelta(0):
            if stage.told_until >= end:
                stage.calm()
            await self.turn(min(step, left))

    async def turn(self, step: timedelta = timedelta(0)) -> None:
        """Let the business go on for so long, then every tenant has its turn."""
        until = self.stage.told_until + step
        if self.stage.cast.collects:
            await self.post(until)
        self.stage.advance(until)
        await self.cycle()

    async def cycle(self) -> None:
        """Every tenant has its turn."""
        for name in self.installation.names():
            progress = await cycle(await self.installation.tenant(name))
            self.problems += progress.problems

    async def post(self, until: datetime) -> None:
        """Visitors send the forms of their sites, each at its own moment; the collector takes them."""
        forms = [(form.at, scene.tenant, form) for scene in self.stage.scenes for form in scene.forms(until)]
        async with aiohttp.ClientSession(headers={"Origin": "https://okna.example"}) as session:
            for at, tenant, form in sorted(forms, key=lambda item: item[:2]):
                self.stage.clock.set(at)
                url = f"http://{self.config.web.listen}/collect/{tenant}"
                async with session.post(url, data=json.dumps(posted(form))) as answer:
                    assert answer.status == 204, await answer.text()


def posted(form: Call) -> dict[str, Any]:
    """What the snippet sends of a form."""
    click = form.click
    landing = {"l": click.landing, "r": click.referrer, "a": (form.at - click.at).total_seconds()} if click else None
    told = {"v": 1, "k": form.key, "s": form.seconds, "n": 1, "x": {"p": [f"+{form.phone}"]}}
    cookies = {"client_id": click.client_id} if click and click.client_id else {}
    return {**told, "c": cookies, "l": landing, "f": landing}


@asynccontextmanager
async def play(folder: Path, stage: Stage, **overrides: Any) -> AsyncIterator[Play]:
    """The stage started, its configuration on disk, and an opened installation."""
    await stage.start()
    try:
        web = f"127.0.0.1:{free_port()}" if stage.cast.collects else ""
        stage.configure(folder / "config.toml", f"sqlite:///{DATABASE}", **{"web": web, **overrides})
        config = load_config(folder / "config.toml")
        installation = await Installation.open(config, stage.clock, seed=stage.cast.seed)
        try:
            async with _collecting(installation, stage):
                yield Play(stage, installation, folder)
        finally:
            await installation.close()
    finally:
        await stage.stop()


@asynccontextmanager
async def _collecting(installation: Installation, stage: Stage) -> AsyncIterator[None]:
    """The web server, where sites have our collector."""
    if not stage.cast.collects:
        yield
        return
    web = WebServer(installation, installation.names())
    await web.start()
    try:
        yield
    finally:
        await web.stop()


def staged(cast: Cast) -> Stage:
    """A stage on a clock moved by hand."""
    return Stage(cast, ManualClock(cast.start))


@contextmanager
def captured_logs() -> Iterator[io.StringIO]:
    """Everything the program logs, at the finest level; an event of an unknown name is an error."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    log.setup("debug", "json", stream, strict_events=True)
    try:
        yield stream
    finally:
        structlog.reset_defaults()
        root.handlers, root.level = handlers, level
        logging.captureWarnings(False)


def events(logs: io.StringIO, *names: str) -> list[dict[str, Any]]:
    """What was logged under these names, in order."""
    lines = [json.loads(line) for line in logs.getvalue().splitlines()]
    return [line for line in lines if line["event"] in names]


def tell(scene: Scene, lead: Lead, stage: Stage, steps: slice = slice(None)) -> None:
    """A lead of the test's own lives through these steps of its life, unseen by the bridge."""
    for number, step in list(enumerate(lead.steps))[steps]:
        if number == 0 and lead.click is not None:
            know(scene, lead.click)
        stage.advance(step.at)
        scene.crm.happen(Happening(step.at, lead, step, is_new=number == 0))


def know(scene: Scene, click: Click) -> None:
    for account in scene.ads.values():
        account.know(click)


def uploads(scene: Scene) -> int:
    """How many uploads the tenant's ad systems have been sent."""
    return sum(one.requests[label] for one in scene.ads.values() for label in UPLOADS)


async def column(store: Store, wanted: Any, *where: Any) -> list[Any]:
    """One column of a table."""
    async with store.read() as connection:
        return list((await connection.execute(select(wanted).where(*where))).scalars())


async def rows(store: Store, table: Table, *where: Any) -> list[dict[str, Any]]:
    """A table as it is."""
    async with store.read() as connection:
        return [dict(row._mapping) for row in await connection.execute(select(table).where(*where))]
