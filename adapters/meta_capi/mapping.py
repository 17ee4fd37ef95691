"""Rows to CRM events, and whether a row may go now. Pure: no clock, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from adapters.meta_capi import wire
from adapters.meta_capi.settings import MetaCapiSettings
from bridge.errors import RowRejected
from bridge.identity import sha256_hex
from bridge.model import IdKind, Outgoing, Person
from bridge.ports import Admission, Pass, Payload

KINDS = (IdKind.FB_LEAD_ID, IdKind.FBCLID)
_LEAD_ID = re.compile("[0-9]{15,17}")  # an invalid one is refused, and the whole request with it (contract 1)
_CURRENCY = re.compile("[A-Za-z]{3}")
_MILLISECOND = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)


def admit(row: Outgoing, now: datetime, settings: MetaCapiSettings) -> Admission:
    """Whether the row may be sent now.

    Codes: ``no_identifier``, ``bad_lead_id``, ``event_name``, ``negative_value``, ``bad_currency`` refuse; ``future``
    waits; ``window`` expires.
    """
    refusal = _refusal(row, settings)
    if refusal:
        return Admission(Pass.REFUSED, refusal)
    if row.occurred_at > now:
        return Admission(Pass.WAIT, "future", row.occurred_at)
    # Equal would be too old by the time it arrives, and refuse its neighbours too.
    if now - row.occurred_at >= settings.window:
        return Admission(Pass.EXPIRED, "window")
    return Admission(Pass.SEND)


def _refusal(row: Outgoing, settings: MetaCapiSettings) -> str:
    lead = row.first(IdKind.FB_LEAD_ID)
    if lead is not None and not _LEAD_ID.fullmatch(lead.value):
        return "bad_lead_id"
    if lead is None and row.first(IdKind.FBCLID) is None and not (settings.persons and _has_digest(row.persons)):
        return "no_identifier"
    if not row.target.strip():
        return "event_name"
    if row.value is None:
        return ""
    if row.value.minor < 0:
        return "negative_value"
    return "" if _CURRENCY.fullmatch(row.value.currency) else "bad_currency"


def _has_digest(persons: Iterable[Person]) -> bool:
    return any(person.email_lower_sha256 or person.phone_digits_sha256 for person in persons)


def render(rows: Sequence[Outgoing], settings: MetaCapiSettings) -> Payload:
    """The body of rows, byte for byte the same for the same rows.

    Raises:
        RowRejected: a row that ``admit`` would refuse.
    """
    return Payload(wire.encode(wire.Body(data=tuple([_event(row, settings) for row in rows]))))


def render_test(targets: Sequence[str], at: datetime, settings: MetaCapiSettings) -> bytes:
    """One synthetic event for each target, of a person that does not exist, under the test code."""
    nobody = wire.UserData(em=(sha256_hex("bridge-check@nobody.invalid"),))
    events = [
        wire.Event(
            event_name=target,
            event_time=_seconds(at),
            event_id=f"bridge-check-{_seconds(at)}-{number}",
            action_source="system_generated",
            user_data=nobody,
            custom_data=_custom_data(settings),
        )
        for number, target in enumerate(targets)
    ]
    return wire.encode(wire.Body(data=tuple(events), test_event_code=settings.test_event_code))


def _event(row: Outgoing, settings: MetaCapiSettings) -> wire.Event:
    refusal = _refusal(row, settings)
    if refusal:
        raise RowRejected(f"the row cannot be an event: {refusal}", code=refusal)
    return wire.Event(
        event_name=row.target,
        event_time=_seconds(row.occurred_at),
        event_id=row.order_key,
        action_source="system_generated",
        user_data=_user_data(row, settings.persons),
        custom_data=_custom_data(settings, row),
    )


def _custom_data(settings: MetaCapiSettings, row: Outgoing | None = None) -> wire.CustomData:
    value = row.value if row else None
    return wire.CustomData(
        event_source="crm",
        lead_event_source=settings.lead_event_source,
        value=value.amount if value else None,
        currency=value.currency.upper() if value else None,
    )


def _user_data(row: Outgoing, has_persons: bool) -> wire.UserData:
    lead, persons = row.first(IdKind.FB_LEAD_ID), row.persons if has_persons else ()
    return wire.UserData(
        lead_id=int(lead.value) if lead else None,
        em=_each_once(digest for person in persons for digest in person.email_lower_sha256),
        ph=_each_once(digest for person in persons for digest in person.phone_digits_sha256),
        fbc=_fbc(row),
    )


def _fbc(row: Outgoing) -> str | None:
    """``fb.1.<milliseconds>.<fbclid>`` (contract meta_capi 1).

    The time is the first at which we know of the click: when the lead with it came in.
    """
    click = row.first(IdKind.FBCLID)
    if click is None:
        return None
    return f"fb.1.{_since_epoch(row.clicked_by) // _MILLISECOND}.{click.value}"


def _seconds(at: datetime) -> int:
    return _since_epoch(at) // _SECOND


def _since_epoch(at: datetime) -> timedelta:
    """Without a float on the way."""
    return at - datetime.fromtimestamp(0, at.tzinfo)


def _each_once(digests: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(digests))
