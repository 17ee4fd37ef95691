"""What commands print for people: rich tables and words. ``--json`` prints the same data as it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bridge.ports import AdapterSpec, Finding, Level
from bridge.states import DeliveryState
from bridge.store.reports import HeldRow

_PIPED = None if sys.stdout.isatty() else 120  # columns, where there is no terminal to ask
out = Console(highlight=False, width=_PIPED)
err = Console(stderr=True, highlight=False)
_MARKS = {Level.OK: "[green]ok[/]", Level.WARNING: "[yellow]warning[/]", Level.ERROR: "[red]error[/]"}
_STATE_STYLE = {"verified": "green", "accepted": "cyan", "rejected": "red", "held": "red", "unlinked": "yellow"}


def print_json(data: Any) -> None:
    """JSON on standard output, one document, nothing else."""
    print(json.dumps(data, ensure_ascii=False, indent=2, default=str))


def table(title: str, *columns: str) -> Table:
    """A table in the house style; a column whose name begins with ``#`` holds numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for name in columns:
        made.add_column(name.removeprefix("#"), justify="right" if name.startswith("#") else "left", overflow="fold")
    return made


def show_status(report: Mapping[str, Any], attention: Sequence[str]) -> None:
    """Sources and destinations of every tenant, then what needs a person."""
    sources = table("Sources", "tenant", "source", "#deals", "#matched", "#quarantined", "#age s", "last error")
    states = [state.value for state in DeliveryState]
    promises = table("Deliveries", "tenant", "destination", *(f"#{state}" for state in states), "last error")
    goals = table("Goals", "tenant", "goal", "#reached", *(f"#{state}" for state in states))
    for tenant, parts in report["tenants"].items():
        for name, item in parts["sources"].items():
            matched = item["deals"] - item["unmatched"]
            cells = (item["deals"], matched, item["quarantined"], "-" if item["lag_s"] is None else item["lag_s"])
            sources.add_row(tenant, name, *map(str, cells), _error(item["last_error"]))
        for name, item in parts["destinations"].items():
            promises.add_row(
                tenant, name, *(_count(item[state], state) for state in states), _error(item["last_error"])
            )
        for name, item in parts["goals"].items():
            goals.add_row(tenant, name, str(item["reached"]), *(_count(item.get(s, 0), s) for s in states))
    for made in (sources, promises, goals):
        if made.row_count:
            out.print(made)
    for line in attention:
        out.print(f"[yellow]![/] {escape(line)}")


def _count(number: int, state: str) -> str:
    if not number:
        return "[dim]0[/]"
    style = _STATE_STYLE.get(state)
    return f"[{style}]{number}[/]" if style else str(number)


def _error(text: str | None) -> str:
    return f"[red]{escape(text)}[/]" if text else ""


def show_explanation(data: Mapping[str, Any]) -> None:
    """The chain behind one deal, top to bottom."""
    deal = data["deal"]
    out.print(f"[bold]{deal['source']}/{deal['key']}[/]  {deal['outcome']}, value {deal['value'] or '-'}")
    out.print(f"created {deal['created_at']}, changed {deal['updated_at']}")
    history = table("History", "at", "pipeline", "stage", "outcome", "known from")
    for item in deal["history"]:
        history.add_row(item["at"], item["pipeline"], escape(item["stage"]), item["outcome"], item["source"])
    out.print(history)
    _show_match(data["match"], data["touches"])
    judged = table("Judgements", "goal", "verdict", "rule", "occurred at", "value", "reason")
    for item in data["judgements"]:
        cells = (item["goal"], item["verdict"], item["rule"], item["occurred_at"], item["value"], item["reason"])
        judged.add_row(*(escape(str(cell or "")) for cell in cells))
    out.print(judged)
    for item in data["deliveries"]:
        show_delivery(item)
    for skip in data.get("not_promised", ()):
        out.print(f"not promised: {skip['goal']} -> {skip['destination']}: {escape(skip['reason'])}")


def _show_match(match: Mapping[str, Any] | None, touches: Sequence[Mapping[str, Any]]) -> None:
    if match is None:
        out.print("[yellow]this source is no longer configured[/]")
    elif match["method"] is None:
        out.print(f"[yellow]unmatched[/]: {match['reason']}: {escape(match['evidence'])}")
    else:
        found = ", ".join(f"{i['kind']} {i['value']} ({i['found_in']})" for i in match["identifiers"])
        out.print(f"matched by [bold]{match['method']}[/]: {escape(match['evidence'])}: {escape(found)}")
    for touch in touches:
        if "garbage" in touch:
            out.print(f"  refused: {escape(touch['where'])}: {touch['garbage']}")


def show_delivery(item: Mapping[str, Any]) -> None:
    """One delivery with its chain of events."""
    head = f"{item['goal']} -> {item['destination']} ({item['target']}): {item['state']}"
    made = table(escape(f"{head}{' ' + item['reason'] if item['reason'] else ''}"), "at", "from", "to", "batch", "code")
    for event in item["events"]:
        cells = (event["at"], event["from"], event["to"], (event["batch"] or "")[:12], event["code"])
        made.add_row(*(escape(str(cell or "")) for cell in cells))
    out.print(made)


def show_findings(findings: Mapping[str, Sequence[Finding]]) -> None:
    """What ``check`` looked at, account by account."""
    made = table("Check", "account", "result", "what", "what to do")
    for account, items in findings.items():
        for item in items:
            made.add_row(account, _MARKS[item.level], escape(item.subject), escape(item.message))
    out.print(made)


def show_held(rows: Sequence[HeldRow]) -> None:
    """Deliveries that wait for a human."""
    if not rows:
        out.print("nothing is held")
        return
    made = table("Held", "delivery", "tenant", "destination", "deal", "goal", "occurred at", "why")
    for row in rows:
        at = row.occurred_at.isoformat()
        made.add_row(row.id, row.tenant, row.destination, row.deal, row.goal, at, row.code or "")
    out.print(made)
    out.print("bridge held resolve DELIVERY... --tenant T --as resend | accepted | cancel")


def show_adapters(specs: Mapping[str, AdapterSpec]) -> None:
    """What can be connected."""
    made = table("Adapters", "kind", "what", "reads", "writes", "proof after a lost answer", "accepts", "corrects")
    for kind, spec in specs.items():
        traits = spec.destination.traits if spec.destination else None
        made.add_row(
            kind,
            spec.title,
            "yes" if spec.source else "",
            "yes" if spec.destination else "",
            traits.proof if traits else "",
            ", ".join(traits.accepts) if traits else "",
            ("yes" if traits.adjusts else "no") if traits else "",
        )
    out.print(made)
