"""Carry out work asked for by a request row: a backfill, or the resolution of held deliveries.

The same code runs inside the daemon and inside the command when no daemon holds the tenant's lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bridge.errors import BridgeError, ConfigError
from bridge.log import redact
from bridge.loops import poll
from bridge.ports import Window
from bridge.states import Move
from bridge.store.ledger import Shift
from bridge.store.requests import Requests, WorkRequest
from bridge.tenant import Progress, SourceUnit, Tenant

RESOLUTIONS = {"resend": Move.RESEND, "accepted": Move.CONFIRM, "cancel": Move.CANCEL}


async def once(tenant: Tenant, requests: Requests) -> Progress:
    """Every unfinished request of this tenant, oldest first. A failed one says why in its row."""
    progress = Progress()
    for request in await requests.unfinished(tenant.name):
        await requests.update(request.id, "running", request.progress)
        tenant.log.info("request_started", request=request.id, kind=request.kind)
        try:
            result = await carry_out(tenant, requests, request)
        except Exception as error:
            text = redact(f"{type(error).__name__}: {error}")
            await requests.update(request.id, "failed", error=text)
            say = tenant.log.error if isinstance(error, BridgeError) else tenant.log.exception
            say("request_failed", request=request.id, error=text)
            progress.problems.append(f"request {request.id}: {text}")
            continue
        await requests.update(request.id, "done", {"share": 1.0, "counts": dict(result.done)})
        tenant.log.info("request_done", request=request.id, **result.done)
        progress += result
    return progress


async def carry_out(tenant: Tenant, requests: Requests, request: WorkRequest) -> Progress:
    """One request.

    Raises:
        BridgeError: it could not be finished; what was done stays done, and doing it again is harmless.
    """
    if request.kind == "backfill":
        return await _backfill(tenant, requests, request)
    if request.kind == "resolve":
        return await _resolve(tenant, request.arguments)
    raise ConfigError(f"unknown request kind {request.kind}; was it made by a newer version?")


async def _backfill(tenant: Tenant, requests: Requests, request: WorkRequest) -> Progress:
    """Read a period again. Resumes after the last source and slice that were wholly read."""
    arguments = request.arguments
    since, until = (datetime.fromisoformat(arguments[name]) for name in ("since", "until"))
    names = [arguments["source"]] if arguments.get("source") else list(tenant.sources)
    finished = list(request.progress.get("finished", ()))
    total = Progress()
    for position, name in enumerate(names):
        if name in finished:
            continue
        report = _Report(requests, request, finished, total)
        report.place = (position, len(names))
        if name not in tenant.sources:
            raise ConfigError(f"there is no source {name} any more")
        total += await _backfill_source(tenant, tenant.sources[name], Window(since, until), report)
        finished.append(name)
        await report.finish()
    return total


class _Report:
    """Keeps the request row's progress fresh, without a write for every page."""

    def __init__(self, requests: Requests, request: WorkRequest, finished: list[str], total: Progress) -> None:
        self._requests, self._request, self._finished, self._total = requests, request, finished, total
        self.place = (0, 1)  # this source's number, and how many there are
        self.is_dry = bool(request.arguments.get("dry_run"))
        self._pages = Progress()
        self._saved_share = 0.0

    async def page(self, share: float, counts: Progress) -> None:
        self._pages += counts
        if share - self._saved_share >= 0.01:
            self._saved_share = share
            await self.save(share)

    async def finish(self) -> None:
        """The source is read; its pages are in the total now."""
        self._pages = Progress()
        await self.save(1.0)

    async def save(self, share: float) -> None:
        position, sources = self.place
        whole = (position + share) / sources
        counts = dict(self._total.done + self._pages.done)
        progress: Mapping[str, Any] = {"share": whole, "counts": counts, "finished": self._finished}
        await self._requests.update(self._request.id, "running", progress)


async def _backfill_source(tenant: Tenant, unit: SourceUnit, window: Window, report: _Report) -> Progress:
    if unit.port is None:
        raise ConfigError(f"source {unit.name}: {unit.error}")
    state = await tenant.records.source_state(tenant.name, unit.name)
    floor = window.start if state.floor is None else min(state.floor, window.start)
    if not report.is_dry:
        await tenant.records.set_source(tenant.name, unit.name, floor=floor)
    how = poll.Reading(floor, moves_watermark=False, judges_all=True, is_dry=report.is_dry, on_page=report.page)
    return await poll.read(tenant, unit, window, how)


async def _resolve(tenant: Tenant, arguments: Mapping[str, Any]) -> Progress:
    """Move held deliveries as the operator said. Those no longer held are left alone and counted."""
    wanted = list(arguments["deliveries"])
    move = RESOLUTIONS.get(arguments["as"])
    if move is None:
        raise ConfigError(f"unknown resolution {arguments['as']}; was the request made by a newer version?")
    held = await tenant.ledger.held(wanted)
    await tenant.ledger.move([Shift(key, move, "operator") for key in held], tenant.clock.now())
    progress = Progress()
    progress.done["resolved"] = len(held)
    progress.done["not_held"] = len(wanted) - len(held)
    return progress
