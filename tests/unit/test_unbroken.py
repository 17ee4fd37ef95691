"""Work side by side, and how it ends."""

from __future__ import annotations

import asyncio

import pytest

from bridge.errors import BridgeError, Unavailable
from bridge.unbroken import together


async def _number(number: int) -> int:
    await asyncio.sleep(0)
    return number


async def _failing(error: Exception) -> int:
    await asyncio.sleep(0)
    raise error


async def test_results_come_in_the_order_of_the_work() -> None:
    """Whichever ends first."""
    assert await together(_number(1), _number(2), _number(3)) == [1, 2, 3]


async def test_the_first_error_of_ours_is_raised_itself() -> None:
    """Its class decides the recovery, so it must not arrive inside a group; what goes on beside it is stopped."""
    stopped = asyncio.Event()

    async def waiting() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return 0

    with pytest.raises(BridgeError) as raised:
        await together(waiting(), _failing(Unavailable("away")))
    assert type(raised.value) is Unavailable
    assert stopped.is_set()


async def test_a_fault_of_the_program_is_not_taken_for_an_error_of_ours() -> None:
    """Even beside one: the group with both is raised."""
    with pytest.raises(ExceptionGroup) as raised:
        await together(_failing(Unavailable("away")), _failing(KeyError("x")))
    assert raised.value.subgroup(KeyError) is not None
