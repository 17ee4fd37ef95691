"""The end of Google Ads' ``uploadClickConversions`` that drt speaks to: takes everything, counts what comes twice.

The bridge itself uses the Data Manager API, whose simulator stands beside its adapter.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from aiohttp import web

from bridge.sim.server import Simulator


class _Conversion(msgspec.Struct):
    gclid: str
    conversion_date_time: str = msgspec.field(name="conversionDateTime")
    conversion_action: str = msgspec.field(name="conversionAction")


class _Upload(msgspec.Struct):
    conversions: list[_Conversion]


class UploadClicks(Simulator):
    """Counts conversions by (click, action, time)."""

    rows_received = rows_repeated = 0

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.post("/{version}/customers/{upload}", self._upload), web.post("/token", self._token)]

    def clear(self) -> None:
        """Count from zero."""
        self.requests.clear()
        self.rows_received = self.rows_repeated = 0
        self._seen: set[tuple[str, str, str]] = set()

    async def _token(self, request: web.Request) -> web.Response:
        return web.json_response({"access_token": "sample", "expires_in": 3600, "token_type": "Bearer"})

    async def _upload(self, request: web.Request) -> web.Response:
        rows = msgspec.json.decode(await request.read(), type=_Upload).conversions
        keys = {(row.gclid, row.conversion_action, row.conversion_date_time) for row in rows}
        self.rows_received += len(rows)
        self.rows_repeated += len(rows) - len(keys - self._seen)
        self._seen |= keys
        return web.json_response({"results": [{} for _ in rows]})
