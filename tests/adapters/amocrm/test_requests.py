"""Exact requests on the wire, and answers that no simulator gives."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from adapters.amocrm.settings import AmoCrmSettings
from adapters.amocrm.source import AmoCrmSource, build
from bridge.errors import AuthError, Drift, Refused
from bridge.model import utc
from bridge.ports import Window
from bridge.sim.clock import ManualClock
from tests.adapters.amocrm.kit import raw_lead, read
from tests.support import START, adapter_tools

BASE = "https://okna.amocrm.ru"
SAMPLES = Path(__file__).parents[3] / "adapters" / "amocrm" / "samples"
WINDOW = Window(utc(1_760_000_000), utc(1_760_003_600))


@pytest.fixture
async def source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[AmoCrmSource]:
    monkeypatch.setenv("AMO_TOKEN", "t0ken")
    section = {"kind": "amocrm", "base_url": BASE, "auth": {"token": {"env": "AMO_TOKEN"}}, "requests_per_second": 1000}
    async with adapter_tools(ManualClock(START), tmp_path) as tools:
        yield build("crm", AmoCrmSettings.model_validate(section), tools)


def listing(*leads: dict[str, Any], more: bool = False) -> httpx.Response:
    links = {"next": {"href": "somewhere"}} if more else {}
    return httpx.Response(200, json={"_page": 1, "_links": links, "_embedded": {"leads": leads}})


async def keys(source: AmoCrmSource) -> list[str]:
    return [head.key async for page in source.scan(WINDOW) for head in page.heads]


def sample(name: str) -> httpx.Response:
    return httpx.Response(200, content=(SAMPLES / name).read_bytes())


@respx.mock(using="httpx")
async def test_a_window_is_asked_for_one_second_wider_and_from_the_last_second_on(
    respx_mock: respx.MockRouter, source: AmoCrmSource
) -> None:
    """Brackets unescaped, oldest first, page 1 again and again, the token in the header and nowhere else."""
    route = respx_mock.get(f"{BASE}/api/v4/leads")
    route.side_effect = [
        listing(raw_lead(1, 1_760_000_100), more=True),
        listing(raw_lead(2, 1_760_000_200)),
        httpx.Response(204),
    ]
    fates = respx_mock.get(f"{BASE}/api/v4/events").mock(return_value=httpx.Response(204))
    heads = await keys(source)
    assert heads == ["lead:1", "lead:2"]
    first, second = (call.request for call in route.calls)
    assert str(first.url) == (
        f"{BASE}/api/v4/leads?with=contacts,loss_reason,source&filter[updated_at][from]=1759999999"
        "&filter[updated_at][to]=1760003600&order[updated_at]=asc&limit=250&page=1"
    )
    assert "[from]=1760000099&" in str(second.url)
    assert str(fates.calls[0].request.url) == (
        f"{BASE}/api/v4/events?filter[type][]=lead_deleted&filter[type][]=lead_restored&filter[type][]=entity_merged"
        "&filter[entity]=lead&filter[created_at][from]=1759999999&filter[created_at][to]=1760003600&limit=100&page=1"
    )
    assert first.headers["authorization"] == "Bearer t0ken"


@respx.mock(using="httpx")
async def test_samples_of_the_contract_make_a_whole_deal(respx_mock: respx.MockRouter, source: AmoCrmSource) -> None:
    """The documented bodies, read end to end."""
    respx_mock.get(f"{BASE}/api/v4/leads").mock(return_value=sample("leads.json"))
    respx_mock.get(f"{BASE}/api/v4/account").mock(return_value=sample("account.json"))
    contacts = respx_mock.get(f"{BASE}/api/v4/contacts").mock(return_value=sample("contacts.json"))
    events = respx_mock.get(f"{BASE}/api/v4/events").mock(return_value=sample("events.json"))
    (deal,) = await read(source, Window(utc(1_760_000_000), utc(1_760_007_200)))
    assert str(contacts.calls[0].request.url).endswith("/contacts?filter[id][]=10971501&limit=250&page=1")
    assert (
        "filter[type][]=lead_status_changed&filter[entity]=lead&filter[entity_id][]=10500001&limit=100&page=1"
        in str(events.calls[0].request.url)
    )
    assert deal.key == "lead:10500001"
    assert [(change.at.timestamp(), change.stage) for change in deal.history] == [  # type: ignore[union-attr]  # it is a deal, not a bad record
        (1759900000, "47001002"),
        (1760003600, "142"),
    ]


@respx.mock(using="httpx")
async def test_pages_that_do_not_move_on_or_come_unsorted_are_drift(
    respx_mock: respx.MockRouter, source: AmoCrmSource
) -> None:
    """The cursor stays when the vendor repeats a page, loses the order, or sends HTML with a good status."""
    route = respx_mock.get(f"{BASE}/api/v4/leads")
    route.mock(return_value=listing(raw_lead(1, 1_760_000_000), more=True))
    with pytest.raises(Drift, match="twice"):
        await keys(source)
    route.mock(return_value=listing(raw_lead(1, 1_760_000_200), raw_lead(2, 1_760_000_100)))
    with pytest.raises(Drift, match="order"):
        await keys(source)
    route.mock(return_value=httpx.Response(200, text="<html>"))
    with pytest.raises(Drift, match="JSON"):
        await keys(source)


@respx.mock(using="httpx")
async def test_a_row_newer_than_the_window_is_left_for_the_next_one(
    respx_mock: respx.MockRouter, source: AmoCrmSource
) -> None:
    """A lead may be edited between being chosen and being printed; that is no ground for alarm."""
    rows = [raw_lead(1, 1_760_000_100), raw_lead(2, 1_760_009_999), raw_lead(3, 1_760_000_200)]
    respx_mock.get(f"{BASE}/api/v4/leads").mock(return_value=listing(*rows))
    respx_mock.get(f"{BASE}/api/v4/events").mock(return_value=httpx.Response(204))
    assert await keys(source) == ["lead:1", "lead:3"]


@respx.mock(using="httpx")
async def test_an_id_filter_without_effect_is_drift_and_a_right_that_is_missing_is_refused(
    respx_mock: respx.MockRouter, source: AmoCrmSource
) -> None:
    """Reading the whole base to find one lead would be abuse; asking again without the right would be, too."""
    route = respx_mock.get(f"{BASE}/api/v4/leads")
    route.mock(return_value=listing(raw_lead(7, 1), more=True))
    with pytest.raises(Drift, match="filter by id"):
        await source.fetch(["lead:5"])
    route.mock(return_value=httpx.Response(403, json={"status": 403}))
    with pytest.raises(Refused, match="right"):
        await source.fetch([f"lead:{number}" for number in range(9)])
    route.mock(return_value=httpx.Response(403, text="<html>"))
    with pytest.raises(AuthError, match="banned"):
        await source.fetch(["lead:5"])


@respx.mock(using="httpx")
async def test_an_account_without_a_currency_uses_the_tenants(
    respx_mock: respx.MockRouter, source: AmoCrmSource
) -> None:
    """A code that is no code is not trusted."""
    respx_mock.get(f"{BASE}/api/v4/leads").mock(return_value=listing(raw_lead(1, 1_760_000_100, price=5)))
    respx_mock.get(f"{BASE}/api/v4/account").mock(return_value=httpx.Response(200, json={"id": 1, "currency": None}))
    respx_mock.get(f"{BASE}/api/v4/events").mock(return_value=httpx.Response(204))
    (deal,) = await read(source, WINDOW)
    assert str(deal.value) == "5.00 RUB"  # type: ignore[union-attr]  # it is a deal, not a bad record


def test_samples_are_json() -> None:
    """Each file can be read by a person and by a program."""
    names = sorted(path.name for path in SAMPLES.iterdir())
    assert names == ["account.json", "contacts.json", "events.json", "leads.json"]
    assert all(json.loads((SAMPLES / name).read_text(encoding="utf-8")) for name in names)
