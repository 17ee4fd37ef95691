"""Asking Callibri: projects, and the appeals of at most seven days; what its answers mean."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import partial

import msgspec

from adapters.callibri import wire
from adapters.callibri.settings import CallibriSettings
from adapters.callibri.wire import Listed, Site
from bridge.errors import AuthError, Drift, Refused, Throttled, Unavailable
from bridge.frozen import replace
from bridge.ports import BadRecord
from bridge.tools import Account, AccountSetup, DriftCounts, Rate, Request, Response, Tokens, Tools

DAYS = 7  # of one question, both ends included (contract callibri 2.2)
_DATE = "%d.%m.%Y"


def _signed(request: Request, token: str, *, email: str) -> Request:
    """Both travel in the query (contract callibri 1), which no text of ours ever shows."""
    return replace(request, params=(*request.params, ("user_email", email), ("user_token", token)))


def account_setup(name: str, settings: CallibriSettings, tools: Tools) -> AccountSetup:
    """How to talk to the account.

    Raises:
        ConfigError: the token cannot be read.
    """
    return AccountSetup(
        name=f"{tools.tenant.name}/{name}",
        base_url=settings.base_url,
        judge=judge,
        rate=Rate(settings.requests_per_second, parallel=1),
        tokens=Tokens(settings.token.read(tools.folder).get_secret_value()),
        apply=partial(_signed, email=settings.user_email),
        timeout=90.0,
    )


def judge(request: Request, response: Response) -> None:
    """Raise what an answer means. A good status may carry a bad ``code`` (contract callibri 2.2, 6)."""
    status = response.status
    if status == 200:
        code = _code(response)
        if code in (None, 200):
            return
        status = code or 0
    if status in (401, 403):
        raise AuthError("Callibri does not accept user_email and token for this project", is_final=True)
    if status == 429:
        raise Throttled("Callibri: too many requests", retry_after=response.retry_after)
    if status >= 500 or status == 408:
        raise Unavailable(f"Callibri answers {status}")
    if 300 <= status < 400:
        raise Refused("Callibri leads elsewhere; check base_url", code=f"http_{status}")
    raise Refused(f"Callibri refused the request ({status})", code=f"http_{status}")


def _code(response: Response) -> int | None:
    try:
        return msgspec.json.decode(response.body, type=wire.Verdict, strict=False).code
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Drift("Callibri sent something else than JSON with a good status") from None


class Api:
    """One project through one account."""

    def __init__(self, account: Account, site: int, drift: DriftCounts) -> None:
        self._account = account
        self._drift = drift
        self._site = str(site)

    async def sites(self) -> list[Site]:
        """The projects that the token sees."""
        return wire.sites(await self._get("/get_sites", ()))

    async def appeals(self, first: date, last: date) -> list[Listed | BadRecord]:
        """All appeals of these days, at most seven; each as often as channels show it. There is no paging."""
        days = (("date1", first.strftime(_DATE)), ("date2", last.strftime(_DATE)))
        body = await self._get("/site_get_statistics", (("site_id", self._site), *days))
        found = list(wire.statistics(body))
        self._drift.note_fields(msgspec.json.decode(body), wire.PARTS)
        return found

    async def _get(self, path: str, params: Sequence[tuple[str, str]]) -> bytes:
        headers = {"Accept": "application/json"}
        return (await self._account.send(Request("GET", path, params, headers, is_safe=True))).body
