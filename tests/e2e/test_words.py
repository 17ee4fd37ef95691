"""What commands say to people: little when all is well, and what to do next when it is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bridge import terminal
from bridge.findings import FEW
from bridge.sim import toml
from tests.e2e.kit import GOALS, SOURCE, TENANT, TableRow, call, free_call, tenant, write_config, write_table


@pytest.fixture
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal wide enough that no message is wrapped inside a table."""
    monkeypatch.setattr(terminal.out, "width", 400)


@pytest.mark.usefixtures("_wide")
def test_a_check_of_many_tenants_shows_what_is_not_well_and_counts_the_rest(tmp_path: Path) -> None:
    """One row and one line; all rows with ``--all``, of one tenant, of few, and in JSON."""
    write_table(tmp_path, [TableRow("A1"), TableRow("A2", "Оплачен", "1")])
    many: dict[str, Any] = {f"t{number}": tenant() for number in range(FEW)}
    write_config(tmp_path, **many)
    few = call(tmp_path, "check").out
    write_config(tmp_path, **many, sad=tenant(goals=[*GOALS, {**GOALS[0], "name": "nowhere", "send": {}}]))
    checked = call(tmp_path, "check", "--json").json
    good = [item for items in checked.values() for item in items if item["level"] == "ok"]
    said = call(tmp_path, "check")
    assert said.status == 1
    assert (said.out.count("│ ok "), said.out.count("│ warning ")) == (0, 1)
    last = said.out.splitlines()[-1]
    assert last.startswith(f"{FEW + 1} tenants, {len(good)} checks ok, 1 warning; ")
    assert re.search(r'"\S*bridge check -c \S+ --all" shows what is ok, too', last)
    assert call(tmp_path, "check", "--all").out.count("│ ok ") == len(good)
    of_one = call(tmp_path, "check", "--tenant", "t1").out
    assert of_one.count("│ ok ") == sum(len(items) for name, items in checked.items() if name.startswith("t1/"))
    assert re.search(r"^1 tenant, \d+ checks ok: all is well$", of_one, re.MULTILINE)
    assert few.count("│ ok ") == FEW * of_one.count("│ ok ")


@pytest.mark.usefixtures("_wide")
def test_before_the_first_reading_every_command_says_that_nothing_was_read(tmp_path: Path) -> None:
    """``status`` needs attention then; each says what reads, with the tenant that was asked for."""
    write_config(tmp_path, okna=tenant(), dom=tenant())
    write_table(tmp_path, [TableRow("A1")])
    said = call(tmp_path, "status")
    assert said.status == 1
    assert f"nothing has been read yet from dom/{SOURCE}, okna/{SOURCE}; " in said.out
    assert re.search(r'; "\S*bridge sync -c \S+" reads once, "\S*bridge run -c \S+" for good', said.out)
    one = call(tmp_path, "status", "--tenant", TENANT)
    assert re.search(rf'from okna/{SOURCE}; "\S*bridge sync -c \S+ --tenant {TENANT}" reads once', one.out)
    for words in (("explain", "A1", "--tenant", TENANT), ("plan", "--tenant", TENANT), ("coverage",)):
        assert "bridge sync" in call(tmp_path, *words).out, words
    assert "bridge sync" in call(tmp_path, "rules", "test", "--tenant", TENANT).err
    call(tmp_path, "sync")
    assert "nothing has been read yet" not in call(tmp_path, "status").out


def test_a_tenant_that_could_not_be_read_is_not_said_to_have_nothing_new(tmp_path: Path) -> None:
    """Its line points to the trouble; that of a sound one is as ever. A file with more than tenants is none itself."""
    main = write_config(tmp_path, okna=tenant())
    text = main.read_text(encoding="utf-8")
    sad = toml.dumps({"web": {"listen": ""}, "tenants": {"sad": tenant()}}).replace("leads.csv", "missing.csv")
    (tmp_path / "extra.toml").write_text(sad, encoding="utf-8")
    main.write_text(f'include = ["extra.toml"]\n{text}', encoding="utf-8")
    write_table(tmp_path, [TableRow("A1", "Новый")])
    call(tmp_path, "sync")
    lines = call(tmp_path, "sync").out.splitlines()
    assert lines[:2] == ["okna: nothing new", "sad: nothing done, see below"]
    assert any(f"there is no table missing.csv in {tmp_path}; put it there" in line for line in lines[2:])
    assert any("web: only tenants are included; move it" in line for line in lines[2:])
    assert call(tmp_path, "check").out.splitlines()[-1].startswith("2 tenants, ")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"share": 35}, ["is worth 35 times the amount; if 35 % is meant, write 0.35"]),
        ({"products": {"Окна*": 0.3, "*": 10}}, ["is worth 10 times the amount; if 10 % is meant, write 0.1"]),
        ({"share": 1.5}, []),
        (1500, []),
    ],
)
def test_a_share_that_looks_like_percents_is_a_warning(tmp_path: Path, value: Any, told: list[str]) -> None:
    """The figure that was meant stands beside it; somewhat more than the amount may be meant."""
    write_table(tmp_path, [TableRow("A1")])
    write_config(tmp_path, okna=tenant(goals=[{**GOALS[0], "name": "worth", "value": value}]))
    found = call(tmp_path, "check", "--json").json.get(TENANT, [])
    assert [item["message"] for item in found if "times" in item["message"]] == [f'goal "worth" {one}' for one in told]


def test_a_plan_that_would_change_nothing_is_one_line(tmp_path: Path) -> None:
    """Although deals are left that no destination takes; JSON has them still."""
    write_config(tmp_path)
    write_table(tmp_path, [TableRow("A1", yclid="", phone=""), TableRow("A2")])
    call(tmp_path, "sync")
    assert call(tmp_path, "plan", "--tenant", TENANT).out.splitlines() == [
        "nothing would change; judged 2 stored deals; nothing was sent or stored"
    ]
    (left,) = call(tmp_path, "plan", "--tenant", TENANT, "--json").json["changes"]
    assert (left["action"], len(left["examples"])) == ("leave", 1)


def test_amounts_have_separators_for_people_alone(tmp_path: Path) -> None:
    """A column of sums is read at a glance; JSON has plain figures."""
    write_config(tmp_path)
    write_table(tmp_path, [TableRow("A1", "Оплачен", "1500000")])
    call(tmp_path, "sync")
    shown = ("explain", "A1", "--tenant", TENANT)
    assert call(tmp_path, *shown).out.count("1,500,000.00 RUB") == 3  # of the deal, its judgement, its delivery
    assert call(tmp_path, *shown, "--json").json["deal"]["value"] == "1500000.00 RUB"
    assert "1,500,000.00 RUB" in call(tmp_path, "rules", "test", "--tenant", TENANT).out


def test_each_command_has_one_line_of_help_at_80_columns() -> None:
    """None is wrapped, here or in a group; and no flag is said to take a value."""
    for words, least in ((("--help",), 18), (("held", "--help"), 2), (("hook", "--help"), 1), (("rules", "--help"), 1)):
        out = free_call(*words).out
        rows = re.findall(r"^│ (.*?) +│$", out.partition("Commands")[2], re.MULTILINE)
        assert len(rows) >= least
        assert [row for row in rows if not re.match(r"[a-z]+ +[A-Z].*[.]$", row)] == []
        assert "<bool>" not in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("held", "resolve"), '"bridge held list" names them'),
        (("backfill",), "Read a past period again"),
        (("explain",), "The deal's number or key"),
    ],
)
def test_a_command_that_lacks_everything_shows_its_help(words: tuple[str, ...], told: str) -> None:
    """Wrong usage, answered with what there is to say."""
    said = free_call(*words)
    assert said.status == 2
    assert told in " ".join((said.out + said.err).split())
