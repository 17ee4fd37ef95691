"""Expected values from the stored deals: made once a week, frozen, and given way to the truth."""

from __future__ import annotations

import asyncio
import io
from datetime import datetime, timedelta

import pytest

from bridge.catalogue import Catalogue
from bridge.config import Goal
from bridge.frozen import replace
from bridge.loops import assess, deliver, estimates, poll
from bridge.model import Clue, Deal, DealKind, IdKind, Money, Outcome, StageChange
from bridge.ports import Level
from bridge.sim.clock import ManualClock
from bridge.store import Store, schema
from tests.simulation.kit import events
from tests.store import kit as rows_kit
from tests.store.kit import ADS
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, TRAITS, Ads, Crm, Office, office

GOAL = Goal.model_validate(
    {"name": "qualified", "when": {"stage": "meeting"}, "value": "expected", "send": {ADS: "qualified"}}
)
SETTINGS = {"cycle": "60d", "history": "300d", "least": 10, "weight": 10}
OLD = START - 100 * DAY
_STAGES = {Outcome.OPEN: "later", Outcome.WON: "won", Outcome.LOST: "lost"}


def lead(number: int, at: datetime, outcome: Outcome = Outcome.OPEN, amount: int = 0, version: str = "v1") -> Deal:
    """A lead that was qualified at that moment, and what became of it an hour later."""
    changes = [StageChange(at, "sales", "meeting", Outcome.OPEN, "events")]
    if outcome is not Outcome.OPEN:
        changes.append(StageChange(at + HOUR, "sales", _STAGES[outcome], outcome, "events"))
    last = changes[-1]
    value = Money(amount * 100, "RUB") if amount else None
    clues = (Clue("field YCLID", f"1775110000000000{number:04d}", IdKind.YCLID),)
    key = (DealKind.LEAD, str(number), version, at - HOUR, last.at, "sales", last.stage, outcome)
    return Deal(*key, value, clues=clues, history=tuple(changes))


def past(count: int = 20, sold: int = 5, amount: int = 4000, first: int = 1000) -> list[Deal]:
    """Finished deals: some sold, the others lost or forgotten."""
    rest = [Outcome.LOST, Outcome.OPEN]
    return [
        lead(first + number, OLD, Outcome.WON, amount) if number < sold else lead(first + number, OLD, rest[number % 2])
        for number in range(count)
    ]


def at_work(store: Store, *, adjusts: bool = True) -> Office:
    crm = Crm(names=Catalogue(is_open=True))
    return office(store, {ADS: Ads(replace(TRAITS, adjusts=adjusts))}, {"crm": crm}, [GOAL], expected=SETTINGS)


async def read(made: Office, *deals: Deal) -> None:
    port = made.tenant.sources["crm"].port
    assert isinstance(port, Crm)
    port.scans = [[port.shows(*deals)], []]
    made.clock.advance(HOUR)
    assert (await poll.once(made.tenant, force=True)).problems == []
    await assess.once(made.tenant)


async def told(made: Office) -> list[int | None]:
    """Values promised so far, in minor units, in the order of promising."""
    rows = await rows_kit.rows(made.store, schema.conversion)
    ours = [row for row in rows if row["deal"] == "lead:1"]
    return [row["value_minor"] for row in sorted(ours, key=lambda row: int(row["revision"]))]


async def estimated(made: Office, *deals: Deal) -> None:
    """A history is read and estimated."""
    await read(made, *(deals or past()))
    made.clock.advance(HOUR)
    await estimates.once(made.tenant)


async def test_a_qualified_lead_is_worth_its_chance_of_a_sale(store: Store, logs: io.StringIO) -> None:
    """Five of twenty were sold for 4000 each: 1000. Said in the log once, and by explain with its numbers."""
    made = at_work(store)
    await estimated(made)
    await read(made, lead(1, made.clock.now()))
    assert await told(made) == [100_000]
    assert len(events(logs, "values_estimated")) == 1
    data = await made.explained("lead:1")
    assert "expected value: 25.0 % of 4000.00 RUB; yandex_direct: 5 of 20 sold" in data["judgements"][0]["reason"]


@pytest.mark.parametrize(
    ("outcome", "amount", "value"), [(Outcome.WON, 7777, 777_700), (Outcome.LOST, 0, 0), (Outcome.WON, 0, 100_000)]
)
async def test_the_truth_is_told_when_it_arrives(store: Store, outcome: Outcome, amount: int, value: int) -> None:
    """A sale with its amount, a loss with nothing; a sale without an amount stays as expected."""
    made = at_work(store)
    await estimated(made)
    at = made.clock.now()
    await read(made, lead(1, at))
    await deliver.once(made.tenant, force=True)
    await read(made, lead(1, at, outcome, amount, "v2"))
    assert await told(made) == ([100_000] if value == 100_000 else [100_000, value])


async def test_where_nothing_can_be_adjusted_it_is_said(store: Store) -> None:
    """The expected value stays there, by name."""
    made = at_work(store, adjusts=False)
    await estimated(made)
    at = made.clock.now()
    await read(made, lead(1, at))
    await deliver.once(made.tenant, force=True)
    await read(made, lead(1, at, Outcome.LOST, version="v2"))
    assert await told(made) == [100_000]
    data = await made.explained("lead:1")
    assert [skip["reason"] for skip in data["not_promised"]] == ["no_adjust"]


async def test_a_new_estimate_restates_nothing(store: Store) -> None:
    """It is made after a week, once; what was reached before keeps its value, what is reached later has the new one."""
    made = at_work(store)
    await estimated(made)
    at = made.clock.now()
    await read(made, lead(1, at))
    await deliver.once(made.tenant, force=True)
    await read(made, *past(20, 20, 8000, first=2000))
    made.clock.advance(6 * DAY)
    assert (await estimates.once(made.tenant)).done == {}
    made.clock.advance(DAY)
    assert (await estimates.once(made.tenant)).done == {"estimated": 1}
    assert (await estimates.once(made.tenant)).done == {}
    await read(made, lead(1, at, version="v2"), lead(2, made.clock.now()))
    assert await told(made) == [100_000]
    (row,) = await rows_kit.rows(store, schema.conversion, schema.conversion.c.deal == "lead:2")
    assert row["value_minor"] == 450_000  # 25 of 40 sold, for 7200 on average


class Ticking(ManualClock):
    """A minute passes whenever somebody looks at it."""

    def now(self) -> datetime:
        self.advance(MINUTE)
        return super().now()


async def test_an_estimate_holds_from_when_it_is_known(store: Store) -> None:
    """Counting takes a while: a deal that is judged meanwhile, by the older estimate, is not judged otherwise later."""
    made = at_work(store)
    await read(made, *past())
    made.tenant.clock = clock = Ticking(made.clock.now() + HOUR)
    began = clock.now()
    await estimates.once(made.tenant)
    (known,) = (await made.tenant.estimates.of("crm", made.tenant.digests))["qualified"]
    assert began + MINUTE < known.at == clock.now() - MINUTE


async def test_no_estimate_comes_into_a_page_that_is_being_judged(store: Store) -> None:
    """It waits until whoever judges has written: else the page's deals would be worth something else next time."""
    made = at_work(store)
    await read(made, *past())
    made.clock.advance(HOUR)
    async with made.tenant.left:
        adding = asyncio.create_task(estimates.once(made.tenant))
        await asyncio.wait({adding}, timeout=0.3)
        made.clock.advance(HOUR)
    await adding
    (known,) = (await made.tenant.estimates.of("crm", made.tenant.digests))["qualified"]
    assert known.at == made.clock.now()


async def test_only_deals_that_are_over_count(store: Store) -> None:
    """Those that reached the goal within the cycle, or before the history, tell nothing."""
    young = [replace_at(one, START - 59 * DAY) for one in past(20, 20, 9000, first=2000)]
    ancient = [replace_at(one, START - 361 * DAY) for one in past(20, 20, 9000, first=3000)]
    made = at_work(store)
    await estimated(made, *past(), *young, *ancient)
    await read(made, lead(1, made.clock.now()))
    assert await told(made) == [100_000]


def replace_at(one: Deal, at: datetime) -> Deal:
    amount = one.value.minor // 100 if one.value is not None else 0
    return lead(int(one.id), at, one.outcome, amount)


async def test_without_a_history_there_is_no_value_and_check_says_what_to_do(store: Store) -> None:
    """The conversion goes without one; an estimate that comes later gives it none; it is looked for every hour."""
    made = at_work(store)
    await estimated(made, *past(9))
    at = made.clock.now()
    await read(made, lead(1, at))
    assert await told(made) == [None]
    (finding,) = await estimates.findings(made.tenant)
    assert finding.level is Level.WARNING
    assert 'goal "qualified" has no expected value yet in "crm"' in finding.message
    assert "bridge backfill --tenant okna --since 2025-03-" in finding.message
    await read(made, *past(20, 5, first=2000))
    made.clock.advance(HOUR)
    assert (await estimates.once(made.tenant)).done == {"estimated": 1}
    assert await estimates.findings(made.tenant) == []
    await read(made, lead(1, at, version="v2"))
    assert await told(made) == [None]


async def test_a_changed_way_to_estimate_begins_anew(store: Store) -> None:
    """Versions of before are kept for nobody: they answer another question."""
    made = at_work(store)
    await estimated(made)
    other = made.tenant.settings.model_copy(
        update={"expected": made.tenant.settings.expected.model_copy(update={"cycle": timedelta(days=90)})}
    )
    made.tenant.settings = other
    made.tenant._digests = None
    assert await made.tenant.estimates.of("crm", made.tenant.digests) == {}
    made.clock.advance(2 * HOUR)
    assert (await estimates.once(made.tenant)).done == {"estimated": 1}
    assert len(await rows_kit.rows(store, schema.estimate)) == 2


async def test_no_goal_that_expects_costs_nothing(store: Store) -> None:
    """Nothing is read, nothing is stored."""
    plain = GOAL.model_copy(update={"value": None})
    made = office(store, {ADS: Ads()}, {"crm": Crm(names=Catalogue(is_open=True))}, [plain])
    await read(made, *past())
    assert (await estimates.once(made.tenant)).done == {}
    assert await rows_kit.rows(store, schema.estimate) == []
