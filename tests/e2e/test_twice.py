"""One account read by two sources whose deals reach the same goal: each conversion would be counted twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.compose import load_config
from bridge.config import Config
from bridge.ports import SharesAccount
from bridge.sim import toml
from tests.e2e.kit import TENANT, TableRow, call, daemon, eventually, free_port, tenant, write_config, write_table

URL = "http://127.0.0.1:9/"  # nobody is there, and nobody is asked
SECRET = "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"


def sending(
    target: str = "sold", url: str = URL, files: tuple[str, ...] = ("leads.csv",), **when: Any
) -> dict[str, Any]:
    """A tenant that tells an endpoint of what these tables bring."""
    sources = {f"crm{n or ''}": {"kind": "table", "path": file, "start_from": "30d"} for n, file in enumerate(files)}
    goals = [{"name": "sale", "when": {"outcome": "won", **when}, "send": {"site": target}}]
    site = {"kind": "webhook", "url": url, "secret": {"file": "signing"}}
    return tenant(sources=sources, destinations={"site": site}, goals=goals)


def prepared(folder: Path, **tenants: Any) -> None:
    (folder / "signing").write_text(SECRET, encoding="utf-8")
    write_config(folder, listen=f"127.0.0.1:{free_port()}", **tenants)
    write_table(folder, [TableRow("A1", "Оплачен", "1000")])
    (folder / "others.csv").write_bytes((folder / "leads.csv").read_bytes())


@pytest.mark.parametrize(
    ("tenants", "account", "pair"),
    [
        ({"okna": sending(), "dveri": sending()}, "okna/crm", "dveri/crm and okna/crm"),
        ({"okna": sending(files=("leads.csv", "./leads.csv"))}, "okna/crm1", "okna/crm and okna/crm1"),
        ({"okna": sending(), "dveri": sending("bought")}, "", ""),
        ({"okna": sending(), "dveri": sending(url=f"{URL}dveri")}, "", ""),
        ({"okna": sending(), "dveri": sending(files=("others.csv",))}, "", ""),
        ({"okna": sending(pipeline="Окна"), "dveri": sending(pipeline=["Двери", "Полы"])}, "", ""),
        ({"okna": sending(pipeline="Окна"), "dveri": sending()}, "okna/crm", "dveri/crm and okna/crm"),
    ],
    ids=["copied", "one tenant", "other goals", "other places", "other accounts", "other pipelines", "any pipeline"],
)
def test_the_check_finds_what_is_told_twice(tenants: dict[str, Any], account: str, pair: str, tmp_path: Path) -> None:
    """Both are named, and the goal; goals of their own, or pipelines of their own, are no mistake."""
    prepared(tmp_path, **tenants)
    said = call(tmp_path, "check", "--json").json
    found = [
        (own, line["message"]) for own, lines in said.items() for line in lines if "counted twice" in line["message"]
    ]
    text = f'{pair} read the same account and reach the same goal ("sold" of {URL}): every conversion is counted twice'
    assert found == ([(account, f"{text}; remove one of them")] if pair else [])


def test_a_daemon_says_so_when_it_begins(tmp_path: Path) -> None:
    """Once, by whichever of the two tenants is begun later."""
    prepared(tmp_path, okna=sending(), dveri=sending())
    with daemon(tmp_path) as running:
        eventually(tmp_path, lambda: running.log.count("lock_taken") == 2, "both tenants are worked for")
        assert running.stop() == 0
    assert running.log.count("counted_twice") == 1


def account_of(folder: Path, **source: Any) -> frozenset[str]:
    path = folder / "config.toml"
    path.write_text(toml.dumps({"tenants": {TENANT: tenant(sources={"crm": source})}}), encoding="utf-8")
    config: Config = load_config(path)
    assert config.broken == {}
    found = config.tenants[TENANT].sources["crm"]
    assert isinstance(found, SharesAccount)
    return found.shared_accounts(folder)


TOKEN, SHEET = {"token": {"file": "signing"}}, "1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms"
BITRIX24 = {"kind": "bitrix24", "base_url": "https://okna.bitrix24.ru", "auth": {"webhook": {"file": "signing"}}}
HUBSPOT = {"kind": "hubspot", "auth": TOKEN}
TABLE = {"kind": "table", "credentials": {"file": "signing"}}


@pytest.mark.parametrize(
    ("one", "other", "is_shared"),
    [
        (
            {"kind": "amocrm", "base_url": "https://okna.amocrm.ru", "auth": TOKEN},
            {"kind": "amocrm", "base_url": "https://OKNA.amocrm.ru/", "auth": {"token": {"env": "OTHER"}}},
            True,
        ),
        (BITRIX24, {**BITRIX24, "entities": ["deal"]}, True),
        ({**BITRIX24, "entities": ["lead"]}, {**BITRIX24, "entities": ["deal"]}, False),
        (HUBSPOT, HUBSPOT, True),
        (HUBSPOT, {**HUBSPOT, "auth": {"token": {"file": "another"}}}, False),
        (HUBSPOT, {**HUBSPOT, "entities": ["contact"]}, True),
        (
            TABLE | {"spreadsheet": SHEET},
            TABLE | {"spreadsheet": f"https://docs.google.com/spreadsheets/d/{SHEET}/"},
            True,
        ),
        (TABLE | {"spreadsheet": SHEET, "sheet": "Окна"}, TABLE | {"spreadsheet": SHEET, "sheet": "Двери"}, False),
    ],
)
def test_what_tells_accounts_apart(one: dict[str, Any], other: dict[str, Any], is_shared: bool, tmp_path: Path) -> None:
    """The address of a CRM whatever credentials open it; where all share one address, the credentials."""
    (tmp_path / "signing").write_text("first", encoding="utf-8")
    (tmp_path / "another").write_text("second", encoding="utf-8")
    assert bool(account_of(tmp_path, **one) & account_of(tmp_path, **other)) is is_shared
