"""The command ``bridge rules test``: a changed configuration over stored history, and what it would change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from rich.markup import escape

from bridge import terminal
from bridge.commands import moment, opened
from bridge.config import Config
from bridge.errors import ConfigError
from bridge.frozen import frozen
from bridge.loops import replan
from bridge.model import Deal
from bridge.planning import amounts, worth
from bridge.rules.flips import Change, Comparison, Count, Flip, Side
from bridge.rules.names import plain
from bridge.scoring import NOTED, fields_of_dates
from bridge.tenant import Tenant
from bridge.terminal import Outcome
from bridge.tools import Clock
from bridge.typed import typed


@frozen
class Wanted:
    """``bridge rules test`` as asked for. ``since`` is in the tenant's time zone; ``limit``: of deals to list."""

    tenant: str
    since: str | None = None
    limit: int = 20


async def rules_test(config: Config, clock: Clock, wanted: Wanted) -> Outcome:
    """Judge every stored deal by these rules, and compare with what was counted so far. Reads only.

    Raises:
        ConfigError: no such tenant, no such date, or nothing is stored of the tenant.
    """
    async with opened(config, clock, is_look=True) as installation:
        tenant = await installation.tenant(wanted.tenant)
        zone = ZoneInfo(tenant.settings.timezone)
        start = None if wanted.since is None else moment(wanted.since, zone)
        found, kept = Comparison(wanted.limit), _Kept()
        for goal in tenant.settings.goals:
            found.goals[goal.name] = Count()
        stored = failed = deals = 0
        async with aclosing(replan.looks(tenant, [goal.name for goal in tenant.settings.goals])) as pages:
            async for page in pages:
                stored += page.listed
                failed += len(page.judged.failed)
                for deal, look in page.looks:
                    if deal.is_deleted or deal.is_touch or (start is not None and deal.created_at < start):
                        continue
                    deals += 1
                    kept.note(deal)
                    found.add(f"{page.source}/{deal.key}", look)
    if not stored:
        raise ConfigError(
            f"nothing is stored of tenant {wanted.tenant} in {config.database.url}: read it first with "
            f'"bridge sync --tenant {wanted.tenant}"; a changed configuration stands beside the one that works, '
            "in the same folder"
        )
    notes = [typed(note, config.path) for note in kept.missing(tenant)] if deals else []
    data: dict[str, Any] = {
        "tenant": tenant.name,
        "since": None if start is None else start.isoformat(),
        "deals": deals,
        "failed": failed,
        "goals": _goals(found),
        "flips_total": found.total,
        "flips": [_flip(one) for one in found.flips],
        "notes": notes,
    }
    return Outcome(int(bool(failed)), data, lambda: _show(data, zone))


@dataclass(slots=True)
class _Kept:
    """Which custom fields and noted facts any stored deal has."""

    fields: set[str] = field(default_factory=set)
    facts: set[str] = field(default_factory=set)

    def note(self, deal: Deal) -> None:
        self.fields.update(deal.fields)
        self.facts.update(deal.noted)

    def missing(self, tenant: Tenant) -> Iterator[str]:
        """What the rules look at and no deal has: where nobody asked for it, it was not kept."""
        blocks = list(tenant.settings.blocks)
        fields = dict.fromkeys(name for block in blocks for name in block.field)
        fields |= dict.fromkeys(fields_of_dates(tenant.settings.scores.values()))
        known = {plain(name) for name in self.fields}
        facts = dict.fromkeys(name for block in blocks for name in block.fact if name in NOTED)
        absent = [f'field "{name}"' for name in fields if plain(name) not in known]
        absent += [f'fact "{name}"' for name in facts if name not in self.facts]
        for what in absent:
            yield (
                f"no stored deal has the {what}, so nothing that depends on it can be told: what no rule asks for is "
                "not kept. It comes with deals that are new or change in the CRM"
            )


def _goals(found: Comparison) -> list[dict[str, Any]]:
    """Keys are part of the public interface (docs/reference/commands.md)."""
    return [
        {
            "goal": name,
            "before": one.before,
            "after": one.after,
            "waiting": one.waiting,
            **{change.value: one.changes[change] for change in Change},
            "value_before": amounts(one.value_before),
            "value_after": amounts(one.value_after),
        }
        for name, one in found.goals.items()
    ]


def _flip(one: Flip) -> dict[str, Any]:
    return {
        "deal": one.deal,
        "goal": one.goal,
        "occurrence": one.occurrence,
        "change": one.change.value,
        "rule": one.rule,
        "reason": one.reason,
        "before": _side(one.before),
        "after": _side(one.after),
    }


def _side(side: Side | None) -> dict[str, str | None] | None:
    if side is None:
        return None
    return {"occurred_at": side.occurred_at.isoformat(), "value": None if side.value is None else str(side.value)}


# --- for people --------------------------------------------------------------------------------------------------


def _show(data: Mapping[str, Any], zone: tzinfo) -> None:
    terminal.show_attention(data["notes"])
    made = terminal.table("Goals", "goal", "#now", "#then", "#gained", "#lost", "#moved", "#worth now", "#worth then")
    for one in data["goals"]:
        numbers = [terminal.number(one[key]) for key in ("before", "after", "gained", "lost", "moved")]
        made.add_row(one["goal"], *numbers, worth(one["value_before"]), worth(one["value_after"]))
    terminal.out.print(made)
    if data["flips"]:
        flips = terminal.table("Deals that flip", "deal", "goal", "change", "now", "then", "why")
        for one in data["flips"]:
            cells = (one["deal"], one["goal"], one["change"], _told(one["before"], zone), _told(one["after"], zone))
            flips.add_row(*map(escape, (*cells, ": ".join(filter(None, (one["rule"], one["reason"]))))))
        terminal.out.print(flips)
    more = data["flips_total"] - len(data["flips"])
    parts = [f"judged {terminal.number(data['deals'])} stored deals"]
    parts += [f"{terminal.number(data['failed'])} cannot be judged"] if data["failed"] else []
    parts += [f"{terminal.number(more)} more deals flip (--limit)"] if more > 0 else []
    terminal.out.print(f"{'; '.join(parts)}; nothing was sent or stored")


def _told(side: Mapping[str, str | None] | None, zone: tzinfo) -> str:
    if side is None:
        return "-"
    value = side["value"] and terminal.amount(side["value"])
    return ", ".join(filter(None, (terminal.moment(side["occurred_at"], zone), value)))
