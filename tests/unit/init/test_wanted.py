"""What the options mean: names of sections, values, references to secrets; and where the file goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.compose import load_config
from bridge.errors import ConfigError
from bridge.init.places import installation, place
from bridge.init.wanted import Options, choose_ways, pairs, reference, sections, take_values

TEXT = st.text(min_size=1, max_size=20)


def test_sections_of_one_name_are_numbered() -> None:
    """Two CRMs without names of their own are both in."""
    made = sections("sources", ["amocrm", "bitrix24", "shop=table"])
    assert [(item.own, item.kind) for item in made] == [("crm", "amocrm"), ("crm2", "bitrix24"), ("shop", "table")]


def test_a_name_given_twice_is_refused() -> None:
    """The second would overwrite the first."""
    with pytest.raises(ConfigError, match="is taken"):
        sections("sources", ["crm=amocrm", "crm=bitrix24"])


def test_values_keep_the_type_their_setting_has() -> None:
    """What is asked for is text although it looks like a number; a counter's number is one; the rest is TOML."""
    made = [*sections("sources", ["amocrm"]), *sections("destinations", ["yandex_metrica"])]
    values = ("crm.auth.client_id=12345", "crm.requests_per_second=5", "crm.poll_every=30s", 'crm.fields={yclid=["A"]}')
    take_values(made, Options(Path("config.toml"), values=values, shortcuts={"counter_id": "90000001"}))
    assert made[0].nested() == {
        "kind": "amocrm",
        "auth": {"client_id": "12345"},
        "requests_per_second": 5,
        "poll_every": "30s",
        "fields": {"yclid": ["A"]},
    }
    assert made[1].values == {"counter_id": 90000001}


def test_a_way_of_logging_in_is_chosen_for_one_or_for_all() -> None:
    """``oauth`` alone means every account that has it."""
    made = sections("sources", ["amocrm", "bitrix24"])
    choose_ways(made, ["oauth", "crm2=webhook"])
    assert [(item.way, item.is_granted) for item in made] == [("oauth", True), ("webhook", False)]


@given(st.sampled_from(["env", "file"]), TEXT.filter(lambda text: text.strip() != ""))
def test_a_reference_is_read_as_it_is_written(where: str, name: str) -> None:
    """Whatever the variable or file is called."""
    assert reference("--secret x", f"{where}:{name}") == {where: name.strip()}


@given(TEXT.filter(lambda text: not text.startswith(("env:", "file:")) and len(text) > 8))
def test_a_secret_given_instead_of_a_reference_is_not_repeated(secret: str) -> None:
    """The message says what to write, and never what was written: it is the same whatever that was."""
    with pytest.raises(ConfigError) as refused:
        reference("--secret crm.auth.token", secret)
    with pytest.raises(ConfigError) as usual:
        reference("--secret crm.auth.token", "x" * 9)
    assert str(refused.value) == str(usual.value)


@given(TEXT, TEXT)
def test_a_pair_is_cut_at_its_first_equals_sign(left: str, right: str) -> None:
    """The second half may hold more of them."""
    left = left.replace("=", "")
    if left.strip() and right.strip():
        assert pairs("--send", [f"{left}={right}"]) == [(left.strip(), right.strip())]


@pytest.mark.parametrize(
    ("include", "file", "is_read"),
    [
        (["tenants/*.toml"], "tenants/okna.toml", True),
        (["a/*.toml", "tenants/*.toml"], "tenants/okna.toml", True),
        (["a/*.toml"], "a/okna.toml", True),
        (["*-client.toml"], "okna-client.toml", True),
        (["a/one.toml"], "tenants/okna.toml", False),
        ([], "tenants/okna.toml", False),
    ],
)
def test_a_new_tenant_goes_where_the_configuration_looks(
    include: list[str], file: str, is_read: bool, tmp_path: Path
) -> None:
    """And the line that is missing, if any, makes it look there and everywhere it looked before."""
    path = tmp_path / "config.toml"
    path.write_text(f"include = {include}\n".replace("'", '"'), encoding="utf-8")
    found = place(installation(path, None), "okna", None)
    assert found.target == tmp_path / file
    assert (found.include == "") is is_read
    found.write('[tenants.okna]\ntitle = "Окна"\n')
    if found.include:
        path.write_text(f"{found.include}\n", encoding="utf-8")
    assert set(load_config(path).tenants) == {"okna"}
    with pytest.raises(ConfigError, match="never overwrites"):
        found.write("x")
