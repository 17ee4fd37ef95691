"""Calls, proxy leads and orders' visits as touches: keys, times, persons, identifiers. Pure.

A visit's number is a key by which deals that carry it are joined; only a purely numeric one is a visit's, other texts
are markers (contract roistat 3). There is no ``yclid``: it is in the landing page's address (contract roistat 4).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from adapters.roistat.wire import Call, Form, Loose, Order, Record, Visit, version_of
from bridge.errors import RecordInvalid
from bridge.model import Clue, Contact, Deal, DealKind, IdKind, Outcome
from bridge.sources import UNREADABLE


def key_of(record: Record) -> str:
    """``call:3001``, ``form:900``, and ``visit:deal_501``: the visit of that order, several of which may share one."""
    return f"{_kind(record).value}:{_own(record)}"


def _kind(record: Record) -> DealKind:
    if isinstance(record, Call):
        return DealKind.CALL
    return DealKind.FORM if isinstance(record, Form) else DealKind.VISIT


def _own(record: Record) -> str:
    return str(record.lead.id if isinstance(record, Form) else record.id)


def moment_of(record: Record) -> datetime:
    """When it came in. Times are UTC, those of proxy leads without saying so (contract roistat 1, 6.1).

    Raises:
        RecordInvalid: it tells no time that can be read.
    """
    if isinstance(record, Call):
        text = record.date
    else:
        text = record.lead.creation_date if isinstance(record, Form) else record.creation_date
    at = moment(text)
    if at is None:
        raise RecordInvalid("Roistat: the date of a record cannot be read", code=UNREADABLE)
    return at


def moment(text: str) -> datetime | None:
    """``2026-03-05T06:07:31+0000``, or ``2026-03-05 06:07:31`` of UTC."""
    try:
        at = datetime.fromisoformat(text.strip())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def number_of(visit: Loose) -> str:
    """The number of a visit; "" for a marker's text and for nothing."""
    text = "" if visit is None else str(visit).strip()
    return text if text.isascii() and text.isdigit() else ""


def touch_of(record: Record) -> Deal:
    """The record as a touch.

    Raises:
        RecordInvalid: it tells no time.
    """
    at = moment_of(record)
    number = record.lead.roistat if isinstance(record, Form) else None
    clues = tuple(_clues(record.visit, number))
    place = ("", "", Outcome.OPEN)
    return Deal(
        _kind(record), _own(record), version_of(record), at, at, *place, clues=clues, contacts=_contacts(record)
    )


def _clues(visit: Visit | None, number: Loose) -> Iterator[Clue]:
    known = visit or Visit()
    yield from _clue("visit.id", number_of(known.id) or number_of(number), IdKind.ROISTAT)
    yield from _clue("visit.metrika_client_id", known.metrica_client_id, IdKind.CLIENT_ID)
    yield from _clue("visit.google_client_id", known.google_client_id, IdKind.GA_CLIENT_ID)
    yield from _clue("visit.gclid", known.gclid, IdKind.GCLID)
    yield from _clue("visit.landing_page", known.landing_page)


def _clue(where: str, value: Loose, kind: IdKind | None = None) -> Iterator[Clue]:
    if value is not None and str(value).strip():
        yield Clue(where, str(value), kind)


def _contacts(record: Record) -> tuple[Contact, ...]:
    if isinstance(record, Order):
        return ()
    if isinstance(record, Call):
        return (Contact("", phones=(str(record.caller),)),) if record.caller else ()
    phones = (str(record.lead.phone),) if record.lead.phone else ()
    emails = (str(record.lead.email),) if record.lead.email else ()
    return (Contact("", phones=phones, emails=emails),) if phones or emails else ()
