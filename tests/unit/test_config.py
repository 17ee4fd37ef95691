"""Configuration: a wrong key is named with its file, a wrong tenant is switched off alone, secrets are references."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from bridge import registry
from bridge.config import (
    Config,
    DestinationSettings,
    Duration,
    HookSettings,
    SecretRef,
    SourceSettings,
    WebSettings,
    load,
    parse_duration,
)
from bridge.errors import ConfigError

SECRET = "AQAA-very-secret-value"


class CrmSettings(SourceSettings):
    kind: Literal["crm"]
    token: SecretRef
    page: Annotated[int, Field(ge=1)] = 250


class AdsSettings(DestinationSettings):
    kind: Literal["ads"]


def settings_of(section: str, kind: str) -> type[Any]:
    known: dict[tuple[str, str], type[Any]] = {("sources", "crm"): CrmSettings, ("destinations", "ads"): AdsSettings}
    if (section, kind) not in known:
        raise ConfigError(f'unknown kind "{kind}"; known: ads, crm')
    return known[section, kind]


GOOD = """
[tenants.okna]
title = "Окна"
[tenants.okna.sources.main]
kind = "crm"
token = { env = "OKNA_TOKEN" }
poll_every = "2m"
fields = { yclid = "YCLID", client_id = ["_ym_uid", "812345"] }
[tenants.okna.destinations.ads]
kind = "ads"
[[tenants.okna.goals]]
name = "sale"
when = { outcome = "won" }
value = "deal"
send = { ads = 7012345679 }
"""
OTHER = GOOD.replace("okna", "dveri").replace("OKNA", "DVERI")


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)

    def put(text: str, name: str = "config.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return put


def loaded(path: Path) -> Config:
    return load(path, settings_of)


# --- what is read ------------------------------------------------------------------------------------------------


def test_a_good_file_is_read_with_every_adapter_section_in_its_own_model(write: Any) -> None:
    """Types are the adapters', durations are timedeltas, numbers that are names become text."""
    tenant = loaded(write(GOOD)).tenants["okna"]
    source = tenant.sources["main"]
    assert isinstance(source, CrmSettings)
    assert source.poll_every == timedelta(minutes=2)
    assert tenant.goals[0].send == {"ads": "7012345679"}
    assert tenant.goals[0].when.outcome == ["won"]


def test_an_empty_file_is_a_valid_configuration_without_tenants(write: Any) -> None:
    """Everything has a default."""
    config = loaded(write(""))
    assert config.tenants == {}
    assert config.web.listen == "127.0.0.1:8080"


def test_included_files_add_their_tenants(write: Any) -> None:
    """One file per tenant works like one file for all."""
    write(OTHER, "tenants/dveri.toml")
    config = loaded(write('include = ["tenants/*.toml"]\n' + GOOD))
    assert set(config.tenants) == {"okna", "dveri"}


@pytest.mark.parametrize("first", ["config.toml", "tenants/a.toml"], ids=["the main file", "an included one"])
def test_a_tenant_of_two_files_is_broken_alone_and_both_are_named(write: Any, first: str) -> None:
    """Nobody can tell which of the two was meant; the others go on, also those beside it in its files."""
    include = 'include = ["tenants/*.toml", "tenants/b*.toml"]\n'
    main = write(include)
    one = write((include if first == "config.toml" else "") + GOOD, first)
    two = write(GOOD + OTHER, "tenants/b.toml")
    config = loaded(main)
    assert (set(config.tenants), set(config.broken)) == ({"dveri"}, {"okna"})
    assert config.broken["okna"] == (f"{one}: tenants.okna: also defined in {two}; keep one of them",)


@pytest.mark.parametrize("include", ["7", "[7]", '["/etc/*.toml"]', '[""]'])
def test_an_include_that_is_no_pattern_is_named(write: Any, include: str) -> None:
    """Exit by a message that says what it should be, not by a traceback."""
    with pytest.raises(ConfigError, match=r"config\.toml: include: "):
        loaded(write(f"include = {include}\n"))


def test_the_environment_wins_over_the_file_and_an_empty_value_counts(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A systemd unit can set the database and switch the web server off."""
    monkeypatch.setenv("BRIDGE_DATABASE__URL", "postgresql://bridge@db/bridge")
    monkeypatch.setenv("BRIDGE_WEB__LISTEN", "")
    config = loaded(write('[database]\nurl = "sqlite:///x.db"\n[web]\nlisten = "0.0.0.0:80"\n'))
    assert config.database_url() == "postgresql://bridge@db/bridge"
    assert config.web.listen == ""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///bridge.db", "sqlite:///{folder}/bridge.db"),
        ("sqlite:////var/lib/bridge/bridge.db", "sqlite:////var/lib/bridge/bridge.db"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
    ],
)
def test_a_relative_sqlite_path_starts_at_the_config_file(write: Any, url: str, expected: str) -> None:
    """The working directory of the daemon does not matter."""
    path = write(f'[database]\nurl = "{url}"\n')
    assert loaded(path).database_url() == expected.format(folder=path.parent.resolve())


# --- what is refused ---------------------------------------------------------------------------------------------


def test_an_unknown_key_at_the_top_is_an_error_that_names_key_and_file(write: Any) -> None:
    """A misspelt section never passes silently."""
    path = write('[databse]\nurl = "x"\n')
    with pytest.raises(ConfigError) as caught:
        loaded(path)
    assert f"{path}: databse: unknown key" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("poll_every", "pol_every", "tenants.okna.sources.main.pol_every: unknown key"),
        ('title = "Окна"', 'titel = "Окна"', "tenants.okna.titel: unknown key"),
        ('"2m"', '"2 minutes"', "tenants.okna.sources.main.poll_every: write a duration as a number and a unit"),
        ('"won"', '"win"', "tenants.okna.goals.0.when.outcome.0"),
        ('{ outcome = "won" }', "{}", "at least one condition"),
        ('value = "deal"', 'per = "payment"', "a goal per payment needs a value"),
        ('value = "deal"', 'value = "deal"\nper = "payment"', "the deal's amount would count with every payment"),
        ('value = "deal"', 'value = "deal_at_goal"\nper = "payment"', 'use value = "payment"'),
        ('value = "deal"', 'value = "payment"', 'needs per = "payment"'),
        ('value = "deal"', 'per = "week"', "tenants.okna.goals.0.per"),
        ("{ ads =", "{ adz =", 'sends to "adz", which is no destination (known: ads)'),
        ('kind = "crm"', 'kind = "crn"', '.kind: unknown kind "crn"'),
        ('kind = "crm"', "", '"kind" is missing'),
        ('{ env = "OKNA_TOKEN" }', f'"{SECRET}"', "a secret is never written here"),
        ('{ env = "OKNA_TOKEN" }', '{ env = "A", file = "b" }', "exactly one of env and file"),
        ('title = "Окна"', 'timezone = "Europe/Moskow"', 'unknown time zone "Europe/Moskow"'),
        ('title = "Окна"', 'currency = "rub"', "tenants.okna.currency"),
        ("yclid =", "yclld =", "tenants.okna.sources.main.fields.yclld"),
    ],
)
def test_a_mistake_in_a_tenant_switches_off_that_tenant_alone_and_is_named(
    write: Any, old: str, new: str, says: str
) -> None:
    """The other tenant works on; the message has the file, the dotted key and no secret."""
    assert old in GOOD
    path = write(GOOD.replace(old, new) + OTHER)
    config = loaded(path)
    assert set(config.tenants) == {"dveri"}
    message = "\n".join(config.broken["okna"])
    assert says in message
    assert str(path) in message
    assert SECRET not in message


def test_a_goal_defined_twice_is_named(write: Any) -> None:
    """Ids are made of the goal's name, so two goals must not share one."""
    twice = GOOD + '[[tenants.okna.goals]]\nname = "sale"\nwhen = { outcome = "lost" }\n'
    assert 'goal "sale" is defined twice' in loaded(write(twice)).broken["okna"][0]


@pytest.mark.parametrize("name", ["Okna", "окна", "a b", "x" * 41, "-a"])
def test_a_tenants_name_is_plain(write: Any, name: str) -> None:
    """Names go into file names, metrics and unit names."""
    assert name in loaded(write(f'[tenants."{name}"]\n')).broken


def test_a_broken_included_file_is_named_in_its_tenants_message(write: Any) -> None:
    """The message points at the file that holds the mistake."""
    extra = write(OTHER.replace("poll_every", "polevery"), "tenants/dveri.toml")
    config = loaded(write('include = ["tenants/*.toml"]\n' + GOOD))
    assert str(extra) in config.broken["dveri"][0]
    assert set(config.tenants) == {"okna"}


def test_an_included_file_that_is_no_toml_stops_its_own_tenant_only(write: Any) -> None:
    """A slip in one client's file is no trouble of the others; its name and line are told."""
    extra = write(OTHER + "goals = [", "tenants/dveri.toml")
    config = loaded(write('include = ["tenants/*.toml"]\n' + GOOD))
    assert set(config.tenants) == {"okna"}
    assert str(extra) in config.broken["dveri"][0]
    assert "not valid TOML" in config.broken["dveri"][0]


@pytest.mark.parametrize("key", ["tenant", "tenants"])
def test_what_an_included_file_may_not_hold_is_named(write: Any, key: str) -> None:
    """A misspelt table is no silence, and what is right in the same file is read."""
    extra = write(f"{key} = 7\n" + (OTHER if key == "tenant" else ""), "tenants/third.toml")
    config = loaded(write('include = ["tenants/*.toml"]\n' + GOOD))
    assert set(config.tenants) == ({"okna", "dveri"} if key == "tenant" else {"okna"})
    (line,) = config.broken["third.toml" if key == "tenant" else "third"]  # a file; a tenant that is missing
    assert line.startswith(f"{extra}: {key}: ")


def test_a_torn_file_named_like_a_sound_tenant_does_not_stop_that_one(write: Any) -> None:
    """The tenant stands elsewhere: the file's name was misleading."""
    write("x = [", "tenants/okna.toml")
    config = loaded(write('include = ["tenants/*.toml"]\n' + GOOD))
    assert set(config.tenants) == {"okna"}
    assert set(config.broken) == {"okna.toml"}


@pytest.mark.parametrize(("content", "says"), [(b"a = ", "not valid TOML"), (b"\xff\xfe", "cannot be read")])
def test_an_unreadable_file_is_a_config_error(tmp_path: Path, content: bytes, says: str) -> None:
    """No traceback for a broken file."""
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        loaded(path)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    """The first message most people will ever see."""
    with pytest.raises(ConfigError, match=r"write it with .bridge init."):
        loaded(tmp_path / "config.toml")


# --- secrets -----------------------------------------------------------------------------------------------------


def test_a_secret_from_the_environment_is_stripped_and_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trailing newline is no part of a token, and a repr never shows it."""
    monkeypatch.setenv("OKNA_TOKEN", f" {SECRET}\n")
    secret = SecretRef(env="OKNA_TOKEN").read(tmp_path)
    assert secret.get_secret_value() == SECRET
    assert SECRET not in repr(secret)


def test_a_secret_file_is_looked_up_in_the_credentials_directory_then_beside_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd's LoadCredential wins; without it the file lies beside the configuration."""
    beside, credentials = tmp_path / "etc", tmp_path / "run"
    for folder, text in ((beside, "from-etc"), (credentials, "from-systemd")):
        folder.mkdir()
        (folder / "token").write_text(text)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert SecretRef(file="token").read(beside).get_secret_value() == "from-systemd"
    (credentials / "token").unlink()
    assert SecretRef(file="token").read(beside).get_secret_value() == "from-etc"
    assert SecretRef(file=str(beside / "token")).read(tmp_path).get_secret_value() == "from-etc"


def test_a_secret_that_may_not_be_read_is_not_to_be_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there; who runs the program has no right to it."""

    def refused(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refused)
        with pytest.raises(ConfigError, match=r"secret file .*token may not be read by this user"):
            SecretRef(file="token").read(tmp_path)


def test_a_wrong_variable_is_named_and_not_the_file(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody finds in the file what is in the environment; a mistake of the file stays the file's."""
    path = write('[log]\nlevel = "loud"\n')
    monkeypatch.setenv("BRIDGE_WEB__LISTN", "foo")
    with pytest.raises(ConfigError) as caught:
        loaded(path)
    first, second = sorted(str(caught.value).splitlines())
    assert first.startswith(f"{path}: log.level: ")
    assert second == 'environment variable BRIDGE_WEB__LISTN: web.listn: unknown key; did you mean "listen"?'


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        (SecretRef(env="BRIDGE_TEST_UNSET"), "BRIDGE_TEST_UNSET is not set"),
        (SecretRef(env="BRIDGE_TEST_EMPTY"), "BRIDGE_TEST_EMPTY is empty"),
        (SecretRef(file="absent"), "secret file .*absent is not there; create it"),
        (SecretRef(file="empty"), "secret file .*empty is empty"),
        (SecretRef(file="binary"), "secret file .*binary is not UTF-8 text"),
        (SecretRef(file="folder"), "cannot read secret file .*folder: Is a directory"),
    ],
)
def test_a_secret_that_cannot_be_had_is_a_config_error(
    reference: SecretRef, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing, empty and unreadable secrets say what to do about them."""
    monkeypatch.setenv("BRIDGE_TEST_EMPTY", " ")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "binary").write_bytes(b"\xff\xff")
    with pytest.raises(ConfigError, match=says):
        reference.read(tmp_path)


# --- durations ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 100_000), st.sampled_from(list("smhd")))
def test_a_duration_is_number_times_unit(number: int, unit: str) -> None:
    """Every non-negative number with one of the four units is read exactly."""
    unit_s = {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert parse_duration(f"{number}{unit}") == timedelta(seconds=number * unit_s)


@given(st.text(max_size=8).filter(lambda text: not re.fullmatch(r"\s*\d+\s*[smhd]\s*", text)))
def test_any_other_text_is_refused_with_the_form_it_should_have(text: str) -> None:
    """Nothing is guessed: a text without the documented form is an error that shows the form."""
    with pytest.raises(ValidationError, match="number and a unit"):
        TypeAdapter(Duration).validate_python(text)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ('auth = { webhok = { env = "X" } }', 'auth.webhook.webhok: unknown key; did you mean "webhook"?'),
        ('auth = { webhook = { envv = "X" } }', 'auth.webhook.webhook.envv: unknown key; did you mean "env"?'),
        ("product_rows = 7", 'sources.b24.product_rows: write a list: ["...", "..."]'),
        ('auth = { client_id = "1", client_secert = { env = "X" } }', 'unknown key; did you mean "client_secret"?'),
    ],
)
def test_a_misspelt_key_inside_an_alternative_is_answered_by_its_own(tmp_path: Path, wrong: str, told: str) -> None:
    """Whichever of several forms a section has, the nearest key of that form is named; a list is called a list."""
    path = tmp_path / "config.toml"
    start = '[tenants.okna.sources.b24]\nkind = "bitrix24"\nbase_url = "https://okna.bitrix24.ru"\n'
    path.write_text(start + wrong, encoding="utf-8")
    (line,) = load(path, registry.settings_of).broken["okna"]
    assert told in line


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("yclyd", '.sources.b24.fields.yclyd: unknown key; did you mean "yclid"?'),
        ("weather", ".sources.b24.fields.weather: unknown key; it is one of yclid, "),
    ],
)
def test_a_misspelt_kind_of_identifier_is_answered_by_the_nearest(tmp_path: Path, wrong: str, told: str) -> None:
    """A key of ``fields`` is answered as any other key; one that is like none, by all there are."""
    path = tmp_path / "config.toml"
    start = '[tenants.okna.sources.b24]\nkind = "bitrix24"\nbase_url = "https://okna.bitrix24.ru"\n'
    text = f'{start}auth = {{ webhook = {{ env = "X" }} }}\nfields = {{ {wrong} = ["UF"] }}\n'
    path.write_text(text, encoding="utf-8")
    (line,) = load(path, registry.settings_of).broken["okna"]
    assert told in line
    assert "[key]" not in line


@pytest.mark.parametrize(
    "address",
    [
        "http://bridge.example.ru",
        "bridge.example.ru",
        "https://",
        "https://x.ru/?a=b",
        "https://x.ru/#a",
        "https://me:pw@x.ru",
        "ftp://x.ru",
    ],
)
def test_a_public_address_is_one_that_vendors_can_use(write: Any, address: str) -> None:
    """HTTPS, without anything behind the path: the address of a webhook is made of it."""
    with pytest.raises(ConfigError, match=r"web\.public_url: write the address"):
        loaded(write(f'[web]\npublic_url = "{address}"\n'))


def test_a_public_address_may_have_a_path(write: Any) -> None:
    """Where the bridge shares a host; a slash at its end does not matter. Plain HTTP is for this machine only."""
    config = loaded(write('[web]\npublic_url = "https://example.ru/bridge/"\n'))
    assert config.web.public_url == "https://example.ru/bridge"
    assert loaded(write('[web]\npublic_url = "http://127.0.0.1:8080"\n')).web.public_url == "http://127.0.0.1:8080"


@pytest.mark.parametrize("secret", ["x" * 19, "x" * 129, "with space" * 3, "with/slash" * 3, "пароль" * 4])
def test_a_webhooks_secret_fits_into_an_address(secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long enough not to be guessed, of characters nobody changes on the way; the error does not repeat it."""
    monkeypatch.setenv("HOOK", secret)
    settings = HookSettings(secret=SecretRef(env="HOOK"))
    with pytest.raises(ConfigError, match="openssl rand -hex 20") as raised:
        settings.path_secret(tmp_path)
    assert secret not in str(raised.value)
    monkeypatch.setenv("HOOK", "aZ09-_" * 4)
    assert settings.path_secret(tmp_path) == "aZ09-_" * 4


# --- the address to listen on ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "place"),
    [
        ("", None),
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("localhost:65535", ("localhost", 65535)),
        ("[::1]:8080", ("::1", 8080)),
        ("::1:8080", ("::1", 8080)),
    ],
)
def test_an_address_is_a_host_and_a_port(listen: str, place: object) -> None:
    """The host of IPv6 in brackets, as everywhere, or without."""
    assert WebSettings(listen=listen).place == place


@pytest.mark.parametrize(
    "listen", ["8080", ":8080", "127.0.0.1", "127.0.0.1:http", "h:0", "h:65536", "h:-1", "h:²", "http://h:80", "a b:80"]
)
def test_what_nobody_could_listen_on_is_refused(listen: str) -> None:
    """Before anything starts, and by every command."""
    with pytest.raises(ValidationError, match="is no address with a port from 1 to 65535"):
        WebSettings(listen=listen)
