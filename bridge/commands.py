"""What each command does, apart from its options: returns data, a way to show it, and an exit status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from bridge import checking, hooking, registry, terminal
from bridge import explain as explanation
from bridge.compose import Installation
from bridge.config import Config
from bridge.daemon import Daemon, cycle
from bridge.errors import BridgeError, ConfigError, LockHeld
from bridge.findings import show_findings
from bridge.following import see_through
from bridge.frozen import frozen, replace
from bridge.log import redact
from bridge.ports import Finding, Level
from bridge.quarantine import advice, quarantine_hint, records_in_quarantine
from bridge.rules import definitions as goal_definitions
from bridge.sim import gone
from bridge.tenant import Progress, Tenant
from bridge.terminal import Outcome, number
from bridge.tools import Clock
from bridge.twice import Readers
from bridge.typed import typed
from bridge.web.status import stuck


@frozen
class Period:
    """A backfill as asked for on the command line; dates are in the tenant's time zone."""

    tenant: str
    since: str
    until: str | None
    source: str | None
    is_dry: bool
    as_json: bool


@frozen
class Decision:
    """What to do with held deliveries; no ids means all of them."""

    tenant: str
    resolution: str
    deliveries: tuple[str, ...]
    as_json: bool


@frozen
class Granting:
    """``bridge auth`` as asked for. ``answer``: the code or the whole address it came in; None asks for the page."""

    tenant: str
    source: str
    answer: str | None = field(repr=False)


@asynccontextmanager
async def opened(config: Config, clock: Clock, *, is_look: bool = False) -> AsyncIterator[Installation]:
    """An installation for the time of a command; ``is_look``: one that leaves nothing behind."""
    installation = await (Installation.look if is_look else Installation.open)(config, clock)
    try:
        yield installation
    finally:
        await installation.close()


# --- check -------------------------------------------------------------------------------------------------------


async def check(config: Config, clock: Clock, only: str | None, is_whole: bool = False) -> Outcome:
    """Ask every account, compile every goal; change nothing. ``is_whole``: show what is well of many tenants, too."""
    findings: dict[str, list[Finding]] = {
        name: [Finding(Level.ERROR, "configuration", line) for line in lines]
        for name, lines in config.broken.items()
        if only in (None, name)
    }
    gone.refuse(config.path)
    readers = Readers(config.folder)
    async with opened(config, clock, is_look=True) as installation:
        for name in installation.names(only) if only not in config.broken else []:
            tenant = await installation.tenant(name)
            findings |= await checking.of_tenant(tenant)
            for own, doubled in readers.add(tenant).items():
                findings.setdefault(f"{name}/{own}", []).extend(doubled)
    findings = {account: [_typed(item, config) for item in items] for account, items in findings.items()}
    levels = {item.level for items in findings.values() for item in items}
    status = 2 if config.broken and only in (None, *config.broken) else int(bool(levels - {Level.OK}))
    data = {
        account: [{"level": f.level, "subject": f.subject, "message": f.message} for f in items]
        for account, items in findings.items()
    }
    whole = typed("bridge check --all", config.path)
    return Outcome(status, data, lambda: show_findings(findings, is_whole, whole))


def _typed(finding: Finding, config: Config) -> Finding:
    return replace(finding, message=typed(finding.message, config.path))


# --- auth --------------------------------------------------------------------------------------------------------


async def auth(config: Config, clock: Clock, wanted: Granting) -> Outcome:
    """The page on which access is granted, or the code it gave exchanged for tokens. Never needs the tenant's lock."""
    account = f"{wanted.tenant}/{wanted.source}"
    async with opened(config, clock) as installation:
        asked = installation.authorization(wanted.tenant, wanted.source)
        if wanted.answer is None:
            asked = replace(asked, advice=typed(asked.advice, config.path))
            return Outcome(0, {"account": account, "open": asked.page}, lambda: terminal.show_page(asked))
        tokens = await installation.grant(wanted.tenant, wanted.source, code_of(wanted.answer))
    ends = tokens.expires_at.isoformat() if tokens.expires_at else None
    told = f"{account} is authorized; a running daemon goes on with it within a minute"
    return Outcome(0, {"account": account, "expires_at": ends}, lambda: terminal.out.print(told, soft_wrap=True))


def code_of(answer: str) -> str:
    """The code in what a person brings back: the code itself, or the address the vendor's page has led to.

    Raises:
        ConfigError: there is no code in it, or access was denied.
    """
    text = answer.strip()
    if not text.startswith(("https://", "http://")):
        found = text
    else:
        query = parse_qs(urlsplit(text).query)
        if "error" in query:
            raise ConfigError("access was denied on the vendor's page; open it again and allow it")
        found = query.get("code", [""])[0]
    if not found:
        raise ConfigError("there is no code; give the code, or the whole address that the vendor's page has led to")
    return found


# --- hook remove -------------------------------------------------------------------------------------------------


async def hook_remove(config: Config, clock: Clock, tenant: str, source: str) -> Outcome:
    """Take our webhooks for a source away at the vendor. Never needs the tenant's lock."""
    async with opened(config, clock) as installation:
        done = await hooking.remove(installation, tenant, source)
    told = f"{done['removed']} taken away"
    if done["still_wanted"]:
        told += '; "bridge run" makes it anew: take "hook" out of the configuration, or set managed = false in it'
    return Outcome(0, done, lambda: terminal.out.print(told, soft_wrap=True, markup=False))


# --- run, sync ---------------------------------------------------------------------------------------------------


async def run(config: Config, clock: Clock, only: str | None, tick: float | None) -> Outcome:
    """The daemon, until stopped."""
    gone.refuse(config.path)
    async with opened(config, clock) as installation:
        await Daemon(installation, only, tick).run()
    return Outcome()


async def sync(config: Config, clock: Clock, only: str | None) -> Outcome:
    """One turn of every tenant; a tenant a daemon works for is left to it."""
    gone.refuse(config.path)
    done: dict[str, dict[str, int]] = {}
    hints: dict[str, str] = {}
    failing: set[str] = set()
    problems = switched_off(config, only)
    async with opened(config, clock) as installation:
        for name in installation.names(only) if only not in config.broken else []:
            try:
                async with installation.store.tenant_lock(name):
                    tenant = await installation.tenant(name)
                    progress = await cycle(tenant, force=True)
                done[name] = {key: count for key, count in progress.done.items() if count}
                hints[name] = quarantine_hint(tenant, progress.done, config.path)
                failing.update([name] if progress.problems else [])
                problems += [redact(f"{name}/{problem}") for problem in progress.problems]
                problems += await records_in_quarantine(installation.reports, name)
                problems += await _stuck(installation, tenant, progress)
            except LockHeld as error:
                problems.append(f"{error}; it needs no sync")
            except BridgeError as error:
                problems.append(redact(f"{name}: {type(error).__name__}: {error}"))
    problems = [typed(problem, config.path) for problem in problems]

    def show() -> None:
        for name, counts in done.items():
            is_idle = name in failing and not counts
            terminal.out.print(f"{name}: {'nothing done, see below' if is_idle else terminal.counted(counts)}")
            terminal.show_hint(hints[name])
        for problem in problems:
            terminal.out.print(f"! {problem}", style="yellow", markup=False, soft_wrap=True)

    return Outcome(exit_status(config, only, bool(problems)), {"done": done, "problems": problems}, show)


async def _stuck(installation: Installation, tenant: Tenant, progress: Progress) -> list[str]:
    """What destinations still wait for, though nothing of it was due in this turn; what has failed now is told."""
    lines: list[str] = []
    for own in tenant.destinations:
        found = await stuck(installation.reports, tenant.name, own, installation.clock.now())
        is_told = any(problem.startswith(f"{own}: ") for problem in progress.problems)
        lines += [line for line in found if not (is_told and line.startswith(f"{tenant.name}/{own}: failing "))]
    return lines


def switched_off(config: Config, only: str | None) -> list[str]:
    """What is wrong with the configuration of the tenants asked for; that of the others is not their trouble."""
    return [line for name, lines in config.broken.items() if only in (None, name) for line in lines]


def exit_status(config: Config, only: str | None, needs: bool) -> int:
    """The exit status: 2 where no tenant asked for has a sound configuration, 1 where something needs attention."""
    broken = bool(switched_off(config, only))
    is_none_left = broken and (only is not None or not config.tenants)
    return 2 if is_none_left else int(broken or needs)


# --- backfill, held resolve: request rows ------------------------------------------------------------------------


async def backfill(config: Config, clock: Clock, period: Period) -> Outcome:
    """Ask for a backfill and see it through."""
    gone.refuse(config.path)
    async with opened(config, clock) as installation:
        settings = installation.settings(period.tenant)
        if period.source is not None:
            installation.source_settings(period.tenant, period.source)  # raises for one that is not there
        zone = ZoneInfo(settings.timezone)
        since = moment(period.since, zone)
        until = moment(period.until, zone) if period.until else clock.now()
        if since >= until:
            raise ConfigError(f"--since {period.since} is not before the end of the period")
        arguments = {
            "since": since.isoformat(),
            "until": until.isoformat(),
            "source": period.source,
            "dry_run": period.is_dry,
            "until_now": period.until is None,
            "definition": await _definition(installation, period.tenant),
        }
        request = await installation.requests.add(period.tenant, "backfill", arguments)
        title = f"backfill {period.tenant}"
        finished = await see_through(installation, request, title, period.as_json)
        counts = dict(finished.progress.get("counts", {}))
        hint = quarantine_hint(await installation.tenant(period.tenant), counts, config.path)

    def show() -> None:
        word = "would be promised" if period.is_dry else "promised"
        planned = {key.removeprefix("planned "): n for key, n in counts.items() if key.startswith("planned ")}
        bad = f", {number(counts['quarantined'])} in quarantine" if counts.get("quarantined") else ""
        terminal.out.print(
            f"read {number(counts.get('listed', 0))} records, {number(counts.get('changed', 0))} new or changed{bad}"
        )
        terminal.show_hint(hint)
        for name, count in sorted(planned.items()):
            terminal.out.print(f"  {word}: {name}: {number(count)}{_unsendable(counts, name)}")
        if not planned:
            terminal.out.print("  nothing new to send")
        if period.is_dry:
            terminal.out.print("  What only a click on another new lead leads to is known to the real run alone.")

    return Outcome(0, {"request": finished.id, "dry_run": period.is_dry, "counts": counts}, show)


async def _definition(installation: Installation, name: str) -> str:
    """The goals as they are: one that goes on for an interrupted backfill judges what was read by the same."""
    digests = (await installation.tenant(name)).digests
    return goal_definitions.fingerprint(digests, digests)


def _unsendable(counts: Mapping[str, int], name: str) -> str:
    """How many of these promises are made in vain: `` (3 too late to be sent)``."""
    told = (("late", "too late to be sent"), ("refused", "the destination cannot take"))
    parts = [f"{number(counts[f'{key} {name}'])} {words}" for key, words in told if counts.get(f"{key} {name}")]
    return f" ({', '.join(parts)})" if parts else ""


_RESOLVED = {"resend": "will be sent again", "accepted": "recorded as accepted", "cancel": "will never be sent"}


async def held_resolve(config: Config, clock: Clock, decision: Decision) -> Outcome:
    """Ask for a resolution and see it through."""
    async with opened(config, clock) as installation:
        installation.settings(decision.tenant)
        rows = await installation.reports.held(decision.tenant)
        known = {row.id for row in rows}
        unknown = [key for key in decision.deliveries if key not in known]
        if unknown:
            raise ConfigError(f'not held: {", ".join(unknown)}; see "bridge held list --tenant {decision.tenant}"')
        wanted = list(decision.deliveries) or sorted(known)
        arguments = {"deliveries": wanted, "as": decision.resolution}
        request = await installation.requests.add(decision.tenant, "resolve", arguments)
        finished = await see_through(installation, request, "held resolve", True)
    counts = finished.progress.get("counts", {})
    resolved, gone = counts.get("resolved", 0), counts.get("deleted", 0)
    parts = [f"{number(resolved)} {_RESOLVED[decision.resolution]}"] if resolved else []
    parts += [f"{number(gone)} cancelled: their deals were deleted in the CRM meanwhile"] if gone else []
    told = ", ".join(parts) or "nothing is held any more"
    return Outcome(0, {"resolved": resolved, "deleted": gone}, lambda: terminal.out.print(told))


def moment(text: str, zone: ZoneInfo) -> datetime:
    """A date or time given on the command line, in the tenant's time zone unless it names its own.

    Raises:
        ConfigError: it is neither.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f'"{text}" is no date; write 2026-03-01 or "2026-03-01 14:30"') from None
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)


# --- reading commands --------------------------------------------------------------------------------------------


async def explain(config: Config, clock: Clock, name: str, text: str) -> Outcome:
    """The chain behind one deal."""
    async with opened(config, clock) as installation:
        tenant = await installation.tenant(name)
        zone = ZoneInfo(tenant.settings.timezone)
        found = await installation.reports.find_deals(name, text)
        if not found:
            bad = await installation.reports.quarantined(name, text)
            is_unread = all([await tenant.records.is_empty(name, own) for own in tenant.sources])
            return _not_found(name, text, bad, is_unread, config)
        data = [
            await explanation.explain(tenant, await installation.reports.deal(name, source, key))
            for source, key in found
        ]
    for item in data:
        for judgement in (*item["judgements"], *item["not_promised"]):
            judgement["reason"] = typed(judgement["reason"], config.path)

    def show() -> None:
        if len(data) > 1:
            terminal.show_candidates(text, [f"{source}/{key}" for source, key in found])
        for item in data:
            terminal.show_explanation(item, zone)

    return Outcome(0, data[0] if len(data) == 1 else data, show)


def _not_found(
    tenant: str, text: str, quarantined: Sequence[tuple[str, str, str]], is_unread: bool, config: Config
) -> Outcome:
    if quarantined:
        lines = [f"{source}: in quarantine: {code}: {message}; {advice(code)}" for source, code, message in quarantined]
    else:
        older = f'what is older than the first poll is read by "bridge backfill --tenant {tenant} --since DAY"'
        unread = f'nothing is stored of it yet, "bridge sync --tenant {tenant}" reads it; {older}'
        lines = [typed(f"{tenant} has no deal {text}; {unread if is_unread else older}", config.path)]

    def show() -> None:
        for line in lines:
            terminal.out.print(line, markup=False, soft_wrap=True)

    return Outcome(1, {"deal": None, "problems": lines}, show)


async def held_list(config: Config, clock: Clock, only: str | None) -> Outcome:
    """Deliveries that wait for a human; exit status 1 when there are any."""
    async with opened(config, clock) as installation:
        if only is not None:
            installation.settings(only)
        rows = await installation.reports.held(only)
    data = [
        {
            "delivery": row.id,
            "tenant": row.tenant,
            "destination": row.destination,
            "deal": row.deal,
            "goal": row.goal,
            "occurrence": row.occurrence,
            "occurred_at": row.occurred_at.isoformat(),
            "reason": row.code,
            "since": row.since.isoformat(),
        }
        for row in rows
    ]
    broken = switched_off(config, only)
    resolve = typed("bridge held resolve", config.path)

    def show() -> None:
        terminal.show_held(rows, resolve)

    for line in broken:  # not among the rows: what they are is a public interface
        terminal.err.print(f"! {typed(line, config.path)}", style="yellow", markup=False, soft_wrap=True)
    return Outcome(exit_status(config, only, bool(rows)), data, show)


def adapters() -> Outcome:
    """Every adapter found, with its traits."""
    specs = registry.adapters()
    data: Mapping[str, Any] = {
        kind: {
            "title": spec.title,
            "source": spec.source is not None,
            "destination": spec.destination is not None,
            "proof": spec.destination.traits.proof if spec.destination else None,
            "accepts": list(spec.destination.traits.accepts) if spec.destination else [],
            "adjusts": spec.destination.traits.adjusts if spec.destination else None,
            "apis": [{"name": api.name, "version": api.version, "sunset": api.sunset} for api in spec.apis],
        }
        for kind, spec in specs.items()
    }
    return Outcome(0, data, lambda: terminal.show_adapters(specs))
