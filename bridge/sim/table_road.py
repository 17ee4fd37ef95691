"""The demo's second part: a table of leads in, files for manual upload out. Works on the user's own table, too."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.markup import escape

from bridge import commands
from bridge.compose import load_config
from bridge.errors import BridgeError
from bridge.ports import Clock
from bridge.sim import toml
from bridge.sim.clock import ManualClock
from bridge.system_clock import SystemClock
from bridge.terminal import out

_SAMPLE_NOW = datetime(2026, 3, 31, 9, 0, tzinfo=UTC)  # the shipped table lives then; a user's own lives today
_SHOWN = 12


async def table_road(folder: Path, leads: Path | None) -> bool:
    """Read the table by the ordinary ``sync``, show the file it made for Metrica; True when there was one."""
    table = _sample() if leads is None else leads
    if not table.is_file():
        raise BridgeError(f"there is no table {table}")
    clock: Clock = ManualClock(_SAMPLE_NOW) if leads is None else SystemClock()
    shutil.copyfile(table, folder / "leads.csv")
    path = folder / "table.toml"
    path.write_text(toml.dumps(_config()), encoding="utf-8")
    config = load_config(path)
    done = await commands.sync(config, clock, None)
    out.print(f"read {table.name}: {_words(done.data['done'].get('table', {}))}")
    for problem in done.data["problems"]:
        out.print(f"[yellow]![/] {escape(problem)}")
    status = await commands.status(config, clock, None)
    for line in status.data["attention"]:
        out.print(f"[yellow]![/] {escape(line)}")
    made = sorted((folder / "upload").glob("yandex_metrica-*.csv"))
    for file in made:
        _show(file)
    return bool(made)


def _sample() -> Path:
    """The shipped table: inside the wheel, or in the repository's docs."""
    installed = Path(str(files("bridge.sim"))) / "leads.csv"
    return installed if installed.is_file() else Path(__file__).parents[2] / "docs" / "leads.csv"


def _config() -> dict[str, Any]:
    spam = {"outcome": "lost", "loss_reason": ["Спам", "Дубль"]}
    goals = [
        {"name": "qualified", "when": {"stage": ["Квалифицирован"]}, "send": {"metrica": "qualified_lead"}},
        {"name": "spam", "when": spam, "send": {"metrica": "spam_lead"}},
        {"name": "sale", "when": {"outcome": "won"}, "value": "deal", "send": {"metrica": "deal_won"}},
    ]
    tenant = {
        "title": "Leads from a table",
        "timezone": "Europe/Moscow",
        "sources": {"leads": {"kind": "csv_file", "path": "leads.csv", "start_from": "60d"}},
        "destinations": {"metrica": {"kind": "csv_file", "path": "upload", "format": "yandex_metrica"}},
        "goals": goals,
    }
    return {"database": {"url": "sqlite:///table.db"}, "web": {"listen": ""}, "tenants": {"table": tenant}}


def _words(counts: dict[str, int]) -> str:
    names = ("listed", "changed", "quarantined", "planned", "accepted", "rejected", "expired")
    return ", ".join(f"{name} {counts[name]}" for name in names if counts.get(name)) or "nothing new"


def _show(file: Path) -> None:
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    out.print(f"[bold]{escape(str(file))}[/] ({len(lines) - 1} conversions, ready for manual upload to Metrica)")
    for line in lines[:_SHOWN]:
        out.print(f"  {line}", markup=False, soft_wrap=True)
    if len(lines) > _SHOWN:
        out.print(f"  ... {len(lines) - _SHOWN} more")
