"""The command ``bridge audit``: what ad systems count beside what they were sent, by goal and day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from rich.markup import escape

from bridge import terminal
from bridge.audits import CountsConversions, DayCount
from bridge.commands import exit_status, opened, switched_off
from bridge.compose import Installation
from bridge.config import Config
from bridge.errors import ConfigError
from bridge.rules.audit import ALARMS, Standing, standing
from bridge.store.audits import AuditReport
from bridge.tenant import DestinationUnit
from bridge.terminal import Outcome
from bridge.tools import Clock
from bridge.typed import typed
from bridge.web.status import miscounted, status

_USUAL = timedelta(days=14)
_SAID = {
    Standing.EQUAL: "",
    Standing.OPEN: "too early to say",
    Standing.MORE: "others reach this goal, too",
    Standing.LOST: "[red]not counted there[/]",
    Standing.EXTRA: "[red]counted and never sent[/]",
}
_NO_COUNTS = "nobody reads its statistics by goal and day"


async def audit(config: Config, clock: Clock, only: str | None, since: str | None) -> Outcome:
    """The last comparison of each destination. Never needs a lock, and asks no vendor."""
    first = _day(since) if since else (clock.now() - _USUAL).date()
    async with opened(config, clock) as installation:
        names = installation.names(only)
        tenants = {name: {"destinations": await _destinations(installation, name, first)} for name in names}
        report = await status(installation.reports, config, names, clock.now())
    needs = [typed(line, config.path) for line in (*miscounted(report), *switched_off(config, only))]
    found = [item for parts in tenants.values() for item in parts["destinations"].values()]
    is_wrong = any(item["error"] or any(day["standing"] in ALARMS for day in item["days"]) for item in found)
    data = {"tenants": tenants, "attention": needs}
    compares = typed('"bridge sync" and "bridge run" compare once a day', config.path)
    return Outcome(exit_status(config, only, is_wrong), data, lambda: _show(data, compares))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f'"{text}" is no day; write 2026-03-01') from None


async def _destinations(installation: Installation, name: str, since: date) -> dict[str, dict[str, Any]]:
    tenant = await installation.tenant(name)
    goals: dict[tuple[str, str], list[str]] = {}
    for goal in tenant.settings.goals:
        for own, target in goal.send.items():
            goals.setdefault((own, target), []).append(goal.name)
    found = {}
    for own, unit in tenant.destinations.items():
        report = await installation.reports.audit(name, own, since)
        found[own] = _plain(unit, report, goals)
    return found


def _plain(unit: DestinationUnit, report: AuditReport, goals: Mapping[tuple[str, str], list[str]]) -> dict[str, Any]:
    """``goals``: ours, by destination and its own goal."""
    return {
        "audited_at": report.audited_at.isoformat() if report.audited_at else None,
        "error": report.error,
        "uncounted": _uncounted(unit) or None,
        "days": [_count(one, goals.get((unit.name, one.target), [])) for one in report.days],
    }


def _uncounted(unit: DestinationUnit) -> str:
    """Why a destination's counts are not compared; "" when they are."""
    if unit.port is None:
        return unit.error
    return unit.port.uncounted if isinstance(unit.port, CountsConversions) else _NO_COUNTS


def _count(one: DayCount, goals: list[str]) -> dict[str, Any]:
    return {
        "day": one.day.isoformat(),
        "target": one.target,
        "goals": goals,
        "ours": one.ours,
        "theirs": one.theirs,
        "missing": one.missing,
        "open": one.open,
        "standing": standing(one).value,
    }


def _show(data: Mapping[str, Any], compares: str) -> None:
    """``compares``: what does it."""
    for tenant, parts in data["tenants"].items():
        if not parts["destinations"]:
            told = f"{tenant}: nothing is sent anywhere; add a table [tenants.{tenant}.destinations.NAME]"
            terminal.out.print(told, soft_wrap=True, markup=False)
        for own, item in parts["destinations"].items():
            if item["uncounted"]:
                terminal.out.print(f"{tenant}/{own}: not compared: {escape(item['uncounted'])}", soft_wrap=True)
            elif item["audited_at"] is None:
                terminal.out.print(f"{tenant}/{own}: not compared yet; {compares}", soft_wrap=True, markup=False)
            elif not item["days"]:
                terminal.out.print(f"{tenant}/{own}: nothing was sent or counted in these days", soft_wrap=True)
            else:
                _show_days(f"{tenant}/{own}, compared {item['audited_at'][:16].replace('T', ' ')} UTC", item["days"])
    terminal.show_attention(data["attention"])


def _show_days(title: str, days: list[dict[str, Any]]) -> None:
    made = terminal.table(title, "day there", "goal there", "of", "#sent", "#counted", "#missing", "")
    for one in days:
        missing = f"[red]{terminal.number(one['missing'])}[/]" if one["missing"] else "[dim]0[/]"
        cells = (
            one["day"],
            escape(one["target"]),
            escape(", ".join(one["goals"])),
            terminal.number(one["ours"]),
            terminal.number(one["theirs"]),
        )
        made.add_row(*cells, missing, _SAID[Standing(one["standing"])])
    terminal.out.print(made)
