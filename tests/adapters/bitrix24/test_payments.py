"""Payments and smart invoices: read where a goal asks for them, part of a deal's version, none missed, none twice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.bitrix24.fake_rest import Reply
from adapters.bitrix24.fake_schema import DEAL, INVOICE
from adapters.bitrix24.payments import PAYMENT_LIST
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.source import Bitrix24Source
from bridge.errors import Drift, Refused
from bridge.model import Deal, PaymentState
from bridge.ports import BadRecord, Head, Level, Window
from tests.adapters.bitrix24.kit import Rig, add_deals, add_leads, listed, read, running
from tests.support import START

MINUTE = timedelta(minutes=1)
SECTION = {"kind": "bitrix24", "base_url": "https://okna.bitrix24.ru", "auth": {"webhook": {"env": "X"}}}


def bill(rig: Rig, deal: int, amount: str, minute: int | None = None) -> int:
    return rig.portal.data.bill(deal, amount, paid_at=None if minute is None else START + minute * MINUTE)


def invoice(rig: Rig, deal: int, amount: str, minute: int = 0, stage: str = "N", number: int | None = None) -> int:
    """An invoice of this deal; a change of its stage moves nothing on the deal."""
    fields = {"CATEGORY_ID": "1", "STAGE_ID": f"DT31_1:{stage}", "PARENT_ID_2": str(deal), "OPPORTUNITY": amount}
    return rig.portal.data.add(INVOICE, START + minute * MINUTE, fields, number)


def move(rig: Rig, number: int, stage: str, minute: int) -> None:
    rig.portal.data.update(INVOICE, number, START + minute * MINUTE, {"STAGE_ID": f"DT31_1:{stage}"})


def paying(rig: Rig, what: str, **settings: Any) -> Bitrix24Source:
    return rig.another(payments=what, **settings)


def told(deal: Deal) -> list[tuple[str, PaymentState, str, float | None]]:
    """Each payment: id, state, sum, minutes since the start."""
    assert deal.payments is not None
    return [
        (one.id, one.state, str(one.value), None if one.paid_at is None else (one.paid_at - START) / MINUTE)
        for one in deal.payments
    ]


async def fetched(source: Bitrix24Source, *keys: str) -> dict[str, Head]:
    return {head.key: head for head in (await source.fetch(keys)).heads}


PAID, UNPAID = PaymentState.PAID, PaymentState.UNPAID


# --- payments ----------------------------------------------------------------------------------------------------


async def test_a_deal_comes_with_its_payments(tmp_path: Path) -> None:
    """Sums with kopecks, the time of each, unpaid ones without; a deal without any has an empty list, a lead none."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 2)
        add_leads(rig.portal, 1)
        bill(rig, 1, "20000.10", 5)
        bill(rig, 1, "10000", 9)
        bill(rig, 1, "7000")
        deals = await read(paying(rig, "payments"), rig.all_time())
        assert told(deals["deal:1"]) == [
            ("payment:1", PAID, "20000.10 RUB", 5),
            ("payment:2", PAID, "10000.00 RUB", 9),
            ("payment:3", UNPAID, "7000.00 RUB", None),
        ]
        assert (deals["deal:2"].payments, deals["lead:1"].payments) == ((), None)


async def test_a_payment_is_found_by_asking_for_its_deal_and_by_no_window(tmp_path: Path) -> None:
    """It moves no time of the deal (contract 17): only the version that ``fetch`` tells has changed."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 2)
        number = bill(rig, 1, "500")
        source = paying(rig, "payments")
        before = {head.key: head.version for head in await listed(source, rig.all_time())}
        rig.portal.data.pay(number, START + 60 * MINUTE)
        rig.clock.set(START + 61 * MINUTE)
        assert await listed(source, Window(START + MINUTE, START + 61 * MINUTE)) == []
        now = await fetched(source, "deal:1", "deal:2")
        assert {key: head.version == before[key] for key, head in now.items()} == {"deal:1": False, "deal:2": True}
        (deal,) = await source.complete([now["deal:1"]], frozenset(), rig.all_time())
        assert isinstance(deal, Deal)
        assert told(deal) == [("payment:1", PAID, "500.00 RUB", 60)]
        assert deal.version == now["deal:1"].version


async def test_a_listing_and_a_look_by_key_tell_one_version(tmp_path: Path) -> None:
    """Else every poll would find a deal changed that a sweep has stored, and the other way round."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 3)
        bill(rig, 2, "500", 1)
        invoice(rig, 3, "100", stage="P")
        for what in ("payments", "invoices"):
            source = paying(rig, what)
            versions = {head.key: head.version for head in await listed(source, rig.all_time())}
            again = await fetched(source, *versions)
            assert {key: head.version for key, head in again.items()} == versions
            assert {head.key: head.version for head in await listed(source, rig.all_time())} == versions


async def test_a_payment_taken_back_is_not_paid(tmp_path: Path) -> None:
    """The portal shows it as N without a time."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 1)
        number = bill(rig, 1, "500", 1)
        rig.portal.data.pay(number, None)
        deals = await read(paying(rig, "payments"), rig.all_time())
        assert told(deals["deal:1"]) == [("payment:1", UNPAID, "500.00 RUB", None)]


async def test_payments_cost_requests_only_where_a_goal_asks_for_them(tmp_path: Path) -> None:
    """One for fifty deals of a listing; none where the setting is off or no goal is per payment."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 120)
        asked = {}
        for what in ("off", "payments", "invoices"):
            source = paying(rig, what, entities=["deal"])
            await source.catalogue()
            rig.portal.requests.clear()
            await listed(source, rig.all_time())
            asked[what] = rig.portal.requests.total()
        assert (asked["payments"] - asked["off"], asked["invoices"] - asked["off"]) == (3, 1)
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 120)
        source = paying(rig, "payments", entities=["deal"])
        await source.catalogue()
        rig.portal.requests.clear()
        deals = await read(source, Window(START, START + MINUTE))
        assert deals["deal:1"].payments is None
        assert source.traits.sweep_every is None


async def test_a_deal_whose_payments_are_refused_is_read_without_them(tmp_path: Path) -> None:
    """A batch answers 200 and names the one (contract 7): it is told, and read all the same."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 3)
        rig.portal.methods.closed_payments.add(2)
        source = paying(rig, "payments", entities=["deal"])
        (listing,) = [item async for item in source.scan(rig.all_time())]
        versions = {head.key: head.version for head in listing.heads}
        assert list(versions) == ["deal:1", "deal:2", "deal:3"]
        (bad,) = listing.bad
        assert (bad.key, bad.code) == ("deal:2", "payments_refused")
        assert "ACCESS_DENIED" in bad.message
        (deal,) = await source.complete([listing.heads[1]], frozenset(), rig.all_time())
        assert isinstance(deal, Deal)
        assert deal.payments is None
        rig.portal.methods.closed_payments.clear()
        (again,) = (await source.fetch(["deal:2"])).heads
        assert again.version != versions["deal:2"]


async def test_a_sum_that_is_none_sets_its_deal_aside(tmp_path: Path) -> None:
    """With a code, and without the sum in the message."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 1)
        bill(rig, 1, "1e400")
        (listing,) = [item async for item in paying(rig, "payments", entities=["deal"]).scan(rig.all_time())]
        (bad,) = listing.bad
        assert isinstance(bad, BadRecord)
        assert (bad.code, "400" in bad.message) == ("bad_amount", False)


async def test_payments_of_another_shape_set_their_deal_aside_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One odd row, met again at each reading, would stop the source for ever; nothing of it is repeated."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 3)
        bill(rig, 3, "500", 1)
        ask = rig.portal.methods._table[PAYMENT_LIST]

        def odd(params: Any) -> Reply:
            return (
                Reply([{"id": 7, "paid": "Y", "sum": "79990000001 руб."}]) if params["entityId"] == "2" else ask(params)
            )

        monkeypatch.setitem(rig.portal.methods._table, PAYMENT_LIST, odd)
        (listing,) = [item async for item in paying(rig, "payments", entities=["deal"]).scan(rig.all_time())]
        assert [head.key for head in listing.heads] == ["deal:1", "deal:3"]
        (bad,) = listing.bad
        assert (bad.key, bad.code, "7999" in bad.message) == ("deal:2", "bad_payments", False)


async def test_a_deal_deleted_while_it_is_read_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its payments are unknown; that it is gone the next look tells."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 2)
        ask = rig.portal.methods._table[PAYMENT_LIST]

        def gone(params: Any) -> Reply:
            return ask({**params, "entityId": 99} if params["entityId"] == "2" else params)

        monkeypatch.setitem(rig.portal.methods._table, PAYMENT_LIST, gone)
        deals = await read(paying(rig, "payments"), rig.all_time())
        assert {key: deal.payments for key, deal in deals.items()} == {"deal:1": (), "deal:2": None}


async def test_a_deleted_deal_that_is_asked_for_has_no_payments(tmp_path: Path) -> None:
    """It is told to be deleted, like any other; the ones beside it come with theirs."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 2)
        bill(rig, 2, "500", 1)
        rig.portal.data.delete(DEAL, 1)
        source = paying(rig, "payments")
        heads = await fetched(source, "deal:1", "deal:2")
        made = await source.complete(list(heads.values()), frozenset(), rig.all_time())
        deals = {deal.key: deal for deal in made if isinstance(deal, Deal)}
        assert (deals["deal:1"].is_deleted, deals["deal:1"].payments) == (True, None)
        assert told(deals["deal:2"]) == [("payment:1", PAID, "500.00 RUB", 1)]


# --- invoices ----------------------------------------------------------------------------------------------------


async def test_an_invoice_is_paid_in_the_stage_of_success_since_it_came_there(tmp_path: Path) -> None:
    """Its own sum and ``movedTime``; sent, refused and unsent ones are not paid."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 2)
        for stage in ("N", "S", "P", "D"):
            invoice(rig, 1, "1500.50", stage=stage)
        move(rig, 1, "P", 7)
        rig.portal.data.update(INVOICE, 1, START + 90 * MINUTE, {"TITLE": "seen again"})
        deals = await read(paying(rig, "invoices"), rig.all_time())
        assert told(deals["deal:1"]) == [
            ("invoice:1", PAID, "1500.50 RUB", 7),
            ("invoice:2", UNPAID, "1500.50 RUB", None),
            ("invoice:3", PAID, "1500.50 RUB", 0),
            ("invoice:4", UNPAID, "1500.50 RUB", None),
        ]
        assert deals["deal:2"].payments == ()


async def test_an_invoice_that_was_paid_brings_its_deal_into_the_window(tmp_path: Path) -> None:
    """The deal itself was not modified; a quiet poll costs no request more, one with an invoice two."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 3)
        invoice(rig, 2, "900")
        source = paying(rig, "invoices", entities=["deal"])
        marks = ""
        async for listing in source.scan(Window(START - MINUTE, START + MINUTE, marks)):
            marks = listing.marks or marks
        move(rig, 1, "P", 60)
        rig.clock.set(START + 70 * MINUTE)
        rig.portal.requests.clear()
        later = Window(START + 30 * MINUTE, START + 50 * MINUTE, marks)
        assert await listed(source, later) == []
        assert rig.asked == {"batch": 1}
        deals = await read(source, Window(START + 50 * MINUTE, START + 70 * MINUTE, marks))
        assert {key: told(deal) for key, deal in deals.items()} == {"deal:2": [("invoice:1", PAID, "900.00 RUB", 60)]}


async def test_a_deal_that_moved_together_with_its_invoice_is_listed_once(tmp_path: Path) -> None:
    """The core takes the same page twice for an endless list."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 60)
        for deal in range(1, 61):
            invoice(rig, deal, "10", stage="P")
            invoice(rig, deal, "20", stage="P")
        keys = [head.key for head in await listed(paying(rig, "invoices", entities=["deal"]), rig.all_time())]
        assert sorted(keys) == sorted({f"deal:{number}" for number in range(1, 61)})


async def test_more_invoices_than_a_page_are_read_whole(tmp_path: Path) -> None:
    """Behind the last id of each full page, for each fifty deals apart."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 70)
        for number in range(170):
            invoice(rig, number % 3 + 1 if number < 160 else 70, "10", stage="P")
        deals = await read(paying(rig, "invoices"), rig.all_time())
        counts = {key: len(deal.payments or ()) for key, deal in deals.items() if deal.payments}
        assert counts == {"deal:1": 54, "deal:2": 53, "deal:3": 53, "deal:70": 10}
        assert sorted({p.id for deal in deals.values() for p in deal.payments or ()}) == sorted(
            f"invoice:{number}" for number in range(1, 171)
        )


async def test_an_invoice_without_a_deal_is_nobodys(tmp_path: Path) -> None:
    """Invoices may stand alone; 0 is no deal."""
    async with running(tmp_path, needs_payments=True) as rig:
        invoice(rig, 0, "10", stage="P")
        assert await listed(paying(rig, "invoices"), rig.all_time()) == []


async def test_an_ignored_filter_on_invoices_is_an_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's sales are put to a deal because a portal drops ``parentId2``."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 2)
        invoice(rig, 2, "10", stage="P")
        ask = rig.portal.methods._table["crm.item.list"]

        def unfiltered(params: Any) -> Reply:
            return ask({**params, "filter": {}})

        monkeypatch.setitem(rig.portal.methods._table, "crm.item.list", unfiltered)
        with pytest.raises(Drift, match="filter"):
            await paying(rig, "invoices").fetch(["deal:1"])


async def test_invoices_that_may_not_be_read_stop_the_source(tmp_path: Path) -> None:
    """Left out silently they would be revenue missed; the message and ``bridge check`` say what is wrong."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 1)
        rig.portal.methods.closed.add(INVOICE)
        source = paying(rig, "invoices")
        with pytest.raises(Refused, match="ACCESS_DENIED"):
            await listed(source, rig.all_time())
        levels = {item.subject: item.level for item in await source.check()}
        assert (levels["payments"], levels["deals"]) == (Level.ERROR, Level.OK)


# --- settings and checks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["payments", "invoices"])
async def test_check_tries_payments_where_they_are_wanted(tmp_path: Path, what: str) -> None:
    """On the latest deal; a refusal is an error, and without a setting nothing is said."""
    async with running(tmp_path, needs_payments=True) as rig:
        assert {item.subject: item.level for item in await paying(rig, what).check()}["payments"] is Level.OK
        add_deals(rig.portal, 2)
        assert {item.subject: item.level for item in await paying(rig, what).check()}["payments"] is Level.OK
        assert "payments" not in {item.subject for item in await rig.source.check()}
        rig.portal.methods.closed_payments.add(2)
        rig.portal.methods.closed.add(INVOICE)
        assert {item.subject: item.level for item in await paying(rig, what).check()}["payments"] is Level.ERROR


async def test_check_says_when_payments_are_read_for_nobody(tmp_path: Path) -> None:
    """The setting alone reads nothing."""
    async with running(tmp_path) as rig:
        (said,) = [item for item in await paying(rig, "payments").check() if item.subject == "payments"]
        assert (said.level, "no goal" in said.message) == (Level.OK, True)


def test_payments_need_deals() -> None:
    """Of leads there are none."""
    with pytest.raises(ValueError, match='add "deal"'):
        Bitrix24Settings.model_validate({**SECTION, "entities": ["lead"], "payments": "payments"})


async def test_only_payments_have_to_be_asked_for_again_and_again(tmp_path: Path) -> None:
    """Invoices are seen by the windows."""
    async with running(tmp_path, needs_payments=True) as rig:
        traits = {what: paying(rig, what, payments_every="10m").traits for what in ("off", "payments", "invoices")}
        assert {what: one.brings_payments for what, one in traits.items()} == {
            "off": False,
            "payments": True,
            "invoices": True,
        }
        assert {what: one.sweep_every for what, one in traits.items()} == {
            "off": None,
            "payments": 10 * MINUTE,
            "invoices": None,
        }


# --- the simulator -----------------------------------------------------------------------------------------------


async def test_payments_have_the_vendors_shapes(tmp_path: Path) -> None:
    """A plain array without a count, numbers and nulls (contract 4.4); a lead's are none, an unknown deal's refused."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 1, START)
        bill(rig, 1, "48500.50", 5)
        bill(rig, 1, "100")
        call = rig.portal.methods.call
        reply = call(PAYMENT_LIST, {"entityTypeId": 2, "entityId": 1})
        assert (reply.total, reply.next) == (None, None)
        stamp = (START + 5 * MINUTE).astimezone(rig.portal.data.zone).isoformat()
        common = {"paySystemId": 6, "currency": "RUB", "paySystemName": "Card"}
        assert reply.result == [
            {"id": 1, "accountNumber": "1/1", "paid": "Y", "datePaid": stamp, "empPaidId": 1, "sum": 48500.5, **common},
            {"id": 2, "accountNumber": "1/2", "paid": "N", "datePaid": None, "empPaidId": None, "sum": 100, **common},
        ]
        assert call(PAYMENT_LIST, {"entityTypeId": 1, "entityId": 1}).result == []
        assert rig.portal.data.record(DEAL, 1).modified == int(START.timestamp())
