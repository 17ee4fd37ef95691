"""A simulated endpoint, as careful as a good one: it checks signatures and counts every conversion once."""

from __future__ import annotations

import base64
import hmac
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec
from aiohttp import web

from bridge.model import IdKind
from bridge.sim.events import Applied, Click
from bridge.sim.faults import FaultPlan
from bridge.sim.server import DestinationSimulator
from bridge.tools import Clock

TOLERANCE_S = 300  # how old a signature may be
_SHORTEST = 5  # characters of an identifier that can be one
_PATH = "/hooks/conversions"


class Amount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    amount: Decimal
    currency: str


class Digests(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    phone_sha256: list[str] = []
    email_sha256: list[str] = []


class Conversion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the README promises, and nothing else."""

    id: str
    order: str
    kind: str
    goal: str
    target: str
    occurred_at: datetime
    deal_created_at: datetime
    clicked_before: datetime | None = None
    value: Amount | None = None
    identifiers: dict[IdKind, str] = {}
    persons: list[Digests] = []


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    conversions: list[Conversion] = []


class Receiver(DestinationSimulator):
    """One endpoint. ``is_idempotent`` False: it counts whatever comes, again and again."""

    def __init__(
        self, clock: Clock, faults: FaultPlan | None = None, *, name: str = "sim", is_limited: bool = True
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self.is_idempotent = True
        self.pings = 0
        self._key = f"{name}-webhook-sample-key".encode()
        self._orders: dict[str, Conversion] = {}
        self._counted: Counter[str] = Counter()
        self._seen: set[str] = set()

    def settings(self) -> dict[str, Any]:
        return {
            "kind": "webhook",
            "url": self.base_url + _PATH,
            "secret": {"env": f"{self.name.upper()}_WEBHOOK_SECRET"},
            "idempotent": self.is_idempotent,
        }

    def secrets(self) -> dict[str, str]:
        return {f"{self.name.upper()}_WEBHOOK_SECRET": "whsec_" + base64.b64encode(self._key).decode()}

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.post(_PATH, self._take)]

    def know(self, click: Click) -> None:
        """An endpoint of one's own believes every identifier."""

    def applied(self) -> list[Applied]:
        return [self._applied(conversion) for conversion in self._orders.values()]

    def _applied(self, conversion: Conversion) -> Applied:
        return Applied(
            target=conversion.target,
            at=conversion.occurred_at,
            value=conversion.value.amount if conversion.value else None,
            identifiers=tuple(conversion.identifiers.values()),
            order_key=conversion.order,
            reaches=self._counted[conversion.order],
            is_linked=True,
        )

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not self._is_signed(request, body):
            return web.json_response({"error": "signature"}, status=401)
        try:
            message = msgspec.json.decode(body, type=Message)
        except msgspec.DecodeError:
            return web.json_response({"error": "message"}, status=422)
        if any(len(value) < _SHORTEST for row in message.conversions for value in row.identifiers.values()):
            return web.json_response({"error": "identifier"}, status=422)
        self.pings += message.type == "ping"
        for conversion in message.conversions:
            self._count(conversion)
        return web.Response(status=204)

    def _count(self, conversion: Conversion) -> None:
        if self.is_idempotent and conversion.id in self._seen:
            return
        self._seen.add(conversion.id)
        self._orders[conversion.order] = conversion
        self._counted[conversion.order] += conversion.kind == "original"

    def _is_signed(self, request: web.Request, body: bytes) -> bool:
        """By the letter of the specification, not by our sender's code: a fresh time and one good signature of many."""
        own_id, seconds = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
        if not own_id or not seconds.isdecimal():
            return False
        if abs(self.clock.now().timestamp() - int(seconds)) > TOLERANCE_S:
            return False
        content = b".".join((own_id.encode(), seconds.encode(), body))
        expected = b"v1," + base64.b64encode(hmac.new(self._key, content, sha256).digest())
        given = request.headers.get("webhook-signature", "").encode().split(b" ")
        return any(hmac.compare_digest(expected, one) for one in given)
