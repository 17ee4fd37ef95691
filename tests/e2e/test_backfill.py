"""``bridge backfill``: a past period, in the tenant's own time, as often as one likes."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kit import (
    GOALS,
    NOW,
    SOURCE,
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

MIDNIGHT = datetime(2026, 3, 17, 21, 0, tzinfo=UTC)  # of the 18th in Moscow
HALF_AN_HOUR = timedelta(minutes=30)


def young(**parts: Any) -> dict[str, Any]:
    """A tenant whose source began an hour ago: what is older is sent by a backfill alone."""
    made = tenant(**parts)
    made["sources"][SOURCE]["start_from"] = "1h"
    return made


def backfill(folder: Path, *words: str) -> Said:
    return call(folder, "backfill", "--tenant", TENANT, "--json", *words)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two leads that reached their goals before the bridge began, read once."""
    write_config(tmp_path, okna=young())
    write_table(tmp_path, [TableRow("A1"), TableRow("A2", "Оплачен", "1000")])
    assert call(tmp_path, "sync").status == 0
    assert uploaded(tmp_path) == []
    return tmp_path


def test_what_was_reached_before_the_start_is_sent_by_a_backfill(folder: Path) -> None:
    """``explain`` says so and names the command; the command sends it, although the records were read before."""
    data = call(folder, "explain", "A2", "--tenant", TENANT, "--json").json
    (reason,) = [j["reason"] for j in data["judgements"] if j["goal"] == "sale"]
    assert reason.startswith("before_start")
    assert f'bridge backfill -c {folder / "config.toml"} --tenant {TENANT} --since 2026-03-18"' in reason
    said = backfill(folder, "--since", "2026-03-18")
    assert said.status == 0
    assert said.json["counts"]["planned"] == 2
    assert len(uploaded(folder)) == 2


def test_a_source_that_cannot_be_asked_is_named_without_the_programs_own_words(tmp_path: Path) -> None:
    """Which source, and what to do: not the name of a general error in front of it."""
    source = {"kind": "amocrm", "base_url": "http://127.0.0.1:9", "auth": {"token": {"env": "BRIDGE_TEST_NO_SECRET"}}}
    write_config(tmp_path, okna=tenant(sources={SOURCE: source}))
    said = backfill(tmp_path, "--since", "2026-03-18")
    assert said.status == 2
    assert "environment variable BRIDGE_TEST_NO_SECRET is not set; set it to the secret" in said.err
    assert "Error" not in said.err


def test_a_second_backfill_sends_nothing(folder: Path) -> None:
    """Nor does a third, nor a sync between them."""
    backfill(folder, "--since", "2026-03-01")
    first = uploaded(folder)
    for _ in range(2):
        said = backfill(folder, "--since", "2026-03-01")
        assert (said.status, said.json["counts"].get("planned", 0)) == (0, 0)
        assert call(folder, "sync").status == 0
    assert uploaded(folder) == first


def test_a_goal_added_later_is_sent_for_the_past_too(tmp_path: Path) -> None:
    """Records that did not change are judged again by the goals of today; what was sent stays as it is."""
    write_config(tmp_path, okna=tenant(goals=GOALS[:1]))
    write_table(tmp_path, [TableRow("A1"), TableRow("A2", "Оплачен", "1000")])
    call(tmp_path, "sync")
    first = uploaded(tmp_path)
    assert len(first) == 1
    write_config(tmp_path, okna=tenant())
    assert backfill(tmp_path, "--since", "2026-03-01").json["counts"]["planned sale -> metrica"] == 1
    assert len(uploaded(tmp_path)) == 2
    assert set(first) < set(uploaded(tmp_path))


def tables(folder: Path) -> dict[str, list[Any]]:
    """Everything in the database but the requests themselves."""
    with sqlite3.connect(folder / "bridge.db") as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names if name != "request"}


def test_a_dry_run_tells_and_writes_nothing(folder: Path) -> None:
    """It counts what would be promised; no record, promise or cursor changes, and nothing is sent."""
    write_table(folder, [TableRow("A1"), TableRow("A2", "Оплачен", "1000"), TableRow("A3")])
    before = tables(folder)
    said = backfill(folder, "--since", "2026-03-01", "--dry-run")
    assert said.status == 0
    assert said.json["dry_run"] is True
    assert said.json["counts"]["planned"] == 3
    assert tables(folder) == before
    assert uploaded(folder) == []
    shown = call(folder, "backfill", "--tenant", TENANT, "--since", "2026-03-01", "--dry-run").out
    assert "would be promised: qualified -> metrica: 2" in shown


def test_promises_that_come_too_late_are_told_as_such(folder: Path) -> None:
    """Dry and in earnest, beside the promises they belong to; they are what then is expired."""
    old = TableRow("A3", at=NOW - timedelta(days=25), created_at=NOW - timedelta(days=26))
    write_table(folder, [TableRow("A1"), old])
    words = ("backfill", "--tenant", TENANT, "--since", "2026-01-01")
    dry = call(folder, *words, "--dry-run").out
    assert "would be promised: qualified -> metrica: 2 (1 too late to be sent)" in dry
    assert "known to the real run alone" in dry
    real = call(folder, *words).out
    assert "promised: qualified -> metrica: 2 (1 too late to be sent)" in real
    assert "known to the real run alone" not in real
    assert len(uploaded(folder)) == 1


@pytest.mark.parametrize(
    ("zone", "since", "sent"),
    [
        ("Europe/Moscow", "2026-03-18", ["After"]),
        ("UTC", "2026-03-18", []),
        ("UTC", "2026-03-17", ["After", "Before"]),
        ("Asia/Vladivostok", "2026-03-18", ["After", "Before"]),
        ("Europe/Moscow", "2026-03-17 23:15", ["After", "Before"]),
        ("Europe/Moscow", "2026-03-17T20:15+00:00", ["After", "Before"]),
        ("Asia/Vladivostok", "2026-03-17T21:15+00:00", ["After"]),
    ],
)
def test_dates_are_in_the_tenants_time_zone(zone: str, since: str, sent: list[str], tmp_path: Path) -> None:
    """A day begins at the tenant's midnight, unless the time names its own offset."""
    made = young(timezone=zone)
    made["sources"][SOURCE]["timezone"] = "Europe/Moscow"  # of the table, whoever owns it
    write_config(tmp_path, okna=made)
    moments = {"Before": MIDNIGHT - HALF_AN_HOUR, "After": MIDNIGHT + HALF_AN_HOUR}
    rows = {name: TableRow(name, at=at, created_at=at - HALF_AN_HOUR) for name, at in moments.items()}
    write_table(tmp_path, list(rows.values()))
    assert backfill(tmp_path, "--since", since).status == 0
    lines = uploaded(tmp_path)
    assert sorted(name for name, row in rows.items() if any(row.text().split(";")[5] in line for line in lines)) == sent


def test_a_daemon_that_runs_carries_the_backfill_out(folder: Path) -> None:
    """The command waits for it and reports the same; ``sync`` leaves the tenant to the daemon; one that is stopped
    leaves the lock, and the next backfill is done by the command itself."""
    with daemon(folder) as running:
        eventually(folder, lambda: "lock_taken" in running.log, "the daemon works")
        synced = call(folder, "sync", "--json")
        assert synced.status == 1
        assert "another process works for tenant okna" in synced.json["problems"][0]
        dry = backfill(folder, "--since", "2026-03-18", "--dry-run")
        assert (dry.status, dry.json["counts"]["planned"]) == (0, 2)
        said = backfill(folder, "--since", "2026-03-18")
        assert (said.status, said.json["counts"]["planned"]) == (0, 2)
        assert running.log.count("request_done") == 2
        eventually(folder, lambda: len(uploaded(folder)) == 2, "sent by the daemon")
        assert running.stop() == 0
    again = backfill(folder, "--since", "2026-03-18")
    assert (again.status, again.json["counts"].get("planned", 0)) == (0, 0)
    assert len(uploaded(folder)) == 2
