"""Spam rules over a store: whatever the order of reading, what is known in the end is the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from bridge.catalogue import Catalogue
from bridge.config import Goal
from bridge.frozen import replace
from bridge.loops import assess, deliver, poll, tidy, write_back
from bridge.model import Background, Clue, Contact, Deal, DealKind, IdKind, Outcome
from bridge.ports import SourceTraits
from bridge.rules.suspicion import request_of, rows_of
from bridge.store import Store, schema
from bridge.store.codec import micros
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import DAY, MINUTE, TRAITS, Ads, Crm, Office, office
from tests.unit.loops.test_poll import lead
from tests.unit.loops.test_write_back import Pen

RULES: dict[str, Any] = {
    "needs": 2,
    "phone_invalid": True,
    "honeypot": "alone",
    "duplicate": {"within": "2h"},
    "burst_client": {"within": "1h", "count": 3, "alone": True},
    "burst_page": {"within": "10m", "count": 3},
    "burst_ip": {"within": "1h", "count": 3},
}
GOAL = Goal.model_validate(
    {"name": "sale", "when": {"outcome": "won"}, "value": 900, "exclude_spam": True, "send": {ADS: "deal_won"}}
)
CLIENT = "1700000000123456789"
PHONES = ("+79161234567", "+79161234568", "+79161234569")


def at_work(store: Store, goals: Sequence[Goal] = (GOAL,), rules: dict[str, Any] | None = None) -> Office:
    crm = Crm(names=Catalogue(is_open=True))
    site = Crm(names=Catalogue(), traits=SourceTraits(brings_touches=True))
    ads = Ads(replace(TRAITS, adjusts=True))
    return office(store, {ADS: ads}, {"crm": crm, "site": site}, goals, spam=RULES if rules is None else rules)


def came(number: int, minutes: int, *, phone: str = "", client: str = "", page: str = "", version: str = "v1") -> Deal:
    """A sold lead that came so many minutes after the first could."""
    base = lead(number, version=version)
    clues = [*base.clues]
    clues += [Clue("client", client, IdKind.CLIENT_ID)] if client else []
    clues += [Clue("landing page", f"https://okna.example/{page}?a={number}")] if page else []
    at = START - 2 * DAY + minutes * MINUTE
    contacts = (Contact(str(number), phones=(phone,)),) if phone else ()
    return replace(base, created_at=at, clues=tuple(clues), contacts=contacts)


def form(number: int, minutes: int, phone: str, *signs: str, address: str = "") -> Deal:
    """A form that a collector tells of."""
    at = START - 2 * DAY + minutes * MINUTE
    sender = Contact("", phones=(phone,), addresses=(address,) if address else ())
    return Deal(DealKind.FORM, str(number), "v1", at, at, "", "", Outcome.OPEN, contacts=(sender,), signs=signs)


async def read(made: Office, *deals: Deal) -> None:
    """One page of each source, then whatever that concerns."""
    await listed(made, *deals)
    await assess.once(made.tenant)


async def listed(made: Office, *deals: Deal) -> None:
    """One page of each source."""
    for name, unit in made.tenant.sources.items():
        port = unit.port
        assert isinstance(port, Crm)
        port.scans = [[port.shows(*[one for one in deals if one.is_touch == (name == "site")])], []]
    made.clock.advance(MINUTE)
    assert (await poll.once(made.tenant, force=True)).problems == []


async def known(made: Office) -> dict[str, Background | None]:
    """What is stored of each lead's background."""
    rows = await rows_kit.rows(made.store, schema.deal, schema.deal.c.source == "crm")
    facts = await made.tenant.records.facts(TENANT, "crm", [row["deal"] for row in rows])
    return {key: one.deal.background for key, one in facts.items()}


async def spam(made: Office) -> dict[str, list[str]]:
    """Signals by name of the leads that are spam."""
    found = await known(made)
    return {key: [one.name for one in b.signals] for key, b in found.items() if b is not None and b.is_spam}


def world(generator: random.Random) -> list[Deal]:
    """Leads and forms that share phones, ClientIDs, pages and addresses, close enough to matter."""
    made = []
    for number in range(1, 22):
        at = generator.randrange(0, 150)
        phone = generator.choice((*PHONES, "12345", ""))
        if generator.random() < 0.35:
            signs = ("honeypot",) if generator.random() < 0.3 else ()
            made.append(form(number, at, phone or PHONES[0], *signs, address=generator.choice(("203.0.113.7", ""))))
        else:
            client, page = generator.choice((CLIENT, "")), generator.choice(("a", "b", ""))
            made.append(came(number, at, phone=phone, client=client, page=page))
    return made


@pytest.mark.parametrize("seed", range(6))
async def test_the_order_of_reading_changes_no_signal(store: Store, seed: int) -> None:
    """In pieces, backwards, some of it corrected on the way: what all of it gives when it is judged once more, with
    everything known, is what is stored, word for word.
    """
    generator = random.Random(seed)
    deals = world(generator)
    made = at_work(store)
    shuffled = generator.sample(deals, len(deals))
    wrong = came(20, 30, phone=PHONES[0], client=CLIENT, page="a")
    await read(made, wrong)
    while shuffled:
        size = generator.randrange(1, 5)
        part, shuffled = shuffled[:size], shuffled[size:]
        await read(made, *part)
    await read(made, replace(came(20, 30, phone="", version="v2")))
    in_pieces = await known(made)
    assert any(one is not None and one.signals for one in in_pieces.values())
    expected = set()
    for name, unit in made.tenant.sources.items():
        rows = await rows_kit.rows(store, schema.deal, schema.deal.c.source == name)
        keys = [row["deal"] for row in rows]
        stored = await made.tenant.records.facts(TENANT, name, keys)
        for one in stored.values():
            request = request_of(one.deal, one.reading, name)
            expected |= {(name, request.deal, key, micros(at)) for key, at in rows_of(request)}
        judged = await assess.judge_all(
            await assess.desk_for(made.tenant, unit), assess.entered_before(stored.values()), frozenset(keys)
        )
        if name == "crm":
            assert {item.deal.key: item.deal.background for item in judged.assessed} == in_pieces
    found = await rows_kit.rows(store, schema.crowd)
    assert {(row["source"], row["deal"], row["digest"], row["at"]) for row in found} == expected


async def test_a_burst_that_becomes_one_by_a_late_reading_takes_back_what_was_promised(store: Store) -> None:
    """Pending: withdrawn; sent: corrected to zero. The deal that is none any more is promised again."""
    made = at_work(store)
    one, two, three = (came(number, number, client=CLIENT) for number in (1, 2, 3))
    await read(made, three)
    await deliver.once(made.tenant, force=True)
    await read(made, two)
    assert await spam(made) == {}
    await read(made, one)
    assert await spam(made) == {"lead:3": ["burst_client"]}
    values = [item.content.value for item in await made.tenant.ledger.due(ADS, START + 30 * DAY, 100)]
    assert sorted(value.minor for value in values if value) == [0, 90_000, 90_000]
    await read(made, came(1, 1, client="1700000000123456780", version="v2"))
    assert await spam(made) == {}
    values = [item.content.value for item in await made.tenant.ledger.due(ADS, START + 30 * DAY, 100)]
    assert sorted(value.minor for value in values if value) == [90_000, 90_000, 90_000]


async def test_what_is_spam_from_the_beginning_is_never_promised(store: Store) -> None:
    """Two signals together: an invalid phone and a form that nobody sees."""
    made = at_work(store)
    await read(made, form(1, 0, PHONES[0], "honeypot"))
    await read(made, came(1, 5, phone=PHONES[0]), came(2, 5, phone=PHONES[1]))
    assert await spam(made) == {"lead:1": ["honeypot"]}
    assert len(await made.rows()) == 1


async def test_a_form_that_becomes_known_late_is_heard(store: Store) -> None:
    """The lead is judged again, and its pending promise is withdrawn."""
    made = at_work(store)
    await read(made, came(1, 5, phone=PHONES[0]))
    assert await made.states() == {"pending": 1}
    await read(made, form(1, 0, PHONES[0], "honeypot"))
    assert await made.states() == {"cancelled": 1}


async def test_a_deal_made_from_a_lead_is_judged_by_the_leads_request(store: Store) -> None:
    """It repeats nothing by itself, and is spam when its lead is; even where the lead is read after it."""
    made = at_work(store)
    first = came(1, 0, phone=PHONES[0])
    child = replace(came(9, 40, phone=PHONES[0]), kind=DealKind.DEAL, parent="lead:1")
    await read(made, first, child)
    assert await spam(made) == {}
    assert (await known(made))["deal:9"] == Background("yandex_direct", (), False)
    burst = [came(number, 50 + number, client=CLIENT) for number in (2, 3, 4)]
    late = replace(came(8, 90), kind=DealKind.DEAL, parent="lead:4")
    await read(made, late)
    await read(made, *burst)
    assert sorted(await spam(made)) == ["deal:8", "lead:4"]


async def test_without_rules_nothing_is_looked_for(store: Store) -> None:
    """No background is stored; rules that are switched on later find what was read before."""
    plain = replace_goal(exclude_spam=False)
    made = at_work(store, [plain], {})
    await read(made, *(came(number, number, client=CLIENT) for number in (1, 2)))
    assert set((await known(made)).values()) == {None}
    again = at_work(store, [plain])
    again.clock.set(made.clock.now())
    await read(again, came(3, 3, client=CLIENT))
    assert await spam(again) == {"lead:3": ["burst_client"]}


async def test_pages_and_addresses_are_kept_only_while_a_rule_looks_at_them(store: Store) -> None:
    """Nothing of them is written before; stored deals get theirs when they are judged again, whatever the order of
    that; once no rule looks at them they are forgotten, and not written again.
    """
    plain, off = replace_goal(exclude_spam=False), {"needs": 1, "duplicate": {"within": "2h"}}
    made = at_work(store, [plain], off)
    await read(made, *(came(number, 9 - number, page="a") for number in (1, 2, 3)))
    assert await rows_kit.rows(store, schema.crowd) == []
    again = at_work(store, rules={**RULES, "needs": 1})
    again.clock.set(made.clock.now())
    for _ in range(2):
        await read(again)
    assert len(await rows_kit.rows(store, schema.crowd)) == 3
    assert await spam(again) == {"lead:1": ["burst_page"]}
    await tidy.once(again.tenant)
    assert len(await rows_kit.rows(store, schema.crowd)) == 3
    made = at_work(store, [plain], off)
    made.clock.set(again.clock.now())
    await tidy.once(made.tenant)
    await read(made, came(4, 1, page="a"))
    assert await rows_kit.rows(store, schema.crowd) == []


def replace_goal(**facts: Any) -> Goal:
    return Goal.model_validate({**GOAL.model_dump(exclude_unset=True), **facts})


async def test_a_goal_that_excludes_spam_from_now_on_takes_nothing_old_back(store: Store) -> None:
    """What was promised before the change stands, though its deal is spam."""
    made = at_work(store, [replace_goal(exclude_spam=False)])
    await read(made, *(came(number, number, client=CLIENT) for number in (1, 2, 3)))
    assert await made.states() == {"pending": 3}
    again = at_work(store)
    again.clock.set(made.clock.now() + DAY)
    await read(again, came(3, 3, client=CLIENT, version="v2"))
    assert await spam(again) == {"lead:3": ["burst_client"]}
    assert await again.states() == {"pending": 3}


async def test_explain_prints_the_signals_and_no_contact(store: Store) -> None:
    """Name, evidence, whether it suffices; how many are needed; never a phone, an address or a page."""
    made = at_work(store)
    await read(made, form(1, 0, PHONES[0], "honeypot", address="203.0.113.7"), came(1, 5, phone=PHONES[0], page="a"))
    data = await made.explained("lead:1")
    assert data["spam"] == {
        "is_spam": True,
        "needs": 2,
        "signals": [
            {
                "signal": "honeypot",
                "evidence": "a field of the form that people do not see was filled in (site/form:1)",
                "is_enough": True,
            }
        ],
    }
    assert data["judgements"][0]["reason"] == "spam: honeypot"
    for secret in ("9161234567", "203.0.113.7", "okna.example"):
        assert secret not in str(data)


async def test_a_deal_is_marked_as_spam_and_as_none(store: Store) -> None:
    """Where the tenant asks for it: in front of what became of its conversions, and nothing where nothing changed."""
    pen = Pen()
    crm = Crm(names=Catalogue(is_open=True), marker=pen)
    made = office(store, {ADS: Ads()}, {"crm": crm}, [GOAL], spam={**RULES, "needs": 1, "mark": True})
    await read(made, came(1, 0, phone="12345"), came(2, 0, phone=PHONES[0]))
    await write_back.once(made.tenant)
    assert pen.shown == {"lead:1": "spam: phone_invalid"}
    await read(made, came(1, 0, phone="12345", version="v2"))
    assert (await write_back.once(made.tenant)).done == {}
    await read(made, came(1, 0, phone=PHONES[1], version="v3"))
    await write_back.once(made.tenant)
    assert pen.shown == {"lead:1": "no spam"}
    await deliver.once(made.tenant, force=True)
    await read(made, came(1, 0, phone="12345", version="v4"))
    await write_back.once(made.tenant)
    assert pen.shown["lead:1"] == "spam: phone_invalid; sale → ads: accepted 2026-03-02"


async def test_a_crowd_that_is_read_in_order_stirs_nobody_up(store: Store) -> None:
    """Every request of a great burst is judged once: its size costs no more than its members do."""
    made, count = at_work(store), 300
    for start in range(0, count, 100):
        deals = [came(number, number // 10, client=CLIENT) for number in range(start, start + 100)]
        await listed(made, *deals)
        assert await made.tenant.records.dirty(TENANT, "crm", made.clock.now()) == []
    assert len(await spam(made)) == count - 2
