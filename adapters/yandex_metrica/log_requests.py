"""Logs of raw visits: ordered, looked for, read part by part, cleaned up (contract yandex 9.2).

Nothing has to be remembered: an order is found again by its fields and days. The order of the fields marks ours among
those of other tools.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import date

from adapters.yandex_metrica.mapping import LOGS
from adapters.yandex_metrica.wire import (
    LogEvaluation,
    LogEvaluationReply,
    LogRequest,
    LogRequestReply,
    LogRequestsReply,
    read,
)
from bridge.tools import Account, Request, Response

MAKING = frozenset({"created", "awaiting_retry"})
FAILED = frozenset({"processing_failed", "canceled"})
READY = "processed"
# Nothing more comes of it. A status that no contract has may be one of making.
OVER = FAILED | {READY, "cleaned_by_user", "cleaned_automatically_as_too_old"}
_TIMEOUT = 600.0


def last_day(order: LogRequest) -> str:
    """``YYYY-MM-DD`` in the counter's time; "" if it is not told."""
    return order.date2 or ""


class LogRequests:
    """Orders of one counter with these fields. Days are the counter's own; the current one cannot be had.

    Raises:
        Refused: this token may not read logs, or the counter is too large for one of so many days.
    """

    def __init__(self, account: Account, counter_id: int, fields: tuple[str, ...]) -> None:
        self._account = account
        self._root = f"/management/v1/counter/{counter_id}"
        self._fields = fields

    async def evaluate(self, first: date, last: date) -> LogEvaluation:
        """Whether Metrica would make such a log."""
        response = await self._account.send(self._get("/logrequests/evaluate", self._query(first, last)))
        return read(LogEvaluationReply, response).log_request_evaluation

    async def listed(self) -> list[LogRequest]:
        """Every order of ours that is not forgotten yet."""
        response = await self._account.send(self._get("/logrequests"))
        found = read(LogRequestsReply, response).requests
        return [order for order in found if tuple(order.fields or ()) == self._fields]

    async def order(self, first: date, last: date) -> LogRequest:
        """A new one, of these days inclusive."""
        query = self._query(first, last)
        made = await self._account.send(Request("POST", f"{self._root}/logrequests", params=query, scope=LOGS))
        return read(LogRequestReply, made).log_request

    async def parts(self, order: LogRequest) -> AsyncGenerator[Response, None]:
        """The tables of a ready one, one after another."""
        for part in order.parts or ():
            path = f"/logrequest/{order.request_id}/part/{part.part_number}/download"
            yield await self._account.send(self._get(path, timeout=_TIMEOUT))

    async def clean(self, order: LogRequest) -> None:
        """Metrica forgets a ready one: all of a counter's may take 10 GB."""
        url = f"{self._root}/logrequest/{order.request_id}/clean"
        await self._account.send(Request("POST", url, scope=LOGS, is_safe=True))

    def _query(self, first: date, last: date) -> Sequence[tuple[str, str]]:
        days = (("date1", first.isoformat()), ("date2", last.isoformat()))
        return (*days, ("source", "visits"), ("fields", ",".join(self._fields)))

    def _get(self, path: str, params: Sequence[tuple[str, str]] = (), timeout: float | None = None) -> Request:
        return Request("GET", f"{self._root}{path}", params=params, is_safe=True, scope=LOGS, timeout=timeout)
