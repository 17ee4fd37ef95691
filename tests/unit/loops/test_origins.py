"""What a deal does not tell itself, its lead and its form do: whichever is read first, the same in the end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest

from bridge.config import Goal
from bridge.frozen import replace
from bridge.loops import assess, poll
from bridge.model import Clue, Contact, Deal, DealKind, IdKind, Outcome
from bridge.ports import SourceTraits
from bridge.store import Store, schema
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import DAY, MINUTE, Ads, Crm, Office, office
from tests.unit.loops.test_poll import NAMES, lead

KEY, YCLID = "bl4q8z1m7w2x5r9c3n6v0b8d2f", "17751101234567890123"
CARRIED = Clue("field ID", KEY, IdKind.LEAD_KEY)
PHONE, OTHER = "+79161234567", "+79161234568"
CAME = START - DAY
SCORES = {
    "warmth": {
        "rules": [
            {"points": 10, "when": {"fact": {"visits": ">= 2"}}},
            {"points": 20, "when": {"pages": {"/price": ">= 2"}}},
            {"points": 5, "when": {"fact": {"visits_before": ">= 1", "too_fast": False}}},
        ]
    }
}
KEEN = Goal.model_validate({"name": "keen", "when": {"score": {"warmth": ">= 30"}}, "send": {ADS: "keen"}})
KNOWN = Goal.model_validate(
    {
        "name": "known",
        "when": {"fact": {"landing": "/price", "has_phone": True, "channel": "yandex_direct"}},
        "send": {ADS: "known"},
    }
)


def at_work(store: Store, *goals: Goal, scores: Any = None) -> Office:
    sources = {"crm": Crm(names=NAMES), "site": Crm(traits=SourceTraits(brings_touches=True))}
    return office(store, {ADS: Ads()}, sources, goals, scores)


def form(number: str, *, phone: str = "", visits: int = 3, before: int = 5, version: str = "v1") -> Deal:
    """A form that our collector tells of, sent so many minutes before the lead came."""
    at = CAME - before * MINUTE
    fields = {
        "visits": (str(visits),),
        "pages_seen": ("/order", "/price", "/", "/price/windows"),
        "too_fast": ("no",),
        "form_seconds": ("40",),
    }
    clues = (Clue("key", number, IdKind.LEAD_KEY), Clue("landing page", f"https://okna.example/price?yclid={YCLID}"))
    contacts = (Contact("", phones=(phone,)),) if phone else ()
    form = Deal(DealKind.FORM, number, version, at, at, "", "", Outcome.OPEN, clues=clues, contacts=contacts)
    return replace(form, fields=fields)


def came(number: int, *clues: Clue, phone: str = "") -> Deal:
    """A new lead."""
    contacts = (Contact(str(number), phones=(phone,)),) if phone else ()
    return replace(lead(number, CAME, stage="10"), created_at=CAME, clues=clues, contacts=contacts)


async def read(made: Office, deal: Deal) -> None:
    for name, unit in made.tenant.sources.items():
        port = unit.port
        assert isinstance(port, Crm)
        port.scans = [[port.shows(*([deal] if deal.is_touch == (name == "site") else []))], []]
    made.clock.advance(MINUTE)
    assert (await poll.once(made.tenant, force=True)).problems == []
    await assess.once(made.tenant)


async def reached(store: Store) -> set[tuple[str, str]]:
    return {(row["deal"], row["goal"]) for row in await rows_kit.rows(store, schema.conversion)}


async def stored(made: Office, key: str) -> dict[str, tuple[str, ...]]:
    """What is stored as learnt of a deal."""
    facts = await made.tenant.records.facts(TENANT, "crm", [key])
    known = facts[key].deal.background
    return {} if known is None else {name: one.values for name, one in known.learnt.items()}


@pytest.mark.parametrize("own", [(CARRIED,), (CARRIED, Clue("field YCLID", YCLID, IdKind.YCLID)), ()])
async def test_a_form_tells_how_its_visitor_behaved_in_either_order(store: Store, own: Sequence[Clue]) -> None:
    """By the lead key, also where the deal's own click leaves nothing to look for, or by the phone."""
    ends = []
    for is_form_first in (True, False):
        made = at_work(store, KEEN, scores=SCORES)
        deals = [came(1, *own, phone=PHONE), form(KEY, phone=PHONE)]
        for deal in reversed(deals) if is_form_first else deals:
            await read(made, deal)
        ends.append((await stored(made, "lead:1"), await reached(store)))
        await rows_kit.clear(store)
    assert ends[0] == ends[1]
    learnt, goals = ends[0]
    assert goals == {("lead:1", "keen")}
    assert {name: learnt[name] for name in ("visits", "visits_before", "too_fast")} == {
        "visits": ("3",),
        "visits_before": ("2",),
        "too_fast": ("no",),
    }
    assert "form_seconds" not in learnt  # nobody asks for it


async def test_explain_tells_what_was_learnt_and_from_where(store: Store) -> None:
    """And each rule of the score with the condition it looked at."""
    made = at_work(store, KEEN, scores=SCORES)
    await read(made, came(1, CARRIED))
    told = await made.explained("lead:1")
    assert told["learnt"] == []
    assert [one["reason"] for one in told["scores"][0]["summands"]][1] == "views of /price >= 2: pages are not known"
    await read(made, form(KEY))
    told = await made.explained("lead:1")
    assert {(one["fact"], one["known_from"]) for one in told["learnt"]} == {
        (name, f"site/form:{KEY}") for name in ("visits", "visits_before", "pages_seen", "too_fast")
    }
    (score,) = told["scores"]
    assert [(one["points"], one["rule"]) for one in score["summands"]] == [
        (10, "visits >= 2"),
        (20, "views of /price >= 2"),
        (5, "visits_before >= 1, too_fast = False"),
    ]


async def test_a_form_that_is_corrected_is_told_of_anew(store: Store) -> None:
    """The deal is judged again by what it says now."""
    made = at_work(store, KEEN, scores=SCORES)
    await read(made, came(1, CARRIED))
    await read(made, form(KEY))
    await read(made, form(KEY, visits=1, before=4, version="v2"))
    assert (await stored(made, "lead:1"))["visits"] == ("1",)


async def test_a_form_of_somebody_else_tells_nothing(store: Store) -> None:
    """Another phone, another key; of two of the same person the nearest counts."""
    made = at_work(store, KEEN, scores=SCORES)
    await read(made, came(1, phone=PHONE))
    await read(made, form("bl" + "1" * 24, phone=OTHER, visits=9))
    assert await stored(made, "lead:1") == {}
    await read(made, form("bl" + "2" * 24, phone=PHONE, visits=4, before=600))
    await read(made, form("bl" + "3" * 24, phone=PHONE, visits=5, before=6))
    await read(made, form("bl" + "4" * 24, phone=PHONE, visits=6, before=60))
    assert (await stored(made, "lead:1"))["visits"] == ("5",)


LEAD = came(1, CARRIED, Clue("page", f"https://okna.example/price?yclid={YCLID}"), phone=PHONE)
CHILD = replace(came(2), kind=DealKind.DEAL, parent="lead:1", created_at=CAME + DAY)


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_a_deal_knows_what_its_lead_and_the_leads_form_know(store: Store, order: tuple[int, ...]) -> None:
    """Contact, page and channel of the lead; visits and click of the form whose key the lead carries. The key is the
    lead's alone, and the deal has neither a phone nor a click."""
    made = at_work(store, KEEN, KNOWN, scores=SCORES)
    page = Clue("page", "https://okna.example/price?utm_source=yandex&utm_medium=cpc")
    deals = (replace(LEAD, clues=(CARRIED, page)), CHILD, form(KEY))
    for index in order:
        await read(made, deals[index])
    told = await made.explained("deal:2")
    assert {one["goal"] for one in told["judgements"] if one["verdict"] == "qualified"} == {"keen", "known"}
    assert {goal for _, goal in await reached(store)} == {"keen", "known"}
    learnt = await stored(made, "deal:2")
    assert (learnt["has_phone"], learnt["landing"], learnt["visits_before"]) == (("yes",), ("/price",), ("2",))
    assert told["match"]["method"] == "visit"
    assert told["match"]["evidence"] == f"lead key {KEY}, known from site/form:{KEY}: yclid in landing page"
    (row,) = await rows_kit.rows(store, schema.deal, schema.deal.c.deal == "deal:2")
    assert (row["method"], row["is_dirty"]) == ("visit", 0)


async def test_a_lead_that_is_corrected_is_told_of_anew(store: Store) -> None:
    """A lead without news stirs nobody up."""
    made = at_work(store, KNOWN)
    await read(made, LEAD)
    await read(made, CHILD)
    assert (await stored(made, "deal:2"))["landing"] == ("/price",)
    other = replace(LEAD, version="v2", clues=(Clue("page", "https://okna.example/sale?yclid=17751101234567890123"),))
    await read(made, other)
    assert (await stored(made, "deal:2"))["landing"] == ("/sale",)
    crm = made.tenant.sources["crm"].port
    assert isinstance(crm, Crm)
    crm.scans = [[crm.shows(replace(other, version="v3"))], []]
    await poll.once(made.tenant, force=True)
    assert await made.tenant.records.dirty(TENANT, "crm", made.clock.now()) == []


async def test_goals_that_come_to_ask_for_it_judge_stored_deals_again(store: Store) -> None:
    """Nothing is read anew: the forms are known."""
    made = at_work(store, KNOWN)
    await read(made, came(1, CARRIED))
    await read(made, form(KEY))
    again = at_work(store, KEEN, scores=SCORES)
    again.clock.set(made.clock.now())
    await assess.once(again.tenant)
    for unit in again.tenant.sources.values():
        port = unit.port
        assert isinstance(port, Crm)
        port.scans = [[port.shows()], []]
    await poll.once(again.tenant, force=True)
    await assess.once(again.tenant)
    assert (await stored(again, "lead:1"))["visits"] == ("3",)
