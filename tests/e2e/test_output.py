"""What ``--json`` prints is a public interface: the keys of design section 11 are there, whatever else is."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bridge import registry, terminal
from bridge.frozen import replace
from bridge.states import DeliveryState
from tests.e2e.kit import (
    DESTINATION,
    SOURCE,
    TENANT,
    Said,
    TableRow,
    call,
    free_call,
    later,
    process,
    write_config,
    write_table,
)
from tests.e2e.test_trouble import START, town

SOLD, LOST = TableRow("A2", "Оплачен", "1 000,50"), TableRow("A1", "Отказ", yclid="", phone="")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sold lead with a click, and a lost one without."""
    write_config(tmp_path)
    write_table(tmp_path, [SOLD, LOST])
    assert call(tmp_path, "sync").status == 0
    return tmp_path


def test_the_shape_of_status(folder: Path) -> None:
    """Sources and destinations under their tenant, with the promised keys; exit status 0 when all is well."""
    said = process(folder, "status", "--json")
    assert (said.status, said.err) == (0, "")
    tenants = said.json["tenants"]
    assert set(tenants) == {TENANT}
    source = tenants[TENANT]["sources"][SOURCE]
    assert {"watermark", "lag_s", "deals", "quarantined", "last_error"} <= set(source)
    assert datetime.fromisoformat(source["watermark"]).utcoffset() == timedelta(0)
    assert (source["lag_s"], source["deals"], source["quarantined"], source["last_error"]) == (0, 2, 0, None)
    destination = tenants[TENANT]["destinations"][DESTINATION]
    assert {state: destination[state] for state in DeliveryState} == {
        **dict.fromkeys(DeliveryState, 0),
        DeliveryState.ACCEPTED: 1,
    }


def test_the_shape_of_coverage(folder: Path) -> None:
    """Per tenant and source a list of weeks with their channels, and the same in ``status`` with days and windows."""
    said = call(folder, "coverage", "--weeks", "2", "--json")
    assert said.status == 0
    assert said.json["attention"] == []
    weeks = said.json["tenants"][TENANT]["sources"][SOURCE]
    assert [week["week"] for week in weeks] == ["2026-03-09", "2026-03-16"]
    assert weeks[1]["channels"]["all"] == {"leads": 2, "own": 1, "joined": 0}
    shown = call(folder, "status", "--json").json["tenants"][TENANT]["sources"][SOURCE]["coverage"]
    assert {"until", "windows", "days", "weeks", "fallen", "silence"} == set(shown)
    assert shown["weeks"][-1] == weeks[1]
    assert sum(day["channels"]["all"]["leads"] for day in shown["days"]) == 2
    assert "50 % of 2" in call(folder, "coverage", "--tenant", TENANT).out


def test_the_shape_of_explain(folder: Path) -> None:
    """Deal, touches, match, judgements and deliveries, down to each event of each delivery."""
    said = call(folder, "explain", "A2", "--tenant", TENANT, "--json")
    assert said.status == 0
    data = said.json
    assert {"deal", "touches", "match", "scores", "judgements", "deliveries"} <= set(data)
    assert data["deal"]["key"] == "lead:A2"
    assert data["match"]["method"] == "field"
    assert data["match"]["evidence"]
    assert data["touches"][0]["identifiers"][0]["kind"] == "yclid"
    keys = {"goal", "occurrence", "verdict", "rule", "reason", "occurred_at", "value", "recheck_at", "criteria"}
    assert all(set(judgement) == keys for judgement in data["judgements"])
    sale = next(judgement for judgement in data["judgements"] if judgement["goal"] == "sale")
    assert (sale["verdict"], sale["value"], sale["occurred_at"]) == ("qualified", "1000.50 RUB", SOLD.at.isoformat())
    (delivery,) = data["deliveries"]
    assert {"destination", "goal", "state", "reason", "events"} <= set(delivery)
    assert (delivery["destination"], delivery["goal"], delivery["state"]) == (DESTINATION, "sale", "accepted")
    assert [event["to"] for event in delivery["events"]] == ["pending", "sealed", "accepted"]


@pytest.mark.parametrize("name", ["A2", "lead:A2", f"{SOURCE}/lead:A2"])
def test_a_deal_is_found_by_each_of_its_names(name: str, folder: Path) -> None:
    """Its number, its key, and its key with the source in front."""
    assert call(folder, "explain", name, "--tenant", TENANT, "--json").json["deal"]["key"] == "lead:A2"


def test_a_value_that_has_changed_is_told_with_its_history(folder: Path) -> None:
    """What it was worth from when on, once there is more than one answer; a deal that always had its value has none."""
    assert "Value" not in call(folder, "explain", "A2", "--tenant", TENANT).out
    later(folder, timedelta(hours=1))
    write_table(folder, [replace(SOLD, amount="2 500,00"), LOST])
    assert call(folder, "sync").status == 0
    said = call(folder, "explain", "A2", "--tenant", TENANT).out
    assert re.search(r"Value .*1,000\.50 RUB.*2,500\.00 RUB.*matched by", said, re.DOTALL)


def test_goals_are_counted_apart_from_their_deliveries(folder: Path) -> None:
    """Deals that reached the goal, then per destination what became of it."""
    row = next(line for line in call(folder, "status").out.splitlines() if " sale " in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [TENANT, "sale", "1", DESTINATION, "1", "0"]


def test_commands_in_messages_name_the_configuration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they have to be typed: with the file that was given, unless it is the one that is found without."""
    given = f" -c {folder / 'config.toml'} "
    assert f"bridge backfill{given}--tenant {TENANT}" in call(folder, "explain", "A404", "--tenant", TENANT).out
    monkeypatch.setenv("BRIDGE_CONFIG", str(folder / "config.toml"))
    told = call(folder, "explain", "A404", "--tenant", TENANT).out
    assert f"bridge backfill --tenant {TENANT}" in told


def test_an_unmatched_deal_is_explained_by_a_reason(folder: Path) -> None:
    """Nothing was promised, and it says why: no method, a reason, the places looked at."""
    data = call(folder, "explain", "A1", "--tenant", TENANT, "--json").json
    match = data["match"]
    nothing = {"method": None, "confidence": None, "reason": "no_identifier"}
    assert match == {**nothing, "evidence": match["evidence"]}
    assert data["deliveries"] == []
    assert {judgement["verdict"] for judgement in data["judgements"]} == {"excluded"}
    assert all(judgement["reason"] for judgement in data["judgements"])


def test_a_deal_that_was_never_read_is_status_1(folder: Path) -> None:
    """And the words say what to do."""
    said = call(folder, "explain", "A404", "--tenant", TENANT)
    assert said.status == 1
    assert "bridge backfill" in said.out


def test_people_are_shown_the_same_as_tables(folder: Path) -> None:
    """Without ``--json`` the figures are there, and no phone number of the table is."""
    for words in (("status",), ("coverage",), ("explain", "A2", "--tenant", TENANT), ("check",), ("held", "list")):
        said = call(folder, *words)
        assert said.status == int(words == ("check",)), words  # no lead of this table has reached "Квалифицирован"
        assert "999" not in said.out
        assert said.out.strip()


def test_adapters_lists_every_folder_with_its_traits() -> None:
    """Kind, sides, proof, identifiers: what somebody needs to choose."""
    said = free_call("adapters", "--json")
    assert said.status == 0
    assert set(said.json) == set(registry.kinds())
    assert said.json["yandex_metrica"]["proof"] in {"row", "tag"}
    assert "gclid" in said.json["google_ads"]["accepts"]
    assert said.json["amocrm"]["source"] is True
    assert said.json["amocrm"]["destination"] is False


def test_the_tables_fit_a_terminal_of_100_columns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No word of a heading or a cell is broken in two, and ``adapters`` does not list every identifier there is."""
    monkeypatch.setattr(terminal.out, "width", 100)
    status = call(folder, "status").out
    for words in ("destination", "quarantine", "1/7/28 days", "unmatched", "verified", "rejected", "in 48 h"):
        assert words in status
    listed = free_call("adapters").out
    for whole in (*registry.kinds(), "ga_session_id", " all "):
        assert whole in listed


@pytest.mark.parametrize("kind", ["amocrm", "bitrix24"])
def test_a_misspelt_stage_is_answered_with_the_nearest_real_ones(kind: str, tmp_path: Path) -> None:
    """``check`` asks the account: exit status 1 for a stage it does not have, and the names that were meant; with the
    right name all is well."""
    with town(tmp_path, kind) as made:
        made.advance(START + timedelta(days=1))
        path = tmp_path / "config.toml"
        good = path.read_text(encoding="utf-8")
        path.write_text(good.replace('"Квалифицирован"', '"Квалефицирован"'), encoding="utf-8")
        said = call(tmp_path, "check", "--json")
        errors = _errors(said)
        assert said.status == 1
        assert len(errors) == 1
        assert "Квалефицирован" in errors[0]
        assert "Квалифицирован" in errors[0]
        path.write_text(good, encoding="utf-8")
        assert _errors(call(tmp_path, "check", "--json")) == []


def _errors(said: Said) -> list[str]:
    """What ``check`` has against the CRM (the ad systems live in another time than this command)."""
    return [finding["message"] for finding in said.json[f"{TENANT}/crm"] if finding["level"] == "error"]
