"""Two deals of one visitor that reach a goal in one second: to Metrica they would be one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import permutations

import pytest

from bridge.frozen import replace
from bridge.identity import read as read_clues
from bridge.loops import assess, poll, replan
from bridge.loops.seconds import Seconds
from bridge.model import Contact, Deal, Judgement, Match, Method, Money, Payment, PaymentState, Unmatched, Verdict
from bridge.rules.flips import Comparison
from bridge.rules.plan import Subject
from bridge.store import Store, codec, schema
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import DAY, Crm
from tests.unit.loops.test_family import at_work, made_from, read
from tests.unit.loops.test_poll import lead
from tests.unit.loops.test_relatives import sent, shop

SECOND = timedelta(seconds=1)
FIRST = lead(1)


def same_visitor(number: int) -> Deal:
    """Another deal with the click of the first, won in the same second."""
    return replace(lead(number), clues=FIRST.clues, history=FIRST.history, updated_at=FIRST.updated_at)


THREE = [FIRST, same_visitor(2), same_visitor(3)]


async def told(store: Store) -> dict[str, float]:
    """Seconds after the first deal's own at which each deal's sale is told."""
    of = {row["id"]: row for row in await rows_kit.rows(store, schema.conversion)}
    found = [(row["conversion"], codec.outgoing(row["content"])) for row in await rows_kit.rows(store, schema.delivery)]
    at = min(content.occurred_at for _, content in found)
    return {of[key]["deal"]: (content.occurred_at - at) / SECOND for key, content in found}


@pytest.mark.parametrize("pages", [[THREE], [[deal] for deal in THREE], *([[*order]] for order in permutations(THREE))])
@pytest.mark.parametrize("is_sent", [True, False])
async def test_each_has_a_second_of_its_own_and_keeps_it(
    pages: Sequence[Sequence[Deal]], is_sent: bool, store: Store
) -> None:
    """On one page or on several, in whatever order they are read again."""
    crm = Crm()
    made = at_work(store, crm)
    for page in pages:
        await read(made, crm, *page)
        if is_sent:
            await sent(made)
    first = await told(store)
    assert sorted(first.values()) == [0, 1, 2]
    for number, deal in enumerate([*reversed(THREE), *THREE]):
        await read(made, crm, replace(deal, version=f"again {number}"))
    assert await told(store) == first


async def test_one_that_is_promised_again_takes_a_second_that_is_free(store: Store) -> None:
    """It was deleted and is back; the other has moved into the second it had."""
    crm = Crm()
    made = at_work(store, crm)
    for deal in (FIRST, same_visitor(2)):
        await read(made, crm, deal)
    await read(made, crm, replace(FIRST, version="gone", is_deleted=True))
    await read(made, crm, replace(same_visitor(2), version="v2"))
    await read(made, crm, replace(FIRST, version="back"))
    first = await told(store)
    assert sorted(first.values()) == [0, 1]
    await read(made, crm, replace(FIRST, version="again"), replace(same_visitor(2), version="v3"))
    assert await told(store) == first


async def test_what_was_never_promised_holds_no_second(store: Store) -> None:
    """A deal without a click gets it from another deal of its person, which was told at that very second meanwhile."""
    crm, who = Crm(), Contact("5", ("+79120000000",))
    made = at_work(store, crm)
    await read(made, crm, replace(FIRST, clues=(), contacts=(who,)))
    await read(made, crm, replace(same_visitor(2), contacts=(who,)))
    while (await assess.once(made.tenant)).done["assessed"]:
        pass
    assert await told(store) == {"lead:2": 0, "lead:1": 1}


async def test_visitors_of_their_own_share_a_second(store: Store) -> None:
    """A pile of leads closed at once stays in the second it was closed in."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, *(replace(lead(number), history=FIRST.history) for number in (1, 2, 3)))
    assert set((await told(store)).values()) == {0}


async def test_a_lead_and_its_deal_do_not_stand_in_each_others_way(store: Store) -> None:
    """They are one sale, told once, at its own second."""
    crm = Crm()
    made = at_work(store, crm)
    deal = replace(made_from(FIRST, 7310), clues=FIRST.clues, history=FIRST.history)
    await read(made, crm, FIRST, deal)
    await read(made, crm, replace(FIRST, version="gone", is_deleted=True))
    await read(made, crm, replace(deal, version="v2"))
    assert set((await told(store)).values()) == {0}


async def test_pages_of_one_poll_know_of_each_other(store: Store) -> None:
    """The second is judged while the first is being written."""
    crm = Crm()
    made = at_work(store, crm)
    pages = [[FIRST, *map(lead, range(1000, 1400))], [same_visitor(2), *map(lead, range(2000, 2400))]]
    crm.scans = [[crm.shows(*page) for page in pages], []]
    assert (await poll.once(made.tenant, force=True)).problems == []
    at = await told(store)
    assert abs(at["lead:2"] - at["lead:1"]) == 1


async def test_as_many_seconds_are_found_as_there_are_deals(store: Store) -> None:
    """One poll for each deal: what those before it have taken is followed to its end."""
    crm = Crm()
    made = at_work(store, crm)
    for number in range(1, 8):
        await read(made, crm, same_visitor(number))
    assert sorted((await told(store)).values()) == [*range(7)]


async def test_parts_of_a_second_are_the_same_second(store: Store) -> None:
    """Some sources tell milliseconds, which Metrica does not hear of."""
    crm = Crm()
    made = at_work(store, crm)
    for number, part in ((1, 400), (2, 100), (3, 900)):
        at = FIRST.history[0].at + timedelta(milliseconds=part)
        await read(made, crm, replace(same_visitor(number), history=(replace(FIRST.history[0], at=at),)))
    assert sorted(int(offset + 0.4) for offset in (await told(store)).values()) == [0, 1, 2]


async def test_the_same_rules_would_move_nothing(store: Store) -> None:
    """A second that another deal has taken is no other moment of the goal."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, *THREE)
    found = Comparison(10)
    async for page in replan.looks(made.tenant, ["sale"]):
        for deal, look in page.looks:
            found.add(deal.key, look)
    assert found.flips == []


def paid(number: int, *numbers: int) -> Deal:
    """One of the visitor's deals with these payments, all of one day."""
    payments = [Payment(f"payment:{one}", PaymentState.PAID, Money(100 * one, "RUB"), START - DAY) for one in numbers]
    return replace(same_visitor(number), version=f"v{numbers}", payments=tuple(payments))


@pytest.mark.parametrize("is_sent", [True, False])
@pytest.mark.parametrize(
    "pages",
    [
        [[paid(1, 1, 2), paid(2, 3, 4)]],
        [[paid(1, 1)], [paid(2, 3, 4)], [paid(1, 1, 2)]],
        [[paid(2, 3)], [paid(1, 1)], [paid(2, 3, 4), paid(1, 1, 2)]],
    ],
)
async def test_payments_of_one_day_have_seconds_of_their_own(
    pages: Sequence[Sequence[Deal]], is_sent: bool, store: Store
) -> None:
    """Those of one deal and those of the visitor's other one, in whatever order they are read."""
    crm = Crm()
    made = shop(store, crm)
    for page in pages:
        await read(made, crm, *page)
        if is_sent:
            await sent(made)
    first = await moments(store)
    assert sorted(first.values()) == [START - DAY + number * SECOND for number in range(4)]
    for number, deal in enumerate([paid(2, 3, 4), paid(1, 1, 2), paid(2, 3, 4)]):
        await read(made, crm, replace(deal, version=f"again {number}"))
    assert await moments(store) == first


async def moments(store: Store) -> dict[str, datetime]:
    """When each payment is told to have been made."""
    of = {row["id"]: row for row in await rows_kit.rows(store, schema.conversion)}
    found = await rows_kit.rows(store, schema.delivery)
    return {of[row["conversion"]]["occurrence"]: codec.outgoing(row["content"]).occurred_at for row in found}


def test_a_click_that_one_destination_alone_is_told_counts_as_well() -> None:
    """A deal that is unmatched but for one destination is the visitor's there."""
    match = Match(Method.CONTACT, "the same phone", tuple(read_clues(FIRST).identifiers), START)
    at = FIRST.history[0].at
    seconds = Seconds()
    seconds.take("sale", at, "lead:1", match.identifiers)
    subject = Subject(TENANT, "crm", lead(2), Unmatched("no_touch", "nothing known"), matches={ADS: match})
    (told,) = seconds.apart(subject, [Judgement("sale", Verdict.QUALIFIED, "won", "", at)], (), ())
    assert told.occurred_at == at + SECOND


def later(deal: Deal, part: timedelta) -> Deal:
    history = tuple([replace(change, at=change.at + part) for change in deal.history])
    return replace(deal, history=history, updated_at=deal.updated_at + part)


@pytest.mark.parametrize("parts", [(200, 700), (700, 200)])
async def test_parts_of_a_second_are_one_second(parts: tuple[int, int], store: Store) -> None:
    """HubSpot tells milliseconds, Metrica knows none: two deals on two pages are told in two seconds all the same."""
    crm = Crm()
    made = at_work(store, crm)
    for deal, part in zip((FIRST, same_visitor(2)), parts, strict=True):
        await read(made, crm, later(deal, timedelta(milliseconds=part)))
    rows = await rows_kit.rows(store, schema.delivery)
    moments = [codec.outgoing(row["content"]).occurred_at for row in rows]
    assert len({at.replace(microsecond=0) for at in moments}) == 2


async def test_however_many_there_are_each_has_a_second(store: Store) -> None:
    """Read one by one, the sixth looks past all that the five before it have taken."""
    crm = Crm()
    made = at_work(store, crm)
    for number in range(1, 7):
        await read(made, crm, same_visitor(number))
    assert sorted((await told(store)).values()) == [0, 1, 2, 3, 4, 5]
