"""``/healthz`` and ``/metrics`` over a real socket, and addresses that cannot be listened on."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import structlog

from bridge.config import Config, DatabaseSettings, LogSettings, TenantSettings, WebSettings
from bridge.errors import ConfigError
from bridge.frozen import replace
from bridge.sim.clock import ManualClock
from bridge.store import Store
from bridge.store.hints import Hints
from bridge.store.reports import Reports
from bridge.tools import Log
from bridge.web.server import WebServer
from tests.e2e.kit import free_port
from tests.simulation.kit import captured_logs
from tests.support import START


@dataclass(slots=True)
class Served:
    """The part of an installation that is shown."""

    config: Config
    clock: ManualClock
    log: Log
    store: Store
    reports: Reports
    hints: Hints


@asynccontextmanager
async def installed(folder: Path, **tenants: TenantSettings) -> AsyncIterator[Served]:
    """These tenants, a new database, and an address that is free."""
    store = await Store.open(f"sqlite:///{folder / 'bridge.db'}")
    parts = (DatabaseSettings(), WebSettings(listen=f"127.0.0.1:{free_port()}"), LogSettings())
    config = Config(folder / "config.toml", *parts, tenants)
    try:
        yield Served(config, ManualClock(START), structlog.get_logger(), store, Reports(store), Hints(store))
    finally:
        await store.close()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with captured_logs():
        yield


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """An installation with one tenant that has nothing, and a database."""
    async with installed(tmp_path, okna=TenantSettings()) as made:
        yield made


async def get(served: Served, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{served.config.web.listen}{path}") as answer:
        return answer.status, await answer.text()


@pytest.fixture
async def running(served: Served) -> AsyncIterator[Served]:
    server = WebServer(served, ["okna"])
    await server.start()
    yield served
    await server.stop()


async def test_a_sound_installation_is_ok(running: Served) -> None:
    """200, and nothing to look at."""
    assert await get(running, "/healthz") == (200, '{"status": "ok", "attention": []}')
    status, text = await get(running, "/metrics")
    assert status == 200
    assert text.startswith("# HELP bridge_")


async def test_what_needs_a_human_does_not_restart_the_process(running: Served) -> None:
    """A broken tenant is named, but the process is healthy: 200."""
    running.config = replace(running.config, broken={"sad": ("config.toml: tenants.sad.timezone: unknown",)})
    status, text = await get(running, "/healthz")
    assert status == 200
    assert '"attention": ["config.toml: tenants.sad.timezone: unknown"]' in text


async def test_a_database_that_does_not_answer_is_503(running: Served) -> None:
    """Then a restart may help."""
    await running.store.close()
    folder = running.config.folder
    for file in folder.glob("bridge.db*"):
        file.unlink()
    (folder / "bridge.db").mkdir()
    status, text = await get(running, "/healthz")
    assert (status, text) == (503, '{"status": "database unavailable"}')
    assert await get(running, "/metrics") == (503, "")


async def test_an_empty_address_switches_it_off(served: Served) -> None:
    """Nothing listens, nothing fails."""
    served.config = replace(served.config, web=WebSettings(listen=""))
    server = WebServer(served, ["okna"])
    await server.start()
    await server.stop()


@contextmanager
def _taken(address: str) -> Iterator[None]:
    host, _, port = address.rpartition(":")
    with closing(socket.create_server((host, int(port)))):
        yield


async def test_a_taken_address_is_named(served: Served) -> None:
    """With the setting to change."""
    server = WebServer(served, ["okna"])
    with _taken(served.config.web.listen), pytest.raises(ConfigError, match=r"web\.listen: cannot listen on"):
        await server.start()


async def test_an_address_of_another_machine_is_told_apart(served: Served) -> None:
    """Another port would not help."""
    served.config = replace(served.config, web=WebSettings(listen="192.0.2.1:8080"))
    with pytest.raises(ConfigError, match=r"on 192\.0\.2\.1:8080: this machine has no such address"):
        await WebServer(served, ["okna"]).start()
