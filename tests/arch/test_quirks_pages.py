"""The pages that list a vendor's oddities name tests that exist, and leave out no section of the vendor's contract.

A simulator's switches for what is not verified are thrown, each by some test: otherwise they show nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters.amocrm.fake import Quirks

ROOT = Path(__file__).parents[2]
PAGES = {path.stem.removeprefix("quirks-"): path for path in sorted((ROOT / "docs/reference").glob("quirks-*.md"))}
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))


def _numbered(first: int, last: int, before: str = "") -> set[str]:
    return {f"{before}{number}" for number in range(first, last + 1)}


SECTIONS = {
    "amocrm": _numbered(0, 17) | _numbered(1, 22, "15."),
    "bitrix24": _numbered(0, 17) | _numbered(1, 23, "15."),
    "hubspot": _numbered(1, 9),
    "tables": set("ABCDEF") | _numbered(1, 12, "F"),
}


def _rows(page: str) -> list[list[str]]:
    lines = [line for line in PAGES[page].read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def _told(place: str) -> set[str]:
    """Sections that the first cell of a row is about: ``2.4, 15.1`` is also about 2 and 15; F3 about F."""
    names = {name for name in re.split(r"[, ]+", place) if name}
    return names | {name.split(".")[0] for name in names} | {name[0] for name in names if name[0].isalpha()}


def test_every_page_of_oddities_is_looked_at() -> None:
    """A page that is added is added here, with the sections of its contract."""
    assert PAGES.keys() == SECTIONS.keys()


@pytest.mark.parametrize("page", SECTIONS)
def test_every_test_named_on_a_page_exists(page: str) -> None:
    """A renamed test takes its line along."""
    named = {name for row in _rows(page) for name in re.findall(r"`(test_\w+)`", row[-1])}
    assert len(named) > 50
    assert named - set(re.findall(r"def (test_\w+)\(", TESTS)) == set()


@pytest.mark.parametrize("page", SECTIONS)
def test_every_section_of_a_contract_is_on_its_page(page: str) -> None:
    """And every number of its list of quirks or fixtures."""
    assert SECTIONS[page] - {name for row in _rows(page) for name in _told(row[0])} == set()


@pytest.mark.parametrize("page", SECTIONS)
def test_a_row_without_a_test_says_why(page: str) -> None:
    """What is not done is told as such, or where its reason stands."""
    silent = [row for row in _rows(page) if not row[-1] and not re.search(r": |: not|not ", row[1])]
    assert silent == []


def test_every_switch_of_a_simulator_is_used() -> None:
    """By a test of amoCRM's client or of its simulator, under its own name."""
    unused = [name for name in Quirks.__annotations__ if not re.search(rf"\b{name}\b\"?[=:]", TESTS)]
    assert unused == []
