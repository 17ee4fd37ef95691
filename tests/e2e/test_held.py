"""An answer is lost and nothing can be proved: the deliveries are held until a human decides, and never doubled."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import paper
from tests.e2e.kit import (
    DESTINATION,
    TENANT,
    TableRow,
    call,
    daemon,
    eventually,
    later,
    tenant,
    write_config,
    write_table,
)

ROWS = [TableRow("A1"), TableRow("A2", "Оплачен", "1000")]


@pytest.fixture
def folder(plugins: Path, tmp_path: Path) -> Path:
    """Two leads on their way to a destination that loses answers."""
    prepare(tmp_path)
    return tmp_path


def prepare(folder: Path, **settings: Any) -> None:
    write_config(folder, okna=tenant(destinations={DESTINATION: {"kind": "paper", "send_every": "1s", **settings}}))
    write_table(folder, ROWS)
    (folder / paper.LOSES).touch()


def written(folder: Path) -> list[str]:
    """What really went out."""
    path = folder / paper.FILE
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def wait_and_sync(folder: Path) -> None:
    """A day later, so that whatever is to be repaired is due."""
    later(folder, timedelta(days=1))
    call(folder, "sync")


def hold(folder: Path) -> list[dict[str, Any]]:
    """Send, lose the answer, find out that nothing can be proved; what is held then. The post works again."""
    call(folder, "sync")
    wait_and_sync(folder)
    (folder / paper.LOSES).unlink()
    said = call(folder, "held", "list", "--json")
    assert said.status == 1
    held: list[dict[str, Any]] = said.json
    return held


def states(folder: Path) -> dict[str, int]:
    counts = call(folder, "status", "--json").json["tenants"][TENANT]["destinations"][DESTINATION]
    return {state: counts[state] for state in ("pending", "sealed", "accepted", "held", "cancelled") if counts[state]}


def test_an_unprovable_delivery_is_held_and_said(folder: Path) -> None:
    """It went out once and is not sent again by itself; ``held list`` and ``status`` ask for a decision."""
    held = hold(folder)
    assert len(written(folder)) == len(held) == 2
    assert {(item["goal"], item["deal"]) for item in held} == {("qualified", "lead:A1"), ("sale", "lead:A2")}
    assert {tuple(item) for item in held} == {
        ("delivery", "tenant", "destination", "deal", "goal", "occurrence", "occurred_at", "reason", "since")
    }
    wait_and_sync(folder)
    assert len(written(folder)) == 2
    status = call(folder, "status", "--json")
    assert status.status == 1
    assert any("2 deliveries held" in line for line in status.json["attention"])
    assert held[0]["delivery"] in call(folder, "held", "list").out


@pytest.mark.parametrize(
    ("decision", "lines", "after"),
    [("resend", 4, {"accepted": 2}), ("accepted", 2, {"accepted": 2}), ("cancel", 2, {"cancelled": 2})],
)
def test_a_decision_is_carried_out_without_a_daemon(
    decision: str, lines: int, after: dict[str, int], folder: Path
) -> None:
    """Resend sends once more, the others send nothing; afterwards nothing is held, and it stays so."""
    hold(folder)
    said = call(folder, "held", "resolve", "--all", "--tenant", TENANT, "--as", decision, "--json")
    assert (said.status, said.json) == (0, {"resolved": 2, "deleted": 0})
    wait_and_sync(folder)
    assert len(written(folder)) == lines
    assert states(folder) == after
    assert call(folder, "held", "list", "--json").json == []
    assert call(folder, "held", "list").status == 0


def test_a_decision_may_concern_one_delivery_alone(folder: Path) -> None:
    """The others stay held; deciding about it again is wrong usage."""
    one, other = hold(folder)
    words = ("held", "resolve", one["delivery"], "--tenant", TENANT, "--as", "cancel")
    assert call(folder, *words).status == 0
    (left,) = call(folder, "held", "list", "--json").json
    assert left["delivery"] == other["delivery"]
    assert call(folder, *words).status == 2


@pytest.mark.parametrize(("choice", "lines", "after"), [("resend", 4, {"accepted": 2}), ("drop", 2, {"cancelled": 2})])
def test_the_configuration_may_have_chosen_before(
    choice: str, lines: int, after: dict[str, int], plugins: Path, tmp_path: Path
) -> None:
    """``when_unsure``: the lost batch is sent again, or dropped, and nobody is asked."""
    prepare(tmp_path, when_unsure=choice)
    call(tmp_path, "sync")
    (tmp_path / paper.LOSES).unlink()
    wait_and_sync(tmp_path)
    assert len(written(tmp_path)) == lines
    assert states(tmp_path) == after
    assert call(tmp_path, "held", "list").status == 0


def test_a_decision_is_carried_out_by_the_daemon_that_runs(plugins: Path, folder: Path) -> None:
    """The command asks, the daemon does it and sends again at once; nothing waits for a lock."""
    hold(folder)
    with daemon(folder, env={"PYTHONPATH": str(plugins)}) as running:
        eventually(folder, lambda: "lock_taken" in running.log, "the daemon works")
        said = call(folder, "held", "resolve", "--all", "--tenant", TENANT, "--as", "resend", "--json")
        assert (said.status, said.json) == (0, {"resolved": 2, "deleted": 0})
        assert "request_done" in running.log
        eventually(folder, lambda: len(written(folder)) == 4, "sent again by the daemon")
        assert running.stop() == 0


def test_sync_says_so_as_long_as_something_is_held(folder: Path) -> None:
    """Whoever has ``sync`` run by cron learns of it from every turn; what is held is not counted as repaired."""
    call(folder, "sync")
    later(folder, timedelta(days=1))
    first, second = (call(folder, "sync", "--json") for _ in range(2))
    assert first.json["done"] == {TENANT: {"listed": 2, "held": 2}}
    for said in (first, second):
        (problem,) = said.json["problems"]
        assert said.status == 1
        assert problem.startswith(f"{TENANT}/{DESTINATION}: 2 deliveries held; see ")
        assert "bridge held list" in problem


def test_sync_says_so_as_long_as_a_destination_fails(plugins: Path, tmp_path: Path) -> None:
    """In the turn it fails in with the error; in the next ones, in which nothing is due, since when."""
    prepare(tmp_path)
    (tmp_path / paper.FILE).mkdir()
    first, second = (call(tmp_path, "sync", "--json") for _ in range(2))
    assert (first.status, first.json["problems"]) == (1, [f"{TENANT}/{DESTINATION}: IsADirectoryError"])
    told = f"{TENANT}/{DESTINATION}: failing since 2026-03-20 09:00 UTC: IsADirectoryError"
    assert (second.status, second.json["problems"]) == (1, [told])
