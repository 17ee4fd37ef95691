"""What the collector knows serves the deals of the CRM, whichever is read first, and is forgotten when it was read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from bridge.catalogue import Catalogue
from bridge.collector.post import Form
from bridge.collector.settings import KIND
from bridge.collector.source import CollectorSource
from bridge.frozen import replace
from bridge.loops import assess, poll, tidy
from bridge.model import Clue, Contact, IdKind
from bridge.store import Store, schema
from bridge.store.collected import Collected
from bridge.tenant import SourceUnit
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.unit.collector.kit import GCLID, KEY, YCLID, body, settings, taken
from tests.unit.loops.kit import DAY, MINUTE, Ads, Crm, Office, office
from tests.unit.loops.test_calls import matched, read
from tests.unit.loops.test_poll import SALE, lead

CARRIED = Clue("field ID", KEY, IdKind.LEAD_KEY)


async def at_work(store: Store) -> tuple[Office, Crm]:
    """A CRM and a collector; the clock stands after the lead came."""
    crm = Crm(names=Catalogue(is_open=True))
    made = office(store, {ADS: Ads()}, {"crm": crm}, [SALE])
    port = CollectorSource(TENANT, settings(), Collected(store), made.clock)
    made.tenant.sources = {**made.tenant.sources, KIND: SourceUnit(KIND, settings(), port)}
    sources = {**made.tenant.settings.sources, KIND: settings()}
    made.tenant.settings = made.tenant.settings.model_copy(update={"sources": sources})
    return made, crm


async def posted(made: Office, told: Mapping[str, Any], *joins: str) -> Form:
    """A post arrives now, and is read."""
    form = replace(taken(told)[0], at=made.clock.now(), joins=joins)
    await Collected(made.tenant.store).add({(TENANT, form.key): msgspec.json.encode(form)}, {}, made.clock)
    made.clock.advance(MINUTE)
    assert (await poll.once(made.tenant, force=True)).problems == []
    await assess.once(made.tenant)
    return form


async def test_a_deal_and_its_form_meet_in_either_order(store: Store) -> None:
    """By the key that the deal carries."""
    for is_form_first in (True, False):
        made, crm = await at_work(store)
        deal = replace(lead(1), clues=(CARRIED,))
        if not is_form_first:
            await read(made, crm, deal)
            assert await matched(store, made) == (None, set())
        await posted(made, body(c={}))
        if is_form_first:
            await read(made, crm, deal)
        assert await matched(store, made) == ("visit", {YCLID})
        await rows_kit.clear(store)


async def test_a_form_with_a_phone_serves_the_person_like_a_trackers(store: Store) -> None:
    """Its digests are those of the deal's contacts."""
    made, crm = await at_work(store)
    person = (Contact("1", phones=("+79991234567",)),)
    await read(made, crm, replace(lead(1), created_at=made.clock.now(), contacts=person, clues=()))
    rows = await rows_kit.rows(store, schema.orphan_key, schema.orphan_key.c.source == "crm")
    await posted(made, body(c={}), *[row["digest"] for row in rows])
    assert await matched(store, made) == ("call", {YCLID})


async def test_the_first_landing_is_a_touch_of_its_own_when_it_shows_another_click(store: Store) -> None:
    """With its own time; the form carries the facts that rules look at."""
    made, _ = await at_work(store)
    first = {"l": f"https://okna.example/?gclid={GCLID}", "r": "https://www.google.com/", "a": 10 * 86400}
    form = await posted(made, body(f=first))
    rows = {row["deal"]: row for row in await rows_kit.rows(store, schema.touch)}
    assert set(rows) == {f"form:{KEY}", f"visit:{KEY}"}
    assert rows[f"form:{KEY}"]["at"] - rows[f"visit:{KEY}"]["at"] == 10 * DAY // timedelta(microseconds=1)
    stored = await made.tenant.records.facts(TENANT, KIND, [f"form:{KEY}"])
    fields = stored[f"form:{KEY}"].deal.fields
    assert fields["too_fast"] == ("no",)
    assert (fields["visits"], fields["utm_source"], fields["landing_page"]) == (
        ("2",),
        ("yandex",),
        ("https://okna.example/balkony",),
    )
    assert fields["first_landing_page"] == ("https://okna.example/",)
    assert set(form.facts) <= set(fields)
    assert stored[f"form:{KEY}"].reading.channel == "yandex_direct"
    assert await rows_kit.rows(store, schema.conversion) == []


async def test_a_first_landing_that_shows_nothing_else_is_none(store: Store) -> None:
    """One form, one touch."""
    made, _ = await at_work(store)
    await posted(made, body(f={"l": "https://okna.example/", "a": 99999}))
    assert [row["deal"] for row in await rows_kit.rows(store, schema.touch)] == [f"form:{KEY}"]


async def test_posts_are_forgotten_a_week_after_they_were_read(store: Store) -> None:
    """One that was not read yet stays, however old it is, and the last that was; the touches stay for much longer."""
    made, _ = await at_work(store)
    await posted(made, body())
    last = await posted(made, body(k=f"bl{'2' * 24}"))
    unread = f"bl{'1' * 24}"
    await made.tenant.collected.add({(TENANT, unread): b"{}"}, {}, made.clock)
    made.clock.advance(8 * DAY)
    assert (await tidy.once(made.tenant)).done["posts_forgotten"] == 1
    kept = await rows_kit.rows(store, schema.collected)
    assert {row["record"] for row in kept} == {unread, last.key}
    assert len(await rows_kit.rows(store, schema.touch)) == 2
    made.tenant.settings = made.tenant.settings.model_copy(update={"sources": {}})
    assert (await tidy.once(made.tenant)).done["posts_forgotten"] == 2


async def test_what_a_form_told_is_forgotten_once_no_sale_takes_so_long(store: Store) -> None:
    """With its first landing, and not before it, however long ago that was; so floods do not add up for ever."""
    made, _ = await at_work(store)
    first = {"l": f"https://okna.example/?gclid={GCLID}", "a": 399 * 86400}
    told = []
    for digit in "12":
        told.append((await posted(made, body(k=f"bl{digit * 24}", f=first))).key)
        made.clock.advance(390 * DAY)
    assert (await tidy.once(made.tenant)).done["visits_forgotten"] == 2
    for table in (schema.deal, schema.touch, schema.touch_key):
        assert {row["deal"] for row in await rows_kit.rows(store, table)} == {f"form:{told[1]}", f"visit:{told[1]}"}
