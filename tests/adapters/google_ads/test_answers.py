"""What Google's answers mean, held against the bodies of the contract."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.ads import datamanager_v1
from google.protobuf import json_format  # type: ignore[import-untyped]  # protobuf brings no types
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # generated without types

from adapters.google_ads import answers, wire
from bridge.errors import Ambiguous, AuthError, BridgeError, Drift, Refused, Throttled, Unavailable
from bridge.ports import Answer
from bridge.tools import Request
from tests.adapters.google_ads.kit import HOUR, bad_request, fates, response, sample, violation
from tests.support import START

WRITE = Request("POST", "/v1/events:ingest", scope=answers.INGEST_CALL)
READ = Request("GET", "/v1/requestStatus:retrieve", is_safe=True, scope=answers.STATUS_CALL)
HTML = b"<html><body>Error</body></html>"
ROWS = ("a", "b", "c", "d")


def _refused(document: dict[str, Any] | bytes, rows: tuple[str, ...] = ROWS) -> Answer:
    error = wire.read_error(response(400, document).body)
    assert error is not None
    return answers.refused(error, rows, START)


# --- the samples themselves --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ingest_request", datamanager_v1.IngestEventsRequest),
        ("ingest_response", datamanager_v1.IngestEventsResponse),
        ("request_status", datamanager_v1.RetrieveRequestStatusResponse),
        ("request_status_processing", datamanager_v1.RetrieveRequestStatusResponse),
    ],
)
def test_samples_are_googles_own_messages(name: str, message: Any) -> None:
    """The official types parse each sample strictly."""
    json_format.Parse(sample(name), message.pb()())


@pytest.mark.parametrize(
    "name", ["violations", "service_disabled", "token_expired", "quota", "request_id", "front_end"]
)
def test_error_samples_are_google_rpc_statuses(name: str) -> None:
    """Status with ErrorInfo, RequestInfo and BadRequest; the front end's ``reason`` per field is DM's own addition."""
    assert error_details_pb2.ErrorInfo
    error = json.loads(sample(f"error_{name}"))["error"]
    error.pop("status")
    json_format.ParseDict(error, status_pb2.Status())


# --- judge -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status", "body", "expected"),
    [
        (WRITE, 401, sample("error_token_expired"), AuthError),
        (WRITE, 401, HTML, AuthError),
        (WRITE, 403, sample("error_service_disabled"), AuthError),
        (WRITE, 403, HTML, AuthError),
        (WRITE, 429, sample("error_quota"), Throttled),
        (WRITE, 429, b"", Throttled),
        (WRITE, 409, b"{}", Unavailable),
        (WRITE, 500, HTML, Ambiguous),
        (WRITE, 503, HTML, Ambiguous),
        (WRITE, 504, b"", Ambiguous),
        (READ, 503, HTML, Unavailable),
        (READ, 504, b"{", Unavailable),
        (WRITE, 400, HTML, Drift),
        (WRITE, 400, sample("error_violations")[:200], Drift),
        (WRITE, 404, HTML, Drift),
        (WRITE, 302, b"", Drift),
        (WRITE, 418, b"{}", Drift),
        (WRITE, 200, HTML, Drift),
        (READ, 200, sample("request_status")[:100], Drift),
    ],
)
def test_each_status_becomes_the_class_whose_recovery_fits(
    request_: Request, status: int, body: bytes, expected: type[BridgeError]
) -> None:
    """A 5xx may come after storing: ambiguous for an upload, unavailable for a read. No body crashes the reader."""
    with pytest.raises(expected) as caught:
        answers.judge(request_, response(status, body))
    assert type(caught.value) is expected


@pytest.mark.parametrize(
    ("status", "name"), [(200, "ingest_response"), (400, "error_violations"), (404, "error_quota")]
)
def test_a_readable_answer_about_rows_is_left_to_the_caller(status: int, name: str) -> None:
    """Only the caller knows which rows went; ``judge`` does not raise."""
    answers.judge(WRITE, response(status, sample(name)))


def test_an_expired_token_can_be_renewed_and_a_ban_cannot() -> None:
    """401 is tried again with a new token; 403 stops the account."""
    with pytest.raises(AuthError) as expired:
        answers.judge(WRITE, response(401, sample("error_token_expired")))
    with pytest.raises(AuthError, match=r"SERVICE_DISABLED.*enable it") as banned:
        answers.judge(WRITE, response(403, sample("error_service_disabled")))
    assert (expired.value.is_final, banned.value.is_final) == (False, True)


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "scope"),
        ("PERMISSION_DENIED", "login_customer_id"),
        ("NEWLY_MADE", "member"),
    ],
)
def test_a_403_says_what_to_do(reason: str, advice: str) -> None:
    """Each reason has its own advice; an unknown one is named with the most likely."""
    body = {"error": {"code": 403, "status": "PERMISSION_DENIED", "details": [{"@type": "x", "reason": reason}]}}
    with pytest.raises(AuthError, match=f"{reason}.*{advice}"):
        answers.judge(WRITE, response(403, body))


def test_how_long_to_wait_comes_from_the_header_or_from_the_quotas_name() -> None:
    """A daily quota is looked at again in an hour; a quota by minute leaves the pace to the account."""
    daily = sample("error_quota").replace(b"PerMinute", b"PerDay")
    waits = []
    for answer in (
        response(429, b"", **{"retry-after": "7"}),
        response(429, daily),
        response(429, sample("error_quota")),
    ):
        with pytest.raises(Throttled) as caught:
            answers.judge(WRITE, answer)
        waits.append(caught.value.retry_after)
    assert waits == [7.0, 3600.0, None]


# --- a refused upload --------------------------------------------------------------------------------------------


def test_the_contracts_refusal_rejects_the_named_rows_and_sends_the_others_again() -> None:
    """Rows 0 and 3 are named, the login account too: the rows first, the account when nothing else is wrong."""
    again = ("again", "beside_a_bad_row")
    expected = [("rejected", "REQUIRED_FIELD_MISSING"), again, again, ("rejected", "INVALID_HEX_ENCODING")]
    assert fates(_refused(sample("error_violations"))) == expected


def test_the_front_ends_refusal_has_no_reason_but_an_index() -> None:
    """Unknown field or wrong type: path ``events[1].ad_identifiers`` (contract google 2.7)."""
    assert fates(_refused(sample("error_front_end")))[1] == ("rejected", "INVALID_ARGUMENT")


def test_the_first_reason_of_a_row_is_its_code() -> None:
    """A row with several faults has one outcome."""
    document = bad_request(
        violation("events.events[2].currency", "INVALID_CURRENCY_CODE"), violation("events.events[2]", "INVALID_EVENT")
    )
    assert fates(_refused(document))[2] == ("rejected", "INVALID_CURRENCY_CODE")


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("destinations[0].product_destination_id", "INVALID_CONVERSION_ACTION_ID"),
        ("destinations[0].login_account.account_id", "INVALID_NUMBER_FORMAT"),
        ("events.events[0].user_data", "DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS"),
        ("events.events[1].event_source", "EVENT_SOURCE_AND_DESTINATION_MISMATCH"),
        ("", "NOT_ALLOWLISTED"),
        ("encoding", "REQUIRED_FIELD_MISSING"),
        ("consent.ad_user_data", ""),
    ],
)
def test_a_complaint_about_the_account_or_the_request_blames_no_row(field: str, reason: str) -> None:
    """The operator has to act; no conversion is rejected for it, not even where the path points at one."""
    with pytest.raises(Refused) as caught:
        _refused(bad_request(violation(field, reason)))
    assert caught.value.code == (reason or "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "document",
    [
        bad_request(violation("events", "TOO_MANY_EVENTS")),
        bad_request(violation("", "FIELD_VALUE_TOO_LONG")),
        bad_request(violation("events.events[99]", "INVALID_EVENT")),
        {"error": {"code": 400, "status": "INVALID_ARGUMENT"}},
        {"error": {}},
    ],
)
def test_a_refusal_that_names_no_row_is_halved_down_to_one_row(document: dict[str, Any]) -> None:
    """Too many events, an index out of range, no details at all: halves find the row; a single one is rejected."""
    assert {fate for fate, _ in fates(_refused(document))} == {"split"}
    ((fate, code),) = fates(_refused(document, ("a",)))
    assert (fate, bool(code)) == ("rejected", True)


def test_a_new_conversion_action_delays_every_row_by_six_hours() -> None:
    """Contract google 10.3."""
    field = "destinations[0].product_destination_id"
    answer = _refused(bad_request(violation(field, answers.TOO_YOUNG), violation("events.events[0]", "INVALID_EVENT")))
    assert set(fates(answer)) == {("again", answers.TOO_YOUNG)}
    assert {outcome.not_before for outcome in answer.outcomes} == {START + 6 * HOUR}


@pytest.mark.parametrize("reason", ["INTERNAL_ERROR", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"])
def test_googles_own_trouble_is_no_fault_of_the_rows(reason: str) -> None:
    """They go again."""
    assert set(fates(_refused(bad_request(violation("", reason))))) == {("again", reason)}


def test_not_found_is_asked_again_in_an_hour() -> None:
    """One report of it for an action made minutes before (contract google 10.9)."""
    answer = answers.not_found(ROWS, START)
    assert set(fates(answer)) == {("again", "NOT_FOUND")}
    assert answer.outcomes[0].not_before == START + HOUR


def _outcome(document: dict[str, Any]) -> str | tuple[str, ...]:
    """The code of a whole refusal, or the rows that got an outcome."""
    try:
        return tuple(outcome.delivery for outcome in _refused(document).outcomes)
    except Refused as error:
        return error.code


@pytest.mark.parametrize("reason", datamanager_v1.ErrorReason.__members__)
def test_every_reason_google_knows_gives_each_row_one_outcome(reason: str) -> None:
    """Whatever the code, on a row or beside them: one outcome for every row, or a refusal of the whole; no crash."""
    for field in ("events.events[1].x", "destinations[0].y", "events", ""):
        assert _outcome(bad_request(violation(field, reason))) in (reason, ROWS)


def test_acceptance_needs_a_request_id() -> None:
    """Without the receipt nobody could follow the rows: drift, hence unknown, never success."""
    answer, body = answers.accepted(response(200, sample("ingest_response")), ROWS)
    assert set(fates(answer)) == {("accepted", "")}
    assert answer.receipt == {"request_id": "t-6f1c2c1e-3d57-4f0b-9f51-0c2a8a0f7b11"}
    assert [warning.reason for warning in body.field_warnings] == ["WARNING_REASON_CUSTOM_VARIABLE_NOT_ENABLED"]
    for document in (b"{}", b'{"requestId": 5}', b"[]"):
        with pytest.raises(Drift):
            answers.accepted(response(200, document), ROWS)
