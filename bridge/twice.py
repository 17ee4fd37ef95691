"""Two sources that read one account and reach one goal of a vendor: each conversion would be told under two names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bridge.config import Goal
from bridge.frozen import frozen
from bridge.ports import Finding, Level, SharesAccount, SharesGoals
from bridge.rules.names import path as comparable
from bridge.rules.names import plain
from bridge.tenant import DestinationUnit, SourceUnit, Tenant


@frozen
class _Way:
    """One source's way to a goal. ``pipelines``: the only ones it comes through; None: any."""

    source: str
    pipelines: frozenset[str] | None

    def meets(self, other: _Way) -> bool:
        """Whether one deal can go both ways."""
        if self.pipelines is None or other.pipelines is None:
            return True
        return not self.pipelines.isdisjoint(other.pipelines)


@dataclass(slots=True)
class Readers:
    """Who reads what and sends it where. Tenants are added one by one, however many there are: all are compared."""

    folder: Path
    _ways: defaultdict[tuple[str, str, str], list[_Way]] = field(default_factory=lambda: defaultdict(list))

    def add(self, tenant: Tenant) -> dict[str, list[Finding]]:
        """What this tenant's sources tell again of what is told already: by own name, each other source once."""
        goals = list(_goals_of(tenant, self.folder))
        if not goals:
            return {}
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for unit in tenant.sources.values():
            if unit.brings_touches:
                continue
            for account in sorted(_accounts(unit, self.folder)):
                for goal, vendor_goal in goals:
                    other = self._met(
                        (unit.settings.kind, account, vendor_goal), _Way(f"{tenant.name}/{unit.name}", _pipelines(goal))
                    )
                    told = found[unit.name, other] if other else []
                    if other and vendor_goal not in told:
                        told.append(vendor_goal)
        findings: dict[str, list[Finding]] = defaultdict(list)
        for (name, other), reached in found.items():
            findings[name].append(_finding(other, f"{tenant.name}/{name}", reached))
        return findings

    def _met(self, place: tuple[str, str, str], way: _Way) -> str:
        """The first other source on the same way; a tenant that is added again (its lock was lost) meets not itself."""
        ways = self._ways[place]
        met = next((one.source for one in ways if one.source != way.source and one.meets(way)), "")
        if way not in ways:
            ways.append(way)
        return met


def _finding(first: str, second: str, reached: list[str]) -> Finding:
    goals = f"goal{'' if len(reached) == 1 else 's'}"
    text = f"{first} and {second} read the same account and reach the same {goals} ({'; '.join(reached)})"
    return Finding(Level.ERROR, "account", f"{text}: every conversion is counted twice; remove one of them")


def _accounts(unit: SourceUnit, folder: Path) -> frozenset[str]:
    return unit.settings.shared_accounts(folder) if isinstance(unit.settings, SharesAccount) else frozenset()


def _goals_of(tenant: Tenant, folder: Path) -> Iterator[tuple[Goal, str]]:
    """Goals of the tenant with those of vendors that they reach, in words no other one has."""
    units: Mapping[str, DestinationUnit] = tenant.destinations
    for goal in tenant.settings.goals:
        for name, target in goal.send.items():
            for words in _vendor_goals(units[name], target, folder):
                yield goal, words


def _vendor_goals(unit: DestinationUnit, target: str, folder: Path) -> list[str]:
    if isinstance(unit.port, SharesGoals):
        shared = unit.port.shared_goal(target)
        return [shared] if shared else []
    if isinstance(unit.settings, SharesAccount):
        return [f'"{target}" of {account}' for account in sorted(unit.settings.shared_accounts(folder))]
    return []


def _pipelines(goal: Goal) -> frozenset[str] | None:
    """The pipelines that a goal names, by itself or with its stages."""
    when = goal.when
    if when.pipeline is not None:
        return frozenset(map(plain, when.pipeline))
    stages = [comparable(name).partition("/") for name in when.stage or ()]
    if stages and all(stroke for _, stroke, _ in stages):
        return frozenset(pipeline for pipeline, _, _ in stages)
    return None
