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
from bridge.store.relatives import InOrder
from bridge.tenant import Tenant


async def roots(tenant: Tenant, source: str, deals: Sequence[Deal]) -> Mapping[str, Root]:
    """For each of these deals that carries a lead's order on: the lead."""
    parents = sorted({deal.parent for deal in deals if deal.parent is not None})
    keeping = tenant.keeping_orders
    if not parents or not keeping:
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
    told = await _told(tenant, source, parents, keeping)
    first |= {lead: min(others) for lead, rows in told.items() if (others := {r.deal for r in rows} - {lead})}
    return {
        deal.key: Root(deal.parent, came.get(deal.parent, deal.created_at), _arrived(told[deal.parent]))
        for deal in deals
        if deal.parent is not None and first[deal.parent] == deal.key
    }


async def _told(
    tenant: Tenant, source: str, leads: Sequence[str], keeping: Collection[str]
) -> defaultdict[str, list[InOrder]]:
    """What the order of each of these leads tells, of the lead or of a deal made from it."""
    keys = {deal_order_key(tenant.name, source, lead): lead for lead in leads}
    found: defaultdict[str, list[InOrder]] = defaultdict(list)
    for row in await relatives.in_orders(tenant.store, tenant.name, keeping, keys):
        found[keys[row.order]].append(row)
    return found


def _arrived(rows: Sequence[InOrder]) -> frozenset[str]:
    return frozenset([row.destination for row in rows if row.has_arrived])


async def arrivals(tenant: Tenant, source: str, leads: Sequence[str], deals: Sequence[Deal]) -> dict[str, datetime]:
    """When these leads came in: those among ``deals``, and those that are stored."""
    found = await tenant.records.created(tenant.name, source, leads)
    return found | {deal.key: deal.created_at for deal in deals if deal.key in leads}
