"""Product rows: read of the entities that are named, part of a record's version, page after page, never half."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.bitrix24.fake_query import RestError
from adapters.bitrix24.fake_rest import Reply
from adapters.bitrix24.fake_schema import DEAL, LEAD
from adapters.bitrix24.product_rows import ROW_LIST
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.source import Bitrix24Source
from bridge.errors import Drift
from bridge.model import Deal
from bridge.ports import BadRecord, Level, Listing
from bridge.products import ROWS_MAX
from tests.adapters.bitrix24.kit import Rig, add_deals, add_leads, listed, read, running
from tests.support import START

HOUR = timedelta(hours=1)
SECTION = {"kind": "bitrix24", "base_url": "https://okna.bitrix24.ru", "auth": {"webhook": {"env": "X"}}}


def rowed(rig: Rig, *entities: str, **settings: Any) -> Bitrix24Source:
    return rig.another(product_rows=entities or ("deal",), **settings)


def add(rig: Rig, deal: int, *rows: tuple[str, str, str]) -> None:
    for name, price, quantity in rows:
        rig.portal.methods.rows.add((DEAL, deal), name, price, quantity)


async def whole(source: Bitrix24Source, rig: Rig) -> Listing:
    (listing,) = [item async for item in source.scan(rig.all_time())]
    return listing


async def test_records_come_with_their_product_rows(tmp_path: Path) -> None:
    """Exact, in order of their ids, in the record's currency, names on one line; of other entities nothing is known."""
    async with running(tmp_path, processes=(1032,)) as rig:
        add_deals(rig.portal, 2, CURRENCY_ID="USD")
        add_leads(rig.portal, 1)
        rig.portal.data.add("item:1032", START, {"CATEGORY_ID": "5", "STAGE_ID": "DT1032_5:NEW"})
        desk = rig.portal.methods.rows
        desk.add((DEAL, 1), "Окна  ПВХ,\n двойные ", "81818.18181818", "1.5", 9621)
        desk.add((DEAL, 1), "Монтаж", "700")
        desk.add(("item:1032", 1), "Дверь", "5", "2")
        source = rowed(rig, "deal", "item:1032")
        deals = await read(source, rig.all_time())
        first, second = deals["deal:1"].products or ()
        assert (first.id, first.name, second.id, second.name) == ("9621", "Окна ПВХ, двойные", "", "Монтаж")
        assert (first.price, first.quantity, first.currency) == (Decimal("81818.18181818"), Decimal("1.5"), "USD")
        assert second.sum == 700
        assert [(one.name, one.sum, one.currency) for one in deals["item:1032-1"].products or ()] == [
            ("Дверь", Decimal(10), "RUB")
        ]
        assert (deals["deal:2"].products, deals["lead:1"].products) == ((), None)
        assert (await read(rowed(rig, "lead"), rig.all_time()))["lead:1"].products == ()
        assert (await read(rig.source, rig.all_time()))["deal:1"].products is None


async def test_a_changed_row_is_a_changed_record_however_it_is_looked_at(tmp_path: Path) -> None:
    """The time of the deal need not move (contract 17); a listing and a look by key tell one version."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 2)
        rig.portal.data.bill(1, "10")
        add(rig, 1, ("Окно", "100", "1"))
        source = rowed(rig, payments="payments")
        versions = {head.key: head.version for head in await listed(source, rig.all_time())}
        fetched = (await source.fetch(["deal:1", "deal:2"])).heads
        assert {head.key: head.version for head in fetched} == versions
        add(rig, 1, ("Москитная сетка", "20", "1"))
        now = {head.key: head.version for head in await listed(source, rig.all_time())}
        assert {key for key, version in now.items() if version != versions[key]} == {"deal:1"}
        (deal,) = await source.complete((await source.fetch(["deal:1"])).heads, frozenset(), rig.all_time())
        assert isinstance(deal, Deal)
        assert (deal.version, len(deal.products or ()), len(deal.payments or ())) == (now["deal:1"], 2, 1)


async def test_rows_cost_one_request_for_fifty_records(tmp_path: Path) -> None:
    """None unless asked for; a record with more rows than a page costs one more with each page, shared by all such."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 120)
        asked = []
        for settings in ({}, {"product_rows": ["deal"]}):
            source = rig.another(entities=["deal"], **settings)
            rig.portal.requests.clear()
            await listed(source, rig.all_time())
            asked.append(rig.portal.requests.total())
        assert asked[1] - asked[0] == 3
        for deal in (7, 120):
            add(rig, deal, *[("Окно", "1", "1")] * 101)
        rig.portal.requests.clear()
        deals = await read(source, rig.all_time())
        assert {key: len(deal.products or ()) for key, deal in deals.items() if deal.products} == {
            "deal:7": 101,
            "deal:120": 101,
        }
        rows = deals["deal:7"].products or ()
        assert sum(row.sum for row in rows) == 101


@pytest.mark.parametrize("count", [1, 49, 50, 51, 100, 101, ROWS_MAX])
async def test_rows_end_exactly_where_they_end(tmp_path: Path, count: int) -> None:
    """None is lost or doubled at the border of a page."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 1)
        add(rig, 1, *[(f"Товар {number}", "1", "1") for number in range(count)])
        (deal,) = (await read(rowed(rig, entities=["deal"]), rig.all_time())).values()
        assert [row.name for row in deal.products or ()] == [f"Товар {number}" for number in range(count)]


async def test_a_deal_with_absurdly_many_rows_is_read_without_them(tmp_path: Path) -> None:
    """Half of them would be a wrong sum: it is told, and its other goals go on."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 1)
        add(rig, 1, *[("Винт", "1", "1")] * (ROWS_MAX + 1))
        listing = await whole(rowed(rig, entities=["deal"]), rig)
        assert [(bad.key, bad.code) for bad in listing.bad] == [("deal:1", "products_too_many")]
        assert [head.key for head in listing.heads] == ["deal:1"]
        assert rig.portal.requests["batch"] == 2, "of the list, and of the rows: the count of the first page is enough"


async def test_a_deal_whose_rows_are_refused_is_read_without_them(tmp_path: Path) -> None:
    """It is told, judged all the same, and another version once the right is there."""
    async with running(tmp_path, needs_payments=True) as rig:
        add_deals(rig.portal, 3)
        rig.portal.methods.rows.closed.add((DEAL, 2))
        source = rowed(rig, entities=["deal"])
        listing = await whole(source, rig)
        assert [head.key for head in listing.heads] == ["deal:1", "deal:2", "deal:3"]
        (bad,) = listing.bad
        assert (bad.key, bad.code, "ACCESS_DENIED" in bad.message) == ("deal:2", "products_refused", True)
        (deal,) = await source.complete([listing.heads[1]], frozenset(), rig.all_time())
        assert isinstance(deal, Deal)
        assert deal.products is None
        rig.portal.methods.closed_payments.add(2)
        both = await whole(rowed(rig, entities=["deal"], payments="payments"), rig)
        assert [(one.key, one.code) for one in both.bad] == [("deal:2", "payments_refused")]
        rig.portal.methods.rows.closed.clear()
        (again,) = (await source.fetch(["deal:2"])).heads
        assert again.version != listing.heads[1].version


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply({"productRows": [{"id": 1, "price": "79990000001 руб."}]}, 1), "bad_products"),
        (Reply({"productRows": []}, 3), "bad_products"),
        (Reply({"productRows": [{"id": 1, "ownerId": 2}]}, 60, 50), "bad_products"),
        (Reply({"productRows": [{"id": 1, "price": 1e14}]}, 1), "bad_amount"),
        (Reply({"productRows": [{"id": 1, "price": 1e9, "quantity": 1e9}]}, 1), "bad_amount"),
    ],
)
async def test_rows_that_make_no_sense_set_their_deal_aside_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: Reply, code: str
) -> None:
    """Another shape, fewer than were counted, a page that repeats, sums that are none; nothing of them is repeated."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 3)
        ask = rig.portal.methods._table[ROW_LIST]

        def odd(params: Any) -> Reply:
            return reply if params["filter"]["=ownerId"] == "2" else ask(params)

        monkeypatch.setitem(rig.portal.methods._table, ROW_LIST, odd)
        source = rowed(rig, entities=["deal"])
        listing = await whole(source, rig)
        made = await source.complete(listing.heads, frozenset(), rig.all_time())
        bad = [*listing.bad, *(one for one in made if isinstance(one, BadRecord))]
        assert [(one.key, one.code, "7999" in one.message) for one in bad] == [("deal:2", code, False)]
        assert sorted(one.key for one in made if isinstance(one, Deal)) == ["deal:1", "deal:3"]


async def test_rows_without_numbers_come_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Null and what is missing are zero, and no product of the catalogue; texts are read as numbers."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 1)
        rows = [{"id": 2, "productName": None, "productId": None}, {"id": "3", "price": "1.10", "quantity": "2"}]
        monkeypatch.setitem(rig.portal.methods._table, ROW_LIST, lambda _: Reply({"productRows": rows}))
        (deal,) = (await read(rowed(rig, entities=["deal"]), rig.all_time())).values()
        assert [(row.id, row.name, row.sum) for row in deal.products or ()] == [("", "", 0), ("", "", Decimal("2.20"))]


async def test_an_ignored_filter_on_rows_is_an_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's products are put to a deal because a portal drops ``=ownerId``."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 2)
        add(rig, 1, ("Окно", "1", "1"))
        ask = rig.portal.methods._table[ROW_LIST]

        def unfiltered(params: Any) -> Reply:
            return ask({**params, "filter": {"=ownerType": "D", "=ownerId": 1}})

        monkeypatch.setitem(rig.portal.methods._table, ROW_LIST, unfiltered)
        with pytest.raises(Drift, match="filter"):
            await rowed(rig, entities=["deal"]).fetch(["deal:2"])


async def test_a_deleted_deal_that_is_asked_for_has_no_rows(tmp_path: Path) -> None:
    """It is told to be deleted, like any other; nothing is known of its products."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 2)
        rig.portal.data.delete(DEAL, 1)
        source = rowed(rig)
        made = await source.complete((await source.fetch(["deal:1", "deal:2"])).heads, frozenset(), rig.all_time())
        assert {(one.key, one.is_deleted, one.products) for one in made if isinstance(one, Deal)} == {
            ("deal:1", True, None),
            ("deal:2", False, ()),
        }


# --- settings and checks -----------------------------------------------------------------------------------------


async def test_check_tries_product_rows_where_they_are_wanted(tmp_path: Path) -> None:
    """On the latest record of each entity; a refusal is an error, and without the setting nothing is said."""
    async with running(tmp_path) as rig:
        source = rowed(rig, "lead", "deal")
        subjects = ("product rows of leads", "product rows of deals")

        async def levels() -> list[Level]:
            found = {item.subject: item.level for item in await source.check()}
            return [found[subject] for subject in subjects]

        assert await levels() == [Level.OK, Level.OK]
        add_leads(rig.portal, 1)
        add_deals(rig.portal, 2)
        assert await levels() == [Level.OK, Level.OK]
        rig.portal.methods.rows.closed.add((DEAL, 2))
        assert await levels() == [Level.OK, Level.ERROR]
        assert not any("product rows" in item.subject for item in await rig.source.check())


def test_rows_are_read_only_of_what_is_read() -> None:
    """A name that is none, twice or not among the entities is refused."""
    for wrong, said in ((["deals"], "is none of"), (["deal", "deal"], "twice"), (["item:1032"], "add it to entities")):
        with pytest.raises(ValueError, match=said):
            Bitrix24Settings.model_validate({**SECTION, "product_rows": wrong})


async def test_the_more_urgent_of_rows_and_payments_sets_the_pace(tmp_path: Path) -> None:
    """What has to be asked for is asked for as often, and for as long after the sale, as either wants."""
    async with running(tmp_path, needs_payments=True) as rig:
        off, rows = rig.source.traits, rowed(rig, product_rows_every="2h").traits
        assert (off.brings_products, off.sweep_every) == (False, None)
        assert (rows.brings_products, rows.sweep_every, rows.sweep_won) == (True, 2 * HOUR, timedelta(days=30))
        both = rowed(rig, product_rows_for="60d", payments="payments").traits
        assert (both.sweep_every, both.sweep_won) == (timedelta(minutes=30), timedelta(days=60))


# --- the simulator -----------------------------------------------------------------------------------------------


async def test_product_rows_have_the_vendors_shapes_and_refusals(tmp_path: Path) -> None:
    """Numbers and nulls, ``total`` and ``next`` (contract 4.4); both filters are mandatory, others are ignored."""
    async with running(tmp_path) as rig:
        add_deals(rig.portal, 2)
        add_leads(rig.portal, 1)
        add(rig, 1, ("Окно", "1500.50", "2"), *[("Винт", "1", "0.5")] * 60)
        rig.portal.methods.rows.add((LEAD, 1), "Окно", "3")
        call = rig.portal.methods.call
        owner: dict[str, Any] = {"=ownerType": "D", "=ownerId": 1}
        reply = call(ROW_LIST, {"filter": {**owner, ">price": 9}})
        assert (len(reply.result["productRows"]), reply.total, reply.next) == (50, 61, 50)
        assert reply.result["productRows"][0]["id"] == 61, "by sort, unless asked otherwise"
        (last,) = call(ROW_LIST, {"filter": {**owner, "@id": [1]}}).result["productRows"]
        assert (last["price"], last["quantity"], last["taxRate"], last["ownerType"]) == (1500.5, 2, None, "D")
        page = call(ROW_LIST, {"filter": owner, "order": {"id": "ASC"}, "start": 50})
        assert ([row["id"] for row in page.result["productRows"]], page.next) == (list(range(51, 62)), None)
        assert len(call(ROW_LIST, {"filter": {"=ownerType": "L", "=ownerId": "1"}}).result["productRows"]) == 1
        for filters, code in (
            ({"=ownerType": "D"}, "REQUIRED_ARG_MISSING"),
            ({"ownerType": "D", "ownerId": 1}, "REQUIRED_ARG_MISSING"),
            ({"=ownerType": "D", "=ownerId": 99}, "ACCESS_DENIED"),
            ({"=ownerType": "X", "=ownerId": 1}, "ACCESS_DENIED"),
            ({**owner, ">id": [1]}, "INVALID_ARG_VALUE"),
        ):
            with pytest.raises(RestError) as refused:
                call(ROW_LIST, {"filter": filters})
            assert refused.value.code == code
        assert rig.portal.data.record(DEAL, 1).modified == int(START.timestamp())
