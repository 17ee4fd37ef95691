"""Sending: seal, mark, send, record; and what becomes of rows whose batch was not simply accepted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import (
    Ambiguous,
    AuthError,
    BridgeError,
    Drift,
    Refused,
    RowRejected,
    StoreError,
    Throttled,
    Unavailable,
)
from bridge.loops import deliver, trouble
from bridge.model import Outgoing
from bridge.ports import Admission, Answer, Fate, Pass, Payload, RowOutcome, Sealed
from bridge.states import BatchState, Move
from bridge.store import Store, schema
from bridge.store.codec import micros, moment
from bridge.store.ledger import Settlement
from bridge.store.moves import Shift
from bridge.store.records import Records
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT, key
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, Ads, accept, answered, office, splitting

STRANGER = "f" * 32


async def test_what_is_due_is_sent_once_and_recorded(store: Store) -> None:
    """The bytes that went out are those that were stored; every row has its outcome, the batch its receipt and the
    time of its first verification; another turn sends nothing."""
    ads = Ads()
    made = office(store, {ADS: ads})
    await made.promise(1, 2, 3)
    progress = await deliver.once(made.tenant)
    assert (progress.done["accepted"], progress.problems) == (3, [])
    assert await made.states() == {"accepted": 3}
    (batch,) = await made.batches()
    assert (batch["state"], batch["body"]) == ("done", ads.bodies[0])
    assert moment(batch["due"]) == START + ads.traits.verify_first  # type: ignore[operator]  # it has one
    assert b'"upload"' in batch["receipt"]
    await deliver.once(made.tenant, force=True)
    assert len(ads.sent) == 1


async def test_a_destination_is_served_no_more_often_than_it_says(store: Store) -> None:
    """``send_every`` passes between two turns, unless the operator insists."""
    ads = Ads()
    made = office(store, {ADS: ads}, send_every="5m")
    await made.promise(1)
    await deliver.once(made.tenant)
    await made.promise(2)
    made.clock.advance(4 * MINUTE)
    await deliver.once(made.tenant)
    assert len(ads.sent) == 1
    await deliver.once(made.tenant, force=True)
    assert len(ads.sent) == 2


async def test_rows_of_different_keys_and_too_many_rows_share_no_batch(store: Store) -> None:
    """The destination's own limits cut the batches."""
    ads = Ads(size=2)
    made = office(store, {ADS: ads})
    await made.promise(1, 2, 3, 4, 5)
    await deliver.once(made.tenant)
    assert sorted(len(batch.rows) for batch in ads.sent) == [1, 2, 2]
    assert await made.states() == {"accepted": 5}


# --- answers -----------------------------------------------------------------------------------------------------


def _silent(batch: Sealed) -> Answer:
    return Answer(accept(batch).outcomes[1:])


def _doubling(batch: Sealed) -> Answer:
    return Answer((*accept(batch).outcomes, accept(batch).outcomes[0]))


def _strange(batch: Sealed) -> Answer:
    return Answer((*accept(batch).outcomes[1:], RowOutcome(STRANGER, Fate.ACCEPTED)))


@pytest.mark.parametrize("reply", [_silent, _doubling, _strange, lambda _: Answer(())])
async def test_an_answer_that_does_not_name_every_row_once_is_in_doubt(
    reply: Callable[[Sealed], Answer], store: Store
) -> None:
    """Never success: the batch stays ``sending`` for proof to decide, no row is recorded."""
    made = office(store, {ADS: Ads(sends=[reply])})
    await made.promise(1, 2)
    progress = await deliver.once(made.tenant)
    assert progress.done["in_doubt"] == 1
    assert await made.states() == {"sealed": 2}
    assert [batch["state"] for batch in await made.batches()] == ["sending"]


@pytest.mark.parametrize("error", [Ambiguous("lost"), Drift("half an answer"), KeyError("a bug in the adapter")])
async def test_a_lost_answer_leaves_the_batch_for_proof(error: Exception, store: Store) -> None:
    """Whatever went wrong after the bytes may have left; nothing is sent again by delivering."""
    ads = Ads(sends=[error])
    made = office(store, {ADS: ads})
    await made.promise(1)
    await deliver.once(made.tenant)
    made.clock.advance(DAY)
    await deliver.once(made.tenant)
    assert len(ads.sent) == 1
    (batch,) = await made.batches()
    assert (batch["state"], batch["error"]) == ("sending", type(error).__name__)
    assert START < moment(batch["due"]) <= START + 30 * timedelta(seconds=1)


async def test_a_rejected_row_keeps_its_code_and_the_others_go_on(store: Store) -> None:
    """One outcome each, as the answer says."""
    made = office(store, {ADS: (ads := Ads())})
    bad, good = await made.promise(1, 2)
    ads.sends = [lambda _: Answer((RowOutcome(good, Fate.ACCEPTED), RowOutcome(bad, Fate.REJECTED, "no_such_click")))]
    await deliver.once(made.tenant)
    rows = await made.rows()
    assert (rows[bad]["state"], rows[bad]["code"]) == ("rejected", "no_such_click")
    assert rows[good]["state"] == "accepted"


async def test_a_batch_without_an_accepted_row_is_not_verified(store: Store) -> None:
    """There is nothing to ask the vendor."""
    made = office(store, {ADS: Ads(sends=[answered(Fate.REJECTED, "no")])})
    await made.promise(1)
    await deliver.once(made.tenant)
    assert [batch["due"] for batch in await made.batches()] == [None]


async def test_a_row_that_shall_come_again_waits_as_long_as_it_is_told(store: Store) -> None:
    """Its attempt is counted, and its next batch is another one."""
    later = START + 7 * HOUR
    ads = Ads(sends=[answered(Fate.AGAIN, "click_age", later), accept])
    made = office(store, {ADS: ads})
    (row,) = await made.promise(1)
    await deliver.once(made.tenant)
    stored = (await made.rows())[row]
    assert (stored["state"], stored["attempt"], stored["code"]) == ("pending", 1, "click_age")
    assert moment(stored["due"]) == later
    made.clock.set(later - MINUTE)
    await deliver.once(made.tenant)
    assert len(ads.sent) == 1
    made.clock.set(later)
    await deliver.once(made.tenant)
    assert len(ads.sent) == len({batch.label for batch in ads.sent}) == 2


@pytest.mark.parametrize("bad", [1, 5, 8])
async def test_a_bad_row_that_is_not_named_is_found_by_halves(bad: int, store: Store) -> None:
    """In one turn: the bad row is rejected with the vendor's code, the seven others are accepted, in few sends."""
    ads = Ads()
    made = office(store, {ADS: ads})
    keys = await made.promise(*range(1, 9))
    ads.sends = [splitting(keys[bad - 1])]
    await deliver.once(made.tenant)
    assert await made.states() == {"accepted": 7, "rejected": 1}
    rejected = (await made.rows())[keys[bad - 1]]
    assert (rejected["state"], rejected["code"]) == ("rejected", "bad_row")
    assert len(ads.sent) <= 7


# --- trouble -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "shortest", "longest", "code"),
    [
        (AuthError("no"), deliver.AUTH_PAUSE, deliver.AUTH_PAUSE, "autherror"),
        (Throttled("slow", retry_after=120), 2 * MINUTE, 2 * MINUTE, "throttled"),
        (Throttled("slow"), timedelta(seconds=3), timedelta(seconds=30), "throttled"),
        (Unavailable("down"), timedelta(seconds=3), timedelta(seconds=30), "unavailable"),
        (StoreError("token: no answer"), timedelta(seconds=3), timedelta(seconds=30), "storeerror"),
        (Refused("no such goal", code="invalid_goal"), deliver.SETUP_PAUSE, deliver.SETUP_PAUSE, "invalid_goal"),
    ],
)
async def test_what_certainly_did_not_arrive_is_pending_again(
    error: BridgeError, shortest: timedelta, longest: timedelta, code: str, store: Store
) -> None:
    """After a pause that fits the error; the destination says that it is in trouble, and recovers by itself."""
    ads = Ads(sends=[error, accept])
    made = office(store, {ADS: ads})
    (row,) = await made.promise(1)
    progress = await deliver.once(made.tenant)
    assert progress.problems == [f"{ADS}: {type(error).__name__}: {error}"]
    stored = (await made.rows())[row]
    assert (stored["state"], stored["attempt"], stored["code"]) == ("pending", 1, code)
    assert START + shortest <= moment(stored["due"]) <= START + longest
    assert await made.tenant.ledger.destination_due(ADS) == START + MINUTE
    assert await made.tenant.troubles.failing(trouble.SEND) == {ADS}
    made.clock.advance(HOUR)
    await deliver.once(made.tenant)
    assert await made.states() == {"accepted": 1}
    assert await made.tenant.troubles.failing(trouble.SEND) == set()


async def test_pauses_grow_with_the_attempts(store: Store) -> None:
    """An outage of days costs dozens of attempts, not one a minute."""
    ads = Ads(sends=[Unavailable("down")])
    made = office(store, {ADS: ads})
    await made.promise(1)
    for _ in range(3 * 24 * 60):
        made.clock.advance(MINUTE)
        if await made.tenant.ledger.destination_due(ADS) <= made.clock.now():
            (row,) = (await made.rows()).values()
            made.clock.set(moment(row["due"]))  # nothing happens before
        await deliver.once(made.tenant)
        if made.clock.now() > START + 3 * DAY:
            break
    assert 12 <= len(ads.sent) <= 60


@given(st.integers(1, 40))
def test_a_pause_is_never_longer_than_six_hours_nor_shorter_than_three_seconds(attempt: int) -> None:
    """Full jitter below a ceiling that doubles."""
    tenant = office(Store("sqlite:///unused.db")).tenant
    pauses = [deliver.pause(tenant, attempt) for _ in range(20)]
    ceiling = min(timedelta(seconds=30) * 2 ** (attempt - 1), 6 * HOUR)
    assert all(ceiling / 10 <= one <= ceiling for one in pauses)


async def test_a_destination_in_trouble_is_left_alone_after_one_batch(store: Store) -> None:
    """The others of its batches would fail alike; they stay pending, untouched."""
    ads = Ads(sends=[Unavailable("down")], size=1)
    made = office(store, {ADS: ads})
    await made.promise(1, 2, 3)
    await deliver.once(made.tenant)
    assert len(ads.sent) == 1
    assert sorted(row["attempt"] for row in (await made.rows()).values()) == [0, 0, 1]


@pytest.mark.parametrize("error", [AuthError("no", is_final=True), Ambiguous("lost"), ZeroDivisionError()])
async def test_one_destinations_trouble_is_not_anothers(error: Exception, store: Store) -> None:
    """Both are served in the same turn, in whatever order they are configured."""
    dead, well = Ads(sends=[error]), Ads()
    made = office(store, {"dead": dead, ADS: well})
    await made.promise(1)
    await _promise_to(store, "dead", 2)
    await deliver.once(made.tenant)
    assert (len(dead.sent), len(well.sent)) == (1, 1)
    assert (await made.states())["accepted"] == 1


async def test_an_adapter_that_cannot_even_render_hurts_itself_alone(store: Store) -> None:
    """Its bug is a problem of that destination; its rows stay pending, the other destination is served."""
    broken, well = Broken(), Ads()
    made = office(store, {"broken": broken, ADS: well})
    await made.promise(1)
    await _promise_to(store, "broken", 2)
    progress = await deliver.once(made.tenant)
    assert await made.states() == {"accepted": 1, "pending": 1}
    assert progress.problems == ["broken: ZeroDivisionError in the adapter; the log says where"]
    assert await made.tenant.troubles.failing(trouble.SEND) == {"broken"}


class Broken(Ads):
    """An adapter with a bug."""

    def render(self, rows: object, label: str) -> object:  # type: ignore[override]  # it never returns
        return 1 / 0


class Choosy(Ads):
    """An adapter that fails at some rows: with a bug, or with a rejection of its own."""

    def __init__(self, *bad: str, error: Exception | None = None, at: str = "render", size: int = 1000) -> None:
        super().__init__(size=size)
        self.bad, self.error, self.at = set(bad), error or ZeroDivisionError(), at
        self.rendered = 0

    def _look(self, at: str, *rows: Outgoing) -> None:
        if at == self.at and self.bad & {row.delivery for row in rows}:
            raise self.error

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        self._look("admit", row)
        return Ads.admit(self, row, now)

    def batch_key(self, row: Outgoing) -> str:
        self._look("batch_key", row)
        return Ads.batch_key(self, row)

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        self.rendered += 1
        self._look("render", *rows)
        return Ads.render(self, rows, label)


@pytest.mark.parametrize("number", [1, 6, 8])
@pytest.mark.parametrize(
    ("at", "error", "code"),
    [
        ("admit", ZeroDivisionError(), "admit_failed"),
        ("admit", RowRejected("no", code="no_such_thing"), "no_such_thing"),
        ("batch_key", KeyError("x"), "admit_failed"),
        ("render", ZeroDivisionError(), "render_failed"),
        ("render", RowRejected("no", code="no_such_thing"), "no_such_thing"),
    ],
)
async def test_one_row_an_adapter_fails_at_is_rejected_and_the_others_are_sent(
    at: str, error: Exception, code: str, number: int, store: Store
) -> None:
    """In the same turn; the row says why, by the adapter's own word if it has one. The destination is well."""
    made = office(store, {ADS: (ads := Choosy(key(number), error=error, at=at))})
    keys = await made.promise(*range(1, 9))
    progress = await deliver.once(made.tenant)
    assert (progress.problems, progress.done["accepted"], progress.done["rejected"]) == ([], 7, 1)
    rows = await made.rows()
    assert (rows[key(number)]["state"], rows[key(number)]["code"]) == ("rejected", code)
    assert sorted(row for batch in ads.sent for row in batch.rows) == sorted(set(keys) - {key(number)})
    assert ads.rendered <= 7


@pytest.mark.parametrize("at", ["admit", "render"])
async def test_an_adapter_that_manages_no_row_loses_none(at: str, store: Store) -> None:
    """Then the fault is its own: every row stays pending and the destination is in trouble; repaired, it sends them
    all."""
    keys = [key(number) for number in range(1, 9)]
    made = office(store, {ADS: (ads := Choosy(*keys, at=at))})
    await made.promise(*range(1, 9))
    progress = await deliver.once(made.tenant)
    assert progress.problems == [f"{ADS}: ZeroDivisionError in the adapter; the log says where"]
    assert await made.states() == {"pending": 8}
    ads.bad.clear()
    await deliver.once(made.tenant, force=True)
    assert await made.states() == {"accepted": 8}


async def test_a_row_its_adapter_rejects_by_name_needs_no_other_beside_it(store: Store) -> None:
    """It is no fault of the adapter: the destination is well."""
    made = office(store, {ADS: Choosy(key(1), error=RowRejected("no", code="no_such_thing"))})
    await made.promise(1)
    assert (await deliver.once(made.tenant)).problems == []
    assert await made.states() == {"rejected": 1}


async def test_a_row_that_cannot_be_rendered_holds_up_no_other_batch(store: Store) -> None:
    """Alone in its own, the first of three."""
    made = office(store, {ADS: (ads := Choosy(key(1), size=1))})
    await made.promise(1, 2, 3)
    await deliver.once(made.tenant)
    assert await made.states() == {"rejected": 1, "accepted": 2}
    assert len(ads.sent) == 2


async def test_a_row_that_cannot_be_rendered_does_not_use_up_a_turn(store: Store) -> None:
    """However long it took to get there: what is behind it is sent, and it alone is rejected."""
    made = office(store, {ADS: Choosy(key(1), size=1)})
    await made.promise(1)
    made.clock.advance(timedelta(seconds=1))
    await made.promise(2)
    assert (await deliver.turn(made.tenant, most=0.0)).problems == []
    assert await made.states() == {"rejected": 1, "accepted": 1}


async def test_rows_that_cannot_be_rendered_together_are_sent_apart(store: Store) -> None:
    """Each is well by itself: none is rejected."""
    made = office(store, {ADS: (ads := Narrow())})
    await made.promise(1, 2, 3, 4, 5)
    await deliver.once(made.tenant)
    assert await made.states() == {"accepted": 5}
    assert max(len(batch.rows) for batch in ads.sent) == 2


class Narrow(Ads):
    """An adapter that cannot write more than two rows, whatever it says of its batches."""

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        if len(rows) > 2:
            raise ValueError("too many")
        return Ads.render(self, rows, label)


async def test_a_row_too_old_is_given_up_without_asking_the_adapter(store: Store) -> None:
    """A row at which it always fails does not stay for ever."""
    made = office(store, {ADS: Choosy(key(1), at="admit")})
    await made.promise(1)
    made.clock.advance(22 * DAY)
    assert (await deliver.once(made.tenant)).problems == []
    assert await made.states() == {"expired": 1}


async def _promise_to(store: Store, destination: str, number: int) -> None:
    made = rows_kit.conversion(number)
    plan = rows_kit.promise(made, destination=destination)
    page = rows_kit.page(rows_kit.assessed(rows_kit.deal(number), plan))
    await Records(store).write_page(page)
    assert page.tenant == TENANT


@pytest.mark.parametrize(("end", "state"), [(Move.CANCEL, "rejected"), (Move.CONFIRM, "accepted")])
async def test_what_an_operator_cancelled_is_not_sent_as_its_own_correction(
    end: Move, state: str, store: Store
) -> None:
    """A later value, promised while the first row was held, is refused with it; confirmed, it is corrected."""
    ads = Ads()
    made = office(store, {ADS: ads})
    (first,) = await made.promise(1)
    sealed = await rows_kit.sent(made.tenant.ledger)
    held = [Shift(first, Move.HOLD, "answer_lost")]
    await made.tenant.ledger.record(Settlement(sealed, held, {}, None, state=BatchState.HELD), START)
    await rows_kit.plan(store, rows_kit.conversion(1, 1, value=2000))
    await deliver.once(made.tenant)
    assert await made.states() == {"held": 1, "pending": 1}
    await made.tenant.ledger.move([Shift(first, end, "operator")], START)
    await deliver.once(made.tenant, force=True)
    later = (await made.rows())[key(1, 1)]
    assert later["state"] == state
    assert later["code"] == ("original_cancelled" if end is Move.CANCEL else None)
    assert len(ads.sent) == (0 if end is Move.CANCEL else 1)


# --- admission ---------------------------------------------------------------------------------------------------


async def test_rows_that_may_not_go_now_wait_expire_or_are_refused_with_a_reason(store: Store) -> None:
    """Only the row that may go is sent; each of the others says why not."""
    ads = Ads()
    made = office(store, {ADS: ads})
    waits, old, wrong, good = await made.promise(1, 2, 3, 4)
    ads.passes = {
        waits: Admission(Pass.WAIT, "click_age", START + HOUR),
        old: Admission(Pass.EXPIRED, "window_21d"),
        wrong: Admission(Pass.REFUSED, "no_identifier"),
    }
    await deliver.once(made.tenant)
    rows = await made.rows()
    assert [(rows[one]["state"], rows[one]["code"]) for one in (waits, old, wrong, good)] == [
        ("pending", "click_age"),
        ("expired", "window_21d"),
        ("rejected", "no_identifier"),
        ("accepted", None),
    ]
    assert rows[waits]["due"] == micros(START + HOUR)
    assert rows[waits]["attempt"] == 0
    assert [batch.rows for batch in ads.sent] == [(good,)]


async def test_what_could_not_be_sent_for_too_long_is_given_up(store: Store) -> None:
    """At the destination's own limit, with a code, and not before it."""
    ads = Ads(sends=[Unavailable("down")])
    made = office(store, {ADS: ads})
    (row,) = await made.promise(1)
    made.clock.advance(ads.traits.give_up_after)
    await deliver.once(made.tenant)
    assert (await made.rows())[row]["state"] == "pending"
    made.clock.advance(DAY)
    await deliver.once(made.tenant)
    stored = (await made.rows())[row]
    assert (stored["state"], stored["code"]) == ("expired", "gave_up")
    assert len(ads.sent) == 1


async def test_every_move_is_in_the_chain_of_events(store: Store) -> None:
    """Planned, sealed, back again, sealed, accepted: each with its batch and code."""
    ads = Ads(sends=[Unavailable("down"), accept])
    made = office(store, {ADS: ads})
    await made.promise(1)
    await deliver.once(made.tenant)
    made.clock.advance(HOUR)
    await deliver.once(made.tenant)
    events = await rows_kit.rows(store, schema.delivery_event)
    assert [(event["before"], event["after"], event["code"]) for event in events] == [
        (None, "pending", None),
        ("pending", "sealed", None),
        ("sealed", "pending", "unavailable"),
        ("pending", "sealed", None),
        ("sealed", "accepted", None),
    ]
    first, second = (batch.label for batch in ads.sent)
    assert [event["batch"] for event in events] == [None, first, first, second, second]


async def test_a_slow_destination_gives_way_to_the_others(store: Store) -> None:
    """Of a pile it sends a part and stays due with the rest; the others have their turn in between."""
    slow, quick = Ads(size=1), Ads()
    made = office(store, {ADS: slow, "quick": quick})
    pile = await made.promise(1, 2, 3)
    progress = await deliver.turn(made.tenant, most=0.0)
    assert (len(slow.sent), progress.unfinished) == (1, {ADS})
    promised = rows_kit.promise(rows_kit.conversion(4), destination="quick")
    await Records(store).write_page(rows_kit.page(rows_kit.assessed(rows_kit.deal(4), promised)))
    while (await deliver.turn(made.tenant, most=0.0)).unfinished:
        assert len(quick.sent) == 1
    assert sorted(row for batch in slow.sent for row in batch.rows) == sorted(pile)
    assert await made.states() == {"accepted": 4}
