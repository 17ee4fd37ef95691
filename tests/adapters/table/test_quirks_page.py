"""The page that lists every oddity of tables names tests that exist."""

from __future__ import annotations

import re

from tests.adapters.table.kit import ROOT

PAGE = ROOT / "docs/reference/quirks-tables.md"


def test_every_test_named_on_the_page_exists() -> None:
    """A renamed test takes its line along."""
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert named - set(re.findall(r"def (test_\w+)\(", text)) == set()


def test_every_fixture_of_the_contract_is_on_the_page() -> None:
    """F1 to F12."""
    text = PAGE.read_text(encoding="utf-8")
    assert [number for number in range(1, 13) if not re.search(rf"\bF{number}\b", text)] == []
