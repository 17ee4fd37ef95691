"""A call tracker's records serve the deals of other sources, in whatever order they are read, and count nowhere."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from itertools import permutations

from bridge.catalogue import Catalogue
from bridge.config import Goal
from bridge.errors import Throttled
from bridge.frozen import replace
from bridge.loops import assess, deliver, poll
from bridge.model import Clue, Contact, Deal, DealKind, IdKind, Outcome
from bridge.ports import SourceTraits
from bridge.store import Store, schema
from tests.simulation.kit import events
from tests.store import kit as rows_kit
from tests.store.kit import ADS
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, Ads, Crm, Office, office
from tests.unit.loops.test_poll import SALE, lead

PHONE = "+79991234567"
YCLIDS = ("13527482094718121", "13527482094718122", "13527482094718123")


def call(number: int, before: timedelta, yclid: str | None, *, phone: str = PHONE, version: str = "v1") -> Deal:
    """A call so long before the lead; without a yclid nothing is known of its visit."""
    at = lead(1).created_at - before
    clues = (Clue("url", f"https://okna.example/?yclid={yclid}"),) if yclid else ()
    caller = (Contact("", phones=(phone,)),)
    return Deal(DealKind.CALL, str(number), version, at, at, "", "", Outcome.OPEN, clues=clues, contacts=caller)


def phone_lead(number: int = 1, *, phone: str = PHONE) -> Deal:
    """A sold lead that shows no click."""
    return replace(lead(number), contacts=(Contact(str(number), phones=(phone,)),), clues=())


def at_work(store: Store) -> tuple[Office, Crm, Crm]:
    crm = Crm(names=Catalogue(is_open=True))
    calls = Crm(names=Catalogue(), traits=SourceTraits(brings_touches=True))
    return office(store, {ADS: Ads()}, {"crm": crm, "calls": calls}, [SALE]), crm, calls


async def read(made: Office, port: Crm, *deals: Deal) -> None:
    port.scans = [[port.shows(*deals)], []]
    made.clock.advance(MINUTE)
    assert (await poll.once(made.tenant, force=True)).problems == []
    await assess.once(made.tenant)


async def matched(store: Store, made: Office, key: str = "lead:1") -> tuple[str | None, set[str]]:
    """How a lead of the CRM is matched, and the clicks promised for it."""
    (row,) = await rows_kit.rows(store, schema.deal, schema.deal.c.source == "crm", schema.deal.c.deal == key)
    contents = [await made.tenant.ledger.due(ADS, START + timedelta(days=30), 100)]
    return row["method"], {item.value for due in contents[0] for item in due.content.identifiers}


async def test_a_call_read_after_its_deal_still_serves_it(store: Store) -> None:
    """And one whose visit becomes known only later."""
    made, crm, calls = at_work(store)
    await read(made, crm, phone_lead())
    await read(made, calls, call(1, 4 * MINUTE, None))
    assert (await matched(store, made))[0] is None
    await read(made, calls, call(1, 4 * MINUTE, YCLIDS[0], version="v2"))
    assert await matched(store, made) == ("call", {YCLIDS[0]})


async def test_a_nearer_call_that_is_read_later_replaces_a_farther_one(store: Store) -> None:
    """As long as nothing is on its way: whichever was read first, the nearest decides."""
    made, crm, calls = at_work(store)
    await read(made, calls, call(1, DAY, YCLIDS[0]))
    await read(made, crm, phone_lead())
    assert await matched(store, made) == ("call", {YCLIDS[0]})
    await read(made, calls, call(2, MINUTE, YCLIDS[1]))
    assert await matched(store, made) == ("call", {YCLIDS[1]})


async def test_a_tracker_need_not_know_the_stages_of_goals(store: Store, logs: io.StringIO) -> None:
    """It is no trouble that it has none; that a CRM lacks them is."""
    staged = Goal.model_validate({"name": "agreed", "when": {"stage": ["Агреман"]}, "send": {ADS: "agreed"}})
    calls = Crm(names=Catalogue(), traits=SourceTraits(brings_touches=True))
    made = office(store, {ADS: Ads()}, {"crm": Crm(names=Catalogue()), "calls": calls}, [staged])
    await poll.once(made.tenant, force=True)
    assert [line["source"] for line in events(logs, "goal_problem")] == ["crm"]


async def test_calls_reach_no_goal_and_wait_for_nothing(store: Store) -> None:
    """A tracker's records are touches: neither open deals for the sweep, nor conversions, nor orphans."""
    made, crm, calls = at_work(store)
    await read(made, calls, call(1, DAY, YCLIDS[0]), call(2, DAY, None))
    assert await rows_kit.rows(store, schema.conversion) == []
    assert await rows_kit.rows(store, schema.orphan_key) == []
    assert {row["is_open"] for row in await rows_kit.rows(store, schema.deal)} == {False}
    shown = {row["deal"]: row["identifiers"] for row in await rows_kit.rows(store, schema.touch)}
    assert set(shown) == {"call:1", "call:2"}
    assert shown["call:2"] == b"[]"
    assert crm.completed == {}


async def test_a_call_from_another_phone_serves_nobody_else(store: Store) -> None:
    """Only an equal phone joins."""
    made, crm, calls = at_work(store)
    await read(made, calls, call(1, MINUTE, YCLIDS[0], phone="+79997654321"))
    await read(made, crm, phone_lead())
    assert await matched(store, made) == (None, set())


async def test_a_deal_that_names_its_visit_is_matched_when_the_visit_becomes_known(store: Store) -> None:
    """By the number alone: its phone is another one."""
    made, crm, calls = at_work(store)
    number = Clue("field roistat", "1234567", IdKind.ROISTAT)
    await read(made, crm, replace(phone_lead(phone="+79990000001"), clues=(number,)))
    assert (await matched(store, made))[0] == "field"
    known = call(1, MINUTE, YCLIDS[2])
    await read(made, calls, replace(known, clues=(*known.clues, replace(number, where="visit.id"))))
    method, sent = await matched(store, made)
    assert method == "visit"
    assert YCLIDS[2] in sent
    assert await rows_kit.rows(store, schema.orphan_key) != []


async def test_a_phone_that_turns_out_to_be_many_peoples_lets_go_of_what_it_had_joined(store: Store) -> None:
    """The bound is crossed by a late call: the deal matched before is judged again like one that is read after it.

    So it is when that call is put right: it came from another phone.
    """
    made, crm, calls = at_work(store)
    bound = made.tenant.settings.match.shared_above
    many = [call(number, number * MINUTE, f"135274820947182{number:02d}") for number in range(1, bound + 2)]
    await read(made, calls, *many[:-1])
    await read(made, crm, phone_lead())
    assert (await matched(store, made))[0] == "call"
    await read(made, calls, many[-1])
    await read(made, crm, phone_lead(2))
    for key in ("lead:1", "lead:2"):
        (row,) = await rows_kit.rows(store, schema.deal, schema.deal.c.deal == key)
        assert (row["method"], row["unmatched"]) == (None, "shared_contact")
    await read(made, calls, replace(many[-1], version="v2", contacts=(Contact("", phones=("+79997654321",)),)))
    assert [(await matched(store, made, key))[0] for key in ("lead:1", "lead:2")] == ["call", "call"]


async def test_whatever_is_read_first_the_match_is_the_same(store: Store) -> None:
    """A deal, two calls and another deal of the same person with a click of its own, in each of their orders."""
    ends = set()
    for number, order in enumerate(permutations(range(4))):
        made, crm, calls = at_work(store)
        phone = f"+7999{number:07d}"
        base = 10 * number + 1
        own = replace(lead(base + 1), created_at=lead(1).created_at - 3 * DAY, contacts=(Contact("", phones=(phone,)),))
        steps = (
            (crm, phone_lead(base, phone=phone)),
            (calls, call(base, DAY, YCLIDS[0], phone=phone)),
            (calls, call(base + 1, -MINUTE, YCLIDS[1], phone=phone)),
            (crm, own),
        )
        for index in order:
            await read(made, *steps[index])
        facts = (await made.tenant.records.facts(made.tenant.name, "crm", [f"lead:{base}"]))[f"lead:{base}"]
        desk = await assess.desk_for(made.tenant, made.tenant.sources["crm"])
        judged = await assess.judge_all(desk, assess.entered_before([facts]), frozenset([f"lead:{base}"]))
        (row,) = await rows_kit.rows(store, schema.deal, schema.deal.c.deal == f"lead:{base}")
        ends.add((row["method"], judged.assessed[0].match.evidence.replace(f":{base + 1},", ":N,")))
    assert ends == {("call", "same person (phone) as calls/call:N, 60 s after the deal: yclid in url")}


async def sent(made: Office) -> set[str]:
    """The clicks that the destination has been told of."""
    await deliver.once(made.tenant, force=True)
    rows = await rows_kit.rows(made.tenant.store, schema.delivery, schema.delivery.c.state == "accepted")
    return {click for row in rows for click in re.findall(r"\d{17,20}", row["content"].decode())}


async def test_nothing_is_sent_with_an_older_click_while_a_tracker_is_unread(store: Store) -> None:
    """It may know a nearer call; a deal that names its click waits for nobody, and nobody waits longer than a day."""
    made, crm, calls = at_work(store)
    other = "+79997654321"
    older = call(1, DAY, YCLIDS[0]), call(2, DAY, YCLIDS[1], phone=other)
    now = START + DAY
    made.clock.set(now - 2 * HOUR)
    await read(made, calls, *(replace(one, created_at=now - 3 * HOUR) for one in older))
    made.clock.set(now)
    leads = [phone_lead(1), phone_lead(2, phone=other), lead(3)]
    new = [replace(one, created_at=now, history=(replace(one.history[0], at=now),)) for one in leads]
    crm.scans, calls.scans = [[crm.shows(*new)], []], [[Throttled("too many requests")]]
    await poll.once(made.tenant, force=True)
    own = lead(3).clues[0].text
    assert await sent(made) == {own}
    made.clock.advance(HOUR)
    nearer = replace(call(3, MINUTE, YCLIDS[2]), created_at=now - MINUTE, updated_at=now)
    calls.scans = [[calls.shows(nearer)], [], [Throttled("too many requests")]]
    crm.scans = [[]]
    await poll.once(made.tenant, force=True)
    assert await sent(made) == {own, YCLIDS[1]}  # the other deal is to be judged first
    await assess.once(made.tenant)
    made.clock.advance(MINUTE)
    assert await sent(made) == {own, YCLIDS[1]}  # two visitors on one phone within hours are a guess
    assert {row["code"] for row in await rows_kit.rows(store, schema.delivery)} == {None, "unmatched"}


async def test_a_backfill_writes_what_it_withdraws(store: Store) -> None:
    """It judges stored deals before they are judged again: what one no longer counts, another of the page may."""
    made, crm, calls = at_work(store)
    await read(made, calls, call(1, 3 * HOUR, YCLIDS[0]))
    await read(made, crm, phone_lead())
    calls.scans = [[calls.shows(call(2, MINUTE, YCLIDS[1]))], []]
    await poll.once(made.tenant, force=True)
    how = poll.Reading(None, moves_watermark=False, judges_all=True)
    await poll.judge_stored(made.tenant, made.tenant.sources["crm"], ["lead:1"], how)
    assert [row["code"] for row in await rows_kit.rows(store, schema.delivery)] == ["unmatched"]


async def test_a_tracker_that_stays_unread_is_waited_for_no_longer_than_configured(store: Store) -> None:
    """Then what is known has to do."""
    made, crm, calls = at_work(store)
    await read(made, calls, replace(call(1, DAY, YCLIDS[0]), created_at=START))
    made.clock.advance(HOUR)
    new = replace(phone_lead(), created_at=made.clock.now())
    crm.scans, calls.scans = [[crm.shows(new)], []], [[Throttled("too many requests")]]
    await poll.once(made.tenant, force=True)
    made.clock.advance(made.tenant.settings.match.wait_for_touches - MINUTE)
    assert await sent(made) == set()
    made.clock.advance(MINUTE)
    assert await sent(made) == {YCLIDS[0]}
