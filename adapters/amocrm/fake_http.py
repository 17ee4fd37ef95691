"""How the simulated account talks HTTP: queries as PHP reads them, answers as the vendor words them, and its limits."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from aiohttp import web

_PER_SECOND = 7  # requests of an integration, on Kommo of an IP address (contract amocrm 11)
_PER_ACCOUNT = 50
_SECOND = 0.95  # the vendor's second, a little short: a client that keeps the rate may arrive unevenly
_INDEX = re.compile(r"\[\d*\]$")
_STATUS = re.compile(r"filter\[statuses\]\[(\d+)\]\[(pipeline_id|status_id)\]")


class BadQueryError(Exception):
    """The vendor would answer 400."""


@dataclass(slots=True)
class _Meter:
    """Requests of the last second."""

    most: int
    recent: deque[float] = field(default_factory=deque)

    def has_room(self, now: float) -> bool:
        while self.recent and self.recent[0] <= now - _SECOND:
            self.recent.popleft()
        return len(self.recent) < self.most


@dataclass(slots=True)
class Limits:
    """How many requests of each integration and of the whole account came in the last second, and how many too many."""

    refused: int = 0
    _account: _Meter = field(default_factory=lambda: _Meter(_PER_ACCOUNT))
    _each: dict[str, _Meter] = field(default_factory=dict)

    def admits(self, integration: str) -> bool:
        """Whether one more request of this integration is let in."""
        now = time.monotonic()
        own = self._each.setdefault(integration, _Meter(_PER_SECOND))
        if not (own.has_room(now) and self._account.has_room(now)):
            self.refused += 1
            return False
        own.recent.append(now)
        self._account.recent.append(now)
        return True


def extras_of(request: web.Request) -> frozenset[str]:
    return frozenset(request.query.get("with", "").split(","))


def arrays(request: web.Request) -> dict[str, list[str]]:
    """Query values by name, with ``name[]`` and ``name[0]`` counted as ``name``."""
    found: dict[str, list[str]] = {}
    for key, value in request.query.items():
        found.setdefault(_INDEX.sub("", key), []).append(value)
    return found


def listed(values: Sequence[str]) -> list[str]:
    """Values that may also come as one comma list."""
    return [part for value in values for part in value.split(",")]


def numbers(values: Sequence[str]) -> list[int]:
    return [number(value) for value in values]


def number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise BadQueryError("This value should be of type int.")
    return int(text)


def places(request: web.Request) -> set[tuple[int, int]]:
    """Pairs of ``filter[statuses]``; a plain list of ids is refused (contract amocrm 2.1)."""
    pairs: dict[str, dict[str, int]] = {}
    for key, value in request.query.items():
        if key.startswith("filter[statuses]"):
            match = _STATUS.fullmatch(key)
            if match is None:
                raise BadQueryError("filter[statuses] takes pairs of pipeline_id and status_id")
            pairs.setdefault(match[1], {})[match[2]] = number(value)
    if any(len(pair) != 2 for pair in pairs.values()):
        raise BadQueryError("filter[statuses] takes pairs of pipeline_id and status_id")
    return {(pair["pipeline_id"], pair["status_id"]) for pair in pairs.values()}


def as_json(body: bytes, status: int = 200) -> web.Response:
    kind = "application/hal+json" if status < 400 else "application/problem+json"
    return web.Response(
        status=status, body=body, content_type=kind, headers={"X-Request-Id": f"sim-{time.monotonic_ns()}"}
    )


def problem(status: int, title: str, detail: str) -> web.Response:
    body: Mapping[str, object] = {
        "title": title,
        "type": f"https://httpstatus.es/{status}",
        "status": status,
        "detail": detail,
    }
    return as_json(msgspec.json.encode(body), status)


def unauthorized() -> web.Response:
    return problem(401, "Unauthorized", "Неверный логин или пароль")


def gateway_page(status: int, title: str) -> web.Response:
    """A gateway's page: HTML, without ``Retry-After`` (contract amocrm 11)."""
    text = f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>"
    return web.Response(status=status, text=text, content_type="text/html")
