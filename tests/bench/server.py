"""The simulators' process: one CRM with a whole business already in it, and one Metrica counter after another.

It takes one JSON object on the command line (:class:`Order`), prints one line when everything stands, then answers
requests, one JSON object a line, until its input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from adapters.yandex_metrica.fake import Metrica
from bridge.sim import stage, toml
from bridge.sim.clock import ManualClock
from bridge.sim.server import SourceSimulator
from bridge.sim.world import World
from bridge.system_clock import SystemClock
from bridge.tools import Clock
from tests.bench.conversions import UploadClicks

START = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted. ``days``: leads come in for so long. ``plain``: so many equal Bitrix24 deals, no business."""

    folder: str
    kind: str = "amocrm"
    leads: int = 0
    days: int = 15
    plain: int = 0
    is_limited: bool = False
    tenants: int = 1
    is_now: bool = False  # real time: everything has happened, nothing goes on


class Site:
    """Everything on one clock, three days after the last lead came in; it stands still unless it is the real one."""

    def __init__(self, order: Order) -> None:
        self.order = order
        past = timedelta(days=order.days + 3)
        self.clock: Clock = SystemClock() if order.is_now else ManualClock(START + past)
        self.start = (self.clock.now() - past).replace(microsecond=0)
        self.world = World.make(1, order.leads, start=self.start, days=order.days)
        made = stage.simulator(order.kind)(self.clock, name="bench_crm", is_limited=order.is_limited)
        self.crm = cast(SourceSimulator, made)
        self.metrica = Metrica(self.clock, name="bench_metrica", is_limited=order.is_limited)
        self.uploads = UploadClicks(self.clock)
        self._cpu = 0.0

    async def open(self) -> None:
        """Let everything happen, then listen."""
        now = self.clock.now()
        for happening in self.world.happenings():
            if happening.at <= now:
                self.crm.happen(happening)
        for _ in range(self.order.plain):
            data = cast(Any, self.crm).data
            data.add(
                "deal", self.start, {"TITLE": "Заявка", "CATEGORY_ID": "1", "STAGE_ID": "C1:NEW", "OPPORTUNITY": "100"}
            )
        await self.crm.start()
        await self.uploads.start()

    async def fresh(self, folder: Path, max_rows: int) -> dict[str, Any]:
        """A new counter that knows every visit, a new configuration, counts from zero."""
        await self.metrica.stop()
        self.metrica = Metrica(self.clock, name="bench_metrica", is_limited=self.order.is_limited)
        for click in self.world.clicks:
            self.metrica.know(click)
        await self.metrica.start()
        self.crm.requests.clear()
        self.uploads.clear()
        self._cpu = time.process_time()
        return self._facts(folder, max_rows)

    def _facts(self, folder: Path, max_rows: int) -> dict[str, Any]:
        return {
            "config": str(self._configure(folder, max_rows)),
            "since": self.start.isoformat(),
            "now": self.clock.now().isoformat(),
            "crm": self.crm.base_url,
            "crm_secret": next(iter(self.crm.secrets().values())),
            "metrica": f"{self.metrica.base_url}/management/v1/counter/{self.metrica.counter_id}",
            "metrica_token": self.metrica.token,
            "google_ads": self.uploads.base_url,
        }

    def _configure(self, folder: Path, max_rows: int) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, secret in {**self.crm.secrets(), **self.metrica.secrets()}.items():
            (folder / name).write_text(secret, encoding="utf-8")
        names = ["okna"] if self.order.tenants == 1 else [f"tenant{number}" for number in range(self.order.tenants)]
        config = {
            "database": {"url": "sqlite:///bridge.db"},
            "web": {"listen": ""},
            "tenants": {name: self._tenant(max_rows) for name in names},
        }
        path = folder / "config.toml"
        path.write_text(toml.dumps(_with_files(config)), encoding="utf-8")
        return path

    def _tenant(self, max_rows: int) -> dict[str, Any]:
        fast = {} if self.order.is_limited or self.order.is_now else {"requests_per_second": 1000}
        goals = [{**goal, "send": {"metrica": goal["send"]["metrica"]}} for goal in stage.goals()]
        return {
            "title": "Окна",
            "timezone": "Europe/Moscow",
            "currency": "RUB",
            "sources": {"crm": {**self.crm.settings(), "start_from": "31d", **fast}},
            "destinations": {"metrica": {**self.metrica.settings(), "max_rows": max_rows}},
            "goals": goals,
        }

    def counts(self) -> dict[str, Any]:
        """Since ``fresh``: requests by kind, CPU seconds, and what arrived at the counter."""
        return {
            "requests": {**self.crm.requests, **self.metrica.requests, **self.uploads.requests},
            "cpu": time.process_time() - self._cpu,
            "received": self.metrica.rows_received + self.uploads.rows_received,
            "repeated": self.metrica.rows_repeated + self.uploads.rows_repeated,
        }

    async def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """One request of the program."""
        if asked["do"] == "fresh":
            return await self.fresh(Path(asked["folder"]), asked.get("max_rows", 10_000))
        if asked["do"] == "advance" and isinstance(self.clock, ManualClock):
            self.clock.advance(timedelta(minutes=asked["minutes"]))
        return self.counts()


def _with_files(value: Any) -> Any:
    """References to environment variables turned into references to files beside the configuration."""
    if isinstance(value, Mapping):
        return {"file": value["env"]} if set(value) == {"env"} else {k: _with_files(v) for k, v in value.items()}
    return [_with_files(inner) for inner in value] if isinstance(value, list) else value


def _say(answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


async def _serve(order: Order) -> None:
    site = Site(order)
    await site.open()
    _say({**asdict(order), "leads": len(site.world.leads)})
    while line := await asyncio.to_thread(sys.stdin.readline):
        _say(await site.answer(json.loads(line)))


if __name__ == "__main__":
    asyncio.run(_serve(Order(**json.loads(sys.argv[1]))))
