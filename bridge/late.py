"""The command ``bridge late``: what conversions that came too late were worth, and where their time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from rich.markup import escape

from bridge import terminal
from bridge.commands import exit_status, moment, opened, switched_off
from bridge.compose import Installation
from bridge.config import Config
from bridge.ports import Destination
from bridge.rules.late import WORDS, Fate, Life, Loss, Phase, legs, losses, lost_in
from bridge.rules.windows import Waiting, is_late
from bridge.store.late import expired
from bridge.terminal import Outcome
from bridge.tools import Clock
from bridge.typed import typed

_USUAL = timedelta(days=30)
_MINE = (Phase.READING, Phase.MATCHING, Phase.QUEUE, Phase.THROTTLED, Phase.OUTAGE, Phase.ANSWER, Phase.HELD)


async def late(config: Config, clock: Clock, only: str | None, since: str | None) -> Outcome:
    """What expired since then (30 days ago by default). Never needs a lock, and asks no vendor."""
    tenants: dict[str, list[Loss]] = {}
    async with opened(config, clock) as installation:
        for name in installation.names(only):
            zone = ZoneInfo(installation.settings(name).timezone)
            begun = moment(since, zone) if since else clock.now() - _USUAL
            tenants[name] = await _of_tenant(installation, name, begun)
    data = {"tenants": {name: [_plain(loss) for loss in found] for name, found in tenants.items()}}
    broken = [typed(line, config.path) for line in switched_off(config, only)]
    return Outcome(exit_status(config, only, False), data, lambda: _show(tenants, broken))


async def _of_tenant(installation: Installation, name: str, since: datetime) -> list[Loss]:
    tenant = await installation.tenant(name)
    fates: list[Fate] = []
    for own, unit in tenant.destinations.items():
        if unit.port is not None and not unit.port.traits.needs_click:
            continue  # a message to people that came too late has cost nothing
        for life, waiting in await expired(installation.store, name, own, since):
            fates.append(_fate(life, waiting, unit.port))
    return losses(fates)


def _fate(life: Life, waiting: Waiting, port: Destination | None) -> Fate:
    """With its legs and the one it was lost in; without the adapter's own windows that is the last one."""
    found = legs(life)
    if port is None:
        return life, found, lost_in(found, lambda _: False)
    give_up = port.traits.give_up_after
    return life, found, lost_in(found, partial(is_late, port.admit, waiting, give_up))


def _plain(loss: Loss) -> dict[str, Any]:
    return {
        "destination": loss.destination,
        "goal": loss.goal,
        "reason": loss.reason,
        "count": loss.count,
        "value": {one.currency: str(one.amount) for one in loss.value},
        "lost_in": {phase.value: count for phase, count in loss.lost_in},
        "days": {phase.value: days for phase, days in loss.days},
        "deals": list(loss.deals),
    }


def _show(tenants: Mapping[str, Sequence[Loss]], broken: Sequence[str]) -> None:
    made = terminal.table("Too late", "tenant", "destination", "goal", "why", "#conversions", "#worth", "lost while")
    for name, found in tenants.items():
        for loss in found:
            worth = ", ".join(terminal.amount(str(one)) for one in loss.value) or "-"
            lines = [f"{terminal.number(count)}: {WORDS[phase]}{_days(loss, phase)}" for phase, count in loss.lost_in]
            cells = (
                loss.destination,
                escape(loss.goal),
                loss.reason,
                terminal.number(loss.count),
                worth,
                "\n".join(lines),
            )
            made.add_row(name, *cells)
    if made.row_count:
        terminal.out.print(made)
    elif tenants:
        terminal.out.print("nothing came too late")
    _sum_up([loss for found in tenants.values() for loss in found])
    terminal.show_attention(broken)


def _days(loss: Loss, phase: Phase) -> str:
    days = dict(loss.days).get(phase)
    return "" if days is None else f" (median {days:.1f} days)"


def _sum_up(found: Sequence[Loss]) -> None:
    """How many of these could have been saved on this side."""
    total = sum(loss.count for loss in found)
    mine = sum(count for loss in found for phase, count in loss.lost_in if phase in _MINE)
    if total:
        rest = "" if mine == total else "; the others reached it after the window had closed"
        terminal.out.print(
            f"{terminal.number(mine)} of {terminal.number(total)} reached the goal in time in the CRM{rest}",
            soft_wrap=True,
        )
