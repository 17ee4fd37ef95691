"""Logs: nothing secret or personal leaves, identifiers survive, one pipeline for everybody."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from bridge import log

TOKEN = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiI5ZDlkIn0.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """Leave structlog and the root logger as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def logged(**fields: Any) -> dict[str, Any]:
    """What one event becomes as JSON."""
    stream = io.StringIO()
    log.setup("debug", "json", stream)
    structlog.get_logger().info("source_polled", **fields)
    (line,) = lines(stream)
    return line


# --- phones and e-mails ------------------------------------------------------------------------------------------

national = st.tuples(st.sampled_from("3489"), st.text("0123456789", min_size=9, max_size=9)).map("".join)
PHONE_FORMATS = [
    "+7{a}{b}{c}{d}",
    "7{a}{b}{c}{d}",
    "8{a}{b}{c}{d}",
    "{a}{b}{c}{d}",
    "8 {a} {b} {c} {d}",
    "+7 ({a}) {b}-{c}-{d}",
    "8({a}){b}-{c}-{d}",
    "8 ({a}) {b}{c}{d}",
    "8-{a}-{b}-{c}-{d}",
    "+7 {a} {b}{c}{d}",
    "+7.{a}.{b}.{c}.{d}",
    "8\u00a0{a}\u00a0{b}\u2013{c}\u2013{d}",
    "({a}) {b}-{c}-{d}",
    "{a}-{b}-{c}-{d}",
    "{a} {b} {c}{d}",
    "%2B7{a}{b}{c}{d}",
]
PLACES = [
    "{}",
    "тел. {}",
    "тел{}",
    "phone={},",
    "'{}'",
    "({})",
    "lead:{}",
    "позвонить {} завтра",
    "row_{}",
    "2026-03-02 {}",
]


@given(national, st.sampled_from(PHONE_FORMATS), st.sampled_from(PLACES))
def test_phones_vanish(digits: str, form: str, where: str) -> None:
    """A Russian number, however written and wherever it stands, leaves no four of its digits in a row."""
    phone = form.format(a=digits[:3], b=digits[3:6], c=digits[6:8], d=digits[8:])
    shown = log.redact(where.format(phone))
    left = shown.replace("2026-03-02", "")
    assert not any(char.isdigit() for char in left), shown


@pytest.mark.parametrize(
    "phone",
    [
        "+375 29 123-45-67",
        "375291234567",
        "+998 90 123 45 67",
        "+49 (0)30 1234567",
        "+1 202-555-0143",
        "12025550143",
        "(202) 555-0143",
        "+44 20 7946 0958",
        "495) 123-45-67",
        "916) 1234567",
    ],
)
def test_foreign_phones_vanish(phone: str) -> None:
    """Numbers of other countries, and cut ones, vanish when they have a plus, a known prefix, or a phone's grouping."""
    assert log.redact(f"call {phone} now") == f"call {log.HIDDEN} now"


@given(st.emails() | st.sampled_from(["иван@почта.рф", "a.b+c@mail.ru", "ivan%40mail.ru"]))
def test_emails_vanish(email: str) -> None:
    """No address stays, neither plain nor percent-encoded."""
    shown = log.redact(f"contact {email} refused")
    assert "@" not in shown
    assert email not in shown
    assert email.replace("%40", "@").rpartition("@")[2] not in shown


hexes = st.integers(0, 2**256 - 1).map(lambda n: f"{n:064x}")
IDS = st.one_of(
    st.integers(10**16, 10**20 - 1).map(str),  # yclid, ClientID
    st.integers(1_000_000_000, 1_999_999_999).map(str),  # Unix seconds
    st.integers(1_000_000_000_000, 1_999_999_999_999).map(str),  # Unix milliseconds
    st.integers(0, 10**9 - 1).map(str),  # deals, counters, counts
    hexes,
    hexes.map(lambda text: text[:32]),
    st.uuids().map(str),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)).map(lambda at: at.replace(tzinfo=UTC).isoformat()),  # noqa: DTZ001 - bounds are naive by contract of st.datetimes
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)).map(lambda at: at.strftime("%Y-%m-%d %H:%M:%S")),  # noqa: DTZ001 - bounds are naive by contract of st.datetimes
    st.ip_addresses(v=4).map(str),
    st.floats(0.0, 100.0).map(lambda number: f"{number:.12f}"),
)


@example("200.100.10.10", "({})")
@given(IDS, st.sampled_from(["{}", "deal:{}", "yclid {} is new", "id={}, next", '"{}"', "({})"]))
def test_identifiers_stay(value: str, where: str) -> None:
    """Click ids, timestamps, digests, UUIDs, dates, addresses and plain numbers are not taken for phones."""
    assert log.redact(where.format(value)) == where.format(value)


@given(st.text(max_size=300) | st.text("0123456789+-() @./?=:%eybarst", max_size=80))
def test_redaction_is_idempotent(text: str) -> None:
    """Cleaning a clean text changes nothing."""
    once = log.redact(text)
    assert log.redact(once) == once


# --- secrets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc123def456", "Authorization: Bearer [hidden]"),
        ("OAuth y0_AgAAAABkLmNoPqRsTuVw1234", "OAuth [hidden]"),
        (f"got {TOKEN} back", "got [hidden] back"),
        ("ya29.a0AfH6SMBx-123", "[hidden]"),
        ("1//0abcdefghijklmnopqrstuv", "[hidden]"),
        ("x" * 700, "[hidden]"),
        (
            "https://b24.ru/rest/1/a1b2c3d4e5f6g7h8/crm.deal.list.json",
            "https://b24.ru/rest/1/[hidden]/crm.deal.list.json",
        ),
        ("webhook 12/a1b2c3d4e5f6g7h8 refused", "webhook 12/[hidden] refused"),
        ("GET https://a.ru/x?yclid=1&phone=2 failed", "GET https://a.ru/x?[hidden] failed"),
        ("GET /api/v4/leads?page=2: 500", "GET /api/v4/leads?[hidden] 500"),
        ("postgresql://bridge:pass@db.host/x", "postgresql://[hidden]@db.host/x"),
        ('{"refresh_token": "def502abc", "n": 1}', '{"refresh_token": "[hidden]", "n": 1}'),
        ("client_secret=s3cr3t&x", "client_secret=[hidden]&x"),
        ("password: hunter", "password: [hidden]"),
        ("code=def50200abcdef12", "code=[hidden]"),
    ],
)
def test_secrets_in_texts_vanish(text: str, shown: str) -> None:
    """Tokens, webhook codes, passwords and query strings, in every shape they are seen in."""
    assert log.redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "POST api.x.ru/upload: no answer in time after sending; the write may have been applied",
        "Bearer authentication failed",
        "code=invalid_grant",
        "https://b24.ru/rest/crm.deal.list",
        "what now? yes = no",
        "rows 12/20, page 3/4",
        "EAIaIQobChMI5Z2xq4fVgwMVh0mRBR1xYQ-EAAYASAAEgK7D_BwE",
        "Квалифицирован, 1 500,00 RUB",
    ],
)
def test_plain_texts_stay(text: str) -> None:
    """What holds no secret is shown as it is, click ids and reason codes included."""
    assert log.redact(text) == text


@pytest.mark.parametrize(
    "key",
    [
        *("token", "access", "refresh", "access_token", "accessToken", "client-secret", "password", "Authorization"),
        *("webhook", "phone", "phones", "email", "EMAIL", "contact", "first_name", "lead_name", "fio", "person"),
        *("query", "params", "cookie", "body"),
    ],
)
def test_secret_keys_hide_their_values(key: str) -> None:
    """Under a name that means a secret or a person nothing is shown, at any depth and of any type."""
    line = logged(**{key: "Иван"}, deep=[{"x": {key: ["Иван", {"a": "Иван"}]}}])
    assert line[key] == log.HIDDEN
    assert line["deep"] == [{"x": {key: log.HIDDEN}}]


def test_counts_and_ordinary_keys_stay() -> None:
    """Numbers, flags and names of things are shown."""
    fields = {"tenant": "okna", "phones": 2, "token": None, "name": "crm", "event_count": 7, "share": 0.5, "done": True}
    assert {key: logged(**fields)[key] for key in fields} == fields


@pytest.mark.parametrize(
    "code", ["no_click", "NO_ADJUST", "invalid_argument", "PERMISSION_DENIED", "bad.date", "403", 403]
)
def test_reason_codes_stay(code: object) -> None:
    """Rejection codes are what an operator needs."""
    assert logged(code=code)["code"] == code


@pytest.mark.parametrize("code", ["a1b2c3d4e5f6g7h8", "def502009abcdef", "abcdefghijklmnop"])
def test_authorization_codes_vanish(code: str) -> None:
    """Codes that give access are not shown."""
    assert logged(code=code)["code"] == log.HIDDEN


def test_values_of_any_type_are_cleaned() -> None:
    """Numbers, bytes, exceptions and objects do not smuggle a phone out."""

    @dataclass
    class Row:
        phone: str

    at = datetime(2026, 3, 2, tzinfo=UTC)
    line = logged(
        number=79161234567, raw=b"+79161234567", error=ValueError("8 916 123-45-67"), row=Row("+79161234567"), at=at
    )
    assert line["number"] == log.HIDDEN
    assert line["raw"] == "[12 bytes]"
    assert line["error"] == log.HIDDEN
    assert "916" not in line["row"]
    assert line["at"] == "2026-03-02T00:00:00+00:00"


def test_long_values_are_cut() -> None:
    """A vendor's error page does not fill the journal."""
    assert len(logged(text="wort " * 100_000)["text"]) < 21_000


def test_tracebacks_hold_no_locals_and_no_secrets() -> None:
    """A traceback is text without variables; its messages are cleaned, causes included."""
    stream = io.StringIO()
    log.setup("info", "json", stream)
    hidden_local = "local-value"
    try:
        try:
            raise ValueError("ivan@mail.ru")
        except ValueError as error:
            raise RuntimeError("GET https://a.ru/?token=abcdef") from error
    except RuntimeError:
        structlog.get_logger().exception("loop_failed")
    (line,) = lines(stream)
    assert "RuntimeError" in line["exception"]
    assert "test_log.py" in line["exception"]
    for secret in (f"={hidden_local!r}", "ivan@mail.ru\n", "token=abcdef\n", hidden_local + "'\n"):
        assert secret not in line["exception"].replace('raise ValueError("ivan@mail.ru")', "")


# --- pipeline ----------------------------------------------------------------------------------------------------


def test_json_line() -> None:
    """One line per event: name, level, UTC time, fields; Cyrillic readable."""
    line = logged(tenant="окна")
    assert (line["event"], line["level"], line["tenant"]) == ("source_polled", "info", "окна")
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() is not None


def test_levels() -> None:
    """Events below the level are dropped."""
    stream = io.StringIO()
    log.setup("warning", "json", stream)
    structlog.get_logger().info("source_polled")
    structlog.get_logger().warning("source_failed")
    assert [line["event"] for line in lines(stream)] == ["source_failed"]


def test_libraries_share_the_pipeline() -> None:
    """Warnings of libraries arrive cleaned in the same format, their chatter not at all, also at level debug."""
    stream = io.StringIO()
    log.setup("debug", "json", stream)
    logging.getLogger("httpx").info("HTTP Request: GET https://a.ru/?token=1")
    logging.getLogger("apscheduler.scheduler").warning("missed %s", "ivan@mail.ru")
    try:
        raise ValueError("+7 916 123-45-67")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling request")
    warnings.warn("odd a@b.ru", stacklevel=1)
    first, second, third = lines(stream)
    assert (first["event"], first["logger"], first["level"]) == ("missed [hidden]", "apscheduler.scheduler", "warning")
    assert "ValueError: [hidden]" in second["exception"]
    assert "a@b.ru" not in third["event"].replace('warnings.warn("odd a@b.ru"', "")


def test_set_up_twice_logs_once() -> None:
    """A second set-up replaces the first."""
    first, second = io.StringIO(), io.StringIO()
    log.setup("info", "json", first)
    log.setup("info", "json", second)
    logging.getLogger("x").warning("once")
    structlog.get_logger().info("tidied")
    assert first.getvalue() == ""
    assert len(lines(second)) == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_format_follows_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours on a terminal, JSON elsewhere and under systemd, plain text where console is asked for."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    terminal, file, journal, plain = Terminal(), io.StringIO(), Terminal(), io.StringIO()
    for stream, form in ((terminal, "auto"), (file, "auto"), (plain, "console")):
        log.setup("info", form, stream)  # type: ignore[arg-type] # literals in a loop
        structlog.get_logger().info("tidied", phone="+79161234567")
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    log.setup("info", "auto", journal)
    structlog.get_logger().info("tidied")
    assert "\x1b[" in terminal.getvalue()
    assert "916" not in terminal.getvalue()
    assert lines(file)[0]["event"] == "tidied"
    assert lines(journal)[0]["event"] == "tidied"
    assert "\x1b[" not in plain.getvalue()
    assert "tidied" in plain.getvalue()


def test_unknown_event_names_fail_in_strict_mode_only() -> None:
    """The list of events is closed; production logs an unknown one rather than fail."""
    stream = io.StringIO()
    log.setup("info", "json", stream, strict_events=True)
    structlog.get_logger().info("tidied")
    with pytest.raises(ValueError, match="unknown event name"):
        structlog.get_logger().info("Something happened")
    log.setup("info", "json", stream)
    structlog.get_logger().info("Something happened")
    logging.getLogger("library").warning("free text")
    assert len(lines(stream)) == 3


def test_context_is_bound() -> None:
    """Tenant and account bound once stand in every line."""
    stream = io.StringIO()
    log.setup("info", "json", stream)
    with structlog.contextvars.bound_contextvars(tenant="okna"):
        structlog.get_logger().bind(source="crm").info("source_polled")
    assert (lines(stream)[0]["tenant"], lines(stream)[0]["source"]) == ("okna", "crm")


def test_event_names_have_one_form() -> None:
    """snake_case, so that they can be searched and counted."""
    assert all(name.isascii() and name.islower() and name.replace("_", "").isalpha() for name in log.EVENTS)
