"""The simulator refuses what Google refuses; its own reading of bodies agrees with Google's messages."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import aiohttp
import pytest
from google.ads import datamanager_v1
from google.protobuf import json_format  # type: ignore[import-untyped]  # protobuf brings no types
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from adapters.google_ads.fake import GoogleAds, parse_official
from adapters.google_ads.fake_checks import Rules, violations
from adapters.google_ads.fake_schema import SchemaError, parse
from bridge.sim.clock import ManualClock
from bridge.sim.events import Click
from tests.adapters.google_ads.kit import ACTION, DAY, EMAIL, GCLID, HOUR, sample
from tests.support import START

AGO = (START - DAY).isoformat().replace("+00:00", "Z")


def _request(**event: Any) -> dict[str, Any]:
    """A valid request of one event, changed; None takes a field out."""
    base = {
        "transactionId": "lead-1-qualified",
        "eventTimestamp": AGO,
        "eventSource": "WEB",
        "currency": "RUB",
        "conversionValue": 250.5,
        "adIdentifiers": {"gclid": GCLID},
    }
    changed = {key: value for key, value in {**base, **event}.items() if value is not None}
    account = {"accountType": "GOOGLE_ADS", "accountId": "1234567890"}
    destination = {"reference": "sale", "operatingAccount": account, "productDestinationId": ACTION}
    return {"destinations": [destination], "events": [changed]}


def _with(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**document, **changes}


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
def clock() -> ManualClock:
    return ManualClock(START)


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
    camel = await wire.ingest(_request())
    snake = await wire.ingest(
        _snake(_request(transactionId="lead-2-qualified", eventTimestamp=AGO.replace("09", "08")))
    )
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
    document = _request()
    good = document["events"][0]
    document["events"] += [_request(currency="R").pop("events")[0], _request(eventSource=None).pop("events")[0], good]
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
    got = await wire.ingest(_request(adIdentifiers={"gclid": GCLID, "msclkid": "x"}))
    assert (got.status, got.reasons) == (400, {"events[0].ad_identifiers": ""})
    got = await wire.ingest(b"{")
    assert (got.status, got.reasons) == (400, {"": ""})


async def test_validate_only_stores_nothing_and_its_id_cannot_be_asked_for(wire: Wire) -> None:
    """Same checks, same answer."""
    wire.fake.know_id(GCLID, START - 2 * DAY)
    got = await wire.ingest(_with(_request(), validateOnly=True))
    assert got.status == 200
    assert wire.fake.applied() == []
    assert (await wire.status(got.body["requestId"])).reasons["request_id"] == "INVALID_REQUEST_ID"
    assert (await wire.ingest(_with(_request(currency="R"), validateOnly=True))).status == 400


async def test_status_is_processing_then_counts_by_reason(wire: Wire, clock: ManualClock) -> None:
    """One entry per destination, counts as text, errors only when settled; the official type parses both."""
    wire.fake.know_id(GCLID, START - 2 * DAY)
    document = _request()
    document["events"].append(_request(transactionId="other", adIdentifiers={"gclid": "no-such"})["events"][0])
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
    got = await wire.ingest(_request(customVariables=[{"variable": "u1", "value": "x"}]))
    (warning,) = got.body["fieldWarnings"]
    assert warning["reason"] == "WARNING_REASON_CUSTOM_VARIABLE_NOT_ENABLED"
    json_format.ParseDict(got.body, datamanager_v1.IngestEventsResponse.pb()())


async def test_an_event_goes_to_the_destinations_it_names(wire: Wire) -> None:
    """None named: to all of them. Restated, deduplicated and counted per conversion action."""
    wire.fake.know_id(GCLID, START - 2 * DAY)
    document = _request()
    document["destinations"].append({**document["destinations"][0], "reference": "b", "productDestinationId": "8"})
    document["events"].append(_request(transactionId="only b", destinationReferences=["b"])["events"][0])
    assert (await wire.ingest(document)).status == 200
    counted = sorted((item.target, item.order_key) for item in wire.fake.applied())
    assert counted == [(ACTION, "lead-1-qualified"), ("8", "lead-1-qualified"), ("8", "only b")]


async def test_denied_consent_is_not_counted(wire: Wire, clock: ManualClock) -> None:
    """An event's own consent wins over the request's."""
    wire.fake.know_id(GCLID, START - 2 * DAY)
    denied = {"adUserData": "CONSENT_DENIED"}
    request_id = (await wire.ingest(_with(_request(consent=denied), consent={"adUserData": "CONSENT_GRANTED"}))).body
    clock.advance(HOUR)
    (entry,) = (await wire.status(request_id["requestId"])).body["requestStatusPerDestination"]
    assert entry["errorInfo"]["errorCounts"][0]["reason"] == "PROCESSING_ERROR_REASON_DENIED_CONSENT"
    assert [item.is_linked for item in wire.fake.applied()] == [False]


async def test_both_quotas_are_counted_apart_and_named(wire: Wire) -> None:
    """So many a minute for uploads, as many for status (contract google 2.8)."""
    wire.fake.rules.per_minute = 2
    uploads = [await wire.ingest(_request()) for _ in range(3)]
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
    assert (await wire.ingest(_request())).status == 401


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
        await wire.post("/v1/events:ingest", data=json.dumps(_request()), timeout=aiohttp.ClientTimeout(total=0.3))
    assert len(wire.fake.applied()) == 1


async def test_without_googles_messages_the_same_is_refused(clock: ManualClock) -> None:
    """In a production wheel the simulator runs on its own schema."""
    fake = GoogleAds(clock, credentials="authorized_user", is_official=False)
    await fake.start()
    try:
        async with aiohttp.ClientSession() as session:
            plain = Wire(fake, session)
            await plain.log_in()
            assert (await plain.ingest(_request())).status == 200
            assert (await plain.ingest(_request(surprise=1))).status == 400
    finally:
        await fake.stop()


# --- the checks --------------------------------------------------------------------------------------------------


def _found(document: dict[str, Any], rules: Rules | None = None) -> dict[str, str]:
    parsed = parse(json.dumps(document).encode())
    return {item.field: item.reason for item in violations(parsed, rules or Rules(), START)}


def _person(value: str, encoding: str | None = "HEX") -> dict[str, Any]:
    document = _request(userData={"userIdentifiers": [{"emailAddress": value}]})
    return _with(document, encoding=encoding) if encoding else document


BASE64 = "UJ6TMBm7KFoTSpM0uLtnnf950M4CPVKa9L10TUe0/Yo="  # contract google 7
EVENT = "events.events[0]"


@pytest.mark.parametrize(
    ("document", "field", "reason"),
    [
        ({}, "destinations", "REQUIRED_FIELD_MISSING"),
        ({}, "events", "REQUIRED_FIELD_MISSING"),
        (_with(_request(), destinations=[{}] * 11), "destinations", "TOO_MANY_DESTINATIONS"),
        (_with(_request(), events=[{}] * 2001), "events", "TOO_MANY_EVENTS"),
        (_request(eventTimestamp=None), f"{EVENT}.event_timestamp", "REQUIRED_FIELD_MISSING"),
        (_request(eventSource="EVENT_SOURCE_UNSPECIFIED"), f"{EVENT}.event_source", "REQUIRED_FIELD_MISSING"),
        (_request(eventTimestamp="2026-03-02T09:00:01Z"), f"{EVENT}.event_timestamp", "EVENT_TIME_INVALID"),
        (_request(eventTimestamp="2025-11-01T09:00:01Z"), f"{EVENT}.event_timestamp", "EVENT_TIME_INVALID"),
        (_request(adIdentifiers=None), EVENT, "NO_IDENTIFIERS_PROVIDED"),
        (_request(adIdentifiers={"gclid": ""}), EVENT, "NO_IDENTIFIERS_PROVIDED"),
        (_request(adIdentifiers={"gclid": "a", "wbraid": "b"}), f"{EVENT}.ad_identifiers", "INVALID_EVENT"),
        (_request(currency="RU"), f"{EVENT}.currency", "INVALID_CURRENCY_CODE"),
        (_request(conversionValue=-1), f"{EVENT}.conversion_value", "INVALID_NUMBER_FORMAT"),
        (_request(conversionValue="NaN"), f"{EVENT}.conversion_value", "INVALID_NUMBER_FORMAT"),
        (_request(transactionId="x" * 65), f"{EVENT}.transaction_id", "FIELD_VALUE_TOO_LONG"),
        (_request(destinationReferences=["no"]), f"{EVENT}.destination_references[0]", "INVALID_DESTINATION"),
        (_person(EMAIL, None), "encoding", "REQUIRED_FIELD_MISSING"),
        (_person("g" * 64), f"{EVENT}.user_data.user_identifiers[0]", "INVALID_HEX_ENCODING"),
        (_person("e" * 63), f"{EVENT}.user_data.user_identifiers[0]", "INVALID_SHA256_FORMAT"),
        (_person("%%%%", "BASE64"), f"{EVENT}.user_data.user_identifiers[0]", "INVALID_BASE64_ENCODING"),
        (_person("AAAA", "BASE64"), f"{EVENT}.user_data.user_identifiers[0]", "INVALID_SHA256_FORMAT"),
        (
            _with(_request(userData={"userIdentifiers": [{"emailAddress": EMAIL}] * 11}), encoding="HEX"),
            f"{EVENT}.user_data.user_identifiers",
            "TOO_MANY_USER_IDENTIFIERS",
        ),
    ],
)
def test_each_fault_has_its_path_and_reason(document: dict[str, Any], field: str, reason: str) -> None:
    """Contract google 2.12, point 2."""
    assert _found(document)[field] == reason


def _destination(**changes: Any) -> dict[str, Any]:
    document = _request()
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
        _request(),
        _person(EMAIL),
        _person(BASE64, "BASE64"),
        _request(conversionValue=0),
        _request(transactionId=None, currency=None, conversionValue=None),
        _request(adIdentifiers={"sessionAttributes": "x"}),
    ):
        assert _found(document) == {}


def test_two_destinations_may_not_share_a_reference() -> None:
    """Contract google 2.3."""
    document = _request()
    document["destinations"] *= 2
    assert _found(document) == {"destinations[1].reference": "DUPLICATE_DESTINATION_REFERENCE"}


# --- the schema, beside Google's own -----------------------------------------------------------------------------

FULL = _with(
    _request(
        userData={"userIdentifiers": [{"emailAddress": EMAIL}, {"address": {"givenName": EMAIL, "regionCode": "RU"}}]},
        consent={"adUserData": "CONSENT_GRANTED"},
        eventDeviceInfo={"userAgent": "x", "screenHeight": 5},
        cartData={"items": [{"quantity": "2", "unitPrice": 1.5}], "couponCodes": ["a"]},
        customVariables=[{"variable": "u1", "value": "x", "destinationReferences": ["sale"]}],
        lastUpdatedTimestamp=AGO,
        userProperties={"customerType": "NEW"},
    ),
    encoding="HEX",
    validateOnly=False,
    encryptionInfo={"gcpWrappedKeyInfo": {"keyType": "XCHACHA20_POLY1305", "kekUri": "x"}},
)
VALUES: list[Any] = [
    *(None, True, 0, 99, 1.5, "", "x", "5", "NaN", "WEB", "HEX", "CONSENT_GRANTED", "GRANTED"),
    *([], ["x"], [{}], [None], {}, {"x": 1}),
    *("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5+03:00", "2026-01-01 00:00:00", "2026-01-01T00:00:00"),
]
# Python's parser takes an empty text or list for an empty message, and makes numbers of true and 1.5 where an enum or
# a double is wanted. Google's servers are not written in Python; we refuse these.
LENIENT = (True, 1.5, "", [])
NAMES = ["x", "gclid", "event_source", "eventSource", "emailAddress", "phoneNumber", "email_address", "jobId", "@type"]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every position inside a document, the document itself excluded."""
    pairs: Mapping[Any, Any] = (
        dict(enumerate(value)) if isinstance(value, list) else value if isinstance(value, dict) else {}
    )
    return [place for key, item in pairs.items() for place in [(*path, key), *_places(item, (*path, key))]]


def _parent(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        document = document[key]
    return document


def _changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(FULL)
    _parent(document, path)[path[-1]] = value
    return document


def _added(path: tuple[Any, ...], name: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(FULL)
    target = _parent(document, (*path, None))
    if isinstance(target, dict):
        target[name] = value
    return document


PICKED = st.sampled_from(VALUES)
MUTATIONS = st.one_of(
    st.tuples(st.just(_changed), st.tuples(st.sampled_from(_places(FULL))), PICKED),
    st.tuples(st.just(_added), st.tuples(st.sampled_from([(), *_places(FULL)]), st.sampled_from(NAMES)), PICKED),
)


def _accepts(read: Callable[[bytes], Any], body: bytes) -> bool:
    try:
        read(body)
    except SchemaError:
        return False
    return True


@examples(deadline=None, max_examples=600)  # the first example imports Google's messages
@given(MUTATIONS)
def test_our_schema_takes_and_refuses_what_googles_messages_do(mutation: tuple[Any, tuple[Any, ...], Any]) -> None:
    """A full document changed in one place: both accept it, or both refuse it; or we are the stricter one."""
    change, where, value = mutation
    body = json.dumps(change(*where, value)).encode()
    ours, theirs = _accepts(parse, body), _accepts(parse_official, body)
    assert ours == theirs or (theirs and value in LENIENT)


@pytest.mark.parametrize("body", [b"", b"[1]", b"null", b"5", b'"x"', b"{", b'{"events": [}', b"\xff"])
def test_what_is_no_json_object_is_refused_by_both(body: bytes) -> None:
    """Whatever arrives, a 400 goes back."""
    assert not _accepts(parse, body)
    assert not _accepts(parse_official, body)


def test_our_schema_has_every_field_of_googles_request() -> None:
    """Field by field, through every nested message, from the official descriptor."""
    ours = parse(json.dumps(_everything(datamanager_v1.IngestEventsRequest.pb().DESCRIPTOR)).encode())
    assert ours == parse(
        json.dumps(_everything(datamanager_v1.IngestEventsRequest.pb().DESCRIPTOR, snake=True)).encode()
    )
    assert {field.name for field in datamanager_v1.Event.pb().DESCRIPTOR.fields} == set(ours["events"][0])


def _everything(descriptor: Any, *, snake: bool = False) -> Any:
    """A document in which every field of a message is set once (one member of each oneof)."""
    if descriptor.full_name == "google.protobuf.Timestamp":
        return AGO
    taken: set[str] = set()
    document = {}
    for field in descriptor.fields:
        oneof = field.containing_oneof.name if field.containing_oneof else field.name
        if oneof not in taken:
            taken.add(oneof)
            value = _example(field, snake)
            document[field.name if snake else field.json_name] = [value] if field.is_repeated else value
    return document


def _example(field: Any, snake: bool) -> Any:
    if field.message_type:
        return _everything(field.message_type, snake=snake)
    if field.enum_type:
        return field.enum_type.values[-1].name
    return {field.TYPE_STRING: "x", field.TYPE_BOOL: True}.get(field.type, 5)


def test_the_contracts_sample_passes_both() -> None:
    """The request shown in contract google 2.6."""
    assert parse(sample("ingest_request"))["encoding"] == "HEX"
    assert parse_official(sample("ingest_request")).encoding == 1
