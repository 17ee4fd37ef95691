"""A source answers nonsense: a clear message, the cursor stays, and everything heals when it answers again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.sim.clock import SharedClock
from bridge.sim.stage import METRICA, SOURCE, Cast, Stage
from tests.e2e.kit import (
    NOW,
    Background,
    Scripted,
    TableRow,
    call,
    daemon,
    eventually,
    served,
    uploaded,
    write_config,
    write_table,
)

START = NOW - timedelta(days=12)
BAD_ANSWERS = {
    "a page of HTML": (200, "text/html", b"<html><body><h1>Maintenance</h1> call +7 999 123-45-67</body></html>"),
    "an outage in HTML": (502, "text/html", b"<html><body>502 Bad Gateway</body></html>"),
    "half a JSON": (200, "application/json", b'{"_page":1,"_embedded":{"leads":[{"id":10500001,"na'),
    "nothing": (200, "application/json", b""),
    "another JSON": (200, "application/json", b'["what?"]'),
    "200 with an error": (
        200,
        "application/json",
        b'{"error":"ERROR_CORE","error_description":"Internal error","status":"error"}',
    ),
}


class Town:
    """One advertiser's CRM and ad systems, running beside the commands."""

    def __init__(self, folder: Path, kind: str, background: Background) -> None:
        self.folder = folder
        self.background = background
        self.stage = Stage(Cast(3, START, days=9, leads=12, kinds=(kind,)), SharedClock(folder / "clock"))
        self.scene = self.stage.scenes[0]
        background.run(self.stage.start())
        self.stage.configure(folder / "config.toml", "sqlite:///bridge.db")
        self._config = (folder / "config.toml").read_text(encoding="utf-8")

    def advance(self, to: datetime) -> None:
        self.background.do(lambda: self.stage.advance(to))

    def point_at(self, base_url: str) -> None:
        """The CRM's address in the configuration."""
        text = self._config.replace(f'"{self.scene.crm.base_url}"', f'"{base_url}"')
        (self.folder / "config.toml").write_text(text, encoding="utf-8")

    def source(self) -> dict[str, Any]:
        found: dict[str, Any] = call(self.folder, "status", "--json").json["tenants"]["okna"]["sources"][SOURCE]
        return found


@contextmanager
def town(folder: Path, kind: str) -> Iterator[Town]:
    with Background() as background:
        made = Town(folder, kind, background)
        try:
            yield made
        finally:
            background.run(made.stage.stop())


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        *(("amocrm", name) for name in ("a page of HTML", "half a JSON", "nothing", "200 with an error")),
        *(("bitrix24", name) for name in ("a page of HTML", "an outage in HTML", "another JSON", "200 with an error")),
    ],
)
def test_a_crm_that_answers_nonsense_is_named_and_heals(kind: str, answer: str, tmp_path: Path) -> None:
    """``sync`` ends with 1, ``status`` says what came instead of an answer, nothing stored is lost or moved; with good
    answers again the next sync brings all that happened meanwhile."""
    nonsense = Scripted(*BAD_ANSWERS[answer])
    with town(tmp_path, kind) as made, served(nonsense):
        made.advance(START + timedelta(days=6))
        assert call(tmp_path, "sync").status == 0
        before = made.source()

        made.advance(START + timedelta(days=10))
        made.point_at(nonsense.base_url)
        synced = call(tmp_path, "sync", "--json")
        assert synced.status == 1
        assert len(synced.json["problems"]) == 1
        trouble = made.source()
        assert re.match(r"(Drift|Unavailable|Refused|Throttled): \w.{10,}", trouble["last_error"])
        assert "<" not in trouble["last_error"]
        assert "999" not in trouble["last_error"]
        assert trouble["failing_since"] is not None
        assert (trouble["watermark"], trouble["deals"]) == (before["watermark"], before["deals"])

        made.point_at(made.scene.crm.base_url)
        made.advance(START + timedelta(days=11))
        assert call(tmp_path, "sync").status == 0
        healed = made.source()
        assert (healed["last_error"], healed["failing_since"]) == (None, None)
        assert healed["deals"] > before["deals"]
        assert healed["watermark"] > before["watermark"]
        verdict = made.background.do(lambda: made.stage.verdicts(timedelta(hours=30)))["okna", METRICA]
        assert verdict.is_clean
        assert verdict.certain >= 2


@pytest.mark.parametrize(
    "content",
    [b"<html><body>Sign in</body></html>", b"", b"\x00\x01\x02\x03" * 100, None],
    ids=["HTML", "empty", "binary", "gone"],
)
def test_a_table_that_is_no_table_is_named_and_heals(content: bytes | None, tmp_path: Path) -> None:
    """The same for a file: what was read before stays, and a good file goes on where the last one ended."""
    write_config(tmp_path)
    write_table(tmp_path, [TableRow("A1")])
    assert call(tmp_path, "sync").status == 0

    (tmp_path / "leads.csv").unlink()
    if content is not None:
        (tmp_path / "leads.csv").write_bytes(content)
    assert call(tmp_path, "sync").status == 1
    status = call(tmp_path, "status", "--json")
    assert status.status == 1
    source = status.json["tenants"]["okna"]["sources"]["leads"]
    assert re.match(r"(Drift|Unavailable): \w.{10,}", source["last_error"])
    assert source["deals"] == 1

    write_table(tmp_path, [TableRow("A1"), TableRow("A2")])
    assert call(tmp_path, "sync").status == 0
    assert call(tmp_path, "status").status == 0
    assert len(uploaded(tmp_path)) == 2


def test_a_table_without_titles_does_not_show_its_leads(tmp_path: Path) -> None:
    """Its first row is somebody's data: the message says what is missing, and repeats none of it."""
    write_config(tmp_path)
    row = "A1;17.03.2026;Оплачен;1000;Иван Тестов;+7 999 000-00-01;ivan@example.com"
    (tmp_path / "leads.csv").write_text(f"{row}\n{row}\n", encoding="utf-8")
    synced = call(tmp_path, "sync", "--json")
    status = call(tmp_path, "status", "--json")
    assert "row 1 holds data, no titles" in status.json["tenants"]["okna"]["sources"]["leads"]["last_error"]
    for said in (synced, status, call(tmp_path, "check", "--json")):
        assert said.status == 1
        assert not re.search(r"Тестов|999|ivan@", said.out + said.err)


def test_a_restarted_daemon_tries_at_once_what_had_failed(tmp_path: Path) -> None:
    """Its clock stands still, so no pause ends; it says what had failed before it tries."""
    write_config(tmp_path)
    assert call(tmp_path, "sync").status == 1
    write_table(tmp_path, [TableRow("A1")])
    with daemon(tmp_path) as running:
        eventually(tmp_path, lambda: len(uploaded(tmp_path)) == 1, "the lead")
        assert running.log.count("source_failed") == 1
        assert running.stop() == 0
