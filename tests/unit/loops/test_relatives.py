"""Records that became one, payments that moved: nothing is counted on both, and nothing is lost between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest

from bridge.config import Goal
from bridge.frozen import replace
from bridge.loops import assess, deliver, poll, verify
from bridge.model import Deal, DealKind, Money, Outcome, Payment, PaymentState
from bridge.ports import RowVerdict, Seen
from bridge.states import DeliveryState
from bridge.store import Store, schema
from tests.store import kit as rows_kit
from tests.store.kit import ADS
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, TRAITS, Ads, Crm, Office, office
from tests.unit.loops.test_family import at_work, counted_on, read
from tests.unit.loops.test_poll import NAMES, lead

LOSER, SURVIVOR = lead(1), lead(2)
AWAY = Deal(DealKind.LEAD, "1", "gone", START, START, "", "", Outcome.OPEN, is_deleted=True, merged_into="lead:2")
STILL_OPEN = lead(2, stage="10", version="v0")


async def sent(made: Office) -> None:
    """What is promised goes out."""
    made.clock.advance(MINUTE)
    await deliver.once(made.tenant, force=True)


async def told_of_the_loser(store: Store) -> tuple[Crm, Office]:
    """Two leads, of which the one that will be merged away has been sold, and that was sent."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, LOSER, STILL_OPEN)
    await sent(made)
    return crm, made


async def states(store: Store) -> dict[str, DeliveryState]:
    """What became of the promises, by deal."""
    of = {row["id"]: row["deal"] for row in await rows_kit.rows(store, schema.conversion)}
    found = await rows_kit.rows(store, schema.delivery)
    return {of[row["conversion"]]: DeliveryState(row["state"]) for row in found}


@pytest.mark.parametrize("pages", [[[AWAY], [SURVIVOR]], [[AWAY, SURVIVOR]], [[SURVIVOR, AWAY]]])
async def test_what_was_sent_of_a_merged_record_is_not_sent_of_the_survivor(
    pages: Sequence[Sequence[Deal]], store: Store
) -> None:
    """The survivor wins the same sale: it says on which record that is counted, however often it is read again."""
    crm, made = await told_of_the_loser(store)
    for page in pages:
        await read(made, crm, *page)
    await read(made, crm, replace(SURVIVOR, version="v9"))
    await read(made, crm, replace(AWAY, version="told again, without the survivor", merged_into=None))
    await read(made, crm, replace(SURVIVOR, version="v10"))
    assert await counted_on(store) == [LOSER.key]
    (told,) = (await made.explained(SURVIVOR.key))["not_promised"]
    assert told["reason"] == f"counted on {LOSER.key}"


async def test_a_merge_is_known_on_the_next_page_of_one_poll(store: Store) -> None:
    """The first there ever was of this source."""
    crm, made = await told_of_the_loser(store)
    pages = [[AWAY, *map(lead, range(1000, 1400))], [SURVIVOR, *map(lead, range(2000, 2400))]]
    crm.scans = [[crm.shows(*page) for page in pages], []]
    assert (await poll.once(made.tenant, force=True)).problems == []
    assert {LOSER.key, SURVIVOR.key}.intersection(await counted_on(store)) == {LOSER.key}


async def test_what_the_survivor_was_promised_before_the_merge_was_known_is_withdrawn(store: Store) -> None:
    """The sale was sent for the other one; without a further change of the survivor it is not sent once more."""
    crm, made = await told_of_the_loser(store)
    await read(made, crm, SURVIVOR)
    await read(made, crm, AWAY)
    await assess.once(made.tenant)
    assert await states(store) == {LOSER.key: DeliveryState.ACCEPTED, SURVIVOR.key: DeliveryState.CANCELLED}
    (told,) = (await made.explained(SURVIVOR.key))["not_promised"]
    assert told["reason"] == f"counted on {LOSER.key}"


@pytest.mark.parametrize("order", [*permutations([AWAY, SURVIVOR])])
async def test_what_was_not_sent_yet_of_a_merged_record_is_sent_of_the_survivor(
    order: Sequence[Deal], store: Store
) -> None:
    """Whichever of the two is read first: the promise is withdrawn here and made there."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, LOSER, STILL_OPEN)
    for deal in order:
        await read(made, crm, deal)
    assert await states(store) == {LOSER.key: DeliveryState.CANCELLED, SURVIVOR.key: DeliveryState.PENDING}


CHAIN = [AWAY, replace(AWAY, id="2", merged_into="lead:3"), lead(3)]  # the first into the second, that into the third


@pytest.mark.parametrize("is_one_page", [True, False])
@pytest.mark.parametrize("order", [*permutations(CHAIN)])
async def test_what_was_sent_counts_along_a_chain_of_merges(
    order: Sequence[Deal], is_one_page: bool, store: Store
) -> None:
    """Whatever of it is read first: what goes on in the end reaches no sale that was sent two merges ago."""
    crm, made = await told_of_the_loser(store)
    for page in [order] if is_one_page else [[deal] for deal in order]:
        await read(made, crm, *page)
    await assess.once(made.tenant)
    await sent(made)
    live = {key for key, state in (await states(store)).items() if state is not DeliveryState.CANCELLED}
    assert live == {LOSER.key}
    (told,) = (await made.explained("lead:3"))["not_promised"]
    assert told["reason"] == f"counted on {LOSER.key}"


async def test_a_merged_record_that_comes_back_counts_for_itself(store: Store) -> None:
    """The merge was undone: the survivor's own sale counts beside that of the other."""
    crm, made = await told_of_the_loser(store)
    await read(made, crm, AWAY)
    await read(made, crm, replace(LOSER, version="back"))
    await read(made, crm, SURVIVOR)
    assert await counted_on(store) == [LOSER.key, SURVIVOR.key]


# --- payments ----------------------------------------------------------------------------------------------------

GOAL = {"name": "paid", "when": {"outcome": "won"}, "per": "payment", "value": "payment", "send": {ADS: "deal_paid"}}


def invoice(state: PaymentState = PaymentState.PAID, number: int = 5) -> Payment:
    at = None if state is PaymentState.UNPAID else START - number * MINUTE
    return Payment(f"invoice:{number}", state, Money(100 * number, "RUB"), at)


def paid(number: int, *payments: Payment) -> Deal:
    """A won deal in a version of its own for each set of payments."""
    told = ",".join(f"{one.id}={one.state}" for one in payments)
    return replace(lead(number), version=f"v {told}", payments=payments)


def shop(store: Store, crm: Crm) -> Office:
    crm.names = NAMES
    return office(store, {ADS: Ads()}, {"crm": crm}, [Goal.model_validate(GOAL)])


async def told(store: Store) -> list[tuple[str, str, int]]:
    """What is promised: deal, payment, value."""
    of = {row["id"]: row for row in await rows_kit.rows(store, schema.conversion)}
    live = [row for row in await rows_kit.rows(store, schema.delivery) if row["state"] != "cancelled"]
    rows = [of[row["conversion"]] for row in live]
    return sorted((row["deal"], row["occurrence"], row["value_minor"]) for row in rows)


@pytest.mark.parametrize("is_sent", [True, False])
async def test_a_payment_that_moves_to_another_deal_is_counted_once(store: Store, is_sent: bool) -> None:
    """Beside one that was the other deal's own; each deal is read again in any order, and nothing is added."""
    crm = Crm()
    made = shop(store, crm)
    await read(made, crm, paid(1, invoice()), paid(2, invoice(number=6)))
    if is_sent:
        await sent(made)
    await read(made, crm, paid(2, invoice(), invoice(number=6)))
    expected = [("lead:1", "invoice:5", 500), ("lead:2", "invoice:6", 600)]
    assert await told(store) == expected
    (skip,) = (await made.explained("lead:2"))["not_promised"]
    assert (skip["occurrence"], skip["reason"]) == ("invoice:5", "counted on lead:1")
    await read(made, crm, paid(1))
    await read(made, crm, replace(paid(2, invoice(), invoice(number=6)), version="again"))
    assert await told(store) == expected


async def test_a_refund_of_a_payment_that_has_moved_takes_the_promise_back(store: Store) -> None:
    """The deal it belongs to now tells of it; the promise was the other one's."""
    crm = Crm()
    made = shop(store, crm)
    await read(made, crm, paid(1, invoice()))
    await read(made, crm, paid(2, invoice()))
    await read(made, crm, paid(2, invoice(PaymentState.UNPAID)))
    assert await told(store) == []


async def test_a_payment_whose_deal_was_deleted_counts_on_the_deal_it_moved_to(store: Store) -> None:
    """Merged by hand: the invoice was moved, then the deal it had belonged to was merged away unsent."""
    crm = Crm()
    made = shop(store, crm)
    await read(made, crm, paid(1, invoice()), paid(2))
    await read(made, crm, paid(2, invoice()))
    await read(made, crm, AWAY)
    assert await told(store) == [("lead:1", "invoice:5", 500)]  # restored under the number it was promised by
    await assess.once(made.tenant)
    made.clock.advance(HOUR)
    assert [row["state"] for row in await rows_kit.rows(store, schema.delivery)] == ["pending"]


@pytest.mark.parametrize("is_one_page", [True, False])
async def test_a_payment_counts_where_it_moved_to_as_soon_as_its_old_deal_is_deleted(
    store: Store, is_one_page: bool
) -> None:
    """Deleted without a merge: the deal that it moved to is judged again, though nothing happens to it."""
    crm = Crm()
    made = shop(store, crm)
    gone = replace(AWAY, merged_into=None)
    await read(made, crm, paid(1, invoice()), paid(2))
    for page in [[gone, paid(2, invoice())]] if is_one_page else [[paid(2, invoice())], [gone]]:
        await read(made, crm, *page)
    await assess.once(made.tenant)
    assert await told(store) == [("lead:1", "invoice:5", 500)]
    await read(made, crm, replace(gone, version="again"))
    await assess.once(made.tenant)
    await sent(made)
    assert [row["state"] for row in await rows_kit.rows(store, schema.delivery)] == ["accepted"]


async def test_a_corrected_payment_that_has_moved_stays_one_conversion(store: Store) -> None:
    """Its correction is of the other deal's conversion: what compares counts, or waits for earlier rows, sees one."""
    crm = Crm()
    made = shop(store, crm)
    made.tenant.destinations[ADS].port = Ads(replace(TRAITS, adjusts=True))
    await read(made, crm, paid(1, invoice()))
    await sent(made)
    more = replace(invoice(), value=Money(700, "RUB"))
    await read(made, crm, paid(1), replace(paid(2, more), version="700"))
    await sent(made)
    assert await told(store) == [("lead:1", "invoice:5", 500), ("lead:2", "invoice:5", 700)]
    (one,) = await made.tenant.audits.sent(ADS, START - 10 * DAY)
    assert one.row.value == Money(500, "RUB")


async def test_a_payment_that_moves_there_and_back_is_corrected_from_what_was_told_last(store: Store) -> None:
    """The other deal has told a new value meanwhile."""
    crm = Crm()
    made = shop(store, crm)
    made.tenant.destinations[ADS].port = Ads(replace(TRAITS, adjusts=True))
    await read(made, crm, paid(1, invoice()))
    await sent(made)
    await read(made, crm, replace(paid(2, replace(invoice(), value=Money(700, "RUB"))), version="700"))
    await sent(made)
    await read(made, crm, paid(2), replace(paid(1, invoice()), version="500"))
    await sent(made)
    rows = sorted(await rows_kit.rows(store, schema.conversion), key=lambda row: row["revision"])
    assert [(row["deal"], row["value_minor"]) for row in rows] == [("lead:1", 500), ("lead:2", 700), ("lead:1", 500)]


async def test_a_payment_that_was_corrected_elsewhere_is_not_sent_again(store: Store) -> None:
    """The vendor asks for the first row once more: that would undo what the other deal has told since."""
    crm = Crm()
    made = shop(store, crm)
    ads = Ads(replace(TRAITS, adjusts=True))
    made.tenant.destinations[ADS].port = ads
    await read(made, crm, paid(1, invoice()))
    await sent(made)
    await read(made, crm, replace(paid(2, replace(invoice(), value=Money(700, "RUB"))), version="700"))
    await sent(made)
    (first,) = ads.sent[0].rows
    ads.verifies = [[RowVerdict(first, Seen.AGAIN, "too_young")], []]
    made.clock.advance(HOUR)
    await verify.once(made.tenant)
    assert {row["state"] for row in await rows_kit.rows(store, schema.delivery)} == {"accepted"}
