"""Scores at work: what is noted at the border, deals judged again on their day, what ``explain`` tells."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bridge.config import Goal
from bridge.frozen import replace
from bridge.loops import assess, poll, replan
from bridge.model import Clue, Contact, Deal
from bridge.rules.flips import Change, Comparison
from bridge.store import Store, schema
from bridge.store.codec import maybe
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, Ads, Crm, Office, office
from tests.unit.loops.test_poll import NAMES, SALE, lead

COOLING = {
    "fit": {
        "bands": {"cold": 0, "warm": 20},
        "rules": [
            {"points": 40, "when": {"stage": "Новая"}, "decay": {"per_day": 4}},
            {"points": 10, "when": {"fact": {"landing": {"contains": "/price"}, "has_phone": True}}},
        ],
    }
}
COLD = Goal.model_validate({"name": "cold", "when": {"score": {"fit": "cold"}}, "send": {ADS: "cold_lead"}})
CONTACT = Contact("7", ("+7 999 000-00-01",))
LANDING = Clue("Страница", "https://okna.example/Price/windows?utm_campaign=summer&yclid=1")


def caller(number: int, **facts: Any) -> Deal:
    """A new lead with a phone that came from the price page."""
    made = lead(number, START - HOUR, stage="10")
    return replace(made, contacts=(CONTACT,), clues=(*made.clues, LANDING), **facts)


def at_work(store: Store, *goals: Goal, scores: Any = None) -> tuple[Office, Crm]:
    crm = Crm(names=NAMES)
    return office(store, {ADS: Ads()}, {"crm": crm}, goals or (COLD,), scores or COOLING), crm


async def read(made: Office, crm: Crm, *deals: Deal) -> None:
    crm.scans = [[crm.shows(*deals)], []]
    assert (await poll.once(made.tenant, force=True)).problems == []


async def test_a_goal_is_reached_on_its_day_though_nothing_happens(store: Store) -> None:
    """Not before, and with the moment that was told beforehand, however late somebody looks."""
    made, crm = at_work(store)
    await read(made, crm, caller(1), lead(2, stage="10"))
    days = {"lead:1": 8, "lead:2": 6}  # 50 points, 40 points, 4 less a day: below 20
    for row in await rows_kit.rows(store, schema.deal):
        assert maybe(row["recheck_at"]) == START - HOUR + days[row["deal"]] * DAY
    made.clock.set(START + 5 * DAY)
    await assess.once(made.tenant)
    assert await made.rows() == {}
    made.clock.set(START + 30 * DAY)
    done = await assess.once(made.tenant)
    assert done.done["assessed"] == 2
    found = {row["deal"]: maybe(row["occurred_at"]) for row in await rows_kit.rows(store, schema.conversion)}
    assert found == {deal: START - HOUR + day * DAY for deal, day in days.items()}
    assert (await assess.once(made.tenant)).done["assessed"] == 0


async def test_a_replay_gives_the_same_conversions(store: Store, tmp_path: Any) -> None:
    """Read for the first time long after: the same ids, the same moments."""
    made, crm = at_work(store)
    await read(made, crm, caller(1))
    made.clock.set(START + 9 * DAY)
    await assess.once(made.tenant)
    slow = [(row["id"], row["occurred_at"]) for row in await rows_kit.rows(store, schema.conversion)]
    other = await Store.open(f"sqlite:///{tmp_path / 'other.db'}")
    try:
        made, crm = at_work(other)
        made.clock.set(START)
        await read(made, crm)
        made.clock.set(START + 20 * DAY)
        await read(made, crm, caller(1))
        late = [(row["id"], row["occurred_at"]) for row in await rows_kit.rows(other, schema.conversion)]
    finally:
        await other.close()
    assert late == slow != []


async def test_explain_tells_a_score_with_its_summands_and_the_day_to_come(store: Store) -> None:
    made, crm = at_work(store)
    await read(made, crm, caller(1))
    made.clock.set(START + 2 * DAY)
    told = await made.explained("lead:1")
    (score,) = told["scores"]
    assert (score["score"], score["points"], score["band"]) == ("fit", 42, "warm")
    assert [(one["points"], one["most"], one["rule"], one["reason"]) for one in score["summands"]] == [
        (32, 40, "stage Новая", "faded: 4 less a day"),
        (10, 10, "landing contains /price, has_phone = True", ""),
    ]
    (judgement,) = told["judgements"]
    assert (judgement["verdict"], judgement["reason"]) == ("waiting", "score fit is 42 (warm)")
    assert judgement["recheck_at"] == (START - HOUR + 8 * DAY).isoformat()


async def test_explain_tells_each_criterion(store: Store) -> None:
    criteria = [{"fact": {"has_phone": True}}, {"fact": {"has_email": True}}, {"stage": "Успех"}]
    goal = Goal.model_validate({"name": "mql", "when": {"at_least": 2, "of": criteria}, "send": {ADS: "mql"}})
    made, crm = at_work(store, goal)
    await read(made, crm, caller(1))
    (judgement,) = (await made.explained("lead:1"))["judgements"]
    assert [(one["rule"], one["met"], one["reason"]) for one in judgement["criteria"]] == [
        ("has_phone = True", True, ""),
        ("has_email = True", False, "has_email is not = True"),
        ("stage Успех", False, "stage never reached"),
    ]


async def test_only_what_a_rule_asks_for_is_noted_and_stays(store: Store) -> None:
    """No tag of the same address, nothing of the contact but digests; a reading without the page keeps it."""
    made, crm = at_work(store)
    await read(made, crm, caller(1))
    await read(made, crm, replace(caller(1), clues=lead(1).clues, version="v2"))
    facts = (await made.tenant.records.facts(TENANT, "crm", ["lead:1"]))["lead:1"]
    assert (facts.deal.version, facts.deal.noted) == ("v2", {"landing": ("/price/windows",)})
    unasked, crm = at_work(store, SALE, scores={"fit": {"rules": [{"points": 1, "when": {"stage": "Новая"}}]}})
    await read(unasked, crm, caller(3))
    assert (await made.tenant.records.facts(TENANT, "crm", ["lead:3"]))["lead:3"].deal.noted == {}


async def test_stored_deals_learn_the_day_of_a_changed_goal(store: Store) -> None:
    """Without being read again: what comes after the change is reached by the goal as it is now."""
    made, crm = at_work(store, SALE)
    await read(made, crm, caller(1))
    assert [row["recheck_at"] for row in await rows_kit.rows(store, schema.deal)] == [None]
    made, crm = at_work(store, SALE, COLD)
    made.clock.set(START + DAY)
    await read(made, crm)
    await assess.once(made.tenant)
    made.clock.set(START + 20 * DAY)
    await assess.once(made.tenant)
    assert await made.states() == {"pending": 1}


async def test_changed_rules_are_compared_with_what_was_counted(store: Store) -> None:
    """Gained, lost, moved, each with the rule or the reason; counts and values of both sides; nothing is written."""
    made, crm = at_work(store, SALE)
    await read(made, crm, lead(1), lead(2, START - 2 * HOUR), lead(3, stage="10"))
    later = {"name": "sale", "when": {"outcome": "won", "created_after": START - DAY - timedelta(minutes=90)}}
    changed = Goal.model_validate({**later, "value": 700, "send": {ADS: "deal_won"}})
    fresh = Goal.model_validate({"name": "new", "when": {"stage": "Новая"}, "send": {ADS: "new"}})
    made, _ = at_work(store, changed, fresh)
    before = [await rows_kit.rows(store, table) for table in schema.metadata.sorted_tables]
    found = Comparison(10)
    async for page in replan.looks(made.tenant, ["sale", "new"]):
        for deal, look in page.looks:
            found.add(deal.key, look)
    assert [await rows_kit.rows(store, table) for table in schema.metadata.sorted_tables] == before
    told = {(one.deal, one.goal): (one.change, one.rule, one.reason) for one in found.flips}
    assert told == {
        ("lead:1", "sale"): (Change.MOVED, "outcome won", "from events"),
        ("lead:2", "sale"): (
            Change.LOST,
            f"created after {changed.when.created_after.isoformat()}",  # type: ignore[union-attr]  # given above
            f"created before {changed.when.created_after.isoformat()}",  # type: ignore[union-attr]  # given above
        ),
        ("lead:3", "new"): (Change.GAINED, "stage Новая", "from events"),
    }
    sale = found.goals["sale"]
    assert (sale.before, sale.after, dict(sale.value_before), dict(sale.value_after)) == (2, 1, {}, {"RUB": 70_000})
    assert (found.goals["new"].before, found.goals["new"].after) == (0, 1)
