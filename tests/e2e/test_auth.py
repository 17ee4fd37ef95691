"""``bridge auth`` as an operator uses it, beside a vendor's simulator; and the warning before a token ends."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.amocrm.fake import AmoCrm
from bridge.sim.clock import SharedClock
from tests.e2e.kit import NOW, call, served, tenant, write_config


class _Stay(urllib.request.HTTPRedirectHandler):
    """A browser that shows where it was led to."""

    def redirect_request(self, *_: Any) -> None:
        return None


def led_to(page: str) -> str:
    """The address a vendor's page leads to."""
    with pytest.raises(urllib.error.HTTPError) as found:
        urllib.request.build_opener(_Stay).open(page)
    return str(found.value.headers["Location"])


@pytest.fixture
def sim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AmoCrm]:
    """A simulated account that nobody has authorized us for, and a configuration for it."""
    clock = SharedClock(tmp_path / "clock")
    clock.set(NOW)
    made = AmoCrm(clock, auth="code", is_limited=False)
    with served(made):
        for name, value in made.secrets().items():
            monkeypatch.setenv(name, value)
        write_config(tmp_path, okna=tenant(sources={"crm": made.settings()}))
        yield made


def test_a_source_is_authorized_by_two_commands(sim: AmoCrm, tmp_path: Path) -> None:
    """The source fails with the command to run; that prints a page; what the page gives makes the source read."""
    before = call(tmp_path, "sync", "--json").json
    assert "bridge auth crm --tenant okna" in before["problems"][0]
    page = call(tmp_path, "auth", "crm", "--tenant", "okna", "--json").json["open"]
    address = led_to(page)
    said = call(tmp_path, "auth", "crm", "--tenant", "okna", "--code", address, "--json")
    assert (said.status, said.json["account"]) == (0, "okna/crm")
    assert "def502" not in said.out + said.err
    assert call(tmp_path, "sync", "--json").json["problems"] == []
    again = call(tmp_path, "auth", "crm", "--tenant", "okna", "--code", address)
    assert again.status == 1
    assert "works once" in again.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["auth", "leads", "--tenant", "okna"], "no source leads"),
        (["auth", "crm", "--tenant", "okna", "--code", "https://bridge.example/oauth?error=access_denied"], "denied"),
        (["auth", "crm", "--tenant", "okna", "--code", "https://bridge.example/oauth"], "there is no code"),
    ],
)
def test_what_cannot_be_authorized_is_status_2(sim: AmoCrm, tmp_path: Path, words: list[str], told: str) -> None:
    """Nothing is asked of the vendor, and the sentence says what to do."""
    said = call(tmp_path, *words)
    assert said.status == 2
    assert told in said.err
    assert sim.requests["POST /oauth2/access_token"] == 0


def test_a_table_is_not_authorized_by_a_code(tmp_path: Path) -> None:
    """Only adapters that know how offer it."""
    write_config(tmp_path)
    said = call(tmp_path, "auth", "leads", "--tenant", "okna")
    assert said.status == 2
    assert "table" in said.err


@pytest.mark.parametrize(("days", "told"), [(15, ""), (13, "ends on 2026-04-02"), (0, "ended on 2026-03-20")])
def test_a_token_that_ends_soon_needs_attention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, told: str
) -> None:
    """Fourteen days before; a secret this process may not read is no trouble of status."""
    clock = SharedClock(tmp_path / "clock")
    clock.set(NOW)
    made = AmoCrm(clock)
    section = {"kind": "amocrm", "base_url": "https://okna.amocrm.ru", "auth": {"token": {"env": "OKNA_TOKEN"}}}
    write_config(tmp_path, okna=tenant(sources={"crm": section}))
    assert call(tmp_path, "status", "--json").json["attention"] == []
    monkeypatch.setenv("OKNA_TOKEN", made.tokens.another(timedelta(days=days)))
    report = call(tmp_path, "status", "--json").json
    assert [line for line in report["attention"] if "token" in line] == (
        [f"okna/crm: its token {told}; make a new one"] if told else []
    )
    ends = report["tenants"]["okna"]["sources"]["crm"]["credential_expires_at"]
    assert ends == (NOW + timedelta(days=days)).isoformat()
