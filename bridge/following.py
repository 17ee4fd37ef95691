"""Work that a command asks for by a request row, followed to its end: done by the daemon, or by the command itself."""

from __future__ import annotations

import asyncio
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bridge import terminal
from bridge.compose import Installation
from bridge.errors import BridgeError, LockHeld
from bridge.loops import carry_out, deliver, reconcile, verify
from bridge.store.requests import WorkRequest

_POLL_REQUEST = 0.2  # seconds


async def see_through(installation: Installation, request: int, title: str, is_quiet: bool) -> WorkRequest:
    """Wait for a request to end: carried out by the daemon, or by us as soon as nobody holds the tenant's lock.

    Raises:
        BridgeError: it failed; the text says why.
    """
    row = await installation.requests.get(request)
    with _bar(is_quiet) as bar:
        task = bar.add_task(title, total=100)
        worker = asyncio.create_task(_work_if_free(installation, row))
        try:
            while row.state in ("waiting", "running"):
                await asyncio.wait([worker], timeout=_POLL_REQUEST)
                if worker.done():
                    worker.result()
                row = await installation.requests.get(request)
                done = row.progress.get("counts", {}).get("listed", 0)
                bar.update(task, completed=round(100 * row.progress.get("share", 0.0)), records=terminal.number(done))
                if worker.done() and row.state in ("waiting", "running"):
                    worker = asyncio.create_task(_work_if_free(installation, row))
            await worker  # it still sends what the request promised
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
    if row.state == "failed":
        raise BridgeError(row.error or "failed")
    return row


async def _work_if_free(installation: Installation, row: WorkRequest) -> None:
    """Do the tenant's requests ourselves, or pause a little if a daemon has the lock (it will do them)."""
    try:
        async with installation.store.tenant_lock(row.tenant):
            tenant = await installation.tenant(row.tenant)
            await carry_out.once(tenant, installation.requests)
            if not row.arguments.get("dry_run"):
                # As the daemon would: what is promised now is sent now.
                await reconcile.once(tenant)
                await deliver.once(tenant, force=True)
                await verify.once(tenant)
    except LockHeld:
        await asyncio.sleep(_POLL_REQUEST)


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
