"""Whose order a deal's is, at destinations that keep one per deal: that of the lead it was converted from, or its own.

A lead may be converted into several deals, which are several sales: the first that came in carries the lead's order on,
the others have their own. One that has carried it on so far goes on doing so, whoever becomes known later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from bridge.identity import deal_order_key
from bridge.model import Deal
from bridge.rules.deal_orders import Root
from bridge.store import relatives
from bridge.tenant import Tenant


async def roots(tenant: Tenant, source: str, deals: Sequence[Deal]) -> Mapping[str, Root]:
    """For each of these deals that carries a lead's order on: the lead."""
    parents = sorted({deal.parent for deal in deals if deal.parent is not None})
    keeping = {route.destination for to in tenant.routes().values() for route in to if route.traits.deal_orders}
    if not parents or not keeping:
        return {}
    stored = await tenant.records.children(tenant.name, source, parents)
    children: dict[str, set[tuple[datetime, str]]] = defaultdict(set)
    for lead, found in stored.items():
        children[lead] |= {(child.created_at, child.deal) for child in found}
    for deal in deals:
        if deal.parent is not None:
            children[deal.parent].add((deal.created_at, deal.key))
    came = await _came(tenant, source, parents, deals)
    first = {lead: min(found)[1] for lead, found in children.items()}
    first |= await _carriers(tenant, source, parents, keeping)
    return {
        deal.key: Root(deal.parent, came.get(deal.parent, deal.created_at))
        for deal in deals
        if deal.parent is not None and first[deal.parent] == deal.key
    }


async def _carriers(tenant: Tenant, source: str, leads: Sequence[str], keeping: Collection[str]) -> dict[str, str]:
    """For each lead whose order tells of a deal already: that deal."""
    keys = {deal_order_key(tenant.name, source, lead): lead for lead in leads}
    told = await relatives.told_in(tenant.store, tenant.name, keeping, keys)
    found = sorted((keys[key], deal) for key, deal in told)
    return {lead: deal for lead, deal in reversed(found) if deal != lead}


async def _came(tenant: Tenant, source: str, leads: Sequence[str], deals: Sequence[Deal]) -> dict[str, datetime]:
    stored = await tenant.records.facts(tenant.name, source, leads)
    found = {key: facts.deal.created_at for key, facts in stored.items()}
    return found | {deal.key: deal.created_at for deal in deals if deal.key in leads}
