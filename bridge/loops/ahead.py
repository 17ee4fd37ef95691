"""Read an asynchronous stream a few items ahead of whoever works on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def ahead(stream: AsyncGenerator[T, None], depth: int) -> AsyncGenerator[T, None]:
    """The stream's items in order, up to ``depth`` of them fetched in the background.

    What the stream raises is raised in its place, after the items before it. Closing this generator closes the stream.
    """
    queue: asyncio.Queue[T] = asyncio.Queue(depth)

    async def fetch() -> None:
        try:
            async for item in stream:
                await queue.put(item)
        finally:
            await stream.aclose()

    task = asyncio.create_task(fetch())
    waiting: asyncio.Task[T] | None = None
    try:
        while True:
            waiting = asyncio.create_task(queue.get())
            await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                yield waiting.result()
                continue
            waiting.cancel()
            if queue.empty():
                task.result()
                return
    finally:
        if waiting is not None:
            waiting.cancel()
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
