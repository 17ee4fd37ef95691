"""Calltouch: what is asked, what its answers mean, and the traps of contract calltouch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest
import respx

from adapters.calltouch import mapping, wire
from adapters.calltouch.fake import Calltouch, Quirks
from adapters.calltouch.mapping import Terms
from adapters.calltouch.settings import CalltouchSettings
from adapters.calltouch.source import CalltouchSource, build
from bridge import identity
from bridge.errors import AuthError, BridgeError, Drift, Refused
from bridge.model import Deal, IdKind
from bridge.ports import BadRecord, Level, Window
from bridge.sim.clock import ManualClock
from bridge.sim.events import Call, Click
from tests.support import START, adapter_tools, simulated

SAMPLES = Path(__file__).resolve().parents[3] / "adapters" / "calltouch" / "samples"
MOSCOW = Terms.of("Europe/Moscow", {IdKind.YCLID: ["Мой клик"]})
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
WINDOW = Window(START - DAY, START + DAY)
SECRET = "ct-secret-0123456789"
ADDRESS = "https://calls.example"
CALLS = f"{ADDRESS}/calls-service/RestAPI/52001/calls-diary/calls"
FORMS = f"{ADDRESS}/calls-service/RestAPI/requests"


def click(number: int) -> Click:
    yclid = f"1352748209471812{number}"
    landing = f"https://okna.example/?yclid={yclid}"
    return Click(number, START - timedelta(hours=1), number, landing, "", yclid, None, f"177511000000000{number:04d}")


def rung(number: int, *, at: timedelta = timedelta(0), is_form: bool = False, has_click: bool = True) -> Call:
    return Call(number, START + at, number, f"7999000{number:04d}", click(number) if has_click else None, 60, is_form)


def sample(name: str) -> list[wire.Record]:
    body = (SAMPLES / name).read_bytes()
    found: list[Any] = []
    if name == "calls.json":
        found = list(wire.decoded(wire.page(body).records or [], wire.Call))
    else:
        found = list(wire.decoded(wire.rows(body), wire.Form))
    return found


@asynccontextmanager
async def at(folder: Path, fake: Calltouch, **settings: Any) -> AsyncIterator[CalltouchSource]:
    """The source on a running simulator."""
    async with simulated(fake, folder) as tools:
        yield build("calls", CalltouchSettings.model_validate({**fake.settings(), **settings}), tools)


@asynccontextmanager
async def alone(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[CalltouchSource]:
    """The source without a server: the test answers."""
    monkeypatch.setenv("CT_TOKEN", SECRET)
    section = {"base_url": ADDRESS, "site_id": 52001, "token": {"env": "CT_TOKEN"}, **settings}
    async with adapter_tools(ManualClock(START), folder) as tools:
        yield build("calls", CalltouchSettings.model_validate(section), tools)


async def touches(source: CalltouchSource, window: Window) -> list[Deal | BadRecord]:
    found: list[Deal | BadRecord] = []
    async for listing in source.scan(window):
        found += [*listing.bad, *await source.complete(listing.heads, frozenset(), window)]
    return found


def identifiers(deal: Deal | BadRecord) -> dict[str, str]:
    assert isinstance(deal, Deal)
    return {str(item.kind): item.value for item in identity.read(deal).identifiers}


class TestMapping:
    def test_a_call_tells_its_caller_and_never_the_number_that_was_dialled(self) -> None:
        """``callerNumber`` is the client's, ``phoneNumber`` the tracker's own."""
        touch = mapping.touch_of(sample("calls.json")[0], MOSCOW)
        assert touch.key == "call:700100200"
        assert [contact.phones for contact in touch.contacts] == [("79000000002",)]
        assert touch.contacts[0].id == ""

    def test_identifiers_of_a_call_are_in_their_fields_and_in_the_entry_page(self) -> None:
        """At calls ``clientId`` is Google Analytics' and ``yaClientId`` Metrica's; the yclid is in ``url`` alone."""
        assert identifiers(mapping.touch_of(sample("calls.json")[0], MOSCOW)) == {
            "client_id": "1772690000123456789",
            "ga_client_id": "1400000000.1772690000",
            "yclid": "1234567890123456790",
        }

    def test_a_form_names_google_analytics_otherwise_and_its_own_client_id_is_none(self) -> None:
        """``session.guaClientId``; ``client.clientId`` is a number of Calltouch's own."""
        touch = mapping.touch_of(sample("requests.json")[0], MOSCOW)
        assert touch.key == "form:80010020"
        assert identifiers(touch) == {
            "client_id": "1772690000123456789",
            "ga_client_id": "1400000000.1772690000",
            "yclid": "1234567890123456790",
        }
        assert [(contact.phones, contact.emails) for contact in touch.contacts] == [
            (("79000000002",), ("p@example.test",))
        ]

    def test_seconds_are_trusted_before_the_sites_clock(self) -> None:
        """A call counts seconds, a form milliseconds; either falls back to the wall clock with an unpadded hour."""
        call = sample("calls.json")[0]
        form = sample("requests.json")[0]
        zone = ZoneInfo("Europe/Moscow")
        assert mapping.moment_of(call, zone) == mapping.moment_of(form, zone)
        bare = msgspec.structs.replace(call, timestamp=None)
        assert mapping.moment_of(bare, zone) == mapping.moment_of(call, zone)
        assert mapping.moment_of(bare, ZoneInfo("Asia/Omsk")) == mapping.moment_of(call, zone) - timedelta(hours=3)

    def test_placeholders_of_empty_values_are_no_clues(self) -> None:
        """``<не указано>`` is nothing, and is not refused as garbage either."""
        call = wire.Call(
            call_id=1, timestamp=1772690851, ya_client_id="<не указано>", utm_source="<не указано>", url=""
        )
        assert mapping.touch_of(call, MOSCOW).clues == ()

    def test_parameters_of_the_visit_may_hold_identifiers(self) -> None:
        """By their own name, or by one named in ``fields``; in either of the two shapes."""
        tags = [{"name": "yclid", "value": "1234567890123456791"}]
        call = wire.Call(call_id=1, timestamp=1772690851, additional_tags=tags)
        assert identifiers(mapping.touch_of(call, MOSCOW)) == {"yclid": "1234567890123456791"}
        call = wire.Call(call_id=1, timestamp=1772690851, attrs={"мой клик": "1234567890123456792"})
        assert identifiers(mapping.touch_of(call, MOSCOW)) == {"yclid": "1234567890123456792"}

    @pytest.mark.parametrize("text", ["", "31/02/2026 10:00:00", "2026-03-05 09:07:31", "05/03/2026"])
    def test_a_record_without_a_time_is_set_aside(self, text: str) -> None:
        """Nothing can be joined to it."""
        assert mapping.wall_clock(text, MOSCOW.zone) is None


class TestReading:
    async def test_each_journal_is_asked_in_its_own_date_format(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Calls ``dd/mm/yyyy``, requests ``mm/dd/yyyy`` day by day; the token goes along as a parameter."""
        with respx.mock(using="httpx") as mock:
            calls = mock.get(CALLS).respond(json={"page": 1, "pageTotal": 0, "records": []})
            forms = mock.get(FORMS).respond(json=[])
            async with alone(tmp_path, monkeypatch) as source:
                await touches(source, WINDOW)
        asked = dict(calls.calls[0].request.url.params)
        assert (asked["dateFrom"], asked["dateTo"], asked["page"], asked["limit"]) == (
            "01/03/2026",
            "03/03/2026",
            "1",
            "1000",
        )
        assert asked["clientApiId"] == SECRET
        days = [(one.request.url.params["dateFrom"], one.request.url.params["dateTo"]) for one in forms.calls]
        assert days == [("03/01/2026", "03/01/2026"), ("03/02/2026", "03/02/2026"), ("03/03/2026", "03/03/2026")]

    @pytest.mark.parametrize(
        "quirks", [Quirks(), Quirks(has_texts=True), Quirks(total="recordsCount"), Quirks(is_oldest_first=True)]
    )
    async def test_pages_are_read_to_their_end_however_the_vendor_words_them(
        self, quirks: Quirks, tmp_path: Path
    ) -> None:
        """Numbers and booleans may be text, the total has had several names."""
        clock = ManualClock(START)
        fake = Calltouch(clock, is_limited=False, quirks=Quirks(**{**_dict(quirks), "page_size": 2}))
        for number in range(1, 6):
            fake.ring(rung(number, at=-number * MINUTE, is_form=number == 5))
        clock.set(START + timedelta(hours=1))
        async with at(tmp_path, fake) as source:
            found = await touches(source, WINDOW)
        assert {deal.key for deal in found} == {*(f"call:{700_100_000 + n}" for n in range(1, 5)), "form:80010005"}
        assert all(identifiers(deal).get("yclid") for deal in found)

    async def test_what_is_learned_of_a_visit_later_is_another_version(self, tmp_path: Path) -> None:
        """The call is listed again for two days, and its click is new then."""
        clock = ManualClock(START + 2 * MINUTE)
        fake = Calltouch(clock, is_limited=False)
        fake.ring(rung(1))
        async with at(tmp_path, fake) as source:
            (early,) = await touches(source, WINDOW)
            clock.set(START + timedelta(hours=1))
            (late,) = await touches(source, WINDOW)
            assert source.traits.overlap == timedelta(days=2)
        assert identifiers(early) == {}
        assert identifiers(late) == {"client_id": "1775110000000000001", "yclid": "13527482094718121"}
        assert early.version != late.version

    async def test_one_unreadable_row_does_not_hold_up_the_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is named by its key, and its content is in no message."""
        rows = [
            {"callId": 1, "timestamp": {"a": "79990000001"}},
            {"callId": 2, "date": "soon"},
            {"callId": 3, "timestamp": int(START.timestamp())},
        ]
        with respx.mock(using="httpx") as mock:
            mock.get(CALLS).respond(json={"page": 1, "pageTotal": 1, "records": rows})
            mock.get(FORMS).respond(json=[])
            async with alone(tmp_path, monkeypatch) as source:
                found = await touches(source, WINDOW)
        bad = [item for item in found if isinstance(item, BadRecord)]
        assert [(item.key, item.code) for item in bad] == [("call:1", "unreadable"), ("call:2", "unreadable")]
        assert not any("7999" in item.message for item in bad)
        assert [item.key for item in found if isinstance(item, Deal)] == ["call:3"]

    @pytest.mark.parametrize(
        ("second", "complaint"),
        [([], "came empty"), ([{"callId": 1, "timestamp": 1772690851}], "same page")],
        ids=["empty", "repeated"],
    )
    async def test_a_page_that_was_promised_must_come(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: list[Any], complaint: str
    ) -> None:
        """The cursor stays where it was."""
        first = {"page": 1, "pageTotal": 3, "records": [{"callId": 1, "timestamp": 1772690851}]}
        with respx.mock(using="httpx") as mock:
            mock.get(CALLS).side_effect = [
                httpx.Response(200, json=first),
                httpx.Response(200, json={"page": 2, "pageTotal": 3, "records": second}),
            ]
            async with alone(tmp_path, monkeypatch) as source:
                with pytest.raises(Drift, match=complaint):
                    await touches(source, WINDOW)


class TestAnswers:
    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (httpx.Response(403, json={"message": "Access denied"}), AuthError),
            (httpx.Response(302, headers={"Location": "https://my.calltouch.ru/"}), Refused),
            (httpx.Response(200, text="<html>start page</html>"), Refused),
            (httpx.Response(400, json={"message": "date"}), Refused),
            (httpx.Response(200, json={"errorCode": "x"}), Drift),
        ],
        ids=["token", "redirect", "html", "date", "no records"],
    )
    async def test_what_is_wrong_is_said_without_the_token(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: httpx.Response, error: type[BridgeError]
    ) -> None:
        """The token travels in the address: neither error nor finding ever shows a query; no redirect is followed."""
        with respx.mock(using="httpx") as mock:
            route = mock.get(CALLS).mock(return_value=answer)
            async with alone(tmp_path, monkeypatch) as source:
                with pytest.raises(error) as raised:
                    await touches(source, WINDOW)
            assert route.call_count == 1
        assert SECRET not in str(raised.value)
        assert "?" not in str(raised.value)

    async def test_no_log_line_shows_the_token(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Not even when every attempt fails."""
        with respx.mock(using="httpx") as mock:
            mock.get(CALLS).respond(500)
            async with alone(tmp_path, monkeypatch) as source:
                with pytest.raises(BridgeError) as raised:
                    await touches(source, WINDOW)
        told = capfd.readouterr()
        assert SECRET not in f"{told.out}{told.err}{raised.value!r}{raised.value.__cause__!r}"


class TestCheck:
    async def test_a_site_whose_clock_is_another_is_found_out(self, tmp_path: Path) -> None:
        """A call tells its time twice; days would be cut at the wrong hour."""
        fake = Calltouch(ManualClock(START + timedelta(hours=1)), is_limited=False, quirks=Quirks(zone="Asia/Omsk"))
        fake.ring(rung(1))
        async with at(tmp_path, fake, timezone="Europe/Moscow") as source:
            findings = await source.check()
        assert [f.subject for f in findings if f.level is Level.WARNING] == ["timezone"]

    async def test_calls_without_any_client_id_are_worth_a_warning(self, tmp_path: Path) -> None:
        """The Metrica integration is then not switched on in Calltouch (contract calltouch 9)."""
        fake = Calltouch(ManualClock(START + timedelta(hours=1)), is_limited=False)
        fake.ring(rung(1, has_click=False))
        async with at(tmp_path, fake) as source:
            findings = await source.check()
        assert any("Metrica integration" in f.message for f in findings if f.level is Level.WARNING)


async def test_the_simulator_refuses_what_the_vendor_refuses() -> None:
    """A wrong token, a foreign site, the other journal's date format, pages that are too long, too many requests."""
    fake = Calltouch(ManualClock(START))
    base = await fake.start()
    diary = f"{base}/calls-service/RestAPI/52001/calls-diary/calls"
    right = {"clientApiId": fake.token, "dateFrom": "13/03/2026", "dateTo": "13/03/2026", "page": "1", "limit": "1000"}
    try:
        async with httpx.AsyncClient() as client:
            asked = [
                (diary, {**right, "clientApiId": "x"}),
                (diary.replace("52001", "52002"), right),
                (diary, {**right, "dateFrom": "03/13/2026"}),
                (diary, {**right, "limit": "1001"}),
                (diary, right),
                (diary, right),
                (diary, right),
            ]
            statuses = [(await client.get(url, params=params)).status_code for url, params in asked]
    finally:
        await fake.stop()
    assert statuses == [403, 302, 400, 400, 200, 200, 429]


def _dict(quirks: Quirks) -> dict[str, Any]:
    return {name: getattr(quirks, name) for name in Quirks.__annotations__}
