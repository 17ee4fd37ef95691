"""Repair: each proof turns a lost answer into the right recovery, and nothing is ever sent twice without one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.errors import Ambiguous, Throttled, Unavailable
from bridge.loops import deliver, reconcile
from bridge.ports import Answer, Fate, Proof, RowOutcome, Sealed
from bridge.store import Store
from bridge.store.codec import moment
from tests.store import kit as rows_kit
from tests.store.kit import ADS
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, Ads, Office, accept, answered, office

VISIBILITY = timedelta(minutes=5)
PROOFS = list(Proof)


async def lose(store: Store, ads: Ads, count: int = 2) -> Office:
    """These rows were sent and their answer is lost; time passes until the repair is due."""
    made = office(store, {ADS: ads})
    await made.promise(*range(1, count + 1))
    await deliver.once(made.tenant)
    assert await made.states() == {"sealed": count}
    made.clock.advance(MINUTE)
    return made


def lossy(proof: Proof) -> Ads:
    """The first answer gets lost, then the line is good."""
    return Ads(sends=[Ambiguous("lost"), accept]).proving(proof, visibility=VISIBILITY)


@pytest.mark.parametrize("proof", PROOFS)
async def test_what_was_sealed_and_never_sent_is_sent(proof: Proof, store: Store) -> None:
    """A crash before the socket was touched: there is nothing to prove, the stored bytes go out."""
    ads = Ads().proving(proof)
    made = office(store, {ADS: ads})
    await made.promise(1, 2)
    sealed = await rows_kit.sealed(made.tenant.ledger)
    await reconcile.once(made.tenant)
    assert [(batch.label, batch.payload) for batch in ads.sent] == [(sealed.label, sealed.payload)]
    assert await made.states() == {"accepted": 2}
    assert ads.looked_up == []


@pytest.mark.parametrize("proof", PROOFS)
async def test_an_open_batch_is_not_touched_before_it_is_due(proof: Proof, store: Store) -> None:
    """Repair begins a little later, not at once."""
    ads = lossy(proof)
    made = office(store, {ADS: ads})
    await made.promise(1)
    await deliver.once(made.tenant)
    await reconcile.once(made.tenant)
    assert (len(ads.sent), ads.looked_up) == (1, [])
    assert await made.states() == {"sealed": 1}


# --- ROW ---------------------------------------------------------------------------------------------------------


async def test_row_sends_the_same_bytes_again(store: Store) -> None:
    """Same label, same bytes: the vendor recognises each row by itself."""
    ads = lossy(Proof.ROW)
    made = await lose(store, ads)
    await reconcile.once(made.tenant)
    first, second = ads.sent
    assert (first.label, first.payload, first.rows) == (second.label, second.payload, second.rows)
    assert await made.states() == {"accepted": 2}


async def test_row_goes_on_until_an_answer_comes_with_growing_pauses(store: Store) -> None:
    """Every answer is lost: the same bytes each time, ever more seldom."""
    ads = Ads(sends=[Ambiguous("lost")])
    made = await lose(store, ads)
    times = []
    for _ in range(8):
        (batch,) = await made.batches()
        made.clock.set(moment(batch["due"]))
        times.append(made.clock.now())
        await reconcile.once(made.tenant)
    assert set(ads.bodies) == {ads.bodies[0]}
    assert len(ads.sent) == 9
    assert times[-1] - times[0] > 15 * MINUTE
    ads.sends = [accept]
    made.clock.advance(DAY)
    await reconcile.once(made.tenant)
    assert await made.states() == {"accepted": 2}


async def test_an_answer_that_cannot_be_written_down_is_asked_for_ever_more_slowly(store: Store) -> None:
    """A fault of the adapter (its receipt is no JSON): the batch stays in doubt, with the pauses of a lost answer."""

    def unwritable(batch: Sealed) -> Answer:
        return Answer(accept(batch).outcomes, {"upload": object()})  # type: ignore[dict-item]  # that is the fault

    ads = Ads(sends=[Ambiguous("lost"), unwritable])
    made = await lose(store, ads)
    times = []
    for _ in range(8):
        (batch,) = await made.batches()
        made.clock.set(moment(batch["due"]))
        times.append(made.clock.now())
        assert (await reconcile.once(made.tenant)).problems
    assert times[-1] - times[0] > 15 * MINUTE
    assert await made.states() == {"sealed": 2}
    ads.sends = [accept]
    made.clock.advance(DAY)
    await reconcile.once(made.tenant)
    assert await made.states() == {"accepted": 2}


async def test_only_what_was_repaired_is_counted_as_that(store: Store) -> None:
    """A batch that cannot be seen there yet waits; with its answer found it is repaired."""
    made = await lose(store, lossy(Proof.TAG))
    assert (await reconcile.once(made.tenant)).done["reconciled"] == 0
    made.clock.advance(DAY)
    assert (await reconcile.once(made.tenant)).done["reconciled"] == 1


async def test_row_may_come_to_certainly_not_sent(store: Store) -> None:
    """The repetition was turned away: the rows are pending again and go out in another batch."""
    ads = Ads(sends=[Ambiguous("lost"), Throttled("slow", retry_after=60), accept])
    made = await lose(store, ads)
    await reconcile.once(made.tenant)
    assert await made.states() == {"pending": 2}
    made.clock.advance(HOUR)
    await deliver.once(made.tenant)
    assert await made.states() == {"accepted": 2}


# --- TAG ---------------------------------------------------------------------------------------------------------


async def test_tag_records_what_the_vendor_shows_and_sends_nothing(store: Store) -> None:
    """The label is there: its answer is recorded, with the receipt to verify by."""
    ads = lossy(Proof.TAG)
    ads.lookups = [accept]
    made = await lose(store, ads)
    await reconcile.once(made.tenant)
    assert (len(ads.sent), ads.looked_up) == (1, [ads.sent[0].label])
    assert await made.states() == {"accepted": 2}
    (batch,) = await made.batches()
    assert b'"upload"' in batch["receipt"]
    assert batch["due"] is not None


async def test_tag_waits_while_the_label_may_not_be_visible_yet(store: Store) -> None:
    """Absent and young: look again, send nothing; absent and old: it was never applied, send the same bytes."""
    ads = lossy(Proof.TAG)
    made = await lose(store, ads)
    sent_at = START
    while made.clock.now() < sent_at + VISIBILITY:
        await reconcile.once(made.tenant)
        assert len(ads.sent) == 1
        made.clock.advance(MINUTE)
    await reconcile.once(made.tenant)
    first, second = ads.sent
    assert (first.label, first.payload) == (second.label, second.payload)
    assert await made.states() == {"accepted": 2}
    assert len(ads.looked_up) >= 4


async def test_tag_does_not_send_while_it_cannot_look(store: Store) -> None:
    """No answer to the question is no proof of absence, however old the batch is."""
    ads = lossy(Proof.TAG)
    ads.lookups = [Unavailable("down")]
    made = await lose(store, ads)
    for _ in range(5):
        made.clock.advance(DAY)
        progress = await reconcile.once(made.tenant)
        assert progress.problems == [f"{ADS}: Unavailable: down"]
    assert len(ads.sent) == 1
    assert await made.states() == {"sealed": 2}
    ads.lookups = [accept]
    made.clock.advance(DAY)
    await reconcile.once(made.tenant)
    assert (len(ads.sent), await made.states()) == (1, {"accepted": 2})


async def test_tag_counts_visibility_from_the_last_sending(store: Store) -> None:
    """A second sending whose answer is lost, too, must become visible itself before a third."""
    ads = Ads(sends=[Ambiguous("lost"), Ambiguous("lost again"), accept]).proving(Proof.TAG, visibility=HOUR)
    made = await lose(store, ads)
    made.clock.advance(2 * HOUR)
    await reconcile.once(made.tenant)
    assert len(ads.sent) == 2
    made.clock.advance(30 * MINUTE)
    await reconcile.once(made.tenant)
    assert len(ads.sent) == 2
    made.clock.advance(30 * MINUTE)
    await reconcile.once(made.tenant)
    assert len(ads.sent) == 3


async def test_tag_believes_no_answer_that_does_not_name_every_row(store: Store) -> None:
    """What the vendor shows under the label is another batch, or a part: unknown, neither success nor absence."""

    def part(batch: Sealed) -> Answer:
        return Answer((RowOutcome(batch.rows[0], Fate.ACCEPTED),))

    ads = lossy(Proof.TAG)
    ads.lookups = [part]
    made = await lose(store, ads)
    made.clock.advance(DAY)
    await reconcile.once(made.tenant)
    assert len(ads.sent) == 1
    assert await made.states() == {"sealed": 2}


async def test_tag_records_rejections_that_are_found(store: Store) -> None:
    """The vendor's own record may say no."""
    ads = lossy(Proof.TAG)
    ads.lookups = [answered(Fate.REJECTED, "bad_file")]
    made = await lose(store, ads)
    await reconcile.once(made.tenant)
    assert await made.states() == {"rejected": 2}
    assert {row["code"] for row in (await made.rows()).values()} == {"bad_file"}


# --- NONE --------------------------------------------------------------------------------------------------------


async def test_none_holds_the_rows_for_a_human(store: Store) -> None:
    """Not sent again by itself, however often it is looked at."""
    ads = lossy(Proof.NONE)
    made = await lose(store, ads)
    for _ in range(3):
        await reconcile.once(made.tenant)
        await deliver.once(made.tenant, force=True)
        made.clock.advance(DAY)
    assert (len(ads.sent), ads.looked_up) == (1, [])
    assert await made.states() == {"held": 2}
    assert {row["code"] for row in (await made.rows()).values()} == {"answer_lost"}


@pytest.mark.parametrize(("choice", "sends", "after"), [("resend", 2, {"accepted": 2}), ("drop", 1, {"cancelled": 2})])
async def test_none_does_what_the_configuration_chose(
    choice: str, sends: int, after: dict[str, int], store: Store
) -> None:
    """Resend: the same bytes once more; drop: never again, with a reason."""
    ads = lossy(Proof.NONE)
    made = office(store, {ADS: ads}, when_unsure=choice)
    await made.promise(1, 2)
    await deliver.once(made.tenant)
    made.clock.advance(MINUTE)
    await reconcile.once(made.tenant)
    assert await made.states() == after
    assert len(ads.sent) == sends
    assert len(set(ads.bodies)) == 1


@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_crash_leaves_no_row_held_where_the_configuration_drops(side: str, tmp_path: Path) -> None:
    """Dropping is one commit: on either side of it the rows are in doubt or cancelled, and nobody is asked."""

    class Crash(BaseException):
        """The process ends here."""

    def crash(label: str) -> None:
        if label.startswith(side):
            raise Crash

    url = f"sqlite:///{tmp_path / 'crashing.db'}"
    ads = lossy(Proof.NONE)
    calm = await Store.open(url)
    made = office(calm, {ADS: ads}, when_unsure="drop")
    await made.promise(1, 2)
    await deliver.once(made.tenant)
    crashing = await Store.open(url, crash)
    doomed = office(crashing, {ADS: ads}, when_unsure="drop")
    for one in (doomed, made):
        one.clock.advance(MINUTE)
    with pytest.raises(Crash):
        await reconcile.once(doomed.tenant)
    await crashing.close()
    assert await made.states() == ({"sealed": 2} if side == "before" else {"cancelled": 2})
    await reconcile.once(made.tenant)
    assert (await made.states(), len(ads.sent)) == ({"cancelled": 2}, 1)
    await calm.close()


# --- two processes ---


async def test_two_processes_that_repair_the_same_batch_send_it_once(store: Store) -> None:
    """Both found it absent before either sends (one of them has lost its lock and does not know yet)."""
    both_looked = asyncio.Barrier(2)

    class Watched(Ads):
        async def lookup(self, batch: Sealed, sent_at: object) -> Answer | None:
            await both_looked.wait()
            return None

    ads = Watched(sends=[Ambiguous("lost"), accept]).proving(Proof.TAG, visibility=VISIBILITY)
    made = await lose(store, ads)
    rival = office(store, {ADS: ads})
    for one in (made, rival):
        one.clock.set(START + HOUR)
    await asyncio.gather(reconcile.once(made.tenant), reconcile.once(rival.tenant))
    assert len(ads.sent) == 2, "the first sending, and one more"
    assert await made.states() == {"accepted": 2}


# --- several -----------------------------------------------------------------------------------------------------


async def test_a_bug_in_one_adapter_does_not_keep_another_from_repair(store: Store) -> None:
    """Its batch stays open; the other destination's is repaired in the same turn."""

    class Broken(Ads):
        async def lookup(self, batch: Sealed, sent_at: object) -> Answer | None:
            raise ZeroDivisionError

    broken, well = Broken(sends=[Ambiguous("lost")]).proving(Proof.TAG), lossy(Proof.ROW)
    made = office(store, {"broken": broken, ADS: well})
    await made.promise(1)
    ordinary = rows_kit.promise(rows_kit.conversion(2), destination="broken")
    await made.tenant.records.write_page(rows_kit.page(rows_kit.assessed(rows_kit.deal(2), ordinary)))
    await deliver.once(made.tenant)
    made.clock.advance(DAY)
    progress = await reconcile.once(made.tenant)
    assert [problem.startswith("broken: ZeroDivisionError") for problem in progress.problems] == [True]
    assert await made.states() == {"accepted": 1, "sealed": 1}
