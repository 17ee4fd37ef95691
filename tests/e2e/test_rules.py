"""``bridge rules test``: a changed copy of the configuration over what a business has stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kit import (
    DESTINATION,
    GOALS,
    SOURCE,
    TENANT,
    Said,
    TableRow,
    call,
    free_call,
    tenant,
    uploaded,
    write_config,
    write_table,
)

ROWS = [TableRow("A1"), TableRow("A2", "Оплачен", "1000"), TableRow("A3", "Оплачен", "50000")]
SCORES = {
    "fit": {
        "bands": {"cold": 0, "hot": 50},
        "rules": [
            {"points": 30, "when": {"outcome": "won"}},
            {"points": 30, "when": {"expression": "deal.value != null && deal.value > 10000.0"}},
            {"points": 30, "when": {"field": {"Город": "Москва"}}},
        ],
    }
}
HOT: dict[str, Any] = {"name": "hot", "when": {"score": {"fit": "hot"}}, "send": {DESTINATION: "hot"}}
CHANGED = [{**GOALS[0], "when": {"stage": ["Оплачен"]}}, {**GOALS[1], "value": 700}, HOT]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three leads, read and sent; then somebody tries a changed copy beside the configuration."""
    config = write_config(tmp_path, okna=tenant())
    write_table(tmp_path, ROWS)
    assert call(tmp_path, "sync").status == 0
    kept = config.read_bytes()
    write_config(tmp_path, okna=tenant(goals=CHANGED, scores=SCORES)).rename(tmp_path / "changed.toml")
    config.write_bytes(kept)
    return tmp_path


def trial(folder: Path, *words: str, config: str = "changed.toml") -> Said:
    given = ["--config", str(folder / config), "--clock", str(folder / "clock")]
    return free_call("rules", "test", "--tenant", TENANT, *given, *words)


def test_it_tells_what_would_flip_and_why(folder: Path) -> None:
    """By goal with counts and values; each deal with the rule that decides; a field nobody kept is named."""
    said = trial(folder, "--json")
    told = said.json
    assert (said.status, told["deals"], told["failed"], told["flips_total"]) == (0, 3, 0, 6)
    goals = {one["goal"]: one for one in told["goals"]}
    counts = {name: [one[key] for key in ("before", "after", "gained", "lost", "moved")] for name, one in goals.items()}
    assert counts == {"qualified": [1, 2, 2, 1, 0], "sale": [2, 2, 0, 0, 2], "hot": [0, 1, 1, 0, 0]}
    assert goals["sale"]["value_before"] == {"RUB": "51000.00"}
    assert goals["sale"]["value_after"] == {"RUB": "1400.00"}
    flips = {(one["deal"], one["goal"]): (one["change"], one["rule"], one["reason"]) for one in told["flips"]}
    assert flips[f"{SOURCE}/lead:A1", "qualified"] == ("lost", "stage Оплачен", "stage never reached")
    assert flips[f"{SOURCE}/lead:A3", "hot"] == ("gained", "score fit is 60 (hot)", "from record")
    (note,) = told["notes"]
    assert note.startswith('no stored deal has the field "Город"')


def test_it_sends_and_stores_nothing(folder: Path) -> None:
    """What was sent stays as it was, and the configuration that works sees no change of its goals."""
    before = uploaded(folder)
    assert trial(folder).status == 0
    assert call(folder, "sync").status == 0
    assert uploaded(folder) == before
    assert call(folder, "status", "--json").json["attention"] == []


def test_the_configuration_that_works_changes_nothing(folder: Path) -> None:
    said = trial(folder, "--json", config="config.toml")
    assert (said.json["flips"], [one["before"] == one["after"] for one in said.json["goals"]]) == ([], [True, True])


def test_it_is_shown_for_people(folder: Path) -> None:
    """Goals, as many deals as asked for, how many more, and that nothing was done."""
    out = trial(folder, "--limit", "1").out
    assert "Deals that flip" in out
    assert "5 more deals flip (--limit); nothing was sent or stored" in out
    assert "Deals that flip" not in trial(folder, "--limit", "0").out


def test_explain_shows_scores_and_criteria(folder: Path) -> None:
    """Every summand with its points and its most; each criterion as met or not."""
    criteria = {"at_least": 1, "of": [{"outcome": "won"}, {"tag": "срочно"}]}
    mql = {"name": "mql", "when": criteria, "send": {DESTINATION: "mql"}}
    write_config(folder, okna=tenant(goals=[*CHANGED, mql], scores=SCORES))
    out = call(folder, "explain", "A3", "--tenant", TENANT).out
    assert "Score fit: 60, hot" in out
    assert "Criteria of mql" in out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    cells = [[row[0], row[1], row[2]] for row in rows if len(row) == 5]
    assert ["30", "30", "outcome won"] in cells
    assert ["0", "30", "field Город = Москва"] in cells
    shown = [(row[0], row[1], row[3]) for row in rows if len(row) == 4]
    assert ("yes", "outcome won", "") in shown
    assert ("no", "tag срочно", "no tag срочно") in shown


def test_a_date_leaves_older_deals_out(folder: Path) -> None:
    """Those that were created before it, in the tenant's time zone."""
    write_table(folder, [*ROWS, TableRow("A4", "Оплачен", "20000", created_at=ROWS[0].at)])
    assert call(folder, "sync").status == 0
    said = trial(folder, "--since", "2026-03-18", "--json")
    assert said.json["deals"] == 1
    assert {one["deal"] for one in said.json["flips"]} == {f"{SOURCE}/lead:A4"}


@pytest.mark.parametrize(("words", "told"), [(["--tenant", "nobody"], "nobody"), (["--since", "gestern"], "gestern")])
def test_wrong_names_are_refused(words: list[str], told: str, folder: Path) -> None:
    said = trial(folder, *words)
    assert (said.status, told in said.err) == (2, True)


def test_where_nothing_is_stored_it_says_so_and_makes_no_database(folder: Path, tmp_path: Path) -> None:
    """A copy in another folder has another database."""
    away = tmp_path / "away"
    away.mkdir()
    (folder / "changed.toml").rename(away / "changed.toml")
    said = free_call("rules", "test", "--tenant", TENANT, "--config", str(away / "changed.toml"))
    assert (said.status, "in the same folder" in said.err) == (2, True)
    assert list(away.iterdir()) == [away / "changed.toml"]
