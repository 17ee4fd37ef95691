"""The command ``bridge coverage``: new leads with and without identifiers, week by week."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

from bridge import terminal
from bridge.commands import exit_status, opened, switched_off
from bridge.compose import Installation
from bridge.config import Config
from bridge.loops.coverage import weekly
from bridge.terminal import Outcome
from bridge.tools import Clock
from bridge.typed import typed
from bridge.web.status import calendar, fewer, status


async def coverage(config: Config, clock: Clock, only: str | None, weeks: int) -> Outcome:
    """Counted now; never needs a lock. Exit status 1 when something has fallen."""
    async with opened(config, clock) as installation:
        names = installation.names(only)
        tenants = {name: {"sources": await _sources(installation, name, weeks)} for name in names}
        needs = fewer(await status(installation.reports, config, names, clock.now()))
    needs = [typed(line, config.path) for line in (*needs, *switched_off(config, only))]
    data = {"tenants": tenants, "attention": needs}
    reads = typed('"bridge sync" reads it', config.path)
    return Outcome(exit_status(config, only, bool(needs)), data, lambda: _show(data, reads))


async def _sources(installation: Installation, name: str, weeks: int) -> dict[str, list[dict[str, Any]]]:
    tenant = await installation.tenant(name)
    return {own: calendar(await weekly(tenant, unit, weeks), "week") for own, unit in tenant.sources.items()}


def _show(data: Mapping[str, Any], reads: str) -> None:
    """A table of weeks and channels for each source, then what has fallen. ``reads``: what reads a source."""
    for tenant, parts in data["tenants"].items():
        for source, weeks in parts["sources"].items():
            if not weeks:
                terminal.out.print(f"{tenant}/{source}: not read yet; {reads}", markup=False, soft_wrap=True)
                continue
            title = f"{tenant}/{source}: new leads with a usable identifier of their own, by week from Monday"
            made = terminal.table(title, "channel", *(f"#{row['week']}" for row in weeks))
            for name in _busiest_first(weeks):
                made.add_row(escape(name), *(_of(row["channels"].get(name)) for row in weeks))
            terminal.out.print(made)
    if any(weeks for parts in data["tenants"].values() for weeks in parts["sources"].values()):
        terminal.out.print("+N: so many others have one by their lead, or by another lead of the same person")
    terminal.show_attention(data["attention"])


def _busiest_first(weeks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Channels, all of them together first."""
    sizes: Counter[str] = Counter()
    for row in weeks:
        sizes.update({name: share["leads"] for name, share in row["channels"].items()})
    return sorted(sizes, key=lambda name: (name != "all", -sizes[name], name))


def _of(share: Mapping[str, int] | None) -> str:
    """``71 % of 24 +2``."""
    if share is None or not share["leads"]:
        return "[dim]-[/]"
    joined = f" +{terminal.number(share['joined'])}" if share["joined"] else ""
    return f"{terminal.percent(share)} % of {terminal.number(share['leads'])}{joined}"
