"""Read an asynchronous stream a few items ahead of whoever works on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

from bridge.unbroken import stopped

T = TypeVar("T")


async def ahead(stream: AsyncGenerator[T, None], room: asyncio.Semaphore) -> AsyncGenerator[T, None]:
    """The stream's items in order, fetched in the background, one for each permit of ``room``.

    Whoever works on the items gives one permit back for each, at the moment when it can spare the event loop: while the
    database writes, say. What the stream raises is raised in its place, after the items before it. Closing this
    generator closes the stream.
    """
    queue: asyncio.Queue[T] = asyncio.Queue()

    async def fetch() -> None:
        try:
            await room.acquire()
            async for item in stream:
                queue.put_nowait(item)
                await room.acquire()
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
        await stopped(task)  # what it raised was raised in its place, or nobody listens any more
