"""A simulated amoCRM account on a real socket (contract amocrm 1-8, 10-12, 15, 16).

It pages by offset over live data, so that rows are skipped for a client that counts pages; says 204 for "nothing";
answers bans, overload and outages in HTML; and refuses what the vendor refuses. What the contract could not verify is a
:class:`Quirks` switch.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlencode
from zlib import crc32

import msgspec
from aiohttp import web

from adapters.amocrm import fake_store as content
from adapters.amocrm.fake_hooks import HookDesk
from adapters.amocrm.fake_http import (
    BadQueryError,
    Limits,
    arrays,
    as_json,
    extras_of,
    gateway_page,
    listed,
    number,
    numbers,
    places,
    problem,
    unauthorized,
)
from adapters.amocrm.fake_store import SimEvent, SimLead, Store
from adapters.amocrm.fake_tokens import CLIENT_ID, REDIRECT_URI, TokenDesk
from adapters.amocrm.fake_writes import WriteDesk
from bridge.frozen import frozen
from bridge.sim.events import LOSS_REASONS, Happening
from bridge.sim.faults import FaultPlan
from bridge.sim.server import SourceSimulator
from bridge.tools import Clock

_MOST = 250
_DEFAULT = 50
_MOST_EVENTS = 100
_FIELDS_PAGE = 50
_END_OF_TIME = 2**40

Handler = Callable[[web.Request], Awaitable[web.Response]]


@frozen
class Quirks:
    """What is not verified about the vendor (contract amocrm 17), and sizes that a test may want smaller."""

    event_order: Literal["newest", "oldest", "shuffled"] = "newest"
    event_delay: float = 0.0  # seconds until an event can be read
    has_inclusive_bounds: bool = True
    shuffles_ties: bool = False  # leads of one second come in another order each time
    has_list_filters: bool = True
    refuses_long_pages: bool = False  # limit > 250: 400 instead of 250 rows
    slow_above: int = 0  # rows: more on a page take longer than the gateway waits (504); 0: none do
    keeps_closed_at: bool = False  # of a reopened lead
    shows_page: bool = True
    stages: Mapping[int, str] = field(default_factory=dict)  # renamed ones; "" is deleted
    lost_pages: int = 0  # so many pages of leads after the first are empty although they were promised
    refresh_grace: timedelta = timedelta(0)
    longest_url: int = 8000
    forgets_old_address: bool = False  # of a renamed account: its refresh answers 404 instead of 401
    hides_events: bool = False  # from the token's user: 403 in JSON
    has_unsorted: bool = False
    hides_unsorted: bool = False  # from the list of leads, until they are accepted
    keeps_decided: bool = False  # in the list of incoming leads
    bin_ignores_ids: bool = False
    is_kommo: bool = False  # limits by IP address; amounts with minor units
    ban_after: int = 100  # refused requests


class AmoCrm(SourceSimulator):
    """One account. ``auth``: how ``settings`` logs in; each way always works. "code" is OAuth without a first token."""

    def __init__(  # noqa: PLR0913 - the common ones of every simulator, and two of its own
        self,
        clock: Clock,
        faults: FaultPlan | None = None,
        *,
        name: str = "sim",
        is_limited: bool = True,
        auth: Literal["token", "oauth", "code"] = "token",
        quirks: Quirks | None = None,
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self.quirks = quirks or Quirks()
        self.store = Store(keeps_closed_at=self.quirks.keeps_closed_at)
        self.hooks = HookDesk(clock)
        self.store.tell = self.hooks.tell
        self.writes = WriteDesk(self.store, clock)
        self.tokens = TokenDesk(clock, name, self.quirks.refresh_grace)
        self._auth = auth
        self._limits = Limits()
        self._pages_to_lose = self.quirks.lost_pages
        self._host = ""  # where the account answers once it was renamed

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
            "requests_per_second": 7 if self.is_limited else 1000,
            "fields": {"yclid": ["yclid"], "gclid": ["gclid"], "client_id": ["_ym_uid", "ClientID"]},
        }

    def secrets(self) -> dict[str, str]:
        """Environment variables named in ``settings``."""
        if self._auth == "token":
            return {self._variable("TOKEN"): self.tokens.long_lived}
        if self._auth == "code":
            return {self._variable("CLIENT_SECRET"): self.tokens.client_secret}
        names = (self._variable("CLIENT_SECRET"), self._variable("REFRESH_TOKEN"))
        return dict(zip(names, (self.tokens.client_secret, self.tokens.first_refresh), strict=True))

    def ban(self) -> None:
        """The gateway has had enough (contract amocrm 11): HTML 403 on every path, the token endpoint too."""
        self._limits.refused = self.quirks.ban_after

    def unban(self) -> None:
        """The vendor's support lifts the ban."""
        self._limits.refused = 0

    def rename(self, host: str) -> None:
        """The account gets another address: at the old one nothing works any more (contract amocrm 1.5).

        Args:
            host: another name of this machine ("localhost").
        """
        self._host = f"{host}:{self.base_url.rpartition(':')[2]}"

    def _auth_settings(self) -> dict[str, Any]:
        if self._auth == "token":
            return {"token": {"env": self._variable("TOKEN")}}
        known = {
            "client_id": CLIENT_ID,
            "client_secret": {"env": self._variable("CLIENT_SECRET")},
            "redirect_uri": REDIRECT_URI,
        }
        return known if self._auth == "code" else {**known, "refresh_token": {"env": self._variable("REFRESH_TOKEN")}}

    def _variable(self, what: str) -> str:
        return f"{re.sub(r'[^A-Z0-9]', '_', self.name.upper())}_AMOCRM_{what}"

    # --- the server ---

    def routes(self) -> Sequence[web.RouteDef]:
        """Everything our client reads, the token endpoint, and 404 for the rest."""
        reading: dict[str, Handler] = {
            "/api/v4/account": self._account,
            "/api/v4/leads": self._leads,
            "/api/v4/leads/unsorted": self._unsorted,
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
            web.patch("/api/v4/leads", self._guarded(self.writes.patch)),
            web.get("/oauth", self._consent),
            web.get("/oauth2/account/current/subdomain", self._home),
            web.post("/oauth2/access_token", self._token),
            *self.hooks.routes(self._guarded),
            web.route("*", "/api/v4/{rest:.*}", self._guarded(self._unknown)),
        ]

    def label(self, request: web.Request) -> str:
        """Ids are left out, so that requests can be counted by kind."""
        return f"{request.method} {re.sub(r'/[0-9][0-9a-z]*$', '/{id}', request.path)}"

    def throttled(self, request: web.Request) -> web.Response:
        return gateway_page(429, "429 Too Many Requests")

    def unavailable(self, request: web.Request) -> web.Response:
        return gateway_page(504, "504 Gateway Time-out")

    def expired(self, request: web.Request) -> web.Response | None:
        is_renewable = self._auth != "token" and request.path.startswith("/api/")
        return unauthorized() if is_renewable else None

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.Response:
            refusal = self._turned_away(request)
            if refusal is not None:
                return refusal
            is_here = not self._host or request.host == self._host
            if not is_here or not self.tokens.accepts(request.headers.get("Authorization", "")):
                return unauthorized()
            try:
                return await handler(request)
            except BadQueryError as error:
                return problem(400, "Bad Request", str(error))

        return guarded

    def _turned_away(self, request: web.Request) -> web.Response | None:
        """What the gateway says before the API sees the request; a ban covers the token endpoint too."""
        if self._limits.refused >= self.quirks.ban_after:
            return gateway_page(403, "403 Forbidden")
        if self.is_limited and not self._limits.admits(self._counted_as(request)):
            return self.throttled(request)
        if len(request.raw_path) > self.quirks.longest_url:
            return gateway_page(414, "414 Request-URI Too Large")
        return None

    def _counted_as(self, request: web.Request) -> str:
        """Whose seven requests a second these are (contract amocrm 11): an integration's, on Kommo an address's."""
        if self.quirks.is_kommo:
            return request.remote or ""
        return self.tokens.integration(request.headers.get("Authorization", ""))

    # --- tokens and the account ---

    async def _consent(self, request: web.Request) -> web.Response:
        """The vendor's page; its visitor always agrees (contract amocrm 1.1)."""
        if request.query.get("client_id") != CLIENT_ID:
            return gateway_page(404, "404 Not Found")
        state = request.query.get("state", "")
        query = urlencode({"code": self.tokens.code(), "referer": request.host, "state": state, "client_id": CLIENT_ID})
        return web.Response(status=302, headers={"Location": f"{REDIRECT_URI}?{query}"})

    async def _home(self, request: web.Request) -> web.Response:
        """Where the account is now, for whoever has a live refresh token (contract amocrm 1.5)."""
        refusal = self._turned_away(request)
        if refusal is not None:
            return refusal
        if not self.tokens.is_live(request.headers.get("X-Refresh-Token", "")):
            return unauthorized()
        domain = self._host or request.host
        body = {"id": content.ACCOUNT, "subdomain": "sim", "domain": domain, "top_level_domain": "ru"}
        return as_json(msgspec.json.encode(body))

    async def _token(self, request: web.Request) -> web.Response:
        refusal = self._turned_away(request)
        if refusal is not None:
            return refusal
        if self._host and request.host != self._host:
            return gateway_page(404, "404 Not Found") if self.quirks.forgets_old_address else unauthorized()
        self.tokens.api_domain = request.host
        try:
            body = await request.json() if request.content_type == "application/json" else await request.post()
        except ValueError:
            body = {}
        status, answer = self.tokens.exchange(dict(body))
        return as_json(answer, status)

    async def _account(self, request: web.Request) -> web.Response:
        account = {
            "id": content.ACCOUNT,
            "name": "Окна (симулятор)",
            "subdomain": "sim",
            "created_at": 1585299171,
            "country": "RU",
            "currency": "RUB",
            "is_loss_reason_enabled": True,
            "is_unsorted_on": self.quirks.has_unsorted,
            "language": "ru",
            "_links": {"self": {"href": f"{self.base_url}/api/v4/account"}},
        }
        if "is_api_filter_enabled" in extras_of(request):
            account["is_api_filter_enabled"] = self.quirks.has_list_filters
        return as_json(msgspec.json.encode(account))

    async def _pipelines(self, request: web.Request) -> web.Response:
        names = {content.PIPELINE: "Продажи", content.SERVICE: "Сервис"}
        pipelines = [content.pipeline_of(own, name, self.quirks.stages) for own, name in names.items()]
        answer = {"_total_items": len(pipelines), "_links": {}, "_embedded": {"pipelines": pipelines}}
        return as_json(msgspec.json.encode(answer))

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
        return as_json(content.lead_json(lead, extras_of(request)))

    async def _leads(self, request: web.Request) -> web.Response:
        extras = extras_of(request) | ({"minor units"} if self.quirks.is_kommo else set())
        rows = self._ordered(request, self._selected(request))
        if self.quirks.hides_unsorted:
            rows = [lead for lead in rows if lead.status != content.UNSORTED]
        is_deleted = "only_deleted" in extras
        if is_deleted or self.store.has_deleted:
            rows = [lead for lead in rows if lead.is_deleted is is_deleted]
        if request.query.get("page", "1") != "1" and self._pages_to_lose:
            self._pages_to_lose -= 1
            return web.Response(status=204)
        return self._list(request, "leads", rows, lambda lead: content.lead_json(lead, extras))

    def _selected(self, request: web.Request) -> list[SimLead]:
        query = arrays(request)
        if not self.quirks.has_list_filters:
            return self.store.line()
        first, last = self._bounds(request, "filter[updated_at]")
        is_ignored = self.quirks.bin_ignores_ids and "only_deleted" in extras_of(request)
        if "filter[id]" in query and not is_ignored:
            asked = (self.store.leads.get(number) for number in dict.fromkeys(numbers(query["filter[id]"])))
            rows = [lead for lead in asked if lead is not None and first <= lead.updated_at <= last]
            rows.sort(key=lambda lead: lead.key)
        else:
            rows = self.store.updated(first, last)
        for name in ("created_at", "closed_at"):
            if any(key.startswith(f"filter[{name}]") for key in query):
                low, high = self._bounds(request, f"filter[{name}]")
                rows = [lead for lead in rows if low <= (getattr(lead, name) or -1) <= high]
        pipelines = numbers(query.get("filter[pipeline_id]", ()))
        if pipelines:
            rows = [lead for lead in rows if lead.pipeline in pipelines]
        pairs = places(request)
        return [lead for lead in rows if (lead.pipeline, lead.status) in pairs] if pairs else rows

    def _bounds(self, request: web.Request, name: str) -> tuple[int, int]:
        """From and to, both inclusive; a bare number is an exact match (contract amocrm 15.2)."""
        query = request.query
        if name in query:
            exact = number(query[name])
            return exact, exact
        narrow = 0 if self.quirks.has_inclusive_bounds else 1
        first = number(query[f"{name}[from]"]) + narrow if f"{name}[from]" in query else -1
        last = number(query[f"{name}[to]"]) - narrow if f"{name}[to]" in query else _END_OF_TIME
        return first, last

    def _ordered(self, request: web.Request, rows: list[SimLead]) -> list[SimLead]:
        """Rows in the order asked for; they come in order of (updated_at, id)."""
        query = request.query
        if "order[updated_at]" in query:
            if self.quirks.shuffles_ties:
                salt = self.requests.total()
                rows = sorted(rows, key=lambda lead: (lead.updated_at, crc32(b"%d %d" % (salt, lead.id))))
            return rows if query["order[updated_at]"] == "asc" else rows[::-1]
        name = "created_at" if "order[created_at]" in query else "id"
        is_backwards = query.get(f"order[{name}]") == "desc"
        return sorted(rows, key=lambda lead: (getattr(lead, name), lead.id), reverse=is_backwards)

    async def _unsorted(self, request: web.Request) -> web.Response:
        """Incoming leads by form; there is no filter by time (contract amocrm 7)."""
        forms = [form for form in self.store.forms if self.quirks.keeps_decided or not form.is_decided]
        is_backwards = request.query.get("order[created_at]") == "desc"
        forms.sort(key=lambda form: form.created_at, reverse=is_backwards)
        categories = arrays(request).get("filter[category]", ["forms"])
        return self._list(request, "unsorted", forms if "forms" in categories else [], content.form_json)

    async def _contact(self, request: web.Request) -> web.Response:
        contact = self.store.contacts.get(int(request.match_info["id"]))
        return web.Response(status=204) if contact is None else as_json(content.contact_json(contact))

    async def _contacts(self, request: web.Request) -> web.Response:
        asked = arrays(request).get("filter[id]")
        ids = sorted(self.store.contacts) if asked is None else dict.fromkeys(numbers(asked))
        rows = [contact for own_id in ids if (contact := self.store.contacts.get(own_id)) is not None]
        return self._list(request, "contacts", rows, content.contact_json)

    # --- events ---

    async def _event(self, request: web.Request) -> web.Response:
        wanted = request.match_info["id"]
        for events in self.store.events.values():
            for event in events:
                if event.id == wanted:
                    return as_json(content.event_json(event))
        return web.Response(status=204)

    async def _events(self, request: web.Request) -> web.Response:
        if self.quirks.hides_events:
            return problem(403, "Forbidden", "Нет прав")
        query = arrays(request)
        kinds = listed(query.get("filter[type]", ()))
        entities = listed(query.get("filter[entity]", ()))
        first, last = self._event_bounds(request)
        rows: list[SimEvent] = []
        if "filter[entity_id]" in query:
            leads = numbers(listed(query["filter[entity_id]"]))
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
            first, last = number(start), number(end) if end else _END_OF_TIME
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
        return problem(404, "Not Found", f"Cannot {request.method} {request.path}")

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
        limit = number(request.query.get("limit", str(_DEFAULT)))
        if limit > _MOST and self.quirks.refuses_long_pages:
            raise BadQueryError("limit")
        limit = max(1, min(limit, most))
        at = max(1, number(request.query.get("page", "1")))
        start = (at - 1) * limit
        chosen = rows[start : start + limit]
        if not chosen:
            return web.Response(status=204)
        if 0 < self.quirks.slow_above < len(chosen):
            return self.unavailable(request)
        links = {"self": {"href": self._address(request, at)}}
        if start + limit < len(rows):
            links["next"] = {"href": self._address(request, at + 1)}
        page = b'"_page":%d,' % at if self.quirks.shows_page else b""
        items = b",".join(map(encode, chosen))
        return as_json(
            b'{%b"_links":%b,"_embedded":{"%b":[%b]}}' % (page, msgspec.json.encode(links), name.encode(), items)
        )

    def _address(self, request: web.Request, page: int) -> str:
        path, _, query = request.raw_path.partition("?")
        rest = [part for part in query.split("&") if part and not part.startswith("page=")]
        return f"{self.base_url}{path}?{'&'.join([*rest, f'page={page}'])}"


def _field_json(item: tuple[int, str, str | None, str]) -> bytes:
    own_id, name, code, kind = item
    return msgspec.json.encode(
        {"id": own_id, "name": name, "type": kind, "code": code, "sort": 500, "is_predefined": code is not None}
    )
