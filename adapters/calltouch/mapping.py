"""Calls and forms as touches: their times, their callers, and where identifiers may be found. Pure.

There is no ``yclid`` or ``gclid`` field: they are in the entry page's address, else among the visit's own parameters
(contract calltouch 3). Five date formats are in use (contract calltouch 2); those that are a count of seconds are
trusted, wall clocks are the site's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from adapters.calltouch.wire import Call, Client, Loose, Record, Session, invalid, version_of
from bridge.model import Clue, Contact, Deal, DealKind, IdKind, Outcome, frozen, utc

_CLOCK = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d{2}):(\d{2})")
_PLACEHOLDER = re.compile(r"\s*(?:<[^<>]*>)?\s*")  # what stands for an empty value: "<не указано>" and the like
_UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")


@frozen
class Terms:
    """What reading a record needs: the site's time zone, and which parameters of a visit are identifiers."""

    zone: ZoneInfo
    fields: Mapping[str, IdKind]

    @classmethod
    def of(cls, zone: str, fields: Mapping[IdKind, Sequence[str]]) -> Terms:
        named = {name.casefold(): kind for kind, names in fields.items() for name in names}
        return cls(ZoneInfo(zone), named)


def key_of(record: Record) -> str:
    """Calls and requests are numbered apart (contract calltouch 5)."""
    return f"call:{record.call_id}" if isinstance(record, Call) else f"form:{record.request_id}"


def moment_of(record: Record, zone: ZoneInfo) -> datetime:
    """When it came in.

    Raises:
        RecordInvalid: it tells no time that can be read.
    """
    seconds = record.timestamp if isinstance(record, Call) else record.date and record.date / 1000
    text = record.date if isinstance(record, Call) else record.date_str
    found = _from_seconds(seconds) or wall_clock(text or "", zone)
    if found is None:
        raise invalid("neither timestamp nor date can be read")
    return found


def _from_seconds(seconds: float | None) -> datetime | None:
    try:
        return utc(int(seconds)) if seconds else None
    except (ValueError, OverflowError, OSError):
        return None


def wall_clock(text: str, zone: ZoneInfo) -> datetime | None:
    """``dd/mm/yyyy hh:mm:ss`` of the site's clock, the hour perhaps without its zero; None if it is none."""
    parts = _CLOCK.fullmatch(text.strip())
    if parts is None:
        return None
    day, month, year, hour, minute, second = map(int, parts.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=zone).astimezone(UTC)
    except ValueError:
        return None


def touch_of(record: Record, terms: Terms) -> Deal:
    """The record as a touch.

    Raises:
        RecordInvalid: it tells no time.
    """
    at = moment_of(record, terms.zone)
    is_call = isinstance(record, Call)
    kind, own = (DealKind.CALL, record.call_id) if isinstance(record, Call) else (DealKind.FORM, record.request_id)
    clues = _call_clues(record, terms) if is_call else _form_clues(record, terms)
    contacts = _caller(record) if isinstance(record, Call) else _writer(record.client)
    place = ("", "", Outcome.OPEN)
    return Deal(kind, str(own), version_of(record), at, at, *place, clues=tuple(clues), contacts=contacts)


def _call_clues(call: Any, terms: Terms) -> Iterator[Clue]:
    yield from _known("yaClientId", call.ya_client_id, IdKind.CLIENT_ID)
    yield from _known("clientId", call.client_id, IdKind.GA_CLIENT_ID)
    yield from _visit(call, terms, "callUrl", call.call_url)
    yield from _parameters("additionalTags", _named(call.additional_tags), terms)


def _form_clues(form: Any, terms: Terms) -> Iterator[Clue]:
    session = form.session or Session()
    yield from _known("session.yaClientId", session.ya_client_id, IdKind.CLIENT_ID)
    yield from _known("session.guaClientId", session.gua_client_id, IdKind.GA_CLIENT_ID)
    yield from _visit(session, terms)


def _visit(visit: Any, terms: Terms, *last: Loose) -> Iterator[Clue]:
    """Addresses first, the entry page before all; then utm marks and the visit's own parameters."""
    yield from _text("url", visit.url)
    if last:
        yield from _text(str(last[0]), last[1])
    yield from _text("referrer (ref)", visit.ref)
    for name in _UTM:
        yield from _text(name, getattr(visit, name))
    yield from _parameters("attrs", _named(visit.attrs), terms)


def _named(values: Any) -> list[tuple[str, str]]:
    """Pairs of an object, or of a list of ``{"name": ..., "value": ...}``."""
    if isinstance(values, Mapping):
        pairs = list(values.items())
    else:
        rows = [row for row in values if isinstance(row, Mapping)] if isinstance(values, list) else []
        pairs = [(row.get("name"), row.get("value")) for row in rows]
    return [(str(name), str(value)) for name, value in pairs if isinstance(value, str | int) and name is not None]


def _parameters(place: str, pairs: Sequence[tuple[str, str]], terms: Terms) -> Iterator[Clue]:
    for name, value in pairs:
        kind = terms.fields.get(name.casefold())
        if kind is not None:
            yield from _known(f"{place} {name}", value, kind)
        else:
            yield from _text(f"{place} {name}", value if "=" in value else f"{name}={value}")


def _known(where: str, value: Loose, kind: IdKind) -> Iterator[Clue]:
    text = "" if value is None else str(value)
    if not _PLACEHOLDER.fullmatch(text):
        yield Clue(where, text, kind)


def _text(where: str, value: Loose) -> Iterator[Clue]:
    text = "" if value is None else str(value)
    if not _PLACEHOLDER.fullmatch(text):
        yield Clue(where, text)


def _caller(call: Call) -> tuple[Contact, ...]:
    """Who called: never ``phoneNumber``, which is the tracker's own."""
    return () if call.caller_number is None else (Contact("", phones=(str(call.caller_number),)),)


def _writer(client: Client | None) -> tuple[Contact, ...]:
    if client is None:
        return ()
    phones = tuple(str(item.phone_number) for item in client.phones or () if item.phone_number is not None)
    emails = tuple(
        str(item.contact_value)
        for item in client.contacts or ()
        if item.contact_type == "EMAIL" and item.contact_value is not None
    )
    return (Contact("", phones=phones, emails=emails),) if phones or emails else ()
