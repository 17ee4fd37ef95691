"""The section of the collector: off without it, and what is wrong with it is said by file and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.collector.settings import KIND, Fill, collector_of
from bridge.compose import load_config
from bridge.config import Config
from bridge.sim import toml
from tests.unit.collector.kit import settings


def loaded(folder: Path, collector: Any, **tenant: Any) -> Config:
    path = folder / "config.toml"
    path.write_text(toml.dumps({"tenants": {"okna": {**tenant, "collector": collector}}}), encoding="utf-8")
    return load_config(path)


def test_a_tenant_with_the_section_has_one_more_source(tmp_path: Path) -> None:
    """By the name it has in commands and metrics; without the section there is none."""
    config = loaded(tmp_path, {"sites": ["okna.example"]})
    found = collector_of(config.tenants["okna"])
    assert found is not None
    assert (found.consent, found.hidden_fields) == ("required", {Fill.LEAD_KEY: "bridge_lead"})
    assert list(config.tenants["okna"].sources) == [KIND]
    (tmp_path / "config.toml").write_text("[tenants.okna]\n", encoding="utf-8")
    assert collector_of(load_config(tmp_path / "config.toml").tenants["okna"]) is None


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({}, "tenants.okna.collector.sites: Field required"),
        ({"sites": []}, "tenants.okna.collector.sites"),
        ({"sites": ["https://okna.example"]}, 'write the site\'s host name alone: "example.ru"'),
        ({"sites": ["okna.example/x"]}, "write the site's host name alone"),
        ({"sites": ["*"]}, "write the site's host name alone"),
        ({"sites": ["o.*.example"]}, "write the site's host name alone"),
        ({"sites": ["okna.example"], "post": False, "hidden_fields": {}}, "it does nothing"),
        ({"sites": ["okna.example"], "hidden_fields": {"gclik": "x"}}, "gclid"),
        ({"sites": ["okna.example"], "hidden_fields": {"gclid": 'x" onfocus="y'}}, "collector.hidden_fields.gclid"),
        ({"sites": ["okna.example"], "honeypots": "x"}, "honeypot"),
        ({"sites": ["okna.example"], "too_fast": "3 sec"}, "collector.too_fast"),
        ("yes", "tenants.okna.collector"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, section: Any, told: str) -> None:
    """The tenant is switched off; the line names the key and what to do."""
    if not isinstance(section, dict):
        (tmp_path / "config.toml").write_text('[tenants.okna]\ncollector = "yes"\n', encoding="utf-8")
        config = load_config(tmp_path / "config.toml")
    else:
        config = loaded(tmp_path, section)
    assert config.tenants == {}
    assert told in "; ".join(config.broken["okna"])


def test_its_name_is_taken(tmp_path: Path) -> None:
    """A source of one's own cannot be called so beside it."""
    table = {"kind": "table", "path": "leads.csv"}
    config = loaded(tmp_path, {"sites": ["okna.example"]}, sources={KIND: table})
    assert "choose another" in config.broken["okna"][0]


@pytest.mark.parametrize(
    ("site", "origin", "is_welcome"),
    [
        ("okna.example", "https://okna.example", True),
        ("okna.example", "https://OKNA.example:8443", True),
        ("окна.рф", "https://xn--80atjc.xn--p1ai", True),
        ("*.okna.example", "https://www.okna.example", True),
        ("*.okna.example", "https://okna.example", False),
        ("*.okna.example", "https://evilokna.example", False),
        ("localhost", "http://localhost:8000", True),
        ("okna.example", "http://okna.example", False),
        ("okna.example", "https://okna.example.evil.example", False),
        ("okna.example", "https://okna.example@evil.example", False),
        ("okna.example", "file://okna.example", False),
        ("okna.example", "null", False),
    ],
)
def test_a_page_is_welcome_by_its_host_and_scheme(site: str, origin: str, is_welcome: bool) -> None:
    """Names are compared whole, in whatever alphabet they were written."""
    assert settings(sites=[site]).welcomes(origin) is is_welcome


@given(st.text(max_size=60))
def test_no_text_is_welcome_by_chance(text: str) -> None:
    """And none breaks anything."""
    assert not settings().welcomes(text)
    assert not settings().welcomes(f"https://{text}.invalid")
