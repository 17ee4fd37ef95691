"""A simulated Calltouch site on a real socket (contract calltouch 1-4, 8).

It has the two journals' different date formats and refuses the wrong one, leads away where a token or a site is not
valid, pages calls but not requests, and learns of a visit only a while after its call. What the contract could not
verify is a :class:`Quirks` switch.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from bridge.frozen import frozen
from bridge.sim.events import Call
from bridge.sim.faults import FaultPlan
from bridge.sim.server import TrackerSimulator
from bridge.tools import Clock

SITE = 52001
FIRST_CALL, FIRST_FORM = 700_100_000, 80_010_000
_PER_SECOND = 5
_SECOND = 0.95  # a little short: a client that keeps the rate may arrive unevenly
_MOST = 1000
_LONGEST = 92  # days of one question
_CALLS = f"/calls-service/RestAPI/{SITE}/calls-diary/calls"
_EMPTY = "<не указано>"


@frozen
class Quirks:
    """What is not verified about the vendor, and sizes that a test may want smaller."""

    zone: str = "Europe/Moscow"
    learns_after: timedelta = timedelta(minutes=20)  # until the visit of a call is known
    has_texts: bool = False  # numbers and booleans come as text, as in older answers
    total: str = "recordsTotal"
    is_oldest_first: bool = False
    page_size: int = _MOST


class Calltouch(TrackerSimulator):
    """One site."""

    def __init__(
        self,
        clock: Clock,
        faults: FaultPlan | None = None,
        *,
        name: str = "sim",
        is_limited: bool = True,
        quirks: Quirks | None = None,
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self.quirks = quirks or Quirks()
        self.token = f"ct-{name}-0d7f4e52b1c6a398"
        self._zone = ZoneInfo(self.quirks.zone)
        self._recent: deque[float] = deque()

    # --- for the world ---

    def call_key(self, call: Call) -> str:
        """Key of the touch our source makes of it."""
        return f"form:{FIRST_FORM + call.id}" if call.is_form else f"call:{FIRST_CALL + call.id}"

    # --- for the client ---

    def settings(self) -> dict[str, Any]:
        """A complete ``[tenants.*.sources.*]`` section."""
        return {
            "kind": "calltouch",
            "base_url": self.base_url,
            "site_id": SITE,
            "token": {"env": self._variable},
            "timezone": self.quirks.zone,
            "requests_per_second": 4 if self.is_limited else 1000,
        }

    def secrets(self) -> dict[str, str]:
        """The environment variable named in ``settings``."""
        return {self._variable: self.token}

    @property
    def _variable(self) -> str:
        return f"{self.name}_TOKEN".upper()

    # --- HTTP ---

    def routes(self) -> Sequence[web.RouteDef]:
        return (
            web.get(_CALLS, self._diary),
            web.get("/calls-service/RestAPI/requests", self._requests),
            web.get("/{elsewhere:.*}", self._elsewhere),
        )

    def throttled(self, request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "1"}, text="Too Many Requests")

    async def _elsewhere(self, request: web.Request) -> web.Response:
        """Another site, another path: the cabinet's start page (contract calltouch 1)."""
        return web.Response(status=302, headers={"Location": "https://my.calltouch.ru/"})

    def _refusal(self, request: web.Request) -> web.Response | None:
        now = time.monotonic()
        while self._recent and self._recent[0] <= now - _SECOND:
            self._recent.popleft()
        self._recent.append(now)
        if self.is_limited and len(self._recent) > _PER_SECOND:
            return self.throttled(request)
        if request.query.get("clientApiId") != self.token:
            return web.json_response({"errorCode": "ACCESS_DENIED", "message": "Access denied"}, status=403)
        return None

    async def _diary(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        try:
            first, last = (datetime.strptime(request.query[name], "%d/%m/%Y") for name in ("dateFrom", "dateTo"))  # noqa: DTZ007 - a day of the site
            page = int(request.query.get("page", "0"))
            limit = int(request.query.get("limit", "100"))
        except (KeyError, ValueError):
            return _bad("date must be dd/mm/yyyy")
        if limit > _MOST or (not page and first != last) or not 0 <= (last - first).days <= _LONGEST:
            return _bad("limit or period")
        found = [self._call(call) for call in self._between(first, last) if not call.is_form]
        if not page:
            return web.json_response(found)
        limit = min(limit, self.quirks.page_size)
        rows = found[(page - 1) * limit : page * limit]
        pages = -(-len(found) // limit)
        total = {self.quirks.total: len(found)}
        return web.json_response({"page": page, "pageTotal": pages, "pageSize": limit, **total, "records": rows})

    async def _requests(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if request.query.get("siteId", str(SITE)) != str(SITE):
            return await self._elsewhere(request)
        try:
            first, last = (datetime.strptime(request.query[name], "%m/%d/%Y") for name in ("dateFrom", "dateTo"))  # noqa: DTZ007 - a day of the site
        except (KeyError, ValueError):
            return _bad("date must be mm/dd/yyyy")
        if not 0 <= (last - first).days <= _LONGEST:
            return _bad("period")
        return web.json_response([self._form(call) for call in self._between(first, last) if call.is_form])

    # --- what the journals show ---

    def _between(self, first: datetime, last: datetime) -> list[Call]:
        """What is over by now, of these days of the site; newest first."""
        days = first.date(), last.date()
        found = [call for call in self._over() if days[0] <= call.at.astimezone(self._zone).date() <= days[1]]
        return sorted(found, key=lambda call: (call.at, call.id), reverse=not self.quirks.is_oldest_first)

    def _visit(self, call: Call) -> dict[str, Any]:
        """What is known of the visit; at first nothing."""
        click = call.click
        if click is None or self.clock.now() < call.at + self.quirks.learns_after:
            return {"url": "https://okna.example/", "ref": "", "yaClientId": None, "utmSource": _EMPTY, "attrs": {}}
        source = "yandex" if click.yclid else "google"
        marks = {"utmSource": source, "utmMedium": "cpc", "utmContent": _EMPTY, "source": source, "medium": "cpc"}
        return {"url": click.landing, "ref": click.referrer, "yaClientId": click.client_id, **marks, "attrs": {}}

    def _call(self, call: Call) -> dict[str, Any]:
        at = call.at.astimezone(self._zone)
        shown = {
            "callId": FIRST_CALL + call.id,
            "date": f"{at:%d/%m/%Y} {at.hour}:{at:%M:%S}",
            "timestamp": int(call.at.timestamp()),
            "callerNumber": call.phone,
            "phoneNumber": "74950000000",
            "duration": call.seconds,
            "successful": call.seconds > 0,
            "uniqueCall": True,
            "sessionId": 555_000_000 + call.id,
            "clientId": None,
            "callTags": [],
            "orders": [],
            **self._visit(call),
        }
        return {name: _as_text(value) for name, value in shown.items()} if self.quirks.has_texts else shown

    def _form(self, call: Call) -> dict[str, Any]:
        at = call.at.astimezone(self._zone)
        session = {"sessionId": 555_000_000 + call.id, "guaClientId": None, "city": "Москва", **self._visit(call)}
        return {
            "requestId": FIRST_FORM + call.id,
            "requestNumber": f"site-{call.id}",
            "date": int(call.at.timestamp()) * 1000,
            "dateStr": f"{at:%d/%m/%Y %H:%M:%S}",
            "uniqueRequest": True,
            "session": session,
            "client": {
                "clientId": call.id,
                "fio": "",
                "phones": [{"phoneNumber": call.phone, "phoneType": "MOBILE"}],
                "contacts": [],
            },
            "RequestTags": [],
            "widgetInfo": None,
        }


def _bad(what: str) -> web.Response:
    return web.json_response({"errorCode": "BAD_REQUEST", "message": what}, status=400)


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value
