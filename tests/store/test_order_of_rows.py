"""Whoever changes several deliveries takes them in one order: no two writers wait for each other."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from bridge.rules.plan import Plan
from bridge.states import Move
from bridge.store import Store
from bridge.store import ledger as module
from bridge.store.ledger import Ledger, Settlement
from bridge.store.moves import Shift, move_alike
from bridge.store.records import Records
from tests.store import kit
from tests.store.kit import TENANT
from tests.support import START


async def test_recording_and_a_page_take_rows_in_one_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page judged before the batch was sealed is written while its answer is recorded."""
    ledger = Ledger(store, TENANT)
    numbers = {kit.key(n): n for n in range(1, 5)}
    await kit.plan(store, *(kit.conversion(n) for n in numbers.values()))
    sealed = await kit.sent(ledger)
    *_, high = sorted(numbers)
    order = [high, *(k for k in sorted(numbers, reverse=True) if k != high)]
    shifts = [Shift(k, Move.ACCEPT if k == high else Move.REJECT, "" if k == high else "bad") for k in order]
    real = move_alike
    half = asyncio.Event()

    async def paused(*args: Any) -> None:
        await real(*args)
        if not half.is_set():
            half.set()
            await asyncio.sleep(0.5)

    monkeypatch.setattr(module, "move_alike", paused)

    async def page() -> None:
        await half.wait()
        items = []
        for k, n in numbers.items():
            made = kit.conversion(n, value=2000)
            items.append(kit.assessed(kit.deal(n, "v2"), Plan(replaced=[(k, kit.content(made))], revised=[made])))
        await Records(store).write_page(kit.page(*items))

    async def record() -> None:
        await ledger.record(Settlement(sealed, shifts, {}, None), START)

    results = await asyncio.gather(record(), page(), return_exceptions=True)
    assert list(results) == [None, None]


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.01, 0.015, 0.02, 0.03])
async def test_an_answer_is_recorded_while_a_page_replaces_its_rows(delay: float, store: Store) -> None:
    """Neither waits for the other for ever, whichever begins: 300 rows, a mixed answer, nothing patched."""
    ledger = Ledger(store, TENANT)
    numbers = {kit.key(n): n for n in range(1, 301)}
    await kit.plan(store, *(kit.conversion(n) for n in numbers.values()))
    due = await ledger.due(kit.ADS, START, 1000)
    random.Random(3).shuffle(due)
    sealed = await ledger.mark(await ledger.seal(kit.ADS, kit.label(due), due, kit.render, START), START, START)
    # a mixed answer: some rejected with codes of their own
    shifts = [
        Shift(k, Move.REJECT, f"code{i % 7}") if i % 3 == 0 else Shift(k, Move.ACCEPT)
        for i, k in enumerate(sealed.rows)
    ]
    items = []
    for k, n in numbers.items():
        made = kit.conversion(n, value=2000)
        items.append(kit.assessed(kit.deal(n, "v2"), Plan(replaced=[(k, kit.content(made))], revised=[made])))

    async def page() -> None:
        await asyncio.sleep(delay)
        await Records(store).write_page(kit.page(*items))

    results = await asyncio.gather(
        ledger.record(Settlement(sealed, shifts, {}, None), START), page(), return_exceptions=True
    )
    assert list(results) == [None, None]
