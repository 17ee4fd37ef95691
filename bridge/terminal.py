"""What commands print for people: rich tables and words. ``--json`` prints the same data as it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bridge.frozen import frozen
from bridge.model import ONCE_PER_DEAL, TOLD, IdKind
from bridge.ports import AdapterSpec, Authorization
from bridge.store.reports import HeldRow

_PIPED = None if sys.stdout.isatty() else 120  # columns, where there is no terminal to ask
out = Console(highlight=False, width=_PIPED)
err = Console(stderr=True, highlight=False)
_CHOICES = {"resend": "they did not: send again", "accepted": "they did", "cancel": "never send them"}

# What a turn counted, in the order things happen, in words.
_COUNTED = {
    "listed": "read",
    "hints": "named by the vendor",
    "reread": "looked after",
    "missed": "missed before",
    "gone": "gone",
    "changed": "new or changed",
    "quarantined": "in quarantine",
    "assessed": "judged again",
    "planned": "promised",
    "reconciled": "repaired",
    "accepted": "accepted",
    "rejected": "rejected",
    "again": "to be sent again",
    "split": "to be sent again in halves",
    "in_doubt": "batches in doubt",
    "held": "held",
    "cancelled": "dropped",
    "withdrawn": "taken back before sending",
    "restored": "promised again",
    "expired": "expired",
    "verified": "verified",
    "unlinked": "unlinked",
    "unknown": "without a verdict",
}


@frozen
class Outcome:
    """What a command has to say. ``show`` prints it for people; ``data`` is the same as plain data."""

    status: int = 0
    data: Any = None
    show: Callable[[], None] | None = None


def counted(counts: Mapping[str, int]) -> str:
    """What a turn did, in words: ``read 39, new or changed 2, promised 3``."""
    told = [f"{words} {number(counts[name])}" for name, words in _COUNTED.items() if counts.get(name)]
    return ", ".join(told) or "nothing new"


def show_hint(text: str) -> None:
    """What to look at next, if anything."""
    if text:
        out.print(f"  {text}", markup=False, soft_wrap=True)


def show_attention(lines: Iterable[str]) -> None:
    """What needs a person, one line each."""
    for line in lines:
        out.print(f"[yellow]![/] {escape(line)}", soft_wrap=True)


def print_json(data: Any) -> None:
    """JSON on standard output, one document, nothing else."""
    print(json.dumps(data, ensure_ascii=False, indent=2, default=str))


def number(count: int) -> str:
    """A count as people read it: ``12,345``."""
    return f"{count:,}"


def amount(text: str) -> str:
    """An amount of plain data as people read it: ``1500.00 RUB`` is ``1,500.00 RUB``."""
    digits, space, currency = text.partition(" ")
    return f"{Decimal(digits):,}{space}{currency}"


def percent(share: Mapping[str, int]) -> str:
    """In percent those with an identifier of their own; "-" of none."""
    return str(round(100 * share["own"] / share["leads"])) if share["leads"] else "-"


def table(title: str, *columns: str) -> Table:
    """A table in the house style; a column whose name begins with ``#`` holds numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for name in columns:
        made.add_column(name.removeprefix("#"), justify="right" if name.startswith("#") else "left", overflow="fold")
    return made


def show_page(asked: Authorization) -> None:
    """Where to go and what to do there."""
    out.print("Open this page and allow access:", asked.page, sep="\n", soft_wrap=True, markup=False)
    out.print(asked.advice, soft_wrap=True, markup=False)


def span(seconds: int) -> str:
    """A length of time for people: ``42 s``, ``10 min``, ``9 h``, ``12 d``."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def moment(text: str | None, zone: tzinfo = UTC) -> str:
    """An ISO time of plain data as people read it, in their zone; "" for none."""
    return f"{datetime.fromisoformat(text).astimezone(zone):%Y-%m-%d %H:%M:%S}" if text else ""


def show_explanation(data: Mapping[str, Any], zone: tzinfo) -> None:
    """The chain behind one deal, top to bottom; times in the tenant's zone."""
    deal = data["deal"]
    out.print(f"[bold]{deal['source']}/{deal['key']}[/]  {deal['outcome']}, value {_amount(deal['value'])}")
    created, updated = (moment(deal[name], zone) for name in ("created_at", "updated_at"))
    out.print(f"created {created}, last change {updated} (times: {zone})")
    if deal["is_deleted"]:
        out.print(
            "deleted in the CRM: nothing new is promised for it, and what was not sent yet is not", style="yellow"
        )
    if deal["merged_into"]:
        out.print(f"merged into {deal['merged_into']}: since then no goal that was sent of it is sent of that one")
    if deal["parent"]:
        out.print(f"converted from {deal['parent']}")
        if not deal["is_parent_read"]:
            advice = "it came before what was read so far, and its click is not known: a backfill of its time reads it"
            out.print(f"{deal['parent']} was not read: {advice}", style="yellow")
    history = table("History", "at", "pipeline", "stage", "outcome", "known from")
    for item in deal["history"]:
        names = (escape(item["pipeline_name"]), escape(item["stage_name"]))
        history.add_row(moment(item["at"], zone), *names, item["outcome"], item["source"])
    out.print(history)
    _show_values(deal["value_changes"], zone)
    _show_payments(deal["payments"], zone)
    _show_match(data)
    _show_spam(data["spam"])
    for one in data["learnt"]:
        out.print(f"known from {one['known_from']}: {one['fact']} {', '.join(one['values'])}", markup=False)
    for score in data["scores"]:
        _show_score(score, zone)
    judged = table("Judgements", "goal", "verdict", "rule", "reached at", "value", "reason")
    for item in data["judgements"]:
        at = moment(item["occurred_at"], zone)
        then = f"; it will be on {moment(item['recheck_at'], zone)}" if item["recheck_at"] else ""
        cells = (item["goal"], item["verdict"], item["rule"], at, _amount(item["value"], ""), f"{item['reason']}{then}")
        judged.add_row(*(escape(str(cell or "")) for cell in cells))
    out.print(judged)
    for item in data["judgements"]:
        _show_criteria(item, zone)
    for item in data["deliveries"]:
        _show_delivery(item, zone)
    for skip in data["not_promised"]:
        place = f" -> {skip['destination']}" if skip["destination"] else ""
        what = f"{skip['goal']}{_occurrence(skip['occurrence'])}{place}"
        out.print(f"not promised: {escape(what)}: {escape(skip['reason'])}")


def _show_score(score: Mapping[str, Any], zone: tzinfo) -> None:
    """Points now, and every rule they come from."""
    band = f", {score['band']}" if score["band"] else ""
    made = table(f"Score {score['score']}: {score['points']}{band}", "#points", "#of", "rule", "since", "why")
    for item in score["summands"]:
        cells = (str(item["points"]), str(item["most"]), item["rule"], moment(item["since"], zone), item["reason"])
        made.add_row(*map(escape, cells))
    out.print(made)


def _show_criteria(judgement: Mapping[str, Any], zone: tzinfo) -> None:
    if not judgement["criteria"]:
        return
    made = table(f"Criteria of {judgement['goal']}", "met", "criterion", "since", "why not")
    for item in judgement["criteria"]:
        made.add_row("yes" if item["met"] else "no", escape(item["rule"]), moment(item["since"], zone), item["reason"])
    out.print(made)


def _show_payments(payments: Sequence[Mapping[str, Any]] | None, zone: tzinfo) -> None:
    if not payments:
        return
    made = table("Payments", "payment", "state", "paid at", "#value")
    for item in payments:
        made.add_row(escape(item["id"]), item["state"], moment(item["paid_at"], zone), _amount(item["value"]))
    out.print(made)


def _amount(text: str | None, none: str = "-") -> str:
    return amount(text) if text else none


def _occurrence(occurrence: str) -> str:
    """Which payment a promise is about; nothing where a deal reaches the goal once."""
    return "" if occurrence == ONCE_PER_DEAL else f", {occurrence.replace(':', ' ', 1)}"


def _show_values(changes: Sequence[Mapping[str, Any]], zone: tzinfo) -> None:
    """What the deal was worth when, where its source tells."""
    if not changes:
        return
    made = table("Value", "from", "#value")
    for change in changes:
        made.add_row(moment(change["at"], zone), _amount(change["value"]))
    out.print(made)


def show_candidates(text: str, keys: Sequence[str]) -> None:
    """What a number may mean, before each of them is shown."""
    names = f"{', '.join(keys[:-1])} and {keys[-1]}"
    out.print(f"{text} is {names}; give one of these to see it alone", soft_wrap=True, markup=False)


def _show_match(data: Mapping[str, Any]) -> None:
    match, aside = data["match"], data["quarantine"]
    if aside is not None:
        out.print(f"[red]in quarantine[/]: {aside['code']}: {escape(aside['message'])}")
    if match is None and aside is None:
        out.print("[yellow]this source is no longer configured[/]")
    elif match is None:
        return
    elif match["method"] is None:
        out.print(f"[yellow]unmatched ({match['reason']})[/]: {escape(match['evidence'])}")
    else:
        out.print(f"matched by [bold]{match['method']}[/] ({match['confidence']}): {escape(match['evidence'])}")
        for found in match["identifiers"]:
            out.print(f"  {found['kind']} {escape(found['value'])}", soft_wrap=True)
    for name, own in data["matches"].items():
        how = own["reason"] if own["method"] is None else f"{own['method']} ({own['confidence']})"
        out.print(f"  for {name}: {how}: {escape(own['evidence'])}", soft_wrap=True)
    for touch in data["touches"]:
        if "garbage" in touch:
            out.print(f"  refused: {escape(touch['where'])}: {touch['garbage']}")


def _show_spam(spam: Mapping[str, Any] | None) -> None:
    """What was noticed, and what it amounts to; nothing where no rule is on."""
    if spam is None:
        return
    found = spam["signals"]
    needs = "" if any(signal["is_enough"] for signal in found) else f" of {spam['needs']} needed"
    out.print(f"[red]spam[/] ({len(found)} signals{needs})" if spam["is_spam"] else f"no spam ({len(found)}{needs})")
    for signal in found:
        alone = ", enough alone" if signal["is_enough"] else ""
        out.print(f"  {signal['signal']}{alone}: {escape(signal['evidence'])}")


def _show_delivery(item: Mapping[str, Any], zone: tzinfo) -> None:
    """One delivery with its chain of events."""
    what = f"{item['goal']}{_occurrence(item['occurrence'])} -> {item['destination']} ({item['target']})"
    value = f", {amount(item['value'])}" if item["value"] else ""
    note = ", a correction of the value" if item["kind"] == "restatement" else ""
    state = f"{item['state']} {item['reason']}" if item["reason"] else item["state"]
    due = f", next try {moment(item['due'], zone)}" if item["due"] else ""
    made = table(escape(f"{what}{value}{note}: {state}{due}"), "at", "from", "to", "batch", "code")
    for event in item["events"]:
        at = moment(event["at"], zone)
        cells = (at, event["from"], event["to"], (event["batch"] or "")[:12], event["code"])
        made.add_row(*(escape(str(cell or "")) for cell in cells))
    out.print(made)


def show_held(rows: Sequence[HeldRow], resolve: str) -> None:
    """Deliveries that wait for a human. ``resolve`` is the command to decide with, as it has to be typed."""
    if not rows:
        out.print("nothing is held")
        return
    made = table("Held", "delivery", "tenant", "destination", "deal", "goal", "reached at (UTC)", "why")
    for row in rows:
        at = moment(row.occurred_at.isoformat())
        what = f"{row.goal}{_occurrence(row.occurrence)}"
        made.add_row(row.id, row.tenant, row.destination, row.deal, escape(what), at, row.code or "")
    out.print(made)
    out.print("Look into the ad account whether they arrived, then:")
    for choice, why in _CHOICES.items():
        words = f"  {resolve} DELIVERY... --tenant TENANT --as {choice:<8}  ({why})"
        out.print(words, soft_wrap=True, markup=False)


def _accepted(kinds: Sequence[IdKind]) -> str:
    """Kinds of identifiers, one a line."""
    return "all" if set(kinds) >= set(TOLD) else "\n".join(kinds)


def show_adapters(specs: Mapping[str, AdapterSpec]) -> None:
    """What can be connected."""
    made = table("Adapters", "kind", "what", "reads", "writes", "proof", "accepts", "corrects\nvalues", "API")
    for column in (made.columns[0], made.columns[5]):
        column.no_wrap = True
    for kind, spec in specs.items():
        traits = spec.destination.traits if spec.destination else None
        made.add_row(
            kind,
            spec.title.partition(" (")[0],
            "yes" if spec.source else "",
            "yes" if spec.destination else "",
            traits.proof if traits else "",
            _accepted(traits.accepts) if traits else "",
            ("yes" if traits.adjusts else "no") if traits else "",
            ", ".join(str(api) + (f" (ends {api.sunset})" if api.sunset else "") for api in spec.apis),
        )
    out.print(made)
    out.print("proof, how a lost answer is cleared up: row = a repeated row is recognised there;")
    out.print("tag = an upload is found again by its label; none = you decide (bridge held)")
