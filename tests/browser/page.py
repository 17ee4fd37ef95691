"""One page of a headless Chromium, driven by the DevTools protocol over its web socket."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.browser.chromium import Browser

_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-software-rasterizer", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--no-proxy-server"),
    *("--remote-debugging-port=0", "--host-resolver-rules=MAP * 127.0.0.1"),
)
_PATIENCE = 60.0  # seconds, on a busy machine


@dataclass(slots=True)
class Page:
    """``errors`` are what scripts threw, in words."""

    socket: aiohttp.ClientWebSocketResponse
    session: str = ""
    errors: list[str] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: count(1))
    _loaded: set[str] = field(default_factory=set)

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; what it returns."""
        number = next(self._numbers)
        sent = {"id": number, "method": method, "params": params}
        await self.socket.send_str(json.dumps({**sent, "sessionId": self.session} if self.session else sent))
        while True:
            told = await self._next()
            if told.get("id") == number:
                assert "error" not in told, told["error"]
                result: dict[str, Any] = told["result"]
                return result

    async def open(self, address: str) -> None:
        """Go there, and wait until the page is loaded."""
        loader = (await self.call("Page.navigate", url=address))["loaderId"]
        while loader not in self._loaded:
            await self._next()

    async def run(self, script: str) -> Any:
        """What an expression of the page's own is; a promise is waited for."""
        told = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def click(self, selector: str) -> None:
        """Press the mouse where it is."""
        script = f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector({selector!r})"
        x, y = await self.run(f"{script}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def write(self, selector: str, text: str) -> None:
        """Enter a field, and type."""
        await self.click(selector)
        await self.call("Input.insertText", text=text)

    async def _next(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(await self.socket.receive_str(timeout=_PATIENCE))
        if told.get("method") == "Page.lifecycleEvent" and told["params"]["name"] == "load":
            self._loaded.add(told["params"]["loaderId"])
        elif told.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(told["params"]["exceptionDetails"]))
        return told


@asynccontextmanager
async def opened(browser: Browser) -> AsyncIterator[Page]:
    """A browser of its own with one empty page."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, **browser.environment, "HOME": folder}
        process = await asyncio.create_subprocess_exec(
            str(browser.program),
            *_OPTIONS,
            f"--user-data-dir={folder}/profile",
            "about:blank",
            env=environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            address = await _address(Path(folder) / "profile" / "DevToolsActivePort", process)
            async with aiohttp.ClientSession() as client, client.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                target = (await page.call("Target.createTarget", url="about:blank"))["targetId"]
                attached = await page.call("Target.attachToTarget", targetId=target, flatten=True)
                page.session = attached["sessionId"]
                await page.call("Page.enable")
                await page.call("Page.setLifecycleEventsEnabled", enabled=True)
                await page.call("Runtime.enable")
                yield page
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _address(told: Path, process: asyncio.subprocess.Process) -> str:
    """Where the browser listens, once it does."""
    async with asyncio.timeout(_PATIENCE):
        while len(lines := _lines(told)) < 2:
            assert process.returncode is None, "the browser ended by itself"
            await asyncio.sleep(0.05)
    return f"ws://127.0.0.1:{lines[0]}{lines[1]}"


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split() if path.exists() else []
