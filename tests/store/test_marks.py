"""Deals to be marked: put up by whatever moves a delivery, taken away by what was written; on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bridge.errors import StoreError
from bridge.marks import Mark, Marked, MarkFate
from bridge.states import Move
from bridge.store import Store, schema
from bridge.store.ledger import Ledger, Settlement, Verdicts
from bridge.store.marks import DueMark, MarkReport, Marks
from bridge.store.moves import Shift
from bridge.store.records import Records
from bridge.store.reports import Reports
from tests.store import kit
from tests.store.kit import SOURCE, TENANT
from tests.support import START

LATER = START + timedelta(hours=1)
ONE = "lead:1"


@pytest.fixture
def marks(store: Store) -> Marks:
    return Marks(store, TENANT)


async def sent(store: Store, *numbers: int) -> Ledger:
    """These sales are accepted, by a ledger that knows the source is marked."""
    ledger = Ledger(store, TENANT, [SOURCE])
    await kit.plan(store, *(kit.conversion(number) for number in numbers))
    sealed = await kit.sent(ledger)
    shifts = [Shift(row, Move.ACCEPT) for row in sealed.rows]
    await ledger.record(Settlement(sealed, shifts, {}, LATER), START)
    return ledger


def done(due: DueMark, text: str = "sent", **values: str) -> tuple[DueMark, Mark, Marked]:
    return due, Mark(due.deal, text, True), Marked(due.deal, MarkFate.DONE, **values)


async def test_an_outcome_puts_its_deal_up(store: Store, marks: Marks) -> None:
    """In the transaction that moves the delivery, once per deal; sealing alone is no outcome; another tenant, source
    or a source that is not marked has none."""
    ledger = Ledger(store, TENANT, [SOURCE])
    await kit.plan(store, kit.conversion(1), kit.conversion(2))
    sealed = await kit.sent(ledger)
    assert await marks.due(SOURCE, LATER, 10) == []
    await ledger.record(Settlement(sealed, [Shift(row, Move.ACCEPT) for row in sealed.rows], {}, LATER), START)
    assert await marks.due(SOURCE, START, 10) == [DueMark(ONE, 1, 0), DueMark("lead:2", 1, 0)]
    assert await marks.due(SOURCE, START, 1) == [DueMark(ONE, 1, 0)]
    assert await marks.due(SOURCE, START - timedelta(seconds=1), 10) == []
    assert await marks.due("other", LATER, 10) == []
    assert await Marks(store, "dom").due(SOURCE, LATER, 10) == []


async def test_without_write_back_nothing_is_put_up(store: Store) -> None:
    """The ledger of a tenant that does not ask for it writes no row more."""
    ledger = Ledger(store, TENANT)
    await kit.plan(store, kit.conversion(1))
    sealed = await kit.sent(ledger)
    await ledger.record(Settlement(sealed, [Shift(kit.key(1), Move.ACCEPT)], {}, LATER), START)
    assert await kit.rows(store, schema.mark) == []


async def test_a_move_that_fails_puts_nothing_up(store: Store, marks: Marks) -> None:
    """The deal is put up with the move or not at all."""
    ledger = Ledger(store, TENANT, [SOURCE])
    await kit.plan(store, kit.conversion(1))
    with pytest.raises(StoreError):
        await ledger.move([Shift(kit.key(1), Move.EXPIRE), Shift("nobody", Move.EXPIRE)], START)
    assert await marks.due(SOURCE, LATER, 10) == []


async def test_what_happens_while_a_mark_is_written_is_marked_next(store: Store, marks: Marks) -> None:
    """A deal whose delivery moved meanwhile stays up; one that was settled goes away until the next move."""
    ledger = await sent(store, 1, 2)
    first, second = await marks.due(SOURCE, START, 10)
    (batch,) = await ledger.open_batches(kit.ADS, LATER, settled=True)
    await ledger.verified(Verdicts(batch.sealed.label, [Shift(kit.key(1), Move.VERIFY)]), LATER)
    await marks.record(SOURCE, [done(first), done(second)], START)
    assert await marks.due(SOURCE, LATER, 10) == [DueMark(ONE, 2, 0)]
    (row, other) = await kit.rows(store, schema.mark)
    assert (row["text"], other["text"], other["due"]) == ("sent", "sent", None)


async def test_our_own_write_moves_the_version_on(store: Store, marks: Marks) -> None:
    """Only from the version that was read before it, and facts that are judged again keep the newer one."""
    await sent(store, 1, 2)
    records, keys = Records(store), [ONE, "lead:2"]
    before = await records.versions(TENANT, SOURCE, keys)
    first, second = await marks.due(SOURCE, START, 10)
    changed = done(second, before="what somebody changed", after="v9")
    await marks.record(SOURCE, [done(first, before=before[ONE], after="v8"), changed], START)
    assert await records.versions(TENANT, SOURCE, keys) == {ONE: "v8", "lead:2": before["lead:2"]}
    facts = await records.facts(TENANT, SOURCE, keys)
    assert [facts[key].deal.version for key in keys] == ["v8", before["lead:2"]]


async def test_trouble_is_counted_and_told(store: Store, marks: Marks) -> None:
    """What failed waits for its time with one attempt more; a refusal is settled with its code; good ones clear it."""
    await sent(store, 1, 2)
    first, second = await marks.due(SOURCE, START, 10)
    await marks.failed(SOURCE, [first, second], LATER, "Unavailable: down")
    assert await marks.due(SOURCE, START, 10) == []
    assert await marks.due(SOURCE, LATER, 10) == [DueMark(ONE, 1, 1), DueMark("lead:2", 1, 1)]
    assert await Reports(store).marks(TENANT, SOURCE) == MarkReport(2, 2, START, None, "Unavailable: down")
    refused = Marked("lead:2", MarkFate.REFUSED, "NotBlank")
    await marks.record(SOURCE, [done(first), (second, Mark("lead:2", "sent", True), refused)], LATER)
    assert await Reports(store).marks(TENANT, SOURCE) == MarkReport(0, 1, None, LATER, "NotBlank")
    rows = {row["deal"]: row["text"] for row in await kit.rows(store, schema.mark)}
    assert rows == {ONE: "sent", "lead:2": None}


async def test_every_delivery_of_a_deal_is_told(store: Store, marks: Marks) -> None:
    """Goal, destination, occurrence, state and code, as the ledger has them; of the asked deals only."""
    ledger = await sent(store, 1, 2)
    await kit.plan(store, kit.conversion(1, 1))
    await ledger.move([Shift(kit.key(1, 1), Move.REFUSE, "no_adjust")], LATER)
    found = await marks.told(SOURCE, [ONE])
    assert list(found) == [ONE]
    assert sorted(
        (item.goal, item.destination, item.revision, item.state, item.code, item.at) for item in found[ONE]
    ) == [
        ("sale", kit.ADS, 0, "accepted", "", START),
        ("sale", kit.ADS, 1, "rejected", "no_adjust", LATER),
    ]
