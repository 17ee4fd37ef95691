"""Orders of deals beside merges and consent: one sale is in one order, and what may not be told leaves it as it was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from bridge.config import Goal
from bridge.consent import ConsentedSettings
from bridge.errors import Ambiguous
from bridge.frozen import replace
from bridge.loops import assess, deliver, poll, reconcile
from bridge.model import Deal, DealKind, IdKind, Money, Outcome
from bridge.ports import DealOrders, DestinationTraits, Fate, Proof
from bridge.store import Store, codec
from tests.store.kit import ADS
from tests.support import START
from tests.unit.loops.kit import HOUR, MINUTE, Ads, Crm, Office, accept, answered, office
from tests.unit.loops.test_poll import NAMES, lead

ORDERS = DealOrders(frozenset({"NEW"}), frozenset({"PAID", "LOST"}), apart=timedelta(0), void="LOST")
TRAITS = DestinationTraits(Proof.ROW, (IdKind.YCLID,), adjusts=True, deal_orders=ORDERS)
GOALS = [
    Goal.model_validate({"name": "created", "when": {"outcome": ["open", "won"]}, "send": {ADS: "NEW"}}),
    Goal.model_validate({"name": "sale", "when": {"outcome": "won"}, "value": 100, "send": {ADS: "PAID"}}),
]
AWAY = Deal(DealKind.LEAD, "1", "gone", START, START, "", "", Outcome.OPEN, is_deleted=True, merged_into="lead:2")


def at_first(number: int) -> Deal:
    """A lead before it is sold."""
    return lead(number, stage="10", version="v0")


def at_work(store: Store) -> tuple[Crm, Office]:
    crm = Crm(names=NAMES)
    return crm, office(store, {ADS: Ads(traits=TRAITS)}, {"crm": crm}, GOALS)


async def read(made: Office, crm: Crm, *deals: Deal) -> None:
    """Read, judged, and sent as long as there is something to send."""
    crm.scans = [[crm.shows(*deals)], []]
    made.clock.advance(MINUTE)
    assert (await poll.once(made.tenant, force=True)).problems == []
    await assess.once(made.tenant)
    for _ in range(3):
        made.clock.advance(MINUTE)
        await deliver.once(made.tenant, force=True)


async def told(made: Office) -> list[list[str]]:
    """What each order was told, in the order of telling; the order of the first row first."""
    orders: dict[str, list[str]] = {}
    for row in sorted((await made.rows()).values(), key=lambda row: row["updated_at"]):
        content = codec.outgoing(row["content"])
        if row["state"] == "accepted":
            orders.setdefault(content.order_key, []).append(content.target)
    return list(orders.values())


async def test_a_sale_that_was_told_is_not_told_of_the_record_it_was_merged_into(store: Store) -> None:
    """The survivor wins the same sale: its order is the one that is there."""
    crm, made = at_work(store)
    await read(made, crm, lead(1))
    assert await told(made) == [["NEW", "PAID"]]
    await read(made, crm, AWAY, lead(2))
    await read(made, crm, replace(lead(2), version="v9"))
    assert await told(made) == [["NEW", "PAID"]]


async def test_the_survivor_goes_on_in_the_order_of_the_one_that_is_gone(store: Store) -> None:
    """It has none of its own: one that began with the sale might come too late to be linked."""
    crm, made = at_work(store)
    await read(made, crm, at_first(1))
    await read(made, crm, AWAY, lead(2))
    assert await told(made) == [["NEW", "PAID"]]


@pytest.mark.parametrize("is_one_page", [True, False])
async def test_of_two_orders_that_become_one_deal_the_survivors_goes_on(store: Store, is_one_page: bool) -> None:
    """The other is cancelled, once, which explain says; the sale is told in one of them."""
    crm, made = at_work(store)
    await read(made, crm, at_first(1), at_first(2))
    for page in [[AWAY, lead(2)]] if is_one_page else [[AWAY], [lead(2)], [replace(AWAY, version="again")]]:
        await read(made, crm, *page)
    assert sorted(await told(made)) == [["NEW", "LOST"], ["NEW", "PAID"]]
    (reason,) = {one["reason"] for one in (await made.explained("lead:1"))["not_promised"]}
    assert reason == "its order is cancelled there: it was merged into lead:2, which goes on in its own"


async def test_a_sale_told_in_both_orders_stays_in_the_survivors(store: Store) -> None:
    """Its revenue would count twice."""
    crm, made = at_work(store)
    await read(made, crm, lead(1), lead(2))
    await read(made, crm, AWAY)
    assert sorted(await told(made)) == [["NEW", "PAID"], ["NEW", "PAID", "LOST"]]
    (last,) = [codec.outgoing(row["content"]) for row in (await made.rows()).values() if b'"LOST"' in row["content"]]
    assert last.value == Money(0, "RUB")


async def test_a_survivor_whose_sale_is_told_elsewhere_leaves_no_order_open(store: Store) -> None:
    """It was sold before the merge, in the order of the one that is gone."""
    crm, made = at_work(store)
    await read(made, crm, lead(1), at_first(2))
    await read(made, crm, AWAY)
    assert sorted(await told(made)) == [["NEW"], ["NEW", "PAID"]]
    for version in ("won", "again"):
        await read(made, crm, replace(lead(2), version=version))
    assert sorted(await told(made)) == [["NEW", "LOST"], ["NEW", "PAID"]]
    reasons = {one["reason"] for one in (await made.explained("lead:2"))["not_promised"]}
    assert "its order is cancelled there: the sale is told in that of lead:1, which was merged into it" in reasons


async def test_of_three_that_become_one_all_but_one_order_are_cancelled(store: Store) -> None:
    """The survivor has none, and goes on in the first."""
    crm, made = at_work(store)
    away = [replace(AWAY, id=str(number), merged_into="lead:4") for number in (1, 2, 3)]
    await read(made, crm, *[at_first(number) for number in (1, 2, 3)])
    await read(made, crm, *away[:2])
    await read(made, crm, away[2])
    await read(made, crm, lead(4))
    assert sorted(await told(made)) == [["NEW", "LOST"], ["NEW", "LOST"], ["NEW", "PAID"]]


@pytest.mark.parametrize("is_one_page", [True, False])
@pytest.mark.parametrize("first", [0, 1])
async def test_along_a_chain_of_merges_one_order_goes_on(first: int, is_one_page: bool, store: Store) -> None:
    """The first into the second, that into the third, which has no order: whichever merge is read first."""
    crm, made = at_work(store)
    await read(made, crm, at_first(1), at_first(2))
    merges = [AWAY, replace(AWAY, id="2", merged_into="lead:3")]
    deals = [merges[first], merges[1 - first], lead(3)]
    for page in [deals] if is_one_page else [[deal] for deal in deals]:
        await read(made, crm, *page)
    assert sorted(await told(made)) == [["NEW", "LOST"], ["NEW", "PAID"]]


async def test_a_sale_of_before_the_merge_is_told_though_the_order_was_further(store: Store) -> None:
    """The survivor was won without a click, while the other was being worked on: the merge is when the order hears."""
    crm, made = at_work(store)
    made.clock.advance(HOUR)
    await read(made, crm, lead(1, START + HOUR, stage="10", version="v0"))
    for version in ("won", "again"):
        await read(made, crm, AWAY, replace(lead(2), version=version))
    assert sorted(row["state"] for row in (await made.rows()).values()) == ["accepted", "accepted"]
    assert await told(made) == [["NEW", "PAID"]]


async def test_a_merge_that_is_undone_before_it_was_told_closes_nothing(store: Store) -> None:
    """The record is there again, and its order was never left."""
    crm, made = at_work(store)
    await read(made, crm, at_first(1), at_first(2))
    for page in ([AWAY], [replace(lead(1), version="back")]):
        crm.scans = [[crm.shows(*page)], []]
        made.clock.advance(MINUTE)
        await poll.once(made.tenant, force=True)
    await read(made, crm, lead(2))
    assert sorted(await told(made)) == [["NEW", "PAID"], ["NEW", "PAID"]]


async def test_an_order_that_never_began_is_not_cancelled(store: Store) -> None:
    """Its first row was on its way when its record was merged away, and was refused."""
    crm, made = at_work(store)
    ads = made.tenant.destinations[ADS].port
    assert isinstance(ads, Ads)
    ads.sends = [Ambiguous("lost"), accept]
    await read(made, crm, at_first(1))
    await read(made, crm, at_first(2))
    await read(made, crm, AWAY)
    ads.sends = [answered(Fate.REJECTED, "bad")]
    made.clock.advance(HOUR)
    await reconcile.once(made.tenant)
    await deliver.once(made.tenant, force=True)
    rows = [codec.outgoing(row["content"]).target + " " + str(row["code"]) for row in (await made.rows()).values()]
    assert sorted(rows) == ["LOST order_not_begun", "NEW None", "NEW bad"]


async def test_an_order_stays_what_it_was_when_its_person_no_longer_agrees(store: Store) -> None:
    """What was told cannot be untold; nothing more is, until there is a yes again."""
    crm, made = at_work(store)
    consent = {"field": "Согласие", "required": True}
    made.tenant.destinations[ADS].settings = ConsentedSettings.model_validate({"kind": "ads", "consent": consent})

    def answered(deal: Deal, text: str, version: str) -> Deal:
        return replace(deal, version=version, fields={"Согласие": (text,)})

    await read(made, crm, answered(lead(1, stage="10"), "да", "v1"))
    assert await told(made) == [["NEW"]]
    await read(made, crm, answered(lead(1), "нет", "v2"))
    assert await told(made) == [["NEW"]]
    await read(made, crm, answered(lead(1), "да", "v3"))
    assert await told(made) == [["NEW", "PAID"]]


async def polled(made: Office, crm: Crm, *deals: Deal) -> None:
    """Read and judged, nothing sent."""
    await polled_in_pages(made, crm, deals)


async def polled_in_pages(made: Office, crm: Crm, *pages: Sequence[Deal]) -> None:
    """The same, with several pages in one poll."""
    crm.scans = [[crm.shows(*page) for page in pages], []]
    made.clock.advance(MINUTE)
    assert (await poll.once(made.tenant, force=True)).problems == []


async def test_a_record_that_is_back_without_consent_leaves_its_order_alone(store: Store) -> None:
    """Two reasons against the row that was to close it: it is withdrawn once, and the source goes on being read."""
    crm, made = at_work(store)
    consent = {"field": "Согласие", "required": True}
    made.tenant.destinations[ADS].settings = ConsentedSettings.model_validate({"kind": "ads", "consent": consent})
    yes, no = {"Согласие": ("да",)}, {"Согласие": ("нет",)}
    await read(made, crm, *[replace(at_first(number), fields=yes) for number in (1, 2)])
    await polled(made, crm, AWAY)
    await polled(made, crm, replace(lead(1), version="back", fields=no))
    assert sorted(row["state"] for row in (await made.rows()).values()) == ["accepted", "accepted", "cancelled"]


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_sale_whose_click_is_gone_is_told_where_its_order_has_begun(store: Store, is_there: bool) -> None:
    """Its order was promised together with it, with that click. One whose beginning is not certain waits for that;
    nothing else is told of the sale in its place.
    """
    crm, made = at_work(store)
    ads = made.tenant.destinations[ADS].port
    assert isinstance(ads, Ads)
    await polled(made, crm, lead(1))
    ads.sends = [accept if is_there else Ambiguous("lost"), accept]
    await deliver.turn(made.tenant, force=True, most=0.0)
    await polled(made, crm, replace(lead(1), version="v7", clues=()))
    states = sorted(str(row["state"]) for row in (await made.rows()).values())
    assert states == (["accepted", "pending"] if is_there else ["cancelled", "sealed"])
    made.clock.advance(HOUR)
    await reconcile.once(made.tenant)
    await read(made, crm, replace(lead(1), version="v8", clues=()))
    assert await told(made) == [["NEW", "PAID"]]


@pytest.mark.parametrize("is_sold", [True, False])
async def test_a_survivors_promise_is_kept_where_it_is_for_its_order_that_the_other_is_cancelled(
    store: Store, is_sold: bool
) -> None:
    """It was promised before the merge was known, and not sent yet: one order tells of the sale from its beginning."""
    crm, made = at_work(store)
    await read(made, crm, lead(1) if is_sold else at_first(1))
    await polled(made, crm, lead(2) if is_sold else at_first(2))
    await polled(made, crm, AWAY)
    await assess.once(made.tenant)
    await read(made, crm, replace(lead(2), version="won"))
    one = ["NEW", "PAID", "LOST"] if is_sold else ["NEW", "LOST"]
    assert sorted(await told(made)) == sorted([one, ["NEW", "PAID"]])
