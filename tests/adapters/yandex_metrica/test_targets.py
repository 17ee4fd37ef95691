"""Goals listed and created for ``bridge init``."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.yandex_metrica.fake import Metrica as Simulator
from bridge.errors import AuthError, Refused
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault, FaultPlan
from tests.adapters.yandex_metrica.helpers import client_of
from tests.support import START

WRITE = "metrika:write"


def counter(*scopes: str) -> tuple[Simulator, ManualClock]:
    """A counter whose token may do so much more than upload."""
    clock = ManualClock(START)
    made = Simulator(clock, name="okna", is_limited=False)
    made.scopes |= set(scopes)
    return made, clock


def identifiers(sim: Simulator) -> list[str]:
    return [goal["conditions"][0]["url"] for goal in sim.goals]


async def test_only_exact_events_can_be_sent_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other types, loose conditions and Metrica's own CRM goals are listed with the reason (contract yandex 2.7, 5)."""
    sim, clock = counter()
    sim.goals.clear()
    sim.add_goal("sale")
    sim.add_goal("lead", condition="contain")
    sim.add_goal("order", kind="cdp_order_paid")
    sim.add_goal("/thanks", kind="url")
    sim.add_goal("a=b")
    async with client_of(sim, clock, tmp_path, monkeypatch) as metrica:
        survey = await metrica.targets()
    told = [(target.is_usable, target.note.partition(":")[0]) for target in survey.targets]
    loose = 'not on the "matches" condition'
    crm, other = "Metrica's own goal of CRM orders", "not a JavaScript event"
    assert told == [(True, ""), (False, loose), (False, crm), (False, other), (False, loose)]
    assert survey.timezone == "Europe/Moscow"


async def test_a_goal_is_created_as_the_contract_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JavaScript event on the "matches" condition, to which conversions can be sent at once."""
    sim, clock = counter(WRITE)
    async with client_of(sim, clock, tmp_path, monkeypatch) as metrica:
        made = await metrica.create_target("met", "CRM: met")
        assert (made.id, made.name, made.is_usable) == ("met", "CRM: met", True)
        findings = await metrica.check({"met": "met"})
    assert (sim.goals[-1]["type"], sim.goals[-1]["conditions"]) == ("action", [{"type": "exact", "url": "met"}])
    assert [finding.level.value for finding in findings] == ["ok", "ok", "ok"]


async def test_a_goal_that_is_there_is_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs ``init`` again gets the same one."""
    sim, clock = counter(WRITE)
    before = identifiers(sim)
    async with client_of(sim, clock, tmp_path, monkeypatch) as metrica:
        assert (await metrica.create_target("deal_won", "x")).name == "Goal deal_won"
    assert identifiers(sim) == before


async def test_a_lost_answer_is_cleared_up_by_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The goal was created although nobody said so: it is found, and there is one."""
    sim, clock = counter(WRITE)
    sim.faults = Once(Fault.LOST_ANSWER)
    async with client_of(sim, clock, tmp_path, monkeypatch) as metrica:
        assert (await metrica.create_target("met", "CRM: met")).id == "met"
    assert identifiers(sim).count("met") == 1
    assert sim.faults.drawn == {Fault.LOST_ANSWER: 1}


class Once(FaultPlan):
    """One fault, at the first write."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(0)
        self._fault = fault

    def draw(self, name: str, is_write: bool) -> Fault | None:
        """The fault, once."""
        if not is_write or self.drawn:
            return None
        self.drawn[self._fault] = 1
        return self._fault


async def test_a_token_for_uploads_alone_may_not_create(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the right that is missing (contract yandex 1)."""
    sim, clock = counter()
    before = identifiers(sim)
    async with client_of(sim, clock, tmp_path, monkeypatch) as metrica:
        with pytest.raises(AuthError, match="metrika:write"):
            await metrica.create_target("met", "CRM: met")
    assert identifiers(sim) == before


async def test_a_full_counter_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor's own code (contract yandex 5)."""
    sim, clock = counter(WRITE)
    sim.goals_max = len(sim.goals)
    async with client_of(sim, clock, tmp_path, monkeypatch) as metrica:
        with pytest.raises(Refused, match="limit_exceeded"):
            await metrica.create_target("met", "CRM: met")
