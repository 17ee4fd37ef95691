"""``bridge init`` without a terminal: beside simulated accounts, without credentials, and what it refuses."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.amocrm.fake import AmoCrm
from adapters.bitrix24.fake import Bitrix24
from adapters.google_ads.fake import GoogleAds
from adapters.google_ads.fake_ads import SCOPE as ADS_SCOPE
from adapters.yandex_metrica.fake import Metrica
from bridge.frozen import frozen
from bridge.sim.server import Simulator, SourceSimulator
from bridge.sim.world import World
from bridge.system_clock import SystemClock
from tests.e2e.init_kit import sent, tenant
from tests.e2e.kit import ROOT, Background, free_call, served

DM_SCOPE = "https://www.googleapis.com/auth/datamanager"


@frozen
class Accounts:
    """Four accounts in which an imaginary business has worked for three weeks, and their own loop."""

    amocrm: AmoCrm
    metrica: Metrica
    bitrix24: Bitrix24
    google: GoogleAds
    world: World
    loop: Background


@pytest.fixture(scope="module")
def business() -> Iterator[Accounts]:
    """Started once for this file: a survey changes nothing."""
    clock = SystemClock()
    sims = (
        AmoCrm(clock, name="okna_crm", is_limited=False),
        Metrica(clock, name="okna_metrica", is_limited=False),
        Bitrix24(clock, name="dom_crm", is_limited=False),
        GoogleAds(clock, name="dom_google", is_limited=False),
    )
    # To this very day: a source that has brought no lead for days would be told.
    world = World.make(11, 132, start=datetime.now(UTC) - timedelta(days=22), days=22)
    with served(*sims) as background:
        background.do(lambda: _live(world, sims[0], sims[2]))
        yield Accounts(*sims, world, background)


def _live(world: World, *crms: SourceSimulator) -> None:
    now = datetime.now(UTC)
    for event in world.happenings():
        for crm in crms if event.at < now else ():
            crm.happen(event)


@pytest.fixture
def accounts(business: Accounts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    """The accounts, their secrets where ``init`` looks for them, and an empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OKNA_CRM_TOKEN", _secret(business.amocrm))
    monkeypatch.setenv("OKNA_METRICA_TOKEN", business.metrica.token)
    monkeypatch.setenv("DOM_CRM_WEBHOOK", _secret(business.bitrix24))
    monkeypatch.setenv("DOM_GOOGLE_CREDENTIALS", business.google.credentials_json())
    return business


def _secret(sim: Simulator) -> str:
    return next(iter(sim.secrets().values()))


def okna(accounts: Accounts, *more: str) -> list[str]:
    """amoCRM to Metrica."""
    crm, metrica = accounts.amocrm, accounts.metrica
    return [
        *("init", "--tenant", "okna", "--source", "amocrm", "--destination", "yandex_metrica"),
        *("--base-url", crm.base_url, "--counter-id", str(metrica.counter_id)),
        *("--set", f"metrica.base_url={metrica.base_url}", "--set", "crm.requests_per_second=1000"),
        *more,
    ]


def dom(accounts: Accounts, *more: str) -> list[str]:
    """Bitrix24 to Google Ads."""
    crm, google = accounts.bitrix24, accounts.google
    return [
        *("init", "--tenant", "dom", "--source", "bitrix24", "--destination", "google_ads"),
        *("--base-url", crm.base_url, "--customer-id", "123-456-7890", "--set", "crm.requests_per_second=1000"),
        *("--set", f"google.base_url={google.base_url}", "--set", f"google.ads_base_url={google.base_url}"),
        *("--set", f"google.token_uri={google.base_url}/token"),
        *("--set", 'google.consent={ad_user_data="granted", ad_personalization="granted"}'),
        *more,
    ]


# --- with credentials --------------------------------------------------------------------------------------------


def test_amocrm_to_metrica_is_written_whole_and_passes_the_check(accounts: Accounts) -> None:
    """Fields, goals and where they go come from the accounts; nothing has to be edited before ``check`` is content."""
    said = free_call(*okna(accounts, "--qualified-stage", "Квалифицирован"))
    assert (said.status, said.err) == (0, "")
    settings = tenant()
    assert settings.sources["crm"].fields == {"client_id": ["ClientID"]}  # the others are found by themselves
    assert sent(settings) == {
        "qualified": {"metrica": "qualified_lead"},
        "spam": {"metrica": "spam_lead"},
        "sale": {"metrica": "deal_won"},
    }
    assert free_call("check").status == 0


def test_bitrix24_to_google_is_written_and_the_check_tells_what_is_left(accounts: Accounts) -> None:
    """Conversion actions by their category; the qualified stage, which nobody told, stays a comment; spam has none."""
    said = free_call(*dom(accounts, "--secret", "google.credentials=env:DOM_GOOGLE_CREDENTIALS"))
    assert (said.status, said.err) == (0, "")
    settings = tenant(name="dom")
    fields = {"yclid": ["UF_CRM_YCLID"], "gclid": ["UF_CRM_GCLID"], "client_id": ["UF_CRM_YM_CLIENT_ID"]}
    assert settings.sources["crm"].fields == fields
    assert sent(settings) == {"spam": {}, "sale": {"google": "7012345679"}}
    assert '# when = { stage = ["Квалифицирован"] }' in Path("config.toml").read_text(encoding="utf-8")
    found = free_call("check", "--json").json
    wrong = [item["message"] for items in found.values() for item in items if item["level"] != "ok"]
    assert wrong == ['goal "spam" is sent nowhere: add send = { google = "ITS GOAL" }']


def test_the_steps_it_names_work_as_printed(accounts: Accounts) -> None:
    """Check, a month's preview, one turn: conversions arrive at the counter and nothing complains."""
    told = free_call(*okna(accounts, "--qualified-stage", "Квалифицирован", "--set", "crm.start_from=30d", "--json"))
    commands = [shlex.split(line)[1:] for line in told.json["next"]]
    assert [words[0] for words in commands] == ["check", "backfill", "sync"]
    said = [free_call(*words, "--json") for words in commands]
    assert [one.status for one in said] == [0, 0, 0]
    preview = {name: n for name, n in said[1].json["counts"].items() if name.startswith("planned ")}
    assert set(preview) == {"planned qualified -> metrica", "planned spam -> metrica", "planned sale -> metrica"}
    assert said[2].json["done"]["okna"]["accepted"] > 0
    assert accounts.metrica.applied()


def test_a_table_is_written_with_its_columns_and_passes_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No account: columns are looked at like fields; the folder for upload files has its default."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "docs" / "leads.csv", tmp_path)
    words = ("--source", "table", "--destination", "table", "--path", "leads.csv")
    more = ("--set", "file.format=yandex_metrica", "--send", "sale.file=deal_won")
    said = free_call("init", "--tenant", "shop", *words, *more, "--json")
    assert said.status == 0, said.err
    assert {item["field"] for item in said.json["sources"]["table"]["fields"]} >= {"yclid"}
    settings = tenant(name="shop")
    assert settings.destinations["file"].path == "upload/shop"
    assert sent(settings)["sale"] == {"file": "deal_won"}
    assert free_call("check").status in (0, 1)  # rows of the sample that cannot be read are warnings


def test_everything_found_is_in_the_json_with_its_evidence(accounts: Accounts) -> None:
    """Pipelines with outcomes, loss reasons, fields with counts, goals: what a script chooses from."""
    told = free_call(*okna(accounts, "--json")).json
    crm = told["sources"]["crm"]
    outcomes = {stage["name"]: stage["outcome"] for pipe in crm["pipelines"] for stage in pipe["stages"]}
    assert outcomes["Успешно реализовано"] == "won"
    assert {reason["name"] for reason in crm["loss_reasons"]} >= {"Спам", "Дубль"}
    by_field = {item["field"]: item for item in crm["fields"]}
    by_hand = by_field["ClientID"]
    assert (by_hand["kind"], by_hand["sure"], by_hand["known"]) == ("client_id", True, False)
    assert by_hand["evidence"] == f"the name; a good client_id in {by_hand['filled']} of {by_hand['filled']} filled"
    assert {"deal_won", "qualified_lead"} <= {goal["id"] for goal in told["destinations"]["metrica"]["goals"]}
    assert told["next"][0].endswith("check --tenant okna")


def test_no_secret_and_nothing_personal_is_printed_or_written(accounts: Accounts) -> None:
    """Neither in tables nor in JSON nor in any file but the database."""
    said = [
        free_call(*okna(accounts, "--json")),
        free_call(*dom(accounts, "--offline")),
        free_call("init", "-t", "okna"),
    ]
    texts = [text for one in said for text in (one.out, one.err)]
    texts += [path.read_text(encoding="utf-8") for path in Path().rglob("*.toml")]
    sims = (accounts.amocrm, accounts.metrica, accounts.bitrix24)
    secrets = {_secret(sim) for sim in sims} | {json.loads(accounts.google.credentials_json())["private_key"]}
    ids = {click.yclid or click.gclid or "" for click in accounts.world.clicks}
    private = secrets | set(accounts.world.personal()) | (ids - {""})
    assert [word for word in private for text in texts if word in text] == []


def test_a_field_is_taken_when_it_is_told_and_stages_may_be_several(accounts: Accounts) -> None:
    """Lists by repeating the option; an option wins over what would be guessed."""
    stages = ("--qualified-stage", "Квалифицирован", "--qualified-stage", "Продажи/Встреча назначена")
    said = free_call(*okna(accounts, *stages, "--field", "user_id=Номер заказа", "--send", "sale.metrica=spam_lead"))
    assert said.status == 0
    settings = tenant()
    assert settings.sources["crm"].fields["user_id"] == ["Номер заказа"]
    assert settings.goals[0].when.stage == ["Квалифицирован", "Продажи/Встреча назначена"]
    assert sent(settings)["sale"] == {"metrica": "spam_lead"}


def test_an_unknown_stage_is_an_error_with_the_nearest_and_writes_nothing(accounts: Accounts) -> None:
    """A goal that could never be reached is not written."""
    said = free_call(*okna(accounts, "--qualified-stage", "Квалифицирован!"))
    assert said.status == 2
    assert 'nearest: "Квалифицирован"' in said.err
    assert not Path("config.toml").exists()


def test_a_goal_that_is_not_there_needs_attention(accounts: Accounts) -> None:
    """It is written as told, and said."""
    said = free_call(*okna(accounts, "--send", "sale.metrica=sold", "--json"))
    assert said.status == 1
    assert said.json["attention"] == ['metrica has no goal "sold" that could be sent to; create it there']
    assert sent(tenant())["sale"] == {"metrica": "sold"}


# --- creating goals ----------------------------------------------------------------------------------------------


@pytest.fixture
def bare(accounts: Accounts) -> Iterator[Metrica]:
    """The counter without any goal."""
    metrica, before = accounts.metrica, list(accounts.metrica.goals)
    metrica.goals.clear()
    yield metrica
    metrica.goals[:] = before
    metrica.scopes.discard("metrika:write")


def test_goals_are_created_only_when_that_is_said(accounts: Accounts, bare: Metrica) -> None:
    """Without the option the configuration says how; with it, once, and a second time nothing."""
    bare.scopes.add("metrika:write")
    free_call(*okna(accounts, "--output", "first.toml", "--qualified-stage", "Квалифицирован"))
    assert bare.goals == []
    assert "--create-goals creates deal_won" in Path("first.toml").read_text(encoding="utf-8")
    for name in ("second.toml", "third.toml"):
        more = ("--create-goals", "--qualified-stage", "Квалифицирован", "--output", name)
        assert free_call(*okna(accounts, *more)).status == 0
        assert sent(tenant(name))["sale"] == {"metrica": "deal_won"}
    created = [(goal["type"], goal["conditions"]) for goal in bare.goals]
    wanted = ("qualified_lead", "spam_lead", "deal_won")
    assert created == [("action", [{"type": "exact", "url": name}]) for name in wanted]
    assert free_call("check", "-c", "third.toml").status == 0


def test_a_token_without_the_right_creates_nothing_and_says_which_right(accounts: Accounts, bare: Metrica) -> None:
    """The configuration is written all the same."""
    said = free_call(*okna(accounts, "--create-goals", "--json"))
    assert said.status == 1
    assert "metrika:write" in said.json["attention"][0]
    assert bare.goals == []
    assert sent(tenant())["sale"] == {}


# --- accounts that cannot be asked -------------------------------------------------------------------------------


def test_google_credentials_without_the_ads_right_say_so_plainly(accounts: Accounts) -> None:
    """Uploads need another right than lists: no error, but a note where the numbers are found."""
    accounts.google.rules.has_ads_api = False
    try:
        said = free_call(*dom(accounts, "--secret", "google.credentials=env:DOM_GOOGLE_CREDENTIALS", "--json"))
    finally:
        accounts.google.rules.has_ads_api = True
    assert said.status == 0
    google = said.json["destinations"]["google"]
    assert google["goals"] == []
    assert "SERVICE_DISABLED" in google["note"]
    assert "ctId" in google["note"]
    assert sent(tenant(name="dom"))["sale"] == {}


def test_a_users_grant_with_both_scopes_lists_and_with_one_does_not(accounts: Accounts, monkeypatch: Any) -> None:
    """What the user ticked decides (contract google 6)."""
    user = GoogleAds(SystemClock(), name="user", is_limited=False, credentials="authorized_user")
    monkeypatch.setenv("DOM_GOOGLE_CREDENTIALS", user.credentials_json())
    with served(user):
        words = dom(accounts, "--secret", "google.credentials=env:DOM_GOOGLE_CREDENTIALS", "--json")
        words = [word.replace(accounts.google.base_url, user.base_url) for word in words]
        first = free_call(*words, "--output", "one.toml").json["destinations"]["google"]
        user.rules.scopes = f"{DM_SCOPE} {ADS_SCOPE}"
        second = free_call(*words, "--output", "two.toml").json["destinations"]["google"]
    assert (first["goals"], "adwords" in first["note"]) == ([], True)
    assert (len(second["goals"]), second["note"]) == (3, None)


def test_a_refused_token_is_said_and_the_rest_is_written(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """One account's trouble is its own: the other's goals are there."""
    monkeypatch.setenv("OKNA_CRM_TOKEN", "wrong")
    said = free_call(*okna(accounts, "--json"))
    assert said.status == 1
    assert "does not accept the access token" in said.json["attention"][0]
    assert sent(tenant()) == {"sale": {"metrica": "deal_won"}}


# --- a tenant that exists ---------------------------------------------------------------------------------------


def test_a_tenant_that_exists_is_looked_at_and_nothing_is_written(accounts: Accounts) -> None:
    """After the secrets are in place the same command lists what a skeleton could not know."""
    free_call(*okna(accounts, "--offline"))
    before = {path: path.read_bytes() for path in Path().rglob("*.toml")}
    told = free_call("init", "--tenant", "okna", "--json").json
    assert told["file"] is None
    assert told["sources"]["crm"]["pipelines"]
    assert [goal["name"] for goal in told["goals"]] == ["qualified", "spam", "sale"]
    shown = free_call("init", "--tenant", "okna").out
    assert 'fields = { client_id = ["ClientID"] }' in shown
    assert '# send = { metrica = "qualified_lead" }' in shown
    assert {path: path.read_bytes() for path in Path().rglob("*.toml")} == before


def test_what_is_configured_is_not_suggested_again(accounts: Accounts) -> None:
    """Only fields and goals that are not there yet are printed to be copied."""
    free_call(*okna(accounts, "--send", "sale.metrica=deal_won"))
    shown = free_call("init", "--tenant", "okna").out
    assert "ClientID" in shown
    assert "fields = {" not in shown
    assert [name for name in ("qualified", "spam", "sale") if f'name = "{name}"' in shown] == ["qualified"]


def test_goals_can_be_created_for_a_tenant_that_exists(accounts: Accounts, bare: Metrica) -> None:
    """The configuration named them already; now they are there, and the check is content."""
    bare.scopes.add("metrika:write")
    sends = [word for goal in ("spam.metrica=spam_lead", "sale.metrica=deal_won") for word in ("--send", goal)]
    assert free_call(*okna(accounts, *sends)).status == 1
    assert free_call("check").status == 1
    assert free_call("init", "--tenant", "okna", "--create-goals").status == 0
    assert [goal["conditions"][0]["url"] for goal in bare.goals] == ["spam_lead", "deal_won"]
    assert free_call("check").status == 0
