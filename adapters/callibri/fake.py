"""A simulated Callibri account on a real socket (contract callibri 1-3, 6).

It refuses periods of more than seven days, says so in the body of a good answer, shows an appeal in several channels,
leaves lists out or says null, and learns of a visit only a while after its call. What the contract could not verify is
a :class:`Quirks` switch.
"""

from __future__ import annotations

import time
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

SITE = 40117
FIRST = 90_500_000
EMAIL = "agency@example.test"
_DAYS = 7
_PAUSE = 0.45  # seconds between two requests; the vendor names no figure


@frozen
class Quirks:
    """What is not verified about the vendor."""

    zone: str = "Europe/Moscow"
    learns_after: timedelta = timedelta(minutes=20)  # until the visit of a call is known
    has_http_errors: bool = False  # a refusal has the HTTP status of its code, not 200
    has_appeal_ids: bool = True  # older answers have ``id`` alone
    has_numbers: bool = False  # the ClientID comes as a number
    is_accurate: bool = True


class Callibri(TrackerSimulator):
    """One account with one project."""

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
        self.token = f"cb-{name}-5b1c3f0d2e4a6978"
        self._zone = ZoneInfo(self.quirks.zone)
        self._last = 0.0

    # --- for the world ---

    def call_key(self, call: Call) -> str:
        """Key of the touch our source makes of it."""
        own = FIRST + call.id
        place = _place(call)
        prefix = "call" if place == "calls" else "form"
        return f"{prefix}:{own}" if self.quirks.has_appeal_ids else f"{prefix}:{place}-{own}"

    # --- for the client ---

    def settings(self) -> dict[str, Any]:
        """A complete ``[tenants.*.sources.*]`` section."""
        return {
            "kind": "callibri",
            "base_url": self.base_url,
            "site_id": SITE,
            "user_email": EMAIL,
            "token": {"env": self._variable},
            "timezone": self.quirks.zone,
            "requests_per_second": 1 if self.is_limited else 1000,
        }

    def secrets(self) -> dict[str, str]:
        """The environment variable named in ``settings``."""
        return {self._variable: self.token}

    @property
    def _variable(self) -> str:
        return f"{self.name}_TOKEN".upper()

    # --- HTTP ---

    def routes(self) -> Sequence[web.RouteDef]:
        return (web.get("/get_sites", self._sites), web.get("/site_get_statistics", self._statistics))

    def _refused(self, code: int, message: str) -> web.Response:
        status = code if self.quirks.has_http_errors else 200
        return web.json_response({"code": code, "message": message}, status=status)

    def _refusal(self, request: web.Request) -> web.Response | None:
        now, before = time.monotonic(), self._last
        self._last = now
        if self.is_limited and now - before < _PAUSE:
            return self.throttled(request)
        if (request.query.get("user_email"), request.query.get("user_token")) != (EMAIL, self.token):
            return self._refused(401, "Unauthorized")
        return None

    async def _sites(self, request: web.Request) -> web.Response:
        site = {"site_id": SITE, "sitename": "Okna Demo", "domains": "okna-demo.example", "active": "true"}
        return self._refusal(request) or web.json_response({"code": 200, "sites": [site]})

    async def _statistics(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if request.query.get("site_id") != str(SITE):
            return self._refused(403, "Forbidden")
        try:
            first, last = (datetime.strptime(request.query[name], "%d.%m.%Y").date() for name in ("date1", "date2"))  # noqa: DTZ007 - a day of the project
        except (KeyError, ValueError):
            return self._refused(400, "date1, date2: dd.mm.yyyy")
        if not 0 <= (last - first).days < _DAYS:
            return self._refused(400, "period")
        found = [call for call in self._over() if first <= call.at.astimezone(self._zone).date() <= last]
        return web.json_response({"code": 200, "channels_statistics": self._channels(found)})

    # --- what the statistics show ---

    def _channels(self, found: Sequence[Call]) -> list[dict[str, Any]]:
        """Two channels; some appeals stand in both. Lists of nothing are left out in one, null in the other."""
        first: dict[str, Any] = {"channel_id": 10001, "name_channel": "Контекст"}
        second: dict[str, Any] = {"channel_id": 10002, "name_channel": "Сайт", "chats": None, "emails": None}
        for call in found:
            first.setdefault(_place(call), []).append(self._appeal(call, 10001))
            if call.id % 3 == 0:
                second[_place(call)] = [*(second.get(_place(call)) or ()), self._appeal(call, 10002)]
        return [first, second]

    def _appeal(self, call: Call, channel: int) -> dict[str, Any]:
        own = FIRST + call.id
        numbered = {"appeal_id": own, "id": own} if self.quirks.has_appeal_ids else {"id": own}
        milliseconds = f"{call.at:%Y-%m-%dT%H:%M:%S}.000Z"
        spoken = {} if call.is_form else {"duration": call.seconds, "billsec": call.seconds, "call_status": "Отвечен"}
        return {
            **numbered,
            "date": milliseconds,
            "name_type": "Заявка" if call.is_form else "Звонок",
            "phone": call.phone,
            "email": None,
            "status": None,
            "is_lid": False,
            "conversations_number": 1,
            **spoken,
            **self._visit(call),
            "lid_landing": "https://okna.example/contacts",
            "responsible_manager": "Никто",
            "ym_uid": str(148_300_000 + call.id),
            "clbvid": f"{call.id:024x}",
            "accurately": self.quirks.is_accurate,
            "channel_id": channel,
        }

    def _visit(self, call: Call) -> dict[str, Any]:
        """What is known of the visit; at first nothing."""
        click = call.click
        if click is None or self.clock.now() < call.at + self.quirks.learns_after:
            return {"landing_page": "https://okna.example/", "metrika_client_id": None, "ua_client_id": None}
        visitor: Any = click.client_id
        if visitor is not None and self.quirks.has_numbers:
            visitor = int(visitor)
        source = "yandex" if click.yclid else "google"
        marks = {"utm_source": source, "utm_medium": "cpc", "utm_content": None, "site_referrer": click.referrer}
        return {"landing_page": click.landing, "metrika_client_id": visitor, "ua_client_id": None, **marks}


def _place(call: Call) -> str:
    """Forms, chats and e-mails by turns."""
    return ("feedbacks", "chats", "emails")[call.id % 3] if call.is_form else "calls"
