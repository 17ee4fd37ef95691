"""Roistat: what is asked, what its answers mean, and the traps of contract roistat."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import respx

from adapters.roistat import api, mapping, wire
from adapters.roistat.fake import PROJECT, Quirks, Roistat
from adapters.roistat.settings import RoistatSettings
from adapters.roistat.source import RoistatSource, build
from bridge import identity
from bridge.errors import AuthError, BridgeError, Drift, Refused, Throttled, Unavailable
from bridge.model import Deal, DealKind, utc
from bridge.ports import BadRecord, Level, Window
from bridge.sim.clock import ManualClock
from bridge.sim.events import Call, Click
from tests.support import START, adapter_tools, simulated

SAMPLES = Path(__file__).resolve().parents[3] / "adapters" / "roistat" / "samples"
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
WINDOW = Window(START - DAY, START + DAY)
SECRET = "rs-secret-0123456789"
ADDRESS = "https://calls.example/api/v1"
CALLS = f"{ADDRESS}/project/calltracking/call/list"
ORDERS = f"{ADDRESS}/project/integration/order/list"
LEADS = f"{ADDRESS}/project/proxy-leads"
VISIT = {
    "roistat": "1234567",
    "client_id": "1772690000123456789",
    "ga_client_id": "1400000000.1772690000",
    "yclid": "1234567890123456790",
}


def rung(number: int, *, at: timedelta = timedelta(0), is_form: bool = False, has_click: bool = True) -> Call:
    yclid = f"1352748209471812{number}"
    landing = f"https://okna.example/?yclid={yclid}"
    click = Click(number, START - HOUR, number, landing, "", yclid, None, f"177511000000000{number:04d}")
    return Call(number, START + at, number, f"7999000{number:04d}", click if has_click else None, 60, is_form)


@asynccontextmanager
async def at(folder: Path, fake: Roistat, **settings: Any) -> AsyncIterator[RoistatSource]:
    """The source on a running simulator."""
    async with simulated(fake, folder) as tools:
        yield build("calls", RoistatSettings.model_validate({**fake.settings(), **settings}), tools)


@asynccontextmanager
async def alone(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[RoistatSource]:
    """The source without a server: the test answers."""
    monkeypatch.setenv("RS_KEY", SECRET)
    section = {"base_url": ADDRESS, "project": PROJECT, "api_key": {"env": "RS_KEY"}, **settings}
    async with adapter_tools(ManualClock(START), folder) as tools:
        yield build("calls", RoistatSettings.model_validate({**section, "orders_per_minute": 60_000}), tools)


async def touches(source: RoistatSource, window: Window = WINDOW) -> list[Deal | BadRecord]:
    found: list[Deal | BadRecord] = []
    async for listing in source.scan(window):
        found += [*listing.bad, *await source.complete(listing.heads, frozenset(), window)]
    return found


def identifiers(deal: Deal | BadRecord) -> dict[str, str]:
    assert isinstance(deal, Deal)
    return {str(item.kind): item.value for item in identity.read(deal).identifiers}


def page(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": list(rows), "total": len(rows)}


def test_a_call_tells_its_caller_and_its_visit() -> None:
    """``caller`` is the client, ``callee`` the tracker's; the yclid is in the landing page's address alone."""
    row = wire.record(wire.rows((SAMPLES / "calls.json").read_bytes())[0], wire.Call)
    assert isinstance(row, wire.Call)
    touch = mapping.touch_of(row)
    assert (touch.key, touch.kind) == ("call:3001", DealKind.CALL)
    assert [contact.phones for contact in touch.contacts] == [("79000000003",)]
    assert identifiers(touch) == VISIT


def test_an_order_tells_of_its_visit_and_of_nobody() -> None:
    """It is joined by the visit's number; the order's own money and stage are not read."""
    rows = [wire.record(row, wire.Order) for row in wire.rows((SAMPLES / "orders.json").read_bytes())]
    assert isinstance(rows[0], wire.Order)
    touch = mapping.touch_of(rows[0])
    assert (touch.key, touch.contacts, touch.value, touch.history) == ("visit:deal_501", (), None, ())
    assert identifiers(touch) == VISIT


def test_a_proxy_lead_has_the_number_of_its_visit_and_a_time_of_utc() -> None:
    """Without a zone the time is UTC; a marker's text is no number."""
    (row,) = wire.proxy_leads((SAMPLES / "proxy_leads.json").read_bytes())
    lead = wire.record(row, wire.ProxyLead)
    assert isinstance(lead, wire.ProxyLead)
    touch = mapping.touch_of(wire.Form(lead, None))
    assert touch.created_at == utc(1772690851)
    assert identifiers(touch) == {"roistat": "1234567"}
    assert [(contact.phones, contact.emails) for contact in touch.contacts] == [(("79000000002",), ("p@example.test",))]
    marked = msgspec.structs.replace(lead, roistat="call_offline")
    assert mapping.touch_of(wire.Form(marked, None)).clues == ()


async def test_the_visit_of_a_proxy_lead_comes_from_its_order(tmp_path: Path) -> None:
    """The lead has the phone, the order has the visit, and the number is in both."""
    clock = ManualClock(START + HOUR)
    fake = Roistat(clock, is_limited=False)
    for call in (rung(1, is_form=True), rung(2), rung(3, is_form=True, has_click=False)):
        fake.ring(call)
    async with at(tmp_path, fake) as source:
        found = {deal.key: identifiers(deal) for deal in await touches(source)}
    assert set(found) == {"form:901", "visit:lead_1", "call:3002", "form:903"}
    assert found["form:901"] == found["visit:lead_1"]
    assert set(found["form:901"]) == {"roistat", "client_id", "yclid"}
    assert found["form:903"] == {}


async def test_only_what_is_wanted_is_read(tmp_path: Path) -> None:
    """Orders are asked for their visits even where only forms are wanted."""
    fake = Roistat(ManualClock(START + HOUR), is_limited=False)
    for call in (rung(1, is_form=True), rung(2)):
        fake.ring(call)
    async with at(tmp_path, fake, entities=["form"]) as source:
        assert [deal.key for deal in await touches(source)] == ["form:901"]
    async with at(tmp_path, fake, entities=["call"]) as source:
        fake.requests.clear()
        assert [deal.key for deal in await touches(source)] == ["call:3002"]
        assert set(fake.requests) == {"POST /project/calltracking/call/list"}


async def test_lists_are_narrowed_by_filters_in_utc_and_the_key_is_in_the_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``filters`` alone narrows a list; an address never holds the key."""
    with respx.mock(using="httpx") as mock:
        orders = mock.post(ORDERS).respond(json=page())
        calls = mock.post(CALLS).respond(json=page())
        leads = mock.get(LEADS).respond(json={"ProxyLeads": None, "status": "success"})
        async with alone(tmp_path, monkeypatch) as source:
            assert await touches(source) == []
    for route, field in ((orders, "creation_date"), (calls, "date")):
        body = msgspec.json.decode(route.calls[0].request.content)
        bounds = [[field, ">=", "2026-03-01T09:00:00+0000"], [field, "<", "2026-03-03T09:00:01+0000"]]
        assert body["filters"] == {"and": bounds}
        assert body["extend"] == ["visit"]
    assert dict(leads.calls[0].request.url.params)["period"] == "2026-03-01-2026-03-03"
    for route in (orders, calls, leads):
        request = route.calls[0].request
        assert request.headers["Api-key"] == SECRET
        assert SECRET not in str(request.url)
        assert dict(request.url.params)["project"] == str(PROJECT)


async def test_an_ignored_filter_stops_the_reading(tmp_path: Path) -> None:
    """Else the whole base would be read with every poll."""
    fake = Roistat(ManualClock(START + HOUR), is_limited=False, quirks=Quirks(ignores_filters=True))
    fake.ring(rung(1, at=-40 * DAY))
    async with at(tmp_path, fake) as source:
        with pytest.raises(Drift, match="ignores the filter"):
            await touches(source)


async def test_pages_are_read_to_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By offset, until one is not full; one that repeats is drift."""
    monkeypatch.setattr(api, "MOST", 2)
    fake = Roistat(ManualClock(START + HOUR), is_limited=False)
    for number in range(1, 6):
        fake.ring(rung(number, at=-number * MINUTE))
    async with at(tmp_path, fake, entities=["call"]) as source:
        assert {deal.key for deal in await touches(source)} == {f"call:{3000 + number}" for number in range(1, 6)}
    row = {"id": 1, "date": "2026-03-02T09:00:00+0000"}
    with respx.mock(using="httpx") as mock:
        mock.post(CALLS).respond(json=page(row, row))
        async with alone(tmp_path, monkeypatch, entities=["call"]) as source:
            with pytest.raises(Drift, match="same page"):
                await touches(source)


async def test_what_is_learned_of_a_visit_later_is_another_version(tmp_path: Path) -> None:
    """The call is listed again for two days, and its click is new then."""
    clock = ManualClock(START + 2 * MINUTE)
    fake = Roistat(clock, is_limited=False)
    fake.ring(rung(1))
    async with at(tmp_path, fake) as source:
        (early,) = await touches(source)
        clock.set(START + HOUR)
        (late,) = await touches(source)
        assert source.traits.overlap == 2 * DAY
    assert (identifiers(early), set(identifiers(late))) == ({}, {"roistat", "client_id", "yclid"})
    assert early.version != late.version


async def test_one_unreadable_row_does_not_hold_up_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named by its key, and its content is in no message."""
    good = {"id": 3, "date": "2026-03-02T09:00:00+0000"}
    bad = [{"id": 1, "date": {"x": "79990000001"}}, {"id": 2, "date": "soon 79990000001"}]
    with respx.mock(using="httpx") as mock:
        mock.post(CALLS).respond(json=page(*bad, good))
        async with alone(tmp_path, monkeypatch, entities=["call"]) as source:
            found = await touches(source)
    aside = [item for item in found if isinstance(item, BadRecord)]
    assert [item.key for item in aside] == ["call:1", "call:2"]
    assert not any("7999" in item.message for item in aside)
    assert [item.key for item in found if isinstance(item, Deal)] == ["call:3"]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, {"status": "error", "error": "authentication_failed", "description": "rs-secret"}, AuthError),
        (200, {"status": "error", "error": "access_denied"}, AuthError),
        (200, {"status": "error", "error": "request_limit_error"}, Throttled),
        (429, {"status": "error", "error": "request_limit_error"}, Throttled),
        (200, {"status": "error", "error": "request_data_validation_error"}, Refused),
        (500, {"status": "error", "error": "incorrect_request"}, Refused),
        (500, "<html>", Unavailable),
        (200, "<html>", Drift),
        (200, {"status": "success"}, Drift),
    ],
)
async def test_the_body_says_what_an_answer_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: Any, error: type[BridgeError]
) -> None:
    """HTTP status 200 proves nothing; the vendor's description, which may echo anything, is not shown."""
    reply = httpx.Response(status, text=body) if isinstance(body, str) else httpx.Response(status, json=body)
    with respx.mock(using="httpx") as mock:
        mock.post(CALLS).mock(return_value=reply)
        async with alone(tmp_path, monkeypatch, entities=["call"]) as source:
            with pytest.raises(error) as raised:
                await touches(source)
    assert "rs-secret" not in f"{raised.value!r} {raised.value.__cause__!r}"


async def test_a_project_the_key_does_not_see_is_an_error_that_names_those_it_sees(tmp_path: Path) -> None:
    """A number can be mistyped; the right one is in the list."""
    async with at(tmp_path, Roistat(ManualClock(START), is_limited=False), project=777) as source:
        errors = [finding.message for finding in await source.check() if finding.level is Level.ERROR]
    assert str(PROJECT) in errors[0]
    assert "777" in errors[0]


async def test_the_simulator_has_the_vendors_limits_and_its_silence() -> None:
    """Five long lists of orders a minute; a period in the body is ignored, and everything is handed out."""
    fake = Roistat(ManualClock(START))
    base = await fake.start()
    fake.ring(rung(1, at=-40 * DAY, is_form=True))
    body = {"period": {"from": "2026-03-01", "to": "2026-03-02"}, "limit": 900}
    try:
        headers, params = {"Api-key": fake.key}, {"project": str(PROJECT)}
        async with httpx.AsyncClient(base_url=base, headers=headers, params=params) as client:
            path = "/project/integration/order/list"
            answers = [(await client.post(path, json=body)).json() for _ in range(6)]
            foreign = (await client.post(path, json=body, params={"project": "1"})).json()
            keyless = (await client.post(path, json=body, headers={"Api-key": "x"})).json()
    finally:
        await fake.stop()
    assert [answer["status"] for answer in answers] == ["success"] * 5 + ["error"]
    assert answers[0]["total"] == 1
    assert answers[5]["error"] == "request_limit_error"
    assert (foreign["error"], keyless["error"]) == ("access_denied", "authentication_failed")
