"""The daemon's look for requests and hints, which comes every second, while the database is away."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from structlog.testing import CapturingLogger

from bridge.daemon import Daemon
from bridge.errors import StoreError


async def test_a_database_that_is_away_is_said_once() -> None:
    """Then only when the words change, and when it is over."""
    answers: list[str] = ["away", "away", "away", "starting", "starting", "", "", "away"]
    log = CapturingLogger()

    class Requests:
        async def waiting_tenants(self) -> list[str]:
            if said := answers.pop(0):
                raise StoreError(said)
            return []

    parts: dict[str, Any] = {"config": SimpleNamespace(tenants={}, folder=Path()), "requests": Requests(), "log": log}
    installation: Any = SimpleNamespace(**parts)
    daemon = Daemon(installation)
    while answers:
        await daemon._look_for_requests()
    told = [(call.method_name, call.args[0], call.kwargs.get("error", "")) for call in log.calls]
    assert told == [
        ("error", "loop_failed", "StoreError: away"),
        ("error", "loop_failed", "StoreError: starting"),
        ("info", "loop_recovered", ""),
        ("error", "loop_failed", "StoreError: away"),
    ]
    assert {call.kwargs["loop"] for call in log.calls} == {"look for requests and hints"}
