"""Hints that arrive while others are written share the next transaction; none is answered for before it is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from bridge.errors import StoreError
from bridge.sim.clock import ManualClock
from bridge.store import Store, hints
from bridge.store.hints import Hints
from bridge.web import inbox
from bridge.web.inbox import Inbox
from tests.simulation.kit import captured_logs
from tests.support import START

HERE, THERE = ("okna", "crm"), ("okna", "b24")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:///{tmp_path / 'bridge.db'}")
    yield opened
    await opened.close()


def made(store: Store) -> Inbox:
    return Inbox(Hints(store), ManualClock(START), structlog.get_logger())


async def waiting(store: Store, place: tuple[str, str] = HERE) -> list[str]:
    return sorted(hint.record for hint in await Hints(store).take(*place, 1000))


async def test_what_arrives_together_is_written_together(store: Store) -> None:
    """A hundred callers, two sources, at most two transactions: the first one's, and that of all who came meanwhile."""
    labels: list[str] = []
    store._on_commit = labels.append
    box = made(store)
    places = (HERE, THERE)
    await asyncio.gather(*(box.put(places[number % 2], [f"lead:{number}"]) for number in range(100)))
    assert labels.count("after hints") <= 2
    assert [len(await waiting(store, place)) for place in places] == [50, 50]


async def test_a_refusal_is_told_to_those_it_concerns(store: Store) -> None:
    """Everybody in that transaction; the next one is not harmed, whatever the failure was."""

    def refuse(label: str) -> None:
        raise OSError("disk full")

    box = made(store)
    for failure in (refuse, lambda label: 1 / 0):
        store._on_commit = failure  # type: ignore[assignment]  # a hook that only fails
        told = await asyncio.gather(*(box.put(HERE, [f"lead:{n}"]) for n in range(3)), return_exceptions=True)
        assert [type(one) for one in told] == [StoreError] * 3
        store._on_commit = lambda label: None
        await box.put(HERE, ["lead:7"])
        assert await waiting(store) == ["lead:7"]


async def test_there_is_a_bound_on_what_may_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """More is refused at once, so that the vendor repeats it; afterwards there is room again."""
    monkeypatch.setattr(inbox, "_MOST", 3)
    box = made(store)
    with pytest.raises(StoreError, match="faster than"):
        await box.put(HERE, ["lead:1", "lead:2", "lead:3", "lead:4"])
    await box.put(HERE, ["lead:1", "lead:2", "lead:3"])
    await box.put(HERE, ["lead:4", "lead:5", "lead:6"])
    assert len(await waiting(store)) == 6


async def test_whoever_does_not_wait_any_longer_loses_nothing(store: Store) -> None:
    """The write goes on; ``close`` waits for it."""
    box = made(store)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await box.put(HERE, ["lead:1"])
    await box.close()
    assert await waiting(store) == ["lead:1"]


async def test_a_full_queue_is_said_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """And again only after there was room."""
    monkeypatch.setattr(hints, "MOST", 2)
    with captured_logs() as logged:
        box = made(store)
        for number in range(5):
            await box.put(HERE, [f"lead:{number}"])
        assert logged.getvalue().count("hints_full") == 1
        queue = Hints(store)
        await queue.done(*HERE, await queue.take(*HERE, 10))
        for number in range(5):
            await box.put(HERE, [f"lead:{number}"])
        assert logged.getvalue().count("hints_full") == 2
