"""The command ``bridge values``: what deals that reach a goal are worth on average, and what that is made of."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from rich.markup import escape

from bridge import terminal
from bridge.commands import opened
from bridge.config import Config
from bridge.loops import estimates
from bridge.model import Money
from bridge.rules.expectation import Cell, Estimate, Expected, expected
from bridge.tenant import SourceUnit, Tenant
from bridge.terminal import Outcome
from bridge.tools import Clock


async def values(config: Config, clock: Clock, name: str) -> Outcome:
    """The estimates that hold now; where none does, what the stored deals would give. Never needs a lock.

    Exit status 1 when some goal has no estimate that can be used.
    """
    async with opened(config, clock) as installation:
        tenant = await installation.tenant(name)
        rows = [row for unit in tenant.sources.values() for row in await _of(tenant, unit)]
    data = {"tenant": name, "expects": tenant.expects, "values": rows}
    lacking = any(not any(cell["value"] for cell in row["pipelines"]) for row in rows)
    zone = ZoneInfo(tenant.settings.timezone)
    return Outcome(int(lacking), data, lambda: _show(data, zone))


async def _of(tenant: Tenant, unit: SourceUnit) -> list[dict[str, Any]]:
    """Keys are part of the public interface (docs/reference/commands.md)."""
    wanted = [goal.name for goal in tenant.settings.goals if goal.value == "expected"]
    if not wanted or unit.brings_touches:
        return []
    known = await tenant.estimates.of(unit.name, tenant.digests)
    lacking = [goal for goal in wanted if not known.get(goal)]
    present = await estimates.estimates(tenant, unit, lacking, tenant.clock.now()) if lacking else {}
    names = {p.id: p.name for p in unit.catalogue.pipelines} if unit.catalogue is not None else {}
    rows = []
    for goal in wanted:
        held = known.get(goal, ())
        estimate = held[-1] if held else present.get(goal)
        rows.append(
            {
                "source": unit.name,
                "goal": goal,
                "at": held[-1].at.isoformat() if held else None,
                "pipelines": [] if estimate is None else _pipelines(estimate, names),
            }
        )
    return rows


def _pipelines(estimate: Estimate, names: dict[str, str]) -> list[dict[str, Any]]:
    made = []
    for pipeline, channels in sorted(estimate.cells.items()):
        about = {"pipeline": pipeline, "name": names.get(pipeline) or pipeline}
        made.append({**about, "channel": None, **_cell(estimate.pipeline(pipeline), expected(estimate, pipeline, ""))})
        for channel, cell in sorted(channels.items()):
            made.append({**about, "channel": channel, **_cell(cell, expected(estimate, pipeline, channel))})
    return made


def _cell(cell: Cell, found: Expected | str) -> dict[str, Any]:
    counts = {"reached": cell.reached, "sold": cell.sold}
    if isinstance(found, str):
        return {**counts, "rate": None, "mean": None, "value": None, "reason": found}
    mean = str(Money(round(found.mean), found.currency))
    return {**counts, "rate": round(float(found.rate), 4), "mean": mean, "value": str(found.value), "reason": None}


def _show(data: dict[str, Any], zone: ZoneInfo) -> None:
    if not data["values"]:
        told = 'no goal of this tenant has value = "expected"; one that has sends what deals like it bring on average'
        terminal.out.print(told, soft_wrap=True)
    for row in data["values"]:
        held = (
            f"estimated {terminal.moment(row['at'], zone)}" if row["at"] else "no estimate yet; this is what there is"
        )
        title = f"{row['source']}: {row['goal']} ({held})"
        made = terminal.table(title, "pipeline", "channel", "#reached", "#sold", "#rate", "#mean sale", "#value")
        for item in row["pipelines"]:
            rate = "" if item["rate"] is None else _percent(item["rate"])
            counts = (terminal.number(item["reached"]), terminal.number(item["sold"]))
            mean, value = (item[key] and terminal.amount(item[key]) for key in ("mean", "value"))
            told = value or f"- ({item['reason']})"
            made.add_row(escape(item["name"]), item["channel"] or "all", *counts, rate, mean or "", told)
        if made.row_count:
            terminal.out.print(made)
        else:
            terminal.out.print(f"{title}: no deal has reached it and had time to be sold", markup=False, soft_wrap=True)


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f} %"
