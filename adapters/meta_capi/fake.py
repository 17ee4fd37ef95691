"""A simulated dataset (contract meta_capi 1 and 2): takes events, or refuses the whole request for one of them.

Written from the contract's tables; it shares no code with the client. Subcodes other than 2804003 (too old) are
examples of their range.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from aiohttp import web

from bridge.model import utc
from bridge.sim.events import Applied, Click
from bridge.sim.faults import FaultPlan
from bridge.sim.server import DestinationSimulator
from bridge.tools import Clock

DATASET = "123456789012345"
VERSION = "v25.0"
BATCH_MAX = 1000
OLDEST = timedelta(days=7)
TOO_OLD = 2804003
BAD_NAME, BAD_TIME, BAD_SOURCE, BAD_USER, BAD_VALUE = 2804001, 2804004, 2804020, 2804050, 2804008
_ACTIONS = frozenset(
    [
        "website",
        "app",
        "phone_call",
        "chat",
        "email",
        "physical_store",
        "system_generated",
        "business_messaging",
        "other",
    ]
)
_DIGEST = re.compile("[0-9a-f]{64}")
_FBC = re.compile(r"fb\.1\.[0-9]{13}\.([\w-]+)", re.A)
_USER = frozenset(("lead_id", "em", "ph", "external_id", "fbc", "fbp", "client_user_agent"))
_EVENT = frozenset(("event_name", "event_time", "event_id", "action_source", "user_data", "custom_data"))


class DeniedError(Exception):
    """The request is answered with Graph's error body; nothing of it is kept."""

    def __init__(self, status: int, code: int, subcode: int = 0, message: str = "Invalid parameter") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.subcode = subcode


class Dataset(DestinationSimulator):
    """One dataset and one token.

    ``is_deduplicating`` False: two server events with one id count twice, since nobody promises otherwise.
    ``can_read`` False: a token that may only send. ``tested``: names of events that came with a test code.
    """

    def __init__(
        self, clock: Clock, faults: FaultPlan | None = None, *, name: str = "sim", is_limited: bool = True
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self.is_deduplicating = False
        self.can_read = True
        self.tested: list[str] = []
        self._known: set[str] = set()
        self._events: dict[tuple[str, str], dict[str, Any]] = {}
        self._counted: Counter[tuple[str, str]] = Counter()

    def settings(self) -> dict[str, Any]:
        return {
            "kind": "meta_capi",
            "dataset_id": DATASET,
            "token": {"env": f"{self.name.upper()}_META_TOKEN"},
            "base_url": self.base_url,
        }

    def secrets(self) -> dict[str, str]:
        return {f"{self.name.upper()}_META_TOKEN": f"EAAB{self.name}0sample0token0of0a0system0user"}

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/{version}/{dataset}", self._node),
            web.post("/{version}/{dataset}/events", self._post),
        ]

    def know(self, click: Click) -> None:
        self._known |= {known for known in (click.fbclid, click.fb_lead_id) if known}

    def applied(self) -> list[Applied]:
        return [self._applied(key, event) for key, event in self._events.items()]

    def _applied(self, key: tuple[str, str], event: dict[str, Any]) -> Applied:
        user, custom = event["user_data"], event.get("custom_data", {})
        click = _FBC.fullmatch(user.get("fbc", ""))
        found = tuple(filter(None, (str(user.get("lead_id", "")), click[1] if click else "")))
        return Applied(
            target=key[0],
            at=utc(event["event_time"]),
            value=custom.get("value"),
            identifiers=found,
            order_key=key[1],
            reaches=self._counted[key],
            is_linked=bool(self._known & set(found)),
        )

    def throttled(self, request: web.Request) -> web.Response:
        return _denied(DeniedError(403, 4, message="(#4) Application request limit reached"))

    def unavailable(self, request: web.Request) -> web.Response:
        return _denied(DeniedError(500, 2, message="Service temporarily unavailable"))

    def expired(self, request: web.Request) -> web.Response | None:
        return _denied(DeniedError(400, 190, 463, "Error validating access token: Session has expired"))

    # --- requests ---

    async def _node(self, request: web.Request) -> web.Response:
        try:
            self._admit(request)
            if not self.can_read:
                raise DeniedError(403, 200, message="(#200) Missing permissions")
        except DeniedError as error:
            return _denied(error)
        return web.json_response({"id": DATASET, "name": "okna"})

    async def _post(self, request: web.Request) -> web.Response:
        try:
            self._admit(request)
            body = _read(await request.read())
            for event in body["data"]:
                self._examine(event)
        except DeniedError as error:
            return _denied(error)
        if body.get("test_event_code"):
            self.tested += [event["event_name"] for event in body["data"]]
        else:
            self._keep(body["data"])
        return web.json_response({"events_received": len(body["data"]), "messages": [], "fbtrace_id": "AbCdEfGhIj"})

    def _admit(self, request: web.Request) -> None:
        """Graph puts token trouble into a 400, told apart by the code alone."""
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if given not in self.secrets().values():
            raise DeniedError(400, 190, message="Invalid OAuth access token - Cannot parse access token")
        if request.match_info["dataset"] != DATASET or request.match_info["version"] != VERSION:
            raise DeniedError(400, 100, 33, "Unsupported request. Object does not exist or missing permissions")

    def _keep(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            key = event["event_name"], event.get("event_id", "")
            if self.is_deduplicating and key in self._events:
                continue
            self._events.setdefault(key, event)
            self._counted[key] += 1

    def _examine(self, event: dict[str, Any]) -> None:
        if event.keys() - _EVENT or not str(event.get("event_name", "")).strip():
            raise DeniedError(400, 100, BAD_NAME)
        if event.get("action_source") not in _ACTIONS:
            raise DeniedError(400, 100, BAD_SOURCE)
        self._examine_time(event.get("event_time"))
        _examine_user(event.get("user_data", {}))
        _examine_value(event.get("custom_data", {}))

    def _examine_time(self, seconds: Any) -> None:
        if not isinstance(seconds, int) or utc(seconds) > self.clock.now():
            raise DeniedError(400, 100, BAD_TIME)
        if self.clock.now() - utc(seconds) > OLDEST:
            raise DeniedError(400, 100, TOO_OLD)


def _examine_user(user: dict[str, Any]) -> None:
    lead, click = user.get("lead_id"), user.get("fbc")
    digests = [digest for kind in ("em", "ph", "external_id") for digest in user.get(kind, ())]
    is_good = (
        user
        and not user.keys() - _USER
        and (lead is None or (isinstance(lead, int) and 15 <= len(str(lead)) <= 17))
        and (click is None or _FBC.fullmatch(click))
        and all(_DIGEST.fullmatch(digest) for digest in digests)
    )
    if not is_good:
        raise DeniedError(400, 100, BAD_USER)


def _examine_value(custom: dict[str, Any]) -> None:
    value, currency = custom.get("value"), custom.get("currency")
    if value is None and currency is None:
        return
    if not isinstance(value, int | Decimal) or not re.fullmatch("[A-Z]{3}", currency or ""):
        raise DeniedError(400, 100, BAD_VALUE)


def _read(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data, parse_float=Decimal)
    except ValueError:
        raise DeniedError(400, 100) from None
    events = body.get("data") if isinstance(body, dict) else None
    if not isinstance(events, list) or not 1 <= len(events) <= BATCH_MAX:
        raise DeniedError(400, 100)
    return dict(body)


def _denied(error: DeniedError) -> web.Response:
    told: dict[str, Any] = {"message": str(error), "type": "OAuthException", "code": error.code}
    if error.subcode:
        told |= {"error_subcode": error.subcode, "error_user_title": "Invalid", "error_user_msg": "See the manual"}
    return web.json_response({"error": {**told, "fbtrace_id": "AbCdEfGhIj"}}, status=error.status)
