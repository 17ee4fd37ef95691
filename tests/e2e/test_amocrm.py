"""An amoCRM account read turn by turn, each turn a process of its own that remembers nothing but the database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.amocrm.fake import AmoCrm, Quirks
from adapters.amocrm.fake_store import FIRST_LEAD
from bridge.sim.clock import SharedClock
from bridge.sim.events import Happening
from tests.adapters.amocrm.kit import MEETING, NEW, WON, key, lead, second, step
from tests.e2e.kit import DESTINATION, NOW, Background, call, later, served, tenant, write_config

HOUR = timedelta(hours=1)
YCLID = "17751100000000009"
GOALS: list[dict[str, Any]] = [
    {"name": "met", "when": {"stage": "Встреча назначена"}, "value": "deal_at_goal", "send": {DESTINATION: "met"}},
    {"name": "sale", "when": {"outcome": "won"}, "value": "deal", "send": {DESTINATION: "won"}},
]
ITEM = lead(1, step(NOW - HOUR, NEW, 100), click=None)


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[AmoCrm, Background]]:
    """A simulated account with one lead, and a configuration that reads it."""
    clock = SharedClock(tmp_path / "clock")
    clock.set(NOW)
    sim = AmoCrm(clock, is_limited=False, quirks=Quirks(has_unsorted=True, hides_unsorted=False))
    with served(sim) as background:
        for name, value in sim.secrets().items():
            monkeypatch.setenv(name, value)
        write_config(tmp_path, okna=tenant(sources={"crm": sim.settings()}, goals=GOALS))
        background.do(lambda: sim.happen(Happening(ITEM.steps[0].at, ITEM, ITEM.steps[0], is_new=True)))
        yield sim, background


def turn(folder: Path) -> dict[str, Any]:
    """One turn, five minutes later; then the lead as ``explain`` shows it."""
    later(folder, timedelta(minutes=5))
    assert call(folder, "sync", "--json").json["problems"] == []
    told: dict[str, Any] = call(folder, "explain", key(ITEM), "--tenant", "okna", "--json").json
    return told


def test_a_deleted_lead_is_marked_by_the_next_turn_and_unmarked_when_it_is_restored(
    account: tuple[AmoCrm, Background], tmp_path: Path
) -> None:
    """What was known of it stays; while it is deleted no goal judges it."""
    sim, background = account
    before = turn(tmp_path)
    assert not before["deal"]["is_deleted"]
    background.do(lambda: sim.store.delete(FIRST_LEAD + 1, second(sim.clock.now())))
    gone = turn(tmp_path)
    assert gone["deal"]["is_deleted"]
    assert gone["judgements"] == []
    assert gone["deal"]["history"] == before["deal"]["history"]
    background.do(lambda: sim.store.restore(FIRST_LEAD + 1, second(sim.clock.now()), touches=False))
    back = turn(tmp_path)
    assert not back["deal"]["is_deleted"]
    assert len(back["judgements"]) == len(GOALS)


def test_what_a_form_told_is_known_after_it_is_gone_and_a_goal_keeps_the_value_of_its_moment(
    account: tuple[AmoCrm, Background], tmp_path: Path
) -> None:
    """Accepted, the form is listed no more; the meeting was worth 500 although the sale brought 900."""
    sim, background = account

    def at() -> int:
        return second(sim.clock.now())

    background.do(lambda: sim.store.come_in(FIRST_LEAD + 1, at(), f"https://okna.example/?yclid={YCLID}"))
    assert turn(tmp_path)["match"]["identifiers"][0]["value"] == YCLID
    background.do(lambda: sim.store.decide(FIRST_LEAD + 1, at(), accepts=True))
    for stage, value in ((MEETING, 500), (WON, 900)):
        move = step(sim.clock.now(), stage, value)
        background.do(partial(sim.happen, Happening(move.at, ITEM, move, is_new=False)))
        told = turn(tmp_path)
    assert told["match"]["identifiers"][0]["value"] == YCLID
    values = {item["goal"]: item["value"] for item in told["deliveries"]}
    assert values == {"met": "500.00 RUB", "sale": "900.00 RUB"}
    assert [change["value"] for change in told["deal"]["value_changes"]][-2:] == ["500.00 RUB", "900.00 RUB"]
