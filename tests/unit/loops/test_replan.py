"""Goals that change in the configuration: nothing old is sent until somebody says so, and then once."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.config import Goal
from bridge.errors import ConfigError
from bridge.explain import explain
from bridge.frozen import replace
from bridge.loops import assess, carry_out, definitions, deliver, poll, replan
from bridge.model import Deal, DealKind, Money
from bridge.ports import Admission, Level, Pass
from bridge.store import Store, schema
from bridge.store.codec import micros
from bridge.store.reports import Reports
from bridge.store.requests import Requests
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, TRAITS, Ads, Crm, Office, office
from tests.unit.loops.test_poll import NAMES, SALE, lead

MORE = "more"


def goal(**facts: Any) -> Goal:
    return Goal.model_validate({"name": "sale", "when": {"outcome": "won"}, "send": {ADS: "deal_won"}, **facts})


NEW = goal(when={"stage": "Новая"})
DEAR = goal(value=500)
BOTH = goal(send={ADS: "deal_won", MORE: "sold"})
SECOND = Goal.model_validate({"name": "new", "when": {"stage": "Новая"}, "send": {ADS: "lead"}})


@dataclass(slots=True)
class Shop:
    """A tenant whose configuration changes. ``goals`` are those of now."""

    store: Store
    goals: Sequence[Goal] = (SALE,)
    crm: Crm = field(default_factory=lambda: Crm(names=NAMES))
    ads: dict[str, Ads] = field(default_factory=lambda: {ADS: Ads(), MORE: Ads()})
    made: Office = field(init=False)

    def __post_init__(self) -> None:
        self.configure(self.goals, START)

    def configure(self, goals: Sequence[Goal], now: datetime | None = None) -> None:
        """Another configuration: a process of its own, with nothing in memory."""
        now = now or self.made.clock.now()
        self.goals = goals
        self.made = office(self.store, self.ads, {"crm": self.crm}, goals)
        self.made.clock.set(now)

    async def poll(self, *deals: Deal) -> None:
        self.crm.scans = [[self.crm.shows(*deals)], []]
        assert (await poll.once(self.made.tenant, force=True)).problems == []

    async def send(self) -> None:
        await deliver.once(self.made.tenant, force=True)

    async def preview(self, *names: str) -> replan.Preview:
        return await replan.preview(self.made.tenant, names or [one.name for one in self.goals], 2)

    async def apply(self, *names: str, is_left: bool = False) -> Any:
        """The row of a request that carries it out."""
        requests = Requests(self.store, self.made.clock)
        wanted = names or [one.name for one in self.goals]
        asked = replan.arguments(self.made.tenant, wanted, is_left=is_left)
        key = await requests.add(TENANT, "plan", asked)
        await carry_out.once(self.made.tenant, requests)
        return await requests.get(key)

    async def promised(self) -> int:
        return len(await self.made.rows())


async def changed(store: Store, *goals: Goal) -> Shop:
    """Two sales and a new lead, read by the goal of before; an hour later the goals are these."""
    shop = Shop(store)
    await shop.poll(lead(1), lead(2, START - 2 * HOUR), lead(3, stage="10"))
    await shop.send()
    shop.configure(goals, START + HOUR)
    return shop


@pytest.mark.parametrize("goals", [(NEW,), (DEAR,), (BOTH,), (SALE, SECOND)])
async def test_a_changed_goal_sends_nothing_old_and_everything_new(store: Store, goals: tuple[Goal, ...]) -> None:
    """By no poll, whether a record changed meanwhile or not; what is reached from the change on is sent as ever."""
    shop = await changed(store, *goals)
    await shop.poll(
        lead(1), replace(lead(3, stage="10"), version="v2"), replace(lead(2, START - 2 * HOUR), version="v2")
    )
    await assess.once(shop.made.tenant)
    assert await shop.promised() == 2
    await shop.poll(lead(4, START + 2 * HOUR), lead(5, START + 2 * HOUR, stage="10"))
    ways = sum(len(one.send) for one in goals)
    assert await shop.promised() == 2 + ways


async def test_the_same_goals_written_otherwise_are_no_change(store: Store) -> None:
    """A restart with them goes on as before: a sale of before the restart is sent."""
    shop = await changed(store, goal(when={"outcome": ["won"]}))
    await shop.poll(lead(9))
    assert await shop.promised() == 3


async def test_goals_are_not_changed_before_anything_was_read(store: Store) -> None:
    """Whoever sets a tenant up tries this and that: the first reading is by the last of it."""
    shop = Shop(store)
    shop.crm.scans = [[ConfigError("no access yet")]]
    await poll.once(shop.made.tenant, force=True)
    shop.configure([NEW], START + HOUR)
    await shop.poll(lead(3, stage="10"))
    assert await shop.promised() == 1


async def test_the_reason_is_told(store: Store, logs: io.StringIO) -> None:
    """In the log once, by ``explain`` with the command, by ``check``, and by ``status`` until it is decided."""
    shop = await changed(store, BOTH)
    (finding,) = await definitions.findings(shop.made.tenant)
    assert (finding.level, "is new or changed" in finding.message) == (Level.OK, True)
    for _ in range(2):
        await shop.poll()
    assert logs.getvalue().count("goal_changed") == 1
    report = await Reports(store).deal(TENANT, "crm", "lead:1")
    (skip,) = (await explain(shop.made.tenant, report))["not_promised"]
    assert (skip["destination"], skip["reason"].partition(":")[0]) == (MORE, "before_change")
    assert f'"bridge plan --tenant {TENANT}"' in skip["reason"]
    (finding,) = await definitions.findings(shop.made.tenant)
    assert (finding.level, "is new or changed" in finding.message) == (Level.WARNING, False)
    (change,) = (await Reports(store).source(TENANT, "crm")).changed
    assert (change.goal, change.parts, change.since) == ("sale", (f"to {MORE}",), START + HOUR)
    assert (await shop.apply(is_left=True)).state == "done"
    assert (await Reports(store).source(TENANT, "crm")).changed == ()
    assert await definitions.findings(shop.made.tenant) == []
    await shop.poll(replace(lead(1), version="v2"))
    assert await shop.promised() == 2


# --- preview and what it becomes ---------------------------------------------------------------------------------


async def test_a_preview_stores_and_sends_nothing(store: Store) -> None:
    """Not a row of any table is another afterwards, although nobody has seen the new configuration yet."""
    shop = await changed(store, BOTH, SECOND)
    tables = schema.metadata.sorted_tables
    before = [await rows_kit.rows(store, table) for table in tables]
    seen = await shop.preview()
    assert [await rows_kit.rows(store, table) for table in tables] == before
    assert dict(seen.tally.counts()) == {f"send sale -> {MORE}": 2, f"send new -> {ADS}": 1}


async def test_a_preview_names_what_is_restated_left_and_why(store: Store) -> None:
    """By destination: one that adjusts, one that does not; rows whose window is closed; deals that are no sale now."""
    shop = await changed(store, DEAR)
    assert dict((await shop.preview()).tally.counts()) == {f"leave sale -> {ADS}: no_adjust": 2}
    shop.ads[ADS].traits = replace(TRAITS, adjusts=True)
    seen = await shop.preview()
    assert dict(seen.tally.counts()) == {f"restate sale -> {ADS}": 2}
    (line,) = seen.tally.lines.values()
    assert (line.value, len(line.examples)) == ({"RUB": 100_000}, 2)
    assert (line.examples[0].deal, line.examples[0].entry.value) == ("crm/lead:1", Money(50_000, "RUB"))
    shop.configure([NEW])
    left = "does not reach the goal any more: stays as it was promised"
    assert dict((await shop.preview()).tally.counts()) == {f"leave sale -> {ADS}: {left}": 2, f"send sale -> {ADS}": 1}
    shop.configure([goal(send={ADS: "other"})])
    known = 'known there as "deal_won": not sent again as "other"'
    assert dict((await shop.preview()).tally.counts()) == {f"leave sale -> {ADS}: {known}": 2}


async def test_a_closed_window_is_told_before_anything_is_promised(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The destination is asked; what it would never take is not counted as sent."""
    shop = await changed(store, SALE, SECOND)
    monkeypatch.setattr(Ads, "admit", lambda *_: Admission(Pass.EXPIRED, "too_old"))
    assert dict((await shop.preview()).tally.counts()) == {f"leave new -> {ADS}: window closed: too_old": 1}


async def test_a_plan_is_carried_out_once_and_for_its_goals_alone(store: Store) -> None:
    """It does what the preview told, a second time nothing; the other goal waits for its own decision."""
    shop = await changed(store, BOTH, SECOND)
    seen = await shop.preview("sale")
    row = await shop.apply("sale")
    counts = {key: count for key, count in row.progress["counts"].items() if " " in key and count}
    assert (row.state, counts) == ("done", dict(seen.tally.counts()))
    assert row.progress["counts"]["listed"] == 3
    assert await shop.promised() == 4
    again = await shop.apply("sale")
    assert {key for key, count in again.progress["counts"].items() if count} == {"listed"}
    assert [change.goal for change in (await Reports(store).source(TENANT, "crm")).changed] == ["new"]
    await shop.apply()
    assert (await shop.promised(), (await Reports(store).source(TENANT, "crm")).changed) == (5, ())


async def test_another_configuration_does_not_carry_it_out(store: Store) -> None:
    """A daemon that still works by the old one refuses, and says to restart it; nothing is promised."""
    shop = await changed(store, BOTH)
    requests = Requests(store, shop.made.clock)
    key = await requests.add(TENANT, "plan", replan.arguments(shop.made.tenant, ["sale"]))
    shop.configure([SALE])
    await carry_out.once(shop.made.tenant, requests)
    row = await requests.get(key)
    assert (row.state, await shop.promised()) == ("failed", 2)
    assert "restart the daemon" in (row.error or "")


async def test_a_backfill_opens_its_period_for_a_changed_goal(store: Store) -> None:
    """And nothing before it; a dry run tells the same and opens nothing."""
    shop = await changed(store, SALE, SECOND)
    await shop.poll(lead(8, START - 3 * DAY, stage="10"))
    requests = Requests(store, shop.made.clock)
    period = {"since": (START - DAY).isoformat(), "until": (START + HOUR).isoformat(), "source": None}
    for is_dry, promised in ((True, 2), (False, 3), (False, 3)):
        shop.crm.scans = [[shop.crm.shows(lead(3, stage="10"))], []]
        key = await requests.add(TENANT, "backfill", {**period, "dry_run": is_dry})
        await carry_out.once(shop.made.tenant, requests)
        assert (await requests.get(key)).state == "done"
        assert await shop.promised() == promised


async def test_a_lead_and_its_deals_are_previewed_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the pages: what is counted on the lead is not counted on a deal made from it, told and done."""
    monkeypatch.setattr(replan, "_PAGE", 1)
    shop = Shop(store, [NEW])
    child = replace(lead(1), kind=DealKind.DEAL, parent="lead:7")
    orphan = replace(lead(2), kind=DealKind.DEAL, parent="lead:99")
    await shop.poll(lead(7), child, orphan)
    shop.configure([NEW, goal(name="won")], START + HOUR)
    seen = await shop.preview("won")
    counted = f"leave won -> {ADS}: counted on its lead, or on a deal made from it"
    assert (seen.deals, dict(seen.tally.counts())) == (3, {f"send won -> {ADS}": 2, counted: 1})
    assert (await shop.apply("won")).progress["counts"][f"send won -> {ADS}"] == 2
    assert await shop.promised() == 2


class Stopped(BaseException):
    """The process dies."""


@pytest.mark.parametrize("commit", range(1, 9))
async def test_a_crash_in_the_middle_loses_and_doubles_nothing(commit: int, tmp_path: Path, monkeypatch: Any) -> None:
    """Killed at any commit, it goes on where it was, whoever works next; each old reach is promised once."""
    monkeypatch.setattr(replan, "_PAGE", 1)
    commits = 0

    def dying(label: str) -> None:
        nonlocal commits
        commits += label.startswith("after")
        if commits == commit:
            raise Stopped

    url = f"sqlite:///{tmp_path / 'crash.db'}"
    store = await Store.open(url)
    shop = await changed(store, BOTH)
    requests = Requests(store, shop.made.clock)
    key = await requests.add(TENANT, "plan", replan.arguments(shop.made.tenant, ["sale"]))
    monkeypatch.setattr(store, "_on_commit", dying)
    with pytest.raises(Stopped):
        await carry_out.once(shop.made.tenant, requests)
    await store.close()
    store = await Store.open(url)
    again = Shop(store, [BOTH], crm=shop.crm)
    again.configure([BOTH], START + 2 * HOUR)
    await again.poll()
    requests = Requests(store, again.made.clock)
    await carry_out.once(again.made.tenant, requests)
    assert ((await requests.get(key)).state, await again.promised()) == ("done", 4)
    await store.close()


# --- any order ---------------------------------------------------------------------------------------------------

GOALS = {
    "sale": SALE,
    "new": NEW,
    "dear": DEAR,
    "both": BOTH,
    "then": goal(when={"stage": "142"}, value="deal_at_goal"),
}
steps = st.lists(
    st.one_of(
        st.tuples(st.just("goal"), st.sampled_from([*GOALS, "none"])),
        st.tuples(st.just("poll"), st.integers(1, 4)),
        st.tuples(st.just("send"), st.just(0)),
    ),
    max_size=10,
)


def _of(goals: Sequence[Goal], destination: str) -> Any:
    """What one destination has to do with the goal."""
    return [(one.model_copy(update={"send": {}}), one.send.get(destination)) for one in goals]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps)
async def test_no_order_of_polls_and_changes_sends_an_old_reach(order: list[tuple[str, Any]]) -> None:
    """Whatever is promised was reached by the goal of that time, not before it came; then a plan does what it told."""
    with TemporaryDirectory() as folder:
        store = await Store.open(f"sqlite:///{folder}/any.db")
        shop = Shop(store)
        await shop.poll(lead(99, START - DAY))
        since = dict.fromkeys((ADS, MORE), START - 10 * DAY)
        known: set[str] = set(await shop.made.rows())
        for number, (what, which) in enumerate(order, 1):
            now = START + number * HOUR
            shop.made.clock.set(now)
            if what == "goal":
                goals = [] if which == "none" else [GOALS[which]]
                since = {name: at if _of(goals, name) == _of(shop.goals, name) else now for name, at in since.items()}
                shop.configure(goals)
                await shop.poll()
            elif what == "poll":
                away = timedelta(hours=which)
                stage = "142" if which % 2 else "10"
                await shop.poll(lead(number * 10 + which, now - away, stage=stage), lead(which, START, stage=stage))
            else:
                await shop.send()
            fresh = {key: row for key, row in (await shop.made.rows()).items() if key not in known}
            known |= set(fresh)
            conversions = {row["id"]: row for row in await rows_kit.rows(store, schema.conversion)}
            for row in fresh.values():
                occurred_at = conversions[row["conversion"]]["occurred_at"]
                assert occurred_at >= micros(since[row["destination"]]), (row, since)
        seen = (await shop.preview()).tally.counts()
        counts = (await shop.apply()).progress["counts"]
        assert {key: count for key, count in counts.items() if " " in key and count} == dict(seen)
        made = [key for key in seen if key.startswith(("send", "restate", "replace", "withdraw"))]
        later = (await shop.preview()).tally.counts()
        assert [key for key in made if later[key]] == []
        await store.close()
