"""Accepted rows that go again to get a verdict of their own, and words of vendors, counted: on both databases."""

from __future__ import annotations

from datetime import timedelta

from bridge.states import Move
from bridge.store import Store, schema
from bridge.store.drift import Drifts, oddities
from bridge.store.ledger import Ledger, Settlement, Verdicts
from bridge.store.moves import Shift
from tests.store import kit
from tests.store.kit import ADS, conversion, key, plan
from tests.support import START

HOUR = timedelta(hours=1)


async def _accepted(ledger: Ledger, now: timedelta = timedelta(0)) -> str:
    """Everything due is sent and taken; the batch's label."""
    sealed = await kit.sent(ledger, START + now)
    shifts = [Shift(row, Move.ACCEPT) for row in sealed.rows]
    await ledger.record(Settlement(sealed, shifts, {}, START), START + now)
    return sealed.label


async def test_only_what_no_later_row_has_followed_becomes_pending_again(store: Store) -> None:
    """A correction that was sent keeps its original where it is, with the code; one that waits does not."""
    ledger = Ledger(store, kit.TENANT)
    await plan(store, conversion(1), conversion(2), conversion(3))
    first = await _accepted(ledger)
    await plan(store, conversion(1, 1, value=7), now=START + HOUR)
    await _accepted(ledger, HOUR)
    await plan(store, conversion(2, 1, value=9), now=START + HOUR)
    redo = [Shift(key(number), Move.REDO, "1_of_3:bad", START + 2 * HOUR, 1) for number in (1, 2, 3)]
    await ledger.verified(Verdicts(first, redo), START + HOUR)
    assert await kit.states(store, key(1), key(2), key(3)) == ["accepted", "pending", "pending"]
    due = await ledger.due(ADS, START + 2 * HOUR, 100)
    assert sorted((row.content.delivery, row.attempt, row.max_rows) for row in due) == sorted(
        (key(number), 1, 1) for number in (2, 3)
    )
    rows = {row["id"]: row["code"] for row in await kit.rows(store, schema.delivery)}
    assert rows[key(1)] == "1_of_3:bad"


async def test_drift_adds_up_by_account_and_word(store: Store) -> None:
    """The first time stays, the last one moves; the latest is told first."""
    drifts = Drifts(store, kit.TENANT)
    await drifts.add("google", {("status", "NEW"): 2, ("field", "x"): 1}, START)
    await drifts.add("google", {("status", "NEW"): 3}, START + HOUR)
    await drifts.add("metrica", {("status", "NEW"): 1}, START)
    await Drifts(store, "dom").add("google", {("status", "NEW"): 9}, START)
    found = await oddities(store, kit.TENANT)
    assert [(one.value, one.count, one.since, one.seen_at) for one in found["google"]] == [
        ("NEW", 5, START, START + HOUR),
        ("x", 1, START, START),
    ]
    assert [one.count for one in found["metrica"]] == [1]
