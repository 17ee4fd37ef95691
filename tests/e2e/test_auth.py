"""``bridge auth`` as an operator uses it, beside a vendor's simulator; and the warning before a token ends."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.amocrm.fake import AmoCrm
from adapters.bitrix24.fake import Bitrix24
from bridge.sim.clock import SharedClock
from tests.e2e.kit import NOW, call, daemon, eventually, served, tenant, write_config


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
    command = f"bridge auth -c {tmp_path / 'config.toml'} crm --tenant okna"
    assert command in before["problems"][0]
    assert command in call(tmp_path, "status").out
    assert command in call(tmp_path, "backfill", "--tenant", "okna", "--since", "2026-03-01").err
    asked = call(tmp_path, "auth", "crm", "--tenant", "okna")
    assert f"bridge auth -c {tmp_path / 'config.toml'} crm --tenant okna --code" in asked.out
    page = call(tmp_path, "auth", "crm", "--tenant", "okna", "--json").json["open"]
    address = led_to(page)
    said = call(tmp_path, "auth", "crm", "--tenant", "okna", "--code", address, "--json")
    assert (said.status, said.json["account"]) == (0, "okna/crm")
    assert "def502" not in said.out + said.err
    assert call(tmp_path, "sync", "--json").json["problems"] == []
    again = call(tmp_path, "auth", "crm", "--tenant", "okna", "--code", address)
    assert again.status == 1
    assert "works once" in again.err


def test_a_running_daemon_goes_on_as_soon_as_access_is_granted(sim: AmoCrm, tmp_path: Path) -> None:
    """It has stopped the account for a quarter of an hour, which is not waited for."""

    def source() -> dict[str, Any]:
        found: dict[str, Any] = call(tmp_path, "status", "--json").json["tenants"]["okna"]["sources"]["crm"]
        return found

    with daemon(tmp_path):
        eventually(tmp_path, lambda: source()["last_error"], "the source says that it is not authorized")
        address = led_to(call(tmp_path, "auth", "crm", "--tenant", "okna", "--json").json["open"])
        clock = SharedClock(tmp_path / "clock")
        granted_at = clock.now()
        assert call(tmp_path, "auth", "crm", "--tenant", "okna", "--code", address).status == 0
        eventually(tmp_path, lambda: source()["lag_s"] is not None and not source()["last_error"], "the source is read")
        assert clock.now() - granted_at < timedelta(minutes=10)


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


# --- Bitrix24 ----------------------------------------------------------------------------------------------------


@contextmanager
def portal(folder: Path, monkeypatch: pytest.MonkeyPatch, auth: str) -> Iterator[Bitrix24]:
    """A simulated portal, and a configuration that reads it that way."""
    clock = SharedClock(folder / "clock")
    clock.set(NOW)
    made = Bitrix24(clock, auth=auth, is_limited=False)
    with served(made):
        for name, value in made.secrets().items():
            monkeypatch.setenv(name, value)
        write_config(folder, okna=tenant(sources={"b24": made.settings()}))
        yield made


def test_an_application_of_bitrix24_is_authorized_by_two_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a refresh token the source names the command; its page gives a code; the tokens renew themselves."""
    with portal(tmp_path, monkeypatch, "code") as sim:
        given = f" -c {tmp_path / 'config.toml'} b24 --tenant okna"
        assert f"bridge auth{given}" in call(tmp_path, "sync", "--json").json["problems"][0]
        asked = call(tmp_path, "auth", "b24", "--tenant", "okna")
        assert f"bridge auth{given} --code -" in asked.out
        address = led_to(call(tmp_path, "auth", "b24", "--tenant", "okna", "--json").json["open"])
        assert call(tmp_path, "auth", "b24", "--tenant", "okna", "--code", address, "--json").status == 0
        sim.oauth.expire()
        assert call(tmp_path, "sync", "--json").json["problems"] == []
        assert sim.oauth.renewals == 1
        again = call(tmp_path, "auth", "b24", "--tenant", "okna", "--code", address)
        assert again.status == 1
        assert "works once and for 30 seconds" in again.err


def test_a_webhook_of_bitrix24_needs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 2, and what to do instead."""
    with portal(tmp_path, monkeypatch, "webhook"):
        said = call(tmp_path, "auth", "b24", "--tenant", "okna")
        assert said.status == 2
        assert "USER/CODE into the secret" in said.err


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
    assert not any("its token" in line for line in call(tmp_path, "status", "--json").json["attention"])
    monkeypatch.setenv("OKNA_TOKEN", made.tokens.another(timedelta(days=days)))
    report = call(tmp_path, "status", "--json").json
    assert [line for line in report["attention"] if "its token" in line] == (
        [f"okna/crm: its token {told}; make a new one"] if told else []
    )
    ends = report["tenants"]["okna"]["sources"]["crm"]["credential_expires_at"]
    assert ends == (NOW + timedelta(days=days)).isoformat()
