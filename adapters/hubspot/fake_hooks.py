"""The simulated webhooks: signed lists of events, repeated until they are taken (contract hubspot 7).

They go out when ``deliver`` is called. ``pending`` is a plain list, so that a test may lose, double or shuffle what is
on its way.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from adapters.hubspot.fake_schema import SINGULAR
from bridge.sim.post import post_body
from bridge.tools import Clock

PORTAL_ID = 25_104_807
_MOST = 100  # events of one delivery
_ATTEMPTS = 11  # the first one and ten more
_PATIENCE = 5.0
Event = dict[str, Any]


@dataclass(slots=True)
class HookDesk:
    """Webhooks of one app. ``target``: where to, "" for none; ``subscriptions``: names such as ``deal.creation``,
    with the property behind a change: ``deal.propertyChange:dealstage``.
    """

    clock: Clock
    secret: str = field(repr=False)
    target: str = ""
    subscriptions: tuple[str, ...] = ()
    pending: list[Event] = field(default_factory=list)
    answers: list[int | None] = field(default_factory=list)
    _made: int = 0

    def tell(self, kind: str, number: int, action: str, at: datetime, more: Mapping[str, Any]) -> None:
        """Something happened to an object."""
        name = f"{SINGULAR[kind]}.{action}"
        wanted = f"{name}:{more['propertyName']}" if action == "propertyChange" else name
        if wanted in self.subscriptions:
            self._made += 1
            about = {"eventId": self._made % 97, "subscriptionId": 7, "portalId": PORTAL_ID, "appId": 55}
            when = {"occurredAt": int(at.timestamp() * 1000), "subscriptionType": name, "attemptNumber": 0}
            self.pending.append({**about, **when, "objectId": number, "changeSource": "CRM_UI", **more})

    async def deliver(self) -> list[int | None]:
        """Post everything that waits, once; what is not taken stays, until it was tried often enough."""
        due, self.pending = self.pending, []
        statuses = []
        for start in range(0, len(due), _MOST):
            events = due[start : start + _MOST]
            status = await self.post(msgspec.json.encode(events))
            statuses.append(status)
            if status is None or not 200 <= status < 300:
                again = [{**event, "attemptNumber": event["attemptNumber"] + 1} for event in events]
                self.pending += [event for event in again if event["attemptNumber"] < _ATTEMPTS]
        self.answers += statuses
        return statuses

    async def post(self, body: bytes, **other: str) -> int | None:
        """One delivery, signed; ``other`` headers win (a forger's)."""
        told = str(int(self.clock.now().timestamp() * 1000))
        signature = self.signature(self.target, body, told)
        headers = {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": told}
        return await post_body(self.target, body, {"Content-Type": "application/json", **headers, **other}, _PATIENCE)

    def signature(self, url: str, body: bytes, told: str) -> str:
        """Version 3, for an address without escaped characters."""
        signed = f"POST{url}{body.decode()}{told}".encode()
        return base64.b64encode(hmac.new(self.secret.encode(), signed, hashlib.sha256).digest()).decode()
