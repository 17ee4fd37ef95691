"""``bridge late`` and ``bridge audit`` by their command lines, and what ``status`` shows of both."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.frozen import replace
from tests.e2e.kit import DESTINATION, NOW, TENANT, TableRow, call, tenant, write_config, write_table

DAY = timedelta(days=1)
SOLD = TableRow("A1", "Оплачен", "1 000,50")
SLOW = replace(SOLD, id="A2", created_at=NOW - 25 * DAY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Metrica's own window on an upload file: one deal in time, one whose click is 25 days old."""
    destination = {"kind": "table", "path": "upload", "format": "yandex_metrica", "send_every": "1s"}
    write_config(tmp_path, okna=tenant(destinations={DESTINATION: destination}))
    write_table(tmp_path, [SOLD, SLOW])
    assert call(tmp_path, "sync").status == 0
    return tmp_path


def test_what_came_too_late_is_added_up(folder: Path) -> None:
    """Its worth, and that its window had closed before the goal was reached; a later day leaves it out."""
    (loss,) = call(folder, "late", "--json").json["tenants"][TENANT]
    assert (loss["goal"], loss["count"], loss["value"]) == ("sale", 1, {"RUB": "1000.50"})
    assert loss["lost_in"] == {"business": 1}
    assert loss["days"]["business"] == pytest.approx(23, abs=0.1)
    assert loss["deals"] == ["leads/lead:A2"]
    said = call(folder, "late")
    assert "1,000.50 RUB" in said.out
    assert "the goal was reached so late in the CRM" in " ".join(said.out.split())
    assert "nothing came too late" in call(folder, "late", "--since", "2026-04-01").out


def test_a_message_to_people_that_came_too_late_has_cost_nothing(tmp_path: Path) -> None:
    """Old deals are not told to the chat; that adds nothing to what delay has cost."""
    (tmp_path / "bot").write_text("123456789:sample-token-of-a-bot", encoding="utf-8")
    bot = {"kind": "telegram", "token": {"file": "bot"}, "chats": {"sales": 1}, "base_url": "http://127.0.0.1:9"}
    goal = {"name": "sale", "when": {"outcome": "won"}, "value": "deal", "send": {"bot": "sales"}}
    write_config(tmp_path, okna=tenant(destinations={"bot": bot}, goals=[goal]))
    write_table(tmp_path, [SOLD])
    assert call(tmp_path, "sync").status == 0
    assert call(tmp_path, "status", "--json").json["tenants"][TENANT]["destinations"]["bot"]["expired"] == 1
    assert call(tmp_path, "late", "--json").json["tenants"][TENANT] == []
    assert "nothing came too late" in call(tmp_path, "late").out


def test_status_counts_the_expired_by_reason(folder: Path) -> None:
    """And says where more is told."""
    shown = call(folder, "status", "--json").json["tenants"][TENANT]["destinations"][DESTINATION]
    assert shown["expired"] == sum(shown["expired_reasons"].values()) == 1
    assert set(shown["closing"]) == {"count", "overdue", "first", "goals"}
    assert re.search(r'see ".*bridge late -c .*"', call(folder, "status").out)


def test_a_destination_without_counts_says_so(folder: Path) -> None:
    """Plainly; nothing needs attention because of it."""
    said = call(folder, "audit", "--json")
    assert said.status == 0
    shown = said.json["tenants"][TENANT]["destinations"][DESTINATION]
    assert (shown["audited_at"], shown["days"], shown["uncounted"]) == (
        None,
        [],
        "nobody reads its statistics by goal and day",
    )
    assert "not compared: nobody reads its statistics by goal and day" in call(folder, "audit").out


@pytest.mark.parametrize("command", ["late", "audit"])
def test_a_wrong_day_is_refused(folder: Path, command: str) -> None:
    """With the form it should have."""
    said = call(folder, command, "--since", "last week")
    assert said.status == 2
    assert "2026-03-01" in said.err
