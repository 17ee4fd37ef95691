"""Callibri: what is asked, what its answers mean, and the traps of contract callibri."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from adapters.callibri import mapping, wire
from adapters.callibri.fake import EMAIL, SITE, Callibri, Quirks
from adapters.callibri.settings import CallibriSettings
from adapters.callibri.source import CallibriSource, build
from bridge import identity
from bridge.errors import AuthError, BridgeError, Drift, Refused, Throttled
from bridge.model import Deal
from bridge.ports import BadRecord, Level, Window
from bridge.sim.clock import ManualClock
from bridge.sim.events import Call, Click
from tests.support import START, adapter_tools, simulated

SAMPLE = Path(__file__).resolve().parents[3] / "adapters" / "callibri" / "samples" / "statistics.json"
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
WINDOW = Window(START - DAY, START + DAY)
SECRET = "cb-secret-0123456789"
ADDRESS = "https://calls.example"
STATISTICS = f"{ADDRESS}/site_get_statistics"
every_quirk = pytest.mark.parametrize(
    "quirks",
    [Quirks(), Quirks(has_appeal_ids=False), Quirks(has_numbers=True), Quirks(zone="Asia/Vladivostok")],
    ids=["usual", "old ids", "numbers", "another zone"],
)


def rung(number: int, *, at: timedelta = timedelta(0), is_form: bool = False) -> Call:
    yclid = f"1352748209471812{number}"
    landing = f"https://okna.example/?yclid={yclid}"
    click = Click(number, START - HOUR, number, landing, "", yclid, None, f"177511000000000{number:04d}")
    return Call(number, START + at, number, f"7999000{number:04d}", click, 60, is_form)


def answer(*appeals: dict[str, Any], **lists: Any) -> dict[str, Any]:
    return {"code": 200, "channels_statistics": [{"channel_id": 1, "calls": list(appeals), **lists}]}


def appeal(number: int, **values: Any) -> dict[str, Any]:
    return {"appeal_id": number, "date": f"{START:%Y-%m-%dT%H:%M:%S}.000Z", "phone": "79990000001", **values}


@asynccontextmanager
async def at(folder: Path, fake: Callibri, **settings: Any) -> AsyncIterator[CallibriSource]:
    """The source on a running simulator."""
    async with simulated(fake, folder) as tools:
        yield build("calls", CallibriSettings.model_validate({**fake.settings(), **settings}), tools)


@asynccontextmanager
async def alone(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[CallibriSource]:
    """The source without a server: the test answers."""
    monkeypatch.setenv("CB_TOKEN", SECRET)
    section = {"base_url": ADDRESS, "site_id": SITE, "user_email": EMAIL, "token": {"env": "CB_TOKEN"}, **settings}
    async with adapter_tools(ManualClock(START), folder) as tools:
        yield build("calls", CallibriSettings.model_validate(section), tools)


async def touches(source: CallibriSource, window: Window = WINDOW) -> list[Deal | BadRecord]:
    found: list[Deal | BadRecord] = []
    async for listing in source.scan(window):
        found += [*listing.bad, *await source.complete(listing.heads, frozenset(), window)]
    return found


async def told(folder: Path, monkeypatch: pytest.MonkeyPatch, body: Any, **settings: Any) -> list[Deal | BadRecord]:
    """What the source makes of this answer."""
    with respx.mock(using="httpx") as mock:
        mock.get(STATISTICS).respond(json=body)
        async with alone(folder, monkeypatch, **settings) as source:
            return await touches(source)


def identifiers(deal: Deal | BadRecord) -> dict[str, str]:
    assert isinstance(deal, Deal)
    return {str(item.kind): item.value for item in identity.read(deal).identifiers}


def test_a_form_tells_its_writer_and_its_visit() -> None:
    """The ClientID is ``metrika_client_id``; ``ym_uid`` is a number of Callibri's own; click ids are in the address."""
    (listed,) = [row for row in wire.statistics(SAMPLE.read_bytes()) if isinstance(row, wire.Listed)]
    touch = mapping.touch_of(listed, use_guesses=False)
    assert touch.key == "form:90500123"
    assert touch.created_at == datetime(2026, 3, 31, 4, 44, 44, tzinfo=UTC)
    assert [(contact.phones, contact.emails) for contact in touch.contacts] == [
        (("79000000001",), ("lead@example.test",))
    ]
    assert identifiers(touch) == {
        "client_id": "1711850000123456789",
        "ga_client_id": "1300000000.1711850000",
        "yclid": "1234567890123456789",
    }


async def test_days_are_asked_for_by_the_week_and_a_day_more_at_both_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most seven days inclusive, ``dd.mm.yyyy``; e-mail and token go along as parameters."""
    with respx.mock(using="httpx") as mock:
        route = mock.get(STATISTICS).respond(json={"code": 200})
        async with alone(tmp_path, monkeypatch) as source:
            await touches(source, Window(START - 9 * DAY, START))
    params = [dict(call.request.url.params) for call in route.calls]
    assert [(one["date1"], one["date2"]) for one in params] == [
        ("20.02.2026", "26.02.2026"),
        ("27.02.2026", "03.03.2026"),
    ]
    assert {(one["site_id"], one["user_email"], one["user_token"]) for one in params} == {(str(SITE), EMAIL, SECRET)}


@every_quirk
async def test_every_appeal_is_one_touch_however_the_vendor_shows_it(quirks: Quirks, tmp_path: Path) -> None:
    """In several channels, with an older number, with the ClientID as a number, at the edges of the project's days."""
    clock = ManualClock(START + DAY)
    fake = Callibri(clock, is_limited=False, quirks=quirks)
    calls = [rung(number, at=-number * HOUR * 2, is_form=number > 3) for number in range(1, 7)]
    for call in calls:
        fake.ring(call)
    async with at(tmp_path, fake, timezone="Europe/Moscow") as source:
        found = await touches(source)
    assert sorted(deal.key for deal in found) == sorted(fake.call_key(call) for call in calls)
    for call in calls:
        (touch,) = [deal for deal in found if deal.key == fake.call_key(call)]
        assert call.click is not None
        assert identifiers(touch) == {"client_id": call.click.client_id, "yclid": call.click.yclid}


async def test_what_is_learned_of_a_visit_later_is_another_version(tmp_path: Path) -> None:
    """The appeal is listed again for two days, and its click is new then."""
    clock = ManualClock(START + 2 * MINUTE)
    fake = Callibri(clock, is_limited=False)
    fake.ring(rung(1))
    async with at(tmp_path, fake) as source:
        (early,) = await touches(source)
        clock.set(START + HOUR)
        (late,) = await touches(source)
        assert source.traits.overlap == 2 * DAY
    assert identifiers(early) == {}
    assert set(identifiers(late)) == {"client_id", "yclid"}
    assert early.version != late.version


async def test_a_call_that_may_be_another_visitors_brings_no_click_unless_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``accurately: false``: several visitors saw the number; a missing mark is no doubt."""
    sure = appeal(2, metrika_client_id="1711850000123456789")
    guess = appeal(1, accurately=False, metrika_client_id="1711850000123456789")
    first = await told(tmp_path, monkeypatch, answer(guess, sure))
    assert [identifiers(deal) for deal in first] == [{}, {"client_id": "1711850000123456789"}]
    (second,) = await told(tmp_path, monkeypatch, answer(guess), use_guesses=True)
    assert identifiers(second) == {"client_id": "1711850000123456789"}


@pytest.mark.parametrize(
    "lists", [{}, {"feedbacks": None}, {"chats": [], "emails": None}], ids=["missing", "null", "empty"]
)
async def test_lists_may_be_missing_null_or_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lists: dict[str, Any]
) -> None:
    """So may the channels themselves."""
    assert [deal.key for deal in await told(tmp_path, monkeypatch, answer(appeal(1), **lists))] == ["call:1"]
    assert await told(tmp_path, monkeypatch, {"code": 200, "channels_statistics": None}) == []


async def test_one_unreadable_row_does_not_hold_up_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named by its key, and its content is in no message."""
    rows = [appeal(1, date={"x": "79990000001"}), appeal(2, date="soon 79990000001"), appeal(3)]
    found = await told(tmp_path, monkeypatch, answer(*rows))
    bad = [item for item in found if isinstance(item, BadRecord)]
    assert [item.key for item in bad] == ["call:1", "call:2"]
    assert not any("7999" in item.message for item in bad)
    assert [item.key for item in found if isinstance(item, Deal)] == ["call:3"]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (httpx.Response(200, json={"code": 401, "message": "no"}), AuthError),
        (httpx.Response(401, json={"code": 401}), AuthError),
        (httpx.Response(200, json={"code": 400}), Refused),
        (httpx.Response(404, text="not found"), Refused),
        (httpx.Response(200, json={"code": 429}), Throttled),
        (httpx.Response(200, text="<html>"), Drift),
    ],
    ids=["code 401", "status 401", "code 400", "status 404", "code 429", "html"],
)
async def test_what_is_wrong_is_said_without_e_mail_and_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: httpx.Response, error: type[BridgeError]
) -> None:
    """The ``code`` of a body counts where the status is good; both travel in the address, which is never shown."""
    with respx.mock(using="httpx") as mock:
        mock.get(STATISTICS).mock(return_value=reply)
        async with alone(tmp_path, monkeypatch) as source:
            with pytest.raises(error) as raised:
                await touches(source)
    shown = f"{raised.value!r} {raised.value.__cause__!r}"
    assert SECRET not in shown
    assert EMAIL not in shown
    assert "?" not in shown


async def test_a_project_the_token_does_not_see_is_an_error_that_names_those_it_sees(tmp_path: Path) -> None:
    """A number can be mistyped; the right one is in the list."""
    async with at(tmp_path, Callibri(ManualClock(START), is_limited=False), site_id=777) as source:
        errors = [finding.message for finding in await source.check() if finding.level is Level.ERROR]
    assert f"{SITE}" in errors[0]
    assert "777" in errors[0]


@pytest.mark.parametrize("has_http_errors", [False, True])
async def test_the_simulator_refuses_what_the_vendor_refuses(has_http_errors: bool) -> None:
    """A wrong token, a foreign project, more than seven days, another date format, requests without a pause."""
    fake = Callibri(ManualClock(START), is_limited=False, quirks=Quirks(has_http_errors=has_http_errors))
    base = await fake.start()
    right = {"user_email": EMAIL, "user_token": fake.token, "site_id": str(SITE)}
    week = {"date1": "01.03.2026", "date2": "07.03.2026"}
    try:
        async with httpx.AsyncClient(base_url=base) as client:
            asked = [
                {**right, **week, "user_token": "x"},
                {**right, **week, "site_id": "1"},
                {**right, **week, "date2": "08.03.2026"},
                {**right, **week, "date1": "2026-03-01"},
                {**right, **week},
            ]
            answers = [await client.get("/site_get_statistics", params=params) for params in asked]
            fake.is_limited = True
            hurried = await client.get("/site_get_statistics", params={**right, **week})
    finally:
        await fake.stop()
    assert [one.json()["code"] for one in answers] == [401, 403, 400, 400, 200]
    assert {one.status_code for one in answers[:4]} == ({401, 403, 400} if has_http_errors else {200})
    assert hurried.status_code == 429
