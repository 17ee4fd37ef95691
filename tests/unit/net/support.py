"""A vendor on a real socket whose every answer the test scripts, and accounts on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from bridge.errors import AuthError, Drift, Throttled, Unavailable
from bridge.net.http import HttpClient
from bridge.sim.clock import ManualClock
from bridge.tools import Account, AccountSetup, Rate, Refresh, Request, Response, Tokens, TokenStore
from tests.support import MemoryTokens

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def judge(request: Request, response: Response) -> None:
    """A plain vendor: 401 refused, 403 banned, 429 too many, 5xx down, broken JSON drift."""
    after = response.headers.get("retry-after")
    if response.status == 401:
        raise AuthError("the token was refused")
    if response.status == 403:
        raise AuthError("the account is banned", is_final=True)
    if response.status == 429:
        raise Throttled("too many requests", retry_after=float(after) if after else None)
    if response.status >= 500:
        raise Unavailable(f"server error {response.status}")
    if response.body.startswith(b"{cut"):
        raise Drift("cut JSON")


class RecordingLog:
    """Keeps (event, fields)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def debug(self, event: str, **fields: Any) -> None:
        self.events.append((event, fields))

    info = warning = error = exception = debug

    def names(self) -> list[str]:
        return [event for event, _ in self.events]


@dataclass
class Bench:
    """One HTTP client, one scripted vendor."""

    client: HttpClient
    base_url: str
    clock: ManualClock
    log: RecordingLog
    seen: list[web.Request] = field(default_factory=list)

    def account(self, **changes: Any) -> Account:
        given: dict[str, Any] = {
            "name": "okna.crm",
            "base_url": self.base_url,
            "judge": judge,
            "rate": Rate(10_000.0, burst=100, parallel=20),
            "tokens": Tokens("first-token"),
        }
        return self.client.account(AccountSetup(**{**given, **changes}))


@asynccontextmanager
async def bench(handler: Handler, tokens: TokenStore | None = None) -> AsyncIterator[Bench]:
    """A vendor that answers every path with ``handler``."""
    clock, log = ManualClock(START), RecordingLog()
    app = web.Application(client_max_size=1 << 26)
    bench = Bench(HttpClient(clock, log, tokens or MemoryTokens()), "", clock, log)

    async def record(request: web.Request) -> web.StreamResponse:
        bench.seen.append(request)
        return await handler(request)

    app.router.add_route("*", "/{tail:.*}", record)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    bench.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield bench
    finally:
        await bench.client.close()
        await runner.cleanup()


@asynccontextmanager
async def raw_vendor(answer: bytes) -> AsyncIterator[tuple[Bench, list[bytes]]]:
    """A vendor that reads a request, writes exactly these bytes and hangs up; and what it has read."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65536))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    clock, log = ManualClock(START), RecordingLog()
    client = HttpClient(clock, log, MemoryTokens())
    port = server.sockets[0].getsockname()[1]
    try:
        yield Bench(client, f"http://127.0.0.1:{port}", clock, log), heard
    finally:
        await client.close()
        server.close()


def say(*answers: tuple[int, str]) -> Handler:
    """Answers in turn; the last one for ever."""
    left = list(answers)

    async def handler(_: web.Request) -> web.Response:
        status, text = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(status=status, text=text)

    return handler


def rotating(refresh: Refresh, **changes: Any) -> dict[str, Any]:
    return {"tokens": Tokens("old", refresh="seed-refresh"), "refresh": refresh, **changes}
