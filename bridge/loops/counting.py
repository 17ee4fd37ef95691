"""Counts of what a page brought, for people: promises, and which of them destinations would not take any more."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.ports import Pass
from bridge.store.records import Assessed, Page
from bridge.tenant import Progress, Tenant

_LOST = {Pass.EXPIRED: "late", Pass.REFUSED: "refused"}


def count(page: Page) -> Progress:
    """What a page brought."""
    counts = Progress()
    counts.done["quarantined"] = len(page.bad) + len(page.failed)
    counts.done["planned"] = sum(len(item.plan.deliveries) for item in page.assessed)
    counts.done["withdrawn"] = sum(len(item.plan.withdrawn) for item in page.assessed)
    counts.done["restored"] = sum(len(item.plan.restored) for item in page.assessed)
    for item in page.assessed:
        for promise in item.plan.deliveries:
            counts.done[f"planned {promise.content.goal} -> {promise.destination}"] += 1
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
