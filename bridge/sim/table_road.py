"""The demo's second part: a table of leads in, files for manual upload out. Works on the user's own table, too."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.markup import escape

from bridge import commands
from bridge.compose import load_config
from bridge.config import Config
from bridge.errors import ConfigError
from bridge.quarantine import records_in_quarantine
from bridge.sim import toml
from bridge.sim.clock import ManualClock
from bridge.system_clock import SystemClock
from bridge.terminal import counted, out, show_attention
from bridge.tools import Clock

_SAMPLE_NOW = datetime(2026, 3, 31, 9, 0, tzinfo=UTC)  # the shipped table lives then; a user's own lives today
_SHOWN = 12
_TENANT = "table"
_ACCOUNT = f"{_TENANT}/leads"  # tenant and source


async def look_at(leads: Path) -> None:
    """Try the user's own table before the first part begins, which takes a minute.

    Raises:
        ConfigError: no lead can be read from it; the message says why.
    """
    with TemporaryDirectory() as folder:
        found = await commands.check(_laid_out(Path(folder), leads), SystemClock(), None)
    remarks = [item for item in found.data[_ACCOUNT] if item["level"] != "ok"]
    if any(item["level"] == "error" for item in remarks):
        told = [item["message"] for item in remarks]
        raise ConfigError("\n".join([f"{leads} cannot be used as a table of leads:", *told]))


async def table_road(folder: Path, leads: Path | None) -> bool:
    """Read the table by the ordinary ``sync``, show the file it made for Metrica; True when there was one."""
    table = _sample() if leads is None else leads
    clock: Clock = ManualClock(_SAMPLE_NOW) if leads is None else SystemClock()
    config = _laid_out(folder, table)
    done = await commands.sync(config, clock, None)
    out.print(f"{table.name}: {counted(done.data['done'].get(_TENANT, {}))}")
    problems = await _beside_bad_rows(config, clock, done.data["problems"])
    await _show_remarks(config, clock, problems)
    made = sorted((folder / "upload").glob("yandex_metrica-*.csv"))
    for file in made:
        _show(file)
    if not made:
        out.print("no upload file: no lead with a click reached a goal in the last 21 days (Metrica's window)")
    return not problems and (bool(made) or leads is not None)


def _laid_out(folder: Path, table: Path) -> Config:
    """A configuration in this folder that reads a copy of the table, under the table's own name."""
    copies = folder / "tables"
    copies.mkdir(exist_ok=True)
    shutil.copyfile(table, copies / table.name)
    path = folder / "table.toml"
    path.write_text(toml.dumps(_config(f"tables/{table.name}")), encoding="utf-8")
    return load_config(path)


async def _beside_bad_rows(config: Config, clock: Clock, problems: list[str]) -> list[str]:
    """What went wrong apart from rows in quarantine: those are part of the story, and ``check`` names them."""
    async with commands.opened(config, clock, is_look=True) as installation:
        rows = await records_in_quarantine(installation.reports, _TENANT)
    return [problem for problem in problems if problem not in rows]


async def _show_remarks(config: Config, clock: Clock, problems: list[str]) -> None:
    """Why the table could not be read, or which of its rows."""
    remarks = list(problems)
    if not problems:
        found = await commands.check(config, clock, None)
        items = found.data[_ACCOUNT]
        remarks = [f"{item['subject']}: {item['message']}" for item in items if item["level"] != "ok"]
    show_attention(remarks)


def _sample() -> Path:
    """The shipped table: inside the wheel, or in the repository's docs."""
    installed = Path(str(files("bridge.sim"))) / "leads.csv"
    return installed if installed.is_file() else Path(__file__).parents[2] / "docs" / "leads.csv"


def _config(table: str) -> dict[str, Any]:
    spam = {"outcome": "lost", "loss_reason": ["Спам", "Дубль"]}
    goals = [
        {"name": "qualified", "when": {"stage": ["Квалифицирован"]}, "send": {"metrica": "qualified_lead"}},
        {"name": "spam", "when": spam, "send": {"metrica": "spam_lead"}},
        {"name": "sale", "when": {"outcome": "won"}, "value": "deal", "send": {"metrica": "deal_won"}},
    ]
    tenant = {
        "title": "Leads from a table",
        "timezone": "Europe/Moscow",
        "sources": {"leads": {"kind": "table", "path": table, "start_from": "60d"}},
        "destinations": {"metrica": {"kind": "table", "path": "upload", "format": "yandex_metrica"}},
        "goals": goals,
    }
    return {"database": {"url": "sqlite:///table.db"}, "web": {"listen": ""}, "tenants": {_TENANT: tenant}}


def _show(file: Path) -> None:
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    out.print(f"[bold]{escape(str(file))}[/] ({len(lines) - 1} conversions, ready for manual upload to Metrica)")
    for line in lines[:_SHOWN]:
        out.print(f"  {line}", markup=False, soft_wrap=True)
    if len(lines) > _SHOWN:
        out.print(f"  ... {len(lines) - _SHOWN} more")
