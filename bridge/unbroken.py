"""Tasks and cancellation: work that must not be cut in two, ends that are waited for, work done side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from bridge.errors import BridgeError

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


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Run side by side; the first error stops the others and is raised itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(item) for item in work]
    except* BridgeError as failed:
        raise _first(failed) from None
    return [task.result() for task in tasks]


def _first(group: BaseExceptionGroup[BridgeError]) -> BridgeError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, BridgeError)
    return error
