"""Asking one site of Calltouch: pages of calls, days of requests; what its answers mean."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import date

import msgspec

from adapters.calltouch import wire
from adapters.calltouch.settings import CalltouchSettings
from adapters.calltouch.wire import Call, Form
from bridge.errors import AuthError, Drift, Refused, Throttled, Unavailable
from bridge.frozen import replace
from bridge.ports import BadRecord
from bridge.tools import Account, AccountSetup, DriftCounts, Rate, Request, Response, Tokens, Tools

MOST = 1000  # calls of a page (contract calltouch 3)
_CALLS = "/calls-service/RestAPI/{site}/calls-diary/calls"
_FORMS = "/calls-service/RestAPI/requests"
_SWITCHES = (("withMapVisits", "false"), ("withOrders", "false"))
_CALL_DATE, _FORM_DATE = "%d/%m/%Y", "%m/%d/%Y"  # contract calltouch 2: the two journals differ


def _with_token(request: Request, token: str) -> Request:
    """The token travels in the query (contract calltouch 1), which no text of ours ever shows."""
    return replace(request, params=(*request.params, ("clientApiId", token)))


def account_setup(name: str, settings: CalltouchSettings, tools: Tools) -> AccountSetup:
    """How to talk to this site. The limit is counted per address (contract calltouch 8), so all sites share one.

    Raises:
        ConfigError: the token cannot be read.
    """
    token = settings.token.read(tools.folder).get_secret_value()
    return AccountSetup(
        name=f"{tools.tenant.name}/{name}",
        base_url=settings.base_url,
        judge=judge,
        rate=Rate(settings.requests_per_second, parallel=2),
        tokens=Tokens(token),
        apply=_with_token,
        timeout=120.0,
        limit=settings.base_url,
    )


def judge(request: Request, response: Response) -> None:
    """Raise what an answer means; quiet when it is JSON (contract calltouch 1, 8)."""
    status = response.status
    if status == 200:
        if response.body.lstrip()[:1] not in (b"[", b"{"):
            text = "Calltouch sent something else than JSON: the address, site_id or token is not valid"
            raise Refused(text, code="not_json")
        return wire.ensure_whole(response.body)
    if status in (401, 403):
        raise AuthError("Calltouch does not accept the token for this site; check token and site_id", is_final=True)
    if status == 429:
        raise Throttled("Calltouch: too many requests", retry_after=response.retry_after)
    if status >= 500 or status == 408:
        raise Unavailable(f"Calltouch answers {status}")
    if 300 <= status < 400:
        raise Refused("Calltouch leads elsewhere: the address, site_id or token is not valid", code=f"http_{status}")
    raise Refused(f"Calltouch refused the request ({status})", code=f"http_{status}")


class Api:
    """One site through one account."""

    def __init__(self, account: Account, site: int, drift: DriftCounts) -> None:
        self._account = account
        self._drift = drift
        self._site = str(site)

    async def calls(self, first: date, last: date) -> AsyncGenerator[tuple[list[Call | BadRecord], float], None]:
        """Pages of the calls of these days, with the share read so far.

        Raises:
            Drift: a page repeats, or a promised one is empty.
        """
        number, before = 1, b""
        while True:
            body = await self._calls(first, last, number, MOST)
            found = self._page(body)
            rows = found.records or []
            marks = msgspec.json.encode(rows)
            total = found.page_total or 0
            if number > 1 and marks == before:
                raise Drift("Calltouch sent the same page of calls twice; the cursor stays where it was")
            if not rows and number < total:
                raise Drift("Calltouch promised a further page of calls, which came empty; the cursor stays")
            yield wire.decoded(rows, Call), min(number / total, 1.0) if total else 1.0
            if number >= total if total else len(rows) < MOST:
                return
            number, before = number + 1, marks

    async def some_calls(self, first: date, last: date) -> list[Call | BadRecord]:
        """A few calls of these days, for a look."""
        found = self._page(await self._calls(first, last, 1, 100))
        return wire.decoded(found.records or [], Call)

    async def forms(self, day: date) -> list[Form | BadRecord]:
        """The requests of one day: there is no paging, so days are asked for one by one (contract calltouch 4)."""
        text = day.strftime(_FORM_DATE)
        params = (("siteId", self._site), ("dateFrom", text), ("dateTo", text))
        return wire.decoded(wire.rows(await self._get(_FORMS, params)), Form)

    def _page(self, body: bytes) -> wire.Page:
        """A page; names on it that no contract has are counted."""
        found = wire.page(body)
        self._drift.note_fields(msgspec.json.decode(body, type=dict[str, msgspec.Raw]), wire.PARTS)
        return found

    async def _calls(self, first: date, last: date, number: int, limit: int) -> bytes:
        days = (("dateFrom", first.strftime(_CALL_DATE)), ("dateTo", last.strftime(_CALL_DATE)))
        paging = (("page", str(number)), ("limit", str(limit)))
        return await self._get(_CALLS.format(site=self._site), (*days, *paging, *_SWITCHES))

    async def _get(self, path: str, params: Sequence[tuple[str, str]]) -> bytes:
        headers = {"Accept": "application/json"}
        return (await self._account.send(Request("GET", path, params, headers, is_safe=True))).body
