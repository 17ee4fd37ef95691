"""A Google that takes conversions: token endpoint, uploads and their status (contract google 2.12).

Uploads are counted when they arrive and reported after ``Rules.processing``, so an oracle need not wait for a status.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import msgspec
from aiohttp import web

from adapters.google_ads import fake_adjust, fake_ads, fake_counts
from adapters.google_ads.auth import SCOPE
from adapters.google_ads.fake_books import Books, Upload
from adapters.google_ads.fake_checks import Rules, Violation, violations, warnings
from adapters.google_ads.fake_schema import SchemaError, parse, parse_adjustments
from adapters.google_ads.fake_tokens import Kind, TokenDesk
from bridge.frozen import frozen
from bridge.sim.events import Applied, Click
from bridge.sim.faults import FaultPlan
from bridge.sim.server import DestinationSimulator
from bridge.tools import Clock

_INGEST = "/v1/events:ingest"
_STATUS = "/v1/requestStatus:retrieve"
_TOKEN = "/token"  # noqa: S105 - a path, no secret
_TYPE = "type.googleapis.com/google.rpc."
_DOMAIN = "datamanager.googleapis.com"
_CONSUMER = "projects/123456789012"
_LONG = timedelta(days=30)  # a token's life on a clock that runs away from the requests


@frozen
class _Taken:
    """One accepted request: when its status is ready, and the status of each destination."""

    at: datetime
    ready_at: datetime
    statuses: tuple[dict[str, Any], ...]


class Quota:
    """So many calls in any minute and any day of real time. ``refused`` names the broken limit, or is None."""

    def __init__(self, kind: str, rules: Rules) -> None:
        self._kind = kind
        self._rules = rules
        self._calls: deque[float] = deque()
        self._today = 0
        self._day = time.monotonic()

    def take(self) -> str | None:
        """Count a call; the name of the limit it breaks (contract google 2.8), None if it is allowed."""
        now = time.monotonic()
        if now - self._day >= 86_400:
            self._day, self._today = now, 0
        while self._calls and now - self._calls[0] >= 60:
            self._calls.popleft()
        if self._today >= self._rules.per_day:
            return f"Ingestion{self._kind}RequestsPerDayPerProject"
        if len(self._calls) >= self._rules.per_minute:
            return f"Ingestion{self._kind}RequestsPerMinutePerProject"
        self._calls.append(now)
        self._today += 1
        return None


class GoogleAds(DestinationSimulator):
    """Data Manager for one Google Ads account. ``rules`` holds every switch, ``desk`` the tokens.

    With ``is_limited=False`` tokens live long and assertions may be old: for a clock that runs away from requests.
    ``is_official`` also parses bodies by Google's own messages; None: where ``google-ads-datamanager`` is installed.
    """

    def __init__(  # noqa: PLR0913 - the four of every simulator, and three of its own
        self,
        clock: Clock,
        faults: FaultPlan | None = None,
        *,
        name: str = "google",
        is_limited: bool = True,
        processing: timedelta = timedelta(minutes=40),
        credentials: Kind = "service_account",
        is_official: bool | None = None,
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self.rules = Rules(processing=processing)
        if not is_limited:
            self.rules.token_life = self.rules.clock_skew = _LONG
        self.desk = TokenDesk(credentials, self.rules)
        self._is_official = has_official() if is_official is None else is_official
        self._books = Books(self.rules)
        self._taken: dict[str, _Taken] = {}
        self._quotas = {_INGEST: Quota("Mutate", self.rules), _STATUS: Quota("Read", self.rules)}

    # --- for a client ---

    def credentials_json(self) -> str:
        """The credentials an operator would download."""
        return self.desk.credentials_json()

    def secrets(self) -> dict[str, str]:
        return {self._variable: self.credentials_json()}

    def settings(self) -> dict[str, Any]:
        return {
            "kind": "google_ads",
            "customer_id": min(self.rules.accounts),
            "credentials": {"env": self._variable},
            "base_url": self.base_url,
            "ads_base_url": self.base_url,
            "token_uri": f"{self.base_url}{_TOKEN}",
            "consent": {"ad_user_data": "granted", "ad_personalization": "granted"},
            # Unlimited, everything would go one by one, which takes simulations their time.
            **({} if self.is_limited else {"requests_per_second": 1000, "single_below": 200}),
        }

    @property
    def _variable(self) -> str:
        name = "".join(letter if letter.isalnum() else "_" for letter in self.name)
        return f"{name.upper()}_GOOGLE_CREDENTIALS"

    # --- for the world ---

    def know(self, click: Click) -> None:
        if click.gclid:
            self.know_id(click.gclid, click.at)

    def know_id(self, identifier: str, at: datetime) -> None:
        """A click by gclid, gbraid or wbraid; or, by the hex digest of an e-mail or phone, a signed-in person's."""
        self._books.know(identifier, at)

    def applied(self) -> list[Applied]:
        """One item per transaction id and conversion action, unlinked ones too. The same click and time under two
        transaction ids are two items (Google itself counts the first), so that doubling is seen."""
        return self._books.applied()

    def lose(self, order_key: str, action: str) -> None:
        """A conversion that was counted is in no report any more, though nobody took it back."""
        self._books.lose(order_key, action)

    # --- the simulator's own side ---

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.post(_TOKEN, self._token),
            web.post(_INGEST, self._ingest),
            web.get(_STATUS, self._status),
            web.post(fake_ads.PATH, self._search),
            web.post(fake_adjust.PATH, self._adjust),
        ]

    async def _search(self, request: web.Request) -> web.Response:
        refusal = self._ads_gate(request)
        if refusal is not None:
            return refusal
        asked = await request.json()
        customer, query = request.match_info["customer"], str(asked.get("query", ""))
        listed, account = self.rules.listed, self.rules.account
        found: dict[str, Any] | None
        if fake_counts.is_asked(query):
            problem = fake_counts.problem(account)
            if problem is not None:
                return _failure(400, "INVALID_ARGUMENT", "Refused.", problem)
            found = fake_counts.report(query, self._books.all(), listed, customer, account)
        else:
            found = fake_ads.search(listed, query, customer, account)
        if found is None or set(asked) - {"query", "pageToken"}:
            return _failure(400, "INVALID_ARGUMENT", "Bad query.", fake_ads.failure("queryError", "UNEXPECTED_INPUT"))
        return _json(200, found)

    async def _adjust(self, request: web.Request) -> web.Response:
        refusal = self._ads_gate(request)
        if refusal is not None:
            return refusal
        try:
            parsed = parse_adjustments(await request.read())
        except SchemaError as error:
            return _unparsable(error)
        problem = fake_adjust.whole_problem(parsed)
        if problem is not None:
            return _failure(400, "INVALID_ARGUMENT", "Refused.", fake_ads.failure(*problem))
        customer = request.match_info["customer"]
        return _json(200, fake_adjust.upload(parsed, customer, self._books, self.rules, self.clock.now()))

    def _ads_gate(self, request: web.Request) -> web.Response | None:
        """The Google Ads API: another scope, another switch in the Cloud project."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self.desk.is_good(token, self.clock.now()):
            return self._unauthenticated("ACCESS_TOKEN_EXPIRED")
        if not self.desk.covers(token, fake_ads.SCOPE):
            info = _info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "googleapis.com", {})
            return _failure(403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.", info)
        if not self.rules.has_ads_api:
            return _failure(403, "PERMISSION_DENIED", "Not enabled.", _info("SERVICE_DISABLED", "googleapis.com", {}))
        if request.match_info["customer"] not in self.rules.accounts:
            problem = fake_ads.failure("authorizationError", "USER_PERMISSION_DENIED")
            return _failure(403, "PERMISSION_DENIED", "The caller does not have permission", problem)
        return None

    def throttled(self, request: web.Request) -> web.Response:
        kind = "Read" if request.path == _STATUS else "Mutate"
        return self._over(f"Ingestion{kind}RequestsPerMinutePerProject")

    def unavailable(self, request: web.Request) -> web.Response:
        return _failure(503, "UNAVAILABLE", "The service is currently unavailable.")

    def expired(self, request: web.Request) -> web.Response | None:
        return None if request.path == _TOKEN else self._unauthenticated("ACCESS_TOKEN_EXPIRED")

    async def _token(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        reply = self.desk.answer(form, self.clock.now())
        return _json(reply.status, reply.body)

    async def _ingest(self, request: web.Request) -> web.Response:
        refusal = self._gate(request)
        if refusal is not None:
            return refusal
        body = await request.read()
        try:
            parsed = parse(body)
            if self._is_official:
                parse_official(body)
        except SchemaError as error:
            return _unparsable(error)
        answer = self._access(parsed) or self._judge(parsed)
        if self.rules.reply_delay:
            await asyncio.sleep(self.rules.reply_delay)
        return answer

    def _gate(self, request: web.Request) -> web.Response | None:
        """Quota, token, API switched on: in front of every call."""
        limit = self._quotas[request.path].take() if self.is_limited else None
        if limit is not None:
            return self._over(limit)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            return self._unauthenticated("CREDENTIALS_MISSING")
        if not self.desk.is_good(token, self.clock.now()):
            return self._unauthenticated("ACCESS_TOKEN_EXPIRED")
        if not self.desk.covers(token, SCOPE):
            info = _info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "googleapis.com", {})
            return _failure(403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.", info)
        if not self.rules.is_enabled:
            metadata = {"consumer": _CONSUMER, "service": _DOMAIN, "serviceTitle": "Data Manager API"}
            message = f"Data Manager API is not enabled in {_CONSUMER}"
            return _failure(403, "PERMISSION_DENIED", message, _info("SERVICE_DISABLED", "googleapis.com", metadata))
        return None

    def _access(self, parsed: dict[str, Any]) -> web.Response | None:
        """403 unless every numeric account can be reached; others are the checks' business."""
        for destination in parsed.get("destinations", ()):
            operating = destination.get("operating_account", {}).get("account_id", "")
            login = destination.get("login_account", {}).get("account_id", "")
            is_reached = login in ("", operating) or login in self.rules.managers
            if operating.isdecimal() and not (is_reached and operating in self.rules.accounts):
                info = _info("PERMISSION_DENIED", _DOMAIN, {"requestId": _request_id()})
                return _failure(403, "PERMISSION_DENIED", "The caller does not have permission.", info)
        return None

    def _judge(self, parsed: dict[str, Any]) -> web.Response:
        now = self.clock.now()
        found = violations(parsed, self.rules, now)
        if found:
            return _invalid(found)
        request_id = _request_id()
        if not parsed.get("validate_only"):
            self._taken[request_id] = self._take(parsed, now)
        answer: dict[str, Any] = {"requestId": request_id}
        noted = warnings(parsed)
        if noted:
            answer["fieldWarnings"] = [
                {"reason": item.reason, "description": item.description, "field": item.field} for item in noted
            ]
        return _json(200, answer)

    def _take(self, parsed: dict[str, Any], now: datetime) -> _Taken:
        consent = parsed.get("consent", {})
        statuses = []
        for destination in parsed["destinations"]:
            action, reference = destination["product_destination_id"], destination.get("reference", "")
            events = [event for event in parsed["events"] if _goes_to(event, reference)]
            failed = self._books.take([Upload.of(event, action, consent) for event in events], now)
            statuses.append(_settled(destination, len(events), failed))
        return _Taken(now, now + self.rules.processing, tuple(statuses))

    async def _status(self, request: web.Request) -> web.Response:
        refusal = self._gate(request)
        if refusal is not None:
            return refusal
        now = self.clock.now()
        taken = self._taken.get(request.query.get("requestId", ""))
        if taken is None:
            return _invalid([Violation("request_id", "unknown", "INVALID_REQUEST_ID")])
        if now - taken.at > self.rules.status_kept:
            return _invalid([Violation("request_id", "too old", "REQUEST_TOO_OLD")])
        statuses = taken.statuses if now >= taken.ready_at else tuple(map(_processing, taken.statuses))
        return _json(200, {"requestStatusPerDestination": statuses})

    def _over(self, limit: str) -> web.Response:
        metadata = {
            "consumer": _CONSUMER,
            "service": _DOMAIN,
            "quota_metric": f"{_DOMAIN}/ingestion_requests",
            "quota_limit": limit,
        }
        info = _info("RATE_LIMIT_EXCEEDED", "googleapis.com", metadata)
        return _failure(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric and limit of this consumer.", info)

    def _unauthenticated(self, reason: str) -> web.Response:
        info = _info(reason, "googleapis.com", {"service": _DOMAIN})
        return _failure(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", info)


# --- answers -----------------------------------------------------------------------------------------------------


def _goes_to(event: dict[str, Any], reference: str) -> bool:
    chosen = event.get("destination_references")
    return not chosen or reference in chosen


def _settled(destination: dict[str, Any], total: int, failed: dict[str, int]) -> dict[str, Any]:
    count = sum(failed.values())
    status = "SUCCESS" if count == 0 else "FAILED" if count >= total else "PARTIAL_SUCCESS"
    settled: dict[str, Any] = {
        "destination": _camel_destination(destination),
        "requestStatus": status,
        "eventsIngestionStatus": {"recordCount": str(total)},
    }
    if failed:
        counts = [{"recordCount": str(number), "reason": reason} for reason, number in failed.items()]
        settled["errorInfo"] = {"errorCounts": counts}
    return settled


def _processing(settled: dict[str, Any]) -> dict[str, Any]:
    return {"destination": settled["destination"], "requestStatus": "PROCESSING"}


def _camel_destination(destination: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"productDestinationId": destination["product_destination_id"]}
    if "reference" in destination:
        shown["reference"] = destination["reference"]
    account = destination["operating_account"]
    shown["operatingAccount"] = {"accountType": account["account_type"], "accountId": account["account_id"]}
    return shown


def _invalid(found: Sequence[Violation]) -> web.Response:
    request_id = _request_id()
    bad = {
        "@type": f"{_TYPE}BadRequest",
        "fieldViolations": [
            {"field": item.field, "description": item.description, "reason": item.reason} for item in found
        ],
    }
    return _failure(
        400,
        "INVALID_ARGUMENT",
        "There was a problem with the request.",
        _info("INVALID_ARGUMENT", _DOMAIN, {"requestId": request_id}),
        {"@type": f"{_TYPE}RequestInfo", "requestId": request_id},
        bad,
    )


def _unparsable(error: SchemaError) -> web.Response:
    """The common front end's refusal: one BadRequest, no ErrorInfo, no per-field reason (contract google 2.7)."""
    violation = {"field": error.path, "description": f"Invalid JSON payload received: {error.description}"}
    bad = {"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]}
    return _failure(400, "INVALID_ARGUMENT", "Invalid JSON payload received.", bad)


def _info(reason: str, domain: str, metadata: dict[str, str]) -> dict[str, Any]:
    return {"@type": f"{_TYPE}ErrorInfo", "reason": reason, "domain": domain, "metadata": metadata}


def _failure(code: int, status: str, message: str, *details: dict[str, Any]) -> web.Response:
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = details
    return _json(code, {"error": error})


def _json(status: int, body: Any) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def _request_id() -> str:
    return f"t-{secrets.token_hex(16)}"


# --- Google's own messages ---------------------------------------------------------------------------------------


@cache
def has_official() -> bool:
    """Whether ``google-ads-datamanager`` is installed (a development dependency)."""
    return _official() is not None


@cache
def _official() -> tuple[Any, Any] | None:
    try:
        from google.ads import datamanager_v1  # noqa: PLC0415 - optional, and a second to import
        from google.protobuf import json_format  # type: ignore[import-untyped]  # noqa: PLC0415 - comes with it
    except ImportError:
        return None
    return datamanager_v1.IngestEventsRequest.pb(), json_format


def parse_official(body: bytes) -> Any:
    """The body as Google's own message, strictly.

    Raises:
        SchemaError: the official parser refuses it.
    """
    official = _official()
    assert official is not None
    message, json_format = official
    try:
        return json_format.Parse(body, message())
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise SchemaError("", str(error)) from None
