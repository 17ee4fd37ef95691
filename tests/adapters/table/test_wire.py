"""What Google Sheets' answers mean, one by one, and how its cells become texts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.table.auth import TOKEN_CALL
from adapters.table.grid import Numeral, column_letters, column_number, parse_range, text_of
from adapters.table.wire import QUOTA_WAIT, judge, read_ranges, read_spreadsheet
from bridge.errors import AuthError, BridgeError, Drift, Refused, Throttled, Unavailable
from bridge.tools import Request, Response
from tests.adapters.table.kit import ROOT

SAMPLES = ROOT / "adapters/table/samples"
READ, TOKEN = Request("GET", "/v4/spreadsheets/x", is_safe=True), Request("POST", "/token", scope=TOKEN_CALL)


def answer(status: int, body: Any = b"{}", **headers: str) -> Response:
    return Response(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def problem(status: str, reason: str = "") -> dict[str, Any]:
    return {"error": {"code": 1, "message": "x", "status": status, "details": [{"reason": reason}] if reason else []}}


def test_the_sample_of_values_is_read_cell_by_cell() -> None:
    """Ragged rows, blank rows, errors, booleans, nulls, a long number, a range without values (contract tables A2)."""
    first, second = read_ranges((SAMPLES / "sheets_values_batch_get.json").read_bytes(), 2)
    rows = [[text_of(cell) for cell in row] for row in first.values]
    assert rows[1] == ["A-1", "46086.3802", "Оплачен", "100000.5", "1772690000123456789"]
    assert rows[2] == []
    assert rows[3:] == [
        ["A-2", "46087.5", "", "#N/A"],
        ["A-3", "05.03.2026", "true", "", "1.77269000000000E+18"],
    ]
    assert [isinstance(text, Numeral) for text in rows[1]] == [False, True, False, True, False]
    assert second.values == []


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"valueRanges": []}', b'{"valueRanges": [{}, {}]}', b'{"valueRanges"']
)
def test_an_answer_that_is_not_as_promised_is_drift(body: bytes) -> None:
    """Also one with another number of ranges: which rows would they be?"""
    with pytest.raises(Drift):
        read_ranges(body, 1)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"properties": 5}'])
def test_a_spreadsheet_that_cannot_be_understood_is_drift(body: bytes) -> None:
    """A proxy's page, another API."""
    with pytest.raises(Drift):
        read_spreadsheet(body)


@pytest.mark.parametrize(
    ("response", "error", "told"),
    [
        (answer(400, problem("INVALID_ARGUMENT")), Refused, "renamed"),
        (answer(404, problem("NOT_FOUND")), Refused, "no such spreadsheet"),
        (answer(401, problem("UNAUTHENTICATED")), AuthError, "access token"),
        (answer(403, problem("PERMISSION_DENIED")), AuthError, "client_email"),
        (answer(403, problem("PERMISSION_DENIED", "SERVICE_DISABLED")), AuthError, "enable"),
        (answer(403, problem("PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT")), AuthError, "cover"),
        (answer(403, b"<html>"), AuthError, "client_email"),
        (answer(429, b"<html>"), Throttled, "quota"),
        (answer(500, problem("INTERNAL")), Unavailable, "500"),
        (answer(503, b"<html>"), Unavailable, "503"),
        (answer(408), Unavailable, "408"),
        (answer(400, b"<html>"), Drift, "base_url"),
        (answer(302), Drift, "base_url"),
        (answer(200, b'{"a"'), Drift, "cut"),
    ],
)
def test_every_answer_has_one_meaning(response: Response, error: type[BridgeError], told: str) -> None:
    """By status and reason, never by prose (contract tables A4)."""
    with pytest.raises(error, match=told) as raised:
        judge(READ, response)
    assert type(raised.value) is error


def test_a_used_up_quota_is_waited_for() -> None:
    """As long as Google says, else half a minute: the second wait meets a new one."""
    body = (SAMPLES / "sheets_error_429.json").read_bytes()
    for headers, wait in (({}, QUOTA_WAIT), ({"retry-after": "7"}, 7.0), ({"retry-after": "soon"}, QUOTA_WAIT)):
        with pytest.raises(Throttled) as raised:
            judge(READ, Response(429, headers, body))
        assert raised.value.retry_after == wait


@pytest.mark.parametrize(
    ("response", "error", "is_final"),
    [
        (answer(400, {"error": "invalid_grant"}), AuthError, True),
        (answer(400, {"error": "invalid_scope"}), AuthError, True),
        (answer(401, b"<html>"), AuthError, True),
        (answer(400, {"error": "temporarily_unavailable"}), Unavailable, None),
        (answer(503), Unavailable, None),
        (answer(429), Throttled, None),
        (answer(200, b"<html>"), Drift, None),
    ],
)
def test_the_token_endpoint_has_its_own_answers(
    response: Response, error: type[BridgeError], is_final: bool | None
) -> None:
    """A dead key is final, an outage is not (contract tables A1)."""
    with pytest.raises(error) as raised:
        judge(TOKEN, response)
    assert getattr(raised.value, "is_final", None) is is_final


@pytest.mark.parametrize(
    ("text", "sheet", "edges"),
    [
        ("A:H", None, (1, None, 1, 8)),
        ("B:", None, (1, None, 2, None)),
        ("a2:h", None, (2, None, 1, 8)),
        ("$B$3:$AA$500", None, (3, 500, 2, 27)),
        ("3:90", None, (3, 90, 1, None)),
        ("Лиды!A:C", "Лиды", (1, None, 1, 3)),
        ("'Лиды, март'!A:C", "Лиды, март", (1, None, 1, 3)),
        ("'It''s'!A:C", "It's", (1, None, 1, 3)),
    ],
)
def test_a_range_is_read_as_google_writes_it(text: str, sheet: str | None, edges: tuple[int | None, ...]) -> None:
    """A1 notation with a colon; the sheet may stand in front."""
    name, area = parse_range(text)
    assert name == sheet
    assert (area.first_row, area.last_row, area.first_column, area.last_column) == edges


@pytest.mark.parametrize("text", ["", ":", "A1", "Лиды", "1", "C:A", "A9:B2", "A0:B2", "AAAA:B", "A1:B2:C3", "Лиды!"])
def test_what_is_no_range_is_refused(text: str) -> None:
    """A single cell, a sheet alone, an end before its beginning."""
    with pytest.raises(ValueError, match="range"):
        parse_range(text)


def test_columns_have_letters() -> None:
    """There and back, over every border."""
    assert [column_letters(number) for number in (1, 26, 27, 52, 702, 703)] == ["A", "Z", "AA", "AZ", "ZZ", "AAA"]
    assert all(column_number(column_letters(number)) == number for number in range(1, 2000))
