"""A simulated amoCRM account on a real socket (contract amocrm 1-6, 10-12, 15, 16).

It pages by offset over live data, so that rows are skipped for a client that counts pages; says 204 for "nothing";
answers bans, overload and outages in HTML; and refuses what the vendor refuses. What the contract could not verify is a
:class:`Quirks` switch.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal
from zlib import crc32

import msgspec
from aiohttp import web

from adapters.amocrm import fake_store as content
from adapters.amocrm.fake_store import SimEvent, SimLead, Store
from adapters.amocrm.fake_tokens import CLIENT_ID, REDIRECT_URI, TokenDesk
from bridge.ports import Clock
from bridge.sim.events import LOSS_REASONS, Happening
from bridge.sim.faults import FaultPlan
from bridge.sim.server import SourceSimulator

_PER_SECOND = 7  # requests per integration; the account's own 50 cannot be reached by one (contract amocrm 11)
_SECOND = 0.95  # the vendor's second, a little short: a client that keeps the rate may arrive unevenly
_MOST = 250
_DEFAULT = 50
_MOST_EVENTS = 100
_FIELDS_PAGE = 50
_END_OF_TIME = 2**40
_INDEX = re.compile(r"\[\d*\]$")
_STATUS = re.compile(r"filter\[statuses\]\[(\d+)\]\[(pipeline_id|status_id)\]")

Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Quirks:
    """What is not verified about the vendor (contract amocrm 17), and sizes that a test may want smaller."""

    event_order: Literal["newest", "oldest", "shuffled"] = "newest"
    event_delay: float = 0.0  # seconds until an event can be read
    has_inclusive_bounds: bool = True
    has_list_filters: bool = True
    refuses_long_pages: bool = False  # limit > 250: 400 instead of 250 rows
    keeps_closed_at: bool = False  # of a reopened lead
    shows_page: bool = True
    refresh_grace: timedelta = timedelta(0)
    longest_url: int = 8000
    ban_after: int = 100  # refused requests


@dataclass(slots=True)
class _Meter:
    """Requests of the last second, and how often too many came."""

    recent: deque[float] = field(default_factory=deque)
    refused: int = 0

    def admits(self) -> bool:
        now = time.monotonic()
        while self.recent and self.recent[0] <= now - _SECOND:
            self.recent.popleft()
        if len(self.recent) >= _PER_SECOND:
            self.refused += 1
            return False
        self.recent.append(now)
        return True


class BadQueryError(Exception):
    """The vendor would answer 400."""


class AmoCrm(SourceSimulator):
    """One account. ``auth``: how ``settings`` logs in; both ways always work."""

    def __init__(  # noqa: PLR0913 - the common ones of every simulator, and two of its own
        self,
        clock: Clock,
        faults: FaultPlan | None = None,
        *,
        name: str = "sim",
        is_limited: bool = True,
        auth: Literal["token", "oauth"] = "token",
        quirks: Quirks | None = None,
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self.quirks = quirks or Quirks()
        self.store = Store(keeps_closed_at=self.quirks.keeps_closed_at)
        self.tokens = TokenDesk(clock, name, self.quirks.refresh_grace)
        self._auth = auth
        self._meter = _Meter()

    # --- for the world ---

    def happen(self, event: Happening) -> None:
        """A lead appears or takes a step."""
        self.store.happen(event)

    def deal_key(self, lead: int) -> str:
        """Key of the deal our source makes of a lead of the world."""
        return f"lead:{content.FIRST_LEAD + lead}"

    # --- for the client ---

    def settings(self) -> dict[str, Any]:
        """A complete ``[tenants.*.sources.*]`` section."""
        return {
            "kind": "amocrm",
            "base_url": self.base_url,
            "auth": self._auth_settings(),
            "poll_every": "60s",
            "requests_per_second": _PER_SECOND if self.is_limited else 1000,
            "fields": {"yclid": ["yclid"], "gclid": ["gclid"], "client_id": ["_ym_uid", "ClientID"]},
        }

    def secrets(self) -> dict[str, str]:
        """Environment variables named in ``settings``."""
        if self._auth == "token":
            return {self._variable("TOKEN"): self.tokens.long_lived}
        names = (self._variable("CLIENT_SECRET"), self._variable("REFRESH_TOKEN"))
        return dict(zip(names, (self.tokens.client_secret, self.tokens.first_refresh), strict=True))

    def unban(self) -> None:
        """The vendor's support lifts the ban."""
        self._meter.refused = 0

    def _auth_settings(self) -> dict[str, Any]:
        if self._auth == "token":
            return {"token": {"env": self._variable("TOKEN")}}
        return {
            "client_id": CLIENT_ID,
            "client_secret": {"env": self._variable("CLIENT_SECRET")},
            "redirect_uri": REDIRECT_URI,
            "refresh_token": {"env": self._variable("REFRESH_TOKEN")},
        }

    def _variable(self, what: str) -> str:
        return f"{re.sub(r'[^A-Z0-9]', '_', self.name.upper())}_AMOCRM_{what}"

    # --- the server ---

    def routes(self) -> Sequence[web.RouteDef]:
        """Everything our client reads, the token endpoint, and 404 for the rest."""
        reading: dict[str, Handler] = {
            "/api/v4/account": self._account,
            "/api/v4/leads": self._leads,
            "/api/v4/leads/pipelines": self._pipelines,
            "/api/v4/leads/loss_reasons": self._loss_reasons,
            "/api/v4/leads/custom_fields": self._lead_fields,
            "/api/v4/contacts/custom_fields": self._contact_fields,
            r"/api/v4/leads/{id:\d+}": self._lead,
            "/api/v4/contacts": self._contacts,
            r"/api/v4/contacts/{id:\d+}": self._contact,
            "/api/v4/events": self._events,
            "/api/v4/events/{id:[0-9a-z]{26}}": self._event,
        }
        return [
            *(web.get(path, self._guarded(handler)) for path, handler in reading.items()),
            web.post("/oauth2/access_token", self._token),
            web.route("*", "/api/v4/{rest:.*}", self._guarded(self._unknown)),
        ]

    def label(self, request: web.Request) -> str:
        """Ids are left out, so that requests can be counted by kind."""
        return f"{request.method} {re.sub(r'/[0-9][0-9a-z]*$', '/{id}', request.path)}"

    def throttled(self, request: web.Request) -> web.Response:
        return _page(429, "429 Too Many Requests")

    def unavailable(self, request: web.Request) -> web.Response:
        return _page(504, "504 Gateway Time-out")

    def expired(self, request: web.Request) -> web.Response | None:
        is_renewable = self._auth == "oauth" and request.path.startswith("/api/")
        return _unauthorized() if is_renewable else None

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.Response:
            refusal = self._turned_away(request)
            if refusal is not None:
                return refusal
            if not self.tokens.accepts(request.headers.get("Authorization", "")):
                return _unauthorized()
            try:
                return await handler(request)
            except BadQueryError as error:
                return _problem(400, "Bad Request", str(error))

        return guarded

    def _turned_away(self, request: web.Request) -> web.Response | None:
        """What the gateway says before the API sees the request; a ban covers the token endpoint too."""
        if self._meter.refused >= self.quirks.ban_after:
            return _page(403, "403 Forbidden")
        if self.is_limited and not self._meter.admits():
            return self.throttled(request)
        if len(request.raw_path) > self.quirks.longest_url:
            return _page(414, "414 Request-URI Too Large")
        return None

    # --- tokens and the account ---

    async def _token(self, request: web.Request) -> web.Response:
        refusal = self._turned_away(request)
        if refusal is not None:
            return refusal
        try:
            body = await request.json() if request.content_type == "application/json" else await request.post()
        except ValueError:
            body = {}
        status, answer = self.tokens.exchange(dict(body))
        return _json(answer, status)

    async def _account(self, request: web.Request) -> web.Response:
        account = {
            "id": content.ACCOUNT,
            "name": "Окна (симулятор)",
            "subdomain": "sim",
            "created_at": 1585299171,
            "country": "RU",
            "currency": "RUB",
            "is_loss_reason_enabled": True,
            "language": "ru",
            "_links": {"self": {"href": f"{self.base_url}/api/v4/account"}},
        }
        if "is_api_filter_enabled" in _extras(request):
            account["is_api_filter_enabled"] = self.quirks.has_list_filters
        return _json(msgspec.json.encode(account))

    async def _pipelines(self, request: web.Request) -> web.Response:
        pipelines = [content.pipeline_of(content.PIPELINE, "Продажи"), content.pipeline_of(content.SERVICE, "Сервис")]
        answer = {"_total_items": len(pipelines), "_links": {}, "_embedded": {"pipelines": pipelines}}
        return _json(msgspec.json.encode(answer))

    async def _loss_reasons(self, request: web.Request) -> web.Response:
        return self._list(request, "loss_reasons", LOSS_REASONS, content.reason_json)

    async def _lead_fields(self, request: web.Request) -> web.Response:
        return self._list(request, "custom_fields", content.LEAD_FIELDS, _field_json, most=_FIELDS_PAGE)

    async def _contact_fields(self, request: web.Request) -> web.Response:
        return self._list(request, "custom_fields", content.CONTACT_FIELDS, _field_json, most=_FIELDS_PAGE)

    # --- leads and contacts ---

    async def _lead(self, request: web.Request) -> web.Response:
        lead = self.store.leads.get(int(request.match_info["id"]))
        if lead is None or lead.is_deleted:
            return web.Response(status=204)
        return _json(content.lead_json(lead, _extras(request)))

    async def _leads(self, request: web.Request) -> web.Response:
        extras = _extras(request)
        rows = self._ordered(request, self._selected(request))
        is_deleted = "only_deleted" in extras
        if is_deleted or self.store.has_deleted:
            rows = [lead for lead in rows if lead.is_deleted is is_deleted]
        return self._list(request, "leads", rows, lambda lead: content.lead_json(lead, extras))

    def _selected(self, request: web.Request) -> list[SimLead]:
        query = _arrays(request)
        if not self.quirks.has_list_filters:
            return self.store.line()
        first, last = self._bounds(request, "filter[updated_at]")
        if "filter[id]" in query:
            asked = (self.store.leads.get(number) for number in dict.fromkeys(_numbers(query["filter[id]"])))
            rows = [lead for lead in asked if lead is not None and first <= lead.updated_at <= last]
            rows.sort(key=lambda lead: lead.key)
        else:
            rows = self.store.updated(first, last)
        for name in ("created_at", "closed_at"):
            if any(key.startswith(f"filter[{name}]") for key in query):
                low, high = self._bounds(request, f"filter[{name}]")
                rows = [lead for lead in rows if low <= (getattr(lead, name) or -1) <= high]
        pipelines = _numbers(query.get("filter[pipeline_id]", ()))
        if pipelines:
            rows = [lead for lead in rows if lead.pipeline in pipelines]
        places = _places(request)
        return [lead for lead in rows if (lead.pipeline, lead.status) in places] if places else rows

    def _bounds(self, request: web.Request, name: str) -> tuple[int, int]:
        """From and to, both inclusive; a bare number is an exact match (contract amocrm 15.2)."""
        query = request.query
        if name in query:
            exact = _number(query[name])
            return exact, exact
        narrow = 0 if self.quirks.has_inclusive_bounds else 1
        first = _number(query[f"{name}[from]"]) + narrow if f"{name}[from]" in query else -1
        last = _number(query[f"{name}[to]"]) - narrow if f"{name}[to]" in query else _END_OF_TIME
        return first, last

    @staticmethod
    def _ordered(request: web.Request, rows: list[SimLead]) -> list[SimLead]:
        """Rows in the order asked for; they come in order of (updated_at, id)."""
        query = request.query
        if "order[updated_at]" in query:
            return rows if query["order[updated_at]"] == "asc" else rows[::-1]
        name = "created_at" if "order[created_at]" in query else "id"
        is_backwards = query.get(f"order[{name}]") == "desc"
        return sorted(rows, key=lambda lead: (getattr(lead, name), lead.id), reverse=is_backwards)

    async def _contact(self, request: web.Request) -> web.Response:
        contact = self.store.contacts.get(int(request.match_info["id"]))
        return web.Response(status=204) if contact is None else _json(content.contact_json(contact))

    async def _contacts(self, request: web.Request) -> web.Response:
        asked = _arrays(request).get("filter[id]")
        ids = sorted(self.store.contacts) if asked is None else dict.fromkeys(_numbers(asked))
        rows = [contact for own_id in ids if (contact := self.store.contacts.get(own_id)) is not None]
        return self._list(request, "contacts", rows, content.contact_json)

    # --- events ---

    async def _event(self, request: web.Request) -> web.Response:
        wanted = request.match_info["id"]
        for events in self.store.events.values():
            for event in events:
                if event.id == wanted:
                    return _json(content.event_json(event))
        return web.Response(status=204)

    async def _events(self, request: web.Request) -> web.Response:
        query = _arrays(request)
        kinds = _listed(query.get("filter[type]", ()))
        entities = _listed(query.get("filter[entity]", ()))
        first, last = self._event_bounds(request)
        rows: list[SimEvent] = []
        if "filter[entity_id]" in query:
            leads = _numbers(_listed(query["filter[entity_id]"]))
            if len(entities) != 1 or len(leads) > 10:
                raise BadQueryError("filter[entity_id] takes up to 10 ids of exactly one filter[entity]")
            own = (event for lead in leads for event in self.store.events_of.get(lead, ()))
            rows = [event for event in own if first <= event.at <= last and (not kinds or event.type in kinds)]
            rows.sort(key=lambda event: event.id)
        else:
            rows = self.store.events_between(kinds, first, last)
        if entities and "lead" not in entities:
            rows = []
        return self._list(request, "events", self._event_order(rows), content.event_json, most=_MOST_EVENTS)

    def _event_bounds(self, request: web.Request) -> tuple[int, int]:
        """Unlike in lists of leads, a bare number means "from", and "a,b" a range (contract amocrm 6)."""
        text = request.query.get("filter[created_at]", "")
        if text:
            start, _, end = text.partition(",")
            first, last = _number(start), _number(end) if end else _END_OF_TIME
        else:
            first, last = self._bounds(request, "filter[created_at]")
        delay = self.quirks.event_delay
        return first, min(last, int(self.clock.now().timestamp() - delay)) if delay else last

    def _event_order(self, rows: list[SimEvent]) -> list[SimEvent]:
        if self.quirks.event_order == "newest":
            return rows[::-1]
        if self.quirks.event_order == "shuffled":
            return sorted(rows, key=lambda event: crc32(event.id.encode()))
        return rows

    async def _unknown(self, request: web.Request) -> web.Response:
        return _problem(404, "Not Found", f"Cannot {request.method} {request.path}")

    # --- lists ---

    def _list(
        self,
        request: web.Request,
        name: str,
        rows: Sequence[Any],
        encode: Callable[[Any], bytes],
        *,
        most: int = _MOST,
    ) -> web.Response:
        """One page by offset; 204 when it is empty (contract amocrm 0)."""
        limit = _number(request.query.get("limit", str(_DEFAULT)))
        if limit > _MOST and self.quirks.refuses_long_pages:
            raise BadQueryError("limit")
        limit = max(1, min(limit, most))
        number = max(1, _number(request.query.get("page", "1")))
        start = (number - 1) * limit
        chosen = rows[start : start + limit]
        if not chosen:
            return web.Response(status=204)
        links = {"self": {"href": self._address(request, number)}}
        if start + limit < len(rows):
            links["next"] = {"href": self._address(request, number + 1)}
        page = b'"_page":%d,' % number if self.quirks.shows_page else b""
        items = b",".join(map(encode, chosen))
        return _json(
            b'{%b"_links":%b,"_embedded":{"%b":[%b]}}' % (page, msgspec.json.encode(links), name.encode(), items)
        )

    def _address(self, request: web.Request, number: int) -> str:
        path, _, query = request.raw_path.partition("?")
        rest = [part for part in query.split("&") if part and not part.startswith("page=")]
        return f"{self.base_url}{path}?{'&'.join([*rest, f'page={number}'])}"


def _extras(request: web.Request) -> frozenset[str]:
    return frozenset(request.query.get("with", "").split(","))


def _arrays(request: web.Request) -> dict[str, list[str]]:
    """Query values by name, with ``name[]`` and ``name[0]`` counted as ``name``."""
    found: dict[str, list[str]] = {}
    for key, value in request.query.items():
        found.setdefault(_INDEX.sub("", key), []).append(value)
    return found


def _listed(values: Sequence[str]) -> list[str]:
    """Values that may also come as one comma list."""
    return [part for value in values for part in value.split(",")]


def _numbers(values: Sequence[str]) -> list[int]:
    return [_number(value) for value in values]


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise BadQueryError("This value should be of type int.")
    return int(text)


def _places(request: web.Request) -> set[tuple[int, int]]:
    """Pairs of ``filter[statuses]``; a plain list of ids is refused (contract amocrm 2.1)."""
    pairs: dict[str, dict[str, int]] = {}
    for key, value in request.query.items():
        if key.startswith("filter[statuses]"):
            match = _STATUS.fullmatch(key)
            if match is None:
                raise BadQueryError("filter[statuses] takes pairs of pipeline_id and status_id")
            pairs.setdefault(match[1], {})[match[2]] = _number(value)
    if any(len(pair) != 2 for pair in pairs.values()):
        raise BadQueryError("filter[statuses] takes pairs of pipeline_id and status_id")
    return {(pair["pipeline_id"], pair["status_id"]) for pair in pairs.values()}


def _field_json(item: tuple[int, str, str | None, str]) -> bytes:
    own_id, name, code, kind = item
    return msgspec.json.encode(
        {"id": own_id, "name": name, "type": kind, "code": code, "sort": 500, "is_predefined": code is not None}
    )


def _json(body: bytes, status: int = 200) -> web.Response:
    kind = "application/hal+json" if status < 400 else "application/problem+json"
    return web.Response(status=status, body=body, content_type=kind)


def _problem(status: int, title: str, detail: str) -> web.Response:
    body: Mapping[str, object] = {
        "title": title,
        "type": f"https://httpstatus.es/{status}",
        "status": status,
        "detail": detail,
    }
    return _json(msgspec.json.encode(body), status)


def _unauthorized() -> web.Response:
    return _problem(401, "Unauthorized", "Неверный логин или пароль")


def _page(status: int, title: str) -> web.Response:
    """A gateway's page: HTML, without ``Retry-After`` (contract amocrm 11)."""
    text = f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>"
    return web.Response(status=status, text=text, content_type="text/html")
