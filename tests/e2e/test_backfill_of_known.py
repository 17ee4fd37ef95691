"""A backfill judges records that were read before: an earlier start or a new goal concerns them, too."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge.cli import app

_CONFIG = """
[tenants.shop]
timezone = "UTC"

[tenants.shop.sources.leads]
kind = "csv_file"
path = "leads.csv"
start_from = "1d"

[tenants.shop.destinations.file]
kind = "csv_file"
path = "upload"
format = "yandex_metrica"

[[tenants.shop.goals]]
name = "sale"
when = { outcome = "won" }
value = "deal"
send = { file = "deal_won" }
"""
_NEW_GOAL = """
[[tenants.shop.goals]]
name = "any"
when = { outcome = ["won", "lost"] }
send = { file = "closed" }
"""


@pytest.fixture
def since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table of one sale five days ago, and the day before it; its source begins yesterday."""
    now = datetime.now(UTC)
    created, sold = (f"{now - timedelta(days=days):%d.%m.%Y %H:%M:%S}" for days in (6, 5))
    head = "ID;Дата создания;Дата статуса;Статус;Сумма;yclid"
    row = f"7;{created};{sold};Оплачен;1500;1775110948087664739"
    (tmp_path / "leads.csv").write_text(f"{head}\n{row}\n", encoding="utf-8")
    (tmp_path / "config.toml").write_text(_CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return f"{now - timedelta(days=7):%Y-%m-%d}"


def _bridge(*args: str) -> Any:
    result = CliRunner().invoke(app, [*args, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def _backfill(since: str, *options: str) -> dict[str, int]:
    found = _bridge("backfill", "--tenant", "shop", "--since", since, *options)["counts"]
    return {name: count for name, count in found.items() if name in ("changed", "planned")}


def test_what_was_reached_before_the_start_is_sent_by_a_backfill_though_it_is_unchanged(since: str) -> None:
    """Polled first and backfilled later, the usual order, misses nothing; a second backfill sends nothing."""
    assert _bridge("sync")["done"]["shop"] == {"listed": 1, "changed": 1}
    assert _backfill(since, "--dry-run") == {"changed": 0, "planned": 1}
    assert _backfill(since) == {"changed": 0, "planned": 1}
    assert _backfill(since) == {"changed": 0, "planned": 0}
    (upload,) = Path("upload").glob("*.csv")
    assert upload.read_text(encoding="utf-8-sig").count("deal_won") == 1


def test_a_goal_added_later_reaches_known_deals_by_a_backfill(since: str) -> None:
    """Only the new goal is sent, the old one not again."""
    _backfill(since)
    Path("config.toml").write_text(_CONFIG + _NEW_GOAL, encoding="utf-8")
    assert _bridge("sync")["done"]["shop"] == {"listed": 1}
    assert _backfill(since) == {"changed": 0, "planned": 1}
    texts = [path.read_text(encoding="utf-8-sig") for path in Path("upload").glob("*.csv")]
    assert sorted(text.count("deal_won") for text in texts) == [0, 1]
    assert sorted(text.count("closed") for text in texts) == [0, 1]
