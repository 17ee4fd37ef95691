"""The page that lists every oddity of HubSpot names tests that exist, and leaves out no section of the contract."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "quirks-hubspot.md").read_text(encoding="utf-8")


def test_every_test_named_on_the_page_exists() -> None:
    """A renamed test takes its line along."""
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 50
    assert named - set(re.findall(r"def (test_\w+)\(", text)) == set()


def test_every_section_of_the_contract_is_on_the_page() -> None:
    """1 to 9."""
    told = {int(number) for number in re.findall(r"^\| (\d)", PAGE, re.MULTILINE)}
    assert told == set(range(1, 10))
