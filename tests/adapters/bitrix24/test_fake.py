"""The simulator refuses what the portal refuses and shows its quirks (contract bitrix24)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bitrix24 import fake_query
from adapters.bitrix24.fake_data import Record, Table
from adapters.bitrix24.fake_rest import parse_query
from adapters.bitrix24.fake_schema import CONTACT, DEAL, LEAD, Schema, item_name
from tests.adapters.bitrix24.kit import Rig, add_deals, add_leads, running
from tests.support import START


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path) as made:
        yield made


async def ask(rig: Rig, method: str, params: Any = None, **options: Any) -> Any:
    """One call as another program makes it; the decoded answer."""
    async with httpx.AsyncClient(base_url=rig.portal.webhook_url) as client:
        answer = await client.post(method, json=params or {}, **options)
    return {"status": answer.status_code, **answer.json()}


async def ids(rig: Rig, method: str = "crm.deal.list", **params: Any) -> list[int]:
    answer = await ask(rig, method, params)
    rows = answer["result"] if isinstance(answer["result"], list) else answer["result"]["items"]
    return [int(row.get("ID") or row["id"]) for row in rows]


# --- transport ---------------------------------------------------------------------------------------------------


async def test_get_form_and_json_say_the_same(rig: Rig) -> None:
    """Bracket keys, the ``.json`` suffix, a trailing slash, any case of the method; the body wins over the query."""
    add_deals(rig.portal, 9)
    base, query = rig.portal.webhook_url, "filter[>ID]=5&select[]=ID&order[ID]=DESC"
    form = {"filter[>ID]": "5", "select[0]": "ID", "order[ID]": "DESC"}
    body = {"filter": {">ID": 5}, "order": {"ID": "DESC"}, "SELECT": ["ID"]}
    no_json = {"content": b"{no json", "headers": {"content-type": "application/json"}}
    async with httpx.AsyncClient() as client:
        answers = [
            await client.get(f"{base}crm.deal.list.json?{quote(query, safe='=&[]')}"),
            await client.post(f"{base}CRM.Deal.List", data=form),
            await client.post(f"{base}crm.deal.list/?filter[>ID]=1", json=body),
            await client.post(f"{base}crm.deal.list?{query}", **no_json),  # type: ignore[arg-type]  # mixed keywords
        ]
    assert [[row["ID"] for row in answer.json()["result"]] for answer in answers] == [["9", "8", "7", "6"]] * 4
    assert answers[0].headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("1/wrongcode/profile", 401, "INVALID_CREDENTIALS"),
        ("2/k3v9x2m8q4w7t1z5/profile", 401, "INVALID_CREDENTIALS"),
        ("profile", 401, "NO_AUTH_FOUND"),
        ("k3v9x2m8q4w7t1z5/profile", 404, "ERROR_METHOD_NOT_FOUND"),
        ("1/k3v9x2m8q4w7t1z5/crm.nothing.list", 404, "ERROR_METHOD_NOT_FOUND"),
        ("1/k3v9x2m8q4w7t1z5/event.bind", 403, "WRONG_AUTH_TYPE"),
    ],
)
async def test_what_is_not_allowed_is_refused_in_the_vendors_words(rig: Rig, path: str, status: int, code: str) -> None:
    """Contract 1.1 and 1.3."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{rig.portal.base_url}/rest/{path}")
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert "result" not in answer.json()


async def test_the_bucket_blocks_above_fifty_and_drains(tmp_path: Path) -> None:
    """503 with the vendor's body."""
    async with running(tmp_path, is_limited=True) as rig, httpx.AsyncClient() as client:
        rig.portal._bucket.drain = 0.0
        answers = [await client.get(f"{rig.portal.webhook_url}server.time") for _ in range(52)]
        assert [answer.status_code for answer in answers] == [200] * 50 + [503] * 2
        rig.portal._bucket.drain = 1e6
        assert (await client.get(f"{rig.portal.webhook_url}server.time")).status_code == 200
        assert answers[-1].json() == {"error": "QUERY_LIMIT_EXCEEDED", "error_description": "Too many requests"}


async def test_operating_time_blocks_one_method_only(tmp_path: Path) -> None:
    """The call that crosses the limit succeeds, the next is 429, other methods go on, ten minutes later all is well."""
    async with running(tmp_path, operating_limit=480.0, costs={"crm.deal.list": 300.0}) as rig:
        spent = [await ask(rig, "crm.deal.list") for _ in range(2)]
        assert spent[1]["time"]["operating"] == 600.0
        assert spent[1]["time"]["operating_reset_at"] == int(START.timestamp()) + 600
        blocked = await ask(rig, "crm.deal.list")
        assert (blocked["status"], blocked["error"]) == (429, "OPERATION_TIME_LIMIT")
        assert (await ask(rig, "crm.lead.list"))["status"] == 200
        inner = await ask(rig, "batch", {"cmd": {"a": "crm.deal.list?start=-1"}})
        assert inner["result"]["result_error"]["a"]["error"] == "OPERATION_TIME_LIMIT"
        rig.clock.advance(timedelta(minutes=10))
        assert (await ask(rig, "crm.deal.list"))["status"] == 200


# --- lists -------------------------------------------------------------------------------------------------------


async def test_classic_paging_floors_the_offset_and_counts(rig: Rig) -> None:
    """start=60 is page two; next is absent at the end; -1 neither counts nor goes on (contract 3.2)."""
    add_deals(rig.portal, 120)
    first = await ask(rig, "crm.deal.list")
    assert (first["total"], first["next"], len(first["result"])) == (120, 50, 50)
    assert (await ids(rig, start=60))[0] == 51
    last = await ask(rig, "crm.deal.list", {"start": 100})
    assert ("next" in last, len(last["result"])) == (False, 20)
    quick = await ask(rig, "crm.deal.list", {"start": -1})
    assert (quick["total"], "next" in quick, len(quick["result"])) == (0, False, 50)
    raw = await ask(rig, "crm.item.list", {"entityTypeId": 2, "start": 60})
    assert raw["result"]["items"][0]["id"] == 61


async def test_an_unknown_filter_is_dropped_here_and_refused_there(rig: Rig) -> None:
    """A mistyped classic key widens the list without a word; the universal list refuses it."""
    add_deals(rig.portal, 3)
    assert len(await ids(rig, filter={">id": 2, "NOSUCH": 1})) == 3
    refused = await ask(rig, "crm.item.list", {"entityTypeId": 2, "filter": {">FOO": 1}})
    assert (refused["status"], refused["error"]) == (400, "INVALID_ARG_VALUE")
    assert (await ask(rig, "crm.deal.list", {"filter": "x"}))["error"] == ""


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"ID": 2}, [2]),
        ({"@ID": [1, 3, 99]}, [1, 3]),
        ({"!@ID": [1, 3]}, [2]),
        ({"!ID": "2"}, [1, 3]),
        ({"%TITLE": "окна"}, [1]),
        ({"=%TITLE": "окна%"}, []),
        ({"%=TITLE": "%окна"}, [1]),
        ({"!%TITLE": "окна"}, [2, 3]),
        ({">OPPORTUNITY": "99.99"}, [2]),
        ({"TITLE": ""}, [3]),
        ({">=DATE_MODIFY": "2026-03-02T12:00:00+03:00", "<DATE_MODIFY": "2026-03-02T09:00:01+00:00"}, [1, 2, 3]),
        ({">DATE_MODIFY": "2026-03-02T12:00:00"}, []),
        ({">=DATE_MODIFY": "2026-03-02 12:00:00"}, [1, 2, 3]),
        ({">=DATE_MODIFY": "long ago"}, []),
    ],
)
async def test_operators_mean_what_the_documentation_says(
    rig: Rig, wanted: dict[str, Any], expected: list[int]
) -> None:
    """Contract 3.1 and 3.4; a time without offset is in the portal's zone."""
    for title, money in (("пластиковые окна", "0.00"), ("дверь", "100.00"), (None, "99.99")):
        rig.portal.data.add(DEAL, START, {"TITLE": title, "OPPORTUNITY": money})
    assert await ids(rig, filter=wanted) == expected


async def test_classic_is_text_and_universal_is_typed(rig: Rig) -> None:
    """Ids, sums, empty times and custom names differ between the two (contract 3.1, 3.3)."""
    fields = {"OPPORTUNITY": "19999.50", "UF_CRM_1751203344": "44", "UF_CRM_YCLID": "135", "PHONE": ["+7999"]}
    rig.portal.data.add(LEAD, START, {"STATUS_ID": "NEW", **fields})
    row = (await ask(rig, "crm.lead.list", {"select": ["*", "UF_*", "PHONE"]}))["result"][0]
    assert (row["ID"], row["OPPORTUNITY"], row["DATE_CLOSED"], row["CONTACT_ID"]) == ("1", "19999.50", "", None)
    assert row["PHONE"][0] == {"ID": "10", "VALUE_TYPE": "WORK", "VALUE": "+7999", "TYPE_ID": "PHONE"}
    item = (await ask(rig, "crm.item.list", {"entityTypeId": 1, "select": ["*"]}))["result"]["items"][0]
    assert (item["id"], item["opportunity"], item["dateClosed"], item["contactId"]) == (1, 19999.5, None, 0)
    assert (item["ufCrm_1751203344"], item["ufCrmYclid"], item["stageId"]) == ("44", "135", "NEW")
    assert item["fm"][0] == {"id": 10, "valueType": "WORK", "value": "+7999", "typeId": "PHONE"}
    named = {"entityTypeId": 1, "select": ["id", "fm", "UF_CRM_YCLID"], "useOriginalUfNames": "Y"}
    assert (await ask(rig, "crm.item.list", named))["result"]["items"] == [{"id": 1, "UF_CRM_YCLID": "135"}]
    plain = (await ask(rig, "crm.lead.list", {"select": ["ID", "NOSUCH"]}))["result"]
    assert plain == [{"ID": "1"}]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("UF_CRM_YCLID", "ufCrmYclid"),
        ("UF_CRM_YM_CLIENT_ID", "ufCrmYmClientId"),
        ("UF_CRM_1751203344", "ufCrm_1751203344"),
        ("UF_CRM_68F1C0DE4A7B2", "ufCrm_68F1C0DE4A7B2"),
        ("UTM_SOURCE", "utmSource"),
        ("IS_MANUAL_OPPORTUNITY", "isManualOpportunity"),
    ],
)
def test_names_are_translated_as_documented(code: str, name: str) -> None:
    """Contract 3.3."""
    assert item_name(code) == name


async def test_single_records_and_their_errors(rig: Rig) -> None:
    """Classic failures are 400 with an empty code; empty custom texts are "" in get and null in lists."""
    add_deals(rig.portal, 1)
    assert (await ask(rig, "crm.deal.get", {"id": "1"}))["result"]["UF_CRM_YCLID"] == ""
    missing, invalid = await ask(rig, "crm.deal.get", {"id": 9}), await ask(rig, "crm.deal.get")
    assert [(a["status"], a["error"], a["error_description"]) for a in (missing, invalid)] == [
        (400, "", "Not found"),
        (400, "", "ID is not defined or invalid."),
    ]
    assert (await ask(rig, "crm.item.get", {"entityTypeId": 2, "id": 9}))["error"] == "NOT_FOUND"
    assert (await ask(rig, "crm.category.list", {"entityTypeId": 1}))["error"] == "ENTITY_TYPE_NOT_SUPPORTED"


async def test_stage_history_has_its_own_shapes(rig: Rig) -> None:
    """Typed numbers, STATUS_* for leads, types 1/2/3/5, only the current pipeline's rows (contract 6)."""
    add_deals(rig.portal, 1)
    add_leads(rig.portal, 1)
    data = rig.portal.data
    data.update(LEAD, 1, START + timedelta(hours=1), {"STATUS_ID": "JUNK"})
    data.update(DEAL, 1, START + timedelta(hours=1), {"STAGE_ID": "C1:PREPARATION"})
    data.update(DEAL, 1, START + timedelta(hours=2), {"STAGE_ID": "C1:WON", "OPPORTUNITY": "5.00"})
    items = (await ask(rig, "crm.stagehistory.list", {"entityTypeId": 2}))["result"]["items"]
    assert [(row["TYPE_ID"], row["STAGE_ID"], row["STAGE_SEMANTIC_ID"]) for row in items] == [
        (1, "C1:NEW", "P"),
        (2, "C1:PREPARATION", "P"),
        (3, "C1:WON", "S"),
    ]
    leads = (await ask(rig, "crm.stagehistory.list", {"entityTypeId": 1, "filter": {"@OWNER_ID": [1]}}))["result"][
        "items"
    ]
    assert [(row["TYPE_ID"], row["STATUS_ID"], "CATEGORY_ID" in row) for row in leads] == [
        (1, "NEW", False),
        (3, "JUNK", False),
    ]
    data.update(DEAL, 1, START + timedelta(hours=3), {"CATEGORY_ID": "0", "STAGE_ID": "NEW"})
    items = (await ask(rig, "crm.stagehistory.list", {"entityTypeId": 2, "order": {"ID": "DESC"}}))["result"]["items"]
    assert [(row["TYPE_ID"], row["CATEGORY_ID"], row["STAGE_ID"]) for row in items] == [(5, 0, "NEW")]


# --- batch -------------------------------------------------------------------------------------------------------


async def test_batch_has_phps_maps(rig: Rig) -> None:
    """Empty maps are lists; numeric keys without a gap make lists, with a gap objects; HTTP 200 whatever fails."""
    add_deals(rig.portal, 2)
    empty = (await ask(rig, "batch", {"cmd": {}}))["result"]
    assert empty == {name: [] for name in ("result", "result_error", "result_total", "result_next", "result_time")}
    numeric = (await ask(rig, "batch", {"cmd": ["crm.deal.get?id=1", "crm.deal.get?id=2"]}))["result"]
    assert [row["ID"] for row in numeric["result"]] == ["1", "2"]
    gap = (await ask(rig, "batch", {"cmd": ["crm.deal.get?id=9", "crm.deal.get?id=2"]}))["result"]
    assert list(gap["result"]) == ["1"]
    assert gap["result_error"] == [{"error": "", "error_description": "Not found"}]


async def test_batch_halts_refuses_nesting_and_counts_to_fifty(rig: Rig) -> None:
    """Later commands of a halted batch leave no keys; surplus and nested commands have their own errors."""
    add_deals(rig.portal, 1)
    bad = {"a": "crm.deal.get?id=9", "b": "crm.deal.get?id=1"}
    assert (await ask(rig, "batch", {"halt": True, "cmd": bad}))["result"]["result"] == []
    assert list((await ask(rig, "batch", {"halt": 0, "cmd": bad}))["result"]["result"]) == ["b"]
    nested = (await ask(rig, "batch", {"cmd": {"n": "batch?cmd[a]=profile", "o": 7}}))["result"]
    assert nested["result_error"]["n"]["error"] == "ERROR_BATCH_METHOD_NOT_ALLOWED"
    many = (await ask(rig, "batch", {"cmd": {f"c{n}": "server.time" for n in range(52)}}))["result"]
    assert (len(many["result"]), set(many["result_error"])) == (50, {"c50", "c51"})


async def test_a_reference_behind_a_short_page_starts_again(rig: Rig) -> None:
    """The trap of chained pages: a path that ends nowhere leaves an array, which a comparison reads as 1."""
    add_deals(rig.portal, 60)
    chain = {
        "a": "crm.deal.list?start=-1&order[ID]=ASC&filter[>ID]=0&select[]=ID",
        "b": "crm.deal.list?start=-1&order[ID]=ASC&filter[>ID]=$result[a][49][ID]&select[]=ID",
        "c": "crm.deal.list?start=-1&order[ID]=ASC&filter[>ID]=$result[b][49][ID]&select[]=ID",
        "t": "crm.deal.list?filter[TITLE]=no-$result[a][0][ID]",
    }
    got = (await ask(rig, "batch", {"cmd": chain}))["result"]["result"]
    assert [int(row["ID"]) for row in got["b"]] == list(range(51, 61))
    assert [int(row["ID"]) for row in got["c"]][:2] == [2, 3]
    assert got["t"] == []


# --- connection, people, speed -----------------------------------------------------------------------------------


async def test_the_connection_methods_answer_as_documented(rig: Rig) -> None:
    """Contract 12 and 13."""
    assert (await ask(rig, "server.time"))["result"] == "2026-03-02T12:00:00+03:00"
    assert (await ask(rig, "scope"))["result"] == ["crm"]
    assert (await ask(rig, "profile"))["result"]["TIME_ZONE"] == ""
    assert (await ask(rig, "method.get", {"name": "crm.item.list"}))["result"] == {
        "isExisting": True,
        "isAvailable": True,
    }
    assert (await ask(rig, "crm.settings.mode.get"))["result"] == 1
    currencies = await ask(rig, "crm.currency.list")
    assert (currencies["total"], currencies["result"][0]["BASE"]) == (0, "Y")
    assert (await ask(rig, "crm.item.fields", {"entityTypeId": 2}))["result"]["fields"]["ufCrmYclid"][
        "upperName"
    ] == "UF_CRM_YCLID"


async def test_contacts_are_listed_with_their_phones_only_when_named(rig: Rig) -> None:
    """A key is absent where there is nothing."""
    rig.portal.data.add(CONTACT, START, {"NAME": "Ким", "PHONE": ["1"]})
    rig.portal.data.add(CONTACT, START, {"NAME": "Ли"})
    rows = (await ask(rig, "crm.contact.list", {"select": ["ID", "PHONE"], "filter": {"@ID": [1, 2]}}))["result"]
    assert ["PHONE" in row for row in rows] == [True, False]
    assert await ids(rig, "crm.contact.list", filter={"PHONE": "1"}) == [1]


def plainly_changed(table: Table, since: int, until: int) -> list[int]:
    return [number for number in table.ids if since <= table.records[number].modified <= until]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=40), st.integers(0, 30), st.integers(0, 30))
def test_the_index_by_time_finds_what_a_plain_search_finds(
    changes: list[tuple[int, int]], since: int, until: int
) -> None:
    """Touched in any order, records are found by their last time of change and no other."""
    table = Table(Schema.of(DEAL))
    for number in range(1, 11):
        table.add(Record(number, {}, {}, 5))
    assert table.changed(5, 5, 0) == table.ids
    for index, at in changes:
        table.touch(table.records[index + 1], at)
        assert table.changed(since, until, 0) in (None, plainly_changed(table, since, until))
    assert table.changed(31, 31, 0) == []
    assert table.changed(0, 30, 10) is None, "nothing stands behind the last one"
    assert fake_query.php_int("12abc") == 12


@given(st.dictionaries(st.text("abcXYZ_", min_size=1, max_size=5), st.text(max_size=5), max_size=5))
def test_a_query_is_read_as_php_reads_it(values: dict[str, str]) -> None:
    """Nested keys make maps; keys 0..n make lists."""
    text = "&".join(f"filter[{quote(key)}]={quote(value)}" for key, value in values.items())
    assert parse_query(text) == ({"filter": values} if values else {})
    assert parse_query("a[]=1&a[]=2&b[0][x]=3&b[2]=4") == {"a": ["1", "2"], "b": {"0": {"x": "3"}, "2": "4"}}
