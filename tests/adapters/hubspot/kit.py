"""What these tests share: an account with a source on it, and records built in few words."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from adapters.hubspot import SPEC
from adapters.hubspot.fake import HubSpot
from adapters.hubspot.fake_schema import CONTACTS, DEALS, SALES
from adapters.hubspot.source import HubSpotSource
from bridge.model import Deal
from bridge.ports import BadRecord, Head, Window
from bridge.sim.clock import ManualClock
from bridge.tools import Tools
from tests.support import START, adapter_tools

SAMPLES = Path(__file__).parents[3] / "adapters" / "hubspot" / "samples"
NEW, QUALIFIED, WON, LOST = "appointmentscheduled", "qualifiedtobuy", "closedwon", "closedlost"
YCLID, GCLID = "13527482094718001", "Cj0KCQiA1p2hBhDwARIsAErXb7nT4sXq0aZ"
NO_LAG = timedelta(0)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


@dataclass(slots=True)
class Rig:
    """A running account, the tools, and a source that reads it. What happens moves the clock."""

    portal: HubSpot
    clock: ManualClock
    tools: Tools
    source: HubSpotSource

    def another(self, **settings: Any) -> HubSpotSource:
        """A second source on the same account with other settings."""
        return build(self.tools, {**self.portal.settings(), **settings})

    def all_time(self) -> Window:
        return Window(START - timedelta(days=400), self.clock.now() + HOUR)

    def contact(self, at: datetime = START, **values: str | None) -> int:
        self.clock.set(at)
        return self.portal.data.add(CONTACTS, at, {"lifecyclestage": "lead", **values})

    def deal(self, at: datetime = START, contacts: Mapping[int, str | None] | None = None, **values: str | None) -> int:
        """A deal of the sales pipeline; ``contacts`` by id, with the label of the association."""
        self.clock.set(at)
        number = self.portal.data.add(DEALS, at, {"pipeline": SALES, "dealstage": NEW, **values})
        for contact, label in (contacts or {}).items():
            self.portal.data.link(number, contact, label)
        return number

    def change(self, key: str, at: datetime, **values: str | None) -> None:
        self.clock.set(at)
        kind, _, number = key.partition(":")
        self.portal.data.update(CONTACTS if kind == "lead" else DEALS, int(number), at, values)


def build(tools: Tools, section: dict[str, Any]) -> HubSpotSource:
    assert SPEC.source is not None
    made = SPEC.source.build("hub", SPEC.source.settings.model_validate(section), tools)
    assert isinstance(made, HubSpotSource)
    return made


@asynccontextmanager
async def running(folder: Path, *, needs_values: bool = False, **options: Any) -> AsyncIterator[Rig]:
    """An account on a socket and a source, without limits and lag unless asked for."""
    clock = ManualClock(START)
    portal = HubSpot(clock, **{"is_limited": False, "lag": NO_LAG, **options})
    await portal.start()
    try:
        with patch.dict(os.environ, portal.secrets()):
            async with adapter_tools(clock, folder, needs_values=needs_values) as tools:
                yield Rig(portal, clock, tools, build(tools, portal.settings()))
    finally:
        await portal.stop()


async def listed(source: HubSpotSource, window: Window) -> list[Head]:
    """Every head of a scan, which must have no bad record."""
    heads: list[Head] = []
    async for listing in source.scan(window):
        assert listing.bad == ()
        heads += listing.heads
    return heads


async def completed(source: HubSpotSource, window: Window) -> dict[str, Deal | BadRecord]:
    """Scan and complete, listing by listing, as the core does; what cannot be read stands for itself."""
    found: dict[str, Deal | BadRecord] = {}
    async for listing in source.scan(window):
        found |= {bad.key: bad for bad in listing.bad}
        for item in await source.complete(listing.heads, frozenset(), window):
            found[item.key] = item
    return found


async def read(source: HubSpotSource, window: Window) -> dict[str, Deal]:
    """The same where everything can be read."""
    deals: dict[str, Deal] = {}
    for key, item in (await completed(source, window)).items():
        assert isinstance(item, Deal), item
        deals[key] = item
    return deals
