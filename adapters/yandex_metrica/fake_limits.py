"""What the simulated Metrica refuses, and with which body (contract yandex 10)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from aiohttp import web

from bridge.tools import Clock

QUOTA = "Quota exceeded"
REPORTS_AT_ONCE, REPORTS_SPAN = 200, timedelta(minutes=5)


class DeniedError(Exception):
    """The request is answered with Metrica's error body."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type


class Limits:
    """30 requests/s, 3 at once (real time); a quota for each day (GMT) and 200 reports in 5 minutes (by the clock)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._recent: deque[float] = deque()
        self._reports: deque[datetime] = deque()
        self._running = 0
        self._day = date.min
        self._today = 0

    @contextmanager
    def one(self, daily: int) -> Iterator[None]:
        """One request. Raises DeniedError when a limit is exceeded; a denied request counts for none of them."""
        self._check(daily)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def report(self) -> None:
        """One report. Raises DeniedError when there were too many; which ``error_type`` that has is a guess."""
        now = self._clock.now()
        while self._reports and self._reports[0] <= now - REPORTS_SPAN:
            self._reports.popleft()
        if len(self._reports) >= REPORTS_AT_ONCE:
            raise DeniedError(429, "quota_requests_by_uid", QUOTA)
        self._reports.append(now)

    def _check(self, daily: int) -> None:
        now, today = time.monotonic(), self._clock.now().date()
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        if today != self._day:
            self._day, self._today = today, 0
        if self._today >= daily:
            raise DeniedError(429, "quota_requests_by_uid", QUOTA)
        if len(self._recent) >= 30:
            raise DeniedError(429, "quota_requests_by_ip", QUOTA)
        if self._running >= 3:
            raise DeniedError(429, "quota_parallel_requests", QUOTA)
        self._recent.append(now)
        self._today += 1


def whole(text: str) -> int:
    """A number of a query; raises DeniedError for anything else."""
    if not text.isdecimal():
        raise DeniedError(400, "invalid_parameter", "Invalid parameter")
    return int(text)


def day(text: str, today: date) -> date:
    """A day of a query: ``2026-03-01``, ``today``, ``yesterday``, ``6daysAgo``."""
    if text in ("today", "yesterday"):
        return today - timedelta(days=text == "yesterday")
    if text.endswith("daysAgo"):
        return today - timedelta(days=whole(text.removesuffix("daysAgo")))
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise DeniedError(400, "invalid_parameter", f"Wrong parameter: date, value: {text}") from None


def answered(value: Any, status: int = 200) -> web.Response:
    """A JSON body."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def denied(error: DeniedError) -> web.Response:
    """Metrica's error body."""
    item = {"error_type": error.error_type, "message": str(error)}
    return answered({"errors": [item], "code": error.status, "message": str(error)}, error.status)
