"""Simulated Google Sheets on a real socket (contract tables A1-A4), and an office that keeps its leads in them.

It refuses what Google refuses: tokens, spreadsheets that are not shared, ranges beyond the grid, the 61st read of a
minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from aiohttp import web

from adapters.table.fake_book import Amount, BadRangeError, Book, Sheet, Shown, Value, masked, parse_mask
from adapters.table.fake_tokens import EMAIL, TokenDesk
from bridge.sim.events import STAGE_TITLES, Carrier, Happening, Lead
from bridge.sim.faults import FaultPlan
from bridge.sim.server import SourceSimulator
from bridge.tools import Clock

READS_MAX = 60  # of one user in a minute (contract tables A4)
_MINUTE = timedelta(minutes=1)
TITLES = (
    "ID сделки",
    "Дата создания ",
    "Статус",
    "Дата статуса",
    "Сумма",
    "Причина отказа",
    "Телефон",
    "Эл. почта",
    "yclid",
    "gclid",
    "ClientID Метрики",
    "Посадочная страница",
    "utm_content",
    "Источник",
    "Комментарий",
)


class GoogleSheets(SourceSimulator):
    """One spreadsheet. ``office``: the way people keep it: a new row for each change, or the lead's one row changed."""

    def __init__(
        self,
        clock: Clock,
        faults: FaultPlan | None = None,
        *,
        name: str = "sim",
        is_limited: bool = True,
        office: Literal["journal", "board"] = "journal",
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self.leads = Sheet(0, "Лиды", [list(TITLES)])
        charts = Sheet(7, "График", is_chart=True)
        self.book = Book("1sImUlAtEdSpReAdShEeT-0123456789", sheets=[charts, Sheet(1, "Архив", [], True), self.leads])
        self.tokens = TokenDesk(clock)
        self.shared_with = {EMAIL}
        self.is_enabled = True
        self._office = office
        self._row_of: dict[int, int] = {}
        self._reads: list[datetime] = []

    # --- for the world ---

    def happen(self, event: Happening) -> None:
        """A lead appears or takes a step; somebody writes it down."""
        if event.is_new:
            self._row_of[event.lead.id] = len(self.leads.rows)
            self.leads.rows.append(self._first_row(event))
        elif self._office == "journal":
            self.leads.rows.append(self._row(event))
        else:
            self._change(event)

    def deal_key(self, lead: int) -> str:
        """Key of the deal our source makes of a lead of the world."""
        return f"lead:L-{lead}"

    def _row(self, event: Happening) -> list[Value]:
        at = self._local(event.at)
        value = Amount(event.step.value) if event.step.value is not None else None
        stage = STAGE_TITLES[event.step.stage]
        return [f"L-{event.lead.id}", None, stage, at, value, event.step.loss_reason]

    def _first_row(self, event: Happening) -> list[Value]:
        lead = event.lead
        row = self._row(event)
        row[1] = self._local(lead.created_at)
        yclid, gclid, client, page, utm = _carried(lead)
        persons = (", ".join(lead.phones), ", ".join(lead.emails))
        return [*row, *persons, yclid, gclid, client, page, utm, lead.origin, f"Заявка: {lead.name}"]

    def _change(self, event: Happening) -> None:
        row, now = self.leads.rows[self._row_of[event.lead.id]], self._row(event)
        for place, value in enumerate(now):
            if place != 1 and (value is not None or place == 5):
                row[place] = value

    def _local(self, at: datetime) -> datetime:
        return at.astimezone(ZoneInfo(self.book.time_zone)).replace(tzinfo=None)

    # --- for the client ---

    def settings(self) -> dict[str, Any]:
        """A complete ``[tenants.*.sources.*]`` section."""
        return {
            "kind": "table",
            "spreadsheet": f"https://docs.google.com/spreadsheets/d/{self.book.id}/edit?gid=0#gid=0",
            "credentials": {"env": f"{self.name.upper()}_SHEETS_KEY"},
            "base_url": self.base_url,
            "token_uri": f"{self.base_url}/token",
            "poll_every": "60s",
            "requests_per_second": 0.8 if self.is_limited else 1000,
        }

    def secrets(self) -> dict[str, str]:
        return {f"{self.name.upper()}_SHEETS_KEY": self.tokens.key_file()}

    def routes(self) -> Sequence[web.RouteDef]:
        return (
            web.post("/token", self._token),
            web.get("/v4/spreadsheets/{id}", self._spreadsheet),
            web.get("/v4/spreadsheets/{id}/values:batchGet", self._batch),
            web.get("/v4/spreadsheets/{id}/values/{range}", self._values),
        )

    def label(self, request: web.Request) -> str:
        """Method and what is asked for, without ids and ranges."""
        if request.path == "/token":
            return "POST token"
        _, _, call = request.path.removeprefix("/v4/spreadsheets/").partition("/")
        return f"GET {call.partition('/')[0] or 'spreadsheet'}"

    def is_write(self, request: web.Request) -> bool:
        return False

    def throttled(self, request: web.Request) -> web.Response:
        return _problem(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Read requests'")

    def unavailable(self, request: web.Request) -> web.Response:
        return _problem(503, "UNAVAILABLE", "The service is currently unavailable.")

    def expired(self, request: web.Request) -> web.Response | None:
        return None if request.path == "/token" else _unauthenticated()

    async def _token(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        status, body = self.tokens.answer(form)
        return web.json_response(body, status=status)

    async def _spreadsheet(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        try:
            mask = parse_mask(request.query.get("fields", "spreadsheetId,properties,sheets"))
        except ValueError:
            return _problem(400, "INVALID_ARGUMENT", "Request contains an invalid argument.")
        return web.json_response(masked(self.book.describe(), mask))

    async def _values(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        return self._told(request, lambda shown: self.book.values(request.match_info["range"], shown))

    async def _batch(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        ranges = request.query.getall("ranges", [])

        def told(shown: Shown) -> dict[str, Any]:
            return {"spreadsheetId": self.book.id, "valueRanges": [self.book.values(one, shown) for one in ranges]}

        return self._told(request, told)

    def _told(self, request: web.Request, ask: Any) -> web.Response:
        value = request.query.get("valueRenderOption", "FORMATTED_VALUE")
        dates = request.query.get("dateTimeRenderOption", "SERIAL_NUMBER")
        known = value in ("FORMATTED_VALUE", "UNFORMATTED_VALUE", "FORMULA")
        if not known or dates not in ("SERIAL_NUMBER", "FORMATTED_STRING"):
            return _problem(400, "INVALID_ARGUMENT", "Invalid value at a render option")
        try:
            return web.json_response(ask(Shown(self.book, value, dates)))
        except BadRangeError as error:
            return _problem(400, "INVALID_ARGUMENT", str(error))

    def _refusal(self, request: web.Request) -> web.Response | None:
        """What stands before every read, in Google's order: token, API, sharing, quota."""
        if not self.tokens.is_good(request.headers.get("Authorization", "")):
            return _unauthenticated()
        if not self.is_enabled:
            return _problem(403, "PERMISSION_DENIED", "Google Sheets API has not been used", "SERVICE_DISABLED")
        if request.match_info["id"] != self.book.id:
            return _problem(404, "NOT_FOUND", "Requested entity was not found.")
        if EMAIL not in self.shared_with:
            return _problem(403, "PERMISSION_DENIED", "The caller does not have permission")
        now = self.clock.now()
        self._reads = [at for at in self._reads if now - at < _MINUTE]
        if self.is_limited and len(self._reads) >= READS_MAX:
            return self.throttled(request)
        self._reads.append(now)
        return None


def _carried(lead: Lead) -> tuple[Value, Value, Value, Value, Value]:
    """yclid, gclid, ClientID, page and utm_content, by how this lead carries its identifiers."""
    click = lead.click
    if lead.carrier is Carrier.GARBAGE:
        return lead.garbage, None, lead.garbage, None, None
    if click is None:
        return None, None, None, None, None
    if lead.carrier is Carrier.URL:
        return None, None, None, click.landing, None
    if lead.carrier is Carrier.UTM:
        return None, None, None, None, f"yclid:{click.yclid}"
    if lead.carrier in (Carrier.FIELD, Carrier.CONVERTED):
        return click.yclid, click.gclid, click.client_id, None, None
    return None, None, None, None, None


def _unauthenticated() -> web.Response:
    return _problem(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")


def _problem(code: int, status: str, message: str, reason: str = "") -> web.Response:
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    if reason:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": kind, "reason": reason, "domain": "googleapis.com"}]
    return web.json_response({"error": error}, status=code)
