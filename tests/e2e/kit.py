"""A small installation in a folder, and its command line: in this process, or as processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from typer.testing import CliRunner

from bridge.cli import app
from bridge.frozen import frozen
from bridge.sim import toml
from bridge.sim.clock import ManualClock, SharedClock
from bridge.sim.server import Simulator

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 20, 9, 0, tzinfo=UTC)
TENANT, SOURCE, DESTINATION = "okna", "leads", "metrica"
GOALS: list[dict[str, Any]] = [
    {"name": "qualified", "when": {"stage": ["Квалифицирован"]}, "send": {DESTINATION: "qualified_lead"}},
    {"name": "sale", "when": {"outcome": "won"}, "value": "deal", "send": {DESTINATION: "deal_won"}},
]
_HEAD = "ID;Дата создания;Дата статуса;Статус;Сумма;yclid;Телефон"
_PATIENCE = 60.0  # seconds for something that a busy machine does late


# --- a table of leads in, upload files out -----------------------------------------------------------------------


@frozen
class TableRow:
    """One row: a lead that came three days ago and took its last step two days ago."""

    id: str
    status: str = "Квалифицирован"
    amount: str = ""
    at: datetime = NOW - timedelta(days=2)
    created_at: datetime = NOW - timedelta(days=3)
    yclid: str | None = None
    phone: str = "+7 999 000-00-01"

    def text(self) -> str:
        """Cells in the order of the header; Moscow time."""
        times = (f"{moment + timedelta(hours=3):%d.%m.%Y %H:%M:%S}" for moment in (self.created_at, self.at))
        yclid = f"1775110{int.from_bytes(self.id.encode()[-4:], 'big'):012d}" if self.yclid is None else self.yclid
        return ";".join([self.id, *times, self.status, self.amount, yclid, self.phone])


def write_table(folder: Path, rows: Sequence[TableRow | str]) -> None:
    """The table as its owner exports it; a text stands for a row as it is."""
    lines = [row if isinstance(row, str) else row.text() for row in rows]
    (folder / "leads.csv").write_text("\n".join([_HEAD, *lines]) + "\n", encoding="utf-8")


def tenant(**parts: Any) -> dict[str, Any]:
    """A tenant on a table; keyword arguments replace whole keys."""
    source = {"kind": "table", "path": "leads.csv", "start_from": "30d", "poll_every": "1s"}
    destination = {"kind": "table", "path": "upload", "format": "yandex_metrica", "send_every": "1s"}
    return {
        "timezone": "Europe/Moscow",
        "sources": {SOURCE: source},
        "destinations": {DESTINATION: destination},
        "goals": GOALS,
        **parts,
    }


def write_config(folder: Path, *, listen: str = "", database: str = "sqlite:///bridge.db", **tenants: Any) -> Path:
    """``config.toml`` of these tenants (of one on a table, unless given), with a clock beside it."""
    path, clock = folder / "config.toml", folder / "clock"
    settings = {"database": {"url": database}, "web": {"listen": listen}}
    path.write_text(toml.dumps({**settings, "tenants": tenants or {TENANT: tenant()}}), encoding="utf-8")
    if not clock.exists():
        SharedClock(clock).set(NOW)
    return path


def later(folder: Path, by: timedelta) -> None:
    """Time passes, for commands and daemons alike."""
    clock = SharedClock(folder / "clock")
    clock.set(clock.now() + by)


def uploaded(folder: Path) -> list[str]:
    """Every row of every upload file: what the destination was sent."""
    files = sorted((folder / "upload").glob("*.csv"))
    return [line for file in files for line in file.read_text(encoding="utf-8-sig").splitlines()[1:]]


# --- commands ----------------------------------------------------------------------------------------------------

_CLOCKED = frozenset({"audit", "auth", "sync", "backfill", "late", "plan", "status", "run", "resolve"})


@frozen
class Said:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def arguments(folder: Path, words: Sequence[str]) -> list[str]:
    """The words with the folder's configuration, and its clock where the command has one."""
    clock = ["--clock", str(folder / "clock")] if _CLOCKED & set(words[:2]) else []
    return [*words, "--config", str(folder / "config.toml"), *clock]


def call(folder: Path, *words: str) -> Said:
    """A command in this process, through the real command line. Bugs show themselves."""
    return free_call(*arguments(folder, words))


def free_call(*words: str) -> Said:
    """The same for exactly these words, without a configuration."""
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    return Said(result.exit_code, result.stdout, result.stderr)


def process(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> Said:
    """A command as a process of its own."""
    command = [sys.executable, "-m", "bridge", *arguments(folder, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(env), cwd=folder, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    paths = [str(ROOT), *((extra or {}).get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, **(extra or {}), "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@dataclass(slots=True)
class Running:
    """A daemon in a process of its own. ``log`` is what it wrote so far."""

    process: subprocess.Popen[bytes]
    path: Path
    ready: socket.socket = field(repr=False)

    @property
    def log(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def wait_until_ready(self) -> None:
        """Until it tells the service manager so."""
        self.ready.settimeout(_PATIENCE)
        while b"READY=1" not in self.ready.recv(4096):
            pass

    def stop(self) -> int:
        """SIGTERM, as a service manager does; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_PATIENCE)


@contextmanager
def daemon(folder: Path, *, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """``bridge run``, started and ready; killed at the end unless it was stopped."""
    ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ready.bind(f"\0bridge-{os.getpid()}-{id(ready)}")
    command = [sys.executable, "-m", "bridge", *arguments(folder, ["run"])]
    told = {"NOTIFY_SOCKET": "@" + ready.getsockname()[1:].decode(), "BRIDGE_SIM_TICK": "0.1"}
    path = folder / f"daemon-{time.monotonic_ns()}.log"
    with ready, open(path, "wb") as log:
        started = subprocess.Popen(command, stderr=log, stdout=log, env=_environment({**told, **(env or {})}))
        running = Running(started, path, ready)
        try:
            running.wait_until_ready()
            yield running
        finally:
            with suppress(ProcessLookupError):
                started.kill()
            started.wait()


def eventually(folder: Path, look: Callable[[], T], what: str) -> T:
    """What ``look`` returns, as soon as that is true. Simulated time passes meanwhile."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
        later(folder, timedelta(seconds=2))
    raise AssertionError(f"never: {what}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


# --- simulators beside commands that have a loop of their own ----------------------------------------------------


class Background:
    """An event loop in a thread, for simulators that synchronous commands talk to."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_PATIENCE)
        self.loop.close()

    def run(self, work: Any) -> Any:
        """A coroutine's result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_PATIENCE)

    def do(self, work: Callable[[], T]) -> T:
        """A function's result, called inside the loop's thread, so that it races with no request."""

        async def done() -> T:
            return work()

        result: T = self.run(done())
        return result


@contextmanager
def served(*simulators: Simulator) -> Iterator[Background]:
    """Vendors' simulators on their sockets, in a loop of their own."""
    with Background() as background:
        for one in simulators:
            background.run(one.start())
        try:
            yield background
        finally:
            for one in simulators:
                background.run(one.stop())


class Scripted(Simulator):
    """A server that answers everything alike: a gateway's page, an outage, half an answer."""

    def __init__(self, status: int, content_type: str, body: bytes) -> None:
        super().__init__(ManualClock(NOW), name="scripted", is_limited=False)
        self._answer = (status, content_type, body)

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.route("*", "/{path:.*}", self._always)]

    async def _always(self, request: web.Request) -> web.Response:
        status, content_type, body = self._answer
        return web.Response(status=status, content_type=content_type, body=body)
