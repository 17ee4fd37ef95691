"""Tokens, requests and reports: small tables that must not lose or mix anything either."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from bridge.frozen import replace
from bridge.model import DealKind
from bridge.sim.clock import ManualClock
from bridge.states import Move
from bridge.store import Store, schema
from bridge.store.codec import micros
from bridge.store.ledger import Ledger, Settlement
from bridge.store.moves import Shift
from bridge.store.records import Records
from bridge.store.reports import Reports
from bridge.store.requests import Requests
from bridge.store.tokens import DatabaseTokens
from bridge.tools import Tokens
from tests.store import kit
from tests.support import START

LATER = START + timedelta(hours=1)
FRESH = Tokens("access", START, "refresh")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


# --- tokens ------------------------------------------------------------------------------------------------------


async def test_saved_tokens_are_there_for_the_next_process(store: Store, database_url: str, clock: ManualClock) -> None:
    """Save returns when the tokens are committed: another process reads them right away."""
    await DatabaseTokens(store, clock).save("okna/crm", "seed", FRESH)
    other = await Store.open(database_url)
    assert await DatabaseTokens(other, clock).load("okna/crm", "seed") == FRESH
    await other.close()


async def test_tokens_belong_to_the_start_value_they_came_from(store: Store, clock: ManualClock) -> None:
    """A new start value in the configuration wins over what was stored under the old one; accounts share nothing."""
    tokens = DatabaseTokens(store, clock)
    await tokens.save("okna/crm", "old", FRESH)
    assert await tokens.load("okna/crm", "new") is None
    assert await tokens.load("dom/crm", "old") is None
    renewed = Tokens("access 2", None, None)
    await tokens.save("okna/crm", "new", renewed)
    assert await tokens.load("okna/crm", "new") == renewed
    assert await tokens.load("okna/crm", "old") is None
    assert len(await kit.rows(store, schema.token)) == 1


async def test_a_number_means_whatever_has_it(store: Store) -> None:
    """A lead, a deal and items of smart processes may share one; a key means itself, and a place narrows it down."""
    named = {DealKind.LEAD: ["15", "151"], DealKind.DEAL: ["15"], DealKind.ITEM: ["1032-15", "128-15", "1032-115"]}
    made = [replace(kit.deal(1), kind=kind, id=name) for kind, names in named.items() for name in names]
    await Records(store).write_page(kit.page(*map(kit.assessed, made)))
    reports = Reports(store)

    async def meant(text: str) -> list[str]:
        return [key for _, key in await reports.find_deals(kit.TENANT, text)]

    assert await meant("15") == ["deal:15", "item:1032-15", "item:128-15", "lead:15"]
    assert await meant("1032-15") == ["item:1032-15"]
    assert await meant("lead:15") == ["lead:15"]
    assert await meant("item:128-15") == ["item:128-15"]
    assert await meant(f"{kit.SOURCE}/deal:15") == ["deal:15"]
    assert await meant("other/15") == []
    assert await meant("%") == []


# --- requests ----------------------------------------------------------------------------------------------------


async def test_a_request_is_seen_until_it_is_finished(store: Store, clock: ManualClock) -> None:
    """Waiting and running requests are work to do (a crash leaves them running), oldest first; others are not."""
    requests = Requests(store, clock)
    keys = [await requests.add("okna", "backfill", {"since": f"2026-0{n}-01"}) for n in (1, 2, 3, 4)]
    other = await requests.add("dom", "resolve", {})
    assert sorted(await requests.waiting_tenants()) == ["dom", "okna"]
    await requests.update(keys[1], "running", {"share": 0.5})
    await requests.update(keys[2], "done", {"share": 1.0})
    await requests.update(keys[3], "failed", error="Unavailable: 503")
    await requests.update(other, "done")
    assert [request.id for request in await requests.unfinished("okna")] == keys[:2]
    assert await requests.waiting_tenants() == ["okna"]


async def test_a_request_says_how_far_it_is_and_why_it_failed(store: Store, clock: ManualClock) -> None:
    """Arguments come back as given; progress stays when only the state changes."""
    requests = Requests(store, clock)
    key = await requests.add("okna", "backfill", {"since": "2026-01-01", "dry_run": True})
    await requests.update(key, "running", {"share": 0.5, "finished": ["crm"]})
    clock.set(LATER)
    await requests.update(key, "failed", error="Unavailable: 503")
    found = await requests.get(key)
    assert found.arguments == {"since": "2026-01-01", "dry_run": True}
    assert (found.state, found.error) == ("failed", "Unavailable: 503")
    assert found.progress == {"share": 0.5, "finished": ["crm"]}
    (row,) = await kit.rows(store, schema.request)
    assert (row["created_at"], row["updated_at"]) == (micros(START), micros(LATER))


# --- reports -----------------------------------------------------------------------------------------------------


async def lived(store: Store) -> Ledger:
    """Four sales: one accepted, one rejected, one held, one pending; a lead that matched nothing; a bad record."""
    ledger = Ledger(store, kit.TENANT)
    await kit.plan(store, *(kit.conversion(number) for number in (1, 2, 3)))
    await Records(store).write_page(kit.page(kit.assessed(kit.deal(8), match=kit.LOST), watermark=START))
    sealed = await kit.sent(ledger)
    moves = {1: Move.ACCEPT, 2: Move.REJECT, 3: Move.HOLD}
    shifts = [Shift(kit.key(number), move, "why") for number, move in moves.items()]
    await ledger.record(Settlement(sealed, shifts, {}, LATER), LATER)
    await kit.plan(store, kit.conversion(4), now=LATER)
    return ledger


async def test_counts_of_a_source_close(store: Store) -> None:
    """Every stored deal is counted once: by the method that matched it, or as unmatched."""
    await lived(store)
    report = await Reports(store).source(kit.TENANT, kit.SOURCE)
    assert (report.deals, report.unmatched, report.methods) == (5, 1, {"field": 4})
    assert report.confidence == {"exact": 4}
    assert report.watermark == START
    assert (await Reports(store).source("dom", kit.SOURCE)).deals == 0


async def test_counts_of_a_destination_close(store: Store) -> None:
    """Every delivery is counted in exactly one state; what is on the wire without an answer is in doubt."""
    ledger = await lived(store)
    report = await Reports(store).destination(kit.TENANT, kit.ADS)
    assert {state: count for state, count in report.states.items() if count} == {
        "accepted": 1,
        "rejected": 1,
        "held": 1,
        "pending": 1,
    }
    assert (report.oldest_pending, report.in_doubt) == (LATER, 0)
    await kit.sent(ledger, LATER)
    report = await Reports(store).destination(kit.TENANT, kit.ADS)
    assert (report.oldest_pending, report.in_doubt) == (None, 1)
    states = {"accepted": 1, "rejected": 1, "held": 1, "sealed": 1}
    here = {kit.ADS: {"corrections": 0, **states}}
    assert (await Reports(store).goals(kit.TENANT))["sale"] == {
        "reached": 4,
        "deals": 4,
        "destinations": here,
        **states,
    }


async def test_a_goal_counts_its_deals_once_and_its_deliveries_by_destination(store: Store) -> None:
    """One sale that is told to two destinations, and corrected at one of them: one deal, three deliveries."""
    await kit.plan(store, kit.conversion(1))
    for made, destination in ((kit.conversion(1), "other"), (kit.conversion(1, 1), kit.ADS)):
        promised = kit.assessed(kit.deal(1, destination), kit.promise(made, destination=destination))
        await Records(store).write_page(kit.page(promised))
    assert (await Reports(store).goals(kit.TENANT))["sale"] == {
        "reached": 1,
        "deals": 1,
        "pending": 3,
        "destinations": {kit.ADS: {"pending": 2, "corrections": 1}, "other": {"pending": 1, "corrections": 0}},
    }


async def test_held_rows_are_listed_with_what_a_person_needs(store: Store) -> None:
    """Which deal, which goal, where, since when and why; another tenant's list does not show them."""
    await lived(store)
    (row,) = await Reports(store).held(kit.TENANT)
    assert (row.id, row.deal, row.goal, row.destination) == (kit.key(3), "lead:3", "sale", kit.ADS)
    assert (row.code, row.since) == ("why", LATER)
    assert await Reports(store).held(None) == [row]
    assert await Reports(store).held("dom") == []


async def test_a_deal_is_found_by_what_people_call_it(store: Store) -> None:
    """Number alone, with its kind, or with its source."""
    await lived(store)
    reports = Reports(store)
    for name in ("1", "lead:1", "crm/lead:1", "crm/1"):
        assert await reports.find_deals(kit.TENANT, name) == [(kit.SOURCE, "lead:1")]
    for name in ("99", "deal:1", "other/1"):
        assert await reports.find_deals(kit.TENANT, name) == []
    assert await reports.find_deals("dom", "1") == []


async def test_a_deals_report_holds_its_whole_story(store: Store) -> None:
    """Facts, touch, conversions, deliveries and every event of each, in order."""
    await lived(store)
    report = await Reports(store).deal(kit.TENANT, kit.SOURCE, "lead:1")
    assert report.facts.deal.key == "lead:1"
    assert report.touch is not None
    assert report.conversions == (kit.conversion(1),)
    (delivery,) = report.deliveries
    assert (delivery.state, delivery.code, delivery.content) == ("accepted", "why", kit.content(kit.conversion(1)))
    assert [event.after for event in delivery.events] == ["pending", "sealed", "accepted"]
    assert delivery.events[-1].at == LATER


async def test_a_tampered_chain_is_counted(store: Store) -> None:
    """An event that does not start where the one before ended does not go unseen."""
    await lived(store)
    assert await Reports(store).broken_chains() == 0
    async with store.write("test") as connection:
        await connection.execute(text("UPDATE delivery_event SET before = 'held' WHERE after = 'accepted'"))
    assert await Reports(store).broken_chains() == 1
