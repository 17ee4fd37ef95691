"""Orders of deals beside merges and consent: one sale is in one order, and what may not be told leaves it as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from bridge.config import Goal
from bridge.consent import ConsentedSettings
from bridge.loops import assess, deliver, poll
from bridge.model import Deal, DealKind, IdKind, Outcome
from bridge.ports import DealOrders, DestinationTraits, Proof
from bridge.store import Store, codec
from tests.store.kit import ADS
from tests.support import START
from tests.unit.loops.kit import MINUTE, Ads, Crm, Office, office
from tests.unit.loops.test_poll import NAMES, lead

ORDERS = DealOrders(frozenset({"NEW"}), frozenset({"PAID", "LOST"}), apart=timedelta(0))
TRAITS = DestinationTraits(Proof.ROW, (IdKind.YCLID,), adjusts=True, deal_orders=ORDERS)
GOALS = [
    Goal.model_validate({"name": "created", "when": {"outcome": ["open", "won"]}, "send": {ADS: "NEW"}}),
    Goal.model_validate({"name": "sale", "when": {"outcome": "won"}, "value": 100, "send": {ADS: "PAID"}}),
]
AWAY = Deal(DealKind.LEAD, "1", "gone", START, START, "", "", Outcome.OPEN, is_deleted=True, merged_into="lead:2")


def at_work(store: Store) -> tuple[Crm, Office]:
    crm = Crm(names=NAMES)
    return crm, office(store, {ADS: Ads(traits=TRAITS)}, {"crm": crm}, GOALS)


async def read(made: Office, crm: Crm, *deals: Deal) -> None:
    """Read, judged, and sent as long as there is something to send."""
    crm.scans = [[crm.shows(*deals)], []]
    made.clock.advance(MINUTE)
    assert (await poll.once(made.tenant, force=True)).problems == []
    await assess.once(made.tenant)
    for _ in range(3):
        made.clock.advance(MINUTE)
        await deliver.once(made.tenant, force=True)


async def told(made: Office) -> list[list[str]]:
    """What each order was told, in the order of telling; the order of the first row first."""
    orders: dict[str, list[str]] = {}
    for row in sorted((await made.rows()).values(), key=lambda row: row["updated_at"]):
        content = codec.outgoing(row["content"])
        if row["state"] == "accepted":
            orders.setdefault(content.order_key, []).append(content.target)
    return list(orders.values())


async def test_a_sale_that_was_told_is_not_told_of_the_record_it_was_merged_into(store: Store) -> None:
    """The survivor wins the same sale: its order is the one that is there."""
    crm, made = at_work(store)
    await read(made, crm, lead(1))
    assert await told(made) == [["NEW", "PAID"]]
    await read(made, crm, AWAY, lead(2))
    await read(made, crm, replace(lead(2), version="v9"))
    assert await told(made) == [["NEW", "PAID"]]


async def test_a_sale_after_the_merge_is_told_once(store: Store) -> None:
    """Of the survivor, whose order begins with it; the order of the one that is gone stays as it was."""
    crm, made = at_work(store)
    await read(made, crm, lead(1, stage="10"))
    await read(made, crm, AWAY, lead(2))
    assert await told(made) == [["NEW"], ["PAID"]]


async def test_an_order_stays_what_it_was_when_its_person_no_longer_agrees(store: Store) -> None:
    """What was told cannot be untold; nothing more is, until there is a yes again."""
    crm, made = at_work(store)
    consent = {"field": "Согласие", "required": True}
    made.tenant.destinations[ADS].settings = ConsentedSettings.model_validate({"kind": "ads", "consent": consent})

    def answered(deal: Deal, text: str, version: str) -> Deal:
        return replace(deal, version=version, fields={"Согласие": (text,)})

    await read(made, crm, answered(lead(1, stage="10"), "да", "v1"))
    assert await told(made) == [["NEW"]]
    await read(made, crm, answered(lead(1), "нет", "v2"))
    assert await told(made) == [["NEW"]]
    await read(made, crm, answered(lead(1), "да", "v3"))
    assert await told(made) == [["NEW", "PAID"]]
