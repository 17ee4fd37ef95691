"""What commands print for people: rich tables and words. ``--json`` prints the same data as it is."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bridge.model import ONCE_PER_DEAL, TOLD, IdKind
from bridge.ports import AdapterSpec, Authorization, Finding, Level
from bridge.states import DeliveryState
from bridge.store.reports import HeldRow

_PIPED = None if sys.stdout.isatty() else 120  # columns, where there is no terminal to ask
out = Console(highlight=False, width=_PIPED)
err = Console(stderr=True, highlight=False)
_BAD = (Level.ERROR, Level.WARNING)
_MARKS = {Level.OK: "[green]ok[/]", Level.WARNING: "[yellow]warning[/]", Level.ERROR: "[red]error[/]"}
# States every table of deliveries shows; the others appear when something is in them.
_USUAL = ("pending", "accepted", "verified", "rejected")
_STATE_STYLE = {"verified": "green", "accepted": "cyan", "rejected": "red", "held": "red", "unlinked": "yellow"}

_ABOUT_GOALS = "reached by deals, or by payments of a goal that counts them; sent wherever an identifier fits"
_CHOICES = {"resend": "they did not: send again", "accepted": "they did", "cancel": "never send them"}

# What a turn counted, in the order things happen, in words.
_COUNTED = {
    "listed": "read",
    "hints": "named by the vendor",
    "reread": "looked after",
    "missed": "missed before",
    "gone": "gone",
    "changed": "new or changed",
    "quarantined": "unreadable",
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command has to say. ``show`` prints it for people; ``data`` is the same as plain data."""

    status: int = 0
    data: Any = None
    show: Callable[[], None] | None = None


def counted(counts: Mapping[str, int]) -> str:
    """What a turn did, in words: ``read 39, new or changed 2, promised 3``."""
    told = [f"{words} {counts[name]}" for name, words in _COUNTED.items() if counts.get(name)]
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


def show_status(report: Mapping[str, Any], attention: Sequence[str], late: str) -> None:
    """Sources, destinations and goals of every tenant, then what needs a person. ``late``: the command of that name."""
    tenants = report["tenants"]
    counted = ("#deals", "#matched", "#unmatched", "#in\nquarantine", "#new with id\n1/7/28 days")
    sources = table("Sources", "tenant", "source", *counted, "last\nread", "last\nsweep")
    for tenant, parts in tenants.items():
        for name, item in parts["sources"].items():
            counts = (item["deals"], item["deals"] - item["unmatched"], item["unmatched"], item["quarantined"])
            cells = (*map(str, counts), _covered(item["coverage"]), _last_read(item), _last_sweep(item))
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
    show_attention(attention)


def _closing(closing: Mapping[str, Any]) -> str:
    """Waiting deliveries whose window closes soon; red when they are overdue."""
    return _count(closing["count"], "held" if closing["overdue"] else "")


def _audited(audit: Mapping[str, Any]) -> str:
    """What the last comparison with the vendor's own counts found; empty where there is none."""
    if audit["error"]:
        return "[red]cannot be compared[/]"
    wrong = [f"{audit[name]} {name}" for name in ("lost", "extra") if audit[name]]
    return f"[red]{', '.join(wrong)}[/]" if wrong else "no loss" if audit["audited_at"] else ""


def _expired(tenants: Mapping[str, Any], late: str) -> str:
    """Why deliveries expired; "" where none has."""
    reasons: Counter[str] = Counter()
    for parts in tenants.values():
        for item in parts["destinations"].values():
            reasons.update(item["expired_reasons"])
    listed = ", ".join(f"{reason or 'unnamed'} {count}" for reason, count in reasons.most_common())
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
    return str(reached) if reached == deals else f"{reached} ({deals} deal{'s' if deals > 1 else ''})"


def _hooks(tenants: Mapping[str, Any]) -> Table:
    """Sources that take webhooks."""
    hooks = table("Webhooks", "tenant", "source", "last one", "#waiting", "ours at the vendor")
    for tenant, parts in tenants.items():
        for name, item in parts["sources"].items():
            if item["hook"]:
                age = item["hook_age_s"]
                seen = "never" if age is None else f"{span(age)} ago"
                kept = "[red]in trouble[/]" if item["hook_trouble"] else "kept" if item["hook_checked_at"] else "-"
                hooks.add_row(tenant, name, seen, str(item["hints_waiting"]), kept)
    return hooks


def _states_in(items: Iterable[Mapping[str, Any]], always: Sequence[str]) -> list[str]:
    """The states to show in their natural order: these, and every other that counts something."""
    busy = {state.value for item in items for state in DeliveryState if item.get(state.value)}
    return [state.value for state in DeliveryState if state.value in busy or state.value in always]


def _count(number: int, state: str) -> str:
    if not number:
        return "[dim]0[/]"
    style = _STATE_STYLE.get(state)
    return f"[{style}]{number}[/]" if style else str(number)


def _covered(coverage: Mapping[str, Any] | None) -> str:
    """Shares of new leads with an identifier of their own, in percent: last day, last week, four weeks."""
    if coverage is None:
        return ""
    shares = [_percent(coverage["windows"][name]["all"]) for name in ("day", "week", "usual")]
    text = f"{'/'.join(shares)} %"
    return f"[red]{text}[/]" if coverage["fallen"] or coverage["silence"] else text


def _percent(share: Mapping[str, int]) -> str:
    return str(round(100 * share["own"] / share["leads"])) if share["leads"] else "-"


def show_coverage(data: Mapping[str, Any]) -> None:
    """A table of weeks and channels for each source, then what has fallen."""
    for tenant, parts in data["tenants"].items():
        for source, weeks in parts["sources"].items():
            if not weeks:
                out.print(f"{tenant}/{source}: not read yet")
                continue
            title = f"{tenant}/{source}: new leads with a usable identifier of their own, by week from Monday"
            made = table(title, "channel", *(f"#{row['week']}" for row in weeks))
            for name in _busiest_first(weeks):
                made.add_row(escape(name), *(_of(row["channels"].get(name)) for row in weeks))
            out.print(made)
    if any(weeks for parts in data["tenants"].values() for weeks in parts["sources"].values()):
        out.print("+N: so many others have one by their lead, or by another lead of the same person")
    show_attention(data["attention"])


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
    return f"{_percent(share)} % of {share['leads']}" + (f" +{share['joined']}" if share["joined"] else "")


def _last_read(source: Mapping[str, Any]) -> str:
    age = source["lag_s"]
    text = "never" if age is None else f"{span(age)} ago"
    return f"[red]{text}, failing[/]" if source["last_error"] else text


def _last_sweep(source: Mapping[str, Any]) -> str:
    """Empty before the first: a table has none at all."""
    age, missed = source["sweep_age_s"], source["sweep_missed"]
    parts = [] if age is None else [f"{span(age)} ago"]
    if missed:
        parts.append(f"[yellow]{missed} missed[/]")
    if source["sweep_error"]:
        parts.append("[red]failing[/]")
    return ", ".join(parts)


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
    out.print(f"[bold]{deal['source']}/{deal['key']}[/]  {deal['outcome']}, value {deal['value'] or '-'}")
    created, updated = (moment(deal[name], zone) for name in ("created_at", "updated_at"))
    out.print(f"created {created}, last change {updated} (times: {zone})")
    if deal["is_deleted"]:
        out.print(
            "deleted in the CRM: nothing new is promised for it, and what was not sent yet is not", style="yellow"
        )
    if deal["merged_into"]:
        out.print(f"merged into {deal['merged_into']}: what was sent of it is not sent of that one once more")
    if deal["parent"]:
        out.print(f"converted from {deal['parent']}")
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
        cells = (item["goal"], item["verdict"], item["rule"], at, item["value"], f"{item['reason']}{then}")
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
        made.add_row(escape(item["id"]), item["state"], moment(item["paid_at"], zone), item["value"])
    out.print(made)


def _occurrence(occurrence: str) -> str:
    """Which payment a promise is about; nothing where a deal reaches the goal once."""
    return "" if occurrence == ONCE_PER_DEAL else f", {occurrence.replace(':', ' ', 1)}"


def _show_values(changes: Sequence[Mapping[str, Any]], zone: tzinfo) -> None:
    """What the deal was worth when, where its source tells."""
    if not changes:
        return
    made = table("Value", "from", "#value")
    for change in changes:
        made.add_row(moment(change["at"], zone), change["value"] or "-")
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
    value = f", {item['value']}" if item["value"] else ""
    note = ", a correction of the value" if item["kind"] == "restatement" else ""
    state = f"{item['state']} {item['reason']}" if item["reason"] else item["state"]
    due = f", next try {moment(item['due'], zone)}" if item["due"] else ""
    made = table(escape(f"{what}{value}{note}: {state}{due}"), "at", "from", "to", "batch", "code")
    for event in item["events"]:
        at = moment(event["at"], zone)
        cells = (at, event["from"], event["to"], (event["batch"] or "")[:12], event["code"])
        made.add_row(*(escape(str(cell or "")) for cell in cells))
    out.print(made)


def show_findings(findings: Mapping[str, Sequence[Finding]]) -> None:
    """What ``check`` looked at, account by account, and a last line that sums it up."""
    made = table("Check", "account", "result", "looked at", "what was found")
    for account, items in findings.items():
        for item in items:
            made.add_row(account, _MARKS[item.level], escape(item.subject), escape(item.message))
    out.print(made)
    counts = Counter(item.level for items in findings.values() for item in items)
    wrong = [f"{counts[level]} {level}{'s' if counts[level] > 1 else ''}" for level in _BAD if counts[level]]
    out.print(f"[yellow]{', '.join(wrong)}[/]" if wrong else "[green]all is well[/]")


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
