"""Appeals as touches: their keys, times, persons, and where identifiers may be found. Pure.

There is no ``yclid`` or ``gclid`` field: they are in the landing page's address, else in that of the page on which the
contact happened (contract callibri 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from adapters.callibri.wire import Appeal, Listed, Loose, key, version_of
from bridge.errors import RecordInvalid
from bridge.model import Clue, Contact, Deal, DealKind, IdKind, Outcome
from bridge.sources import UNREADABLE, digest

_UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")


def own_id(listed: Listed) -> str:
    """``appeal_id`` is unique; an older answer's ``id`` within its list, as far as known (contract callibri 2.2)."""
    appeal = listed.appeal
    if appeal.appeal_id is not None:
        return str(appeal.appeal_id)
    if appeal.id is not None:
        return f"{listed.place}-{appeal.id}"
    return digest(f"{appeal.clbvid}\0{appeal.date}\0{listed.place}".encode())


def key_of(listed: Listed) -> str:
    """``call:90500123`` or ``form:90500124``."""
    return key(listed.place, own_id(listed))


def moment_of(appeal: Appeal) -> datetime:
    """When it came in: ISO 8601, in UTC where no zone is written.

    Raises:
        RecordInvalid: it is no such time.
    """
    try:
        at = datetime.fromisoformat(appeal.date.strip())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise RecordInvalid("Callibri: the date of an appeal cannot be read", code=UNREADABLE) from None


def touch_of(listed: Listed, *, use_guesses: bool) -> Deal:
    """The appeal as a touch. Unless ``use_guesses``, one that may be another visitor's tells of no visit.

    Raises:
        RecordInvalid: it tells no time.
    """
    appeal, at = listed.appeal, moment_of(listed.appeal)
    kind = DealKind.CALL if listed.place == "calls" else DealKind.FORM
    clues = () if appeal.accurately is False and not use_guesses else tuple(_clues(appeal))
    place = ("", "", Outcome.OPEN)
    contacts = _contacts(appeal)
    return Deal(kind, own_id(listed), version_of(appeal), at, at, *place, clues=clues, contacts=contacts)


def _clues(appeal: Appeal) -> Iterator[Clue]:
    yield from _clue("metrika_client_id", appeal.metrica_client_id, IdKind.CLIENT_ID)
    yield from _clue("ua_client_id", appeal.ua_client_id, IdKind.GA_CLIENT_ID)
    for name in ("landing_page", "lid_landing", "site_referrer", *_UTM):
        yield from _clue(name, getattr(appeal, name))


def _clue(where: str, value: Loose, kind: IdKind | None = None) -> Iterator[Clue]:
    if value is not None and str(value).strip():
        yield Clue(where, str(value), kind)


def _contacts(appeal: Appeal) -> tuple[Contact, ...]:
    phones = (str(appeal.phone),) if appeal.phone else ()
    emails = (str(appeal.email),) if appeal.email else ()
    return (Contact("", phones=phones, emails=emails),) if phones or emails else ()
