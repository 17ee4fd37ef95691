"""The ledger's moves: every legal one is written with its event, every other one writes nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from bridge.errors import StoreError
from bridge.frozen import replace
from bridge.model import Money
from bridge.rules.plan import DELETED, RETRACTED, Plan
from bridge.states import STEPS, BatchState, DeliveryState, Move, step
from bridge.store import Store, schema
from bridge.store.ledger import Ledger, Settlement, Verdicts, WithdrawnError
from bridge.store.moves import Shift
from bridge.store.records import Records
from bridge.store.reports import Reports
from tests.store import kit
from tests.support import START

LATER = START + timedelta(minutes=5)
# How a delivery gets into each state, move by move.
ROADS: dict[DeliveryState, tuple[Move, ...]] = {
    DeliveryState.PENDING: (),
    DeliveryState.SEALED: (Move.SEAL,),
    DeliveryState.ACCEPTED: (Move.SEAL, Move.ACCEPT),
    DeliveryState.VERIFIED: (Move.SEAL, Move.ACCEPT, Move.VERIFY),
    DeliveryState.UNLINKED: (Move.SEAL, Move.ACCEPT, Move.UNLINK),
    DeliveryState.REJECTED: (Move.REFUSE,),
    DeliveryState.EXPIRED: (Move.EXPIRE,),
    DeliveryState.HELD: (Move.SEAL, Move.HOLD),
    DeliveryState.CANCELLED: (Move.SEAL, Move.HOLD, Move.CANCEL),
}
MOVES = [move for move in Move if move is not Move.PLAN]


async def walk(store: Store, *road: Move) -> Ledger:
    """One planned delivery, moved along a road."""
    ledger = Ledger(store, kit.TENANT)
    await kit.plan(store, kit.conversion(1))
    for move in road:
        await take(ledger, move)
    return ledger


async def take(ledger: Ledger, move: Move) -> None:
    """One move by the door it takes in life: sealing stores a batch, the others are shifts."""
    if move is Move.SEAL:
        await kit.sealed(ledger)
    else:
        await ledger.move([Shift(kit.key(1), move)], START)


@pytest.mark.parametrize(("state", "road"), ROADS.items())
async def test_every_state_is_reached_and_its_chain_is_whole(
    store: Store, state: DeliveryState, road: tuple[Move, ...]
) -> None:
    """Each state can be reached by legal moves; each event starts where the one before ended."""
    await walk(store, *road)
    assert await kit.states(store, kit.key(1)) == [state]
    events = await kit.rows(store, schema.delivery_event)
    assert [event["before"] for event in events] == [None, *(event["after"] for event in events[:-1])]
    assert events[-1]["after"] == state
    assert await Reports(store).broken_chains() == 0


@pytest.mark.parametrize("state", ROADS)
async def test_only_legal_moves_are_possible(store: Store, state: DeliveryState) -> None:
    """From each state every move that is not in the table raises StoreError and leaves the database as it was."""
    ledger = await walk(store, *ROADS[state])
    before = await kit.everything(store)
    for move in MOVES:
        if (state, move) in STEPS:
            continue
        shift = [Shift(kit.key(1), move)]
        with pytest.raises(StoreError):
            await ledger.move(shift, LATER)
        assert await kit.everything(store) == before


@pytest.mark.parametrize(("state", "move"), [(s, m) for s, m in STEPS if s is not None and m is not Move.SEAL])
async def test_every_legal_move_is_written(store: Store, state: DeliveryState, move: Move) -> None:
    """The row gets the state the table names, the time and the code; one event says so."""
    ledger = await walk(store, *ROADS[state])
    count = len(await kit.rows(store, schema.delivery_event))
    await ledger.move([Shift(kit.key(1), move, "why")], LATER)
    (row,) = await kit.rows(store, schema.delivery)
    *_, event = events = await kit.rows(store, schema.delivery_event)
    assert row["state"] == step(state, move)
    assert row["code"] == "why"
    assert len(events) == count + 1
    assert (event["before"], event["after"], event["code"]) == (state, row["state"], "why")
    assert event["at"] == row["updated_at"] > row["planned_at"]


@pytest.mark.parametrize("code", [DELETED, RETRACTED])
async def test_what_is_withdrawn_is_not_due_and_what_is_restored_is(store: Store, code: str) -> None:
    """Each for its own reason, in one page; only the row that is promised again is sealed, once, and both chains
    close."""
    await kit.plan(store, kit.conversion(1), kit.conversion(2))
    ledger = Ledger(store, kit.TENANT)
    await kit.withdraw(store, 1, 2, code=code)
    assert await ledger.due(kit.ADS, LATER, 10) == []
    assert {row["code"] for row in await kit.rows(store, schema.delivery)} == {code}
    await kit.restore(store, 1, code)
    assert (await kit.sealed(ledger, LATER)).rows == (kit.key(1),)
    assert await kit.states(store, kit.key(1), kit.key(2)) == [DeliveryState.SEALED, DeliveryState.CANCELLED]
    assert await Reports(store).broken_chains() == 0


async def test_one_page_withdraws_for_both_reasons(store: Store) -> None:
    """A deal was deleted, and another one's payment refunded."""
    await kit.plan(store, kit.conversion(1), kit.conversion(2))
    codes = {1: DELETED, 2: RETRACTED}
    rows = {number: (kit.known(number, DeliveryState.PENDING), code) for number, code in codes.items()}
    items = [kit.assessed(kit.deal(number, "v2"), Plan(withdrawn=[row])) for number, row in rows.items()]
    await Records(store).write_page(kit.page(*items))
    found = {row["id"]: row["code"] for row in await kit.rows(store, schema.delivery)}
    assert found == {kit.key(1): DELETED, kit.key(2): RETRACTED}


async def test_what_an_operator_cancelled_is_not_restored(store: Store) -> None:
    """The plan saw a row that was withdrawn; it is one that a human has decided since, and stays so."""
    ledger = await walk(store, *ROADS[DeliveryState.CANCELLED])
    before = await kit.rows(store, schema.delivery)
    await kit.restore(store, 1)
    assert await kit.rows(store, schema.delivery) == before
    assert await ledger.due(kit.ADS, LATER, 10) == []


async def test_a_plan_knows_what_was_tried(store: Store) -> None:
    """Whether a row was ever in a batch: not after it was withdrawn and restored, but after an attempt that failed."""
    await kit.plan(store, kit.conversion(1), kit.conversion(2))
    ledger, records = Ledger(store, kit.TENANT), Records(store)
    await kit.withdraw(store, 1)
    await kit.restore(store, 1)
    await ledger.wait({kit.key(1): (START + timedelta(days=9), "click_age")})
    await kit.sealed(ledger)
    await ledger.move([Shift(kit.key(2), Move.AGAIN)], LATER)
    found = (await records.context(kit.TENANT, kit.SOURCE, ["lead:1", "lead:2"], [])).conversions
    assert [found[key][0].deliveries[0].is_tried for key in ("lead:1", "lead:2")] == [False, True]


async def test_one_bad_row_spoils_the_whole_step(store: Store) -> None:
    """Where one row of many is not in the expected state, none moves: another writer was here."""
    await kit.plan(store, kit.conversion(1), kit.conversion(2))
    ledger = Ledger(store, kit.TENANT)
    await ledger.move([Shift(kit.key(2), Move.EXPIRE)], START)
    before = await kit.everything(store)
    with pytest.raises(StoreError, match="another writer"):
        await ledger.move([Shift(kit.key(1), Move.EXPIRE), Shift(kit.key(2), Move.EXPIRE)], LATER)
    assert await kit.everything(store) == before


async def test_a_row_of_another_kind_of_state_cannot_be_written(store: Store) -> None:
    """The database itself refuses a state it does not know, and a sealed row without a batch."""
    await kit.plan(store, kit.conversion(1))
    for change in ("state = 'lost'", "state = 'sealed'"):
        with pytest.raises(StoreError):
            async with store.write("test") as connection:
                await connection.execute(text(f"UPDATE delivery SET {change}"))


# --- the five steps ----------------------------------------------------------------------------------------------


async def test_sealing_stores_the_exact_bytes_once(store: Store) -> None:
    """The bytes that are sealed are those found again after a crash; sealing the same rows twice is refused."""
    await kit.plan(store, kit.conversion(1), kit.conversion(2))
    ledger = Ledger(store, kit.TENANT)
    due = await ledger.due(kit.ADS, START, 100)
    sealed = await ledger.seal(kit.ADS, kit.label(due), due, kit.render, START)
    (found,) = await ledger.open_batches(kit.ADS, START, settled=False)
    assert found.sealed == sealed
    assert found.state is BatchState.SEALED
    before = await kit.everything(store)
    for name in (kit.label(due), "another"):
        with pytest.raises(StoreError):
            await ledger.seal(kit.ADS, name, due, kit.render, LATER)
    assert await kit.everything(store) == before


async def test_a_batch_is_marked_only_while_it_is_open(store: Store) -> None:
    """Bytes may leave again and again until an answer is recorded, and never after; each leaving is counted."""
    await kit.plan(store, kit.conversion(1))
    ledger = Ledger(store, kit.TENANT)
    sealed = await ledger.mark(await kit.sent(ledger), LATER, LATER)
    (found,) = await ledger.open_batches(kit.ADS, LATER, settled=False)
    assert (found.state, found.sealed, found.sent_at) == (BatchState.SENDING, sealed, LATER)
    assert sealed.attempt == 2
    await ledger.record(Settlement(sealed, [Shift(kit.key(1), Move.ACCEPT)], {}, None), LATER)
    before = await kit.everything(store)
    for gone in (sealed, replace(sealed, label="unknown")):
        with pytest.raises(StoreError):
            await ledger.mark(gone, LATER, LATER)
    assert await kit.everything(store) == before


@pytest.mark.parametrize("is_sent", [False, True])
async def test_of_two_processes_with_the_same_batch_one_sends_it(
    store: Store, database_url: str, *, is_sent: bool
) -> None:
    """Both read it open, sealed or in doubt; both are about to send at the same moment: one of them may, one attempt
    is counted, and the other hears so before it touches the socket."""
    await kit.plan(store, kit.conversion(1))
    mine = Ledger(store, kit.TENANT)
    await (kit.sent if is_sent else kit.sealed)(mine)
    other = await Store.open(database_url)
    ledgers = [mine, Ledger(other, kit.TENANT)] * 3
    batches = [(await ledger.open_batches(kit.ADS, START, settled=False))[0].sealed for ledger in ledgers]
    attempts = [ledger.mark(sealed, LATER, LATER) for ledger, sealed in zip(ledgers, batches, strict=True)]
    said = await asyncio.gather(*attempts, return_exceptions=True)
    assert sorted(type(one).__name__ for one in said) == ["Sealed", *["StoreError"] * 5]
    (found,) = await mine.open_batches(kit.ADS, LATER, settled=False)
    assert found.sealed in said
    assert found.sealed.attempt == batches[0].attempt + 1
    await other.close()


async def test_an_answer_to_an_earlier_sending_settles_nothing(store: Store) -> None:
    """Another process sent the batch again meanwhile: only the answer to that sending counts. Else rows could be
    pending again, and sent in a new batch, while the second sending is on its way."""
    await kit.plan(store, kit.conversion(1))
    ledger = Ledger(store, kit.TENANT)
    first = await kit.sent(ledger)
    second = await ledger.mark(first, LATER, LATER)
    before = await kit.everything(store)
    with pytest.raises(StoreError, match="sent again"):
        await ledger.record(Settlement(first, [Shift(kit.key(1), Move.AGAIN)], {}, None), LATER)
    assert await kit.everything(store) == before
    await ledger.record(Settlement(second, [Shift(kit.key(1), Move.ACCEPT)], {}, None), LATER)
    assert await kit.states(store, kit.key(1)) == ["accepted"]


@pytest.mark.parametrize("meanwhile", ["sent again", "recorded", "verified"])
async def test_only_the_sending_that_is_known_can_be_put_off(store: Store, meanwhile: str) -> None:
    """A process that was frozen wakes with a lost answer or a lost verdict: what another one has done with the batch
    since keeps its time and its error, and the late one hears so."""
    await kit.plan(store, kit.conversion(1))
    ledger = Ledger(store, kit.TENANT)
    first = await kit.sent(ledger)
    current = await ledger.mark(first, LATER, LATER) if meanwhile == "sent again" else first
    if meanwhile != "sent again":
        await ledger.record(Settlement(first, [Shift(kit.key(1), Move.ACCEPT)], {}, LATER), LATER)
    if meanwhile == "verified":
        await ledger.verified(Verdicts(first.label, [Shift(kit.key(1), Move.VERIFY)]), LATER)
    before = await kit.everything(store)
    with pytest.raises(StoreError, match="not as it was read"):
        await ledger.postpone(first, START + timedelta(days=9), "Ambiguous", settled=meanwhile == "verified")
    assert await kit.everything(store) == before
    if meanwhile != "verified":
        await ledger.postpone(current, START + timedelta(days=9), "Drift", settled=meanwhile == "recorded")
        assert await kit.everything(store) != before


async def test_an_answer_is_recorded_once(store: Store) -> None:
    """A second answer to the same batch is another writer's and changes nothing."""
    await kit.plan(store, kit.conversion(1))
    ledger = Ledger(store, kit.TENANT)
    sealed = await kit.sent(ledger)
    answer = Settlement(sealed, [Shift(kit.key(1), Move.ACCEPT)], {"upload": "7"}, LATER)
    await ledger.record(answer, START)
    before = await kit.everything(store)
    with pytest.raises(StoreError):
        await ledger.record(answer, LATER)
    assert await kit.everything(store) == before
    (found,) = await ledger.open_batches(kit.ADS, LATER, settled=True)
    assert found.receipt == {"upload": "7"}


@pytest.mark.parametrize("named", [(), (1,), (1, 1, 2), (1, 2, 3)])
async def test_an_answer_names_every_row_of_its_batch_once(store: Store, named: tuple[int, ...]) -> None:
    """A row left out, named twice or foreign to the batch: nothing is recorded, the batch stays in doubt."""
    ledger = Ledger(store, kit.TENANT)
    await kit.plan(store, kit.conversion(1), kit.conversion(2))
    sealed = await kit.sent(ledger)
    await kit.plan(store, kit.conversion(3))
    await kit.sent(ledger)
    before = await kit.everything(store)
    shifts = [Shift(kit.key(number), Move.ACCEPT) for number in named]
    with pytest.raises(StoreError):
        await ledger.record(Settlement(sealed, shifts, {}, None), LATER)
    assert await kit.everything(store) == before


async def test_each_row_of_an_answer_gets_its_own_outcome(store: Store) -> None:
    """Accepted, rejected, again and held may meet in one answer."""
    numbers = (1, 2, 3, 4)
    await kit.plan(store, *map(kit.conversion, numbers))
    ledger = Ledger(store, kit.TENANT)
    sealed = await kit.sent(ledger)
    moves = (Move.ACCEPT, Move.REJECT, Move.AGAIN, Move.HOLD)
    shifts = [Shift(kit.key(n), move, move, LATER, 1) for n, move in zip(numbers, moves, strict=True)]
    await ledger.record(Settlement(sealed, shifts, {}, LATER), START)
    assert await kit.states(store, *map(kit.key, numbers)) == ["accepted", "rejected", "pending", "held"]
    (batch,) = await ledger.open_batches(kit.ADS, LATER, settled=True)
    assert [row.delivery for row in await ledger.accepted(batch)] == [kit.key(1)]
    assert await ledger.held([kit.key(n) for n in numbers]) == {kit.key(4): sealed.label}
    assert await ledger.due(kit.ADS, START, 10) == []
    (again,) = await ledger.due(kit.ADS, LATER, 10)
    assert (again.content.delivery, again.attempt, again.max_rows) == (kit.key(3), 1, 1)


async def test_the_same_rows_sent_again_are_another_batch(store: Store) -> None:
    """The attempt is part of the batch's id: what was released is sealed anew under a new label."""
    await kit.plan(store, kit.conversion(1))
    ledger = Ledger(store, kit.TENANT)
    first = await kit.sent(ledger)
    await ledger.record(Settlement(first, [Shift(kit.key(1), Move.AGAIN)], {}, None), START)
    second = await kit.sent(ledger)
    assert second.label != first.label
    assert second.rows == first.rows


async def test_waiting_rows_come_back_with_their_reason(store: Store) -> None:
    """A row that may not go yet is due later; one that is no longer pending is left alone."""
    await kit.plan(store, kit.conversion(1), kit.conversion(2))
    ledger = Ledger(store, kit.TENANT)
    await ledger.move([Shift(kit.key(2), Move.EXPIRE, "old")], START)
    await ledger.wait({kit.key(n): (LATER, "click too young") for n in (1, 2)})
    assert await ledger.due(kit.ADS, START, 10) == []
    assert [row.content.delivery for row in await ledger.due(kit.ADS, LATER, 10)] == [kit.key(1)]
    codes = {row["id"]: row["code"] for row in await kit.rows(store, schema.delivery)}
    assert codes == {kit.key(1): "click too young", kit.key(2): "old"}


async def test_a_verified_batch_is_settled_for_good(store: Store) -> None:
    """Rows the vendor confirmed move, rows it knows nothing of keep their state and get a remark; nothing is due."""
    numbers = (1, 2, 3, 4)
    await kit.plan(store, *map(kit.conversion, numbers))
    ledger = Ledger(store, kit.TENANT)
    sealed = await kit.sent(ledger)
    accepted = [Shift(kit.key(n), Move.ACCEPT) for n in numbers]
    await ledger.record(Settlement(sealed, accepted, {}, LATER), START)
    moves = (Move.VERIFY, Move.UNLINK, Move.REFUTE)
    shifts = [Shift(kit.key(n), move) for n, move in zip(numbers, moves, strict=False)]
    await ledger.verified(Verdicts(sealed.label, shifts, {kit.key(4): "never_confirmed"}), LATER)
    assert await kit.states(store, *map(kit.key, numbers)) == ["verified", "unlinked", "rejected", "accepted"]
    assert await ledger.open_batches(kit.ADS, LATER, settled=True) == []
    assert {row["id"]: row["code"] for row in await kit.rows(store, schema.delivery)}[kit.key(4)] == "never_confirmed"


async def test_a_settled_batch_forgets_its_bytes_and_nothing_else(store: Store) -> None:
    """Housekeeping drops the bytes of old settled batches; open ones keep theirs."""
    ledger = Ledger(store, kit.TENANT)
    await kit.plan(store, kit.conversion(1))
    settled = await kit.sent(ledger)
    await ledger.record(Settlement(settled, [Shift(kit.key(1), Move.ACCEPT)], {}, None), START)
    await kit.plan(store, kit.conversion(2))
    open_one = await kit.sent(ledger)
    assert await ledger.forget_bodies(START) == 0
    assert await ledger.forget_bodies(LATER) == 1
    bodies = {row["id"]: row["body"] for row in await kit.rows(store, schema.batch)}
    assert bodies == {settled.label: b"", open_one.label: open_one.payload.body}


# --- whose turn it is --------------------------------------------------------------------------------------------


async def test_tenants_and_destinations_see_only_their_own(store: Store) -> None:
    """What is due, open or held for one is invisible to the others."""
    await kit.plan(store, kit.conversion(1))
    await kit.plan(store, kit.conversion(1, tenant="dom"), tenant="dom")
    ledger, other = Ledger(store, kit.TENANT), Ledger(store, "dom")
    assert [row.content.delivery for row in await ledger.due(kit.ADS, START, 10)] == [kit.key(1)]
    assert await ledger.due("elsewhere", START, 10) == []
    await kit.sent(ledger)
    assert await other.open_batches(kit.ADS, LATER, settled=False) == []
    assert [row.content.delivery for row in await other.due(kit.ADS, START, 10)] == [kit.key(1, tenant="dom")]


@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.SEALED, DeliveryState.HELD])
async def test_a_restatement_never_overtakes(store: Store, state: DeliveryState) -> None:
    """While an earlier row of the conversion waits, is on its way or in a human's hands, the later value stays back."""
    ledger = await walk(store, *ROADS[state])
    await kit.plan(store, kit.conversion(1, 1, value=2000), kit.conversion(2))
    expected = {kit.key(1), kit.key(2)} if state is DeliveryState.PENDING else {kit.key(2)}
    assert {row.content.delivery for row in await ledger.due(kit.ADS, START, 10)} == expected


@pytest.mark.parametrize("end", [s for s in DeliveryState if s not in ("pending", "sealed", "held")])
async def test_a_restatement_follows_what_has_ended(store: Store, end: DeliveryState) -> None:
    """Once the earlier row has come to any end, the later value is due; the next one still waits for it."""
    ledger = await walk(store, *ROADS[end])
    await kit.plan(store, kit.conversion(1, 1, value=2000))
    await kit.plan(store, kit.conversion(1, 2, value=2500))
    assert [row.content.delivery for row in await ledger.due(kit.ADS, START, 10)] == [kit.key(1, 1)]


async def test_a_row_that_changed_since_it_was_read_is_sealed_with_its_new_content(store: Store) -> None:
    """Polling may store a new value between reading and sealing: the bytes hold the value stored last."""
    await kit.plan(store, kit.conversion(1))
    ledger = Ledger(store, kit.TENANT)
    due = await ledger.due(kit.ADS, START, 10)
    await kit.replan(store, kit.conversion(1, value=9900))
    sealed = await ledger.seal(kit.ADS, kit.label(due), due, kit.render, START)
    assert due[0].content.value == Money.of(1500, "RUB")
    assert sealed.payload.body.endswith(b"9900.00 RUB")


async def test_a_row_that_is_withdrawn_after_it_was_read_is_not_sealed(store: Store) -> None:
    """Its deal was deleted between reading and sealing: nothing is sealed, and what is due is read again."""
    await kit.plan(store, kit.conversion(1), kit.conversion(2))
    ledger = Ledger(store, kit.TENANT)
    due = await ledger.due(kit.ADS, START, 10)
    await kit.delete(store, 1, Plan(withdrawn=[(kit.known(1, DeliveryState.PENDING), DELETED)]))
    before = await kit.everything(store)
    with pytest.raises(WithdrawnError):
        await ledger.seal(kit.ADS, kit.label(due), due, kit.render, START)
    assert await kit.everything(store) == before
    assert (await kit.sealed(ledger)).rows == (kit.key(2),)


@pytest.mark.parametrize(("there", "back"), [(DeliveryState.SEALED, Move.AGAIN), (DeliveryState.HELD, Move.RESEND)])
@pytest.mark.parametrize("is_restored", [False, True])
async def test_what_was_under_way_when_its_deal_was_deleted_is_not_pending_again(
    store: Store, there: DeliveryState, back: Move, *, is_restored: bool
) -> None:
    """It is cancelled with the reason, unless the deal was restored before."""
    ledger = await walk(store, *ROADS[there])
    for is_recalled in (True, False) if is_restored else (True,):
        await kit.delete(store, 1, Plan(recalled=[(kit.key(1), is_recalled)]))
    assert await ledger.move([Shift(kit.key(1), back, "why")], LATER) == int(not is_restored)
    (row,) = await kit.rows(store, schema.delivery)
    expected = ("pending", "why") if is_restored else ("cancelled", DELETED)
    assert (row["state"], row["code"]) == expected
    assert await Reports(store).broken_chains() == 0


@pytest.mark.parametrize(
    "plan",
    [
        Plan(withdrawn=[(kit.known(1, DeliveryState.PENDING), DELETED)]),
        Plan(recalled=[(kit.key(1), True)]),
        Plan(restored=[(kit.known(1, DeliveryState.CANCELLED), kit.content(kit.conversion(1)))]),
    ],
    ids=["withdrawn", "recalled", "restored"],
)
async def test_a_plan_that_comes_too_late_is_made_anew(store: Store, plan: Plan) -> None:
    """The row has moved on since the plan was made: it stays as it is, and its deal is judged again."""
    ledger = await walk(store)
    if plan.withdrawn:
        await kit.sealed(ledger)
    before = await kit.rows(store, schema.delivery)
    await kit.delete(store, 1, plan)
    assert await kit.rows(store, schema.delivery) == before
    assert await Records(store).dirty(kit.TENANT, kit.SOURCE, START) == ["lead:1"]


@pytest.mark.parametrize("lead", [0.02, 0.08, 0.15])
async def test_a_page_of_new_values_and_a_delivery_do_not_get_in_each_others_way(store: Store, lead: float) -> None:
    """They take the same rows in opposite orders at the same time: both get through, the one after the other."""
    numbers = range(200)
    await kit.plan(store, *map(kit.conversion, numbers))
    ledger = Ledger(store, kit.TENANT)
    due = await ledger.due(kit.ADS, START, 1000)
    newer = [kit.conversion(number, value=9900) for number in reversed(numbers)]
    plans = [Plan(replaced=[(kit.content(one).delivery, kit.content(one))], revised=[one]) for one in newer]
    items = [kit.assessed(kit.deal(n, "v2"), plan) for n, plan in zip(reversed(numbers), plans, strict=True)]
    writing = asyncio.create_task(Records(store).write_page(kit.page(*items)))
    await asyncio.sleep(lead)
    sealed = await ledger.seal(kit.ADS, kit.label(due), due, kit.render, START)
    await writing
    assert len(sealed.rows) == len(numbers)
    assert set(await kit.states(store, *sealed.rows)) == {"sealed"}
