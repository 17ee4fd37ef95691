"""Asking one project of Roistat: pages of calls and orders, weeks of proxy leads; what its answers mean."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import date, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from adapters.roistat import wire
from adapters.roistat.settings import RoistatSettings
from adapters.roistat.wire import Call, Order, Project, ProxyLead
from bridge.errors import AuthError, BridgeError, Drift, Refused, Throttled, Unavailable
from bridge.frozen import replace
from bridge.ports import BadRecord
from bridge.tools import Account, AccountSetup, DriftCounts, Rate, Request, Response, Tokens, Tools

T = TypeVar("T")
MOST = 900  # rows of a page: surely below the bound of 1000 after which orders are dearer (contract roistat 3)
_CALLS, _ORDERS = "/project/calltracking/call/list", "/project/integration/order/list"
_REFUSED_KEY = frozenset(("authentication_failed", "authorization_failed", "access_denied"))
_LIMIT = "request_limit_error"
_KNOWN = frozenset(("request_data_validation_error", "incorrect_request", "resource_not_found"))  # contract roistat 1
_PAUSE = 60.0  # seconds after which a limit may be tried again (contract roistat 10)


def _with_key(request: Request, token: str) -> Request:
    """In the header: addresses get logged, ours or not (contract roistat 1)."""
    return replace(request, headers={**request.headers, "Api-key": token})


def account_setup(name: str, settings: RoistatSettings, tools: Tools, rate: Rate) -> AccountSetup:
    """How to talk to the project, at a rate of its own for heavy methods. All calls are serialised (contract 10).

    Raises:
        ConfigError: the key cannot be read.
    """
    return AccountSetup(
        name=f"{tools.tenant.name}/{name}",
        base_url=settings.base_url,
        judge=judge,
        rate=rate,
        tokens=Tokens(settings.api_key.read(tools.folder).get_secret_value()),
        apply=_with_key,
        timeout=120.0,
    )


def judge(request: Request, response: Response) -> None:
    """Raise what an answer means: the ``status`` of its body decides, then that of HTTP (contract roistat 1)."""
    verdict = _verdict(response)
    if verdict is not None and verdict.status == "error":
        raise _error(verdict.error or "error")
    status = response.status
    if status == 200:
        if verdict is None:
            raise Drift("Roistat sent something else than JSON with a good status")
        return
    if status in (401, 403):
        raise _error("authentication_failed")
    if status == 429:
        raise _error(_LIMIT)
    if status >= 500 or status == 408:
        raise Unavailable(f"Roistat answers {status}")
    raise Refused(f"Roistat refused the request ({status})", code=f"http_{status}")


def _verdict(response: Response) -> wire.Verdict | None:
    try:
        return msgspec.json.decode(response.body, type=wire.Verdict)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _error(code: str) -> BridgeError:
    if code == _LIMIT:
        return Throttled("Roistat: too many requests", retry_after=_PAUSE)
    if code in _REFUSED_KEY:
        return AuthError(
            "Roistat does not accept the API key for this project; check api_key and project", is_final=True
        )
    return Refused(f"Roistat refused the request ({code[:40]})", code=code[:40])


class Api:
    """One project, through an account for heavy methods and one for the others."""

    def __init__(self, account: Account, heavy: Account, project: int, drift: DriftCounts) -> None:
        self._account = account
        self._drift = drift
        self._heavy = heavy
        self._project = str(project)

    async def projects(self) -> list[Project]:
        """The projects that the key sees."""
        return wire.projects(await self._body(self._account, Request("GET", "/user/projects", is_safe=True)))

    async def calls(self, start: datetime, end: datetime) -> AsyncGenerator[list[Call | BadRecord], None]:
        """Calls of ``[start, end)``, page by page."""
        async for rows in self._pages(self._account, _CALLS, _between("date", start, end)):
            yield [wire.record(row, Call) for row in rows]

    async def orders(self, start: datetime, end: datetime) -> AsyncGenerator[list[Order | BadRecord], None]:
        """Orders created in ``[start, end)`` with their visits, page by page."""
        async for rows in self._pages(self._heavy, _ORDERS, _between("creation_date", start, end)):
            yield [wire.record(row, Order) for row in rows]

    async def proxy_leads(self, first: date, last: date) -> list[ProxyLead | BadRecord]:
        """Proxy leads of these days; there is no paging."""
        params = (("project", self._project), ("period", f"{first:%Y-%m-%d}-{last:%Y-%m-%d}"))
        body = await self._body(self._account, Request("GET", "/project/proxy-leads", params, is_safe=True))
        return [wire.record(row, ProxyLead) for row in wire.proxy_leads(body)]

    async def _pages(self, account: Account, path: str, filters: Any) -> AsyncGenerator[Sequence[Raw], None]:
        """Pages by offset, newest first. A row that comes in between shifts the others: some are then seen twice.

        Raises:
            Drift: a page repeats.
        """
        offset, before = 0, b""
        while True:
            body = {"filters": filters, "extend": ["visit"], "limit": MOST, "offset": offset}
            rows = wire.rows(await self._post(account, path, body))
            marks = msgspec.json.encode(rows)
            if rows and marks == before:
                raise Drift("Roistat sent the same page twice; the cursor stays where it was")
            yield rows
            if len(rows) < MOST:
                return
            offset, before = offset + len(rows), marks

    async def _post(self, account: Account, path: str, body: Any) -> bytes:
        """A question with a body; it changes nothing."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        params = (("project", self._project),)
        request = Request("POST", path, params, headers, msgspec.json.encode(body), is_safe=True)
        return await self._body(account, request)

    async def _body(self, account: Account, request: Request) -> bytes:
        """The body of a good answer; what it says beyond the contract is counted."""
        try:
            body = (await account.send(request)).body
        except Refused as refusal:
            if refusal.code not in _KNOWN and not refusal.code.startswith("http_"):
                self._drift.note("error", refusal.code)
            raise
        wire.note(body, self._drift)
        return body


def _between(field: str, start: datetime, end: datetime) -> dict[str, Any]:
    """Only ``filters`` narrow a list; any other field of the body is ignored without a word (contract roistat 1)."""
    return {"and": [[field, ">=", _text(start)], [field, "<", _text(end)]]}


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}+0000"
