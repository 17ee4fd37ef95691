"""Whose order a deal made from a lead is: no two deals are told in one order, whichever is read first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest

from bridge.catalogue import Catalogue
from bridge.config import Goal
from bridge.frozen import replace
from bridge.identity import deal_order_key
from bridge.loops import deliver
from bridge.model import Deal, IdKind
from bridge.ports import DealOrders, DestinationTraits, Proof
from bridge.store import Store, codec, schema
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.unit.loops.kit import MINUTE, Ads, Crm, office
from tests.unit.loops.test_family import made_from, read
from tests.unit.loops.test_poll import NAMES, SALE, lead

ORDERS = DealOrders(frozenset(), frozenset(SALE.send.values()))
TRAITS = DestinationTraits(Proof.ROW, (IdKind.YCLID,), adjusts=True, deal_orders=ORDERS)
LEAD = lead(1, stage="10")  # still open: nothing is told of it
FIRST = made_from(LEAD, 7310)
SECOND = replace(made_from(LEAD, 7311), created_at=FIRST.created_at + MINUTE)


@pytest.mark.parametrize("order", [*permutations([LEAD, FIRST, SECOND])])
async def test_each_of_two_deals_has_an_order_of_its_own(order: Sequence[Deal], store: Store) -> None:
    """One of them carries the lead's on, and keeps it when it is read again."""
    crm = Crm(names=Catalogue(is_open=True))
    made = office(store, {ADS: Ads(TRAITS)}, {"crm": crm}, [SALE])
    for deal in order:
        await read(made, crm, deal)
    first = await keys(store)
    assert len(set(first)) == 2
    assert deal_order_key(TENANT, "crm", LEAD.key) in first
    for deal in reversed(order):
        await read(made, crm, replace(deal, version="again"))
    assert await keys(store) == first


async def keys(store: Store) -> list[str]:
    """The order of each row that is promised."""
    return [codec.outgoing(row["content"]).order_key for row in await rows_kit.rows(store, schema.delivery)]


async def test_the_order_of_a_lead_that_has_arrived_is_followed(store: Store) -> None:
    """Whoever asks before sending whether its deal's row is too late must know that it begins no order."""
    crm = Crm(names=NAMES)
    goals = [Goal.model_validate({"name": "new", "when": {"stage": "Новая"}, "send": {ADS: "new"}}), SALE]
    made = office(store, {ADS: Ads(TRAITS)}, {"crm": crm}, goals)
    await read(made, crm, LEAD)
    made.clock.advance(MINUTE)
    await deliver.once(made.tenant, force=True)
    await read(made, crm, FIRST)
    rows = [codec.outgoing(row["content"]) for row in await rows_kit.rows(store, schema.delivery)]
    assert sorted((row.goal, row.follows) for row in rows) == [("new", False), ("sale", True)]
