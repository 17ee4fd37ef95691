"""A simulated Bitrix24 portal: leads and deals that follow the imaginary business, the vendor's limits and errors.

It lets in one webhook and one OAuth application, and refuses what the portal refuses (contract bitrix24 1, 2, 3, 5, 6,
7, 8, 9, 11, 12, 13, 16). Of writing only ``crm.item.update`` is there; XML answers are not. Rate limits count real
time; operating time follows the clock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from aiohttp import web

from adapters.bitrix24 import fake_oauth
from adapters.bitrix24.fake_data import PortalData
from adapters.bitrix24.fake_events import EventDesk
from adapters.bitrix24.fake_query import RestError
from adapters.bitrix24.fake_rest import BatchRun, Methods, Reply, as_php, parse_pairs
from adapters.bitrix24.fake_schema import (
    CONTACT,
    DEAL,
    INVOICE,
    ITEM,
    LEAD,
    CustomField,
    Schema,
    default_statuses,
    process_statuses,
)
from bridge.sim.events import LOSS_REASONS, STAGE_TITLES, Carrier, Click, Happening, Lead, StageName, Step
from bridge.sim.faults import FaultPlan
from bridge.sim.server import SourceSimulator
from bridge.tools import Clock

LANDING_FIELD = "UF_CRM_68F1C0DE4A7B2"  # a generated hex code, as fields made in the UI get
CATEGORY_FIELD = "UF_CRM_1751203344"  # a generated numeric code
YCLID, GCLID, CLIENT_ID = "UF_CRM_YCLID", "UF_CRM_GCLID", "UF_CRM_YM_CLIENT_ID"
FIELDS = (
    CustomField(YCLID, "yclid"),
    CustomField(GCLID, "gclid"),
    CustomField(CLIENT_ID, "ClientID Метрики"),
    CustomField(LANDING_FIELD, "Страница входа"),
    CustomField(CATEGORY_FIELD, "Категория клиента", "enumeration", items={"44": "Частный", "46": "Компания"}),
)
SALES = 1  # the pipeline the imaginary business works in
_CODE = "k3v9x2m8q4w7t1z5"
_HANDLER = "https://bridge.example/b24"  # the address in the application's settings
_DEALS = (StageName.QUALIFIED, StageName.MEETING, StageName.WON)
_PLANS = {"standard": (50.0, 2.0), "enterprise": (250.0, 5.0)}  # level above which it blocks, drained per second


@dataclass(slots=True)
class Bucket:
    """The portal's leaky bucket. A refused request does not fill it (not documented either way)."""

    ceiling: float
    drain: float
    level: float = 0.0
    seen: float = 0.0

    def is_full(self, now: float) -> bool:
        """Count one request; whether it is one too many. ``now``: monotonic seconds."""
        self.level = max(self.level - (now - self.seen) * self.drain, 0.0)
        self.seen = now
        if self.level + 1 > self.ceiling:
            return True
        self.level += 1
        return False


class Operating:
    """Execution seconds per method over ten one-minute baskets (contract 9). ``limit`` None: counted, not enforced."""

    def __init__(self, limit: float | None, costs: Mapping[str, float]) -> None:
        self.limit = limit
        self.costs = dict(costs)
        self._baskets: dict[str, deque[list[float]]] = {}

    def check(self, method: str, now: float) -> None:
        """The call that crosses the limit still succeeds; the next one is refused."""
        if self.limit is not None and self._used(method, now) >= self.limit:
            raise RestError("OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit.", 429)

    def add(self, method: str, now: float, took: float) -> dict[str, Any]:
        """Account a call; the part of ``time`` that tells of it."""
        baskets = self._baskets.setdefault(method, deque())
        if not baskets or now - baskets[-1][0] >= 60:
            baskets.append([now, 0.0])
        baskets[-1][1] += self.costs.get(method, took)
        return {"operating_reset_at": int(baskets[0][0]) + 600, "operating": round(self._used(method, now), 7)}

    def _used(self, method: str, now: float) -> float:
        baskets = self._baskets.get(method, deque())
        while baskets and now - baskets[0][0] >= 600:
            baskets.popleft()
        return sum(basket[1] for basket in baskets)


class Bitrix24(SourceSimulator):
    """A portal on a socket.

    Args:
        auth: what ``settings`` offers: ``webhook``, ``oauth`` or ``code`` (an application that nobody has authorized
            yet). The portal lets in all.
        mode: ``classic`` (leads first, for half of the imaginary leads) or ``simple`` (a lead becomes a deal at once).
        plan: ``standard`` or ``enterprise``: the rate limit.
        processes: smart processes, by entityTypeId; the imaginary business uses none.
        operating_limit: seconds of one method in ten minutes, None for no limit; ``costs``: seconds a call takes.
    """

    def __init__(  # noqa: PLR0913 - the base's arguments and the vendor's own switches, all named
        self,
        clock: Clock,
        faults: FaultPlan | None = None,
        *,
        name: str = "sim",
        is_limited: bool = True,
        auth: str = "webhook",
        mode: str = "classic",
        plan: str = "standard",
        operating_limit: float | None = None,
        costs: Mapping[str, float] | None = None,
        fields: Sequence[CustomField] = FIELDS,
        scopes: tuple[str, ...] = ("crm",),
        processes: Sequence[int] = (),
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        schemas = {LEAD: Schema.of(LEAD, tuple(fields)), DEAL: Schema.of(DEAL, tuple(fields))}
        schemas |= {kind: Schema.of(kind, tuple(fields)) for kind in (f"{ITEM}:{number}" for number in processes)}
        statuses = [*default_statuses(LOSS_REASONS), *(row for n in processes for row in process_statuses(n))]
        schemas[INVOICE] = Schema.of(INVOICE)
        statuses += process_statuses(31)
        self.data = PortalData({**schemas, CONTACT: Schema.of(CONTACT)}, statuses)
        self._processes = tuple(processes)
        self.methods = Methods(self.data, clock.now, mode=mode, scopes=scopes)
        self.operating = Operating(operating_limit, costs or {})
        self.oauth = fake_oauth.Desk(clock, name)
        self.events = EventDesk(self.data, clock, lambda: self.base_url)
        self.data.tell = self.events.tell
        self.moved_to = ""  # an address: the portal was renamed
        self.page = (0, "")  # an HTTP status and HTML that every call gets
        self.has_plan = True  # REST needs a paid plan
        self.is_revoked = False  # the webhook was removed
        self.denied_status = 401  # of INVALID_CREDENTIALS; the documentation says 403
        self._auth = auth
        self._is_application = False
        self._bucket = Bucket(*_PLANS[plan])
        self._business = Business(self.data, is_simple=mode == "simple")

    # --- for configurations ---

    def settings(self) -> dict[str, Any]:
        """A source section for this portal."""
        return {
            "kind": "bitrix24",
            "base_url": self.base_url,
            "auth": self._credentials(),
            "entities": ["lead", "deal", *(f"{ITEM}:{number}" for number in self._processes)],
            "fields": {"yclid": [YCLID], "gclid": [GCLID], "client_id": [CLIENT_ID]},
            **({} if self.is_limited else {"requests_per_second": 1000}),
        }

    def _credentials(self) -> dict[str, Any]:
        if self._auth == "webhook":
            return {"webhook": {"env": self._variable("WEBHOOK")}}
        names = ("client_secret",) if self._auth == "code" else ("client_secret", "refresh_token")
        secrets = {name: {"env": self._variable(name.upper())} for name in names}
        return {"client_id": fake_oauth.CLIENT_ID, **secrets, "oauth_url": self.base_url}

    def secrets(self) -> dict[str, str]:
        if self._auth == "webhook":
            return {self._variable("WEBHOOK"): f"{self.data.user}/{_CODE}"}
        values = {"CLIENT_SECRET": self.oauth.client_secret, "REFRESH_TOKEN": self.oauth.first_refresh}
        return {self._variable(name): value for name, value in values.items()}

    @property
    def webhook_url(self) -> str:
        """What the portal shows to whoever creates the webhook; other clients want it."""
        return f"{self.base_url}/rest/{self.data.user}/{_CODE}/"

    def _variable(self, what: str) -> str:
        return f"{self.name.upper().replace('-', '_')}_B24_{what}"

    # --- the imaginary business ---

    def happen(self, event: Happening) -> None:
        self._business.happen(event)

    def deal_key(self, lead: int) -> str:
        return self._business.key(lead)

    # --- HTTP ---

    def routes(self) -> Sequence[web.RouteDef]:
        paths = (
            "/rest/{user}/{code}/{method}",
            "/rest/{user}/{code}/{method}/",
            "/rest/{user}/{method}",
            "/rest/{method}",
        )
        calls = [web.route("*", path, self._answer) for path in paths]
        return [*calls, web.get("/oauth/token/", self._exchange), web.get("/oauth/authorize/", self._allow)]

    def label(self, request: web.Request) -> str:
        """The method alone: the path holds the secret."""
        return request.path.rstrip("/").rpartition("/")[2].lower().removesuffix(".json")

    def is_write(self, request: web.Request) -> bool:
        return False

    def throttled(self, request: web.Request) -> web.Response:
        return _json(503, {"error": "QUERY_LIMIT_EXCEEDED", "error_description": "Too many requests"})

    def unavailable(self, request: web.Request) -> web.Response:
        return web.Response(status=502, text="<html><body>502 Bad Gateway</body></html>", content_type="text/html")

    def expired(self, request: web.Request) -> web.Response | None:
        """Only an application's tokens expire."""
        if "code" in request.match_info or "method" not in request.match_info:
            return None
        error = fake_oauth.expired()
        return _json(error.status, {"error": error.code, "error_description": error.text})

    async def _exchange(self, request: web.Request) -> web.Response:
        status, body = self.oauth.exchange(request.query, self.base_url)
        return _json(status, body)

    async def _allow(self, request: web.Request) -> web.Response:
        """The page on which access is granted; everybody does. It leads to the application's own address."""
        if request.query.get("client_id") != fake_oauth.CLIENT_ID:
            return web.Response(status=404, text="<html>no such application</html>", content_type="text/html")
        place = {"domain": request.host, "scope": "crm", "server_domain": "oauth.bitrix24.tech"}
        query = urlencode({"code": self.oauth.code(), "state": request.query.get("state", ""), **place})
        return web.Response(status=302, headers={"Location": f"{_HANDLER}?{query}"})

    async def _answer(self, request: web.Request) -> web.Response:
        if self.moved_to:
            return web.Response(status=302, headers={"Location": f"{self.moved_to}{request.path}"})
        if self.page[0]:
            return web.Response(status=self.page[0], text=self.page[1], content_type="text/html")
        if self.is_limited and self._bucket.is_full(time.monotonic()):
            return self.throttled(request)
        try:
            params = await _parameters(request)
            self._authorize(request, params)
            self._is_application = "code" not in request.match_info  # nothing is awaited until the answer
            return self._run(self.label(request), params)
        except RestError as error:
            return _json(error.status, {"error": error.code, "error_description": error.text})

    def _authorize(self, request: web.Request, params: Mapping[str, Any]) -> None:
        """By the path's webhook, else by an application's token among the parameters or in a header (contract 1.2)."""
        info = request.match_info
        if not self.has_plan:
            raise RestError("ACCESS_DENIED", "REST is available only by subscription.", 403)
        if "code" not in info:
            method = info.get("user", info["method"]).lower()
            name = method.removesuffix(".json")
            if "user" in info or not (self.methods.is_known(name) or self.events.knows(name)):
                raise RestError("ERROR_METHOD_NOT_FOUND", "Method not found!", 404)
            scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
            self.oauth.check(params.get("auth") or params.get("access_token") or (scheme == "Bearer" and bearer))
            return
        if self.is_revoked or (info["user"], info["code"]) != (str(self.data.user), _CODE):
            raise RestError("INVALID_CREDENTIALS", "Invalid request credentials", self.denied_status)

    def _run(self, name: str, params: Mapping[str, Any]) -> web.Response:
        began = self.clock.now()
        if name == "batch":
            run = BatchRun(self._timed)
            result = run.run(params)
            return _json(200, {"result": result, "time": self._time(began, {})})
        reply, spent = self._timed(name, params)
        body: dict[str, Any] = {"result": reply.result}
        if reply.next is not None:
            body["next"] = reply.next
        if reply.total is not None:
            body["total"] = reply.total
        return _json(200, {**body, "time": spent})

    def _timed(self, name: str, params: Mapping[str, Any]) -> tuple[Reply, dict[str, Any]]:
        """One method, its operating time accounted. Only an application may have events (contract 1.1)."""
        began = self.clock.now()
        self.operating.check(name, began.timestamp())
        started = time.perf_counter()
        has_events = self._is_application and self.events.knows(name)
        reply = (self.events if has_events else self.methods).call(name, params)
        took = time.perf_counter() - started
        return reply, self._time(began, self.operating.add(name, began.timestamp(), took))

    def _time(self, began: datetime, spent: Mapping[str, Any]) -> dict[str, Any]:
        at = began.timestamp()
        stamp = self.data.stamp(int(at))
        clock = {"start": at, "finish": at, "duration": 0, "processing": 0, "date_start": stamp, "date_finish": stamp}
        return {**clock, **spent}


def _json(status: int, body: Mapping[str, Any]) -> web.Response:
    """PHP's JSON escapes slashes."""
    text = msgspec.json.encode(body).replace(b"/", b"\\/")
    return web.Response(status=status, body=text, content_type="application/json", charset="utf-8")


async def _parameters(request: web.Request) -> dict[str, Any]:
    """Query and body merged, the body wins; a body that is no JSON is no parameters (contract 1.1)."""
    params = parse_pairs(parse_qsl(request.query_string, keep_blank_values=True))
    if not request.body_exists:
        return params
    if request.content_type == "application/json":
        try:
            body = msgspec.json.decode(await request.read())
        except msgspec.DecodeError:
            return params
        return {**params, **{key: _plain(value) for key, value in body.items()}} if isinstance(body, dict) else params
    form: Iterable[tuple[str, Any]] = (await request.post()).items()
    return {**params, **parse_pairs((key, str(value)) for key, value in form)}


def _plain(value: Any) -> Any:
    return as_php(value) if isinstance(value, dict) else value


# --- the imaginary business --------------------------------------------------------------------------------------


class Business:
    """Translates the world's leads: half of them (and all whose click ids stay on the lead) begin as Bitrix24 leads,
    which become deals of the pipeline "Продажи" when they qualify; the others are deals from the start.
    """

    def __init__(self, data: PortalData, *, is_simple: bool) -> None:
        self._data = data
        self._is_simple = is_simple
        self._leads: dict[int, int] = {}
        self._deals: dict[int, int] = {}
        self._contacts: dict[int, int] = {}
        self._stages = {kind: self._codes(kind) for kind in (LEAD, DEAL)}

    def _codes(self, kind: str) -> dict[str, str]:
        """Stage codes by the business's own words: stages it has here, and failure stages by loss reason."""
        known = {StageName.NEW, StageName.CONTACTED} if kind == LEAD else set(StageName)
        titles = {stage.value: title for stage, title in STAGE_TITLES.items() if stage in known}
        titles |= {reason: reason for reason in LOSS_REASONS}
        titles |= {StageName.LOST.value: "Некачественный лид"} if kind == LEAD else {}
        return {word: self._data.stage_named(kind, SALES, title) for word, title in titles.items()}

    def key(self, lead: int) -> str:
        """Where this lead's sale is: its deal if there is one, else the lead."""
        return f"deal:{self._deals[lead]}" if lead in self._deals else f"lead:{self._leads[lead]}"

    def happen(self, event: Happening) -> None:
        lead, step = event.lead, event.step
        if event.is_new:
            self._appear(lead, step)
        elif lead.id in self._deals:
            self._data.update(DEAL, self._deals[lead.id], step.at, self._moved(DEAL, step))
        elif step.stage in _DEALS:
            self._convert(lead, step)
        else:
            self._data.update(LEAD, self._leads[lead.id], step.at, self._moved(LEAD, step))

    def _appear(self, lead: Lead, step: Step) -> None:
        about = {"TITLE": f"Заявка: {lead.name}", "SOURCE_ID": self._data.source(lead.origin), **_carried(lead)}
        if lead.id % 2 and lead.carrier is not Carrier.CONVERTED and not self._is_simple:
            self._add_deal(lead, step, about)
            return
        first, _, last = lead.name.partition(" ")
        people = {"NAME": first, "LAST_NAME": last or None, "PHONE": lead.phones, "EMAIL": lead.emails}
        self._leads[lead.id] = self._data.add(LEAD, step.at, {**about, **people, **self._moved(LEAD, step)})
        if self._is_simple:
            self._convert(lead, step)

    def _convert(self, lead: Lead, step: Step) -> None:
        """The lead is closed as good and a deal lives on; what the lead alone carried is not copied."""
        number = self._leads[lead.id]
        converted = {"STATUS_ID": "CONVERTED", "CONTACT_ID": self._contact(lead, step.at)}
        self._data.update(LEAD, number, step.at, converted)
        copied = {} if lead.carrier is Carrier.CONVERTED else _carried(lead)
        row = self._data.record(LEAD, number).row
        about = {name: row.get(name) for name in ("TITLE", "SOURCE_ID", "OPPORTUNITY")}
        self._add_deal(lead, step, {**about, **copied, "LEAD_ID": str(number)})

    def _add_deal(self, lead: Lead, step: Step, about: Mapping[str, Any]) -> None:
        place = {"CATEGORY_ID": str(SALES), "CONTACT_ID": self._contact(lead, step.at)}
        self._deals[lead.id] = self._data.add(DEAL, step.at, {**about, **place, **self._moved(DEAL, step)})

    def _moved(self, kind: str, step: Step) -> dict[str, Any]:
        """The fields a step changes. A loss goes to the failure stage named after its reason."""
        word = step.loss_reason if step.stage is StageName.LOST and step.loss_reason else step.stage.value
        stage = self._stages[kind][word if word in self._stages[kind] else StageName.LOST.value]
        value = {} if step.value is None else {"OPPORTUNITY": f"{step.value.quantize(Decimal('0.01'))}"}
        return {"STATUS_ID" if kind == LEAD else "STAGE_ID": stage, **value}

    def _contact(self, lead: Lead, at: datetime) -> str:
        """The person's contact, with what this lead adds to it."""
        number = self._contacts.get(lead.person)
        if number is None:
            first, _, last = lead.name.partition(" ")
            fields = {"NAME": first, "LAST_NAME": last or None, "PHONE": lead.phones, "EMAIL": lead.emails}
            number = self._contacts[lead.person] = self._data.add(CONTACT, at, fields)
            return str(number)
        known = self._data.record(CONTACT, number).multi
        more = {"PHONE": lead.phones, "EMAIL": lead.emails}
        merged = {name: tuple(dict.fromkeys((*known.get(name, ()), *values))) for name, values in more.items()}
        changed = {name: values for name, values in merged.items() if values != known.get(name, ())}
        if changed:
            self._data.update(CONTACT, number, at, changed)
        return str(number)


def _carried(lead: Lead) -> dict[str, Any]:
    """Where this lead keeps what is known of its click."""
    click = lead.click
    if lead.carrier is Carrier.GARBAGE:
        return {YCLID: lead.garbage, CLIENT_ID: lead.garbage}
    if click is None:
        return {}
    tags = {"UTM_SOURCE": "yandex" if click.yclid else "google", "UTM_MEDIUM": "cpc"}
    if lead.carrier in (Carrier.FIELD, Carrier.CONVERTED):
        return {**tags, YCLID: click.yclid, GCLID: click.gclid, CLIENT_ID: click.client_id}
    if lead.carrier is Carrier.URL:
        return {**tags, (LANDING_FIELD if lead.id // 2 % 2 else "SOURCE_DESCRIPTION"): click.landing}
    if lead.carrier is Carrier.UTM:
        return {**tags, "UTM_CONTENT": _utm_content(lead, click)}
    return {}


def _utm_content(lead: Lead, click: Click) -> str:
    name, value = ("yclid", click.yclid) if click.yclid else ("gclid", click.gclid)
    return f"{name}:{value}" if lead.id // 2 % 2 else f"cid-1|{name}={value}"
