"""Work that a command asks for by a request row, followed to its end: done by the daemon, or by the command itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bridge import errors, requested, terminal
from bridge.compose import Installation
from bridge.errors import BridgeError, ConfigError, LockHeld
from bridge.loops import carry_out, deliver, reconcile, verify
from bridge.store.requests import WorkRequest
from bridge.typed import typed

_POLL_REQUEST = 0.2  # seconds
_INTERRUPTED = "interrupted"


@dataclass(slots=True)
class _Work:
    """A request that a command follows. ``is_ours``: we have the tenant's lock, so that nobody else is at it."""

    installation: Installation
    request: int
    is_ours: bool = False


async def see_through(installation: Installation, request: int, title: str, is_quiet: bool) -> WorkRequest:
    """Wait for a request to end: carried out by the daemon, or by us as soon as nobody holds the tenant's lock.

    Interrupted, it says what becomes of the request.

    Raises:
        ConfigError: it failed, since the configuration is wrong.
        BridgeError: it failed for another reason; the text says why.
    """
    work = _Work(installation, request)
    try:
        row = await _followed(work, title, is_quiet)
    except asyncio.CancelledError:
        await _interrupted(work)
        raise
    if row.state == "failed":
        raise _error(row)
    return row


def _error(row: WorkRequest) -> BridgeError:
    """What a request failed for, without the name of our class, which is not for people; a bug's says something.

    A plan that meets other goals is no wrong configuration of ours: the daemon's is another.
    """
    text = row.error or "failed"
    name, _, told = text.partition(": ")
    kind = getattr(errors, name, None)
    if not isinstance(kind, type) or not issubclass(kind, BridgeError):
        return BridgeError(text)
    return ConfigError(told) if kind is ConfigError and row.kind != "plan" else BridgeError(told)


async def _followed(work: _Work, title: str, is_quiet: bool) -> WorkRequest:
    """The request's row when it has ended."""
    requests = work.installation.requests
    row = await requests.get(work.request)
    with _bar(is_quiet) as bar:
        task = bar.add_task(title, total=100)
        worker = asyncio.create_task(_work_if_free(work, row))
        try:
            while row.state in ("waiting", "running"):
                await asyncio.wait([worker], timeout=_POLL_REQUEST)
                if worker.done():
                    worker.result()
                row = await requests.get(work.request)
                done = row.progress.get("counts", {}).get("listed", 0)
                bar.update(task, completed=round(100 * row.progress.get("share", 0.0)), records=terminal.number(done))
                if worker.done() and row.state in ("waiting", "running"):
                    worker = asyncio.create_task(_work_if_free(work, row))
            await worker  # it still sends what the request promised
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
    return row


async def _work_if_free(work: _Work, row: WorkRequest) -> None:
    """Carry this request out ourselves, or pause a little if a daemon has the lock (it will do it).

    No other of the tenant's: whoever asks for a dry run does not ask for the real one that was interrupted before.
    """
    installation = work.installation
    try:
        async with installation.store.tenant_lock(row.tenant):
            work.is_ours = True
            await _look_back(installation, row)
            tenant = await installation.tenant(row.tenant)
            try:
                await carry_out.once(tenant, installation.requests, row.id)
            except asyncio.CancelledError:
                if row.arguments.get("dry_run"):  # its counts are for this command alone
                    await installation.requests.give_up(row.id, _INTERRUPTED, "running")
                raise
            if not row.arguments.get("dry_run"):
                # As the daemon would: what is promised now is sent now.
                await reconcile.once(tenant)
                await deliver.once(tenant, force=True)
                await verify.once(tenant)
    except LockHeld:
        work.is_ours = False
        await asyncio.sleep(_POLL_REQUEST)


# --- requests of before, and interrupted ones --------------------------------------------------------------------


async def _look_back(installation: Installation, row: WorkRequest) -> None:
    """Take the place of older requests for the same, and tell of the others: they are not ours to carry out.

    We have the lock: one that is ``running`` was interrupted.
    """
    requests, zone = installation.requests, _zone(installation, row)
    for older in await requests.unfinished(row.tenant):
        name = requested.words(older, zone)
        if older.id >= row.id:
            continue
        if not requested.is_taken_over(older, row):
            _tell(installation, f"{name} {_goes_on(older, zone)}")
            continue
        progress = requested.inherited(older, row)
        await requests.update(row.id, "waiting", progress or {})
        await requests.give_up(older.id, f"goes on as request {row.id}", "running")
        told = f"this goes on with {name}, where it was interrupted"
        _tell(installation, told if progress is not None else f"this begins {name} anew, since goals were changed")


def _goes_on(row: WorkRequest, zone: ZoneInfo) -> str:
    """What becomes of one that nobody is at."""
    if row.state == "waiting":
        return 'waits for its own command, or for "bridge run"'
    again = requested.again(row, zone)
    return 'was interrupted and goes on with "bridge run"' + (f', or with "{again}"' if again else "")


async def _interrupted(work: _Work) -> None:
    """Withdraw what has not begun, and say what becomes of the rest."""
    requests = work.installation.requests
    is_withdrawn = await requests.give_up(work.request, _INTERRUPTED, "waiting")
    row = await requests.get(work.request)
    zone = _zone(work.installation, row)
    if is_withdrawn:
        told = "had not begun and is withdrawn"
    elif row.state == "done":
        told = 'is done; what is not sent yet goes with the next "bridge sync", or "bridge run"'
    elif row.state == "failed":
        told = "was interrupted and is over" if row.error == _INTERRUPTED else "has failed"
    elif work.is_ours:
        told = f"{_goes_on(row, zone)}; what it has promised so far stays promised"
    else:
        told = 'goes on without this command, in the process that works for the tenant; "bridge status" shows how far'
    _tell(work.installation, f"{requested.words(row, zone)} {told}")


def _zone(installation: Installation, row: WorkRequest) -> ZoneInfo:
    return ZoneInfo(installation.settings(row.tenant).timezone)


def _tell(installation: Installation, text: str) -> None:
    told = typed(text, installation.config.path)
    terminal.err.print(told, style="yellow", markup=False, soft_wrap=True)


def _bar(is_quiet: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %, {task.fields[records]} records"),
        TimeElapsedColumn(),
    )
    return _Bar(*columns, console=terminal.err, disable=is_quiet)


class _Bar(Progress):
    """A progress bar whose tasks begin with no records."""

    def add_task(self, description: str, *args: Any, **fields: Any) -> Any:
        return super().add_task(description, *args, records=0, **fields)
