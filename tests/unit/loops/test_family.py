"""A lead and the deals made from it: one sale is counted once, whichever of them is read first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import Engine, event

from bridge.catalogue import Catalogue
from bridge.frozen import replace
from bridge.loops import assess, poll
from bridge.model import Clue, Contact, Deal, DealKind, IdKind, Outcome
from bridge.ports import SourceTraits, Window
from bridge.states import DeliveryState
from bridge.store import Store, schema
from bridge.store.codec import moment
from tests.store import kit as rows_kit
from tests.store.kit import ADS
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, Ads, Crm, Office, office
from tests.unit.loops.test_poll import SALE, lead

LEAD = lead(1)


def made_from(parent: Deal, number: int, *, has_click: bool = True, version: str = "v1") -> Deal:
    """A deal converted from a lead, won as the lead was."""
    own = lead(number, version=version)
    return replace(own, kind=DealKind.DEAL, parent=parent.key, clues=own.clues if has_click else ())


CHILD = made_from(LEAD, 7310)


def at_work(store: Store, crm: Crm) -> Office:
    crm.names = Catalogue(is_open=True)
    return office(store, {ADS: Ads()}, {"crm": crm}, [SALE])


async def read(made: Office, crm: Crm, *deals: Deal) -> None:
    """A poll that lists these deals on one page, and what judging comes after it."""
    crm.scans = [[crm.shows(*deals)], []]
    made.clock.advance(MINUTE)
    assert (await poll.once(made.tenant, force=True)).problems == []
    await assess.once(made.tenant)


async def counted_on(store: Store) -> list[str]:
    """The deals something is promised for, once for each promise."""
    of = {row["id"]: row["deal"] for row in await rows_kit.rows(store, schema.conversion)}
    return sorted(of[row["conversion"]] for row in await rows_kit.rows(store, schema.delivery))


@pytest.mark.parametrize(("first", "second"), [(LEAD, CHILD), (CHILD, LEAD)])
async def test_a_goal_is_promised_for_the_one_that_was_read_first(first: Deal, second: Deal, store: Store) -> None:
    """The other says on which it is counted; read again in either order, nothing is added."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, first)
    await read(made, crm, second)
    assert await counted_on(store) == [first.key]
    told = (await made.explained(second.key))["not_promised"]
    assert told == [{"goal": "sale", "occurrence": "once", "destination": ADS, "reason": f"counted on {first.key}"}]
    before = [await rows_kit.rows(store, table) for table in (schema.conversion, schema.delivery)]
    for number, again in enumerate([(second, first), (first,), (second,), (first, second)]):
        await read(made, crm, *(replace(deal, version=f"again {number}") for deal in again))
    assert [await rows_kit.rows(store, table) for table in (schema.conversion, schema.delivery)] == before


async def test_explain_says_that_a_lead_was_not_read(store: Store) -> None:
    """It came before the source's start, say: with it its click is missing."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, CHILD)
    assert (await made.explained(CHILD.key))["deal"]["is_parent_read"] is False
    await read(made, crm, LEAD)
    told = [(await made.explained(deal.key))["deal"]["is_parent_read"] for deal in (CHILD, LEAD)]
    assert told == [True, None]


@pytest.mark.parametrize("order", [*permutations([LEAD, CHILD, made_from(LEAD, 7311)])])
async def test_on_one_page_the_lead_is_promised_and_its_deals_are_not(order: Sequence[Deal], store: Store) -> None:
    """Whatever their order on it."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, *order)
    assert await counted_on(store) == [LEAD.key]


async def test_a_deal_promised_before_it_had_a_lead_keeps_its_promise(store: Store) -> None:
    """Somebody names the lead later; both come on one page: the lead is counted on the deal."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, replace(CHILD, parent=None))
    await read(made, crm, LEAD, replace(CHILD, version="v2"))
    assert await counted_on(store) == [CHILD.key]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_two_pages_of_one_reading_see_each_other(
    order: tuple[int, int], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deal in an earlier page, the lead in a later one, and the other way round; nothing was stored before."""
    monkeypatch.setattr(poll, "_PART", 1)  # short pages are joined
    crm = Crm()
    made = at_work(store, crm)
    pages = [crm.shows(LEAD), crm.shows(CHILD)]
    crm.scans = [[pages[number] for number in order]]
    unit = made.tenant.sources["crm"]
    await poll.read(made.tenant, unit, Window(START - HOUR, START), poll.Reading(None, moves_watermark=False))
    assert await counted_on(store) == [(LEAD, CHILD)[order[0]].key]


@pytest.mark.parametrize(("known", "fresh"), [(LEAD, CHILD), (CHILD, LEAD)])
async def test_a_backfill_counts_once_what_it_reads_anew_beside_what_it_judges_again(
    known: Deal, fresh: Deal, store: Store
) -> None:
    """One of the two is stored without a promise, the other new on the same page: one promise, for the lead."""
    crm = Crm()
    made = at_work(store, crm)
    made.tenant.settings.goals.clear()
    await read(made, crm, known)
    made.tenant.settings.goals.append(SALE)
    unit = made.tenant.sources["crm"]
    unit.compiled = None
    crm.scans = [[crm.shows(known, fresh)]]
    how = poll.Reading(None, moves_watermark=False, judges_all=True)
    await poll.read(made.tenant, unit, Window(START - HOUR, START), how)
    assert await counted_on(store) == [LEAD.key]


async def test_what_came_to_nothing_on_the_deal_is_told_by_the_lead(store: Store) -> None:
    """Only a promise that is alive counts."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, CHILD)
    async with store.write("test") as connection:
        await connection.execute(schema.delivery.update().values(state=DeliveryState.REJECTED))
    await read(made, crm, LEAD)
    assert await counted_on(store) == [CHILD.key, LEAD.key]


# --- a late click ------------------------------------------------------------------------------------------------


def clickless(deal: Deal) -> Deal:
    return replace(deal, clues=(), version="no click")


async def judged(store: Store, key: str) -> tuple[str | None, bool]:
    """How a deal is matched, and whether it waits to be judged again."""
    (row,) = await rows_kit.rows(store, schema.deal, schema.deal.c.deal == key)
    return row["method"], row["is_dirty"]


async def test_a_click_the_lead_gets_later_serves_its_deal(store: Store) -> None:
    """No person joins them: the deal is judged again as soon as the lead has a click, and its own goal is told."""
    crm = Crm()
    made = at_work(store, crm)
    unsold = lead(1, stage="10")
    await read(made, crm, clickless(unsold), made_from(unsold, 7310, has_click=False))
    assert await judged(store, "deal:7310") == (None, False)
    await read(made, crm, unsold)
    assert await judged(store, "deal:7310") == ("lead", False)
    assert await counted_on(store) == ["deal:7310"]


async def test_a_lead_whose_click_was_put_right_lends_its_deal_the_new_one(store: Store) -> None:
    """And none where it was a mistake: whatever was read first, the deal tells what its lead tells now."""
    crm = Crm()
    made = at_work(store, crm)
    unsold, other = lead(1, stage="10"), Clue("field YCLID", "1775110000000009999", IdKind.YCLID)
    await read(made, crm, unsold, made_from(unsold, 7310, has_click=False))
    await read(made, crm, replace(unsold, version="v2", clues=(other,)))
    (due,) = await made.tenant.ledger.due(ADS, START + DAY, 9)
    assert [item.value for item in due.content.identifiers] == [other.text]
    await read(made, crm, clickless(unsold))
    assert await judged(store, "deal:7310") == (None, False)


async def test_a_deal_on_the_same_page_as_its_leads_click_is_judged_once(store: Store) -> None:
    """It sees the click there and is not marked to be judged again."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, made_from(LEAD, 7310, has_click=False))
    crm.scans = [[crm.shows(made_from(LEAD, 7310, has_click=False, version="v2"), LEAD)], []]
    await poll.once(made.tenant, force=True)
    assert await judged(store, "deal:7310") == ("lead", False)


@pytest.mark.parametrize(("age", "method"), [(29 * DAY, "lead"), (31 * DAY, None)])
async def test_a_deal_past_the_match_horizon_waits_no_more(age: Any, method: str | None, store: Store) -> None:
    """Like any unmatched deal; counted from its creation."""
    crm = Crm()
    made = at_work(store, crm)
    await read(made, crm, replace(made_from(LEAD, 7310, has_click=False), created_at=START - age))
    await read(made, crm, LEAD)
    assert await judged(store, "deal:7310") == (method, False)


async def test_a_source_without_converted_deals_is_asked_for_none(store: Store) -> None:
    """A CRM that knows leads alone pays nothing for what it lacks; once a deal has a lead, leads are looked up, once a
    page."""
    crm = Crm()
    made = at_work(store, crm)
    with statements("deal.parent IN") as asked:
        await read(made, crm, LEAD, lead(2))
        await read(made, crm, lead(3))
        assert asked == []
        await read(made, crm, CHILD)
        assert asked == []
        await read(made, crm, lead(4), lead(5))
        assert len(asked) == 1


@contextmanager
def statements(part: str) -> Iterator[list[str]]:
    """The SQL statements with this text in them, as they are executed."""
    seen: list[str] = []

    def note(*facts: Any) -> None:
        if part in facts[2]:
            seen.append(facts[2])

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize(("came", "counted"), [(2 * HOUR, []), (-2 * HOUR, [CHILD.key])])
async def test_a_click_after_the_lead_came_did_not_bring_the_deal_made_from_it(
    came: timedelta, counted: list[str], store: Store
) -> None:
    """The person clicked once more before the lead was converted; a click before the lead serves both."""
    crm = Crm(traits=SourceTraits(leads_become_deals=True))
    made = at_work(store, crm)
    person = (Contact("9", ("+79990000009",), ("a@okna.example",)),)
    bare = replace(LEAD, clues=(), contacts=person, outcome=Outcome.OPEN, history=())
    child = replace(made_from(LEAD, 7310, has_click=False), contacts=person, created_at=LEAD.created_at + 3 * HOUR)
    click = replace(lead(2), contacts=person, created_at=LEAD.created_at + came, outcome=Outcome.OPEN, history=())
    await read(made, crm, click, bare, child)
    assert await counted_on(store) == counted


@pytest.mark.parametrize("order", [(LEAD, CHILD), (CHILD, LEAD)])
async def test_a_deal_made_from_a_lead_tells_of_the_leads_time(order: tuple[Deal, Deal], store: Store) -> None:
    """Whichever was read first; where a contact is no lead that becomes a deal, each has its own time."""
    for become, number in ((True, 0), (False, 1)):
        crm = Crm(traits=SourceTraits(leads_become_deals=become))
        made = at_work(store, crm)
        late = [replace(deal, id=f"{deal.id}{number}", version=f"v{number}") for deal in order]
        lead_key = next(deal.key for deal in late if deal.kind is DealKind.LEAD)
        for deal in late:
            own = replace(deal, parent=lead_key, created_at=LEAD.created_at + HOUR) if deal.parent else deal
            await read(made, crm, own)
        (touch,) = [t for t in await rows_kit.rows(store, schema.touch) if t["deal"] == f"deal:{CHILD.id}{number}"]
        assert moment(touch["at"]) == LEAD.created_at + (timedelta(0) if become else HOUR)
