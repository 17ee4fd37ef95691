"""Every answer of a portal, sane or not, becomes exactly one class of error or passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bitrix24 import wire
from bridge.errors import AuthError, BridgeError, Drift, Refused, Throttled, Unavailable
from bridge.tools import Request, Response
from tests.adapters.bitrix24.kit import SAMPLES

REQUEST = Request("POST", "crm.deal.list", is_safe=True, scope="crm.deal.list")
HTML = b"<html><body>Bad Gateway</body></html>"


def judged(status: int, body: bytes, url: str = "crm.deal.list", **headers: str) -> BridgeError | None:
    request = Request("POST", url, is_safe=True, scope="crm.deal.list")
    try:
        wire.judge(request, Response(status, headers, body), lambda scope: 42.0)
    except BridgeError as error:
        return error
    return None


def test_a_good_answer_passes() -> None:
    """Also one whose result is empty, false or null."""
    for result in (b"[]", b"false", b"null", b"{}", b'"2026-08-14T15:48:03+03:00"'):
        assert judged(200, b'{"result":' + result + b',"time":{"operating":0.1}}') is None


@pytest.mark.parametrize("error", ['""', "0", '"100"', '"0"', "null"])
def test_an_error_key_is_an_error_whatever_it_holds(error: str) -> None:
    """The portal writes "" and 0 for errors; the key alone decides, with HTTP 200 as well."""
    body = f'{{"error":{error},"error_description":"Not found"}}'.encode()
    for status in (200, 400):
        assert type(judged(status, body)) is Refused


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("QUERY_LIMIT_EXCEEDED", 503, Throttled),
        ("query_limit_exceeded", 200, Throttled),
        ("OPERATION_TIME_LIMIT", 429, Throttled),
        ("INVALID_CREDENTIALS", 401, AuthError),
        ("invalid_credentials", 403, AuthError),
        ("insufficient_scope", 401, AuthError),
        ("ACCESS_DENIED", 403, AuthError),
        ("authorization_error", 401, AuthError),
        ("OVERLOAD_LIMIT", 503, AuthError),
        ("PORTAL_DELETED", 500, AuthError),
        ("INTERNAL_SERVER_ERROR", 500, Unavailable),
        ("ERROR_UNEXPECTED_ANSWER", 500, Unavailable),
        ("CONNECTION_ERROR", 401, Unavailable),
        ("ERROR_METHOD_NOT_FOUND", 404, Refused),
        ("INVALID_ARG_VALUE", 400, Refused),
        ("ACCESS_DENIED", 400, Refused),
        ("expired_token", 401, AuthError),
        ("invalid_token", 401, AuthError),
    ],
)
def test_each_code_has_its_recovery(code: str, status: int, kind: type[BridgeError]) -> None:
    """Contract 1.3, whatever the case of the code and the HTTP status beside it."""
    error = judged(status, f'{{"error":"{code}","error_description":"x"}}'.encode())
    assert type(error) is kind
    assert not isinstance(error, AuthError) or error.is_final == (code != "expired_token")


def test_a_used_up_operating_time_waits_for_the_reset_last_seen() -> None:
    """The error body has no time in it, so the caller's knowledge counts."""
    error = judged(429, b'{"error":"OPERATION_TIME_LIMIT","error_description":"Method is blocked"}')
    assert isinstance(error, Throttled)
    assert error.retry_after == 42.0


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, Drift),
        (401, AuthError),
        (403, AuthError),
        (404, Refused),
        (429, Throttled),
        (500, Unavailable),
        (502, Unavailable),
    ],
)
@pytest.mark.parametrize("body", [HTML, b"", b'{"result":[{"ID":"1"', b"[]", b'"text"', b'{"time":{}}', b"\xff\xfe"])
def test_an_answer_that_is_none_is_judged_by_its_status(status: int, kind: type[BridgeError], body: bytes) -> None:
    """HTML, nothing, cut JSON or another JSON never crash the reader."""
    assert type(judged(status, body)) is kind


def test_a_renamed_portal_names_the_new_host_and_nothing_else() -> None:
    """The redirect's path is the secret; the operator needs the host."""
    error = judged(302, HTML, location="https://new.bitrix24.ru/rest/1/k3v9x2m8q4w7t1z5/crm.deal.list")
    assert isinstance(error, Refused)
    assert 'base_url to "https://new.bitrix24.ru"' in str(error)
    assert "k3v9" not in str(error)
    assert isinstance(judged(302, b""), Refused)


@pytest.mark.parametrize(
    ("inner", "kind"),
    [
        ("OPERATION_TIME_LIMIT", Throttled),
        ("INTERNAL_SERVER_ERROR", Unavailable),
        ("INVALID_CREDENTIALS", AuthError),
        ("insufficient_scope", None),
        ("", None),
    ],
)
def test_an_error_inside_a_batch_counts_for_all_only_when_it_concerns_all(
    inner: str, kind: type[BridgeError] | None
) -> None:
    """A limit or a lost webhook stops the batch; one missing record does not."""
    body = f'{{"result":{{"result":[],"result_error":{{"a":{{"error":"{inner}","error_description":""}}}}}}}}'.encode()
    assert type(judged(200, body, "batch")) is (kind or type(None))


def test_a_batch_is_read_with_phps_empty_maps() -> None:
    """Empty maps come as [], contiguous ones as lists, and results stay bytes until needed."""
    found = wire.batch((SAMPLES / "batch.json").read_bytes())
    assert wire.mapped(found.result_next) == {}
    assert wire.mapped(found.result_error)["p1"].code == ""
    assert wire.ROWS.decode(wire.mapped(found.result)["p0"])[0]["ID"] == "77"
    assert wire.mapped(["x", "y"]) == {"0": "x", "1": "y"}


def test_long_numbers_keep_their_digits() -> None:
    """A custom number field may hold what a float would round."""
    assert wire.ROWS.decode(b'[{"UF_CRM_N":13527482094718001.25}]') == [{"UF_CRM_N": "13527482094718001.25"}]


@given(st.integers(200, 599), st.binary(max_size=60) | st.sampled_from([HTML, b'{"result":1}', b'{"error":""}']))
def test_no_answer_raises_anything_foreign(status: int, body: bytes) -> None:
    """Whatever comes back, it is good or one of our errors."""
    judged(status, body)
    judged(status, body, "batch")
