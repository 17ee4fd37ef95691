"""Lead events: what is in them, when they go, what Google's silence means, and where the secret never is."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.ga4 import mapping, wire
from adapters.ga4.destination import Ga4
from adapters.ga4.fake import Stream
from adapters.ga4.settings import Ga4Settings
from bridge.consent import ConsentSettings
from bridge.errors import Ambiguous, BridgeError, Refused, RowRejected, Throttled, Unavailable
from bridge.frozen import replace
from bridge.model import Consent, Identifier, IdKind, Money, Outgoing
from bridge.ports import Fate, Finding, Level, Pass, Sealed
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault, FaultPlan
from bridge.tools import Request, Response
from tests.support import START, adapter_tools

SAMPLES = Path(__file__).parents[3] / "adapters" / "ga4" / "samples"
SETTINGS = Ga4Settings.model_validate(
    {
        "kind": "ga4",
        "measurement_id": "G-AB12CD34EF",
        "api_secret": {"env": "X"},
        "consent": {"ad_user_data": "granted", "ad_personalization": "denied"},
    }
)
VISITOR = Identifier(IdKind.GA_CLIENT_ID, "1234567890.1794647551")
SESSION = Identifier(IdKind.GA_SESSION_ID, "1795176600")
WINDOW = timedelta(hours=72)


def row(**changes: Any) -> Outgoing:
    """A qualified lead of a visitor whose visit is known."""
    made = Outgoing(
        delivery=f"{1:032x}",
        order_key="7d793037a0760186574b0282f2f435e7",
        target="qualify_lead",
        goal="qualified",
        occurred_at=START - timedelta(minutes=30),
        deal_created_at=START - timedelta(days=30),
        value=Money.of(250, "PLN"),
        identifiers=(VISITOR, SESSION),
        touched_at=START - timedelta(days=30),
    )
    return replace(made, **changes)


def event(one: Outgoing) -> dict[str, Any]:
    """The only event of a rendered row."""
    (made,) = json.loads(mapping.render(one, SETTINGS).body)["events"]
    return dict(made)


def sealed(one: Outgoing) -> Sealed:
    return Sealed("ab" * 16, mapping.render(one, SETTINGS), (one.delivery,))


@asynccontextmanager
async def client(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> AsyncIterator[tuple[Ga4, Stream]]:
    """A destination on a simulated stream."""
    stream = Stream(ManualClock(START))
    await stream.start()
    for name, value in stream.secrets().items():
        monkeypatch.setenv(name, value)
    try:
        async with adapter_tools(stream.clock, folder) as tools:
            yield Ga4("ga", Ga4Settings.model_validate({**stream.settings(), **changes}), tools), stream
    finally:
        await stream.stop()


# --- the event ---------------------------------------------------------------------------------------------------


def test_a_body_is_the_sample() -> None:
    """Every member of the contract's example, in numbers and texts as they are there."""
    made = mapping.render(row(occurred_at=datetime(2026, 11, 21, 13, 3, 22, tzinfo=UTC)), SETTINGS)
    assert json.loads(made.body) == json.loads((SAMPLES / "collect.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("own", "told"),
    [
        (Consent(True, False), {"ad_user_data": "GRANTED", "ad_personalization": "DENIED"}),
        (Consent(False, False), {"ad_user_data": "DENIED", "ad_personalization": "DENIED"}),
        (Consent(None, None), None),
    ],
)
def test_a_deals_own_consent_goes_instead_of_the_configured_one(own: Consent, told: dict[str, str] | None) -> None:
    """Never more than its person agreed to."""
    body = json.loads(mapping.render(row(consent=own), SETTINGS).body)
    assert body.get("consent") == told


def test_what_is_not_known_is_left_out() -> None:
    """No value, no visit, no consent: no members for them; an event without a visit claims no engagement."""
    silent = SETTINGS.model_copy(update={"consent": ConsentSettings()})
    body = json.loads(mapping.render(row(value=None, identifiers=(VISITOR,)), silent).body)
    assert body["events"] == [{"name": "qualify_lead", "params": {"conversion_id": row().order_key}}]
    assert "consent" not in body


@pytest.mark.parametrize(
    ("target", "member"),
    [("disqualify_lead", "disqualified_lead_reason"), ("close_unconvert_lead", "unconvert_lead_reason")],
)
def test_a_lost_lead_says_by_which_goal(target: str, member: str) -> None:
    """The goal's name is the reason, cut to what a parameter holds."""
    assert event(row(target=target, goal="спам"))["params"][member] == "спам"
    assert len(event(row(target=target, goal="я" * 300))["params"][member]) == 100
    assert member not in event(row())["params"]


@given(st.integers(1_600_000_000_000_000, 2_200_000_000_000_000))
def test_no_microsecond_is_lost(given_micros: int) -> None:
    """Sixteen digits, exact: a float has not enough."""
    at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=given_micros)
    micros = json.loads(mapping.render(row(occurred_at=at), SETTINGS).body)["timestamp_micros"]
    assert micros == given_micros


def test_a_row_without_a_visitor_cannot_be_rendered() -> None:
    """Rejected by name, so that the others go on."""
    with pytest.raises(RowRejected):
        mapping.render(row(identifiers=(SESSION,)), SETTINGS)


# --- admission ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "verdict", "code"),
    [
        ({}, Pass.SEND, ""),
        ({"identifiers": (VISITOR,)}, Pass.SEND, ""),
        ({"identifiers": (SESSION,)}, Pass.REFUSED, "no_identifier"),
        ({"target": "ga_lead"}, Pass.REFUSED, "event_name"),
        ({"target": "лид"}, Pass.REFUSED, "event_name"),
        ({"target": "a" * 41}, Pass.REFUSED, "event_name"),
        ({"target": "qualify lead"}, Pass.REFUSED, "event_name"),
        ({"value": Money(-1, "RUB")}, Pass.REFUSED, "negative_value"),
        ({"occurred_at": START + timedelta(seconds=1)}, Pass.WAIT, "future"),
        ({"occurred_at": START - WINDOW}, Pass.SEND, ""),
        ({"occurred_at": START - WINDOW - timedelta(seconds=1)}, Pass.EXPIRED, "window"),
    ],
)
def test_what_google_would_drop_in_silence_does_not_go(changes: dict[str, Any], verdict: Pass, code: str) -> None:
    """Collect answers 204 to everything, so each of its rules is kept here."""
    admission = mapping.admit(row(**changes), START, WINDOW)
    assert (admission.verdict, admission.code) == (verdict, code)


@pytest.mark.parametrize("window", ["73h", "0s"])
def test_the_window_is_never_wider_than_googles(window: str) -> None:
    """Older events would be dropped, or counted at another time."""
    with pytest.raises(ValidationError):
        Ga4Settings.model_validate({**SETTINGS.model_dump(), "window": window})


# --- answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, Throttled),
        *((status, Ambiguous) for status in (408, 500, 502, 503, 504)),
        *((status, Refused) for status in (301, 400, 403, 404, 413)),
    ],
)
def test_every_status_means_one_recovery(status: int, error: type[BridgeError]) -> None:
    """Only a clear no counts as not counted."""
    with pytest.raises(error):
        mapping.judge(Request("POST", wire.COLLECT), Response(status, {}, b""))


def test_the_debug_path_may_be_asked_again() -> None:
    """It records nothing."""
    with pytest.raises(Unavailable):
        mapping.judge(Request("POST", wire.VALIDATE, is_safe=True), Response(503, {}, b""))


async def test_an_event_joins_its_visit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session is sent where it is known, and the value arrives to the last digit."""
    async with client(tmp_path, monkeypatch) as (port, stream):
        (outcome,) = (await port.send(sealed(row(value=Money.of("250.55", "PLN"))))).outcomes
        await port.send(sealed(row(identifiers=(VISITOR,), target="close_convert_lead")))
    assert outcome.fate is Fate.ACCEPTED
    assert stream.strays == 0
    assert stream.sessions() == [SESSION.value, None]
    assert [item.value for item in stream.applied()] == [Decimal("250.55"), Decimal(250)]


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.ERROR_AFTER])
async def test_a_lost_answer_never_becomes_a_second_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """Google counts every event that comes, so nobody but the operator sends it again."""
    async with client(tmp_path, monkeypatch) as (port, stream):
        stream.faults = FaultPlan(1, {fault: 1.0})
        with pytest.raises(Ambiguous):
            await port.send(sealed(row()))
        assert sum(stream.requests.values()) == 1
    assert [item.reaches for item in stream.applied()] == [1]


# --- check -------------------------------------------------------------------------------------------------------


def levels(findings: list[Finding]) -> dict[str, Level]:
    return {finding.subject: finding.level for finding in findings}


async def test_check_shows_every_event_to_the_debug_path_and_records_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recommended events are fine, others are named, bad names are errors; the secret stays in doubt, and says so."""
    targets = {"q": "qualify_lead", "own": "lead_called", "bad": "ga_lead", "again": "qualify_lead"}
    async with client(tmp_path, monkeypatch) as (port, stream):
        findings = await port.check(targets)
        assert stream.requests == {"POST /debug/mp/collect": 2}
        assert stream.applied() == []
    assert levels(findings) == {
        "goal q": Level.OK,
        "goal own": Level.WARNING,
        "goal bad": Level.ERROR,
        "goal again": Level.OK,
        "api_secret": Level.WARNING,
    }


@respx.mock(using="httpx", base_url="https://www.google-analytics.com")
async def test_googles_complaints_are_told_by_their_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, respx_mock: respx.MockRouter
) -> None:
    """And an answer of another form is a finding too, not a crash."""
    sample = (SAMPLES / "validation.json").read_bytes()
    route = respx_mock.post("/debug/mp/collect")
    async with client(tmp_path, monkeypatch, base_url="https://www.google-analytics.com") as (port, _):
        for answer, told in ((sample, "NAME_INVALID events"), (b"<html>", "no JSON"), (b"{}", "no JSON")):
            route.respond(200, content=answer)
            finding = (await port.check({"q": "qualify_lead"}))[0]
            assert finding.level is Level.ERROR
            assert told in finding.message


async def test_wrong_secrets_and_old_events_vanish_at_the_simulator_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quirk that makes ``check`` say what it says: collect answers 204 and keeps nothing."""
    async with client(tmp_path, monkeypatch) as (port, stream):
        for days in (0, 4):
            await port.send(sealed(row(occurred_at=START - timedelta(days=days, minutes=1))))
    async with client(tmp_path, monkeypatch, measurement_id="G-ZZ99ZZ99ZZ") as (port, other):
        (outcome,) = (await port.send(sealed(row()))).outcomes
    assert (outcome.fate, other.strays, other.applied()) == (Fate.ACCEPTED, 1, [])
    assert (stream.strays, len(stream.applied())) == (1, 1)


# --- the secret --------------------------------------------------------------------------------------------------


async def test_the_secret_is_in_the_address_and_nowhere_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Google wants it in the query; errors, findings and logs do not show it. (``log.setup`` lets libraries warn.)"""
    caplog.set_level(logging.WARNING)
    texts = []
    async with client(tmp_path, monkeypatch) as (port, stream):
        (secret,) = stream.secrets().values()
        await port.send(sealed(row()))
        assert stream.strays == 0  # it did arrive
        for fault in (Fault.LOST_ANSWER, Fault.THROTTLE, Fault.ERROR_AFTER, Fault.DROP_BEFORE):
            stream.faults = FaultPlan(1, {fault: 1.0})
            with pytest.raises(BridgeError) as caught:
                await port.send(sealed(row()))
            texts.append(str(caught.value))
        texts += [finding.message for finding in await port.check({"q": "qualify_lead"})]
    assert secret not in f"{texts} {caplog.text} {capsys.readouterr().out} {port!r}"
