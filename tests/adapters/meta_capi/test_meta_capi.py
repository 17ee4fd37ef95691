"""CRM events: what Meta's own classes make of the same lead, what the codes mean, and halves that find the bad one."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import respx
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.user_data import UserData
from pydantic import ValidationError

from adapters.meta_capi import answers, mapping
from adapters.meta_capi.destination import MetaCapi
from adapters.meta_capi.fake import Dataset
from adapters.meta_capi.settings import MetaCapiSettings
from bridge.errors import Ambiguous, AuthError, BridgeError, Drift, Refused, RowRejected, Throttled, Unavailable
from bridge.frozen import replace
from bridge.identity import seal_contacts
from bridge.model import Contact, Deal, DealKind, Identifier, IdKind, Money, Outcome, Outgoing, Person, utc
from bridge.ports import Fate, Level, Pass, Proof, Sealed
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault, FaultPlan
from bridge.tools import Request, Response
from tests.support import START, adapter_tools

SAMPLES = Path(__file__).parents[3] / "adapters" / "meta_capi" / "samples"
SECTION = {"kind": "meta_capi", "dataset_id": 123456789012345, "token": {"env": "X"}, "lead_event_source": "amoCRM"}
SETTINGS = MetaCapiSettings.model_validate({**SECTION, "persons": True})
CLICK = Identifier(IdKind.FBCLID, "IwAR0sample00000000000000000")
LEAD = Identifier(IdKind.FB_LEAD_ID, "1234567890123456")
PERSON = Person(email_lower_sha256=("ab" * 32,), phone_digits_sha256=("cd" * 32,), email_sha256=("ef" * 32,))
WRITE = Request("POST", "/v25.0/1/events")
READ = Request("GET", "/v25.0/1", is_safe=True)


def row(number: int = 1, **changes: Any) -> Outgoing:
    """A qualified lead from a lead form, with a click and a person."""
    made = Outgoing(
        delivery=f"{number:032x}",
        order_key=f"{number + 1000:032x}",
        target="Qualified Lead",
        goal="qualified",
        occurred_at=START - timedelta(minutes=30),
        deal_created_at=START - timedelta(hours=1),
        value=Money.of("100000.50", "RUB"),
        identifiers=(LEAD, CLICK),
        persons=(PERSON,),
        touched_at=START - timedelta(hours=1),
    )
    return replace(made, **changes)


def sealed(*rows: Outgoing) -> Sealed:
    return Sealed("ab" * 16, mapping.render(rows, SETTINGS), tuple(item.delivery for item in rows))


def user_of(one: Outgoing, settings: MetaCapiSettings = SETTINGS) -> dict[str, Any]:
    """The ``user_data`` of a rendered row."""
    (event,) = json.loads(mapping.render([one], settings).body)["data"]
    return dict(event["user_data"])


@asynccontextmanager
async def client(
    folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> AsyncIterator[tuple[MetaCapi, Dataset]]:
    """A destination on a simulated dataset."""
    dataset = Dataset(ManualClock(START))
    await dataset.start()
    for name, value in dataset.secrets().items():
        monkeypatch.setenv(name, value)
    try:
        async with adapter_tools(dataset.clock, folder) as tools:
            yield MetaCapi("meta", MetaCapiSettings.model_validate({**dataset.settings(), **changes}), tools), dataset
    finally:
        await dataset.stop()


# --- the event ---------------------------------------------------------------------------------------------------


def test_a_body_is_the_sample() -> None:
    """Every member of the contract's example."""
    told = row(
        order_key="7d793037a0760186574b0282f2f435e7",
        occurred_at=utc(1772690851),
        touched_at=utc(1772690000),
    )
    body = json.loads(mapping.render([told], SETTINGS).body)
    assert body == json.loads((SAMPLES / "events.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("email", ["Some.One+x@Gmail.com", " shop@yandex.ru "])
@pytest.mark.parametrize("phone", ["8 (916) 123-45-67", "+7 916 1234567"])
def test_metas_own_classes_make_the_same_event(email: str, phone: str) -> None:
    """From the raw lead to the JSON, by the official package: names, digests, numbers."""
    at = START - timedelta(hours=2)
    lead = Deal(DealKind.LEAD, "5", "v", at, at, "1", "1", Outcome.OPEN, contacts=(Contact("7", (phone,), (email,)),))
    ours = row(persons=seal_contacts(lead, b"k" * 32, "crm", "RU").persons)
    (made,) = json.loads(mapping.render([ours], SETTINGS).body)["data"]
    official = Event(
        event_name="Qualified Lead",
        event_time=int(ours.occurred_at.timestamp()),
        event_id=ours.order_key,
        action_source=ActionSource.SYSTEM_GENERATED,
        user_data=UserData(
            lead_id=1234567890123456,
            email=email,
            phone="+7 (916) 123-45-67",
            fbc=f"fb.1.{int((START - timedelta(hours=1)).timestamp()) * 1000}.{CLICK.value}",
        ),
        custom_data=CustomData(
            value=100000.5,
            currency="RUB",
            custom_properties={"event_source": "crm", "lead_event_source": "amoCRM"},
        ),
    ).normalize()
    made["custom_data"]["currency"] = made["custom_data"]["currency"].lower()  # the package's way; the manual's is RUB
    assert made == official


def test_persons_travel_only_when_asked_for() -> None:
    """By default not even a digest goes to Meta; with nothing else to match by, the lead does not go."""
    silent = MetaCapiSettings.model_validate(SECTION)
    assert user_of(row(), silent).keys() == {"lead_id", "fbc"}
    alone = row(identifiers=())
    assert mapping.admit(alone, START, silent).code == "no_identifier"
    assert mapping.admit(alone, START, SETTINGS).verdict is Pass.SEND
    assert user_of(alone) == {"em": ["ab" * 32], "ph": ["cd" * 32]}


def test_each_digest_goes_once() -> None:
    """Two contacts of a deal may share a phone."""
    assert user_of(row(persons=(PERSON, PERSON)))["ph"] == ["cd" * 32]


def test_a_click_is_dated_by_the_lead_it_came_with() -> None:
    """In milliseconds, thirteen digits; where the click is another deal's, by that deal."""
    earlier = START - timedelta(days=3)
    assert user_of(row(touched_at=earlier))["fbc"] == f"fb.1.{int(earlier.timestamp())}000.{CLICK.value}"


def test_a_row_that_meta_would_refuse_is_never_rendered() -> None:
    """It would take its neighbours along."""
    with pytest.raises(RowRejected) as caught:
        mapping.render([row(), row(2, identifiers=(Identifier(IdKind.FB_LEAD_ID, "77"),))], SETTINGS)
    assert caught.value.code == "bad_lead_id"


# --- admission ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "verdict", "code"),
    [
        ({}, Pass.SEND, ""),
        ({"value": None, "persons": (), "identifiers": (CLICK,)}, Pass.SEND, ""),
        ({"identifiers": (), "persons": (Person(email_sha256=("ef" * 32,)),)}, Pass.REFUSED, "no_identifier"),
        ({"identifiers": (replace(LEAD, value="12345678901234"),)}, Pass.REFUSED, "bad_lead_id"),
        ({"target": " "}, Pass.REFUSED, "event_name"),
        ({"value": Money(-1, "RUB")}, Pass.REFUSED, "negative_value"),
        ({"value": Money(1, "руб")}, Pass.REFUSED, "bad_currency"),
        ({"occurred_at": START + timedelta(seconds=1)}, Pass.WAIT, "future"),
        ({"occurred_at": START - timedelta(days=7) + timedelta(seconds=1)}, Pass.SEND, ""),
        ({"occurred_at": START - timedelta(days=7)}, Pass.EXPIRED, "window"),
    ],
)
def test_what_would_refuse_a_whole_request_stays_at_home(changes: dict[str, Any], verdict: Pass, code: str) -> None:
    """Each with its code."""
    admission = mapping.admit(row(**changes), START, SETTINGS)
    assert (admission.verdict, admission.code) == (verdict, code)


@pytest.mark.parametrize("wrong", [{"window": "8d"}, {"max_rows": 1001}, {"api_version": "25"}, {"token": "EAAB"}])
def test_settings_beyond_metas_limits_are_refused(wrong: dict[str, Any]) -> None:
    """And a secret is only ever a reference."""
    with pytest.raises(ValidationError):
        MetaCapiSettings.model_validate({**SECTION, **wrong})


# --- answers -----------------------------------------------------------------------------------------------------


def graph(code: int, subcode: int = 0, status: int = 400) -> Response:
    """Graph's error body."""
    error = {"message": "m", "type": "OAuthException", "code": code, "error_subcode": subcode, "fbtrace_id": "A"}
    return Response(status, {}, json.dumps({"error": error}).encode())


@pytest.mark.parametrize(
    ("request_", "response", "error"),
    [
        *((WRITE, graph(code), Throttled) for code in (4, 17, 341, 368, 80003)),
        *((WRITE, graph(190, sub), AuthError) for sub in (0, 460, 463)),
        *((WRITE, graph(code, status=403), AuthError) for code in (10, 200)),
        *((READ, graph(code, status=403), Refused) for code in (10, 200)),
        *((WRITE, graph(code), Unavailable) for code in (1, 2)),
        *((WRITE, graph(code, status=500), Ambiguous) for code in (1, 2, 77)),
        *((READ, graph(code, status=500), Unavailable) for code in (1, 2, 77)),
        *((WRITE, graph(100, sub), Refused) for sub in (0, 33, 2804003)),
        (WRITE, graph(2635), Refused),
        (WRITE, Response(200, {}, b'{"events_re'), Ambiguous),
        (READ, Response(200, {}, b'{"id": "1'), Drift),
        (WRITE, Response(502, {}, b"<html>"), Ambiguous),
        (WRITE, Response(408, {}, b""), Ambiguous),
        (WRITE, Response(429, {}, b""), Throttled),
        (WRITE, Response(404, {}, b"<html>"), Refused),
        (WRITE, Response(302, {}, b""), Refused),
    ],
)
def test_codes_decide_and_not_statuses(request_: Request, response: Response, error: type[BridgeError]) -> None:
    """Graph answers 400 to nearly everything (contract meta_capi 2)."""
    with pytest.raises(error):
        answers.judge(request_, response)


def test_the_samples_are_understood() -> None:
    """One taken, one refused for its age."""
    received = (SAMPLES / "received.json").read_bytes()
    answers.judge(WRITE, Response(200, {}, received))
    assert answers.accepted(received, ["a"]).outcomes[0].fate is Fate.ACCEPTED
    with pytest.raises(Refused) as caught:
        answers.judge(WRITE, Response(400, {}, (SAMPLES / "error.json").read_bytes()))
    assert caught.value.code == "100/2804003"


@pytest.mark.parametrize("received", [0, 1, 3])
def test_another_number_of_events_is_no_success(received: int) -> None:
    """Nobody knows which were received."""
    with pytest.raises(Drift):
        answers.accepted(json.dumps({"events_received": received}).encode(), ["a", "b"])


@pytest.mark.parametrize(
    ("code", "fates"),
    [
        ("100", (Fate.SPLIT, Fate.REJECTED)),
        ("100/2804003", (Fate.SPLIT, Fate.REJECTED)),
        ("100/33", None),
        ("2635", None),
        ("http_404", None),
    ],
)
def test_only_a_parameters_fault_is_a_rows(code: str, fates: tuple[Fate, Fate] | None) -> None:
    """Halves while there are several, then the row; a wrong dataset or version blames none."""
    refusal = Refused("", code=code)
    many, one = answers.refused(refusal, ["a", "b"]), answers.refused(refusal, ["a"])
    assert (many and one and (many.outcomes[0].fate, one.outcomes[0].fate)) == fates


async def test_one_event_too_old_refuses_all_until_it_stands_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It grew too old between admission and arrival; nothing of the refused request is kept."""
    old = row(2, occurred_at=START - timedelta(days=7, seconds=1))
    async with client(tmp_path, monkeypatch) as (port, dataset):
        many = await port.send(sealed(row(1), old))
        assert dataset.applied() == []
        alone = await port.send(sealed(old))
        good = await port.send(sealed(row(1)))
    assert {outcome.fate for outcome in many.outcomes} == {Fate.SPLIT}
    assert [(outcome.fate, outcome.code) for outcome in alone.outcomes] == [(Fate.REJECTED, "100/2804003")]
    assert [outcome.fate for outcome in good.outcomes] == [Fate.ACCEPTED]


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.ERROR_AFTER])
async def test_a_lost_answer_is_not_repeated_and_keeps_its_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """Proof none by default; who resends does it under the same ids, which Meta may recognise."""
    async with client(tmp_path, monkeypatch) as (port, dataset):
        dataset.is_deduplicating = True
        dataset.faults = FaultPlan(1, {fault: 1.0})
        with pytest.raises(Ambiguous):
            await port.send(sealed(row()))
        assert sum(dataset.requests.values()) == 1
        dataset.faults.stop()
        await port.send(sealed(row()))
    assert port.traits.proof is Proof.NONE
    assert [item.reaches for item in dataset.applied()] == [1]


# --- check -------------------------------------------------------------------------------------------------------


async def told(port: MetaCapi) -> dict[str, Level]:
    findings = await port.check({"qualified": "Qualified Lead", "sale": "Deal Won", "again": "Deal Won"})
    return {finding.subject: finding.level for finding in findings}


async def test_check_only_reads_unless_a_test_code_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one, each target is tried once under it; conversions never carry it, and test events are no conversions."""
    async with client(tmp_path, monkeypatch) as (port, dataset):
        assert await told(port) == {"dataset": Level.OK}
        assert dataset.tested == []
    async with client(tmp_path, monkeypatch, test_event_code="TEST12345") as (port, dataset):
        assert await told(port) == {"dataset": Level.OK, "test_event_code": Level.OK}
        assert dataset.tested == ["Deal Won", "Qualified Lead"]
        await port.send(sealed(row()))
        assert len(dataset.tested) == 2
        assert len(dataset.applied()) == 1


async def test_a_token_that_may_only_send_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dataset cannot be read with it; events go."""
    async with client(tmp_path, monkeypatch, test_event_code="TEST12345") as (port, dataset):
        dataset.can_read = False
        assert await told(port) == {"dataset": Level.WARNING, "test_event_code": Level.OK}


async def test_a_wrong_dataset_and_a_dead_token_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are 400 on the wire."""
    async with client(tmp_path, monkeypatch, dataset_id="99999999") as (port, _):
        assert await told(port) == {"dataset": Level.ERROR}
    async with client(tmp_path, monkeypatch) as (port, dataset):
        dataset.faults = FaultPlan(1, {Fault.EXPIRED: 1.0})
        assert await told(port) == {"token": Level.ERROR}
    async with client(tmp_path, monkeypatch, test_event_code="TEST12345") as (port, dataset):
        dataset.faults = FaultPlan(1, {Fault.ERROR_BEFORE: 1.0})
        assert await told(port) == {"dataset": Level.ERROR}


@respx.mock(using="httpx", base_url="https://graph.facebook.com")
async def test_the_token_is_in_a_header_and_nowhere_else(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    respx_mock: respx.MockRouter,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither in the address nor in errors, findings or logs."""
    caplog.set_level(logging.WARNING)
    respx_mock.route().respond(400, json={"error": {"code": 190, "message": "m"}})
    async with client(tmp_path, monkeypatch, base_url="https://graph.facebook.com") as (port, dataset):
        (token,) = dataset.secrets().values()
        findings = await port.check({"q": "Lead"})
        with pytest.raises(AuthError) as caught:
            await port.send(sealed(row()))
    (call,) = respx_mock.calls  # the account has stopped: the second request was not sent
    assert call.request.headers["authorization"] == f"Bearer {token}"
    assert token not in f"{call.request.url} {findings} {caught.value} {caplog.text} {capsys.readouterr().out}"


def test_times_are_whole_seconds_of_the_fact() -> None:
    """Cut, not rounded: an event may never lie in the future."""
    at = datetime.fromisoformat("2026-03-02T08:59:59.999999+00:00")
    (event,) = json.loads(mapping.render([row(occurred_at=at)], SETTINGS).body)["data"]
    assert event["event_time"] == int(at.timestamp())
