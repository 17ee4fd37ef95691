"""A simulated HubSpot portal: contacts and deals that follow the imaginary business, the vendor's limits and errors.

It refuses what the vendor refuses (contract hubspot 1, 2, 3, 5, 6). Not simulated: writing, the webhooks journal, other
objects. Rate limits count real time; the day's allowance and the lag of searches follow the clock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qs

import msgspec
from aiohttp import web

from adapters.hubspot import fake_rest
from adapters.hubspot.fake_business import Business
from adapters.hubspot.fake_data import PortalData
from adapters.hubspot.fake_hooks import HookDesk
from adapters.hubspot.fake_rest import Reply
from adapters.hubspot.fake_schema import CONTACTS, DEALS, SINGULAR, TYPE_IDS, ApiError
from adapters.hubspot.fake_tokens import CLIENT_ID, REDIRECT_URI, TokenDesk, expired
from bridge.sim.events import Happening
from bridge.sim.faults import FaultPlan
from bridge.sim.server import SourceSimulator
from bridge.tools import Clock

_LONGEST_URL = 4000  # characters; the vendor's own limit is not documented
_PATHS = {"/crm/v3/objects": "v3", "/crm/objects/2026-03": "2026-03"}
_Answer = Callable[[web.Request], Awaitable[Reply]]


class Window:
    """At most ``most`` requests in any ``seconds`` (contract 6). Counts real time."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most = most
        self.seconds = seconds
        self._times: deque[float] = deque()

    def is_full(self, now: float) -> bool:
        """Count one request; whether it is one too many."""
        while self._times and self._times[0] <= now - self.seconds:
            self._times.popleft()
        if len(self._times) >= self.most:
            return True
        self._times.append(now)
        return False

    @property
    def left(self) -> int:
        return self.most - len(self._times)


class HubSpot(SourceSimulator):
    """A portal on a socket.

    Args:
        auth: what ``settings`` offers: ``token`` (a private app's) or ``oauth``. The portal lets in both.
        lag: up to so long a change takes to show in searches.
        burst: requests in ten seconds; ``searches``: in one second; ``daily``: in one day of the clock.
        entities: what ``settings`` asks to read.
    """

    def __init__(  # noqa: PLR0913 - the base's arguments and the vendor's own switches, all named
        self,
        clock: Clock,
        faults: FaultPlan | None = None,
        *,
        name: str = "sim",
        is_limited: bool = True,
        auth: str = "token",
        lag: timedelta = timedelta(seconds=30),
        burst: int = 100,
        searches: int = 5,
        daily: int = 250_000,
        entities: Sequence[str] = ("contact", "deal"),
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self.data = PortalData(lag, seed=self.faults.seed)
        self.tokens = TokenDesk(clock, name)
        self.hooks = HookDesk(clock, self.tokens.client_secret)
        self.data.tell = self.hooks.tell
        self.trouble: tuple[int, dict[str, str], str] | None = None  # status, headers, body of every answer
        self.daily = daily
        self.refusals = 0  # requests answered by 429
        self.links_page = 100  # associations of one record that a batch tells of
        self._auth = auth
        self._entities = tuple(entities)
        self.burst = Window(burst, 10.0)
        self.searches = Window(searches, 1.0)
        self._day: tuple[date, int] = (clock.now().date(), 0)
        self._business = Business(self.data)
        self._persons: dict[int, int] = {}

    # --- for configurations ---

    def settings(self) -> dict[str, Any]:
        """A source section for this portal."""
        fast = {} if self.is_limited else {"requests_per_second": 1000, "searches_per_second": 1000}
        return {
            "kind": "hubspot",
            "base_url": self.base_url,
            "auth": self._credentials(),
            "entities": list(self._entities),
            "fields": {"client_id": ["ClientID Метрики"]},
            **fast,
        }

    def _credentials(self) -> dict[str, Any]:
        if self._auth == "token":
            return {"token": {"env": self._variable("TOKEN")}}
        secrets = {name: {"env": self._variable(name.upper())} for name in ("client_secret", "refresh_token")}
        return {"client_id": CLIENT_ID, "redirect_uri": REDIRECT_URI, **secrets}

    def secrets(self) -> dict[str, str]:
        if self._auth == "token":
            return {self._variable("TOKEN"): self.tokens.private}
        values = {"CLIENT_SECRET": self.tokens.client_secret, "REFRESH_TOKEN": self.tokens.first_refresh}
        return {self._variable(name): value for name, value in values.items()}

    def _variable(self, what: str) -> str:
        return f"{self.name.upper().replace('-', '_')}_HUBSPOT_{what}"

    # --- the imaginary business ---

    def happen(self, event: Happening) -> None:
        self._persons[event.lead.id] = event.lead.person
        self._business.happen(event)

    def deal_key(self, lead: int) -> str:
        return self._business.key(lead, self._persons[lead])

    # --- HTTP ---

    def routes(self) -> Sequence[web.RouteDef]:
        token = [web.post(f"/oauth/{version}/token", self._exchange) for version in ("v1", "v3")]
        return [*token, *self._object_routes(), *self._other_routes()]

    def _object_routes(self) -> list[web.RouteDef]:
        made = []
        for prefix in _PATHS:
            made += [
                web.get(f"{prefix}/{{kind}}", self._guarded(self._list)),
                web.post(f"{prefix}/{{kind}}/batch/read", self._guarded(self._batch)),
                web.post(f"{prefix}/{{kind}}/search", self._guarded(self._search)),
                web.get(f"{prefix}/{{kind}}/{{id}}", self._guarded(self._one)),
            ]
        return made

    def _other_routes(self) -> list[web.RouteDef]:
        return [
            web.get("/crm/v3/properties/{kind}", self._guarded(self._properties)),
            web.get("/crm/v3/properties/{kind}/{name}", self._guarded(self._properties)),
            web.get("/crm/v3/pipelines/{kind}", self._guarded(self._pipelines)),
            web.get("/crm/v3/pipelines/{kind}/{id}", self._guarded(self._pipelines)),
            web.get("/crm/v4/objects/{kind}/{id}/associations/{to}", self._guarded(self._links)),
            web.post("/crm/v4/associations/{kind}/{to}/batch/read", self._guarded(self._batch_links)),
        ]

    def label(self, request: web.Request) -> str:
        """The route: ids would make a name of each request."""
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else "?"
        return f"{request.method} {path.replace('{kind}', request.match_info.get('kind', ''))}"

    def is_write(self, request: web.Request) -> bool:
        return False

    def throttled(self, request: web.Request) -> web.Response:
        return self._limit("TEN_SECONDLY_ROLLING", "You have reached your ten_secondly_rolling limit.")

    def unavailable(self, request: web.Request) -> web.Response:
        return web.Response(status=502, text="<html><body>502 Bad Gateway</body></html>", content_type="text/html")

    def expired(self, request: web.Request) -> web.Response | None:
        """A private app's token has no end."""
        if request.path.startswith("/oauth") or self.tokens.is_private(request.headers.get("Authorization", "")):
            return None
        error = expired()
        return _json(error.status, error.body)

    async def _exchange(self, request: web.Request) -> web.Response:
        if request.content_type != "application/x-www-form-urlencoded":
            return _json(415, {"status": "error", "message": "Unsupported Media Type"})
        status, body = self.tokens.exchange({name: str(value) for name, value in (await request.post()).items()})
        return _json(status, body)

    def _guarded(self, answer: _Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
        """An endpoint behind the limits, the token's check and the vendor's way to say errors."""

        async def handler(request: web.Request) -> web.Response:
            refused = self._refused(request)
            if refused is not None:
                return refused
            try:
                self.tokens.check(request.headers.get("Authorization", ""))
                reply = await answer(request)
            except ApiError as error:
                return _json(error.status, error.body)
            return _json(reply.status, reply.body, {} if request.path.endswith("/search") else self._headers(request))

        return handler

    def _refused(self, request: web.Request) -> web.Response | None:
        if self.trouble is not None:
            status, headers, body = self.trouble
            return web.Response(status=status, headers=headers, text=body)
        if len(request.path_qs) > _LONGEST_URL:
            return web.Response(status=414, text="<html><body>414 URI Too Long</body></html>", content_type="text/html")
        today, used = self._day
        self._day = (today, used + 1) if today == self.clock.now().date() else (self.clock.now().date(), 1)
        if self._day[1] > self.daily:
            return self._limit("DAILY", "You have reached your daily limit.")
        if not self.is_limited:
            return None
        if request.path.endswith("/search") and self.searches.is_full(time.monotonic()):
            return self._limit("SECONDLY", "You have reached your secondly limit.")
        return self.throttled(request) if self.burst.is_full(time.monotonic()) else None

    def _limit(self, policy: str, message: str) -> web.Response:
        self.refusals += 1
        known = {"status": "error", "message": message, "errorType": "RATE_LIMIT", "policyName": policy}
        ids = {"correlationId": "00000000-0000-4000-8000-000000000003", "requestId": "00000000"}
        return _json(429, {**known, **ids})

    def _headers(self, request: web.Request) -> dict[str, str]:
        """Searches have none of these, and OAuth apps none for the day (contract 3, 6)."""
        rolling = {"Interval-Milliseconds": 10_000, "Max": self.burst.most, "Remaining": self.burst.left}
        day = {"Daily": self.daily, "Daily-Remaining": max(self.daily - self._day[1], 0)}
        told = {**rolling, **(day if self.tokens.is_private(request.headers.get("Authorization", "")) else {})}
        return {f"X-HubSpot-RateLimit-{name}": str(value) for name, value in told.items()}

    # --- endpoints ---

    def _kind(self, request: web.Request, scope: str = "objects", name: str = "kind") -> str:
        """The kind of object in the path; whoever asks for it needs its scope."""
        given = request.match_info[name]
        kind = TYPE_IDS.get(given, given)
        if kind not in (CONTACTS, DEALS):
            raise ApiError(400, "VALIDATION_ERROR", f"Unable to infer object type from: {given}")
        own = f"crm.{scope}.{kind}.read"
        self.tokens.demand(own, f"crm.objects.{kind}.read") if scope == "schemas" else self.tokens.demand(own)
        return kind

    async def _list(self, request: web.Request) -> Reply:
        return fake_rest.listed(self.data, self._kind(request), _query(request))

    async def _one(self, request: web.Request) -> Reply:
        return fake_rest.one(self.data, self._kind(request), request.match_info["id"], _query(request))

    async def _batch(self, request: web.Request) -> Reply:
        return fake_rest.batch(self.data, self._kind(request), await _body(request), _query(request), self.clock.now())

    async def _search(self, request: web.Request) -> Reply:
        return fake_rest.search(self.data, self._kind(request), await _body(request), self.clock.now())

    async def _properties(self, request: web.Request) -> Reply:
        return fake_rest.properties(self.data, self._kind(request, "schemas"), request.match_info.get("name"))

    async def _pipelines(self, request: web.Request) -> Reply:
        return fake_rest.pipelines(self.data, self._kind(request, "schemas"), request.match_info.get("id"))

    async def _links(self, request: web.Request) -> Reply:
        self._direction(request)
        return fake_rest.links(self.data, request.match_info["id"], _query(request))

    async def _batch_links(self, request: web.Request) -> Reply:
        self._direction(request)
        return fake_rest.batch_links(self.data, await _body(request), self.links_page, self.clock.now())

    def _direction(self, request: web.Request) -> None:
        """Both kinds' scopes are needed; only from deals to contacts is simulated."""
        kinds = (self._kind(request), self._kind(request, name="to"))
        if kinds != (DEALS, CONTACTS):
            raise ApiError(400, "VALIDATION_ERROR", f"no associations from {SINGULAR[kinds[0]]} are simulated")


def _query(request: web.Request) -> Mapping[str, list[str]]:
    return parse_qs(request.query_string)


async def _body(request: web.Request) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(await request.read())
    except msgspec.DecodeError:
        raise ApiError(400, "VALIDATION_ERROR", "Invalid input JSON") from None
    if not isinstance(found, dict):
        raise ApiError(400, "VALIDATION_ERROR", "Invalid input JSON")
    return found


def _json(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    made = web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json", charset="utf-8")
    made.headers.update(headers or {})
    return made
