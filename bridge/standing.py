"""The command ``bridge status``: what is going on, as tables, and what needs a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from rich.table import Table

from bridge import requested
from bridge.commands import exit_status, opened
from bridge.config import Config
from bridge.frozen import replace
from bridge.quarantine import records_in_quarantine
from bridge.states import DeliveryState
from bridge.store.requests import WorkRequest
from bridge.terminal import Outcome, number, out, percent, show_attention, show_hint, span, table
from bridge.tools import Clock
from bridge.typed import typed
from bridge.web.status import attention
from bridge.web.status import status as status_of

# States every table of deliveries shows; the others appear when something is in them.
_USUAL = ("pending", "accepted", "verified", "rejected")
_STATE_STYLE = {"verified": "green", "accepted": "cyan", "rejected": "red", "held": "red", "unlinked": "yellow"}
_ABOUT_GOALS = "reached by deals, or by payments of a goal that counts them; sent wherever an identifier fits"
_NAMED = 5


async def status(config: Config, clock: Clock, only: str | None) -> Outcome:
    """The state of things; never needs a lock."""
    async with opened(config, clock) as installation:
        reports = installation.reports
        report = await status_of(reports, config, installation.names(only), clock.now())
        requests = {name: await installation.requests.unfinished(name) for name in report["tenants"]}
        named = [line for name in _quarantined(report) for line in await records_in_quarantine(reports, name)]
    mine = config if only is None else replace(config, broken={})  # others' trouble is not asked
    lines = (*attention(report, mine, clock.now()), *named, *unread(report, only))
    needs = [typed(line, config.path) for line in lines]
    for name, rows in requests.items():
        report["tenants"][name]["requests"] = [requested.data(row) for row in rows]
    unfinished = [line for name, rows in requests.items() for line in _unfinished(name, rows, config)]
    data, status = {**report, "attention": needs}, exit_status(config, only, bool(needs))
    late = typed("bridge late", config.path)
    return Outcome(status, data, lambda: show_status(report, needs, late, unfinished))


def _unfinished(tenant: str, rows: Iterable[WorkRequest], config: Config) -> list[str]:
    """What commands asked for and is not finished, one line each."""
    zone = ZoneInfo(config.tenants[tenant].timezone)
    return [f"{tenant}: {requested.words(row, zone)}: {requested.standing(row)}" for row in rows]


def _quarantined(report: Mapping[str, Any]) -> list[str]:
    """Tenants with records in quarantine."""
    tenants = report["tenants"].items()
    return [name for name, parts in tenants if any(item["quarantined"] for item in parts["sources"].values())]


def unread(report: Mapping[str, Any], only: str | None) -> list[str]:
    """That sources have not been read yet, in one line that says what to do; nothing where each has been.

    One that fails is told as failing. ``only``: the tenant that was asked for.
    """
    names = [
        f"{tenant}/{name}"
        for tenant, parts in report["tenants"].items()
        for name, item in parts["sources"].items()
        if item["lag_s"] is None and not item["last_error"]
    ]
    if not names:
        return []
    more = f" and {number(len(names) - _NAMED)} more" if len(names) > _NAMED else ""
    option = "" if only is None else f" --tenant {only}"
    told = f'"bridge sync{option}" reads once, "bridge run" for good'
    return [f"nothing has been read yet from {', '.join(names[:_NAMED])}{more}; {told}"]


def show_status(report: Mapping[str, Any], needs: Sequence[str], late: str, unfinished: Sequence[str] = ()) -> None:
    """Sources, destinations and goals of every tenant, then what is not finished, and what needs a person.

    ``late``: the command of that name.
    """
    tenants = report["tenants"]
    counted = ("#deals", "#matched", "#unmatched", "#in\nquarantine", "#new with id\n1/7/28 days")
    sources = table("Sources", "tenant", "source", *counted, "last\nread", "last\nsweep")
    for tenant, parts in tenants.items():
        for name, item in parts["sources"].items():
            counts = (item["deals"], item["deals"] - item["unmatched"], item["unmatched"], item["quarantined"])
            cells = (*map(number, counts), _covered(item["coverage"]), _last_read(item), _last_sweep(item))
            sources.add_row(tenant, name, *cells)
    states = _states_in((item for parts in tenants.values() for item in parts["destinations"].values()), _USUAL)
    more = ("#too late\nin 48 h", "counted\nthere")
    promises = table("Deliveries", "tenant", "destination", *(f"#{state}" for state in states), *more)
    for tenant, parts in tenants.items():
        for name, item in parts["destinations"].items():
            found = [_count(item[state], state) for state in states]
            promises.add_row(tenant, name, *found, _closing(item["closing"]), _audited(item["audit"]))
    for made, below in (
        (sources, ""),
        (_hooks(tenants), ""),
        (promises, _expired(tenants, late)),
        (_goals(tenants), _ABOUT_GOALS),
    ):
        if made.row_count:
            out.print(made)
            show_hint(below)
    for line in unfinished:
        out.print(line, markup=False, soft_wrap=True)
    show_attention(needs)


def _closing(closing: Mapping[str, Any]) -> str:
    """Waiting deliveries whose window closes soon; red when they are overdue."""
    return _count(closing["count"], "held" if closing["overdue"] else "")


def _audited(audit: Mapping[str, Any]) -> str:
    """What the last comparison with the vendor's own counts found; empty where there is none."""
    if audit["error"]:
        return "[red]cannot be compared[/]"
    wrong = [f"{number(audit[name])} {name}" for name in ("lost", "extra") if audit[name]]
    return f"[red]{', '.join(wrong)}[/]" if wrong else "no loss" if audit["audited_at"] else ""


def _expired(tenants: Mapping[str, Any], late: str) -> str:
    """Why deliveries expired; "" where none has."""
    reasons: Counter[str] = Counter()
    for parts in tenants.values():
        for item in parts["destinations"].values():
            reasons.update(item["expired_reasons"])
    listed = ", ".join(f"{reason or 'unnamed'} {number(count)}" for reason, count in reasons.most_common())
    return f'expired: {listed}; see "{late}"' if listed else ""


def _goals(tenants: Mapping[str, Any]) -> Table:
    """How often each goal was reached, and what became of them at each destination: corrections are counted apart."""
    told = [told for parts in tenants.values() for item in parts["goals"].values() for told in _told(item).values()]
    states = _states_in(told, ())
    columns = ("tenant", "goal", "#reached by", "sent to", *(f"#{state}" for state in states))
    made = table("Goals", *columns, "#corrections\namong them")
    for tenant, parts in tenants.items():
        for name, item in parts["goals"].items():
            head = (tenant, name, _reached(item))
            for destination, counts in _told(item).items() or [("-", {})]:
                cells = (_count(counts.get(state, 0), state) for state in states)
                made.add_row(*head, destination, *cells, _count(counts.get("corrections", 0), ""))
                head = ("", "", "")
    return made


def _told(goal: Mapping[str, Any]) -> Mapping[str, Mapping[str, int]]:
    told: Mapping[str, Mapping[str, int]] = goal["destinations"]
    return told


def _reached(item: Mapping[str, Any]) -> str:
    """Deals that reached a goal; of a goal per payment, the payments that did and on how many deals."""
    reached, deals = item["reached"], item["deals"]
    return (
        number(reached) if reached == deals else f"{number(reached)} ({number(deals)} deal{'s' if deals > 1 else ''})"
    )


def _hooks(tenants: Mapping[str, Any]) -> Table:
    """Sources that take webhooks."""
    hooks = table("Webhooks", "tenant", "source", "last one", "#waiting", "ours at the vendor")
    for tenant, parts in tenants.items():
        for name, item in parts["sources"].items():
            if item["hook"]:
                age = item["hook_age_s"]
                seen = "never" if age is None else f"{span(age)} ago"
                kept = "[red]in trouble[/]" if item["hook_trouble"] else "kept" if item["hook_checked_at"] else "-"
                hooks.add_row(tenant, name, seen, number(item["hints_waiting"]), kept)
    return hooks


def _states_in(items: Iterable[Mapping[str, Any]], always: Sequence[str]) -> list[str]:
    """The states to show in their natural order: these, and every other that counts something."""
    busy = {state.value for item in items for state in DeliveryState if item.get(state.value)}
    return [state.value for state in DeliveryState if state.value in busy or state.value in always]


def _count(count: int, state: str) -> str:
    if not count:
        return "[dim]0[/]"
    style = _STATE_STYLE.get(state)
    return f"[{style}]{number(count)}[/]" if style else number(count)


def _covered(coverage: Mapping[str, Any] | None) -> str:
    """Shares of new leads with an identifier of their own, in percent: last day, last week, four weeks."""
    if coverage is None:
        return ""
    shares = [percent(coverage["windows"][name]["all"]) for name in ("day", "week", "usual")]
    text = f"{'/'.join(shares)} %"
    return f"[red]{text}[/]" if coverage["fallen"] or coverage["silence"] else text


def _last_read(source: Mapping[str, Any]) -> str:
    age = source["lag_s"]
    text = "never" if age is None else f"{span(age)} ago"
    return f"[red]{text}, failing[/]" if source["last_error"] else text


def _last_sweep(source: Mapping[str, Any]) -> str:
    """Empty before the first: a table has none at all."""
    age, missed = source["sweep_age_s"], source["sweep_missed"]
    parts = [] if age is None else [f"{span(age)} ago"]
    if missed:
        parts.append(f"[yellow]{number(missed)} missed[/]")
    if source["sweep_error"]:
        parts.append("[red]failing[/]")
    return ", ".join(parts)
