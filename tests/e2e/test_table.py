"""A table over its life, through the whole bridge: edited, sorted, reverted, copied; what is sent is sent once."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.frozen import replace
from tests.e2e.kit import (
    DESTINATION,
    NOW,
    SOURCE,
    TENANT,
    Said,
    TableRow,
    call,
    later,
    tenant,
    uploaded,
    write_config,
    write_table,
)

NEW, QUALIFIED, PAID = "Новый", "Квалифицирован", "Оплачен"
HOUR = timedelta(hours=1)


def synced(folder: Path, *rows: TableRow | str) -> list[str]:
    """The table is saved, the bridge has a turn; the goals sent so far, in the order they were reached."""
    later(folder, HOUR)
    write_table(folder, rows)
    told = call(folder, "sync")
    assert (told.status == 1) is ("is in quarantine" in told.out)
    return [line.split(",")[4] for line in sorted(uploaded(folder), key=lambda line: line.split(",")[5])]


def sent_at(folder: Path) -> set[int]:
    """Unix seconds of everything sent."""
    return {int(line.split(",")[5]) for line in uploaded(folder)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tenant on a table."""
    write_config(tmp_path)
    return tmp_path


LEAD = TableRow("A1", NEW, "1500")


def test_a_changed_status_is_one_more_event_with_its_own_time(folder: Path) -> None:
    """What was passed between two readings is kept, although the table shows only where the lead stands now."""
    assert synced(folder, LEAD) == []
    at = LEAD.at + 5 * HOUR
    assert synced(folder, replace(LEAD, status=QUALIFIED, at=at)) == ["qualified_lead"]
    assert sent_at(folder) == {int(at.timestamp())}
    assert synced(folder, replace(LEAD, status=PAID, at=at + 3 * HOUR)) == ["qualified_lead", "deal_won"]
    assert sent_at(folder) == {int(at.timestamp()), int((at + 3 * HOUR).timestamp())}


def test_a_reverted_status_is_sent_once(folder: Path) -> None:
    """Paid, new, paid (contract tables F10): the goal was reached the first time, and stays sent."""
    for hours, status in enumerate((PAID, NEW, PAID, NEW, PAID)):
        goals = synced(folder, replace(LEAD, status=status, at=LEAD.at + hours * HOUR))
        assert goals == ["deal_won"]
    assert sent_at(folder) == {int(LEAD.at.timestamp())}


def test_a_reverted_status_without_a_date_of_its_own_is_sent_once(folder: Path) -> None:
    """All that dates it is the day the lead came; no clock of ours steps in."""
    at = LEAD.created_at
    for status in (NEW, PAID, NEW, PAID, QUALIFIED, PAID):
        row = replace(LEAD, status=status).text().split(";")
        row[2] = ""
        goals = synced(folder, ";".join(row))
    assert sorted(goals) == ["deal_won", "qualified_lead"]
    assert sent_at(folder) == {int(at.timestamp())}


def test_sorting_a_table_sends_nothing_again(folder: Path) -> None:
    """Also where rows of one id stand at one time (F9, F11): which is later must not hang on their places."""
    rows = [
        TableRow(f"A{n % 7}", (NEW, QUALIFIED, PAID, "Отказ")[n % 4], "900", yclid=f"1775110{n % 7:012d}")
        for n in range(28)
    ]
    first = synced(folder, *rows)
    assert first.count("deal_won") == 7
    before = sorted(uploaded(folder))
    for seed in range(4):
        shuffled = list(rows)
        random.Random(seed).shuffle(shuffled)
        assert synced(folder, *shuffled, ";;;;;;") == first
    assert sorted(uploaded(folder)) == before


def test_a_deleted_row_takes_nothing_back_and_a_copied_one_adds_nothing(folder: Path) -> None:
    """Rows are cut out and pasted all the time."""
    row, other = replace(LEAD, status=PAID), TableRow("A2", NEW)
    assert synced(folder, row, other) == ["deal_won"]
    assert synced(folder, other) == ["deal_won"]
    assert synced(folder, other, row, row) == ["deal_won"]


def test_a_corrected_amount_is_a_restatement(folder: Path) -> None:
    """The same identifier, goal and time with another price: Metrica takes the last."""
    row = replace(LEAD, status=PAID)
    synced(folder, row)
    assert synced(folder, replace(row, amount="1800")) == ["deal_won", "deal_won"]
    assert {line.split(",")[6] for line in uploaded(folder)} == {"1500.00", "1800.00"}
    assert len(sent_at(folder)) == 1


def test_a_bad_cell_waits_for_its_correction(folder: Path) -> None:
    """Set aside by name of file, row and column; read as soon as it is mended; the others do not wait."""
    bad = replace(LEAD, status=PAID).text().replace("1500", "тысяча")
    assert synced(folder, bad, TableRow("A2", PAID, "10")) == ["deal_won"]
    told = call(folder, "explain", "A1", "--tenant", TENANT)
    assert told.status == 1
    again = call(folder, "sync")  # the table is as it was, and so is the row
    assert again.status == 1
    assert 'lead:A1 is in quarantine: leads.csv, row 2, column "Сумма"' in again.out
    assert 'leads.csv, row 2, column "Сумма"' in told.out
    assert "тысяча" not in told.out
    assert synced(folder, replace(LEAD, status=PAID), TableRow("A2", PAID, "10")) == ["deal_won", "deal_won"]


def test_a_turn_with_unreadable_rows_names_what_names_them(folder: Path) -> None:
    """After ``sync`` and after a backfill; not where every row was read."""
    advice = f'--tenant {TENANT}" names rows of a table in quarantine'
    write_table(folder, [LEAD])
    assert advice not in call(folder, "sync").out
    later(folder, HOUR)
    write_table(folder, [replace(LEAD, status=PAID).text().replace("1500", "тысяча")])
    told = call(folder, "sync").out
    assert advice in told
    assert "bridge check" in told
    told = call(folder, "backfill", "--tenant", TENANT, "--since", "2026-03-01", "--dry-run").out
    assert advice in told
    assert 'row 2, column "Сумма"' in " ".join(warnings(call(folder, "check", "--json")))


def test_an_unchanged_table_costs_a_poll_nothing_and_a_backfill_reads_it(folder: Path) -> None:
    """A new goal reaches the leads that are known, although no row has changed."""
    synced(folder, LEAD)
    assert call(folder, "sync", "--json").json["done"] == {TENANT: {}}
    fresh = {"name": "came", "when": {"stage": [NEW]}, "send": {DESTINATION: "lead_came"}}
    write_config(folder, okna=tenant(goals=[fresh]))
    assert call(folder, "backfill", "--tenant", TENANT, "--since", "2026-03-01").status == 0
    assert [line.split(",")[4] for line in uploaded(folder)] == ["lead_came"]


# --- check ---


def warnings(said: Said) -> list[str]:
    return [item["message"] for item in said.json[f"{TENANT}/{SOURCE}"] if item["level"] == "warning"]


def test_a_misspelt_stage_is_told_with_the_nearest_of_the_table(folder: Path) -> None:
    """A table has no list of stages, but those that occur: exit status 1, until the name is one of them."""
    write_table(folder, [replace(LEAD, status="Квалифицирован!")])
    said = call(folder, "check", "--json")
    assert said.status == 1
    (told,) = warnings(said)
    assert 'goal "qualified": unknown stage "Квалифицирован"; nearest: "Квалифицирован!"' in told
    assert "has not occurred" in told
    write_table(folder, [replace(LEAD, status=QUALIFIED)])
    assert call(folder, "check").status == 0


def test_a_stage_that_another_source_knows_is_none(tmp_path: Path) -> None:
    """Two tables of one tenant: each has its own stages."""
    made = tenant()
    sources: dict[str, Any] = {**made["sources"], "old": {**made["sources"][SOURCE], "path": "old.csv"}}
    write_config(tmp_path, okna=tenant(sources=sources))
    write_table(tmp_path, [replace(LEAD, status=QUALIFIED)])
    (tmp_path / "leads.csv").rename(tmp_path / "old.csv")
    write_table(tmp_path, [LEAD])
    assert call(tmp_path, "check").status == 0


def test_a_table_that_does_not_say_when_is_told(folder: Path) -> None:
    """An unrecognised column with dates is named, with the known title nearest to it and the setting to write."""
    head = "№ заявки;Создана;Дата перехода на этап;Этап;Страница;Менеджер\n"
    row = f"1;{NOW - 3 * HOUR:%d.%m.%Y};{NOW - 2 * HOUR:%d.%m.%Y};{QUALIFIED};https://okna.example/?yclid=1;x\n"
    (folder / "leads.csv").write_text(head + row, encoding="utf-8")
    told = warnings(call(folder, "check", "--json"))
    assert any('"Дата перехода на этап" looks like a date' in text for text in told)
    assert any('columns = { status_at = "Дата перехода на этап" }' in text for text in told)
    assert any('goals are dated by created_at = "Создана"' in text for text in told)
    (folder / "leads.csv").write_text(head.replace("Дата перехода на этап", "Дата этапа") + row, encoding="utf-8")
    assert warnings(call(folder, "check", "--json")) == []


def test_a_file_for_people_is_written_by_the_same_road(tmp_path: Path) -> None:
    """``format = "spreadsheet"``: identifiers as texts, the sale once."""
    file = {"kind": "table", "path": "upload", "format": "spreadsheet"}
    write_config(tmp_path, okna=tenant(destinations={DESTINATION: file}))
    write_table(tmp_path, [replace(LEAD, status=PAID)])
    assert call(tmp_path, "sync").status == 0
    (line,) = uploaded(tmp_path)
    assert ";deal_won;2026-03-18 12:00:00;1500,00;RUB;;'1775110" in line


def test_a_goal_that_is_sent_nowhere_is_told(tmp_path: Path) -> None:
    """A forgotten ``send`` promises nothing, and no other sign shows it: ``check`` warns, ``explain`` says so."""
    goal = {"name": "sale", "when": {"outcome": "won"}}
    write_config(tmp_path, okna=tenant(goals=[goal]))
    write_table(tmp_path, [replace(LEAD, status=PAID)])
    advice = f'sent nowhere: add send = {{ {DESTINATION} = "ITS GOAL" }}'
    said = call(tmp_path, "check", "--json")
    assert said.status == 1
    assert [item["message"] for item in said.json[TENANT]] == [f'goal "sale" is {advice}']
    assert call(tmp_path, "sync").status == 0
    (skip,) = call(tmp_path, "explain", "A1", "--tenant", TENANT, "--json").json["not_promised"]
    assert (skip["goal"], skip["destination"]) == ("sale", None)
    assert advice in skip["reason"]
    assert "not promised: sale: the goal is sent nowhere" in call(tmp_path, "explain", "A1", "--tenant", TENANT).out
