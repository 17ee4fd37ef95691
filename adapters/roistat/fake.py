"""A simulated Roistat project on a real socket (contract roistat 1-3, 5, 6.1, 10).

Errors come with HTTP status 200; fields of a body that it does not know are ignored without a word, so that a list
asked for wrongly is the whole base; lists are newest first and paged by offset; heavy lists of orders are limited by
the minute; the visit of a call is known only a while after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from aiohttp import web

from bridge.frozen import frozen
from bridge.sim.events import Call
from bridge.sim.faults import FaultPlan
from bridge.sim.server import TrackerSimulator
from bridge.tools import Clock

PROJECT = 40001
FIRST_CALL, FIRST_FORM, FIRST_VISIT = 3000, 900, 1_234_000
_CALLS, _ORDERS = "/project/calltracking/call/list", "/project/integration/order/list"
_MOST = 10_000
_TESTS: Mapping[str, Callable[[datetime, datetime], bool]] = {
    ">=": lambda a, b: a >= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


@frozen
class Quirks:
    """What is not verified about the vendor."""

    learns_after: timedelta = timedelta(minutes=20)  # until the visit of a call is known
    limit_status: int = 200  # of ``request_limit_error``
    ignores_filters: bool = False


class _LimitError(Exception):
    """The method was asked too often."""


class Roistat(TrackerSimulator):
    """One project. Calls are calls; forms are proxy leads, each with the order it became."""

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
        self.key = f"rs-{name}-3f8e1d7c6b5a4920"
        self._asked: list[float] = []

    # --- for the world ---

    def call_key(self, call: Call) -> str:
        """Key of the touch our source makes of it."""
        return f"form:{FIRST_FORM + call.id}" if call.is_form else f"call:{FIRST_CALL + call.id}"

    # --- for the client ---

    def settings(self) -> dict[str, Any]:
        """A complete ``[tenants.*.sources.*]`` section."""
        return {
            "kind": "roistat",
            "base_url": self.base_url,
            "project": PROJECT,
            "api_key": {"env": self._variable},
            "requests_per_second": 1 if self.is_limited else 1000,
            "orders_per_minute": 4 if self.is_limited else 60_000,
        }

    def secrets(self) -> dict[str, str]:
        """The environment variable named in ``settings``."""
        return {self._variable: self.key}

    @property
    def _variable(self) -> str:
        return f"{self.name}_API_KEY".upper()

    # --- HTTP ---

    def routes(self) -> Sequence[web.RouteDef]:
        return (
            web.get("/user/projects", self._projects),
            web.post(_CALLS, self._call_list),
            web.post(_ORDERS, self._order_list),
            web.get("/project/proxy-leads", self._proxy_leads),
        )

    def is_write(self, request: web.Request) -> bool:
        """All that is asked here only reads, whatever the verb."""
        return False

    def throttled(self, request: web.Request) -> web.Response:
        return self._refused("request_limit_error", self.quirks.limit_status)

    @staticmethod
    def _refused(code: str, status: int = 200) -> web.Response:
        return web.json_response({"status": "error", "error": code, "description": "…"}, status=status)

    def _refusal(self, request: web.Request, *, is_of_project: bool = True) -> web.Response | None:
        if request.headers.get("Api-key") != self.key:
            return self._refused("authentication_failed")
        if is_of_project and request.query.get("project") != str(PROJECT):
            return self._refused("access_denied")
        return None

    async def _projects(self, request: web.Request) -> web.Response:
        project = {"id": PROJECT, "name": "okna-demo.example", "profit": "0", "currency": "RUB", "is_owner": 1}
        refusal = self._refusal(request, is_of_project=False)
        return refusal or web.json_response({"projects": [project], "status": "success"})

    async def _call_list(self, request: web.Request) -> web.Response:
        return self._refusal(request) or self._listed(await request.read(), self._calls_now, "date")

    async def _order_list(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        body = await request.read()
        try:
            self._insist_on_pace(body)
        except _LimitError:
            return self.throttled(request)
        return self._listed(body, self._orders_now, "creation_date")

    def _insist_on_pace(self, body: bytes) -> None:
        """Contract roistat 3: the longer the page, the fewer requests a minute."""
        limit = int(msgspec.json.decode(body).get("limit", 100))
        allowed = 10 if limit <= 100 else 5 if limit <= 1000 else 1
        now = time.monotonic()
        self._asked = [at for at in self._asked if at > now - 60]
        if self.is_limited and len(self._asked) >= allowed:
            raise _LimitError
        self._asked.append(now)

    def _listed(self, body: bytes, rows: Callable[[bool], list[dict[str, Any]]], field: str) -> web.Response:
        asked = msgspec.json.decode(body)
        try:
            found = [row for row in rows("visit" in asked.get("extend", ())) if self._fits(row, asked, field)]
        except (KeyError, TypeError, ValueError):
            return self._refused("request_data_validation_error")
        limit, offset = min(int(asked.get("limit", 100)), _MOST), int(asked.get("offset", 0))
        page = sorted(found, key=lambda row: row[field], reverse=True)[offset : offset + limit]
        return web.json_response({"status": "success", "data": page, "total": len(found)})

    def _fits(self, row: Mapping[str, Any], asked: Mapping[str, Any], field: str) -> bool:
        """Filters are triples under "and"; what else the body says is not looked at."""
        if self.quirks.ignores_filters:
            return True
        at = datetime.fromisoformat(row[field])
        tests = asked.get("filters", {}).get("and", ())
        if any(name != field for name, _, _ in tests):
            raise ValueError
        return all(_TESTS[test](at, datetime.fromisoformat(value)) for _, test, value in tests)

    async def _proxy_leads(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        try:
            period = request.query["period"]
            first, last = date.fromisoformat(period[:10]), date.fromisoformat(period[11:])
        except (KeyError, ValueError):
            return self._refused("request_data_validation_error")
        found = [call for call in self._over() if call.is_form and first <= call.at.astimezone(UTC).date() <= last]
        return web.json_response({"ProxyLeads": [self._proxy_lead(call) for call in found], "status": "success"})

    # --- what the lists show ---

    def _calls_now(self, is_extended: bool) -> list[dict[str, Any]]:
        return [self._call(call, is_extended=is_extended) for call in self._over() if not call.is_form]

    def _orders_now(self, is_extended: bool) -> list[dict[str, Any]]:
        return [self._order(call, is_extended=is_extended) for call in self._over() if call.is_form]

    def _visit(self, call: Call) -> dict[str, Any] | None:
        """The visit, once it is known; None for a caller without one."""
        click = call.click
        if click is None or self.clock.now() < call.at + self.quirks.learns_after:
            return None
        return {
            "id": str(FIRST_VISIT + call.id),
            "metrika_client_id": click.client_id,
            "google_client_id": None,
            "landing_page": click.landing,
        }

    def _call(self, call: Call, *, is_extended: bool) -> dict[str, Any]:
        return {
            "id": FIRST_CALL + call.id,
            "caller": call.phone,
            "callee": "74950000001",
            "date": _text(call.at),
            "status": "ANSWER",
            "duration": call.seconds,
            "script_name": "Динамический: okna-demo.example",
            "visit": self._visit(call) if is_extended else None,
        }

    def _order(self, call: Call, *, is_extended: bool) -> dict[str, Any]:
        number = str(FIRST_VISIT + call.id)
        return {
            "id": f"lead_{call.id}",
            "source_type": "integration",
            "creation_date": _text(call.at + timedelta(seconds=5)),
            "roistat": number if call.click else "call_offline",
            "status": {"id": "1", "type": "progress", "name": "Новая"},
            "visit": self._visit(call) if is_extended else None,
        }

    def _proxy_lead(self, call: Call) -> dict[str, Any]:
        return {
            "id": FIRST_FORM + call.id,
            "title": "Расчёт",
            "name": "",
            "phone": call.phone,
            "email": "",
            "roistat": str(FIRST_VISIT + call.id) if call.click else "call_offline",
            "creation_date": f"{call.at:%Y-%m-%d %H:%M:%S}",
            "order_id": str(call.id),
        }


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}+0000"
