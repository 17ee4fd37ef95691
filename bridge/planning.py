"""The command ``bridge plan``: what the goals as they are configured now would change for old deals, and doing it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from rich.markup import escape
from rich.table import Table

from bridge import terminal
from bridge.commands import opened
from bridge.compose import Installation
from bridge.config import Config
from bridge.errors import ConfigError
from bridge.following import see_through
from bridge.frozen import frozen
from bridge.loops import definitions, replan
from bridge.model import Money
from bridge.rules.preview import Action, Example, Line
from bridge.sim import gone
from bridge.store.requests import WorkRequest
from bridge.tenant import Tenant
from bridge.terminal import Outcome
from bridge.tools import Clock
from bridge.typed import typed

# Asks a person; None where nobody can be asked.
Confirm = Callable[[str], bool]


@frozen
class Wanted:
    """``bridge plan`` as asked for. No goal means all of them."""

    tenant: str
    goal: str | None = None
    examples: int = 3
    applies: bool = False
    leaves: bool = False
    is_sure: bool = False
    as_json: bool = False


async def plan(config: Config, clock: Clock, wanted: Wanted, confirm: Confirm | None) -> Outcome:
    """Look, or look and carry it out.

    Raises:
        ConfigError: no such tenant or goal, options that exclude each other, or nobody there to confirm.
        BridgeError: it could not be carried out.
    """
    if wanted.applies and wanted.leaves:
        raise ConfigError("give one of --apply and --leave")
    if wanted.applies and not wanted.is_sure and confirm is None:
        raise ConfigError("nobody can be asked here; say --yes with --apply")
    if wanted.applies or wanted.leaves:
        gone.refuse(config.path)
    async with opened(config, clock) as installation:
        tenant = await installation.tenant(wanted.tenant)
        names = _names(tenant, wanted.goal)
        if wanted.leaves:
            return await _left(installation, tenant, names, wanted)
        if wanted.applies and wanted.is_sure:
            return await _applied(installation, tenant, names, wanted)
        seen = await replan.preview(tenant, names, wanted.examples)
        data = _data(tenant.name, names, seen)
        notes = [item.message for item in await definitions.findings(tenant)]
        unread = typed(
            f'nothing is stored of {tenant.name} yet: "bridge sync --tenant {tenant.name}" reads it', config.path
        )
        shown = _Shown(data, [typed(note, config.path) for note in notes], ZoneInfo(tenant.settings.timezone), unread)
        if not wanted.applies or confirm is None:
            return Outcome(int(bool(seen.failed)), data, shown.show)
        shown.show()
        if not confirm("Carry this out?"):
            return Outcome(0, {**data, "applied": False}, lambda: terminal.out.print("nothing was changed"))
        return await _applied(installation, tenant, names, wanted)


def _names(tenant: Tenant, goal: str | None) -> list[str]:
    known = [one.name for one in tenant.settings.goals]
    if goal is not None and goal not in known:
        raise ConfigError(f"tenant {tenant.name} has no goal {goal} (known: {', '.join(known) or 'none'})")
    return known if goal is None else [goal]


# --- carrying out ------------------------------------------------------------------------------------------------


async def _requested(
    installation: Installation, tenant: Tenant, arguments: Mapping[str, Any], wanted: Wanted
) -> WorkRequest:
    request = await installation.requests.add(tenant.name, "plan", arguments)
    return await see_through(installation, request, f"plan {tenant.name}", wanted.as_json or wanted.leaves)


async def _applied(installation: Installation, tenant: Tenant, names: Sequence[str], wanted: Wanted) -> Outcome:
    done = await _requested(installation, tenant, replan.arguments(tenant, names), wanted)
    counts = dict(done.progress.get("counts", {}))
    data = {"request": done.id, "tenant": tenant.name, "goals": list(names), "applied": True, "counts": counts}

    def show() -> None:
        terminal.out.print(f"judged {terminal.number(counts.get('listed', 0))} deals again")
        told = {key: number for key, number in counts.items() if key.partition(" ")[2] and number}
        for key, number in sorted(told.items()):
            terminal.out.print(f"  {key}: {terminal.number(number)}", markup=False, soft_wrap=True)
        if not told:
            terminal.out.print("  nothing had to be changed")
        terminal.out.print("what is reached from now on, and what was, counts by the goals as they are")

    return Outcome(int(bool(counts.get("failed"))), data, show)


async def _left(installation: Installation, tenant: Tenant, names: Sequence[str], wanted: Wanted) -> Outcome:
    done = await _requested(installation, tenant, replan.arguments(tenant, names, is_left=True), wanted)
    data = {"request": done.id, "tenant": tenant.name, "goals": list(names), "applied": False, "left": True}
    again = typed(f"bridge plan --tenant {tenant.name} --apply", installation.config.path)
    told = f'what was reached before the change stays as it is; "{again}" is possible at any time later'
    return Outcome(0, data, lambda: terminal.out.print(told, soft_wrap=True, markup=False))


# --- telling -----------------------------------------------------------------------------------------------------


def _data(tenant: str, names: Sequence[str], seen: replan.Preview) -> dict[str, Any]:
    """Keys are part of the public interface (docs/reference/commands.md)."""
    lines = [
        {
            "goal": goal,
            "destination": destination,
            "action": action.value,
            "reason": reason or None,
            "count": line.count,
            "value": amounts(line.value),
            "examples": [_example(item) for item in line.examples],
        }
        for (goal, destination, action, reason), line in _in_order(seen.tally.lines)
    ]
    return {"tenant": tenant, "goals": list(names), "deals": seen.deals, "failed": seen.failed, "changes": lines}


_Key = tuple[str, str, Action, str]


def _in_order(lines: Mapping[_Key, Line]) -> list[tuple[_Key, Line]]:
    order = {action: number for number, action in enumerate(Action)}
    return sorted(lines.items(), key=lambda item: (item[0][0], item[0][1], order[item[0][2]], item[0][3]))


def amounts(units: Mapping[str, int]) -> dict[str, str]:
    """Minor units by currency as plain data: ``{"RUB": "1500.00"}``."""
    return {currency: str(Money(minor, currency).amount) for currency, minor in sorted(units.items())}


def worth(found: Mapping[str, str]) -> str:
    """These amounts for people: ``1,500.00 RUB``."""
    return ", ".join(terminal.amount(f"{amount} {currency}") for currency, amount in found.items())


def _example(item: Example) -> dict[str, Any]:
    entry = item.entry
    return {
        "deal": item.deal,
        "occurrence": entry.occurrence,
        "occurred_at": None if entry.occurred_at is None else entry.occurred_at.isoformat(),
        "value": None if entry.value is None else str(entry.value),
        "was": None if entry.was is None else str(entry.was),
    }


_WORDS = {
    "send": "would be sent",
    "restate": "would be restated",
    "replace": "would be replaced before it is sent",
    "withdraw": "would be withdrawn",
    "leave": "left as it is",
}


@frozen
class _Shown:
    """A preview for people."""

    data: Mapping[str, Any]
    notes: Sequence[str]
    zone: tzinfo
    unread: str  # what to do where nothing is stored yet

    def show(self) -> None:
        """Print it. What stays as it is needs a table only beside what changes, or where a goal was changed."""
        terminal.show_attention(self.notes)
        if not self.data["deals"]:
            terminal.out.print(self.unread, markup=False, soft_wrap=True)
            return
        changing = [line for line in self.data["changes"] if line["action"] != Action.LEAVE]
        if changing or (self.notes and self.data["changes"]):
            terminal.out.print(self._table())
        for text in self._examples(changing):
            terminal.out.print(text, markup=False, soft_wrap=True)
        told = "" if changing else "nothing would change; "
        failed = f", {terminal.number(self.data['failed'])} of them cannot be judged" if self.data["failed"] else ""
        judged = f"judged {terminal.number(self.data['deals'])} stored deals{failed}"
        terminal.out.print(f"{told}{judged}; nothing was sent or stored", soft_wrap=True)

    def _table(self) -> Table:
        made = terminal.table("Plan", "goal", "destination", "what", "#deals or payments", "#worth")
        for line in self.data["changes"]:
            why = f": {line['reason']}" if line["reason"] else ""
            what = escape(f"{_WORDS[line['action']]}{why}")
            made.add_row(line["goal"], line["destination"], what, terminal.number(line["count"]), worth(line["value"]))
        return made

    def _examples(self, changing: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        for line in changing:
            for item in line["examples"]:
                value, before = (terminal.amount(item[key]) if item[key] else "-" for key in ("value", "was"))
                was = f" (was {before})" if item["was"] and item["was"] != item["value"] else ""
                at = terminal.moment(item["occurred_at"], self.zone)
                why = f" ({line['reason']})" if line["reason"] else ""
                about = f"{line['goal']} -> {line['destination']}, {_WORDS[line['action']]}{why}"
                yield f"  {about}: {item['deal']}, {at}, {value}{was}"
