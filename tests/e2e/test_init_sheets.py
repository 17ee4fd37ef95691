"""``bridge init`` for a Google spreadsheet: offered beside files, and what it writes reads the sheet."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from adapters.table.fake import GoogleSheets
from bridge.sim.world import World
from bridge.system_clock import SystemClock
from tests.e2e.init_kit import sent, tenant
from tests.e2e.kit import free_call, served

WORDS = ("init", "--tenant", "shop", "--source", "table", "--destination", "table", "--set", "file.format=spreadsheet")


@pytest.mark.parametrize("chooses", [(), ("--auth", "google_sheets")])
def test_a_spreadsheet_is_written_and_its_columns_are_found(
    chooses: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said by its address alone, or chosen; the key is a reference to a file."""
    monkeypatch.chdir(tmp_path)
    clock = SystemClock()
    sheets = GoogleSheets(clock, name="shop_table", is_limited=False)
    now = datetime.now(UTC)
    world = World.make(11, 40, start=now - timedelta(days=22), days=20)
    with served(sheets) as background:
        for event in world.happenings():
            if event.at < now:
                background.do(partial(sheets.happen, event))
        (tmp_path / "key.json").write_text(sheets.tokens.key_file(), encoding="utf-8")
        given = (
            f"table.{key}={value}" for key, value in sheets.settings().items() if key in ("spreadsheet", "base_url")
        )
        said = free_call(
            *WORDS,
            *chooses,
            *(word for one in given for word in ("--set", one)),
            *("--set", f"table.token_uri={sheets.base_url}/token", "--set", "table.requests_per_second=1000"),
            *("--secret", "table.credentials=file:key.json", "--send", "sale.file=sold", "--json"),
        )
        assert said.status == 0, said.err
        settings = tenant(name="shop")
        source = settings.sources["table"]
        assert (source.path, source.credentials.file) == (None, "key.json")
        assert source.spreadsheet == sheets.settings()["spreadsheet"]
        assert {item["field"] for item in said.json["sources"]["table"]["fields"]} >= {"yclid"}
        assert sent(settings)["sale"] == {"file": "sold"}
        found = free_call("check", "--json").json
        assert [one for one in found["shop/table"] if one["level"] == "error"] == []
    assert sheets.tokens.key_file() not in json.dumps(said.json)


def test_neither_a_file_nor_a_spreadsheet_asks_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual table; a spreadsheet that is chosen by its kind is asked for by its address."""
    monkeypatch.chdir(tmp_path)
    said = free_call(*WORDS)
    assert said.status == 2
    assert "--path is missing" in said.err or "table.path" in said.err
    said = free_call(*WORDS, "--auth", "google_sheets")
    assert said.status == 2
    assert "table.spreadsheet=" in said.err
