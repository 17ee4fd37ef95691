"""The simulator refuses what Metrica refuses, and counts as Metrica counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from aiohttp import web

from adapters.yandex_metrica.fake import Metrica
from adapters.yandex_metrica.fake_file import BadFileError, ParsedFile, file_of, parse
from adapters.yandex_metrica.mapping import render
from bridge.model import IdKind
from bridge.sim.clock import ManualClock
from bridge.sim.events import Applied
from tests.adapters.yandex_metrica.helpers import CLIENT_ID, DAY, HOUR, LABEL, YCLID, click, roubles, row, sample
from tests.support import START

NOW = int(START.timestamp())
ROOT = "/management/v1/counter/90000001"
HEAD = "ClientId,Target,DateTime"


def read(text: str, now: int = NOW) -> ParsedFile:
    return parse(text.encode(), now, set())


def multipart(content: bytes, name: str = "file", boundary: str = "X") -> tuple[str, bytes]:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="a.csv"\r\n\r\n'
    return f"multipart/form-data; boundary={boundary}", head.encode() + content + f"\r\n--{boundary}--\r\n".encode()


# --- the file ----------------------------------------------------------------------------------------------------


def test_columns_are_found_by_name_in_any_case_and_order_after_a_bom() -> None:
    """Contract 2.2: order is free, both spellings of the docs work, a byte-order mark is stripped."""
    found = read("\ufeffTARGET,datetime,yclid,ClientID\r\nlead,1772400000,,1712345678123456789\r\n")
    assert [(item.ids, item.target) for item in found.rows] == [((("ClientId", "1712345678123456789"),), "lead")]


@pytest.mark.parametrize(
    "text",
    [
        "ClientId,DateTime\n1712345678,1772400000\n",
        "ClientId,Target\n1712345678,lead\n",
        "Target,DateTime\nlead,1772400000\n",
        "ClientId,Target,Date\n1712345678,lead,1772400000\n",
        "ClientId,ClientID,Target,DateTime\n1,2,lead,1772400000\n",
        f"{HEAD}\n",
        "",
        f"{HEAD}\n1712345678123456789,lead,{NOW + 1}\n",
        f'{HEAD}\n"1712345678123456789,lead,{NOW}\n',
    ],
    ids=["Target", "DateTime", "no id column", "misspelt", "twice", "no rows", "empty", "future", "open quote"],
)
def test_a_malformed_file_is_refused_whole(text: str) -> None:
    """A missing header or a time in the future is HTTP 400 (contract 15)."""
    with pytest.raises(BadFileError) as raised:
        read(text)
    assert raised.value.error_type == "invalid_uploading"


@pytest.mark.parametrize(
    "line",
    [
        ",lead,1772400000",
        "1712345678123456789,,1772400000",
        "1712345678123456789,lead,2026-03-02",
        "1712345678123456789,lead,1772400000.5",
        "1.71E+18,lead,1772400000",
        "1712345678123456789,lead",
    ],
)
def test_a_bad_row_lowers_the_number_of_good_ones(line: str) -> None:
    """The pair of quantities is the only sign of it (contract 2.3)."""
    found = read(f"{HEAD}\n1712345678123456789,lead,{NOW}\n{line}\n")
    assert (found.source_quantity, len(found.rows)) == (2, 1)


def test_an_amount_without_a_currency_is_stored_as_null() -> None:
    """Contract 2.2; a comma instead of the dot makes the row bad."""
    found = read(
        'ClientId,Target,DateTime,Price,Currency\n1712345678,a,5,10.5,RUB\n1712345678,a,6,10,\n1712345678,a,7,"10,5",RUB\n'
    )
    assert [item.price for item in found.rows] == [Decimal("10.5"), None]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/csv", b"x"),
        ("multipart/form-data", b"x"),
        multipart(b"x", name="data"),
        (multipart(b"x")[0], multipart(b"x")[1][:-8]),
        (multipart(b"x")[0], multipart(b"x")[1][:-7] + multipart(b"x")[1]),
        multipart(b"x", boundary="Y")[:1] + multipart(b"x")[1:],
    ],
    ids=["no multipart", "no boundary", "other name", "cut", "two parts", "other boundary"],
)
def test_a_body_that_is_not_one_part_named_file_is_refused(content_type: str, body: bytes) -> None:
    """Contract 2.1: exactly one part."""
    with pytest.raises(BadFileError):
        file_of(content_type, body)


def test_a_file_made_by_another_client_is_read() -> None:
    """A body built by an HTTP library, with a boundary and headers of its own, is understood as well."""
    request = httpx.Request("POST", "http://x/", files={"file": ("conv.csv", sample("upload.csv"), "text/csv")})
    assert file_of(request.headers["content-type"], request.read()) == sample("upload.csv")


# --- over the wire -----------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
async def metrica(clock: ManualClock) -> AsyncIterator[Metrica]:
    simulator = Metrica(clock)
    await simulator.start()
    yield simulator
    await simulator.stop()


async def ask(
    metrica: Metrica, method: str, path: str, token: str | None = None, **given: Any
) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": token or f"OAuth {metrica.token}", **given.pop("headers", {})}
    async with httpx.AsyncClient(base_url=metrica.base_url, trust_env=False, verify=False) as client:
        response = await client.request(method, path, headers=headers, **given)
    return response.status_code, json.loads(response.content)


async def upload(metrica: Metrica, content: bytes, **params: str) -> tuple[int, dict[str, Any]]:
    content_type, body = multipart(content)
    headers = {"Content-Type": content_type}
    path = f"{ROOT}/offline_conversions/upload"
    return await ask(metrica, "POST", path, params=params, content=body, headers=headers)


def line(identifier: str = CLIENT_ID, target: str = "deal_won", at: int = NOW - 3600, price: str = "10.00") -> bytes:
    return f"ClientId,Target,DateTime,Price,Currency\n{identifier},{target},{at},{price},RUB\n".encode()


@pytest.mark.parametrize(
    ("token", "status", "kind"),
    [
        ("Bearer y0_sim_metrica_sample", 401, "unauthorized"),
        ("y0_sim_metrica_sample", 401, "unauthorized"),
        ("OAuth other", 403, "invalid_token"),
    ],
)
async def test_only_the_vendors_own_scheme_and_token_pass(metrica: Metrica, token: str, status: int, kind: str) -> None:
    """Contract 1: ``OAuth <token>``."""
    found, body = await ask(metrica, "GET", ROOT, token=token)
    assert (found, body["errors"][0]["error_type"], body["code"]) == (status, kind, status)


async def test_an_account_that_may_only_look_cannot_upload(metrica: Metrica) -> None:
    """Contract 6: own or edit."""
    metrica.permission = "view"
    status, body = await upload(metrica, line())
    assert (status, body["errors"][0]["error_type"]) == (403, "access_denied")


async def test_a_foreign_counter_and_an_unknown_upload_are_not_found(metrica: Metrica) -> None:
    """404 with the vendor's body."""
    for path in ("/management/v1/counter/5", f"{ROOT}/offline_conversions/uploading/7"):
        status, body = await ask(metrica, "GET", path)
        assert (status, body["errors"][0]["error_type"]) == (404, "not_found")


async def test_an_upload_goes_through_its_statuses_by_the_clock(metrica: Metrica, clock: ManualClock) -> None:
    """UPLOADED, PREPARED, EXPORTED, MATCHED, PROCESSED; the old ``client_id_type`` is ignored (contract 2.1, 2.4)."""
    metrica.know(click(1, client_id=CLIENT_ID))
    status, body = await upload(metrica, line(), comment=LABEL, client_id_type="YCLID")
    assert (status, body["uploading"]["comment"]) == (200, LABEL)
    path = f"{ROOT}/offline_conversions/uploading/{body['uploading']['id']}"
    seen = [body["uploading"]["status"]]
    for _ in range(20):
        clock.advance(timedelta(minutes=2))
        found = (await ask(metrica, "GET", path))[1]["uploading"]["status"]
        seen += [found] * (found != seen[-1])
    assert seen == ["UPLOADED", "PREPARED", "EXPORTED", "MATCHED", "PROCESSED"]


@pytest.mark.parametrize(
    ("visit", "converted", "is_linked"),
    [
        (START - 2 * HOUR, START - HOUR, True),
        (START - 21 * DAY + HOUR, START - HOUR, True),
        (START - 21 * DAY - HOUR, START - HOUR, False),
        (START - HOUR, START - 2 * HOUR, False),
    ],
    ids=["fresh", "just inside", "too old", "visit after conversion"],
)
async def test_a_conversion_is_linked_to_a_visit_before_it_and_not_older_than_21_days(
    metrica: Metrica, clock: ManualClock, visit: Any, converted: Any, is_linked: bool
) -> None:
    """Contract 2.5; with no link at all the file ends in LINKAGE_FAILURE."""
    metrica.know(click(1, visit, client_id=CLIENT_ID))
    _, body = await upload(metrica, line(at=int(converted.timestamp())))
    clock.advance(HOUR)
    path = f"{ROOT}/offline_conversions/uploading/{body['uploading']['id']}"
    _, later = await ask(metrica, "GET", path)
    assert later["uploading"]["status"] == ("PROCESSED" if is_linked else "LINKAGE_FAILURE")
    assert [item.is_linked for item in metrica.applied()] == [is_linked]


async def test_rows_equal_in_identifier_goal_and_time_are_one_reach_with_the_last_price(metrica: Metrica) -> None:
    """Contract 2.6: a repeated row overwrites the revenue; another time is another reach."""
    metrica.know(click(1, client_id=CLIENT_ID))
    for price in ("10.00", "10.00", "25.50"):
        await upload(metrica, line(price=price), comment=LABEL)
    await upload(metrica, line(at=NOW - 3599), comment="other")
    at = START - HOUR
    assert metrica.applied() == [
        Applied("deal_won", at, Decimal("25.50"), (CLIENT_ID,), "", 1, True),
        Applied("deal_won", at + timedelta(seconds=1), Decimal("10.00"), (CLIENT_ID,), "", 1, True),
    ]
    assert (metrica.rows_received, metrica.rows_repeated, metrica.repeated_labels) == (4, 2, 2)


async def test_a_correction_that_comes_after_the_window_changes_nothing(metrica: Metrica, clock: ManualClock) -> None:
    """What is transmitted later than 21 days after the visit is not linked (contract 2.5)."""
    metrica.know(click(1, client_id=CLIENT_ID))
    await upload(metrica, line(price="10.00"))
    clock.advance(21 * DAY)
    await upload(metrica, line(price="99.00"))
    (applied,) = metrica.applied()
    assert (applied.value, applied.is_linked) == (Decimal("10.00"), True)


async def test_an_unknown_goal_is_taken_and_linked_to_nothing(metrica: Metrica) -> None:
    """Contract 15; a "contains" goal is reached by everything that contains it."""
    metrica.add_goal("vip", condition="contain")
    metrica.know(click(1, client_id=CLIENT_ID))
    for target in ("nobody_knows", "lead_vip_1"):
        _, body = await upload(metrica, line(target=target))
        assert body["uploading"]["line_quantity"] == 1
    assert {item.target: item.is_linked for item in metrica.applied()} == {"nobody_knows": False, "lead_vip_1": True}


async def test_a_user_stands_for_its_last_client_and_a_purchase_for_its_visit(metrica: Metrica) -> None:
    """Contract 2.5, for the two identifiers that no click carries."""
    metrica.know(click(1, client_id=CLIENT_ID))
    metrica.bind_user("user-7", "1700000000000000000")
    metrica.bind_user("user-7", CLIENT_ID)
    metrica.visit("PurchaseId", "order-1", START - 2 * HOUR)
    for column, value in (("UserId", "user-7"), ("PurchaseId", "order-1"), ("PurchaseId", "order-2")):
        await upload(metrica, line(value).replace(b"ClientId", column.encode()))
    assert [item.is_linked for item in metrica.applied()] == [True, True, False]


async def test_of_several_identifiers_the_first_that_links_is_the_key(metrica: Metrica) -> None:
    """ClientId, UserId, Yclid, PurchaseId are tried in turn (contract 2.2)."""
    metrica.know(click(1, yclid=YCLID))
    text = f"ClientId,Yclid,Target,DateTime\n{CLIENT_ID},{YCLID},deal_won,{NOW - 60}\n"
    await upload(metrica, text.encode())
    assert [item.identifiers for item in metrica.applied()] == [(YCLID,)]


async def test_the_list_is_paged_in_both_possible_orders(metrica: Metrica) -> None:
    """``limit`` and ``offset`` from 0 (contract 2.4, 14.11)."""
    for number in range(5):
        await upload(metrica, line(at=NOW - 100 - number), comment=str(number))
    for is_newest_first, expected in ((True, ["3", "2"]), (False, ["1", "2"])):
        metrica.is_newest_first = is_newest_first
        _, body = await ask(metrica, "GET", f"{ROOT}/offline_conversions/uploadings", params={"limit": 2, "offset": 1})
        assert [item["comment"] for item in body["uploadings"]] == expected


async def test_the_limits_of_a_second_and_of_a_day_hold(metrica: Metrica, clock: ManualClock) -> None:
    """30 requests a second per address; the day's quota is released at 00:00 GMT (contract 10)."""
    async with httpx.AsyncClient(base_url=metrica.base_url, trust_env=False, verify=False) as client:
        headers = {"Authorization": f"OAuth {metrica.token}"}
        answers = [await client.get(ROOT, headers=headers) for _ in range(31)]
    assert [answer.status_code for answer in answers] == [200] * 30 + [429]
    assert answers[-1].json()["errors"][0]["error_type"] == "quota_requests_by_ip"
    metrica.daily_quota = 30
    status, body = await ask(metrica, "GET", ROOT)
    assert (status, body["errors"][0]["error_type"]) == (429, "quota_requests_by_uid")
    clock.advance(DAY)
    metrica.is_limited = False
    assert (await ask(metrica, "GET", ROOT))[0] == 200


class Watched(Metrica):
    """Says when three uploads have begun."""

    are_three = asyncio.Event()

    def label(self, request: web.Request) -> str:
        name = super().label(request)
        if self.requests[name] == 2 and name == "POST upload":
            self.are_three.set()
        return name


async def test_a_fourth_request_at_once_is_refused(clock: ManualClock) -> None:
    """3 parallel requests per login (contract 10): slow uploads fill the places."""
    metrica = Watched(clock)
    await metrica.start()
    content_type, body = multipart(line())
    headers = {"Content-Type": content_type, "Authorization": f"OAuth {metrica.token}"}
    may_end = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield body[:10]
        await may_end.wait()
        yield body[10:]

    async with httpx.AsyncClient(base_url=metrica.base_url, trust_env=False, verify=False) as client:
        path = f"{ROOT}/offline_conversions/upload"
        running = [asyncio.ensure_future(client.post(path, content=slowly(), headers=headers)) for _ in range(3)]
        await metrica.are_three.wait()
        status, answer = await ask(metrica, "GET", ROOT)
        may_end.set()
        done = await asyncio.gather(*running)
    await metrica.stop()
    assert (status, answer["errors"][0]["error_type"]) == (429, "quota_parallel_requests")
    assert [item.status_code for item in done] == [200, 200, 200]


async def test_fifty_thousand_rows_go_in_at_once(metrica: Metrica) -> None:
    """The benchmark's files are not the simulator's bottleneck: every row is counted exactly once."""
    rows = [
        row((IdKind.CLIENT_ID, f"17123456{n:010d}"), number=n, value=roubles("5"), occurred_at=START - HOUR)
        for n in range(50_000)
    ]
    payload = render(rows, LABEL)
    headers = {"Content-Type": payload.content_type}
    status, body = await ask(
        metrica, "POST", f"{ROOT}/offline_conversions/upload", content=payload.body, headers=headers, timeout=30
    )
    assert (status, body["uploading"]["line_quantity"]) == (200, 50_000)
    assert len(metrica.applied()) == metrica.rows_received == 50_000


def test_a_tenants_name_makes_the_secrets_name() -> None:
    """Several simulators fit into one configuration."""
    simulator = Metrica(ManualClock(START), name="okna-2")
    assert simulator.secrets() == {"OKNA_2_METRICA_TOKEN": simulator.token}
    assert simulator.settings()["token"] == {"env": "OKNA_2_METRICA_TOKEN"}
