"""``bridge check`` of one tenant: every account is asked, every goal compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bridge import clashes, hooking, lacking, percents, trackers, unsent
from bridge.catalogue import Catalogue
from bridge.errors import BridgeError
from bridge.loops import definitions, estimates, retirement
from bridge.ports import Finding, Level, Source
from bridge.rules.names import gist
from bridge.rules.qualify import Compiled, compile_goals
from bridge.tenant import Tenant


async def of_tenant(tenant: Tenant) -> dict[str, list[Finding]]:
    """By account, and by the tenant's own name: what is well and what is not. Changes nothing."""
    findings: dict[str, list[Finding]] = {}
    compiled: dict[str, Compiled | None] = {}
    settings = tenant.settings
    for name, source in tenant.sources.items():
        account = f"{tenant.name}/{name}"
        if source.port is None:
            findings[account] = [Finding(Level.ERROR, "settings", source.error)]
            continue
        findings[account] = [*await _asked(source.port.check), *await hooking.findings(source)]
        if source.port.traits.brings_touches:
            findings[account].append(trackers.finding(tenant, source))
        else:
            names = await _names(source.port)
            compiled[name] = None if names is None else _compiled(tenant, names)
            findings[account] += [] if names is None else unsent.without_yes(settings, names)
    for name, missed in lacking.findings(tenant):
        findings[f"{tenant.name}/{name}"].append(missed)
    for name, found in compiled.items():
        others = [other for key, other in compiled.items() if key != name and other is not None]
        findings[f"{tenant.name}/{name}"] += _goal_findings(found, others)
    for name, destination in tenant.destinations.items():
        account = f"{tenant.name}/{name}"
        if destination.port is None:
            findings[account] = [Finding(Level.ERROR, "settings", destination.error)]
            continue
        targets = {goal.name: goal.send[name] for goal in settings.goals if name in goal.send}
        port = destination.port
        findings[account] = await _asked(lambda port=port, targets=targets: port.check(targets))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
    own = [*unsent.findings(settings), *clashes.findings(tenant), *await estimates.findings(tenant)]
    findings[tenant.name] = [*own, *await definitions.findings(tenant)]
    findings[tenant.name] += [
        *unsent.withheld(settings),
        *percents.findings(settings),
        *retirement.findings(tenant),
    ]
    if not settings.goals:
        findings[tenant.name] = [Finding(Level.WARNING, "goals", "no goals: nothing will ever be sent; add [[goals]]")]
    return {account: items for account, items in findings.items() if items or account != tenant.name}


async def _asked(ask: Callable[[], Any]) -> list[Finding]:
    try:
        return list(await ask())
    except BridgeError as error:
        return [Finding(Level.ERROR, "connection", f"{type(error).__name__}: {error}")]


async def _names(port: Source) -> Catalogue | None:
    """What the source can name; None when it cannot be asked: its own findings say why."""
    try:
        return await port.catalogue()
    except BridgeError:
        return None


def _compiled(tenant: Tenant, catalogue: Catalogue) -> Compiled:
    """The goals as one source understands them."""
    settings = tenant.settings
    return compile_goals(settings.goals, catalogue, settings.currency, scores=settings.scores)


def _goal_findings(own: Compiled | None, others: Sequence[Compiled]) -> list[Finding]:
    """A name is wrong when no source of the tenant knows it: stages of one CRM are no errors of the other.

    A table knows only the names that have occurred in it, so what is missing there may be misspelt or only rare.
    """
    if own is None:
        return []
    missed = [({gist(line) for line in other.problems}, {gist(line) for line in other.doubts}) for other in others]

    def is_missed(line: str) -> bool:
        return all(gist(line) in problems | doubts for problems, doubts in missed)

    def is_doubtful(line: str) -> bool:
        return any(gist(line) in doubts for _, doubts in missed)

    findings = []
    for line in filter(is_missed, own.problems):
        findings.append(Finding(Level.WARNING if is_doubtful(line) else Level.ERROR, "goals", line))
    for line in filter(is_missed, own.doubts):
        findings.append(Finding(Level.WARNING, "goals", f"{line}; it has not occurred in this source so far"))
    return findings or [Finding(Level.OK, "goals", "every name in the goals exists")]
