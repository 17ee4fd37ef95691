"""``bridge plan``: a goal is changed in the configuration of a business that runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bridge import planning
from bridge.compose import load_config
from bridge.sim.clock import SharedClock
from tests.e2e.kit import (
    DESTINATION,
    GOALS,
    TENANT,
    Said,
    TableRow,
    call,
    daemon,
    eventually,
    tenant,
    uploaded,
    write_config,
    write_table,
)

OLD = [TableRow("A1"), TableRow("A2", "Оплачен", "1000"), TableRow("A3", "Оплачен", "500")]
LATE: dict[str, Any] = {"name": "late", "when": {"outcome": "won"}, "value": 7, "send": {DESTINATION: "late"}}
CHANGED = [*GOALS, LATE]
SENT = {
    "goal": "late",
    "destination": DESTINATION,
    "action": "send",
    "reason": None,
    "count": 2,
    "value": {"RUB": "14.00"},
}


def plan(folder: Path, *words: str) -> Said:
    return call(folder, "plan", "--tenant", TENANT, *words)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three leads, read and sent; then a goal is added."""
    write_config(tmp_path, okna=tenant())
    write_table(tmp_path, OLD)
    assert call(tmp_path, "sync").status == 0
    assert len(uploaded(tmp_path)) == 3
    write_config(tmp_path, okna=tenant(goals=CHANGED))
    return tmp_path


def lines(said: Said) -> list[dict[str, Any]]:
    return [{key: item[key] for key in SENT} for item in said.json["changes"]]


def test_an_old_deal_is_sent_by_apply_alone_and_once(folder: Path) -> None:
    """Not by a sync, whatever changes in the record meanwhile; the plan tells it before and after the change is seen;
    what comes later is sent as ever; applied twice, it is sent once."""
    assert lines(plan(folder, "--json")) == [SENT]
    write_table(folder, [*OLD[:2], TableRow("A3", "Оплачен", "501"), TableRow("A4", "Оплачен", "9")])
    for _ in range(2):
        assert call(folder, "sync").status == 0
    fresh = [line for line in uploaded(folder) if "late" in line]
    assert fresh == []  # A4 was sold two days ago: before the goal came
    seen = plan(folder, "--json")
    assert (seen.status, lines(seen)) == (0, [{**SENT, "count": 3, "value": {"RUB": "21.00"}}])
    for expected in (3, 0):
        said = plan(folder, "--apply", "--yes", "--json")
        assert (said.status, said.json["applied"]) == (0, True)
        assert said.json["counts"].get(f"send late -> {DESTINATION}", 0) == expected
        assert len([line for line in uploaded(folder) if "late" in line]) == 3
    assert plan(folder, "--json").json["changes"] == []
    assert call(folder, "status").status == 0


def test_status_and_check_ask_until_it_is_decided(folder: Path) -> None:
    """With the command to copy; ``--leave`` sends nothing and ends the question."""
    call(folder, "sync")
    before = uploaded(folder)
    status = call(folder, "status", "--json")
    (line,) = status.json["attention"]
    assert status.status == 1
    assert 'goal "late" was changed (seen 2026-03-20 09:00 UTC)' in line
    assert f"plan -c {folder / 'config.toml'} --tenant {TENANT}" in line
    (change,) = status.json["tenants"][TENANT]["changed_goals"]
    assert (change["goal"], change["parts"]) == ("late", ["rule", f"to {DESTINATION}", "value"])
    (finding,) = call(folder, "check", "--json").json[TENANT]
    assert (finding["level"], finding["subject"]) == ("warning", "goals")
    assert "bridge" in plan(folder).out
    assert plan(folder, "--leave").status == 0
    call(folder, "sync")
    assert (uploaded(folder), call(folder, "status").status) == (before, 0)
    assert TENANT not in call(folder, "check", "--json").json


def test_it_is_shown_for_people(folder: Path) -> None:
    """Counts, worth, examples with their deals; that nothing was sent."""
    out = plan(folder, "--examples", "1").out
    assert "would be sent" in out
    assert "14.00 RUB" in out
    assert out.count("late -> metrica, would be sent: leads/lead:") == 1
    assert "judged 3 stored deals; nothing was sent or stored" in out
    assert "nothing would change" in plan(folder, "--goal", "sale").out


@pytest.mark.parametrize(("answer", "sent"), [(False, 3), (True, 5)])
def test_on_a_terminal_it_shows_and_asks_first(answer: bool, sent: int, folder: Path, capsys: Any) -> None:
    """What it is asked about has been printed by then; without a yes nothing is sent."""
    shown: list[str] = []

    def confirm(question: str) -> bool:
        shown.append(capsys.readouterr().out + question)
        return answer

    wanted = planning.Wanted(TENANT, applies=True)
    loaded, clock = load_config(folder / "config.toml"), SharedClock(folder / "clock")
    outcome = asyncio.run(planning.plan(loaded, clock, wanted, confirm))
    assert "would be sent" in shown[0]
    assert (outcome.status, outcome.data["applied"], len(uploaded(folder))) == (0, answer, sent)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--apply"], "say --yes with --apply"),
        (["--apply", "--leave"], "one of --apply and --leave"),
        (["--goal", "sail"], "has no goal sail (known: qualified, sale, late)"),
    ],
)
def test_wrong_usage_is_refused(words: list[str], told: str, folder: Path) -> None:
    """Exit status 2 and what to say instead; nothing is sent."""
    said = plan(folder, *words)
    assert (said.status, told in said.err) == (2, True)
    assert len(uploaded(folder)) == 3


def test_a_running_daemon_carries_it_out_if_it_has_the_same_goals(folder: Path) -> None:
    """One that was not restarted refuses, and what it refuses is not sent; after a restart it does it."""
    after = (folder / "config.toml").read_text(encoding="utf-8")
    write_config(folder, okna=tenant())
    with daemon(folder) as running:
        eventually(folder, lambda: "lock_taken" in running.log, "the daemon works")
        (folder / "config.toml").write_text(after, encoding="utf-8")
        assert lines(plan(folder, "--json")) == [SENT]
        refused = plan(folder, "--apply", "--yes")
        assert (refused.status, "restart the daemon" in refused.err) == (1, True)
        assert running.stop() == 0
    assert len(uploaded(folder)) == 3
    with daemon(folder) as running:
        eventually(folder, lambda: "goal_changed" in running.log, "the change is seen")
        assert plan(folder, "--apply", "--yes").status == 0
        eventually(folder, lambda: len(uploaded(folder)) == 5, "sent by the daemon")
        assert running.stop() == 0
