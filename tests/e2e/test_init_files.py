"""``bridge init`` without credentials: the skeleton, where it goes, and what is refused."""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path

import pytest

from bridge.compose import load_config
from tests.e2e.init_kit import SKELETON, sent, tenant
from tests.e2e.kit import Said, free_call


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, without any credentials."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- without credentials -----------------------------------------------------------------------------------------


def test_a_skeleton_lacks_nothing_but_its_secrets(folder: Path) -> None:
    """It loads, ``check`` complains of the variables alone, and the next steps begin with them."""
    said = free_call(*SKELETON, "--send", "sale.metrica=deal_won", "--json")
    assert said.status == 0
    assert sent(tenant()) == {"sale": {"metrica": "deal_won"}}
    found = free_call("check", "--json").json
    messages = [item["message"] for items in found.values() for item in items]
    variables = ("OKNA_CRM_TOKEN", "OKNA_METRICA_TOKEN")
    assert messages == [f"environment variable {name} is not set; set it to the secret" for name in variables]
    assert [step.split()[2] for step in said.json["next"][:2]] == list(variables)


def test_an_account_with_oauth_is_granted_by_the_next_step(folder: Path) -> None:
    """The exact command, with the configuration it needs."""
    keys = ("--set", "crm.auth.client_id=0a1b", "--set", "crm.auth.redirect_uri=https://okna.example/")
    said = free_call(*SKELETON, "--auth", "oauth", *keys, "-c", "conf/okna.toml", "--json")
    assert said.status == 0
    steps = [step.partition("bridge ")[2] for step in said.json["next"] if "bridge " in step]
    where = "--tenant okna -c conf/okna.toml"
    assert steps[:3] == [f"auth crm {where}", f"init {where}", f"check {where}"]
    assert re.fullmatch(rf"backfill {where} --since \d{{4}}-\d\d-\d\d --dry-run", steps[3])
    assert steps[4:] == [f"sync {where}"]
    assert tenant("conf/okna.toml").sources["crm"].auth.client_secret.env == "OKNA_CRM_CLIENT_SECRET"


def test_secrets_are_written_as_the_references_given(folder: Path) -> None:
    """By variable or by file, under any name."""
    given = ("--secret", "crm.auth.token=file:keys/amo", "--secret", "metrica.token=env:METRICA")
    assert free_call(*SKELETON, *given).status == 0
    settings = tenant()
    assert settings.sources["crm"].auth.token.file == "keys/amo"
    assert settings.destinations["metrica"].token.env == "METRICA"


def test_a_destination_without_goals_of_its_own_gets_ours(folder: Path) -> None:
    """Any name will do for an endpoint of one's own, so nothing is left open."""
    words = (*SKELETON[:5], "--destination", "webhook", "--set", "webhook.url=https://okna.example/hook")
    assert free_call(*words, "--base-url", "https://okna.amocrm.ru").status == 0
    assert sent(tenant()) == {"sale": {"webhook": "sale"}}


def test_a_folder_of_upload_files_gets_ours_too(folder: Path) -> None:
    """Whatever a file calls a goal is its name there: the sale is sent, not only judged."""
    words = ("--source", "leads=table", "--path", "leads.csv", "--destination", "table")
    said = free_call("init", "--tenant", "shop", *words, "--set", "file.format=yandex_metrica", "--offline")
    assert said.status == 0
    assert sent(tenant(name="shop")) == {"sale": {"file": "sale"}}
    assert "sent nowhere" not in said.out


def test_a_goal_without_a_destination_is_not_called_active(folder: Path) -> None:
    """It is judged, and that is all; what is left to do stands among the next steps, no command for a script."""
    said = free_call(*SKELETON)
    assert "judged, sent nowhere" in said.out.partition("next:")[0]
    assert "active" not in said.out
    assert re.search(
        r'write send for the goals in \S*config\.toml +# judged, sent nowhere until then: "sale"', said.out
    )
    Path("config.toml").unlink()
    assert all(line.split()[0] != "write" for line in free_call(*SKELETON, "--json").json["next"])


def test_a_missing_setting_of_few_values_lists_them(folder: Path) -> None:
    """Without a terminal nobody shows the choices but the message."""
    said = free_call("init", "--tenant", "shop", "--source", "table", "--path", "leads.csv", "--destination", "table")
    assert said.status == 2
    told = (
        "--set file.format=... is missing: what the files are made for; one of yandex_metrica, google_ads, spreadsheet"
    )
    assert told in " ".join(said.err.split())


def test_a_secret_file_that_lies_there_already_is_found(folder: Path) -> None:
    """A wizard that was interrupted is not told twice."""
    (folder / "secrets").mkdir()
    (folder / "secrets" / "okna_crm_token").write_text("x", encoding="utf-8")
    assert free_call(*SKELETON, "--offline").status == 0
    assert tenant().sources["crm"].auth.token.file == "secrets/okna_crm_token"


# --- where it is written -----------------------------------------------------------------------------------------


def test_the_second_tenant_goes_into_a_file_beside_the_first(folder: Path) -> None:
    """The configuration that was there is not touched, and reads both."""
    free_call(*SKELETON)
    before = Path("config.toml").read_bytes()
    said = free_call(*SKELETON, "--tenant", "dveri", "--json")
    assert (said.status, said.json["file"]) == (0, "tenants/dveri.toml")
    assert Path("config.toml").read_bytes() == before
    assert set(load_config(Path("config.toml")).tenants) == {"okna", "dveri"}


@pytest.mark.parametrize(
    ("include", "file"), [('["clients/*.toml"]', "clients/dveri.toml"), ('["c-*.toml"]', "c-dveri.toml")]
)
def test_an_include_of_another_folder_is_followed(folder: Path, include: str, file: str) -> None:
    """The operator's own order is kept."""
    Path("config.toml").write_text(f"include = {include}\n", encoding="utf-8")
    said = free_call(*SKELETON, "--tenant", "dveri", "--json")
    assert (said.status, said.json["file"]) == (0, file)
    assert set(load_config(Path("config.toml")).tenants) == {"dveri"}


def test_a_configuration_without_include_is_told_the_line_it_lacks(folder: Path) -> None:
    """Nothing existing is changed, so that one line is the operator's."""
    Path("config.toml").write_text('[web]\nlisten = ""\n', encoding="utf-8")
    said = free_call(*SKELETON, "--json")
    assert said.status == 1
    line = said.json["attention"][0].partition("write ")[2].removesuffix(" at its top")
    Path("config.toml").write_text(f'{line}\n[web]\nlisten = ""\n', encoding="utf-8")
    assert set(load_config(Path("config.toml")).tenants) == {"okna"}


def test_nothing_is_ever_overwritten(folder: Path) -> None:
    """Neither a tenant, nor the file named by --output, nor a stray file where the tenant would go."""
    free_call(*SKELETON)
    Path("tenants").mkdir()
    Path("tenants/dveri.toml").write_text("# mine\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in Path().rglob("*.toml")}
    for words in (SKELETON, (*SKELETON, "--tenant", "dveri"), (*SKELETON, "--tenant", "x", "--output", "config.toml")):
        said = free_call(*words)
        assert said.status == 2
        assert "never" in said.err
    assert {path: path.read_bytes() for path in Path().rglob("*.toml")} == before


def test_a_dash_prints_the_configuration_and_writes_no_file(folder: Path) -> None:
    """To look at, or to pipe; standard output holds nothing else."""
    said = free_call(*SKELETON, "--output", "-")
    assert tomllib.loads(said.out)["tenants"]["okna"]["sources"]["crm"]["kind"] == "amocrm"
    assert list(folder.iterdir()) == []
    assert free_call(*SKELETON, "--output", "-", "--json").json["text"] == said.out


# --- what is refused ---------------------------------------------------------------------------------------------


def _refused(*words: str) -> Said:
    said = free_call(*words)
    assert said.status == 2
    assert said.out == ""
    assert not Path("config.toml").exists()
    return said


def test_all_that_is_missing_is_named_at_once_by_its_option(folder: Path) -> None:
    """Without a terminal nothing is asked, and nobody has to try three times."""
    said = _refused("init")
    assert [line.split()[0] for line in said.err.splitlines()] == ["--tenant", "--source", "--destination"]
    said = _refused(*SKELETON[:7])
    assert [line.split()[0] for line in said.err.splitlines()] == ["--base-url", "--counter-id"]
    words = ("init", "--tenant", "a", "--source", "table", "--destination", "table")
    assert [line.split()[0] for line in _refused(*words).err.splitlines()] == ["--path", "--set"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--tenant", "Окна"), "lower-case Latin letters"),
        (("--source", "amocmr"), "did you mean amocrm"),
        (("--source", "google_ads"), "cannot be a source"),
        (("--source", "metrica=bitrix24"), "names both"),
        (("--auth", "password"), "known: crm=token, crm=oauth"),
        (("--base-url", "okna.amocrm.ru", "--counter-id", "many"), "(--base-url)"),
        (("--base-url", "okna.amocrm.ru", "--counter-id", "many"), "(--counter-id)"),
        (("--customer-id", "1"), "nothing here takes it"),
        (("--set", "b24.poll_every=30s"), "known: crm, metrica"),
        (("--set", "poll_every=30s"), "NAME.KEY=VALUE"),
        (("--set", "crm.pol_every=30s"), "crm.pol_every: unknown key"),
        (("--set", "crm.auth.token=s3cret"), "never written down"),
        (("--secret", "crm.auth.token=s3cret"), "never the secret itself"),
        (("--field", "click=X"), "none of yclid"),
        (("--field", "b24.yclid=X"), "the source being crm"),
        (("--field", "yclid"), "write --field A=B"),
        (("--send", "sold.metrica=x"), "goals: qualified, spam, sale"),
        (("--timezone", "Mars"), "unknown time zone"),
        (("--currency", "rub"), "tenants.okna.currency"),
    ],
)
def test_wrong_options_are_refused_with_what_would_be_right(folder: Path, words: tuple[str, ...], told: str) -> None:
    """Status 2, one clear line, nothing written, and never a secret repeated."""
    said = _refused(*SKELETON, *words)
    assert told in said.err
    assert "s3cret" not in said.err


def test_a_shortcut_that_two_accounts_could_take_asks_which(folder: Path) -> None:
    """It is not given to the wrong one."""
    two = ("init", "--tenant", "a", "--source", "amocrm", "--source", "b24=bitrix24", "--destination", "table")
    said = _refused(*two, "--base-url", "https://a.amocrm.ru", "--set", "file.format=google_ads")
    assert "--set crm.base_url=... (crm, b24)" in said.err


def test_a_file_of_secrets_is_for_its_owner_alone(folder: Path) -> None:
    """Mode 0600, and never over another one."""
    from bridge.errors import ConfigError  # noqa: PLC0415 - beside what it is about
    from bridge.init.filling import keep  # noqa: PLC0415 - the one function a terminal reaches

    path = folder / "secrets" / "okna_crm_token"
    keep(path, "s3cret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(ConfigError, match="FileExistsError"):
        keep(path, "other")
    assert path.read_text(encoding="utf-8") == "s3cret"
