"""Signed messages: what is in them, who can verify them, and what an endpoint's answers mean."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from adapters.webhook import mapping
from adapters.webhook.destination import Webhook
from adapters.webhook.fake import Message, Receiver
from adapters.webhook.settings import WebhookSettings
from bridge.errors import Ambiguous, AuthError, BridgeError, ConfigError, Refused, Throttled
from bridge.frozen import replace
from bridge.model import ConversionKind, Identifier, IdKind, Money, Outgoing, Person
from bridge.ports import Fate, Level, Pass, Proof, Sealed
from bridge.sim.clock import ManualClock
from bridge.tools import Request, Response
from tests.support import START, adapter_tools, simulated

LABEL = "0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(b"a key of some length, 32 bytes!!").decode()
URL = "https://okna.example/conversions"
DIGEST = "ab" * 32


def row(number: int = 1, **changes: Any) -> Outgoing:
    """A sale of a deal with a yclid."""
    made = Outgoing(
        delivery=f"{number:032x}",
        order_key=f"{number + 1000:032x}",
        target="sale",
        goal="sale",
        occurred_at=START - timedelta(minutes=30),
        deal_created_at=START - timedelta(hours=1),
        value=Money.of("1500.50", "RUB"),
        identifiers=(Identifier(IdKind.YCLID, "12345000000000000001"),),
        touched_at=START - timedelta(hours=1),
    )
    return replace(made, **changes)


def sealed(*rows: Outgoing) -> Sealed:
    return Sealed(LABEL, mapping.render(rows, has_persons=False), tuple(item.delivery for item in rows))


@asynccontextmanager
async def client(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[Webhook]:
    """A destination with the secret of these tests."""
    monkeypatch.setenv("OKNA_WEBHOOK_SECRET", SECRET)
    section = {"kind": "webhook", "url": URL, "secret": {"env": "OKNA_WEBHOOK_SECRET"}, **settings}
    async with adapter_tools(ManualClock(START), folder) as tools:
        yield Webhook("own", WebhookSettings.model_validate(section), tools)


# --- the signature -----------------------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.binary(min_size=16, max_size=64))
def test_the_specifications_own_library_verifies_our_signature(body: bytes, key: bytes) -> None:
    """Whatever the body and the key: an endpoint needs no code of ours."""
    text = body.hex().encode()
    headers = mapping.signed(b'"' + text + b'"', LABEL, datetime.now(UTC), key)
    assert Verifier("whsec_" + base64.b64encode(key).decode()).verify(b'"' + text + b'"', headers) == text.decode()


def test_a_changed_body_does_not_verify() -> None:
    """The signature is over the body, not beside it."""
    key = mapping.key_of(SECRET)
    headers = mapping.signed(b'{"a":1}', LABEL, datetime.now(UTC), key)
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(b'{"a":2}', headers)


def test_a_secret_is_base64_behind_its_prefix_or_plain_text() -> None:
    """Both ways to write the same key."""
    assert mapping.key_of(SECRET) == mapping.key_of("a key of some length, 32 bytes!!")


@pytest.mark.parametrize("secret", ["tooshort7", "whsec_c2hvcnQ=", "whsec_no base64 at all, is it"])
def test_a_secret_that_cannot_sign_is_refused_without_being_repeated(secret: str) -> None:
    """The message says what to do and does not hold the secret."""
    with pytest.raises(ConfigError) as caught:
        mapping.key_of(secret)
    assert secret not in str(caught.value)


# --- the message -------------------------------------------------------------------------------------------------


def test_a_message_holds_what_the_readme_says() -> None:
    """Names, text for amounts and identifiers, UTC times; nothing unknown is written as null."""
    body = json.loads(mapping.render([row()], has_persons=False).body)
    assert body == {
        "type": "conversions",
        "conversions": [
            {
                "id": f"{1:032x}",
                "order": f"{1001:032x}",
                "kind": "original",
                "goal": "sale",
                "target": "sale",
                "occurred_at": (START - timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "deal_created_at": (START - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "clicked_before": (START - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "value": {"amount": "1500.50", "currency": "RUB"},
                "identifiers": {"yclid": "12345000000000000001"},
            }
        ],
    }


def test_the_sample_is_a_message() -> None:
    """The example beside the adapter is what the simulator takes."""
    sample = Path(__file__).parents[3] / "adapters" / "webhook" / "samples" / "conversions.json"
    assert msgspec.json.decode(sample.read_bytes(), type=Message).conversions


def test_digests_of_persons_travel_only_when_asked_for() -> None:
    """By default not even a digest leaves the bridge; a raw phone never can."""
    told = row(persons=(Person(phone_sha256=(DIGEST,), email_sha256=()),))
    assert DIGEST.encode() not in mapping.render([told], has_persons=False).body
    assert json.loads(mapping.render([told], has_persons=True).body)["conversions"][0]["persons"] == [
        {"phone_sha256": [DIGEST]}
    ]


def test_a_deal_with_a_person_alone_is_sent_only_where_persons_are() -> None:
    """Without identifiers and digests there is nothing to recognise it by."""
    alone = row(identifiers=(), persons=(Person(email_sha256=(DIGEST,)),))
    assert mapping.admit(alone, START, timedelta(days=90), has_persons=True).verdict is Pass.SEND
    assert mapping.admit(alone, START, timedelta(days=90), has_persons=False).code == "no_identifier"


# --- answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *((status, AuthError) for status in (401, 403)),
        (429, Throttled),
        *((status, Ambiguous) for status in (408, 500, 502, 503, 504)),
        *((status, Refused) for status in (301, 302, 400, 404, 405, 409, 410, 413, 422)),
    ],
)
def test_only_a_clear_no_counts_as_not_applied(status: int, error: type[BridgeError]) -> None:
    """Every status means one recovery."""
    with pytest.raises(error):
        mapping.judge(Request("POST", URL), Response(status, {}, b""))


def test_a_wait_that_the_endpoint_asks_for_is_kept() -> None:
    """``Retry-After`` in seconds."""
    with pytest.raises(Throttled) as caught:
        mapping.judge(Request("POST", URL), Response(429, {"retry-after": "17"}, b""))
    assert caught.value.retry_after == 17


@respx.mock(using="httpx")
async def test_a_refused_message_is_halved_and_a_refused_row_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, respx_mock: respx.MockRouter
) -> None:
    """The endpoint names no row, so halves find it."""
    respx_mock.post(URL).respond(422)
    async with client(tmp_path, monkeypatch) as port:
        many = await port.send(sealed(row(1), row(2)))
        one = await port.send(sealed(row(1)))
    assert {outcome.fate for outcome in many.outcomes} == {Fate.SPLIT}
    assert [(outcome.fate, outcome.code) for outcome in one.outcomes] == [(Fate.REJECTED, "http_422")]


@respx.mock(using="httpx")
async def test_a_wrong_address_blames_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, respx_mock: respx.MockRouter
) -> None:
    """404 and redirects are the destination's trouble: conversions wait until the address is right."""
    async with client(tmp_path, monkeypatch) as port:
        for status in (404, 308):
            respx_mock.post(URL).respond(status, headers={"location": "https://elsewhere.example/"})
            with pytest.raises(Refused):
                await port.send(sealed(row()))
    assert {call.request.url for call in respx_mock.calls} == {httpx.URL(URL)}


@respx.mock(using="httpx")
async def test_the_headers_carry_the_batch_and_the_gateways_authorization(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, respx_mock: respx.MockRouter
) -> None:
    """The batch's id is the idempotency key; a second sending of the same batch has the same."""
    monkeypatch.setenv("OKNA_WEBHOOK_TOKEN", "Bearer of-the-gateway")
    respx_mock.post(URL).respond(200)
    async with client(tmp_path, monkeypatch, authorization={"env": "OKNA_WEBHOOK_TOKEN"}) as port:
        await port.send(sealed(row()))
        await port.send(sealed(row()))
    first, second = [call.request for call in respx_mock.calls]
    assert first.headers["webhook-id"] == first.headers["idempotency-key"] == LABEL
    assert first.headers["authorization"] == "Bearer of-the-gateway"
    assert (first.headers["idempotency-key"], first.content) == (second.headers["idempotency-key"], second.content)


# --- settings and check ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://okna.example/hook", "okna.example/hook", "ftp://okna.example", "https://"])
def test_conversions_do_not_travel_in_the_clear(url: str) -> None:
    """``http://`` is for this machine alone."""
    with pytest.raises(ValidationError, match="https://"):
        WebhookSettings(kind="webhook", url=url, secret={"env": "X"})  # type: ignore[arg-type]  # as a file says it


async def test_the_proof_is_what_the_operator_says_of_the_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can know from outside whether repetitions are recognised."""
    async with client(tmp_path, monkeypatch) as port:
        assert port.traits.proof is Proof.NONE
    async with client(tmp_path, monkeypatch, idempotent=True) as port:
        assert port.traits.proof is Proof.ROW


@respx.mock(using="httpx")
async def test_check_pings_and_tells_what_holding_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, respx_mock: respx.MockRouter
) -> None:
    """No conversion is sent; an endpoint that may count twice gets a warning."""
    respx_mock.post(URL).respond(204)
    async with client(tmp_path, monkeypatch) as port:
        findings = await port.check({"sale": "sale"})
    assert [finding.level for finding in findings] == [Level.OK, Level.WARNING]
    assert [json.loads(call.request.content) for call in respx_mock.calls] == [{"type": "ping"}]


async def test_a_restatement_replaces_the_value_and_counts_no_second_conversion(tmp_path: Path) -> None:
    """Original and restatement share their order; repeated ids change nothing."""
    receiver = Receiver(ManualClock(START))
    async with simulated(receiver, tmp_path) as tools:
        port = Webhook("own", WebhookSettings.model_validate(receiver.settings()), tools)
        later = row(2, order_key=row().order_key, kind=ConversionKind.RESTATEMENT, value=Money.of("0", "RUB"))
        for batch in (sealed(row()), sealed(row()), sealed(later), sealed(later)):
            await port.send(batch)
    assert [(item.reaches, item.value) for item in receiver.applied()] == [(1, Decimal(0))]
