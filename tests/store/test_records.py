"""The left side: a page is one transaction, and what it leaves behind is what judging needs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bridge.catalogue import Catalogue, Pipeline, Stage
from bridge.clues import Reading
from bridge.errors import StoreError
from bridge.frozen import replace
from bridge.model import DealKind as Kind
from bridge.model import Identifier, IdKind
from bridge.ports import BadRecord
from bridge.states import Move
from bridge.store import Store, schema
from bridge.store.codec import Facts
from bridge.store.ledger import Ledger
from bridge.store.moves import Shift
from bridge.store.records import Assessed, Child, Page, Records
from bridge.store.touches import Wanted
from tests.store import kit
from tests.support import START

LATER = START + timedelta(hours=1)
ANNA, BORIS = "digest of anna", "digest of boris"


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
def records(store: Store) -> Records:
    return Records(store)


def rich_page() -> Page:
    """A page that writes into every table of the left side and promises two deliveries."""
    matched = kit.assessed(kit.deal(1, person=ANNA), kit.promise(kit.conversion(1), kit.conversion(2)))
    lost = kit.assessed(kit.deal(3, person=BORIS), match=kit.LOST)
    bad = BadRecord("lead:9", "no_created_at", "the record has no creation time")
    return kit.page(matched, lost, bad=(bad,), watermark=START)


WRITTEN = ("deal", "touch", "touch_key", "orphan_key", "quarantine", "source_state", "conversion", "delivery")


@pytest.mark.parametrize(("label", "is_there"), [("before page", False), ("after page", True)])
async def test_a_page_is_written_whole_or_not_at_all(database_url: str, label: str, is_there: bool) -> None:
    """A crash before the commit leaves no record, promise or cursor; one after it leaves them all."""

    def end(name: str) -> None:
        if name == label:
            raise Crash

    ending = await Store.open(database_url, end)
    with pytest.raises(Crash):
        await Records(ending).write_page(rich_page())
    await ending.close()
    store = await Store.open(database_url)
    tables = await kit.everything(store)
    await store.close()
    assert {name for name in WRITTEN if tables[name]} == (set(WRITTEN) if is_there else set())
    assert len(tables["delivery_event"]) == (2 if is_there else 0)


async def test_a_page_the_database_refuses_moves_no_cursor(store: Store, records: Records) -> None:
    """One promise without its conversion: nothing of the page is kept, and the cursor stays."""
    await records.write_page(kit.page(watermark=START))
    before = await kit.everything(store)
    orphan = kit.promise(kit.conversion(1))
    orphan.conversions.clear()
    with pytest.raises(StoreError, match=r"^page: "):
        await records.write_page(kit.page(kit.assessed(kit.deal(1), orphan), watermark=LATER))
    assert await kit.everything(store) == before


async def test_the_cursor_moves_only_with_a_page_that_carries_it(records: Records) -> None:
    """Pages in the middle of a window leave the watermark where it was; the last one moves it, and nothing else."""
    await records.set_source(kit.TENANT, kit.SOURCE, floor=START, due=LATER)
    await records.write_page(kit.page(kit.assessed(kit.deal(1))))
    assert (await records.source_state(kit.TENANT, kit.SOURCE)).watermark is None
    await records.write_page(kit.page(kit.assessed(kit.deal(2)), watermark=LATER))
    state = await records.source_state(kit.TENANT, kit.SOURCE)
    assert (state.watermark, state.floor.start, state.due) == (LATER, START, LATER)
    assert (await records.source_state(kit.TENANT, "other")).watermark is None


async def test_versions_tell_what_is_known(records: Records) -> None:
    """The stored version of each deal, the newest one; unknown deals and other sources are left out."""
    await records.write_page(kit.page(kit.assessed(kit.deal(1)), kit.assessed(kit.deal(2))))
    await records.write_page(kit.page(kit.assessed(kit.deal(2, "v2"))))
    asked = [f"lead:{number}" for number in (1, 2, 3)]
    assert await records.versions(kit.TENANT, kit.SOURCE, asked) == {"lead:1": "v1", "lead:2": "v2"}
    assert await records.versions(kit.TENANT, "other", asked) == {}
    assert await records.versions("dom", kit.SOURCE, asked) == {}


async def test_more_keys_than_a_statement_takes(records: Records) -> None:
    """Thousands of deals are asked about in several statements, none of them lost."""
    numbers = range(2500)
    await records.write_page(kit.page(*(kit.assessed(kit.deal(number)) for number in numbers)))
    found = await records.versions(kit.TENANT, kit.SOURCE, [f"lead:{number}" for number in numbers])
    assert len(found) == 2500


async def test_facts_come_back_as_they_were_stored(records: Records) -> None:
    """A deal behind the border and what was read from its clues survive the database without loss."""
    reading = Reading(((kit.MATCH.method, kit.CLICK),))
    item = replace(kit.assessed(kit.deal(1, person=ANNA)), reading=reading)
    await records.write_page(kit.page(item))
    context = await records.context(kit.TENANT, kit.SOURCE, ["lead:1", "lead:2"], [])
    assert context.facts == {"lead:1": Facts(item.deal, reading)}
    assert await records.facts(kit.TENANT, kit.SOURCE, ["lead:1"]) == context.facts


async def test_what_was_promised_is_known_to_the_next_plan(store: Store, records: Records) -> None:
    """Conversions of a deal and of its parent come with their deliveries and the state each is in."""
    await kit.plan(store, kit.conversion(1), kit.conversion(2))
    await kit.sealed(Ledger(store, kit.TENANT))
    context = await records.context(kit.TENANT, kit.SOURCE, ["lead:1"], ["lead:2"])
    assert set(context.conversions) == {"lead:1", "lead:2"}
    (known,) = context.conversions["lead:1"]
    assert known.conversion == kit.conversion(1)
    assert [(d.id, d.destination, d.state) for d in known.deliveries] == [(kit.key(1), kit.ADS, "sealed")]
    assert known.deliveries[0].content == kit.content(kit.conversion(1))


async def test_planning_the_same_again_is_refused_not_doubled(store: Store) -> None:
    """Ids are digests of facts: a promise made twice by mistake meets itself and the page is rolled back."""
    await kit.plan(store, kit.conversion(1))
    before = await kit.everything(store)
    with pytest.raises(StoreError):
        await kit.plan(store, kit.conversion(1))
    assert await kit.everything(store) == before


async def test_a_pending_promise_gets_its_new_value(store: Store) -> None:
    """A value that changed before sending replaces the row's content and the conversion's value: nothing is added."""
    await kit.plan(store, kit.conversion(1))
    changed = kit.conversion(1, value=9900)
    await kit.replan(store, changed)
    (row,) = await Ledger(store, kit.TENANT).due(kit.ADS, START, 10)
    assert row.content == kit.content(changed)
    assert [item["value_minor"] for item in await kit.rows(store, schema.conversion)] == [990000]
    assert len(await kit.rows(store, schema.delivery_event)) == 1


async def test_a_promise_sealed_meanwhile_keeps_its_bytes_and_is_planned_again(store: Store, records: Records) -> None:
    """The new value came too late for the row: the row stays, and the deal is marked to be judged again."""
    await kit.plan(store, kit.conversion(1))
    await kit.sealed(Ledger(store, kit.TENANT))
    before = (await kit.everything(store))["delivery"]
    await kit.replan(store, kit.conversion(1, value=9900))
    assert (await kit.everything(store))["delivery"] == before
    assert [item["value_minor"] for item in await kit.rows(store, schema.conversion)] == [150000]
    assert await records.dirty(kit.TENANT, kit.SOURCE, START) == ["lead:1"]


# --- leads and their deals ---------------------------------------------------------------------------------------


def converted(number: int, lead: int) -> Assessed:
    """A deal made from a lead, promised to one destination."""
    return kit.assessed(replace(kit.deal(number), parent=f"lead:{lead}"), kit.promise(kit.conversion(number)))


async def test_a_leads_deals_are_found_with_what_is_promised_for_them(store: Store, records: Records) -> None:
    """In the order of their keys, unmatched ones and those without a promise too; a promise that came to nothing is
    none; no other source's or tenant's."""
    alone = replace(kit.deal(4), parent="lead:1")
    await records.write_page(kit.page(converted(3, 1), converted(2, 1), kit.assessed(alone, match=kit.LOST)))
    await records.write_page(replace(kit.page(converted(5, 1)), source="other"))
    await records.write_page(kit.page(converted(6, 9)))
    await Ledger(store, kit.TENANT).move([Shift(kit.key(2), Move.REFUSE, "no")], START)
    found = await records.children(kit.TENANT, kit.SOURCE, ["lead:1", "lead:8"])
    told = frozenset({("sale", kit.ADS)})
    assert found == {
        "lead:1": [
            Child("lead:2", kit.deal(2).created_at, is_exact=True, promised=frozenset()),
            Child("lead:3", kit.deal(3).created_at, is_exact=True, promised=told),
            Child("lead:4", kit.deal(4).created_at, is_exact=False, promised=frozenset()),
        ]
    }


async def test_a_source_knows_whether_it_has_converted_deals(records: Records) -> None:
    """Each source for itself."""
    for source in (kit.SOURCE, "other"):
        await records.set_source(kit.TENANT, source, floor=START)
    await records.write_page(kit.page(kit.assessed(kit.deal(1))))
    assert (await records.source_state(kit.TENANT, kit.SOURCE)).has_children is False
    await records.write_page(kit.page(converted(2, 1)))
    assert (await records.source_state(kit.TENANT, kit.SOURCE)).has_children is True
    assert (await records.source_state(kit.TENANT, "other")).has_children is False


async def test_a_source_knows_whether_it_has_merged_records(records: Records) -> None:
    """Each source for itself."""
    for source in (kit.SOURCE, "other"):
        await records.set_source(kit.TENANT, source, floor=START)
    await records.write_page(kit.page(kit.assessed(kit.deal(1))))
    assert (await records.source_state(kit.TENANT, kit.SOURCE)).has_merged is False
    gone = replace(kit.deal(2), is_deleted=True, merged_into="lead:1")
    await records.write_page(kit.page(kit.assessed(gone)))
    assert (await records.source_state(kit.TENANT, kit.SOURCE)).has_merged is True
    assert (await records.source_state(kit.TENANT, "other")).has_merged is False


# --- persons -----------------------------------------------------------------------------------------------------


async def test_a_late_touch_opens_the_unmatched_deals_of_its_person(records: Records) -> None:
    """A click that becomes known later marks the deals of the same person, in any source, and nobody else's. So does
    a deal without one, which may lead to another record; those of one page were judged with each other.
    """
    lost = [
        kit.assessed(kit.deal(1, person=ANNA), match=kit.LOST),
        kit.assessed(kit.deal(2, person=BORIS), match=kit.LOST),
    ]
    await records.write_page(kit.page(*lost))
    assert await records.dirty(kit.TENANT, kit.SOURCE, LATER) == []
    elsewhere = kit.assessed(kit.deal(3, person=ANNA), match=kit.LOST)
    await records.write_page(replace(kit.page(elsewhere), source="other"))
    assert await records.dirty(kit.TENANT, kit.SOURCE, LATER) == ["lead:1"]
    again = replace(lost[0], is_known=True, before=lost[0].touch)
    await records.write_page(kit.page(again))
    assert await records.dirty(kit.TENANT, "other", LATER) == []
    stranger = kit.assessed(kit.deal(4, person=ANNA), match=kit.LOST)
    await records.write_page(replace(kit.page(stranger), tenant="dom"))
    assert await records.dirty(kit.TENANT, kit.SOURCE, START) == []
    await records.write_page(kit.page(kit.assessed(kit.deal(5, person=ANNA))))
    assert await records.dirty(kit.TENANT, kit.SOURCE, START) == ["lead:1"]
    assert await records.dirty(kit.TENANT, "other", START) == ["lead:3"]
    assert await records.dirty("dom", kit.SOURCE, START) == []


async def test_judging_again_ends_the_mark(records: Records) -> None:
    """Once written anew, a marked deal is clean; matched, it no longer waits for touches."""
    await records.write_page(kit.page(kit.assessed(kit.deal(1, person=ANNA), match=kit.LOST)))
    await records.write_page(kit.page(kit.assessed(kit.deal(2, person=ANNA))))
    again = replace(kit.assessed(kit.deal(1, person=ANNA)), touch=None, is_known=True)
    await records.write_page(kit.page(again))
    assert await records.dirty(kit.TENANT, kit.SOURCE, START) == []
    await records.write_page(kit.page(kit.assessed(kit.deal(3, person=ANNA))))
    assert await records.dirty(kit.TENANT, kit.SOURCE, START) == []


async def test_a_deal_is_judged_again_when_its_time_has_come(records: Records) -> None:
    """Not before; once, beside those that are marked; never again where judging it fails."""
    waiting = [replace(kit.assessed(kit.deal(number)), recheck_at=LATER) for number in (1, 2, 3)]
    await records.write_page(kit.page(*waiting, kit.assessed(kit.deal(4))))
    assert await records.dirty(kit.TENANT, kit.SOURCE, LATER - timedelta(microseconds=1)) == []
    assert await records.dirty(kit.TENANT, "other", LATER) == []
    assert await records.dirty(kit.TENANT, kit.SOURCE, LATER, 2) == ["lead:1", "lead:2"]
    failed = BadRecord("lead:2", "judging_failed", "the log says more")
    await records.write_page(kit.page(replace(kit.assessed(kit.deal(1)), is_known=True), failed=(failed,)))
    assert await records.dirty(kit.TENANT, kit.SOURCE, LATER) == ["lead:3"]
    await records.judge_again(kit.TENANT, kit.SOURCE)
    assert await records.dirty(kit.TENANT, kit.SOURCE, LATER) == [f"lead:{number}" for number in (1, 2, 3, 4)]
    assert await records.dirty(kit.TENANT, "other", LATER) == []


async def test_touches_are_found_by_person_in_any_source_of_the_tenant(records: Records) -> None:
    """Every click of the person is offered, whichever source told of it, but no other tenant's. A deal of another
    source is named with it: its number may be one of ours, too."""
    await records.write_page(kit.page(kit.assessed(kit.deal(1, person=ANNA))))
    for number in (1, 2):
        await records.write_page(replace(kit.page(kit.assessed(kit.deal(number, person=ANNA))), source="other"))
    await records.write_page(replace(kit.page(kit.assessed(kit.deal(3, person=ANNA))), tenant="dom"))
    wanted = [Wanted(ANNA, LATER), Wanted(BORIS, LATER), Wanted(ANNA, kit.deal(1).created_at)]
    of_anna, of_boris, earlier = await records.near(kit.TENANT, kit.SOURCE, wanted)
    assert {touch.deal for touch in of_anna} == {"lead:1", "other/lead:1", "other/lead:2"}
    assert of_boris == []
    assert {touch.deal for touch in earlier} == {"lead:1", "other/lead:1"}
    own = await records.touches(kit.TENANT, kit.SOURCE, ["lead:1", "lead:2"])
    assert own == {"lead:1": kit.assessed(kit.deal(1, person=ANNA)).touch}


async def test_a_touch_read_again_is_replaced(records: Records) -> None:
    """A deal tells of one click: what it says now, not what it said before."""
    await records.write_page(kit.page(kit.assessed(kit.deal(1, person=ANNA))))
    corrected = replace(kit.MATCH, identifiers=(Identifier(IdKind.GCLID, "Cj0KCQiAsample", "field GCLID"),))
    await records.write_page(kit.page(kit.assessed(kit.deal(1, "v2", person=ANNA), match=corrected)))
    (touch,) = (await records.near(kit.TENANT, kit.SOURCE, [Wanted(ANNA, LATER)]))[0]
    assert touch.identifiers == corrected.identifiers


async def test_the_join_key_is_made_once_and_is_each_tenants_own(records: Records, database_url: str) -> None:
    """A tenant's persons are joined by the same key for ever, also in the next process; tenants share none."""
    key = await records.join_key(kit.TENANT)
    other = await Store.open(database_url)
    assert await Records(other).join_key(kit.TENANT) == key
    assert await Records(other).join_key("dom") != key
    await other.close()
    assert len(key) == 32


# --- quarantine --------------------------------------------------------------------------------------------------


def bad(code: str = "no_created_at") -> BadRecord:
    return BadRecord("lead:9", code, "unreadable")


async def quarantined(store: Store) -> list[dict[str, Any]]:
    return await kit.rows(store, schema.quarantine)


async def test_quarantine_counts_and_keeps_the_latest_reason(store: Store, records: Records) -> None:
    """A record that stays unreadable is one row with a count, its first time and its latest reason."""
    await records.write_page(kit.page(bad=(bad(), bad("no_pipeline"))))
    await records.write_page(kit.page(bad=(bad("no_status"),), now=LATER))
    (row,) = await quarantined(store)
    assert (row["record"], row["code"], row["times"]) == ("lead:9", "no_status", 2)
    assert row["last_at"] - row["first_at"] == 3_600_000_000


async def test_a_record_that_can_be_read_again_leaves_quarantine(store: Store, records: Records) -> None:
    """Healing needs no hand: the next readable version ends it, for this record of this source alone."""
    await records.write_page(kit.page(bad=(bad(), BadRecord("lead:8", "no_status", "unreadable"))))
    await records.write_page(replace(kit.page(bad=(bad(),)), source="other"))
    await records.write_page(kit.page(kit.assessed(kit.deal(9))))
    assert [(row["source"], row["record"]) for row in await quarantined(store)] == [
        (kit.SOURCE, "lead:8"),
        ("other", "lead:9"),
    ]


# --- housekeeping ------------------------------------------------------------------------------------------------


async def test_raw_texts_are_forgotten_in_time_and_facts_are_not(store: Store, records: Records) -> None:
    """What was stored before the limit loses its raw text only."""
    old = replace(kit.assessed(kit.deal(1)), raw=b"{}")
    new = replace(kit.assessed(kit.deal(2)), raw=b"{}")
    await records.write_page(kit.page(old))
    await records.write_page(kit.page(new, now=LATER))
    assert await records.forget_raw(kit.TENANT, LATER) == 1
    assert await records.forget_raw(kit.TENANT, LATER) == 0
    assert [row["raw"] for row in await kit.rows(store, schema.deal)] == [None, b"{}"]
    assert set(await records.facts(kit.TENANT, kit.SOURCE, ["lead:1", "lead:2"])) == {"lead:1", "lead:2"}


async def test_the_catalogue_comes_back_with_its_age(records: Records) -> None:
    """Names are kept between runs; before the first look there are none."""
    assert await records.catalogue(kit.TENANT, kit.SOURCE) is None
    await records.set_source(kit.TENANT, kit.SOURCE, due=LATER)
    assert await records.catalogue(kit.TENANT, kit.SOURCE) is None
    names = Catalogue((Pipeline("7", "Продажи", Kind.LEAD, (Stage("142", "Успешно"),)),), (("1", "Спам"),), ("yclid",))
    await records.set_catalogue(kit.TENANT, kit.SOURCE, names, START)
    assert await records.catalogue(kit.TENANT, kit.SOURCE) == (names, START)
    assert (await records.source_state(kit.TENANT, kit.SOURCE)).due == LATER
