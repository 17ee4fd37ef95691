"""``bridge values``, spam rules and ``explain`` through the command line, over a table of leads."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kit import DESTINATION, SOURCE, TENANT, TableRow, call, later, tenant, write_config, write_table

EXPECTED: dict[str, Any] = {
    "name": "qualified",
    "when": {"outcome": ["open", "won", "lost"]},
    "value": "expected",
    "exclude_spam": True,
    "send": {DESTINATION: "qualified"},
}
RULES = {"needs": 1, "phone_invalid": True}
SOLD = [TableRow(f"S{number}", "Оплачен", "3000") for number in range(4)]
LOST = [TableRow(f"L{number}", "Отказ") for number in range(8)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A third of twelve leads was sold, for 3000 each; one more has no phone that rings."""
    settings = {"expected": {"cycle": "3d", "history": "30d", "least": 10}, "spam": RULES}
    write_config(tmp_path, okna=tenant(goals=[EXPECTED], **settings))
    write_table(tmp_path, [*SOLD, *LOST, TableRow("X1", phone="12345")])
    return tmp_path


def test_values_shows_what_there_is_and_then_what_holds(folder: Path) -> None:
    """Nothing is estimated of deals that are not over; two days later it is, with rate, mean and value."""
    assert call(folder, "sync").status in (0, 1)
    early = call(folder, "values", "--tenant", TENANT, "--json")
    assert early.status == 1
    assert early.json["values"] == [{"source": SOURCE, "goal": "qualified", "at": None, "pipelines": []}]
    assert "no deal has reached it and had time to be sold" in call(folder, "values", "--tenant", TENANT).out
    later(folder, timedelta(days=2))
    assert call(folder, "sync").status in (0, 1)
    said = call(folder, "values", "--tenant", TENANT, "--json")
    assert said.status == 0
    (row,) = said.json["values"]
    assert row["at"] is not None
    whole = next(cell for cell in row["pipelines"] if cell["channel"] is None)
    assert (whole["reached"], whole["sold"], whole["rate"]) == (12, 4, 0.3333)
    assert (whole["mean"], whole["value"], whole["reason"]) == ("3000.00 RUB", "1000.00 RUB", None)
    text = call(folder, "values", "--tenant", TENANT).out
    assert "33.3 %" in text
    assert "1,000.00 RUB" in text


def test_explain_tells_of_spam(folder: Path) -> None:
    """The signal and what the goal made of it, in JSON and for people; never the phone."""
    call(folder, "sync")
    said = call(folder, "explain", "lead:X1", "--tenant", TENANT, "--json")
    assert said.json["spam"]["is_spam"] is True
    assert said.json["spam"]["signals"][0]["signal"] == "phone_invalid"
    assert said.json["judgements"][0]["reason"] == "spam: phone_invalid"
    text = call(folder, "explain", "lead:X1", "--tenant", TENANT).out
    assert "phone_invalid: a phone was given, and no valid one" in text
    assert "12345" not in text
