"""The collector: ``GET /collect/<tenant>.js`` is the snippet, ``POST /collect/<tenant>`` what it sends.

Pages of the tenant's sites may post, nobody else's. A post is kept before it is answered; the visitor's page learns
nothing but that. No cookie is set or read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache, partial
from hashlib import blake2b
from importlib.resources import files

import msgspec
from aiohttp import web

from bridge.collector.post import BODY_MAX, Border, read
from bridge.collector.settings import TOO_MANY_OF_DAY, CollectorSettings, collector_of
from bridge.config import Config
from bridge.errors import Refused, StoreError
from bridge.identity import seal_contacts
from bridge.model import Contact, Deal, DealKind, Outcome
from bridge.store.codec import EPOCH
from bridge.store.records import Records
from bridge.tools import Clock, Log
from bridge.web.allowance import Allowance, visitor_of
from bridge.web.posts import PostBox

_TENANT = "{tenant:[a-z0-9][a-z0-9_-]{0,39}}"
SCRIPT_PATH, POST_PATH = f"/collect/{_TENANT}.js", f"/collect/{_TENANT}"
_BODY_WITHIN = 10.0  # seconds
_WRITE_WITHIN = 5.0
_FRESH = 3600  # seconds for which a browser keeps the snippet
_encode = msgspec.json.Encoder().encode


class CollectDesk:
    """Serves the snippet and takes posts for every sound tenant, also those another process works for."""

    def __init__(self, config: Config, records: Records, box: PostBox, clock: Clock, log: Log) -> None:
        self._config = config
        self._records = records
        self._box = box
        self._clock = clock
        self._log = log
        self._visitors = Allowance()
        self._tenants = Allowance()
        self._keys: dict[str, bytes] = {}
        self._refusing: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        return [web.get(SCRIPT_PATH, self.script), web.route("*", POST_PATH, self.take)]

    async def script(self, request: web.Request) -> web.Response:
        """The snippet with the tenant's settings; 304 for who has it."""
        tenant, settings = self._asked(request)
        body = snippet(tenant, settings, self._config.web.public_url)
        tag = blake2b(body, digest_size=8).hexdigest()
        headers = {
            "Cache-Control": f"public, max-age={_FRESH}",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "X-Content-Type-Options": "nosniff",
            "ETag": f'"{tag}"',
        }
        if tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="text/javascript", charset="utf-8", headers=headers)

    async def take(self, request: web.Request) -> web.Response:
        """204 when a post is kept; 4xx when it is refused, 503 when the database is."""
        tenant, settings = self._asked(request)
        origin = request.headers.get("Origin", "")
        if not settings.post or request.method not in ("POST", "OPTIONS"):
            raise web.HTTPNotFound
        if not settings.welcomes(origin):
            return self._refused(tenant, "other_site", 403, {})
        headers = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        if request.method == "OPTIONS":
            allowed = {"Access-Control-Allow-Methods": "POST", "Access-Control-Allow-Headers": "Content-Type"}
            return web.Response(status=204, headers={**headers, **allowed, "Access-Control-Max-Age": "86400"})
        visitor = visitor_of(request.remote, ",".join(request.headers.getall("X-Forwarded-For", [])))
        if code := self._too_many(tenant, visitor, settings):
            return self._refused(tenant, code, 429, {**headers, "Retry-After": "60"})
        body = await _body(request)
        if body is None:
            return self._refused(tenant, "too_large", 413, headers)
        try:
            async with asyncio.timeout(_WRITE_WITHIN):
                form, codes = read(body, await self._border(tenant, settings, visitor))
                if not await self._box.has_room(tenant, settings.per_day):
                    return self._refused(tenant, TOO_MANY_OF_DAY, 429, {**headers, "Retry-After": "3600"})
                await self._box.put(tenant, form.key, _encode(form), codes)
        except Refused as error:
            return self._refused(tenant, error.code, 400, headers)
        except (StoreError, TimeoutError) as error:
            self._say(tenant, type(error).__name__)
            return web.Response(status=503, headers={**headers, "Retry-After": "60"})
        self._refusing.discard(tenant)
        return web.Response(status=204, headers=headers)

    def _asked(self, request: web.Request) -> tuple[str, CollectorSettings]:
        """The tenant that is asked for, as if there were none when it has no collector."""
        tenant = request.match_info["tenant"]
        settings = self._config.tenants.get(tenant)
        found = collector_of(settings) if settings is not None else None
        if found is None:
            raise web.HTTPNotFound
        return tenant, found

    def _too_many(self, tenant: str, visitor: str, settings: CollectorSettings) -> str:
        """Why a post comes too soon after others, "" if it does not. One visitor does not use up what others have."""
        now = self._clock.now()
        if not self._visitors.take((tenant, visitor), settings.per_visitor, now):
            return "too_many_of_visitor"
        return "" if self._tenants.take((tenant, ""), settings.per_minute, now) else "too_many"

    async def _border(self, tenant: str, settings: CollectorSettings, visitor: str) -> Border:
        if tenant not in self._keys:
            self._keys[tenant] = await self._records.join_key(tenant)
        key = self._keys[tenant]
        is_hashed = settings.address == "hashed" and visitor
        address = blake2b(f"ip:{visitor}".encode(), key=key[:64], digest_size=16).hexdigest() if is_hashed else ""
        seal = partial(_sealed, key, self._config.tenants[tenant].region)
        return Border(settings, self._clock.now(), seal, address)

    def _refused(self, tenant: str, code: str, status: int, headers: Mapping[str, str]) -> web.Response:
        self._box.count(tenant, code)
        self._say(tenant, code)
        return web.Response(status=status, text=f"{status}: {code}", headers=headers)

    def _say(self, tenant: str, code: str) -> None:
        """Say it once, and again only after one was good: neither nonsense nor an outage floods the log."""
        if tenant not in self._refusing:
            self._refusing.add(tenant)
            self._log.warning("post_refused", tenant=tenant, code=code)


def _sealed(key: bytes, region: str, contact: Contact) -> tuple[str, ...]:
    """Digests of a contact, such as those of the deals it is to be joined with."""
    bare = Deal(DealKind.FORM, "", "", EPOCH, EPOCH, "", "", Outcome.OPEN, contacts=(contact,))
    return seal_contacts(bare, key, "", region).joins


async def _body(request: web.Request) -> bytes | None:
    """The whole body; None when it is too large, too slow, or ends before it should."""
    if (request.content_length or 0) > BODY_MAX:
        return None
    body = b""
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            while len(body) <= BODY_MAX and (part := await request.content.read(BODY_MAX + 1)):
                body += part
    except (web.RequestPayloadError, TimeoutError, ConnectionError):
        return None
    return body if len(body) <= BODY_MAX else None


# --- the snippet -------------------------------------------------------------------------------------------------


@cache
def _source() -> str:
    """What ``make snippet`` made of ``collector.js``."""
    return files("bridge.web").joinpath("collector.min.js").read_text(encoding="utf-8").strip()


def snippet(tenant: str, settings: CollectorSettings, public_url: str) -> bytes:
    """The script as it is served to the tenant's site."""
    told = {
        "store": f"bridge_{tenant}",
        "url": f"{public_url}/collect/{tenant}" if public_url else "",
        "ask": settings.consent == "required",
        "post": settings.post,
        "fields": {fill.value: name for fill, name in settings.hidden_fields.items()},
        "add": settings.add_fields,
        "ym": settings.metrica_counter,
        "trap": settings.honeypot,
        "phone": settings.phone_input,
        "email": settings.email_input,
    }
    plain = {name: value for name, value in told.items() if value}
    literal = _encode(plain).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return _source().replace("SETTINGS", literal).encode()
