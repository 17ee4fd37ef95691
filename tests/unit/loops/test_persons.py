"""A click of the same person serves a deal that has none: of any source, and of the person it is now."""

from __future__ import annotations

from bridge.catalogue import Catalogue
from bridge.frozen import replace
from bridge.loops import assess, poll
from bridge.model import ONCE, Clue, Contact, Deal, DealKind, IdKind, Outcome
from bridge.rules.graph import RECORDS_MOST
from bridge.rules.match import SHARED_CONTACT
from bridge.store import Store, schema
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.unit.loops.kit import DAY, MINUTE, Ads, Crm, Office, office
from tests.unit.loops.test_poll import SALE, lead

ANNA, BORIS = (Contact(name, phones=(phone,)) for name, phone in (("1", "+79991234567"), ("2", "+79997654321")))


def of(person: Contact, deal: Deal, *, has_click: bool, version: str = "v1") -> Deal:
    return replace(deal, contacts=(person,), clues=deal.clues if has_click else (), version=version)


def at_work(store: Store, *names: str) -> tuple[Office, list[Crm]]:
    crms = [Crm(names=Catalogue(is_open=True)) for _ in names]
    return office(store, {ADS: Ads()}, dict(zip(names, crms, strict=True)), [SALE]), crms


async def read(made: Office, crm: Crm, *deals: Deal) -> None:
    crm.scans = [[crm.shows(*deals)], []]
    made.clock.advance(MINUTE)
    assert (await poll.once(made.tenant, force=True)).problems == []
    await assess.once(made.tenant)


async def method(store: Store, source: str, key: str) -> str | None:
    found = schema.deal.c.source == source, schema.deal.c.deal == key
    (row,) = await rows_kit.rows(store, schema.deal, *found)
    assert row["method"] is None or isinstance(row["method"], str)
    return row["method"]


async def test_a_deal_of_the_same_number_in_another_source_is_another_deal(store: Store) -> None:
    """Its click serves the person like any other's."""
    made, (crm, shop) = at_work(store, "crm", "shop")
    first = lead(5)
    await read(made, shop, replace(of(ANNA, first, has_click=True), created_at=first.created_at - DAY))
    await read(made, crm, of(ANNA, first, has_click=False))
    assert await method(store, "crm", "lead:5") == "contact"


async def test_a_contact_that_was_corrected_lends_its_click_no_more(store: Store) -> None:
    """The deal was put to the wrong person first: only the right one's other deals have its click."""
    made, (crm,) = at_work(store, "crm")
    await read(made, crm, of(ANNA, lead(1), has_click=True))
    await read(made, crm, of(BORIS, lead(1), has_click=True, version="v2"))
    await read(made, crm, of(ANNA, lead(2), has_click=False), of(BORIS, lead(3), has_click=False))
    assert [await method(store, "crm", key) for key in ("lead:2", "lead:3")] == [None, "contact"]


async def test_what_a_deleted_deal_told_stays_true(store: Store) -> None:
    """Of a deleted record nothing but its deletion is told: the click it knew was one."""
    made, (crm,) = at_work(store, "crm")
    await read(made, crm, of(ANNA, lead(1), has_click=True))
    gone = replace(lead(1, version="v2"), contacts=(), clues=(), is_deleted=True)
    await read(made, crm, gone)
    await read(made, crm, of(ANNA, lead(2), has_click=False))
    assert await method(store, "crm", "lead:2") == "contact"


async def test_a_deleted_deal_stays_what_it_was_until_it_comes_back(store: Store) -> None:
    """The shell that is told of it replaces nothing but the mark; nothing is promised while it is deleted."""
    made, (crm,) = at_work(store, "crm")
    await read(made, crm, lead(1, stage="10"))
    at = made.clock.now()
    gone = Deal(DealKind.LEAD, "1", "v2", at, at, "", "", Outcome.OPEN, is_deleted=True)
    await read(made, crm, gone)
    stored = (await made.tenant.records.facts(TENANT, "crm", ["lead:1"]))["lead:1"].deal
    assert (stored.is_deleted, stored.version, stored.stage, stored.updated_at) == (True, "v2", "10", at)
    assert len(stored.history) == 1
    assert await made.rows() == {}
    await read(made, crm, lead(1, version="v3"))
    stored = (await made.tenant.records.facts(TENANT, "crm", ["lead:1"]))["lead:1"].deal
    assert (stored.is_deleted, stored.stage) == (False, "142")
    assert len(await made.rows()) == 1


async def test_what_a_source_shows_for_a_while_only_is_kept(store: Store) -> None:
    """The form of an incoming lead is gone once it is accepted; a better identifier of the lead itself replaces it."""
    made, (crm,) = at_work(store, "crm")
    form = Clue(f"{ONCE}form_page", "1775110000000009999", IdKind.YCLID)
    field = Clue("field YCLID", "1775110000000008888", IdKind.YCLID)
    told = []
    for version, clues in (("v1", (form,)), ("v2", ()), ("v3", (field,))):
        await read(made, crm, replace(lead(1, version=version), clues=clues))
        facts = (await made.tenant.records.facts(TENANT, "crm", ["lead:1"]))["lead:1"]
        told.append([identifier.value for identifier in facts.reading.identifiers])
    assert told == [[form.text], [form.text], [field.text]]


async def test_the_deletion_of_a_deal_nobody_knows_is_no_deal(store: Store) -> None:
    """Leads that were thrown away before they were ever read count nowhere."""
    made, (crm,) = at_work(store, "crm")
    at = made.clock.now()
    await read(made, crm, Deal(DealKind.LEAD, "1", "v2", at, at, "", "", Outcome.OPEN, is_deleted=True))
    assert await rows_kit.rows(store, schema.deal) == []


async def test_a_deal_waits_for_clicks_of_the_person_it_is_now(store: Store) -> None:
    """Not of the one it was put to by mistake."""
    made, (crm,) = at_work(store, "crm")
    await read(made, crm, of(ANNA, lead(1), has_click=False))
    await read(made, crm, of(BORIS, lead(1), has_click=False, version="v2"))
    waiting = await rows_kit.rows(store, schema.orphan_key)
    await read(made, crm, of(BORIS, lead(1), has_click=False, version="v3"))
    assert await rows_kit.rows(store, schema.orphan_key) == waiting
    assert len(waiting) == 2  # by the phone, and by the number of the contact


async def test_a_key_of_very_many_records_joins_nobody_however_often_it_is_judged(store: Store) -> None:
    """The deal's own record, once it is stored, hides none of the others: the first answer is the last."""
    made, (crm,) = at_work(store, "crm")
    first = of(ANNA, lead(1), has_click=True)
    many = [
        replace(lead(2 + number), created_at=first.created_at - number * MINUTE, contacts=(ANNA,), clues=first.clues)
        for number in range(RECORDS_MOST + 1)
    ]
    await read(made, crm, *many)
    for version in ("v1", "v2"):
        await read(made, crm, replace(first, clues=(), version=version))
        (row,) = await rows_kit.rows(store, schema.deal, schema.deal.c.deal == first.key)
        assert (row["method"], row["unmatched"]) == (None, SHARED_CONTACT), version
