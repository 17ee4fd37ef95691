"""A wrong configuration: the message names the file and the key, says what to do, and hurts nobody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kit import (
    DESTINATION,
    GOALS,
    SOURCE,
    TENANT,
    TableRow,
    call,
    process,
    tenant,
    uploaded,
    write_config,
    write_table,
)


def test_an_unknown_key_at_the_top_stops_every_command(tmp_path: Path) -> None:
    """Exit status 2 and one line on standard error that names the file and the key; nothing on standard output."""
    path = write_config(tmp_path)
    path.write_text('databse = { url = "sqlite:///x.db" }\n' + path.read_text(encoding="utf-8"), encoding="utf-8")
    said = process(tmp_path, "status", "--json")
    assert (said.status, said.out) == (2, "")
    assert f'{path}: databse: unknown key; did you mean "database"?' in said.err
    assert "Traceback" not in said.err


def _in_match(settings: dict[str, Any]) -> None:
    settings["match"] = {"zzz": "1d"}


def _in_tenant(settings: dict[str, Any]) -> None:
    settings["currncy"] = "RUB"


def _in_source(settings: dict[str, Any]) -> None:
    settings["sources"][SOURCE]["pathh"] = "leads.csv"


def _in_destination(settings: dict[str, Any]) -> None:
    settings["destinations"][DESTINATION]["formatt"] = "yandex_metrica"


def _in_goal(settings: dict[str, Any]) -> None:
    settings["goals"] = [{**GOALS[0], "sned": {}}]


def _in_condition(settings: dict[str, Any]) -> None:
    settings["goals"] = [{**GOALS[0], "when": {"stages": ["Квалифицирован"]}}]


def _in_criterion(settings: dict[str, Any]) -> None:
    criteria = [{"outcome": "won"}, {"stages": ["Квалифицирован"]}]
    settings["goals"] = [{**GOALS[0], "when": {"at_least": 1, "of": criteria}}]


def _in_score(settings: dict[str, Any]) -> None:
    rule = {"points": 5, "when": {"outcome": "won"}, "decay": {"halflife": "3d"}}
    settings["scores"] = {"fit": {"rules": [rule]}}


@pytest.mark.parametrize(
    ("spoil", "key", "meant"),
    [
        (_in_criterion, "tenants.sad.goals.0.when.of.1.stages", "stage"),
        (_in_score, "tenants.sad.scores.fit.rules.0.decay.halflife", "half_life"),
        (_in_tenant, "tenants.sad.currncy", "currency"),
        (_in_source, f"tenants.sad.sources.{SOURCE}.pathh", "path"),
        (_in_destination, f"tenants.sad.destinations.{DESTINATION}.formatt", "format"),
        (_in_goal, "tenants.sad.goals.0.sned", "send"),
        (_in_condition, "tenants.sad.goals.0.when.stages", "stage"),
        (_in_match, "tenants.sad.match.zzz", ""),
    ],
)
def test_an_unknown_key_of_a_tenant_switches_off_that_tenant_alone(
    spoil: Callable[[dict[str, Any]], None], key: str, meant: str, tmp_path: Path
) -> None:
    """The other tenants are served; every command that concerns the wrong one names the file, the key and the nearest
    real one."""
    wrong = tenant()
    spoil(wrong)
    path = write_config(tmp_path, okna=tenant(), sad=wrong)
    write_table(tmp_path, [TableRow("A1")])
    advice = f'did you mean "{meant}"?' if meant else "remove it or correct its spelling"
    line = f"{path}: {key}: unknown key; {advice}"

    synced = call(tmp_path, "sync", "--json")
    assert (synced.status, synced.json["problems"]) == (1, [line])
    assert len(uploaded(tmp_path)) == 1
    assert call(tmp_path, "status", "--json").json["attention"] == [line]
    checked = call(tmp_path, "check", "--json")
    assert checked.status == 2
    assert checked.json["sad"] == [{"level": "error", "subject": "configuration", "message": line}]
    assert call(tmp_path, "check", "--tenant", TENANT).status == 0
    assert call(tmp_path, "status", "--tenant", TENANT).status == 0
    for words in (("status", "--tenant", "sad"), ("explain", "A1", "--tenant", "sad")):
        said = call(tmp_path, *words)
        assert said.status == 2
        assert line in said.err


ALL = [("sync",), ("status",), ("coverage",), ("late",), ("audit",), ("held", "list"), ("check",)]


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_where_nothing_sound_is_left_the_status_is_2(words: tuple[str, ...], tmp_path: Path) -> None:
    """The only tenant has a wrong configuration: every command says so alike, with the same status; those that read
    the tenant's figures say nothing else when it is asked for."""
    wrong = tenant()
    _in_tenant(wrong)
    write_config(tmp_path, okna=wrong)
    for more in ((), ("--tenant", TENANT)):
        said = call(tmp_path, *words, *more)
        assert said.status == 2
        assert "tenants.okna.currncy" in " ".join((said.out + said.err).split())
        assert "nothing came too late" not in said.out
    if words[0] not in ("sync", "check"):
        assert (said.out, said.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("words", [*ALL, ("run",), ("explain", "A1", "--tenant", TENANT)], ids=" ".join)
def test_where_no_tenant_is_at_all_nothing_is_well(words: tuple[str, ...], tmp_path: Path) -> None:
    """Every command says so with status 2, makes no database, and names a pattern that no file fits."""
    path = write_config(tmp_path)
    for text, told in (("", ""), ('include = ["tenants/*.toml"]', ': include names "tenants/*.toml", and there is')):
        path.write_text(text, encoding="utf-8")
        said = call(tmp_path, *words)
        assert (said.status, said.out) == (2, "")
        assert f"config.toml has no tenant to work for{told}" in said.err
        assert f'bridge init -c {path}"' in said.err
    assert not (tmp_path / "bridge.db").exists()


@pytest.mark.parametrize("words", [("sync",), ("status",), ("coverage",), ("late",), ("held", "list")], ids=" ".join)
def test_where_others_go_on_the_status_is_1(words: tuple[str, ...], tmp_path: Path) -> None:
    """One of two tenants is switched off: that needs attention, unless only the other one was asked for."""
    wrong = tenant()
    _in_tenant(wrong)
    write_config(tmp_path, okna=tenant(), sad=wrong)
    write_table(tmp_path, [TableRow("A1")])
    said = call(tmp_path, *words)
    assert said.status == 1
    assert "tenants.sad.currncy" in " ".join((said.out + said.err).split())
    call(tmp_path, "sync")
    assert call(tmp_path, *words, "--tenant", TENANT).status == 0
    assert call(tmp_path, *words, "--tenant", "sad").status == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "does not exist; write it with"),
        (b"[tenants.okna\n", "is not valid TOML"),
        ('[web]\nlisten = "Яблоко"'.encode("cp1251"), "cannot be read: UnicodeDecodeError"),
    ],
    ids=["absent", "cut", "not UTF-8"],
)
def test_a_configuration_that_cannot_be_read_is_named(content: bytes | None, told: str, tmp_path: Path) -> None:
    """Exit status 2 and the file's name, whatever is wrong with it."""
    path = tmp_path / "config.toml"
    if content is not None:
        path.write_bytes(content)
    said = call(tmp_path, "status")
    assert said.status == 2
    assert f"{path} {told}" in said.err
    assert content is not None or f'bridge init -c {path}"' in said.err


def test_a_folder_in_the_place_of_a_configuration_is_named(tmp_path: Path) -> None:
    """The same for what is no file at all."""
    (tmp_path / "config.toml").mkdir()
    said = call(tmp_path, "status")
    assert said.status == 2
    assert "config.toml cannot be read: IsADirectoryError" in said.err


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """A file in the way of the database's folder: exit status 2 and the setting to look at."""
    path = write_config(tmp_path)
    (tmp_path / "data").write_text("in the way", encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8").replace("bridge.db", "data/bridge.db"), encoding="utf-8")
    said = call(tmp_path, "status")
    assert said.status == 2
    assert "check database.url" in said.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("status", "--tenant", "nobody"), "there is no tenant nobody"),
        (("explain", "1", "--tenant", "nobody"), "(known: okna)"),
        (("backfill", "--tenant", TENANT, "--since", "2026-03-01", "--source", "crm"), f"(known: {SOURCE})"),
        (("backfill", "--tenant", TENANT, "--since", "yesterday"), '"yesterday" is no date; write 2026-03-01'),
        (("backfill", "--tenant", TENANT, "--since", "2026-03-02", "--until", "2026-03-01"), "is not before the end"),
        (("held", "resolve", "--tenant", TENANT, "--as", "cancel"), "name deliveries, or say --all"),
        (("held", "resolve", "0a", "--tenant", TENANT, "--as", "cancel"), "not held: 0a"),
    ],
)
def test_wrong_usage_ends_with_status_2_and_what_is_known(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    """Tenants, sources and dates that do not exist are answered with those that do."""
    write_config(tmp_path)
    said = call(tmp_path, *words)
    assert said.status == 2
    assert told in said.err


def test_a_kind_that_does_not_exist_is_answered_with_the_nearest(tmp_path: Path) -> None:
    """A misspelt adapter is an error of its tenant that names the right one."""
    wrong = tenant(destinations={DESTINATION: {"kind": "yandex_metrika", "counter_id": 1}})
    write_config(tmp_path, okna=wrong)
    said = call(tmp_path, "check", "--json")
    assert said.status == 2
    (found,) = said.json[TENANT]
    assert f'.{DESTINATION}.kind: unknown kind "yandex_metrika"; did you mean yandex_metrica?' in found["message"]


# --- secrets -----------------------------------------------------------------------------------------------------

MISSING = "OKNA_METRICA_TOKEN_THAT_NOBODY_SET"


def _with_secret(token: dict[str, str]) -> dict[str, Any]:
    """A tenant with two destinations, one of which needs a secret."""
    files = tenant()["destinations"][DESTINATION]
    online = {"kind": "yandex_metrica", "counter_id": 1, "token": token, "base_url": "http://127.0.0.1:9"}
    send = {DESTINATION: "qualified_lead", "online": "qualified_lead"}
    return tenant(destinations={DESTINATION: files, "online": online}, goals=[{**GOALS[0], "send": send}])


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ({"env": MISSING}, f"environment variable {MISSING} is not set"),
        ({"file": "absent"}, "is not there; create it"),
        ({"file": "empty"}, "is empty"),
        ({"file": "binary"}, "is not UTF-8 text"),
    ],
)
def test_a_missing_secret_is_said_everywhere_and_stops_its_destination_alone(
    token: dict[str, str], told: str, tmp_path: Path
) -> None:
    """``check``, ``sync`` and ``status`` name it; the other destination is served; promises to this one wait."""
    write_config(tmp_path, okna=_with_secret(token))
    write_table(tmp_path, [TableRow("A1")])
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")

    checked = call(tmp_path, "check", "--json")
    assert checked.status == 1
    assert told in checked.json["okna/online"][0]["message"]
    synced = call(tmp_path, "sync", "--json")
    assert synced.status == 1
    assert [told in problem for problem in synced.json["problems"]] == [True]
    assert len(uploaded(tmp_path)) == 1
    status = call(tmp_path, "status", "--json")
    assert status.status == 1
    online = status.json["tenants"]["okna"]["destinations"]["online"]
    assert told in online["last_error"]
    assert online["pending"] == 1


def test_a_daemon_that_can_do_nothing_does_not_run(tmp_path: Path) -> None:
    """Every secret is missing: exit status 2, after which systemd does not start it again; each is named with its
    account."""
    crm = {"kind": "amocrm", "base_url": "http://127.0.0.1:9", "auth": {"token": {"env": MISSING}}}
    online = {"kind": "yandex_metrica", "counter_id": 1, "token": {"file": "absent"}, "base_url": "http://127.0.0.1:9"}
    parts = {"sources": {"crm": crm}, "destinations": {"online": online}}
    goals = [{**GOALS[0], "send": {"online": "qualified_lead"}}]
    write_config(tmp_path, okna=tenant(**parts, goals=goals), dom=tenant(**parts, goals=goals))
    ended = call(tmp_path, "run")
    assert ended.status == 2
    for name in ("okna", "dom"):
        assert f"{name}/crm: " in ended.err
        assert f"{name}/online: " in ended.err
        assert f"{name}/crm: environment variable {MISSING} is not set" in ended.err


def test_a_source_without_its_secret_is_said_everywhere(tmp_path: Path) -> None:
    """A CRM whose token is missing is no quiet CRM: ``status`` and ``sync`` say so; another source is read."""
    crm = {"kind": "amocrm", "base_url": "http://127.0.0.1:9", "auth": {"token": {"env": MISSING}}}
    write_config(tmp_path, okna=tenant(sources={SOURCE: tenant()["sources"][SOURCE], "crm": crm}))
    write_table(tmp_path, [TableRow("A1")])
    assert call(tmp_path, "sync").status == 1
    assert len(uploaded(tmp_path)) == 1
    status = call(tmp_path, "status", "--json")
    assert status.status == 1
    sources = status.json["tenants"]["okna"]["sources"]
    assert MISSING in sources["crm"]["last_error"]
    assert sources[SOURCE]["last_error"] is None


def test_a_secret_in_the_configuration_itself_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """Secrets are references only; the message says how, without the secret."""
    wrong = _with_secret({"env": MISSING})
    wrong["destinations"]["online"]["token"] = "y0_verysecretsecret"
    write_config(tmp_path, okna=wrong)
    said = call(tmp_path, "check", "--json")
    assert said.status == 2
    assert "a secret is never written here" in said.json["okna"][0]["message"]
    assert "verysecret" not in said.out + said.err


@pytest.mark.parametrize(
    ("sources", "level"),
    [((), "error"), ((SOURCE,), "error"), (("another",), None)],
    ids=["any source", "this source", "another source"],
)
def test_a_goal_that_needs_what_a_source_does_not_bring_is_named(
    sources: tuple[str, ...], level: str | None, tmp_path: Path
) -> None:
    """Payments, product rows: `bridge check` says which goal and what to do; not where it is meant for others."""
    when = {"outcome": "won", **({"source": list(sources)} if sources else {})}
    paid = {**GOALS[0], "name": "paid", "when": when, "per": "payment", "value": "payment"}
    margin = {**GOALS[0], "name": "margin", "when": when, "value": {"products": "all"}}
    write_config(tmp_path, okna=tenant(goals=[paid, margin]))
    write_table(tmp_path, [TableRow("A1")])
    said = call(tmp_path, "check", "--json").json[f"{TENANT}/{SOURCE}"]
    for goal, what in (("paid", "is per payment"), ("margin", "is worth its product rows")):
        told = [item for item in said if f'goal "{goal}" {what}' in item["message"]]
        assert [item["level"] for item in told] == ([] if level is None else [level])
        assert all("switch them on" in item["message"] for item in told)
