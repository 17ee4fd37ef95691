"""Product rows through the store: kept with the deal, and a value made of them follows them like an edited amount."""

from __future__ import annotations

from decimal import Decimal

from bridge.config import Goal
from bridge.frozen import replace
from bridge.loops import assess, deliver, poll
from bridge.model import Deal
from bridge.products import Product
from bridge.store import Store, schema
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.unit.loops.kit import MINUTE, TRAITS, Ads, Crm, Office, office
from tests.unit.loops.test_poll import NAMES, lead

SHARES = {"products": {"Окна*": 0.3, "*": 0.1}}
GOAL = {"name": "sale", "when": {"outcome": "won"}, "value": SHARES, "send": {ADS: "deal_won"}}


def row(name: str, price: str) -> Product:
    return Product("", name, Decimal(price), Decimal("1.5"), "RUB")


def sold(*rows: Product) -> Deal:
    """A won deal, in a version of its own for each set of rows."""
    return replace(lead(1), version=f"v{[(one.name, one.price) for one in rows]}", products=rows)


async def at_work(store: Store) -> tuple[Crm, Office]:
    crm = Crm(names=NAMES)
    return crm, office(store, {ADS: Ads(replace(TRAITS, adjusts=True))}, {"crm": crm}, [Goal.model_validate(GOAL)])


async def polled(made: Office, crm: Crm, deal: Deal) -> None:
    crm.scans = [[crm.shows(deal)], []]
    made.clock.advance(MINUTE)
    assert (await poll.once(made.tenant, force=True)).problems == []
    await assess.once(made.tenant)


async def values(store: Store) -> list[tuple[str, int | None]]:
    """Of each conversion, oldest first: its kind and its value in kopecks."""
    found = await rows_kit.rows(store, schema.conversion)
    return [(row["kind"], row["value_minor"]) for row in sorted(found, key=lambda row: row["revision"])]


async def test_a_value_follows_its_rows(store: Store) -> None:
    """Before it is sent it is replaced; after that told anew; read again, unchanged rows say nothing."""
    crm, made = await at_work(store)
    await polled(made, crm, sold(row("Окна", "1000.335")))
    assert await values(store) == [("original", 45015)]
    await polled(made, crm, sold(row("Окна", "1000"), row("Монтаж", "200")))
    assert await values(store) == [("original", 48000)]
    await deliver.once(made.tenant, force=True)
    now = sold(row("Окна", "1000"), row("Монтаж", "200"), row("Доставка", "-100"))
    for deal in (now, replace(now, version="again")):
        await polled(made, crm, deal)
    assert await values(store) == [("original", 48000), ("restatement", 46500)]
    assert (await made.tenant.records.facts(TENANT, "crm", ["lead:1"]))["lead:1"].deal.products == now.products


async def test_a_reading_without_rows_leaves_those_known(store: Store) -> None:
    """The right was taken away, the setting switched off, or the deal deleted: no value is taken back for that."""
    crm, made = await at_work(store)
    rows = (row("Окна", "1000"),)
    await polled(made, crm, sold(*rows))
    await polled(made, crm, replace(lead(1), version="refused"))
    await polled(made, crm, replace(lead(1), version="deleted", is_deleted=True))
    assert await values(store) == [("original", 45000)]
    assert (await made.tenant.records.facts(TENANT, "crm", ["lead:1"]))["lead:1"].deal.products == rows
    await polled(made, crm, sold())
    assert await values(store) == [("original", None)]
