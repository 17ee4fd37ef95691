"""Whose order a deal's is, at destinations that keep one per deal: that of the lead it was converted from, or its own.

A lead may be converted into several deals, which are several sales: the first that came in carries the lead's order on,
the others have their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from bridge.model import Deal
from bridge.rules.deal_orders import Root
from bridge.tenant import Tenant


async def roots(tenant: Tenant, source: str, deals: Sequence[Deal]) -> Mapping[str, Root]:
    """For each of these deals that carries a lead's order on: the lead."""
    parents = sorted({deal.parent for deal in deals if deal.parent is not None})
    if not parents or not any(route.traits.deal_orders for to in tenant.routes().values() for route in to):
        return {}
    stored = await tenant.records.children(tenant.name, source, parents)
    children: dict[str, set[tuple[datetime, str]]] = defaultdict(set)
    for lead, found in stored.items():
        children[lead] |= {(child.created_at, child.deal) for child in found}
    for deal in deals:
        if deal.parent is not None:
            children[deal.parent].add((deal.created_at, deal.key))
    came = await arrivals(tenant, source, parents, deals)
    first = {lead: min(found)[1] for lead, found in children.items()}
    return {
        deal.key: Root(deal.parent, came.get(deal.parent, deal.created_at))
        for deal in deals
        if deal.parent is not None and first[deal.parent] == deal.key
    }


async def arrivals(tenant: Tenant, source: str, leads: Sequence[str], deals: Sequence[Deal]) -> dict[str, datetime]:
    """When these leads came in: those among ``deals``, and those that are stored."""
    found = await tenant.records.created(tenant.name, source, leads)
    return found | {deal.key: deal.created_at for deal in deals if deal.key in leads}
