"""Logs: one line per event, JSON under systemd, colours on a terminal; nothing secret or personal in either.

``EVENTS`` is the closed list of event names. :func:`redact` cleans any text that leaves the program another way
(command line, database). Numbers that identify things (click ids, timestamps, digests) are left alone.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, TextIO

import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.typing import EventDict, Processor, WrappedLogger

EVENTS = frozenset(
    {
        # the daemon
        "daemon_started",
        "daemon_stopping",
        "daemon_stopped",
        "tenant_broken",
        "loop_failed",
        "loop_recovered",
        "lock_waiting",
        "lock_taken",
        "lock_lost",
        "web_started",
        "tidied",
        "counted_twice",
        # sources
        "source_polled",
        "source_failed",
        "source_recovered",
        "start_moved",
        "source_swept",
        "sweep_missed",
        "sweep_set_aside",
        "sweep_failed",
        "catalogue_refreshed",
        "goal_problem",
        "goal_changed",
        "record_quarantined",
        "judging_failed",
        "coverage_fell",
        "coverage_recovered",
        "coverage_settled",
        "leads_stopped",
        "leads_resumed",
        # write-back
        "deals_marked",
        "mark_refused",
        "write_back_failed",
        "write_back_recovered",
        # webhooks and hints
        "hook_closed",
        "post_refused",
        "hook_refused",
        "hook_registered",
        "hook_restored",
        "hook_failed",
        "hints_full",
        "hints_read",
        "hints_failed",
        "hints_dropped",
        # destinations
        "batch_sealed",
        "batch_sent",
        "batch_failed",
        "batch_held",
        "batch_dropped",
        "batch_in_doubt",
        "batch_reconciled",
        "destination_failed",
        "destination_recovered",
        "delivery_rejected",
        "delivery_expired",
        "verified",
        "values_estimated",
        "window_closing",
        "audited",
        "audit_lost",
        "audit_extra",
        "audit_settled",
        "audit_untold",
        "audit_failed",
        # accounts
        "auth_failed",
        "account_moved",
        "token_refreshed",
        "throttled",
        "quirk",
        "drift_seen",
        "api_ending",
        # requests of an operator
        "request_started",
        "request_done",
        "request_failed",
    }
)

Level = Literal["debug", "info", "warning", "error", "critical"]
Format = Literal["auto", "json", "console"]

_LONGEST = 20_000  # characters of one text value
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_KEY = re.compile(
    r"(?:.*_)?(?:tokens?|secrets?|passw(?:or)?d|pwd|authorization|webhooks?|api_?key|cookies?|credentials?|bearer"
    r"|phones?|tel|e?_?mails?|persons?|contacts?|fio|surname|patronymic|payload|body|headers|query|params)(?:_.*)?"
    r"|access|refresh|auth|query_string|name_of_person|(?:first|last|middle|full|client|customer|lead|deal)_name"
    r"|(?:lead|deal)_title"
)
# Reason codes ("no_click", "INVALID_ARGUMENT", "403") are worth reading; authorization and webhook codes are not.
_REASON_CODE = re.compile(r"\d{1,6}|(?=[A-Za-z]{1,15}\d{0,3}$|[^-_.:/]*[-_.:/])[A-Za-z][A-Za-z_.:/-]{0,60}\d{0,3}")


def setup(level: Level, format: Format = "auto", stream: TextIO | None = None, strict_events: bool = False) -> None:
    """Send structlog's and the standard library's records through one pipeline to ``stream`` (standard error).

    Args:
        level: lowest level of our own events ("critical": none of them); libraries always start at "warning".
        format: "auto" is JSON under systemd or when the stream is no terminal.
        stream: where lines go.
        strict_events: raise ValueError on an event name that is not in ``EVENTS`` (for tests).
    """
    out = stream or sys.stderr
    shared = _shared_processors()
    renderers = _renderers(_is_json(format, out), out.isatty())
    own: list[Processor] = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level]
    structlog.configure(
        processors=[*own, *([_known_event] if strict_events else []), *shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    _adopt_libraries(out, [*shared, *_without_internals(), *renderers])


class _LibraryHandler(logging.StreamHandler[TextIO]):
    """The one root handler of ours; its class tells it from handlers others installed."""


def _adopt_libraries(out: TextIO, processors: Sequence[Processor]) -> None:
    handler = _LibraryHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name],
            processors=list(processors),
        )
    )
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, _LibraryHandler)]
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _without_internals() -> list[Processor]:
    return [structlog.stdlib.ProcessorFormatter.remove_processors_meta]


def _shared_processors() -> list[Processor]:
    return [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redaction,
    ]


def _renderers(is_json: bool, has_colours: bool) -> list[Processor]:
    if is_json:
        return [structlog.processors.JSONRenderer(serializer=_dumps)]
    return [ConsoleRenderer(colors=has_colours, exception_formatter=plain_traceback)]


def _dumps(value: Any, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _is_json(format: Format, stream: TextIO) -> bool:
    if format == "auto":
        return "JOURNAL_STREAM" in os.environ or not stream.isatty()
    return format == "json"


def _known_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    if event.get("event") not in EVENTS:
        raise ValueError(f'unknown event name "{event.get("event")}"; add it to bridge.log.EVENTS')
    return event


def redaction(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """structlog processor: the same event without secrets and persons. Runs after exceptions became text."""
    return {key: value if key.startswith("_") else _clean_under(key, value) for key, value in event.items()}


def _clean_under(key: str, value: Any) -> Any:
    if _is_secret(key) and not _is_harmless(value):
        return HIDDEN
    if key == "code" and not (isinstance(value, int) or _REASON_CODE.fullmatch(str(value))):
        return HIDDEN
    return _clean(value)


@lru_cache(maxsize=512)
def _is_secret(key: str) -> bool:
    return _SECRET_KEY.fullmatch(_CAMEL.sub("_", key).lower().replace("-", "_")) is not None


def _is_harmless(value: Any) -> bool:
    """Counts and flags may stand under any name ("phones": 2)."""
    return value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 1_000_000)


def _clean(value: Any) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, str):
        return _shorten(redact(value[: 2 * _LONGEST]))
    if isinstance(value, int):
        return value if redact(str(value)) == str(value) else HIDDEN
    if isinstance(value, Mapping):
        return {redact(str(key)): _clean_under(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    return _shorten(redact(str(value)[: 2 * _LONGEST]))


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... [cut]"


# --- text --------------------------------------------------------------------------------------------------------

HIDDEN = "[hidden]"

_LOCAL = r"[\w.+!#$&*/=?^{|}~`%-]"
_DOMAIN = r"[\w-]+(?:\.[\w-]+)+"
# Each pattern and what takes its place; tried in this order.
_SECRET_TEXTS: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ of a URL (database addresses)
    (re.compile(r"(\w://)[^\s/@'\"<>]+@"), rf"\1{HIDDEN}@"),
    # query strings, of URLs and of bare paths
    (re.compile(r"(://[^\s?'\"<>]{1,500})\?[^\s'\"<>]+"), rf"\1?{HIDDEN}"),
    (re.compile(r"(?<=[\w/])\?[^\s=?'\"<>\[]+=[^\s'\"<>]*"), f"?{HIDDEN}"),
    # Bitrix24 webhooks: /rest/<user>/<code>/ and the bare USER/CODE
    (re.compile(r"(/rest/\d+/)[^/\s'\"?<>]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?<![\w/.-])(\d{1,8}/)(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{10,40}(?![\w/-])"), rf"\1{HIDDEN}"),
    # the secrets in our own webhook addresses
    (re.compile(r"(/hooks/[\w-]+/[\w-]+/)[^/\s'\"?<>]+"), rf"\1{HIDDEN}"),
    # Authorization values
    (re.compile(r"(?i)\b(bearer|oauth|basic|token)(\s+)(?=\S*\d|\S{20})[\w.~+/=-]{8,}"), rf"\1\2{HIDDEN}"),
    # JSON Web Tokens; Google and Yandex tokens
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){1,2}"), HIDDEN),
    (re.compile(r"\bya29\.[\w.-]{8,}|\b1//[\w-]{20,}|\by[0-9]_[\w-]{20,}|\bAQAAAA[\w-]{20,}"), HIDDEN),
    # anything unbroken that is longer than any identifier (amoCRM tokens, keys)
    (re.compile(r"(?<![\w+/=-])[\w+/=-]{128,}"), HIDDEN),
    # name and value of a secret: password=..., "refresh_token": "..."
    (re.compile(r"(?i)((?:password|passwd|pwd|secret)[\"']?\s*[=:]\s*[\"']?)[^\s\"',&;}\])]+"), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"(?i)((?:token|authorization|auth|webhook|api_?key|cookie|code)[\"']?\s*[=:]\s*[\"']?)"
            r"(?=[^\s\"',&;}]*\d|[^\s\"',&;}_]{20})[^\s\"',&;}\])]{8,}"
        ),
        rf"\1{HIDDEN}",
    ),
    # e-mail addresses, also percent-encoded; without a local part where that was quoted (but not our own mark)
    (re.compile(rf"(?<!{_LOCAL}){_LOCAL}+(?:@|%40){_DOMAIN}|(?<![\]\w])@{_DOMAIN}"), HIDDEN),
)

_GAP = r"[\s().–-]{0,3}"  # what people put between the digits of a phone number
_KEEP = (
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"  # UUID
    r"|(?<!\d)\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)?(?!\d)"  # date and time
    r"|(?<!\d)\d\d\.\d\d\.(?:19|20)\d\d(?!\d)"
    r"|(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\.?\d)"  # IPv4
    r"|(?<![\d.])\d+\.\d+(?![\d.])(?!\s?[\d(-])"  # a decimal number
)
_PHONE = (
    rf"(?:\+|%2[Bb]){_GAP}[1-9](?:{_GAP}\d){{9,14}}"  # international, any grouping
    rf"|(?<!\d)[78](?:{_GAP}\d){{10}}"  # Russia and Kazakhstan with their prefix
    rf"|(?<!\d)(?:375|38|99[2-8]|37[1-4]|49|44|90|86|971|972)(?:{_GAP}\d){{9,10}}"  # other prefixes without a plus
    rf"|(?<!\d)1{_GAP}[2-9]\d\d{_GAP}[2-9]\d\d{_GAP}\d{{4}}"  # North America with its prefix
    r"|(?<!\d)[3489]\d{9}"  # ten digits as Russians write them without the prefix
    r"|(?<!\d)(?:\([2-9]\d\d\)|[2-9]\d\d\)?)[\s.–-]{1,2}\d{3}[\s.–-]?\d\d[\s.–-]?\d\d"  # the same, grouped
    r"|\([2-9]\d\d\)\d{3}[\s.–-]?\d\d[\s.–-]?\d\d"
)
_NUMBERS = re.compile(rf"(?P<keep>{_KEEP})|(?P<phone>(?:{_PHONE})(?![0-9A-Za-z]))")
_PLAIN = re.compile(r"[A-Za-z_.-]{0,64}")
_DIGITS = re.compile(r"\d")
_ID_BEFORE = re.compile(r"[0-9A-Za-z]*\Z")


def redact(text: str) -> str:
    """The text without tokens, webhook codes, query strings, e-mail addresses and phone numbers. Idempotent."""
    if _PLAIN.fullmatch(text):
        return text
    for pattern, replacement in _SECRET_TEXTS:
        text = pattern.sub(replacement, text)
    if len(_DIGITS.findall(text)) < 10:
        return text
    return _NUMBERS.sub(_hide_phone, text)


def _hide_phone(match: re.Match[str]) -> str:
    if match["keep"] is not None:
        return match[0]
    before = match.string[max(0, match.start() - 64) : match.start()]
    found = _ID_BEFORE.search(before)
    is_inside_hex = found is not None and found[0] != "" and all(c in "0123456789abcdefABCDEF" for c in found[0])
    return match[0] if is_inside_hex else HIDDEN
