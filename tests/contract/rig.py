"""Finds every adapter and puts it together over real sockets against its own simulator, like the daemon would."""

from __future__ import annotations

import importlib
import os
import shutil
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bridge import registry
from bridge.config import TrackerSettings
from bridge.sim.clock import ManualClock
from bridge.sim.server import DestinationSimulator, Simulator, SourceSimulator, TrackerSimulator, VisitSimulator
from bridge.tools import Tools
from bridge.visits import VisitSettings
from tests.support import START, adapter_tools

_ON_FILES = " on files"
ROOT = Path(__file__).resolve().parents[2]
SPECS = registry.adapters()
_PARTS: dict[str, tuple[type[Simulator], ...]] = {
    "source": (SourceSimulator, TrackerSimulator, VisitSimulator),
    "destination": (DestinationSimulator,),
}
TRACKERS = [kind for kind, spec in SPECS.items() if spec.source and issubclass(spec.source.settings, TrackerSettings)]

COUNTERS = [kind for kind, spec in SPECS.items() if spec.source and issubclass(spec.source.settings, VisitSettings)]


def _simulator(kind: str, side: str) -> type[Simulator] | None:
    """The simulator of one side; an adapter's other side may need none (a folder of files)."""
    path = (side == "source" and SPECS[kind].source_fake) or SPECS[kind].fake
    if not path:
        return None
    module, _, name = path.rpartition(".")
    found: type[Simulator] = getattr(importlib.import_module(module), name)
    return found if issubclass(found, _PARTS[side]) else None


def _roads(side: str) -> list[str]:
    """Every adapter that has this side; one that reads vendors and files alike is tested on both roads."""
    kinds = [kind for kind, spec in SPECS.items() if getattr(spec, side)]
    on_files = [kind for kind in kinds if _simulator(kind, side) and "path" in _example_section(kind, side)]
    return [*kinds, *(kind + _ON_FILES for kind in on_files)]


def _with_server(side: str) -> frozenset[str]:
    return frozenset(kind for kind, spec in SPECS.items() if getattr(spec, side) and _simulator(kind, side))


@dataclass(slots=True)
class Rig:
    """One side of an adapter at work. ``fake`` is None where the adapter talks to no server."""

    kind: str
    side: str
    clock: ManualClock
    tools: Tools
    fake: Any
    port: Any

    def again(self) -> Any:
        """A second instance with the same settings: what a restarted process has."""
        return _build(self.kind, self.side, self.fake, self.tools)


@asynccontextmanager
async def rig(kind: str, side: str, folder: Path) -> AsyncIterator[Rig]:
    """An adapter's side ("source" or "destination") built as the daemon builds it, on its running simulator."""
    clock = ManualClock(START)
    kind, on_files = kind.removesuffix(_ON_FILES), kind.endswith(_ON_FILES)
    made = None if on_files else _simulator(kind, side)
    fake = made(clock, is_limited=False) if made is not None else None
    if fake is None:
        _lay_out(kind, folder)
    else:
        await fake.start()
    try:
        with _environment(fake.secrets() if fake else {}):
            async with adapter_tools(clock, folder) as tools:
                port = _build(kind, side, fake, tools)
                yield Rig(kind, side, clock, tools, fake, port)
                await port.close()
    finally:
        if fake is not None:
            await fake.stop()


def _build(kind: str, side: str, fake: Simulator | None, tools: Tools) -> Any:
    part = getattr(SPECS[kind], side)
    section = fake.settings() if fake else _example_section(kind, side)
    return part.build("own", part.settings.model_validate(section), tools)


def _lay_out(kind: str, folder: Path) -> None:
    """An adapter without a server reads and writes files: its samples, and the table in the docs."""
    for path in [*(ROOT / "adapters" / kind / "samples").iterdir(), *(ROOT / "docs").glob("*.csv")]:
        if path.is_file():
            shutil.copy(path, folder / path.name)


@cache
def _example() -> list[dict[str, Any]]:
    """Tenants of the example configuration: a section for every adapter, and goals that every simulator knows."""
    text = (ROOT / "config.example.toml").read_text(encoding="utf-8")
    return list(tomllib.loads(text)["tenants"].values())


def _example_section(kind: str, side: str) -> dict[str, Any]:
    for tenant in _example():
        for section in tenant.get(f"{side}s", {}).values():
            if section["kind"] == kind:
                found: dict[str, Any] = section
                return found
    raise AssertionError(f"config.example.toml has no {side} of kind {kind}")


def targets(kind: str) -> dict[str, str]:
    """Goal name -> goal at this destination, as the example configuration has them."""
    return {
        goal["name"]: goal["send"][own]
        for tenant in _example()
        for own, section in tenant.get("destinations", {}).items()
        for goal in tenant["goals"]
        if section["kind"] == kind and own in goal["send"]
    }


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


SOURCES = _roads("source")
DESTINATIONS = _roads("destination")
SOURCES_WITH_SERVER = _with_server("source")
DESTINATIONS_WITH_SERVER = _with_server("destination")
