"""A simulated web stream (contract google 5): it answers 204 to everything and keeps what is valid.

Written from the contract's tables; it shares no code with the client.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from aiohttp import web

from bridge.model import utc
from bridge.sim.events import Applied, Click
from bridge.sim.faults import FaultPlan
from bridge.sim.server import DestinationSimulator
from bridge.tools import Clock

MEASUREMENT_ID = "G-AB12CD34EF"
OLDEST = timedelta(hours=72)
_NAME = re.compile(r"[A-Za-z]\w*", re.A)
_RESERVED = ("google_", "ga_", "firebase_")
_MEMBERS = frozenset(("client_id", "user_id", "timestamp_micros", "user_properties", "consent", "user_data", "events"))
_SETTINGS = frozenset(("validation_behavior",))

Message = dict[str, str]
Key = tuple[str, str, int]  # event, visitor, Unix microseconds


class Stream(DestinationSimulator):
    """One stream. ``strays`` are events for other streams, with wrong secrets, too old, or invalid: dropped in silence.

    There is no memory of what came before: an event that comes twice counts twice.
    """

    tells_credentials = False

    def __init__(
        self, clock: Clock, faults: FaultPlan | None = None, *, name: str = "sim", is_limited: bool = True
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self.strays = 0
        self._visitors: set[str] = set()
        self._events: dict[Key, dict[str, Any]] = {}
        self._counted: Counter[Key] = Counter()

    def settings(self) -> dict[str, Any]:
        return {
            "kind": "ga4",
            "measurement_id": MEASUREMENT_ID,
            "api_secret": {"env": f"{self.name.upper()}_GA4_SECRET"},
            "base_url": self.base_url,
        }

    def secrets(self) -> dict[str, str]:
        return {f"{self.name.upper()}_GA4_SECRET": f"{self.name}-Sample_Secret-000001"}

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.post("/mp/collect", self._collect), web.post("/debug/mp/collect", self._validate)]

    def is_write(self, request: web.Request) -> bool:
        return request.path == "/mp/collect"

    def know(self, click: Click) -> None:
        if click.ga_client_id:
            self._visitors.add(click.ga_client_id)

    def applied(self) -> list[Applied]:
        return [self._applied(key, params) for key, params in self._events.items()]

    def _applied(self, key: Key, params: dict[str, Any]) -> Applied:
        event, visitor, micros = key
        return Applied(
            target=event,
            at=utc(micros / 1_000_000),
            value=params.get("value"),
            identifiers=(visitor,),
            order_key=str(params.get("conversion_id", "")),
            reaches=self._counted[key],
            is_linked=visitor in self._visitors,
        )

    def sessions(self) -> list[str | None]:
        """The session each kept event joined, None where it joined none."""
        return [
            params.get("session_id") if params.get("engagement_time_msec") else None for params in self._events.values()
        ]

    async def _validate(self, request: web.Request) -> web.Response:
        """Neither the secret nor the stream is looked at; nothing is kept."""
        body = _read(await request.read())
        messages = [_message("VALUE_INVALID", "", "no JSON object")] if body is None else list(_complaints(body))
        return web.json_response({"validationMessages": messages})

    async def _collect(self, request: web.Request) -> web.Response:
        body = _read(await request.read())
        own = request.query.get("measurement_id") == MEASUREMENT_ID
        secret = request.query.get("api_secret") in self.secrets().values()
        if body is None or not own or not secret or list(_complaints(body)) or self._is_old(body):
            self.strays += 1
        else:
            self._keep(body)
        return web.Response(status=204)

    def _is_old(self, body: dict[str, Any]) -> bool:
        at: datetime = utc(int(body["timestamp_micros"]) / 1_000_000)
        return not self.clock.now() - OLDEST <= at <= self.clock.now()

    def _keep(self, body: dict[str, Any]) -> None:
        for event in body["events"]:
            key = event["name"], body["client_id"], int(body["timestamp_micros"])
            self._events.setdefault(key, event.get("params", {}))
            self._counted[key] += 1


def _read(data: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(data, parse_float=Decimal, parse_int=int)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _message(code: str, path: str, description: str) -> Message:
    return {"fieldPath": path, "description": description, "validationCode": code}


def _complaints(body: dict[str, Any]) -> Iterator[Message]:
    for name in body.keys() - _MEMBERS - _SETTINGS:
        yield _message("VALUE_INVALID", name, "unknown member")
    visitor = body.get("client_id")
    if not visitor or not isinstance(visitor, str):
        yield _message("VALUE_REQUIRED", "client_id", "client_id is required")
    micros = body.get("timestamp_micros")
    if not isinstance(micros, int) or len(str(micros)) != 16:
        yield _message("VALUE_INVALID", "timestamp_micros", "no time in microseconds")
    if any(choice not in ("GRANTED", "DENIED") for choice in body.get("consent", {}).values()):
        yield _message("VALUE_INVALID", "consent", "GRANTED or DENIED")
    events = body.get("events")
    if not isinstance(events, list) or not events:
        yield _message("VALUE_REQUIRED", "events", "events are required")
        return
    if len(events) > 25:
        yield _message("EXCEEDED_MAX_ENTITIES", "events", "more than 25 events")
    for event in events:
        yield from _event_complaints(event)


def _event_complaints(event: dict[str, Any]) -> Iterator[Message]:
    yield from _name_complaints(event.get("name", ""), "events")
    params = event.get("params", {})
    if len(params) > 25:
        yield _message("EXCEEDED_MAX_ENTITIES", "events.params", "more than 25 parameters")
    for name, value in params.items():
        yield from _name_complaints(name, "events.params")
        if isinstance(value, str) and len(value) > 100:
            yield _message("VALUE_OUT_OF_BOUNDS", f"events.params.{name}", "more than 100 characters")
    if "value" in params and not isinstance(params["value"], int | Decimal):
        yield _message("VALUE_INVALID", "events.params.value", "no number")
    if "value" in params and not re.fullmatch("[A-Z]{3}", str(params.get("currency", ""))):
        yield _message("VALUE_REQUIRED", "events.params.currency", "currency is required where value is set")


def _name_complaints(name: str, path: str) -> Iterator[Message]:
    if not _NAME.fullmatch(name):
        yield _message("NAME_INVALID", path, "the name has an invalid character")
    elif len(name) > 40:
        yield _message("VALUE_OUT_OF_BOUNDS", path, "the name is too long")
    elif name.startswith(_RESERVED):
        yield _message("NAME_RESERVED", path, "the name is reserved")
