"""The simulator refuses what the vendor refuses, with the vendor's own bodies (contract hubspot 2, 3, 5, 6)."""

from __future__ import annotations

from datetime import timedelta
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hubspot import fake_query
from adapters.hubspot.fake import HubSpot
from adapters.hubspot.fake_data import PortalData
from adapters.hubspot.fake_schema import CONTACTS, DEALS
from adapters.hubspot.settings import SCOPES
from tests.adapters.hubspot.kit import HOUR, NEW, WON, Rig, running
from tests.support import START

SEARCH = "/crm/v3/objects/deals/search"
BATCH = "/crm/v3/objects/deals/batch/read"
LINKS = "/crm/v4/associations/deals/contacts/batch/read"


async def ask(portal: HubSpot, path: str, body: Any = None, token: str | None = None) -> httpx.Response:
    """A GET, or with a body a POST."""
    headers = {"authorization": f"Bearer {portal.tokens.private if token is None else token}"}
    async with httpx.AsyncClient(base_url=portal.base_url, headers=headers) as client:
        return await (client.get(path) if body is None else client.post(path, json=body))


def ids(count: int) -> dict[str, Any]:
    return {"inputs": [{"id": str(501 + number)} for number in range(count)], "properties": []}


def filters(count: int, groups: int = 1) -> dict[str, Any]:
    one = {"propertyName": "amount", "operator": "GT", "value": "1"}
    return {"filterGroups": [{"filters": [one] * count}] * groups}


async def refused(rig: Rig, path: str, body: Any = None, status: int = 400) -> dict[str, Any]:
    answer = await ask(rig.portal, path, body)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    assert {"status", "message", "correlationId", "category"} <= set(found)
    return found


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 201},
        {"limit": 0},
        {"limit": 200, "after": "9801"},
        {"limit": 1, "after": "10000"},
        {"after": "x"},
        {"sorts": [{"propertyName": "amount"}, {"propertyName": "createdate"}]},
        {"sorts": ["nonsense"]},
        {"filterGroups": [{"filters": [{"propertyName": "nonsense", "operator": "EQ", "value": "1"}]}]},
        {"filterGroups": [{"filters": [{"propertyName": "amount", "operator": "LIKE", "value": "1"}]}]},
        {"filterGroups": [{"filters": [{"propertyName": "amount", "operator": "GT"}]}]},
        filters(7),
        filters(1, 6),
        filters(6, 4),
    ],
)
async def test_a_search_out_of_bounds_is_refused(tmp_path: Path, query: dict[str, Any]) -> None:
    """Pages of 200, 10,000 results, one sort, five groups of six filters, properties that exist."""
    async with running(tmp_path) as rig:
        assert (await refused(rig, SEARCH, query))["category"] == "VALIDATION_ERROR"


async def test_a_search_pages_by_offset_and_counts(tmp_path: Path) -> None:
    """Paging is missing on the last page; values are texts or null; histories and associations are left out."""
    async with running(tmp_path) as rig:
        for number in range(5):
            rig.deal(START + number * HOUR, amount=str(number))
        wanted = {"limit": 3, "sorts": [{"propertyName": "amount", "direction": "DESCENDING"}]}
        query = {**wanted, "properties": ["amount", "closed_lost_reason", "nonsense"]}
        first = (await ask(rig.portal, SEARCH, query)).json()
        assert first["total"] == 5
        assert [row["properties"]["amount"] for row in first["results"]] == ["4", "3", "2"]
        assert first["results"][0]["properties"]["closed_lost_reason"] is None
        assert "nonsense" not in first["results"][0]["properties"]
        assert {"propertiesWithHistory", "associations"}.isdisjoint(first["results"][0])
        last = (await ask(rig.portal, SEARCH, {**query, "after": first["paging"]["next"]["after"]})).json()
        assert [row["id"] for row in last["results"]] == ["502", "501"]
        assert "paging" not in last


BOUNDS = st.lists(st.tuples(st.sampled_from(["GTE", "GT", "LT", "LTE", "EQ", "NEQ"]), st.integers(0, 12)), max_size=3)


@given(BOUNDS, st.booleans(), st.booleans(), st.integers(0, 9))
def test_bounds_of_time_find_what_looking_at_each_record_finds(
    bounds: list[tuple[str, int]], has_amount: bool, is_grouped: bool, after: int
) -> None:
    """The simulator cuts a long list of records by their times of change; a search is answered as if it did not."""
    data = PortalData()
    for number in range(12):
        amount = {"amount": str(number)} if number % 3 else {}
        data.add(DEALS, START + timedelta(milliseconds=number % 5), {"dealstage": NEW, **amount})
    data.update(DEALS, 503, START + timedelta(milliseconds=9), {"amount": "7"})
    rows = data.indexed(DEALS, START + HOUR).rows
    base = rows[0].changed
    changed = "hs_lastmodifieddate"
    only = [{"propertyName": changed, "operator": how, "value": str(base + at)} for how, at in bounds]
    only += [{"propertyName": "amount", "operator": "HAS_PROPERTY"}] if has_amount else []
    groups = [{"filters": only}] * (2 if is_grouped else 1)
    query = {"filterGroups": groups, "sorts": [{"propertyName": changed}], "limit": 5, "after": str(after)}
    found = fake_query.run(data.indexed(DEALS, START + HOUR), query, data.properties[DEALS])
    signs = {"GTE": ge, "GT": gt, "LT": lt, "LTE": le, "EQ": eq, "NEQ": ne}
    expected = [row for row in rows if all(signs[how](row.changed, base + at) for how, at in bounds)]
    expected = [row for row in expected if row.values.get("amount") or not has_amount]
    assert [row.number for row in found.rows] == [row.number for row in expected][after : after + 5]
    assert found.total == len(expected)


async def test_a_search_shows_a_change_late_and_a_batch_at_once(tmp_path: Path) -> None:
    """Eventual consistency: within the lag, never later, and never an older state after a newer one."""
    async with running(tmp_path, lag=timedelta(seconds=100)) as rig:
        rig.deal()
        rig.clock.set(START + HOUR)
        only = {"filterGroups": [{"filters": [{"propertyName": "amount", "operator": "HAS_PROPERTY"}]}]}
        for amount in range(1, 20):
            rig.portal.data.update(DEALS, 501, rig.clock.now(), {"amount": str(amount)})
        batch = (await ask(rig.portal, BATCH, {**ids(1), "properties": ["amount"]})).json()
        assert batch["results"][0]["properties"]["amount"] == "19"
        seen = []
        for _ in range(26):
            found = (await ask(rig.portal, SEARCH, {**only, "properties": ["amount"]})).json()["results"]
            seen.append(int(found[0]["properties"]["amount"]) if found else 0)
            rig.clock.advance(timedelta(seconds=4))
        assert seen == sorted(seen)
        assert seen[0] < 19
        assert seen[-1] == 19


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (BATCH, ids(101)),
        (BATCH, {**ids(51), "propertiesWithHistory": ["dealstage"]}),
        (LINKS, ids(1001)),
        ("/crm/v3/objects/deals?limit=101", None),
        ("/crm/v3/objects/deals?limit=51&propertiesWithHistory=dealstage", None),
        ("/crm/v4/objects/deals/501/associations/contacts?limit=501", None),
        ("/crm/v3/objects/unicorns?limit=1", None),
    ],
)
async def test_too_much_at_once_is_refused(tmp_path: Path, path: str, body: Any) -> None:
    """100 records of a batch, 50 with history, 1,000 ids for associations, pages of 100 and 500."""
    async with running(tmp_path) as rig:
        rig.deal()
        await refused(rig, path, body)


async def test_a_batch_with_missing_records_is_a_partial_answer(tmp_path: Path) -> None:
    """207 with the ids; histories newest first; deleted ones only for whoever asks for them."""
    async with running(tmp_path) as rig:
        rig.deal()
        rig.change("deal:501", START + HOUR, dealstage=WON)
        rig.deal()
        rig.portal.data.archive(DEALS, 502, START + HOUR)
        answer = await ask(rig.portal, BATCH, {**ids(3), "propertiesWithHistory": ["dealstage"]})
        assert answer.status_code == 207
        body = answer.json()
        told = body["results"][0]["propertiesWithHistory"]["dealstage"]
        assert [item["value"] for item in told] == [WON, NEW]
        assert body["errors"][0]["context"]["ids"] == ["502", "503"]
        gone = await ask(rig.portal, f"{BATCH}?archived=true", ids(3))
        assert [row["id"] for row in gone.json()["results"]] == ["502"]
        assert gone.json()["results"][0]["archivedAt"]


async def test_a_list_pages_by_id_with_histories_and_associations(tmp_path: Path) -> None:
    """Ten by default; properties by comma or repeated; ``archived`` lists the others."""
    async with running(tmp_path) as rig:
        who = rig.contact()
        for _ in range(12):
            rig.deal(START, {who: None})
        rig.portal.data.archive(DEALS, 512, START)
        more = "properties=amount,dealstage&properties=pipeline&propertiesWithHistory=dealstage&associations=contacts"
        page = (await ask(rig.portal, f"/crm/v3/objects/0-3?{more}")).json()
        assert len(page["results"]) == 10
        first = page["results"][0]
        assert {"amount", "dealstage", "pipeline"} <= set(first["properties"])
        assert first["propertiesWithHistory"]["dealstage"][0]["value"] == NEW
        assert first["associations"]["contacts"]["results"] == [{"id": str(who), "type": "deal_to_contact"}]
        rest = (await ask(rig.portal, f"/crm/v3/objects/deals?after={page['paging']['next']['after']}")).json()
        assert [row["id"] for row in rest["results"]] == ["511"]
        gone = (await ask(rig.portal, "/crm/v3/objects/deals?archived=true")).json()
        assert [row["id"] for row in gone["results"]] == ["512"]


async def test_one_record_by_its_id_or_another_property(tmp_path: Path) -> None:
    """A merged id leads to the survivor; an unknown one is a 404."""
    async with running(tmp_path) as rig:
        rig.contact(START, email="a@example.com", phone="+79990000001")
        rig.contact(START, email="b@example.com")
        rig.portal.data.merge(CONTACTS, 301, 302, START + HOUR)
        found = (await ask(rig.portal, "/crm/v3/objects/contacts/301?properties=phone,email")).json()
        assert (found["id"], found["properties"]["phone"]) == ("302", "+79990000001")
        by_mail = await ask(rig.portal, "/crm/v3/objects/contacts/b@example.com?idProperty=email")
        assert by_mail.json()["id"] == "302"
        assert (await refused(rig, "/crm/v3/objects/contacts/999", status=404))["category"] == "OBJECT_NOT_FOUND"


async def test_tokens_are_checked(tmp_path: Path) -> None:
    """None, a wrong one, one that has ended: 401 with the vendor's category."""
    async with running(tmp_path) as rig:
        portal, path = rig.portal, "/crm/v3/pipelines/deals"
        assert (await ask(portal, path, token="wrong")).json()["category"] == "INVALID_AUTHENTICATION"
        asked = {"grant_type": "refresh_token", "refresh_token": portal.tokens.first_refresh}
        app = {"client_id": "0f6c1a52-7b1d-4c7e-9a55-2f6f0f3a9e11", "client_secret": portal.tokens.client_secret}
        async with httpx.AsyncClient(base_url=portal.base_url) as client:
            as_json = await client.post("/oauth/v1/token", json={**asked, **app})
            assert as_json.status_code == 415
            token = (await client.post("/oauth/v1/token", data={**asked, **app})).json()
        assert token["expires_in"] == 1800
        assert (await ask(portal, path, token=token["access_token"])).status_code == 200
        rig.clock.advance(timedelta(seconds=1800))
        ended = await ask(portal, path, token=token["access_token"])
        assert (ended.status_code, ended.json()["category"]) == (401, "EXPIRED_AUTHENTICATION")


@pytest.mark.parametrize(
    ("path", "body", "scope"),
    [
        (SEARCH, {}, SCOPES[1]),
        (BATCH, ids(1), SCOPES[1]),
        ("/crm/v3/objects/contacts", None, SCOPES[0]),
        (LINKS, ids(1), SCOPES[0]),
        (LINKS, ids(1), SCOPES[1]),
    ],
)
async def test_scopes_are_checked(tmp_path: Path, path: str, body: Any, scope: str) -> None:
    """403 that names what is missing."""
    async with running(tmp_path) as rig:
        rig.portal.tokens.scopes = tuple(name for name in SCOPES if name != scope)
        found = await refused(rig, path, body, 403)
        assert found["category"] == "MISSING_SCOPES"
        assert found["errors"][0]["context"]["requiredGranularScopes"] == [scope]


async def test_rates_are_limited_as_the_vendor_limits_them(tmp_path: Path) -> None:
    """So many in ten seconds, five searches in one, so many in a day; headers tell, but not those of searches."""
    async with running(tmp_path, is_limited=True, burst=8) as rig:
        rig.portal.searches.seconds = rig.portal.burst.seconds = 600  # a busy machine must not let a window pass
        answers = [await ask(rig.portal, SEARCH, {}) for _ in range(6)]
        assert [one.status_code for one in answers] == [200] * 5 + [429]
        assert answers[-1].json()["policyName"] == "SECONDLY"
        assert "x-hubspot-ratelimit-max" not in answers[0].headers
        answers = [await ask(rig.portal, "/crm/v3/pipelines/deals") for _ in range(4)]
        assert [one.status_code for one in answers] == [200] * 3 + [429]
        assert answers[-1].json()["policyName"] == "TEN_SECONDLY_ROLLING"
        assert answers[2].headers["x-hubspot-ratelimit-remaining"] == "0"
    async with running(tmp_path, daily=2) as rig:
        answers = [await ask(rig.portal, "/crm/v3/pipelines/deals") for _ in range(3)]
        assert answers[1].headers["x-hubspot-ratelimit-daily-remaining"] == "0"
        assert answers[2].json()["policyName"] == "DAILY"
        rig.clock.advance(timedelta(days=1))
        assert (await ask(rig.portal, "/crm/v3/pipelines/deals")).status_code == 200


async def test_a_long_address_is_refused(tmp_path: Path) -> None:
    """414: many ids belong into a batch."""
    async with running(tmp_path) as rig:
        answer = await ask(rig.portal, f"/crm/v3/objects/deals?properties={'x' * 4000}")
        assert answer.status_code == 414


async def test_deals_without_contacts_are_named(tmp_path: Path) -> None:
    """207 of the associations; a deal with many contacts comes in pages; ids there are numbers."""
    async with running(tmp_path) as rig:
        rig.portal.links_page = 2
        rig.deal(START, {rig.contact(): "Primary", rig.contact(): None, rig.contact(): None})
        rig.deal()
        body = (await ask(rig.portal, LINKS, ids(2))).json()
        assert [link["toObjectId"] for link in body["results"][0]["to"]] == [301, 302]
        assert body["results"][0]["to"][0]["associationTypes"][1]["label"] == "Primary"
        assert body["results"][0]["paging"]["next"]["after"] == "302"
        assert body["errors"][0]["subCategory"].endswith("NO_ASSOCIATIONS_FOUND")
        rest = (await ask(rig.portal, "/crm/v4/objects/deals/501/associations/contacts?after=302")).json()
        assert [link["toObjectId"] for link in rest["results"]] == [303]
