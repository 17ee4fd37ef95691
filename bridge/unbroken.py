"""Tasks and cancellation: work that must not be cut in two, and ends that are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """The work's result. Cancelled meanwhile, it is still finished, and the cancellation goes on only then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def ended(task: asyncio.Task[Any]) -> None:
    """Wait for the end of a task. What it raises goes unheard; a cancellation of the waiting itself goes on."""
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


async def stopped(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end, as ``ended`` does."""
    task.cancel()
    await ended(task)
