"""Webhooks: ``POST /hooks/<tenant>/<source>/<secret>``. Read for the records they name, remembered, answered at once.

Whatever is wrong with a request, its answer is the same 404: nobody learns which tenants and sources there are.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Iterable
from dataclasses import field

from aiohttp import web

from bridge import registry
from bridge.config import Config, SourceSettings, hook_of
from bridge.errors import BridgeError, Refused, StoreError
from bridge.frozen import frozen
from bridge.hints import Hook, HookParser, beginning_of
from bridge.log import redact
from bridge.store.hints import CLOSED, Hints, Place
from bridge.tools import Clock, Log
from bridge.web.inbox import Inbox

PATH = "/hooks/{tenant}/{source}/{secret}"
BODY_MAX = 2 * 1024 * 1024  # bytes; a bulk edit posts whole leads
_BODY_WITHIN = 10.0  # seconds
_WRITE_WITHIN = 1.5  # the vendors wait 2 (contract amocrm 8.3)
_NOBODY = b"there is no such source"


@frozen
class Door:
    """Where one source's webhooks come in. ``beginning``: its public address without the secret, "" if unknown."""

    secret: bytes = field(repr=False)
    parse: HookParser = field(repr=False)
    beginning: str = ""


async def open_doors(config: Config, names: Iterable[str], hints: Hints, log: Log) -> dict[Place, Door]:
    """The doors of every sound tenant: another process may work for it, the hint is remembered all the same.

    A source whose secret cannot be read has none; that is said for the tenants this process works for (``names``), and
    noted for the status until a process opens it: a command's environment need not have the daemon's secrets.
    """
    doors, ours = dict[Place, Door](), set(names)
    for tenant, settings in config.tenants.items():
        for own, section in settings.sources.items():
            shut = ""
            try:
                door = _door(config, tenant, own, section)
            except BridgeError as error:
                door, shut = None, str(error)
            if shut and tenant in ours:
                log.error("hook_closed", tenant=tenant, source=own, error=shut)
            if door is not None:
                doors[tenant, own] = door
            if (door is not None or shut) and tenant in ours:
                await _note(hints, (tenant, own), shut, log)
    return doors


async def _note(hints: Hints, place: Place, shut: str, log: Log) -> None:
    """Remember why a door is shut; forget it when it is open. Trouble of another kind is not ours to forget."""
    try:
        before = (await hints.report(*place)).trouble or ""
        after = f"{CLOSED}{redact(shut)}" if shut else None
        if after or before.startswith(CLOSED):
            await hints.set_hook(*place, trouble=after)
    except StoreError as error:  # the log has said it; webhooks are taken or not all the same
        log.error("loop_failed", loop="hooks", error=f"{type(error).__name__}: {error}")


def _door(config: Config, tenant: str, own: str, section: SourceSettings) -> Door | None:
    hook = hook_of(section)
    if hook is None:
        return None
    spec = registry.spec(section.kind).source
    if spec is None or spec.hook is None:
        return None
    secret = hook.path_secret(config.folder).encode()
    public = config.web.public_url
    return Door(secret, spec.hook(section, config.folder), beginning_of(public, tenant, own) if public else "")


class HookDesk:
    """Takes webhooks for the sources that have a door."""

    def __init__(self, doors: dict[Place, Door], inbox: Inbox, clock: Clock, log: Log) -> None:
        self._doors = doors
        self._inbox = inbox
        self._clock = clock
        self._log = log
        self._refusing: set[Place] = set()
        self._failing: set[Place] = set()

    async def take(self, request: web.Request) -> web.Response:
        """200 when every record it names is remembered, 404 when anything is wrong, 503 when the database is."""
        place = (request.match_info["tenant"], request.match_info["source"])
        door = self._opened(place, request)
        if door is None:
            return _nothing_here()
        body = await _body(request)
        if body is None:
            return self._refused(place, "body")
        headers = {name.lower(): value for name, value in request.headers.items()}
        url = door.beginning and f"{door.beginning}{request.match_info['secret']}"
        try:
            records = door.parse(Hook(url, headers, body, self._clock.now()))
        except Refused as error:
            return self._refused(place, error.code)
        except Exception as error:  # an adapter's own mistake: its type tells enough, its text may hold the body
            return self._refused(place, type(error).__name__)
        self._refusing.discard(place)
        return await self._remember(place, records) if records else web.Response()

    def _opened(self, place: Place, request: web.Request) -> Door | None:
        """The door, for whoever knows its secret. It takes as long to find out that there is none."""
        door = self._doors.get(place)
        given = request.match_info["secret"].encode(errors="replace")
        is_known = hmac.compare_digest(given, door.secret if door is not None else _NOBODY)
        return door if is_known and request.method == "POST" else None

    async def _remember(self, place: Place, records: tuple[str, ...]) -> web.Response:
        try:
            async with asyncio.timeout(_WRITE_WITHIN):
                await self._inbox.put(place, records)
        except (StoreError, TimeoutError) as error:
            self._say(place, type(error).__name__, self._failing)
            return web.Response(status=503)
        self._failing.discard(place)
        return web.Response()

    def _refused(self, place: Place, code: str) -> web.Response:
        self._say(place, code, self._refusing)
        return _nothing_here()

    def _say(self, place: Place, code: str, said: set[Place]) -> None:
        """Say it once, and again only after one was good: neither nonsense nor an outage floods the log."""
        if place not in said:
            said.add(place)
            self._log.warning("hook_refused", tenant=place[0], source=place[1], code=code)


def _nothing_here() -> web.Response:
    return web.Response(status=404, text="404: Not Found")  # as for any other path


async def _body(request: web.Request) -> bytes | None:
    """The whole body; None when it is too large, too slow, cannot be unpacked, or ends before it should."""
    if (request.content_length or 0) > BODY_MAX:
        return None
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            return await request.read()
    except (web.HTTPRequestEntityTooLarge, web.RequestPayloadError, TimeoutError, ConnectionError):
        return None
