"""Pure mapping: which identifier, when a row may go, its exact bytes, and what answers mean."""

from __future__ import annotations

import string
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.yandex_metrica.fake_file import Row, file_of, parse
from adapters.yandex_metrica.mapping import (
    CLOCK_MARGIN,
    PREFERENCE,
    admit,
    answer,
    identifier_of,
    judge,
    refused_answer,
    render,
)
from adapters.yandex_metrica.wire import Uploading, UploadingReply, read
from bridge.errors import Ambiguous, AuthError, BridgeError, Drift, Refused, Throttled, Unavailable
from bridge.model import Identifier, IdKind, Money, Outgoing, utc
from bridge.ports import Admission, Fate, Pass
from bridge.tools import Request, Response
from tests.adapters.yandex_metrica.helpers import CLIENT_ID, DAY, HOUR, LABEL, YCLID, roubles, row, sample
from tests.support import START

WINDOW = timedelta(days=21)
READ = Request("GET", "/x", is_safe=True)
REPORT = Request("GET", "/x", is_safe=True, scope="reports")
WRITE = Request("POST", "/x")
COLUMNS = {
    IdKind.CLIENT_ID: "ClientId",
    IdKind.USER_ID: "UserId",
    IdKind.YCLID: "Yclid",
    IdKind.PURCHASE_ID: "PurchaseId",
}
FAR = 2**40

decimal_ids = st.text(string.digits, min_size=10, max_size=20)
own_ids = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=40) | st.text(
    "a1,\"; ='", min_size=1, max_size=9
).filter(lambda text: text == text.strip())
identifiers = st.one_of(
    st.builds(Identifier, st.sampled_from((IdKind.YCLID, IdKind.CLIENT_ID)), decimal_ids),
    st.builds(Identifier, st.sampled_from((IdKind.USER_ID, IdKind.PURCHASE_ID)), own_ids),
)
values = st.none() | st.builds(Money, st.integers(0, 10**13), st.sampled_from(("RUB", "USD", "JPY", "KWD")))
rows_of_file = st.builds(
    lambda identifier, target, seconds, value: row(
        (identifier.kind, identifier.value), target=target, occurred_at=utc(seconds), value=value
    ),
    identifiers,
    st.text(string.ascii_letters + string.digits + '_-,"', min_size=1, max_size=20),
    st.floats(1.7e9, 1.9e9),
    values,
)


# --- identifiers and admission -----------------------------------------------------------------------------------


def test_the_click_itself_is_preferred_to_the_visitor() -> None:
    """A yclid names the visit from the ad; ClientID, UserID and PurchaseId follow, whatever the order in the row."""
    known = {kind: (kind, CLIENT_ID) for kind in PREFERENCE}
    for number, kind in enumerate(PREFERENCE):
        found = identifier_of(row(*reversed([known[k] for k in PREFERENCE[number:]])))
        assert found == Identifier(kind, CLIENT_ID)


@pytest.mark.parametrize("yclid", ["", "123456789", "1" * 21, "1,77511E+18", "{yclid}", "１２３４５６７８９０１２"])
def test_a_malformed_yclid_gives_way_to_a_good_client_id(yclid: str) -> None:
    """Garbage in the better field must not cost the conversion."""
    found = identifier_of(row((IdKind.YCLID, yclid), (IdKind.CLIENT_ID, CLIENT_ID)))
    assert found == Identifier(IdKind.CLIENT_ID, CLIENT_ID)


@pytest.mark.parametrize(
    ("given_ids", "code"),
    [
        (((IdKind.GCLID, "Cj0KCQ"), (IdKind.YMCLID, "1" * 24)), "no_identifier"),
        (((IdKind.YCLID, "12345"),), "bad_identifier"),
        (((IdKind.USER_ID, "two\nlines"),), "bad_identifier"),
        (((IdKind.PURCHASE_ID, "x" * 256),), "bad_identifier"),
    ],
)
def test_a_row_without_a_usable_identifier_is_refused_with_a_code(
    given_ids: tuple[tuple[IdKind, str], ...], code: str
) -> None:
    """The code tells a foreign identifier from a broken one."""
    assert admit(row(*given_ids), START, WINDOW) == Admission(Pass.REFUSED, code)


@pytest.mark.parametrize(
    ("touched_at", "occurred_at", "verdict"),
    [
        (START - WINDOW + timedelta(seconds=1), START - HOUR, Pass.SEND),
        (START - WINDOW, START - HOUR, Pass.EXPIRED),
        (START - 30 * DAY, START - 8 * DAY, Pass.EXPIRED),
        (START - DAY, START + 20 * DAY, Pass.EXPIRED),
        (None, START - 300 * DAY, Pass.SEND),
        (START - HOUR, START - 2 * HOUR, Pass.SEND),
    ],
    ids=["just inside", "at the end", "long ago", "too long after the visit", "no touch known", "before the deal"],
)
def test_the_window_counts_from_the_visit_to_conversion_and_upload(
    touched_at: datetime | None, occurred_at: datetime, verdict: Pass
) -> None:
    """At most 21 days lie between the visit and either of the two (contract 2.5)."""
    admission = admit(row(touched_at=touched_at, occurred_at=occurred_at), START, WINDOW)
    assert admission.verdict is verdict
    assert admission.code == ("window_21d" if verdict is Pass.EXPIRED else "")


def test_a_conversion_in_the_future_waits_until_metrica_takes_it() -> None:
    """One future row would have the whole file refused."""
    early = admit(row(occurred_at=START + HOUR), START, WINDOW)
    assert early.verdict is Pass.WAIT
    assert early.until is not None
    assert admit(row(occurred_at=START + HOUR), early.until, WINDOW) == Admission(Pass.SEND)
    assert early.until - CLOCK_MARGIN == START + HOUR


def test_a_negative_value_is_refused_before_it_spoils_a_file() -> None:
    """Metrica has no negative revenue; zero is the lowest restatement."""
    assert admit(row(value=roubles("-1")), START, WINDOW).code == "negative_value"
    assert admit(row(value=roubles("0")), START, WINDOW).verdict is Pass.SEND


# --- rendering ---------------------------------------------------------------------------------------------------


def test_the_bytes_are_those_of_the_sample() -> None:
    """One identifier per row in its own column, Unix seconds, price with a dot, empty cells without a value."""
    rows = [
        row((IdKind.CLIENT_ID, CLIENT_ID), (IdKind.YCLID, YCLID), occurred_at=utc(1772400000.9)),
        row((IdKind.CLIENT_ID, CLIENT_ID), target="deal_won", occurred_at=utc(1772403600), value=roubles("1500")),
        row((IdKind.USER_ID, "site-user-7"), target="spam_lead", occurred_at=utc(1772407200), value=roubles("0")),
        row(
            (IdKind.PURCHASE_ID, "order-10001"),
            target="deal_won",
            occurred_at=utc(1772410800),
            value=roubles("30000.5"),
        ),
    ]
    payload = render(rows, LABEL)
    head = (
        f'--bridge-{LABEL}\r\nContent-Disposition: form-data; name="file"; filename="conversions.csv"\r\n'
        "Content-Type: text/csv; charset=utf-8\r\n\r\n"
    )
    assert payload.body == head.encode() + sample("upload.csv") + f"\r\n--bridge-{LABEL}--\r\n".encode()
    assert payload.content_type == f"multipart/form-data; boundary=bridge-{LABEL}"
    assert render(rows, LABEL) == payload


@given(st.lists(rows_of_file, min_size=1, max_size=20))
def test_what_is_rendered_is_what_a_strict_reader_finds(rows: list[Outgoing]) -> None:
    """Every identifier, target, second and amount arrives as it was, and nothing else."""
    payload = render(rows, LABEL)
    found = parse(file_of(payload.content_type, payload.body), FAR, set())
    assert found.source_quantity == len(rows)
    assert list(found.rows) == [_as_row(item) for item in rows]


def _as_row(item: Outgoing) -> Row:
    identifier, value = item.identifiers[0], item.value
    ids = ((COLUMNS[identifier.kind], identifier.value),)
    return Row(ids, item.target, int(item.occurred_at.timestamp()), None if value is None else value.amount)


def test_a_row_that_was_never_admitted_is_not_rendered_without_an_identifier() -> None:
    """A row Metrica could link to nothing would be lost in silence."""
    with pytest.raises(ValueError, match="no identifier"):
        render([row((IdKind.GCLID, "Cj0"))], LABEL)


@pytest.mark.parametrize(
    ("money", "cells"),
    [
        (Money(5, "RUB"), b"0.05,RUB"),
        (Money(1500, "JPY"), b"1500,JPY"),
        (Money(1, "KWD"), b"0.001,KWD"),
        (None, b","),
    ],
)
def test_a_price_has_the_decimals_of_its_currency(money: Money | None, cells: bytes) -> None:
    """Minor units never shift."""
    line = render([row(value=money)], LABEL).body.split(b"\n")[-4]
    assert line.endswith(b"," + cells)
    assert money is None or Decimal(cells.split(b",")[0].decode()) == money.amount


# --- answers -----------------------------------------------------------------------------------------------------


def _fates(uploading: Uploading, count: int) -> set[tuple[Fate, str]]:
    found = answer(uploading, [str(n) for n in range(count)])
    assert [outcome.delivery for outcome in found.outcomes] == [str(n) for n in range(count)]
    assert found.receipt == {"uploading_id": str(uploading.id)}
    return {(outcome.fate, outcome.code) for outcome in found.outcomes}


@pytest.mark.parametrize(
    ("source", "lines", "count", "fate", "code"),
    [
        (4, 4, 4, Fate.ACCEPTED, ""),
        (None, None, 4, Fate.ACCEPTED, ""),
        (4, None, 4, Fate.ACCEPTED, ""),
        (5, 5, 4, Fate.ACCEPTED, ""),
        (4, 3, 4, Fate.SPLIT, "row_refused"),
        (3, 3, 4, Fate.SPLIT, "row_refused"),
        (1, 1, 1, Fate.ACCEPTED, ""),
        (1, 0, 1, Fate.REJECTED, "row_refused"),
    ],
)
def test_the_number_of_good_rows_decides(
    source: int | None, lines: int | None, count: int, fate: Fate, code: str
) -> None:
    """Too few good rows halve the batch, down to the one that is refused."""
    assert _fates(Uploading(1, source_quantity=source, line_quantity=lines), count) == {(fate, code)}


def test_a_sparse_answer_is_read() -> None:
    """Fields may be missing and numbers may be text (contract 2.3)."""
    uploading = read(UploadingReply, Response(200, {}, sample("uploading_sparse.json"))).uploading
    assert uploading == Uploading(500000002, "MATCHED", None, None, 4, 3)


@pytest.mark.parametrize(
    ("code", "count", "fate"),
    [
        ("invalid_uploading", 2, Fate.SPLIT),
        ("invalid_uploading", 1, Fate.REJECTED),
        ("invalid_parameter", 1, Fate.REJECTED),
        ("too_large", 2, Fate.SPLIT),
        ("too_large", 1, None),
        ("limit_exceeded", 2, None),
        ("not_found", 2, None),
    ],
)
def test_only_a_refusal_that_a_row_can_cause_is_laid_on_rows(code: str, count: int, fate: Fate | None) -> None:
    """Otherwise one outage of configuration would reject every conversion, one by one."""
    found = refused_answer(Refused("no", code=code), ["a", "b"][:count])
    assert (found and {(o.fate, o.code) for o in found.outcomes}) == (fate and {(fate, code)})


# --- errors ------------------------------------------------------------------------------------------------------


def _error(kind: str) -> bytes:
    return sample("error.json").replace(b"quota_requests_by_ip", kind.encode())


@pytest.mark.parametrize(
    ("status", "body", "of_read", "of_write"),
    [
        (401, _error("unauthorized"), AuthError, AuthError),
        (403, _error("invalid_token"), AuthError, AuthError),
        (403, b"<html>", AuthError, AuthError),
        (420, _error("quota_requests_by_uid"), Throttled, Throttled),
        (429, b"", Throttled, Throttled),
        (400, _error("invalid_uploading"), Refused, Refused),
        (404, _error("not_found"), Refused, Refused),
        (413, b"<html>", Refused, Refused),
        (400, b"<html>", Drift, Drift),
        (302, b"", Drift, Drift),
        (500, b"<html>", Unavailable, Ambiguous),
        (503, _error("backend_error"), Unavailable, Ambiguous),
        (504, _error("timeout"), Unavailable, Ambiguous),
        (408, b"", Unavailable, Ambiguous),
        (200, b"<html>", Drift, Ambiguous),
        (200, b'{"uploading":{"id":50', Drift, Ambiguous),
        (200, b"\xff\xfe", Drift, Ambiguous),
        (200, b"", Drift, Ambiguous),
    ],
)
def test_every_answer_has_one_recovery(
    status: int, body: bytes, of_read: type[BridgeError], of_write: type[BridgeError]
) -> None:
    """An upload whose answer is lost or garbled may have been taken; a read may simply be repeated."""
    for request, expected in ((READ, of_read), (WRITE, of_write)):
        with pytest.raises(expected) as raised:
            judge(request, Response(status, {}, body))
        assert type(raised.value) is expected


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        ("quota_requests_by_uid", 3600.0),
        ("quota_requests_by_counter_id", 3600.0),
        ("quota_delegate_requests", 3600.0),
        ("quota_requests_by_ip", 5.0),
        ("quota_parallel_requests", 1.0),
        ("something_new", None),
    ],
)
def test_the_kind_of_quota_says_how_long_to_wait(kind: str, seconds: float | None) -> None:
    """A day's quota is not hammered every second; a second's quota does not cost an hour."""
    with pytest.raises(Throttled) as raised:
        judge(READ, Response(429, {}, _error(kind)))
    assert raised.value.retry_after == seconds


def test_a_refused_token_is_final_and_says_what_to_do() -> None:
    """There is no refresh: only a human can help."""
    with pytest.raises(AuthError, match="edit access to the counter") as raised:
        judge(READ, Response(403, {}, _error("access_denied")))
    assert raised.value.is_final


@given(st.binary(max_size=60), st.sampled_from([200, 204, 301, 400, 401, 403, 404, 413, 420, 429, 500, 503]))
def test_no_body_crashes_the_judge(body: bytes, status: int) -> None:
    """Whatever a gateway sends, the outcome is silence or one of our own errors."""
    for request in (READ, WRITE):
        try:
            judge(request, Response(status, {}, body))
        except BridgeError:
            continue
        assert 200 <= status < 300


@given(st.binary(max_size=60))
def test_reading_a_body_gives_a_value_or_drift(body: bytes) -> None:
    """No parse error of a library ever leaves the adapter."""
    with pytest.raises(Drift):
        read(UploadingReply, Response(200, {}, body))


def test_no_access_to_reports_stops_nothing_else() -> None:
    """The same refusal of an upload means the account; of a report only that reports are not to be had."""
    denied = Response(403, {}, _error("access_denied"))
    with pytest.raises(Refused) as raised:
        judge(REPORT, denied)
    assert raised.value.code == "access_denied"
    with pytest.raises(AuthError):
        judge(WRITE, denied)
    with pytest.raises(AuthError):
        judge(REPORT, Response(403, {}, _error("invalid_token")))


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [("quota_requests_by_uid", 300), ("quota_requests_by_ip", 5), ("quota_parallel_requests", 1), ("new_one", 300)],
)
def test_reports_have_a_quota_of_five_minutes(kind: str, seconds: int) -> None:
    """200 in five minutes: an hour would be too long, and whoever is refused is told in no documented words."""
    with pytest.raises(Throttled) as raised:
        judge(REPORT, Response(429, {}, _error(kind)))
    assert raised.value.retry_after == seconds


def test_a_part_of_a_log_is_a_table_and_no_json() -> None:
    """Every other good answer that is no JSON is cut or strange."""
    table = Response(200, {}, b"ym:s:startURL\n")
    judge(Request("GET", "/logrequest/1/part/0/download", is_safe=True, scope="logs"), table)
    with pytest.raises(Drift):
        judge(READ, table)


# Every error_type of the contract (10) with its status; what it means of a read and of an upload.
DOCUMENTED: dict[str, tuple[int, type[Exception], type[Exception]]] = {
    "unauthorized": (401, AuthError, AuthError),
    **dict.fromkeys(("invalid_token", "access_denied", "counter_in_connect"), (403, AuthError, AuthError)),
    **dict.fromkeys(
        ("invalid_parameter", "missing_parameter", "filter_limits", "query_error", "too_much_rows", "invalid_json"),
        (400, Refused, Refused),
    ),
    **dict.fromkeys(("limit_exceeded", "invalid_uploading"), (400, Refused, Refused)),
    "not_found": (404, Refused, Refused),
    "not_acceptable": (406, Refused, Refused),
    "conflict": (409, Refused, Refused),
    **dict.fromkeys(("quota_requests_by_uid", "quota_requests_by_counter_id"), (429, Throttled, Throttled)),
    **dict.fromkeys(("quota_requests_by_ip", "quota_parallel_requests"), (429, Throttled, Throttled)),
    **dict.fromkeys(("quota_delegate_requests", "quota_grants_requests"), (429, Throttled, Throttled)),
    "backend_error": (503, Unavailable, Ambiguous),
    "timeout": (504, Unavailable, Ambiguous),
}


@pytest.mark.parametrize("kind", DOCUMENTED)
def test_every_documented_error_has_its_recovery(kind: str) -> None:
    """The whole table, of a read and of an upload; a refusal keeps the vendor's name for it."""
    status, of_read, of_write = DOCUMENTED[kind]
    for request, expected in ((READ, of_read), (WRITE, of_write)):
        with pytest.raises(expected) as raised:
            judge(request, Response(status, {}, _error(kind)))
        if isinstance(raised.value, Refused):
            assert raised.value.code == kind
