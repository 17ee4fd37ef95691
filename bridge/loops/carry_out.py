"""Carry out work asked for by a request row: a backfill, a plan, or the resolution of held deliveries.

The same code runs inside the daemon and inside the command when no daemon holds the tenant's lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bridge.errors import BridgeError, ConfigError
from bridge.frozen import replace
from bridge.log import redact
from bridge.loops import assess, pages, poll, replan
from bridge.loops.definitions import note
from bridge.ports import Window
from bridge.rules import definitions
from bridge.rules.floor import Period
from bridge.states import Move
from bridge.store.moves import Shift
from bridge.store.requests import Requests, WorkRequest
from bridge.tenant import Progress, SourceUnit, Tenant

_PAGE = 500
RESOLUTIONS = {"resend": Move.RESEND, "accepted": Move.CONFIRM, "cancel": Move.CANCEL}


async def once(tenant: Tenant, requests: Requests, only: int | None = None) -> Progress:
    """Every unfinished request of this tenant, oldest first. A failed one says why in its row.

    ``only``: this one alone. Whoever runs a command asked for nothing else.
    """
    progress = Progress()
    for request in await requests.unfinished(tenant.name):
        if only not in (None, request.id) or not await requests.start(request.id):
            continue
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
    if request.kind == "plan":
        return await replan.apply(tenant, requests, request)
    raise ConfigError(f"unknown request kind {request.kind}; was it made by a newer version?")


async def _backfill(tenant: Tenant, requests: Requests, request: WorkRequest) -> Progress:
    """Read a period again. Resumes after the last source and slice that were wholly read."""
    arguments = request.arguments
    since, until = (datetime.fromisoformat(arguments[name]) for name in ("since", "until"))
    names = [arguments["source"]] if arguments.get("source") else list(tenant.sources)
    report = _Report(requests, request, names)
    for name in names:
        if name in report.finished:
            continue
        if name not in tenant.sources:
            raise ConfigError(f"there is no source {name} any more")
        await _backfill_source(tenant, tenant.sources[name], Window(since, until), report)
        await report.finish(name)
    if not report.is_dry:
        # A click on a later page may serve a deal on an earlier one: whoever runs no daemon gets that promise, too.
        report.total += await assess.once(tenant, asks=True)
    return report.total


class _Report:
    """Keeps the request row's progress fresh, without a write for every page.

    What is whole, slice by slice, is stored apart from what is only on its way: there a crashed backfill goes on.
    """

    def __init__(self, requests: Requests, request: WorkRequest, names: Sequence[str]) -> None:
        self._requests, self._request, self._names = requests, request, names
        progress = request.progress
        self.is_dry = bool(request.arguments.get("dry_run"))
        self.finished: list[str] = list(progress.get("finished", ()))
        self.reached = {name: datetime.fromisoformat(at) for name, at in progress.get("reached", {}).items()}
        self.total = Progress(Counter(progress.get("whole", {})))
        self._pages = Progress()
        self._saved_share = 0.0

    async def page(self, share: float, counts: Progress) -> None:
        self._pages += counts
        if share - self._saved_share >= 0.01:
            await self._save(share)

    async def slice(self, name: str, share: float, until: datetime) -> None:
        """A source is wholly read up to there."""
        self.reached[name] = until
        self._settle()
        await self._save(share)

    async def finish(self, name: str) -> None:
        """A source is read."""
        self.finished.append(name)
        self._settle()
        await self._save(0.0)

    def _settle(self) -> None:
        self.total += self._pages
        self._pages = Progress()

    async def _save(self, share: float) -> None:
        self._saved_share = share
        progress: Mapping[str, Any] = {
            "share": (len(self.finished) + share) / len(self._names),
            "counts": dict(self.total.done + self._pages.done),
            "finished": self.finished,
            "reached": {name: at.isoformat() for name, at in self.reached.items()},
            "whole": dict(self.total.done),
        }
        await self._requests.update(self._request.id, "running", progress)


async def _backfill_source(tenant: Tenant, unit: SourceUnit, window: Window, report: _Report) -> None:
    """One source: goals reached in the period count from now on, and nothing older or between it and the start."""
    if unit.port is None:
        raise ConfigError(f"source {unit.name}: {unit.error}")
    state = await tenant.records.source_state(tenant.name, unit.name)
    now, period = tenant.clock.now(), Period(window.start, window.end)
    floor = replace(state.floor, start=pages.begun(unit, state, now)).opening(period)
    if not report.is_dry:
        state = await note(tenant, unit, state)
    goals = definitions.opened(definitions.noted(state.goals, tenant.digests, now), period)
    if not report.is_dry:
        await tenant.records.set_floor(tenant.name, unit.name, floor)
        await tenant.records.set_goals(tenant.name, unit.name, goals)
    rest = Window(report.reached.get(unit.name, window.start), window.end)

    def share(at: datetime) -> float:
        return (at - window.start) / (window.end - window.start)

    async def on_page(part: float, counts: Progress) -> None:
        await report.page(share(rest.start + part * (rest.end - rest.start)), counts)

    async def on_slice(until: datetime) -> None:
        await report.slice(unit.name, share(until), until)

    how = poll.Reading(None, moves_watermark=False, judges_all=True, on_page=on_page, on_slice=on_slice)
    if report.is_dry:  # nothing is stored to judge by
        how = replace(how, floor=floor, seen=goals, is_dry=True)
    if rest.start < rest.end:
        await poll.read(tenant, unit, rest, how)
    if not unit.port.traits.reads_everything:
        await _judge_later_changes(tenant, unit, window.end, how)


async def _judge_later_changes(tenant: Tenant, unit: SourceUnit, until: datetime, how: poll.Reading) -> None:
    """Judge stored deals that changed after the period: in no listing of it, they may have reached a goal in it.

    Those a poll brought between the request and the opening of the period are among them.
    """
    assert how.on_page is not None
    after = ""
    while True:
        async with tenant.left:
            keys = await tenant.records.changed_since(tenant.name, unit.name, until, after, _PAGE)
            counts = await poll.judge_stored(tenant, unit, keys, how)
        if not keys:
            return
        await how.on_page(1.0, counts)
        after = keys[-1]


async def _resolve(tenant: Tenant, arguments: Mapping[str, Any]) -> Progress:
    """Move held deliveries as the operator said. Those no longer held are left alone and counted."""
    wanted = list(arguments["deliveries"])
    move = RESOLUTIONS.get(arguments["as"])
    if move is None:
        raise ConfigError(f"unknown resolution {arguments['as']}; was the request made by a newer version?")
    held = await tenant.ledger.held(wanted)
    gone = await tenant.ledger.move([Shift(key, move, "operator") for key in held], tenant.clock.now())
    progress = Progress()
    progress.done["resolved"] = len(held) - gone
    progress.done["deleted"] = gone
    progress.done["not_held"] = len(wanted) - len(held)
    return progress
