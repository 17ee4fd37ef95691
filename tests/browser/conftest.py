"""A site with forms, the collector beside it, and a real browser; without a browser these tests are skipped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from bridge.collector.post import Form
from bridge.collector.settings import CollectorSettings
from bridge.config import TenantSettings
from bridge.store import Store
from bridge.store.collected import Collected
from bridge.web.server import WebServer
from tests.browser.chromium import Browser, found, missing
from tests.browser.page import Page, opened
from tests.e2e.kit import free_port
from tests.support import START
from tests.unit.web.test_server import installed

_PATIENCE = 30.0  # seconds for something that a busy machine does late
_PAGE = """<!doctype html><meta charset=utf-8><title>t</title>
<script>%s</script>
<script src="%s" %s></script>
%s
"""


@dataclass(slots=True)
class Site:
    """``pages`` are bodies by path, ``first`` a script before the collector's, ``sent`` what its own forms posted."""

    port: int
    collector: str
    pages: dict[str, str] = field(default_factory=dict)
    first: str = ""
    how: str = ""
    sent: asyncio.Queue[dict[str, str]] = field(default_factory=asyncio.Queue)

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def page(self, request: web.Request) -> web.Response:
        text = _PAGE % (self.first, self.collector, self.how, self.pages.get(request.path, ""))
        return web.Response(text=text, content_type="text/html")

    async def take(self, request: web.Request) -> web.Response:
        self.sent.put_nowait({name: str(value) for name, value in (await request.post()).items()})
        return web.Response(text="<!doctype html><p id=thanks>ok</p>", content_type="text/html")


@dataclass(slots=True)
class Town:
    """Everything a visitor meets, and what is known of the visit."""

    site: Site
    page: Page
    store: Store

    async def kept(self) -> list[Form]:
        posts = await Collected(self.store).listed("okna", START, START + timedelta(days=1), None, 100)
        return [msgspec.json.decode(post.body, type=Form) for post in posts]

    async def told(self, count: int) -> list[Form]:
        """The forms, once so many have come."""
        async with asyncio.timeout(_PATIENCE):
            forms = await self.kept()
            while len(forms) < count:
                await asyncio.sleep(0.02)
                forms = await self.kept()
        return forms

    async def sent(self) -> dict[str, str]:
        """What the site's own form posted, once it has."""
        return await asyncio.wait_for(self.site.sent.get(), _PATIENCE)

    async def remembered(self) -> Any:
        """What the browser keeps of the collector; None when nothing."""
        return await self.page.run("JSON.parse(localStorage.bridge_okna || 'null')")


@pytest.fixture(scope="session")
def browser() -> Browser:
    there = found()
    if there is None:
        pytest.skip(missing())
    return there


NewTown = Callable[..., Any]


@pytest.fixture
def new_town(browser: Browser, tmp_path: Path) -> NewTown:
    """Makes a town; keyword arguments are settings of the collector."""

    @asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[Town]:
        collector = CollectorSettings.model_validate({"sites": ["127.0.0.1"], "consent": "given", **settings})
        async with installed(tmp_path, okna=TenantSettings(sources={"collector": collector})) as served:
            server = WebServer(served, ["okna"])
            site = Site(free_port(), f"http://{served.config.web.listen}/collect/okna.js")
            app = web.Application()
            app.add_routes([web.post("/send", site.take), web.get("/{path:.*}", site.page)])
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            try:
                await server.start()
                await web.TCPSite(runner, "127.0.0.1", site.port).start()
                async with opened(browser) as page:
                    yield Town(site, page, served.store)
            finally:
                await runner.cleanup()
                await server.stop()

    return make
