"""Merges of several records, one after the other: one sale is counted once, and no order is left open."""

from __future__ import annotations

import pytest

from bridge.frozen import replace
from bridge.loops import assess, poll
from bridge.states import DeliveryState
from bridge.store import Store
from tests.unit.loops import test_order_life as life
from tests.unit.loops.kit import Crm
from tests.unit.loops.test_family import at_work, made_from, read
from tests.unit.loops.test_poll import lead
from tests.unit.loops.test_relatives import AWAY, sent, states, told_of_the_loser


async def live(store: Store) -> set[str]:
    """The records that something is promised for."""
    dead = (DeliveryState.CANCELLED, DeliveryState.REJECTED)
    return {key for key, state in (await states(store)).items() if state not in dead}


async def test_a_deal_of_the_survivor_counts_what_was_sent_of_the_lead_merged_into_it(store: Store) -> None:
    """Lead 1 sent as sold, merged into lead 2; deal 7 is made from lead 2."""
    crm, made = await told_of_the_loser(store)
    await read(made, crm, AWAY)
    await read(made, crm, made_from(lead(2), 7))
    await sent(made)
    assert await live(store) == {"lead:1"}


async def test_a_deal_of_a_lead_that_was_merged_away_counts_on_the_survivor(store: Store) -> None:
    """Deal 7 sent, made from lead 1, which is merged into lead 2: that is the same sale."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, lead(1, stage="10"), lead(2, stage="10"), made_from(lead(1), 7))
    await sent(made)
    await read(made, crm, AWAY, replace(lead(2), version="won"))
    await sent(made)
    assert await live(store) == {"deal:7"}


async def test_a_deal_of_a_merged_lead_counts_what_the_survivor_has_sent(store: Store) -> None:
    """Lead 2 sent; lead 1 merged into it; deal 7, still named as made from lead 1, is won."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, lead(1, stage="10"), lead(2))
    await sent(made)
    await read(made, crm, AWAY)
    await read(made, crm, made_from(lead(1), 7))
    await sent(made)
    assert await live(store) == {"lead:2"}


async def test_a_survivors_order_that_was_not_begun_is_not_begun_for_nothing(store: Store) -> None:
    """Lead 1's sale is told; lead 2's first row waits; merged, and lead 2 is won at once: its order stays open."""
    crm, made = life.at_work(store)
    await life.read(made, crm, lead(1))
    await life.polled(made, crm, life.at_first(2))
    await life.polled(made, crm, AWAY, replace(lead(2), version="won"))
    await life.read(made, crm)
    told = sorted(sorted(order) for order in await life.told(made))  # two rows of one turn have the same time
    assert told in ([["NEW", "PAID"]], [["LOST", "NEW"], ["NEW", "PAID"]])


@pytest.mark.parametrize("is_one_page", [True, False])
async def test_of_two_sales_taken_in_by_a_record_without_an_order_one_stays(is_one_page: bool, store: Store) -> None:
    """Leads 1 and 2 told as sold, each in its order; both merged into lead 3, which has no click."""
    crm, made = life.at_work(store)
    await life.read(made, crm, lead(1), lead(2))
    merges = [replace(AWAY, id=str(number), merged_into="lead:3") for number in (1, 2)]
    pages = [*merges, replace(lead(3), clues=())]
    for page in [pages] if is_one_page else [[deal] for deal in pages]:
        await life.polled(made, crm, *page)
    for version in ("again", "and again"):
        await life.read(made, crm, *[replace(deal, version=version) for deal in pages])
    assert sorted(await life.told(made)) == [["NEW", "PAID"], ["NEW", "PAID", "LOST"]]


@pytest.mark.parametrize("is_one_poll", [True, False])
async def test_an_order_left_two_merges_later_is_closed(
    is_one_poll: bool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lead 1 into lead 2, which has no click and no order; that into lead 3, which has one."""
    monkeypatch.setattr(poll, "_PART", 1)
    crm, made = life.at_work(store)
    bare = replace(life.at_first(2), clues=())
    await life.read(made, crm, life.at_first(1), bare, life.at_first(3))
    second = replace(AWAY, id="2", merged_into="lead:3")
    if is_one_poll:
        await life.polled_in_pages(made, crm, [AWAY], [second], [lead(3)])
        await life.read(made, crm)
    else:
        for deal in (AWAY, second, lead(3)):
            await life.read(made, crm, deal)
    assert sorted(await life.told(made)) == [["NEW", "LOST"], ["NEW", "PAID"]]


@pytest.mark.parametrize("sold_first", [True, False])
@pytest.mark.parametrize("is_one_page", [True, False])
async def test_an_open_order_is_closed_where_another_record_that_was_taken_in_is_sold(
    is_one_page: bool, sold_first: bool, store: Store
) -> None:
    """Lead 1 told as sold, lead 2's order begun; both merged into lead 3, which has no click and is won."""
    crm, made = life.at_work(store)
    await life.read(made, crm, lead(1), life.at_first(2))
    merges = [replace(AWAY, id=str(number), merged_into="lead:3") for number in (1, 2)]
    pages = [*(merges if sold_first else merges[::-1]), replace(lead(3), clues=())]
    for page in [pages] if is_one_page else [[deal] for deal in pages]:
        await life.read(made, crm, *page)
    assert sorted(await life.told(made)) == [["NEW", "LOST"], ["NEW", "PAID"]]


@pytest.mark.parametrize("is_one_page", [True, False])
async def test_of_two_sales_taken_in_one_stays_where_the_survivors_order_is_open(
    is_one_page: bool, store: Store
) -> None:
    """Leads 1 and 2 told as sold; 1 into 2, 2 into 3, whose own order is closed once it is won."""
    crm, made = life.at_work(store)
    await life.read(made, crm, lead(1), lead(2), life.at_first(3))
    merges = [AWAY, replace(AWAY, id="2", merged_into="lead:3")]
    pages = [*merges[::-1], replace(lead(3), version="won")]
    for page in [pages] if is_one_page else [[deal] for deal in pages]:
        await life.read(made, crm, *page)
    assert sorted(sorted(order) for order in await life.told(made)) == [
        ["LOST", "NEW"],
        ["LOST", "NEW", "PAID"],
        ["NEW", "PAID"],
    ]


@pytest.mark.parametrize("is_won", [True, False])
async def test_nobody_goes_on_in_an_order_that_is_about_to_be_closed(
    is_won: bool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 into 2, each with an order, that into 3, which has none: three pages of one poll, nothing is sent between."""
    monkeypatch.setattr(poll, "_PART", 1)
    crm, made = life.at_work(store)
    await life.read(made, crm, life.at_first(1), life.at_first(2))
    pages = [AWAY, replace(AWAY, id="2", merged_into="lead:3"), lead(3) if is_won else life.at_first(3)]
    await life.polled_in_pages(made, crm, *[[deal] for deal in pages])
    await life.read(made, crm, lead(3))
    assert sorted(await life.told(made)) == [["NEW", "LOST"], ["NEW", "PAID"]]


async def test_a_ring_of_merges_comes_to_rest(store: Store) -> None:
    """No CRM should tell one; it is not judged again at every turn."""
    crm, made = await told_of_the_loser(store)
    await read(made, crm, AWAY, replace(AWAY, id="2", merged_into="lead:1"))
    await assess.once(made.tenant)
    assert not (await assess.once(made.tenant)).done["assessed"]


@pytest.mark.parametrize("is_one_page", [True, False])
async def test_what_was_taken_in_before_is_known_on_the_page_of_the_next_merge(
    is_one_page: bool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1, told as sold, into 2, whose order is open; 2 into 3, which has no click: 2's order is closed."""
    monkeypatch.setattr(poll, "_PART", 1)
    crm, made = life.at_work(store)
    bare = replace(life.at_first(3), clues=())
    await life.read(made, crm, lead(1), life.at_first(2), bare)
    pages = [AWAY, replace(AWAY, id="2", merged_into="lead:3")]
    await life.polled_in_pages(made, crm, *([pages] if is_one_page else [[deal] for deal in pages]))
    await life.read(made, crm, replace(bare, version="again"))
    assert sorted(await life.told(made)) == [["NEW", "LOST"], ["NEW", "PAID"]]
