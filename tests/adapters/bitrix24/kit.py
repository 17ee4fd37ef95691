"""What these tests share: a portal with a source on it, and values built in few words."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from adapters.bitrix24 import SPEC
from adapters.bitrix24.fake import Bitrix24
from adapters.bitrix24.fake_schema import DEAL, LEAD
from adapters.bitrix24.source import Bitrix24Source
from bridge.model import Deal
from bridge.ports import Head, Window
from bridge.sim.clock import ManualClock
from bridge.sim.events import Carrier, Click, Happening, Lead, StageName, Step
from bridge.tools import Tools
from tests.support import START, adapter_tools

SAMPLES = Path(__file__).parents[3] / "adapters" / "bitrix24" / "samples"
YCLID = "13527482094718001"


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))


@dataclass(slots=True)
class Rig:
    """A running portal, the tools, and a source that reads it."""

    portal: Bitrix24
    clock: ManualClock
    tools: Tools
    source: Bitrix24Source

    def another(self, **settings: Any) -> Bitrix24Source:
        """A second source on the same portal with other settings."""
        return build(self.tools, {**self.portal.settings(), **settings})

    def all_time(self) -> Window:
        return Window(START - timedelta(days=400), self.clock.now() + timedelta(seconds=1))

    @property
    def asked(self) -> dict[str, int]:
        """Requests so far by method."""
        return dict(self.portal.requests)


def build(tools: Tools, section: dict[str, Any]) -> Bitrix24Source:
    assert SPEC.source is not None
    made = SPEC.source.build("b24", SPEC.source.settings.model_validate(section), tools)
    assert isinstance(made, Bitrix24Source)
    return made


@asynccontextmanager
async def running(folder: Path, **options: Any) -> AsyncIterator[Rig]:
    """A portal on a socket and a source, without client-visible rate limits unless asked for."""
    clock = ManualClock(START)
    needs_payments = options.pop("needs_payments", False)
    portal = Bitrix24(clock, **{"is_limited": False, **options})
    await portal.start()
    with patch.dict(os.environ, portal.secrets()):
        async with adapter_tools(clock, folder, needs_payments=needs_payments) as tools:
            yield Rig(portal, clock, tools, build(tools, portal.settings()))
    await portal.stop()


async def listed(source: Bitrix24Source, window: Window) -> list[Head]:
    """Every head of a scan, which must have no bad record."""
    heads: list[Head] = []
    async for listing in source.scan(window):
        assert listing.bad == ()
        heads += listing.heads
    return heads


async def read(source: Bitrix24Source, window: Window) -> dict[str, Deal]:
    """Scan and complete, listing by listing, as the core does."""
    deals: dict[str, Deal] = {}
    async for listing in source.scan(window):
        for deal in await source.complete(listing.heads, frozenset(), window):
            assert isinstance(deal, Deal), deal
            deals[deal.key] = deal
    return deals


def add_deals(portal: Bitrix24, count: int, at: datetime = START, **fields: Any) -> None:
    """Many small deals of the pipeline "Продажи", all created at one moment."""
    for _ in range(count):
        portal.data.add(DEAL, at, {"CATEGORY_ID": "1", "STAGE_ID": "C1:NEW", **fields})


def add_leads(portal: Bitrix24, count: int, at: datetime = START, **fields: Any) -> None:
    for _ in range(count):
        portal.data.add(LEAD, at, {"STATUS_ID": "NEW", **fields})


def lead(number: int, steps: Iterable[tuple[int, StageName]], **other: Any) -> Lead:
    """An imaginary lead whose steps come so many minutes after the start."""
    click = Click(
        1, START, number, f"https://okna.example/?yclid={YCLID}", "https://yandex.ru/", YCLID, None, "16900001"
    )
    reason = other.pop("loss_reason", None)
    made = tuple(
        Step(START + timedelta(minutes=minute), stage, reason if stage is StageName.LOST else None, other.get("value"))
        for minute, stage in steps
    )
    facts: dict[str, Any] = {
        "person": number,
        "name": "Пётр Примеров",
        "phones": (f"8 (999) 000-{number // 100:02d}-{number % 100:02d}",),
        "emails": (),
        "click": click,
        "carrier": Carrier.FIELD,
        "garbage": "",
        "origin": "Квиз",
        "tags": (),
    }
    facts.update((name, value) for name, value in other.items() if name in facts)
    return Lead(id=number, created_at=made[0].at, steps=made, **facts)


def live(rig: Rig, *leads: Lead) -> None:
    """Everything that happens to these leads, in time order."""
    events = [
        Happening(step.at, item, step, is_new=index == 0) for item in leads for index, step in enumerate(item.steps)
    ]
    for event in sorted(events, key=lambda event: event.at):
        rig.clock.set(event.at)
        rig.portal.happen(event)
