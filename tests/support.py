"""What tests share: a start of time, a row for people, the tools an adapter is handed, over the real HTTP stack,
and servers.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import structlog
from aiohttp import web

from bridge.model import Money, Outgoing
from bridge.net.http import HttpClient
from bridge.net.mail import MailClient
from bridge.sim.server import Handler, Simulator
from bridge.tools import Clock, TenantFacts, Tokens, Tools

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
# What the sales team is told of a lead that shows no click.
NOTICE = Outgoing(
    delivery=f"{1:032x}",
    order_key=f"{2:032x}",
    target="sales",
    goal="qualified",
    occurred_at=START,
    deal_created_at=START - timedelta(hours=1),
    value=Money.of("100000.50", "RUB"),
    identifiers=(),
    deal="crm/lead:5123",
)


class MemoryTokens:
    """A token store for adapter tests; the real one is tested in ``tests/store``."""

    def __init__(self) -> None:
        self.saved: dict[tuple[str, str], Tokens] = {}

    async def load(self, account: str, seed: str) -> Tokens | None:
        return self.saved.get((account, seed))

    async def save(self, account: str, seed: str, tokens: Tokens) -> None:
        self.saved[account, seed] = tokens

    def lock(self, account: str) -> AbstractAsyncContextManager[None]:
        return self._lock()

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[None]:
        yield


@asynccontextmanager
async def adapter_tools(
    clock: Clock, folder: Path, tokens: Any = None, *, needs_values: bool = False, needs_payments: bool = False
) -> AsyncIterator[Tools]:
    """Tools for one adapter: a real HTTP client, the given clock, a logger."""
    log = structlog.get_logger()
    http = HttpClient(clock, log, tokens or MemoryTokens())
    try:
        facts = TenantFacts("okna", "Europe/Moscow", "RUB", "RU", needs_values, needs_payments)
        yield Tools(http, clock, log, folder, facts, MailClient(clock))
    finally:
        await http.close()


@asynccontextmanager
async def simulated(fake: Simulator, folder: Path) -> AsyncIterator[Tools]:
    """Tools for an adapter of this simulator, which runs meanwhile; its secrets are in the environment."""
    await fake.start()
    try:
        with patch.dict(os.environ, fake.secrets()):
            async with adapter_tools(fake.clock, folder) as tools:
                yield tools
    finally:
        await fake.stop()


@asynccontextmanager
async def served(take: Handler, path: str = "/") -> AsyncIterator[str]:
    """A server that takes what is posted to it; its address."""
    app = web.Application()
    app.add_routes([web.post(path, take)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}{path}"
    finally:
        await runner.cleanup()
