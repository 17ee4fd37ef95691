"""The simulator refuses what Google refuses, in its words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, NamedTuple

import aiohttp
import pytest
from google.ads import datamanager_v1
from google.protobuf import json_format  # type: ignore[import-untyped]  # protobuf brings no types

from adapters.google_ads.fake import GoogleAds
from adapters.google_ads.fake_checks import Rules, violations
from adapters.google_ads.fake_schema import parse
from bridge.sim.clock import ManualClock
from bridge.sim.events import Click
from tests.adapters.google_ads.kit import ACTION, AGO, DAY, EMAIL, GCLID, HOUR, request, with_
from tests.support import START

# --- the wire ----------------------------------------------------------------------------------------------------


class Got(NamedTuple):
    status: int
    body: dict[str, Any]

    @property
    def reasons(self) -> dict[str, str]:
        """Field -> reason of every violation; reason of ErrorInfo under ""."""
        found: dict[str, str] = {}
        for detail in self.body["error"].get("details", ()):
            found |= {item["field"]: item.get("reason", "") for item in detail.get("fieldViolations", ())}
            found |= {"": detail["reason"]} if "reason" in detail else {}
        return found


class Wire:
    """A client by hand: raw requests to the running simulator."""

    def __init__(self, fake: GoogleAds, session: aiohttp.ClientSession) -> None:
        self.fake = fake
        self._session = session
        self.headers: dict[str, str] = {}

    async def post(self, path: str, **options: Any) -> Got:
        async with self._session.post(self.fake.base_url + path, headers=self.headers, **options) as answer:
            return Got(answer.status, await answer.json())

    async def ingest(self, document: Any) -> Got:
        return await self.post(
            "/v1/events:ingest", data=document if isinstance(document, bytes) else json.dumps(document)
        )

    async def status(self, request_id: str) -> Got:
        url = f"{self.fake.base_url}/v1/requestStatus:retrieve"
        async with self._session.get(url, params={"requestId": request_id}, headers=self.headers) as answer:
            return Got(answer.status, await answer.json())

    async def log_in(self) -> None:
        info = json.loads(self.fake.credentials_json())
        form = {"grant_type": "refresh_token", **{key: info[key] for key in info if key != "type"}}
        got = await self.post("/token", data=form)
        self.headers = {"Authorization": f"Bearer {got.body['access_token']}"}


@pytest.fixture
async def wire(clock: ManualClock) -> AsyncIterator[Wire]:
    fake = GoogleAds(clock, credentials="authorized_user")
    await fake.start()
    try:
        async with aiohttp.ClientSession() as session:
            made = Wire(fake, session)
            await made.log_in()
            yield made
    finally:
        await fake.stop()


async def test_a_valid_upload_is_answered_with_an_id_and_counted(wire: Wire) -> None:
    """Camel case and snake case alike (contract google 2.12)."""
    wire.fake.know(Click(1, START - 2 * DAY, 1, "", "", gclid=GCLID))
    camel = await wire.ingest(request())
    snake = await wire.ingest(_snake(request(transactionId="lead-2-qualified", eventTimestamp=AGO.replace("09", "08"))))
    assert (camel.status, snake.status) == (200, 200)
    assert camel.body["requestId"] != snake.body["requestId"]
    assert "fieldWarnings" not in camel.body
    assert [(item.order_key, str(item.value)) for item in wire.fake.applied()] == [
        ("lead-1-qualified", "250.5"),
        ("lead-2-qualified", "250.5"),
    ]


def _snake(value: Any) -> Any:
    if isinstance(value, list):
        return [_snake(item) for item in value]
    if isinstance(value, dict):
        return {
            "".join("_" + c.lower() if c.isupper() else c for c in key): _snake(item) for key, item in value.items()
        }
    return value


async def test_every_violation_is_listed_and_nothing_is_stored(wire: Wire) -> None:
    """Not the first one only: the client repairs all rows in one go."""
    wire.fake.know_id(GCLID, START - 2 * DAY)
    document = request()
    good = document["events"][0]
    document["events"] += [request(currency="R").pop("events")[0], request(eventSource=None).pop("events")[0], good]
    got = await wire.ingest(document)
    assert got.status == 400
    assert got.reasons == {
        "": "INVALID_ARGUMENT",
        "events.events[1].currency": "INVALID_CURRENCY_CODE",
        "events.events[2].event_source": "REQUIRED_FIELD_MISSING",
    }
    assert wire.fake.applied() == []


async def test_what_the_front_end_cannot_parse_has_no_reason_and_a_generic_path(wire: Wire) -> None:
    """Unknown field: one BadRequest, path ``events[0].ad_identifiers``, no ErrorInfo (contract google 2.7)."""
    got = await wire.ingest(request(adIdentifiers={"gclid": GCLID, "msclkid": "x"}))
    assert (got.status, got.reasons) == (400, {"events[0].ad_identifiers": ""})
    got = await wire.ingest(b"{")
    assert (got.status, got.reasons) == (400, {"": ""})


async def test_validate_only_stores_nothing_and_its_id_cannot_be_asked_for(wire: Wire) -> None:
    """Same checks, same answer."""
    wire.fake.know_id(GCLID, START - 2 * DAY)
    got = await wire.ingest(with_(request(), validateOnly=True))
    assert got.status == 200
    assert wire.fake.applied() == []
    assert (await wire.status(got.body["requestId"])).reasons["request_id"] == "INVALID_REQUEST_ID"
    assert (await wire.ingest(with_(request(currency="R"), validateOnly=True))).status == 400


async def test_status_is_processing_then_counts_by_reason(wire: Wire, clock: ManualClock) -> None:
    """One entry per destination, counts as text, errors only when settled; the official type parses both."""
    wire.fake.know_id(GCLID, START - 2 * DAY)
    document = request()
    document["events"].append(request(transactionId="other", adIdentifiers={"gclid": "no-such"})["events"][0])
    request_id = (await wire.ingest(document)).body["requestId"]
    early = await wire.status(request_id)
    clock.advance(timedelta(minutes=40))
    late = await wire.status(request_id)
    for got in (early, late):
        json_format.ParseDict(got.body, datamanager_v1.RetrieveRequestStatusResponse.pb()())
    (early_entry,), (entry,) = early.body["requestStatusPerDestination"], late.body["requestStatusPerDestination"]
    assert (early_entry["requestStatus"], "errorInfo" in early_entry) == ("PROCESSING", False)
    assert entry["requestStatus"] == "PARTIAL_SUCCESS"
    counts = [{"recordCount": "1", "reason": "PROCESSING_ERROR_REASON_CLICK_NOT_FOUND"}]
    assert entry["errorInfo"] == {"errorCounts": counts}
    assert entry["eventsIngestionStatus"] == {"recordCount": "2"}


async def test_custom_variables_the_account_lacks_are_a_warning(wire: Wire) -> None:
    """Trouble in an optional field does not refuse the upload (contract google 2.7)."""
    got = await wire.ingest(request(customVariables=[{"variable": "u1", "value": "x"}]))
    (warning,) = got.body["fieldWarnings"]
    assert warning["reason"] == "WARNING_REASON_CUSTOM_VARIABLE_NOT_ENABLED"
    json_format.ParseDict(got.body, datamanager_v1.IngestEventsResponse.pb()())


async def test_an_event_goes_to_the_destinations_it_names(wire: Wire) -> None:
    """None named: to all of them. Restated, deduplicated and counted per conversion action."""
    wire.fake.know_id(GCLID, START - 2 * DAY)
    document = request()
    document["destinations"].append({**document["destinations"][0], "reference": "b", "productDestinationId": "8"})
    document["events"].append(request(transactionId="only b", destinationReferences=["b"])["events"][0])
    assert (await wire.ingest(document)).status == 200
    counted = sorted((item.target, item.order_key) for item in wire.fake.applied())
    assert counted == [(ACTION, "lead-1-qualified"), ("8", "lead-1-qualified"), ("8", "only b")]


async def test_denied_consent_is_not_counted(wire: Wire, clock: ManualClock) -> None:
    """An event's own consent wins over the request's."""
    wire.fake.know_id(GCLID, START - 2 * DAY)
    denied = {"adUserData": "CONSENT_DENIED"}
    taken = await wire.ingest(with_(request(consent=denied), consent={"adUserData": "CONSENT_GRANTED"}))
    clock.advance(timedelta(minutes=40))
    (entry,) = (await wire.status(taken.body["requestId"])).body["requestStatusPerDestination"]
    assert entry["errorInfo"]["errorCounts"][0]["reason"] == "PROCESSING_ERROR_REASON_DENIED_CONSENT"
    assert [item.is_linked for item in wire.fake.applied()] == [False]


async def test_both_quotas_are_counted_apart_and_named(wire: Wire) -> None:
    """So many a minute for uploads, as many for status (contract google 2.8)."""
    wire.fake.rules.per_minute = 2
    uploads = [await wire.ingest(request()) for _ in range(3)]
    asked = [await wire.status("t-x") for _ in range(3)]
    assert [got.status for got in uploads] == [200, 200, 429]
    assert [got.status for got in asked] == [400, 400, 429]
    limits = [got.body["error"]["details"][0]["metadata"]["quota_limit"] for got in (uploads[2], asked[2])]
    assert limits == [f"Ingestion{kind}RequestsPerMinutePerProject" for kind in ("Mutate", "Read")]


async def test_without_a_good_token_nothing_is_answered(wire: Wire, clock: ManualClock) -> None:
    """Missing, invented, expired: each with its reason, before anything is parsed."""
    good = wire.headers
    for headers, reason in (({}, "CREDENTIALS_MISSING"), ({"Authorization": "Bearer x"}, "ACCESS_TOKEN_EXPIRED")):
        wire.headers = headers
        for got in (await wire.ingest(b"{"), await wire.status("t-x")):
            assert (got.status, got.reasons) == (401, {"": reason})
    wire.headers = good
    clock.advance(HOUR)
    assert (await wire.ingest(request())).status == 401


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, 401, "invalid_client"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "a.b.c"}, 400, "invalid_grant"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}, 400, "invalid_grant"),
    ],
)
async def test_the_token_endpoint_answers_in_googles_words(
    wire: Wire, form: dict[str, str], status: int, error: str
) -> None:
    """Contract google 6."""
    got = await wire.post("/token", data=form)
    assert (got.status, got.body["error"]) == (status, error)


async def test_a_slow_answer_comes_after_storing(wire: Wire) -> None:
    """Who hangs up meanwhile does not undo the upload."""
    wire.fake.rules.reply_delay = 60.0
    with pytest.raises(asyncio.TimeoutError):
        await wire.post("/v1/events:ingest", data=json.dumps(request()), timeout=aiohttp.ClientTimeout(total=0.3))
    assert len(wire.fake.applied()) == 1


async def test_without_googles_messages_the_same_is_refused(clock: ManualClock) -> None:
    """In a production wheel the simulator runs on its own schema."""
    fake = GoogleAds(clock, credentials="authorized_user", is_official=False)
    await fake.start()
    try:
        async with aiohttp.ClientSession() as session:
            plain = Wire(fake, session)
            await plain.log_in()
            assert (await plain.ingest(request())).status == 200
            assert (await plain.ingest(request(surprise=1))).status == 400
    finally:
        await fake.stop()


# --- the checks --------------------------------------------------------------------------------------------------


def _found(document: dict[str, Any], rules: Rules | None = None) -> dict[str, str]:
    parsed = parse(json.dumps(document).encode())
    return {item.field: item.reason for item in violations(parsed, rules or Rules(), START)}


def _person(value: str, encoding: str | None = "HEX") -> dict[str, Any]:
    document = request(userData={"userIdentifiers": [{"emailAddress": value}]})
    return with_(document, encoding=encoding) if encoding else document


BASE64 = "UJ6TMBm7KFoTSpM0uLtnnf950M4CPVKa9L10TUe0/Yo="  # contract google 7
EVENT = "events.events[0]"


@pytest.mark.parametrize(
    ("document", "field", "reason"),
    [
        ({}, "destinations", "REQUIRED_FIELD_MISSING"),
        ({}, "events", "REQUIRED_FIELD_MISSING"),
        (with_(request(), destinations=[{}] * 11), "destinations", "TOO_MANY_DESTINATIONS"),
        (with_(request(), events=[{}] * 2001), "events", "TOO_MANY_EVENTS"),
        (request(eventTimestamp=None), f"{EVENT}.event_timestamp", "REQUIRED_FIELD_MISSING"),
        (request(eventSource="EVENT_SOURCE_UNSPECIFIED"), f"{EVENT}.event_source", "REQUIRED_FIELD_MISSING"),
        (request(eventTimestamp="2026-03-02T09:00:01Z"), f"{EVENT}.event_timestamp", "EVENT_TIME_INVALID"),
        (request(eventTimestamp="2025-11-01T09:00:01Z"), f"{EVENT}.event_timestamp", "EVENT_TIME_INVALID"),
        (request(adIdentifiers=None), EVENT, "NO_IDENTIFIERS_PROVIDED"),
        (request(adIdentifiers={"gclid": ""}), EVENT, "NO_IDENTIFIERS_PROVIDED"),
        (request(adIdentifiers={"gclid": "a", "wbraid": "b"}), f"{EVENT}.ad_identifiers", "INVALID_EVENT"),
        (request(currency="RU"), f"{EVENT}.currency", "INVALID_CURRENCY_CODE"),
        (request(conversionValue=-1), f"{EVENT}.conversion_value", "INVALID_NUMBER_FORMAT"),
        (request(conversionValue="NaN"), f"{EVENT}.conversion_value", "INVALID_NUMBER_FORMAT"),
        (request(transactionId="x" * 65), f"{EVENT}.transaction_id", "FIELD_VALUE_TOO_LONG"),
        (request(destinationReferences=["no"]), f"{EVENT}.destination_references[0]", "INVALID_DESTINATION"),
        (_person(EMAIL, None), "encoding", "REQUIRED_FIELD_MISSING"),
        (_person("g" * 64), f"{EVENT}.user_data.user_identifiers[0]", "INVALID_HEX_ENCODING"),
        (_person("e" * 63), f"{EVENT}.user_data.user_identifiers[0]", "INVALID_SHA256_FORMAT"),
        (_person("%%%%", "BASE64"), f"{EVENT}.user_data.user_identifiers[0]", "INVALID_BASE64_ENCODING"),
        (_person("AAAA", "BASE64"), f"{EVENT}.user_data.user_identifiers[0]", "INVALID_SHA256_FORMAT"),
        (
            with_(request(userData={"userIdentifiers": [{"emailAddress": EMAIL}] * 11}), encoding="HEX"),
            f"{EVENT}.user_data.user_identifiers",
            "TOO_MANY_USER_IDENTIFIERS",
        ),
    ],
)
def test_each_fault_has_its_path_and_reason(document: dict[str, Any], field: str, reason: str) -> None:
    """Contract google 2.12, point 2."""
    assert _found(document)[field] == reason


def _destination(**changes: Any) -> dict[str, Any]:
    document = request()
    document["destinations"] = [{**document["destinations"][0], **changes}]
    return document


@pytest.mark.parametrize(
    ("document", "field", "reason"),
    [
        (_destination(operatingAccount=None), "operating_account", "REQUIRED_FIELD_MISSING"),
        (
            _destination(operatingAccount={"accountType": "GOOGLE_ADS", "accountId": "123-456"}),
            "operating_account.account_id",
            "INVALID_NUMBER_FORMAT",
        ),
        (
            _destination(loginAccount={"accountType": "DATA_PARTNER", "accountId": "1"}),
            "login_account.account_type",
            "DESTINATION_ACCOUNT_TYPE_MISMATCH",
        ),
        (
            _destination(productDestinationId="customers/1/conversionActions/2"),
            "product_destination_id",
            "INVALID_CONVERSION_ACTION_ID",
        ),
    ],
)
def test_each_fault_of_a_destination_has_its_path_and_reason(document: dict[str, Any], field: str, reason: str) -> None:
    """Numbers as text, no dashes, no resource names."""
    assert _found(document)[f"destinations[0].{field}"] == reason


def test_valid_requests_have_nothing_to_complain_about() -> None:
    """Hex and base64 digests, zero, no transaction id, session attributes alone."""
    for document in (
        request(),
        _person(EMAIL),
        _person(BASE64, "BASE64"),
        request(conversionValue=0),
        request(transactionId=None, currency=None, conversionValue=None),
        request(adIdentifiers={"sessionAttributes": "x"}),
    ):
        assert _found(document) == {}


def test_two_destinations_may_not_share_a_reference() -> None:
    """Contract google 2.3."""
    document = request()
    document["destinations"] *= 2
    assert _found(document) == {"destinations[1].reference": "DUPLICATE_DESTINATION_REFERENCE"}
