"""Goals that cannot go where they are sent, and deals that would be counted twice: for ``bridge check``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from bridge.ports import Finding, Level, SharesGoals
from bridge.tenant import Tenant


def findings(tenant: Tenant) -> list[Finding]:
    """What the tenant's goals and destinations do to each other."""
    return [*_payments(tenant), *_counted_twice(tenant), *_alike(tenant)]


def _payments(tenant: Tenant) -> Iterator[Finding]:
    """A destination that keeps one order per deal cannot tell its payments apart."""
    routes = tenant.routes()
    for goal in tenant.settings.goals:
        for route in routes[goal.name] if goal.is_per_payment else ():
            if route.traits.deal_orders is not None:
                text = f"{route.destination} keeps one order per deal, this goal is per payment: nothing is sent there"
                yield Finding(Level.ERROR, f"goal {goal.name}", f'{text}; send it a goal with per = "deal"')


def _alike(tenant: Tenant) -> Iterator[Finding]:
    """Goals of ours that are one goal at a destination. People may be told of several under one name."""
    named: dict[tuple[str, str], list[str]] = defaultdict(list)
    for goal, routes in tenant.routes().items():
        for route in routes:
            if route.traits.deal_orders is None and route.traits.needs_click:
                named[route.destination, route.target].append(goal)
    for (destination, target), goals in named.items():
        if len(goals) > 1:
            text = f"{' and '.join(goals)} are both {target!r} there: a deal that reaches both is counted twice"
            yield Finding(Level.WARNING, destination, f"{text}; give each a goal of its own there, or make one of them")


def _counted_twice(tenant: Tenant) -> Iterator[Finding]:
    """One goal of a vendor that two destinations reach."""
    reached: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for goal, routes in tenant.routes().items():
        for route in routes:
            port = tenant.destinations[route.destination].port
            shared = port.shared_goal(route.target) if isinstance(port, SharesGoals) else ""
            if shared:
                reached[shared][route.destination].append(goal)
    for shared, senders in reached.items():
        if len(senders) > 1:
            told = " and ".join(f"{name} (goal {', '.join(goals)})" for name, goals in senders.items())
            text = f"reached by {told}: deals would be counted twice; give each destination a goal of its own there"
            yield Finding(Level.ERROR, shared, text)
