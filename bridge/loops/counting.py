"""Counts of what a page brought, for people: promises, and which of them destinations would not take any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from bridge.ports import Pass
from bridge.store.records import Assessed, Page
from bridge.tenant import Progress, Tenant

_LOST = {Pass.EXPIRED: "late", Pass.REFUSED: "refused"}


def count(page: Page) -> Progress:
    """What a page brought."""
    counts = Progress()
    counts.done["quarantined"] = len(page.bad) + len(page.failed)
    plans = [item.plan for item in page.assessed]
    promises = Counter([(new.content.goal, new.destination) for plan in plans for new in plan.deliveries])
    counts.done["planned"] = promises.total()
    counts.done["withdrawn"] = sum([len(plan.withdrawn) for plan in plans])
    counts.done["restored"] = sum([len(plan.restored) for plan in plans])
    for (goal, destination), number in promises.items():
        counts.done[f"planned {goal} -> {destination}"] = number
    return counts


def unsendable(tenant: Tenant, assessed: Iterable[Assessed]) -> Progress:
    """Promises that could not be sent at this moment: ``late`` (their window has closed) and ``refused``, in all and by
    goal and destination.

    A row at which the adapter fails is left out: sending it will tell.
    """
    counts, now = Progress(), tenant.clock.now()
    for promise in (promise for item in assessed for promise in item.plan.deliveries):
        port = tenant.destinations[promise.destination].port
        if port is None:
            continue
        try:
            word = _LOST.get(port.admit(promise.content, now).verdict)
        except Exception:  # noqa: S112 - the delivery loop logs it, and decides what becomes of the row
            continue
        if word is not None:
            counts.done[word] += 1
            counts.done[f"{word} {promise.content.goal} -> {promise.destination}"] += 1
    return counts
