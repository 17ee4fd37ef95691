"""A small business of our own, a source over the simulated account, and what ought to be read."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.amocrm.fake import AmoCrm
from adapters.amocrm.fake_store import FIRST_LEAD, PIPELINE, STAGES
from adapters.amocrm.settings import AmoCrmSettings
from adapters.amocrm.source import AmoCrmSource, build
from bridge.model import Deal, utc
from bridge.ports import BadRecord, Window
from bridge.sim.clock import ManualClock
from bridge.sim.events import Carrier, Click, Happening, Lead, StageName, Step
from bridge.tools import Tools
from tests.support import START, MemoryTokens, adapter_tools

HOUR = timedelta(hours=1)
NEW, CONTACTED, QUALIFIED, MEETING, WON, LOST = StageName


def step(at: datetime, stage: StageName, value: int | None = None, reason: str | None = None) -> Step:
    return Step(at, stage, reason, None if value is None else Decimal(value))


def lead(number: int, *steps: Step, **changes: Any) -> Lead:
    """A lead whose first step is NEW; carries its ids in fields unless told otherwise."""
    at = steps[0].at
    click = Click(
        number, at - HOUR, number, f"https://okna.example/?utm_source=yandex&yclid={10**18 + number}", "https://ya.ru/",
        yclid=str(10**18 + number), client_id=str(17 * 10**17 + number),
    )  # fmt: skip
    values: dict[str, Any] = {
        "person": number, "name": "Проба", "phones": (f"8 (999) 000-{number // 100:02d}-{number % 100:02d}",),
        "emails": (f"p{number}@example.com",), "click": click, "carrier": Carrier.FIELD, "garbage": "",
        "origin": "Сайт", "tags": ("сайт",),
    }  # fmt: skip
    return Lead(id=number, created_at=at, steps=steps, **(values | changes))


def business(size: int, seed: int = 1, hours: int = 48) -> list[Lead]:
    """Leads that wander through stages; bulk edits put many on one second."""
    rng = random.Random(seed)
    made = []
    for number in range(1, size + 1):
        at = START + timedelta(seconds=rng.randrange(hours * 3600))
        steps = [step(at, NEW)]
        for stage in rng.sample((CONTACTED, QUALIFIED, MEETING, CONTACTED, WON, LOST), rng.randrange(5)):
            at += timedelta(seconds=rng.randrange(1, 3 * 3600))
            reason = "Спам" if stage is LOST else None
            steps.append(step(at, stage, rng.choice((None, 1000, 25000)), reason))
        made.append(lead(number, *steps))
    return sorted(made, key=lambda item: item.created_at)


def happenings(leads: Iterable[Lead]) -> list[Happening]:
    events = [Happening(s.at, item, s, number == 0) for item in leads for number, s in enumerate(item.steps)]
    return sorted(events, key=lambda event: (event.at, event.lead.id))


def truth(item: Lead, until: datetime | None = None) -> list[tuple[datetime, str]]:
    """Stage entries the world knows: (time, stage id)."""
    entries: list[tuple[datetime, str]] = []
    for s in item.steps:
        stage = str(STAGES[s.stage])
        if (until is None or s.at <= until) and (not entries or entries[-1][1] != stage):
            entries.append((s.at, stage))
    return entries


def told(deal: Deal) -> list[tuple[datetime, str]]:
    return [(change.at, change.stage) for change in deal.history]


@asynccontextmanager
async def account(
    patch: pytest.MonkeyPatch, folder: Path, clock: ManualClock | None = None, **options: Any
) -> AsyncIterator[tuple[AmoCrm, AmoCrmSource]]:
    """A started simulator without limits, and a source over the real HTTP stack."""
    clock = clock or ManualClock(START)
    settings, tokens = options.pop("settings", {}), options.pop("tokens", MemoryTokens())
    needs_values = options.pop("needs_values", False)
    sim = AmoCrm(clock, **{"is_limited": False, **options})
    await sim.start()
    for name, value in sim.secrets().items():
        patch.setenv(name, value)
    try:
        async with adapter_tools(clock, folder, tokens, needs_values=needs_values) as tools:
            yield sim, source_of(sim, tools, **settings)
    finally:
        await sim.stop()


def source_of(sim: AmoCrm, tools: Tools, **changes: Any) -> AmoCrmSource:
    return build("crm", AmoCrmSettings.model_validate(sim.settings() | changes), tools)


Between = Callable[[int], None]


async def read(
    source: AmoCrmSource, window: Window, known: frozenset[str] = frozenset(), between: Between | None = None
) -> list[Deal | BadRecord]:
    """Scan and complete a window as the core does; ``between`` runs after each page with its number."""
    found: list[Deal | BadRecord] = []
    number = 0
    async for listing in source.scan(window):
        found += listing.bad
        found += await source.complete(listing.heads, known, window)
        number += 1
        if between is not None:
            between(number)
    return found


def deals(found: Sequence[Deal | BadRecord]) -> dict[str, Deal]:
    """The newest reading of each deal."""
    return {item.key: item for item in found if isinstance(item, Deal)}


def key(item: Lead) -> str:
    return f"lead:{FIRST_LEAD + item.id}"


def second(moment: datetime) -> int:
    return int(moment.timestamp())


def raw_lead(number: int, at: int, **changes: Any) -> dict[str, Any]:
    """A lead as the vendor sends it."""
    values = {"id": number, "created_at": at, "updated_at": at, "pipeline_id": PIPELINE, "status_id": 47001001}
    return {**values, "price": 0, "custom_fields_values": None, "_embedded": {"tags": [], "companies": []}, **changes}


def window(start: datetime, end: datetime) -> Window:
    return Window(start, end)


EVERYTHING = Window(utc(second(START) - 86400), utc(second(START) + 40 * 86400))
