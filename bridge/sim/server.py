"""Base of every vendor simulator: an aiohttp application on a real socket, with faults injected around the handlers.

A simulator refuses what the vendor refuses. Its state follows the injected clock; its rate limits follow real
(monotonic) time, because the client's pacing does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from aiohttp import web

from bridge.sim.events import Applied, Call, Click, Happening
from bridge.sim.faults import Fault, FaultPlan
from bridge.tools import Clock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Simulator:
    """One vendor on one socket. Subclasses give ``routes`` and the vendor's own error bodies."""

    def __init__(
        self, clock: Clock, faults: FaultPlan | None = None, *, name: str = "sim", is_limited: bool = True
    ) -> None:
        self.clock = clock
        self.name = name  # prefixes the names of its secrets, so that several can live in one configuration
        self.is_limited = is_limited  # False: no client-visible rate limit (the demo's fast clock, benchmarks)
        self.faults = faults or FaultPlan.calm()
        self.requests: Counter[str] = Counter()
        self.base_url = ""
        self._runner: web.AppRunner | None = None

    # --- for the subclass ---

    def settings(self) -> dict[str, Any]:
        """A complete settings section (as in config.toml) for a client of this simulator; after ``start``."""
        raise NotImplementedError

    def secrets(self) -> dict[str, str]:
        """The environment variables which ``settings`` refers to."""
        return {}

    def routes(self) -> Sequence[web.RouteDef]:
        raise NotImplementedError

    def label(self, request: web.Request) -> str:
        """Name under which a request is counted and faulted; by default method and path."""
        return f"{request.method} {request.path}"

    def is_write(self, request: web.Request) -> bool:
        """Whether the request changes the vendor's state (decides which faults make sense)."""
        return request.method not in ("GET", "HEAD")

    def throttled(self, request: web.Request) -> web.Response:
        """The vendor's own "too many requests"."""
        return web.Response(status=429, text="Too Many Requests")

    def unavailable(self, request: web.Request) -> web.Response:
        """The vendor's own 5xx."""
        return web.Response(status=503, text="<html><body>503</body></html>", content_type="text/html")

    def expired(self, request: web.Request) -> web.Response | None:
        """The vendor's own "access token expired", or None where that makes no sense."""
        return None

    # --- life ---

    async def start(self, port: int = 0) -> str:
        """Listen on 127.0.0.1; returns (and keeps) the base URL."""
        app = web.Application(middlewares=[self._faulty], client_max_size=1 << 30)
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        host, bound = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{bound}"
        return self.base_url

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        name = self.label(request)
        self.requests[name] += 1
        fault = self.faults.draw(name, self.is_write(request))
        early = self._before(fault, request)
        if early is not None:
            return early
        if fault is Fault.DROP_BEFORE:
            return self._hang_up(request)
        response = await handler(request)
        return self._after(fault, request, response)

    def _before(self, fault: Fault | None, request: web.Request) -> web.Response | None:
        if fault is Fault.THROTTLE:
            return self.throttled(request)
        if fault is Fault.ERROR_BEFORE:
            return self.unavailable(request)
        if fault is Fault.EXPIRED:
            return self.expired(request)
        return None

    def _after(self, fault: Fault | None, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        if fault is Fault.ERROR_AFTER:
            return self.unavailable(request)
        if fault is Fault.LOST_ANSWER:
            return self._hang_up(request)
        if fault is Fault.CUT_BODY and isinstance(response, web.Response) and isinstance(response.body, bytes):
            half = response.body[: len(response.body) // 2]
            return web.Response(status=response.status, body=half, content_type=response.content_type)
        return response

    @staticmethod
    def _hang_up(request: web.Request) -> web.Response:
        with suppress(Exception):
            if request.transport is not None:
                request.transport.abort()
        raise asyncio.CancelledError


class SourceSimulator(Simulator):
    """A CRM. ``happen`` is called by the world, in time order."""

    def happen(self, event: Happening) -> None:
        raise NotImplementedError

    def deal_key(self, lead: int) -> str:
        """The key under which our source reports this lead's sale: ``lead:10500001``, ``deal:7310``."""
        raise NotImplementedError


class TrackerSimulator(Simulator):
    """A call tracker. ``ring`` is called by the world for each call and form, in time order."""

    def __init__(
        self, clock: Clock, faults: FaultPlan | None = None, *, name: str = "sim", is_limited: bool = True
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self._calls: list[Call] = []

    def ring(self, call: Call) -> None:
        """A call or form comes in."""
        self._calls.append(call)

    def _over(self) -> list[Call]:
        """Calls that have ended by now, and forms; a call is not listed while it lasts."""
        now = self.clock.now()
        return [call for call in self._calls if call.at + timedelta(seconds=call.seconds) <= now]

    def call_key(self, call: Call) -> str:
        """The key under which our source reports it: ``call:700100200``."""
        raise NotImplementedError


class VisitSimulator(Simulator):
    """An analytics counter. ``send`` is called by the world for each form that a visitor sends, in time order."""

    def send(self, form: Call) -> None:
        raise NotImplementedError

    def visit_key(self, form: Call) -> str:
        """The key under which our source reports the visit: ``visit:17000001``."""
        raise NotImplementedError


class DestinationSimulator(Simulator):
    """An ad account. ``know`` is called by the world for each click, in time order."""

    tells_credentials = True  # False: the vendor has none, or takes wrong ones in silence

    def know(self, click: Click) -> None:
        raise NotImplementedError

    def applied(self) -> list[Applied]:
        """Everything counted so far, one item per distinct goal reach."""
        raise NotImplementedError
