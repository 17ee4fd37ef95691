"""Reading ahead changes nothing but the time it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.ahead import ahead
from bridge.errors import Drift


def room(permits: int) -> asyncio.Semaphore:
    return asyncio.Semaphore(permits)


class Stream:
    """Numbers, then perhaps an error; knows how far it was read and whether it was closed."""

    def __init__(self, length: int, error: Exception | None = None) -> None:
        self.length, self.error = length, error
        self.given = 0
        self.is_closed = False

    async def items(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(self.length):
                await asyncio.sleep(0)
                self.given += 1
                yield number
            if self.error is not None:
                raise self.error
        finally:
            self.is_closed = True


@given(st.integers(0, 12), st.integers(1, 4))
async def test_every_item_comes_once_and_in_order(length: int, depth: int) -> None:
    """However deep it reads ahead; the stream is closed at the end."""
    stream, permits = Stream(length), room(depth)
    seen: list[int] = []
    async for item in ahead(stream.items(), permits):
        seen.append(item)
        permits.release()
    assert seen == list(range(length))
    assert stream.is_closed


@given(st.integers(0, 12), st.integers(1, 4))
async def test_an_error_comes_in_its_place(length: int, depth: int) -> None:
    """After every item before it."""
    stream, permits = Stream(length, Drift("stuck")), room(depth)
    seen: list[int] = []

    async def listen() -> None:
        async for item in ahead(stream.items(), permits):
            seen.append(item)
            permits.release()

    with pytest.raises(Drift, match="stuck"):
        await listen()
    assert seen == list(range(length))
    assert stream.is_closed


@pytest.mark.parametrize("depth", [1, 3])
async def test_it_reads_no_further_ahead_than_it_may(depth: int) -> None:
    """One item for each permit: those given back are used, and no other."""
    stream, permits = Stream(100), room(depth)
    async with aclosing(ahead(stream.items(), permits)) as items:
        async for item in items:
            for _ in range(50):
                await asyncio.sleep(0)
            assert stream.given == item + depth
            permits.release()
            if item == 5:
                break
    assert stream.is_closed


@pytest.mark.parametrize("turns", [1, 2, 3, 5, 40])
async def test_who_stops_listening_leaves_nothing_running(turns: int) -> None:
    """Cancelled while something comes or while nothing does, the reading in the background ends, too."""
    before = asyncio.all_tasks()
    is_closed = asyncio.Event()

    async def endless() -> AsyncGenerator[int, None]:
        try:
            for number in range(5):
                yield number
            await asyncio.Event().wait()
        finally:
            is_closed.set()

    async def listen() -> None:
        async with aclosing(ahead(endless(), room(9))) as items:
            async for _ in items:
                await asyncio.sleep(0)

    listener = asyncio.create_task(listen())
    for _ in range(turns):
        await asyncio.sleep(0)
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert is_closed.is_set() or turns < 3
