"""Retractions by the Google Ads API: which rows, what goes, what an answer means; Google's own messages agree."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]  # ships no types
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from adapters.google_ads import adjustments, fake_adjust, mapping
from adapters.google_ads.fake import GoogleAds
from adapters.google_ads.fake_books import Books, Upload
from adapters.google_ads.fake_checks import Rules
from adapters.google_ads.fake_schema import SchemaError, parse, parse_adjustments
from bridge.errors import Ambiguous, AuthError, Drift, Refused
from bridge.model import ConversionKind, IdKind, Money, Outgoing
from bridge.ports import Accepted, Pass, Payload, Sealed, Seen
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault
from bridge.tools import DriftCounts
from tests.adapters.google_ads import official
from tests.adapters.google_ads.kit import (
    ACTION,
    DAY,
    GCLID,
    HOUR,
    LABEL,
    Bench,
    bench,
    click,
    fates,
    response,
    row,
    sample,
    settings,
)
from tests.support import START

ON = settings(retract=True)
ZERO = Money(0, "RUB")
# Of other enums of the Ads API than that of adjustments.
ELSEWHERE = frozenset(
    {"CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE", "INTERNAL_ERROR", "TRANSIENT_ERROR", "USER_PERMISSION_DENIED"}
)


def gone(number: int = 1, **changes: Any) -> Outgoing:
    """A conversion that the CRM took back an hour ago."""
    own = click(IdKind.GCLID, f"{GCLID}{number}")
    given_ = {"identifiers": own, "kind": ConversionKind.RESTATEMENT, "value": ZERO, "retracted_at": START - HOUR}
    return row(number, **{**given_, **changes})


# --- which rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "retract", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"retracted_at": None}, True, False),
        ({"identifiers": click(IdKind.GBRAID, "b")}, True, True),
        ({"identifiers": ()}, True, True),
        ({"identifiers": click(IdKind.WBRAID, "w")}, True, False),
    ],
)
def test_only_retractions_go_this_way_where_it_is_switched_on(
    changes: dict[str, Any], retract: bool, expected: bool
) -> None:
    """By wbraid it is not possible (contract google 3.5): worth 0 then, as all are by default."""
    given_ = settings(retract=retract)
    item = gone(**changes)
    assert adjustments.is_one(item, given_) == expected
    assert adjustments.is_body(mapping.render([item], given_)) == expected
    assert (mapping.batch_key(item, given_) == ACTION) != expected


def test_a_conversion_of_more_than_54_days_cannot_be_retracted() -> None:
    """The Ads API's own number; a value could be told for one day more."""
    old = gone(occurred_at=START - 54 * DAY - HOUR)
    assert (mapping.admit(old, START, ON).verdict, mapping.admit(old, START, ON).code) == (
        *(Pass.EXPIRED, "adjustment_54d"),
    )
    assert mapping.admit(old, START, settings()).verdict is Pass.SEND
    assert mapping.admit(old, START - 2 * HOUR, ON).verdict is Pass.SEND


# --- what goes ---------------------------------------------------------------------------------------------------


def test_a_request_is_what_the_contract_shows() -> None:
    """Order id, action by its resource name, a time with a space and an offset; nothing else."""
    assert json.loads(mapping.render([gone()], ON)) == {
        "conversionAdjustments": [
            {
                "orderId": row().order_key,
                "conversionAction": f"customers/1234567890/conversionActions/{ACTION}",
                "adjustmentType": "RETRACTION",
                "adjustmentDateTime": "2026-03-02 08:00:00+00:00",
            }
        ],
        "partialFailure": True,
    }


def test_a_retraction_is_never_before_its_conversion() -> None:
    """A CRM's times may disagree; Google would refuse it."""
    early = gone(retracted_at=START - 9 * DAY)
    made = json.loads(mapping.render([early], ON))["conversionAdjustments"][0]
    assert made["adjustmentDateTime"] == "2026-03-01 09:00:01+00:00"


MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 3, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


@examples(deadline=None, max_examples=50)  # the first example imports Google's messages
@given(st.lists(st.builds(gone, st.integers(1, 10**6), retracted_at=MOMENTS), min_size=1, max_size=5))
def test_every_request_parses_into_the_official_message_and_the_simulators(rows: list[Outgoing]) -> None:
    """Whatever is retracted: Google's own strict parser has nothing to say about it."""
    body = mapping.render(rows, ON)
    message = official.parse_adjustments(body)
    assert [one.order_id for one in message.conversion_adjustments] == [item.order_key for item in rows]
    assert {one.adjustment_type for one in message.conversion_adjustments} == {2}
    assert [one["order_id"] for one in parse_adjustments(body)["conversion_adjustments"]] == [
        item.order_key for item in rows
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"conversionAdjustments": [{"orderID": "x"}]},
        {"conversionAdjustments": [{"adjustmentType": "TAKE_BACK"}]},
        {"conversionAdjustments": [{"orderId": 5}]},
        {"conversionAdjustments": [{"userIdentifiers": [{"hashedEmail": "a", "hashedPhoneNumber": "b"}]}]},
        {"partialFailures": True},
        {"partialFailure": "perhaps"},
    ],
)
def test_the_simulator_refuses_what_googles_parser_refuses(wrong: dict[str, Any]) -> None:
    """Unknown names and values, wrong types, two members of one oneof."""
    body = json.dumps(wrong).encode()
    with pytest.raises(ParseError):
        official.parse_adjustments(body)
    with pytest.raises(SchemaError):
        parse_adjustments(body)


def test_the_simulator_knows_every_field_that_googles_message_has() -> None:
    """The contract's sample, and all fields at once."""
    whole = {
        "customerId": "1",
        "conversionAdjustments": [
            {
                "gclidDateTimePair": {"gclid": "g", "conversionDateTime": "t"},
                **{"orderId": "o", "conversionAction": "a", "adjustmentDateTime": "t", "adjustmentType": "RESTATEMENT"},
                "restatementValue": {"adjustedValue": 1800.0, "currencyCode": "PLN"},
                "userIdentifiers": [{"userIdentifierSource": "FIRST_PARTY", "hashedEmail": "e"}],
                "userAgent": "u",
            }
        ],
        **{"partialFailure": True, "validateOnly": True, "jobId": 7},
    }
    for body in (json.dumps(whole).encode(), sample("adjustments_request")):
        message = official.parse_adjustments(body)
        parsed = parse_adjustments(body)
        assert len(message.conversion_adjustments) == len(parsed["conversion_adjustments"])
        assert {field.name for field, _ in message.ListFields()} == set(parsed)


# --- answers -----------------------------------------------------------------------------------------------------


def _batch(*rows: str, attempt: int = 1) -> Sealed:
    return Sealed(LABEL, Payload(b""), rows, attempt)


def _error(code: str, index: int | None, kind: str = "conversionAdjustmentUploadError") -> dict[str, Any]:
    element = {"fieldName": "conversion_adjustments", **({} if index is None else {"index": index})}
    return {"errorCode": {kind: code}, "message": "words", "location": {"fieldPathElements": [element]}}


def _told(*errors: dict[str, Any], rows: int = 3, attempt: int = 1) -> list[tuple[str, str]]:
    detail = {"@type": "type.googleapis.com/google.ads.googleads.v26.errors.GoogleAdsFailure", "errors": list(errors)}
    document = {"partialFailureError": {"code": 3, "message": "words", "details": [detail]}}
    batch = _batch(*(f"row{number}" for number in range(rows)), attempt=attempt)
    return fates(adjustments.read(response(200, document), batch, START, DriftCounts()))


def test_errors_are_found_by_their_paths() -> None:
    """In whatever order they come; index 0 may be left out; the first error of a row counts."""
    told = _told(_error("CONVERSION_EXPIRED", 2), _error("TOO_RECENT_CONVERSION", None), _error("X", 2))
    assert told == [("again", "TOO_RECENT_CONVERSION"), ("accepted", ""), ("rejected", "CONVERSION_EXPIRED")]


def test_what_is_retracted_already_is_done() -> None:
    """A repeat after a lost answer: that is what makes the proof."""
    assert _told(_error("CONVERSION_ALREADY_RETRACTED", 0), rows=1) == [("accepted", "CONVERSION_ALREADY_RETRACTED")]


@pytest.mark.parametrize("code", ["TOO_RECENT_CONVERSION", "TOO_RECENT_CONVERSION_ACTION", "CONVERSION_NOT_FOUND"])
def test_what_time_may_mend_is_tried_five_times_and_then_refused(code: str) -> None:
    """The upload may still be on its way through Google."""
    fates_ = [_told(_error(code, 0), rows=1, attempt=attempt)[0][0] for attempt in range(1, 8)]
    assert fates_ == ["again"] * 5 + ["rejected"] * 2


@pytest.mark.parametrize(
    "code", ["CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE", "INVALID_CONVERSION_ACTION_TYPE", "USER_PERMISSION_DENIED"]
)
def test_what_only_an_operator_can_mend_blames_no_row(code: str) -> None:
    """The destination is in trouble and says what to do; rows wait."""
    with pytest.raises(Refused, match=code):
        _told(_error(code, 1, "notAllowlistedError"))


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"<html>",
        b'{"partialFailureError": {"code": 3}}',
        b'{"partialFailureError": {"details": [{"errors": [{"errorCode": {"x": "Y"}}]}]}}',
    ],
)
def test_an_answer_that_names_no_row_is_drift(body: bytes) -> None:
    """Never success; the same bytes go again."""
    with pytest.raises(Drift):
        adjustments.read(response(200, body), _batch("row"), START, DriftCounts())


def test_an_index_beyond_the_batch_is_drift() -> None:
    """It would leave a row that failed as accepted."""
    with pytest.raises(Drift):
        _told(_error("CONVERSION_EXPIRED", 3))


def test_every_error_google_knows_gives_its_row_an_outcome() -> None:
    """None crashes; what is not expected of a retraction is refused and counted as drift."""
    names = official.error_names("conversion_adjustment_upload_error", "ConversionAdjustmentUploadError")
    assert names | ELSEWHERE >= adjustments.KNOWN
    for code in names - set(adjustments.SETUP):
        assert _told(_error(code, 0), rows=1)[0][0] in ("accepted", "rejected", "again")


# --- before the simulator ----------------------------------------------------------------------------------------


@pytest.fixture
async def here(clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    async with bench(GoogleAds(clock), clock, tmp_path, monkeypatch, retract=True) as ready:
        yield ready


async def _uploaded(here: Bench, *numbers: int) -> None:
    """Conversions of known clicks, counted."""
    rows = [row(number, identifiers=click(IdKind.GCLID, f"{GCLID}{number}")) for number in numbers]
    here.know(*rows)
    await here.send(*rows)


async def test_a_retraction_takes_value_and_count(here: Bench) -> None:
    """Of that conversion alone; the Ads API tells nothing more afterwards, so it stays accepted."""
    await _uploaded(here, 1, 2)
    answer = await here.send(gone(1))
    assert fates(answer) == [("accepted", "")]
    assert sorted((item.order_key, item.reaches) for item in here.fake.applied()) == [
        (row(1).order_key, 0),
        (row(2).order_key, 1),
    ]
    (verdict,) = await here.port.verify(Accepted(answer.receipt, (gone(1),), START)) or []
    assert (verdict.seen, verdict.code) == (Seen.UNKNOWN, "retraction_taken")


async def test_one_bad_row_does_not_hold_up_the_others(here: Bench) -> None:
    """Partial failure, row by row."""
    await _uploaded(here, 1, 3)
    answer = await here.send(gone(1), gone(2), gone(3))
    assert fates(answer) == [("accepted", ""), ("again", "CONVERSION_NOT_FOUND"), ("accepted", "")]
    assert answer.outcomes[1].not_before == START + 12 * HOUR


async def test_after_a_lost_answer_the_same_bytes_go_again(here: Bench) -> None:
    """In doubt first; then recognised as done."""
    await _uploaded(here, 1)
    await here.port.targets()  # a token first, so that the fault meets the retraction
    here.fake.faults.rates = {Fault.ERROR_AFTER: 1.0}
    with pytest.raises(Ambiguous):
        await here.send(gone(1))
    here.fake.faults.stop()
    assert fates(await here.send(gone(1))) == [("accepted", "CONVERSION_ALREADY_RETRACTED")]


async def test_a_project_that_may_not_adjust_is_told_so(here: Bench) -> None:
    """By name, with the way round; it comes inside HTTP 200 on each row (contract google 1)."""
    await _uploaded(here, 1)
    here.fake.rules.may_adjust = False
    with pytest.raises(Refused, match="retract = false"):
        await here.send(gone(1))
    assert [item.reaches for item in here.fake.applied()] == [1]


async def test_without_the_ads_api_a_retraction_is_an_error_of_check(here: Bench) -> None:
    """Uploads alone would not need it."""
    here.fake.rules.has_ads_api = False
    (found,) = [item for item in await here.port.check({"sale": ACTION}) if item.subject == "Google Ads API"]
    assert (found.level.value, "retract" in found.message) == ("error", True)
    with pytest.raises(AuthError):
        await here.send(gone(1))


def test_the_simulators_answers_are_the_vendors() -> None:
    """Parsed strictly by Google's own messages: success, failures of each kind, and both at once."""
    rules = Rules(actions={ACTION: START - DAY})
    told = set[str]()
    for rows in ([gone(1)], [gone(1), gone(2), gone(3)], [gone(2, target="1"), gone(2), gone(2)]):
        answer = fake_adjust.upload(
            parse_adjustments(mapping.render(rows, ON)), "1234567890", _books(1, 2), rules, START
        )
        message = official.parse_answer(json.dumps(answer).encode())
        assert len(message.results) == len(rows)
        errors = answer.get("partialFailureError", {}).get("details", [{"errors": []}])[0]["errors"]
        told |= {code for error in errors for code in error["errorCode"].values()}
    assert told == {"CONVERSION_NOT_FOUND", "NO_CONVERSION_ACTION_FOUND", "DUPLICATE_ADJUSTMENT_IN_REQUEST"}


def _books(*numbers: int) -> Books:
    """Conversions of these rows, counted."""
    books = Books(Rules())
    for number in numbers:
        item = row(number, identifiers=click(IdKind.GCLID, f"{GCLID}{number}"))
        books.know(item.identifiers[0].value, START - 3 * DAY)
        uploaded = parse(mapping.render([item], ON))
        books.take([Upload.of(uploaded["events"][0], ACTION, {})], START)
    return books


@pytest.mark.parametrize(("age", "code"), [(53 * DAY, ""), (55 * DAY, "CONVERSION_EXPIRED")])
async def test_the_simulator_keeps_googles_window(here: Bench, clock: ManualClock, age: timedelta, code: str) -> None:
    """54 days after the conversion."""
    await _uploaded(here, 1)
    clock.set(row(1).occurred_at + age)
    assert fates(await here.send(gone(1, retracted_at=clock.now())))[0][1] == code
