"""Payments through the store: what was read is joined, whatever came first, and each payment counts once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest

from bridge.config import Goal
from bridge.frozen import replace
from bridge.loops import assess, poll, reread
from bridge.model import Deal, Money, Payment, PaymentState
from bridge.store import Store, schema
from bridge.tenant import Progress
from tests.store import kit as rows_kit
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import HOUR, MINUTE, Ads, Crm, Office, office
from tests.unit.loops.test_poll import NAMES, lead

GOAL = {"name": "paid", "when": {"outcome": "won"}, "per": "payment", "value": "payment", "send": {ADS: "deal_paid"}}
PAID, REFUNDED, UNPAID = PaymentState.PAID, PaymentState.REFUNDED, PaymentState.UNPAID


def paid(number: int, state: PaymentState = PAID) -> Payment:
    """Payments 1 and 2 of one second, 3 an hour later."""
    at = START - HOUR + (HOUR if number > 2 else 0 * HOUR)
    return Payment(f"payment:{number}", state, Money(100 * number, "RUB"), at if state is not UNPAID else None)


def sold(*payments: Payment) -> Deal:
    """A won deal, in a version of its own for each set of payments."""
    version = ",".join(f"{one.id}={one.state}" for one in payments)
    return replace(lead(1), version=f"v {version}", payments=payments)


async def at_work(store: Store, ads: Ads | None = None) -> tuple[Crm, Office]:
    crm = Crm(names=NAMES)
    return crm, office(store, {ADS: ads or Ads()}, {"crm": crm}, [Goal.model_validate(GOAL)])


async def polled(made: Office, crm: Crm, deal: Deal) -> Progress:
    crm.scans = [[crm.shows(deal)], []]
    made.clock.advance(MINUTE)
    progress = await poll.once(made.tenant, force=True)
    assert progress.problems == []
    await assess.once(made.tenant)
    return progress


async def conversions(store: Store) -> set[tuple[str, str, int]]:
    """Occurrence, id and value of each."""
    found = await rows_kit.rows(store, schema.conversion)
    return {(row["occurrence"], row["id"], row["value_minor"]) for row in found}


READINGS = [sold(paid(1)), sold(paid(1), paid(2)), sold(paid(2), paid(3))]


@pytest.mark.parametrize("order", [*permutations(READINGS), (READINGS[2], READINGS[2], READINGS[0], READINGS[1])])
async def test_readings_in_any_order_give_the_same_conversions(order: Sequence[Deal], store: Store) -> None:
    """Polls and looks by key mixed, some repeated: three payments, three conversions in three seconds."""
    crm, made = await at_work(store)
    for number, deal in enumerate(order):
        if number % 2:
            crm.holds(deal)
            await reread.reread(made.tenant, made.tenant.sources["crm"], [deal.key])
        else:
            await polled(made, crm, deal)
    found = await conversions(store)
    assert {(occurrence, value) for occurrence, _, value in found} == {
        ("payment:1", 100),
        ("payment:2", 200),
        ("payment:3", 300),
    }
    rows = await rows_kit.rows(store, schema.conversion)
    assert len({row["order_key"] for row in rows}) == len({row["occurred_at"] for row in rows}) == 3
    assert len(await made.rows()) == 3
    ids = {one for _, one, _ in found}
    await polled(made, crm, sold(paid(1), paid(2), paid(3)))
    assert {one for _, one, _ in await conversions(store)} == ids


async def test_a_refund_that_was_read_as_unpaid_takes_the_promise_back(store: Store) -> None:
    """The source only says that it is not paid; what was known before makes it a refund."""
    crm, made = await at_work(store)
    await polled(made, crm, sold(paid(1), paid(3)))
    await polled(made, crm, sold(paid(1, UNPAID), paid(3)))
    assert {(one, value) for one, _, value in await conversions(store)} == {("payment:1", 0), ("payment:3", 300)}
    stored = await made.tenant.records.facts(TENANT, "crm", ["lead:1"])
    assert [one.state for one in stored["lead:1"].deal.payments or ()] == [REFUNDED, PAID]


async def test_a_reading_without_payments_leaves_those_known(store: Store) -> None:
    """The setting was switched off, or the deal was deleted: nothing is taken back for that."""
    crm, made = await at_work(store)
    await polled(made, crm, sold(paid(1)))
    before = await conversions(store)
    await polled(made, crm, replace(lead(1), version="v2"))
    await polled(made, crm, replace(lead(1), version="v3", is_deleted=True))
    assert await conversions(store) == before
    stored = await made.tenant.records.facts(TENANT, "crm", ["lead:1"])
    assert stored["lead:1"].deal.payments == (paid(1),)
