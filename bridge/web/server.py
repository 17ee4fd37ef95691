"""What ``bridge run`` serves: ``/healthz`` and ``/metrics``, read from the database; webhooks and the collector."""

from __future__ import annotations

import errno
import logging
import socket
from typing import Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bridge.config import Config
from bridge.errors import BridgeError, ConfigError
from bridge.store.collected import Collected
from bridge.store.engine import Store
from bridge.store.hints import Hints
from bridge.store.records import Records
from bridge.store.reports import Reports
from bridge.tools import Clock, Log
from bridge.web.collect import CollectDesk
from bridge.web.hooks import BODY_MAX, PATH, HookDesk, open_doors
from bridge.web.inbox import Inbox
from bridge.web.metrics import CONTENT_TYPE, exposition
from bridge.web.posts import PostBox
from bridge.web.status import attention, status

# What a client can bring about with any bytes: whoever sends nonsense cannot flood the log.
_THEIRS = (HttpProcessingError, web.RequestPayloadError, ConnectionError)


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether the server tells of a mistake of ours."""
    return record.exc_info is None or not isinstance(record.exc_info[1], _THEIRS)


_logger = logging.getLogger("bridge.web")
_logger.addFilter(_is_ours)


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return "this machine has no such address"
    if error.errno == errno.EACCES:
        return f"{error.strerror}; ports below 1024 need a right of their own"
    return f"{error.strerror}; choose another port"


class Served(Protocol):
    """The part of an installation that is shown."""

    @property
    def config(self) -> Config: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def log(self) -> Log: ...
    @property
    def store(self) -> Store: ...
    @property
    def reports(self) -> Reports: ...
    @property
    def hints(self) -> Hints: ...


class WebServer:
    """Listens on ``web.listen``; an empty address switches it off."""

    def __init__(self, served: Served, tenants: list[str]) -> None:
        self._served = served
        self._tenants = tenants
        self._runner: web.AppRunner | None = None
        self._inbox = Inbox(served.hints, served.clock, served.log)
        self._posts = PostBox(Collected(served.store), served.clock)

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            ConfigError: the address is taken, or is none of this machine.
        """
        listen, place = self._served.config.web.listen, self._served.config.web.place
        if place is None:
            return
        served = self._served
        doors = await open_doors(served.config, self._tenants, served.hints, served.log)
        desk = HookDesk(doors, self._inbox, served.clock, served.log)
        app = web.Application(client_max_size=BODY_MAX)
        app.add_routes([web.get("/healthz", self._healthz), web.get("/metrics", self._metrics)])
        app.add_routes([web.route("*", PATH, desk.take)])
        app.add_routes(
            CollectDesk(served.config, Records(served.store), self._posts, served.clock, served.log).routes()
        )
        self._runner = web.AppRunner(app, access_log=None, logger=_logger)  # addresses hold secrets
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, *place).start()
        except OSError as error:
            await self.stop()
            raise ConfigError(f"web.listen: cannot listen on {listen}: {_why(error)}") from None
        self._served.log.info("web_started", listen=listen)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            await self._inbox.close()
            await self._posts.close()

    async def _healthz(self, request: web.Request) -> web.Response:
        """200 while the process works and the database answers; what needs attention is listed, not an error."""
        try:
            report = await status(self._served.reports, self._served.config, self._tenants, self._served.clock.now())
        except BridgeError:
            return web.json_response({"status": "database unavailable"}, status=503)
        needs = attention(report, self._served.config, self._served.clock.now())
        return web.json_response({"status": "attention" if needs else "ok", "attention": needs})

    async def _metrics(self, request: web.Request) -> web.Response:
        """503 when the database does not answer."""
        try:
            report = await status(self._served.reports, self._served.config, self._tenants, self._served.clock.now())
        except BridgeError:
            return web.Response(status=503)
        return web.Response(body=exposition(report), headers={"Content-Type": CONTENT_TYPE})
