"""The Conversions API's JSON (contract meta_capi 1 and 2). What is not known is left out, never null."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what goes out."""


class UserData(Part, frozen=True, kw_only=True):
    """``em`` and ``ph``: SHA-256 in lower-case hex. ``lead_id`` and ``fbc`` are never hashed."""

    lead_id: int | None = None
    em: tuple[str, ...] = ()
    ph: tuple[str, ...] = ()
    fbc: str | None = None


class CustomData(Part, frozen=True, kw_only=True):
    """``value`` in whole units, with ``currency``. The first two make it an event of a CRM."""

    event_source: str
    lead_event_source: str
    value: Decimal | None = None
    currency: str | None = None


class Event(Part, frozen=True, kw_only=True):
    """``event_time`` in Unix seconds. ``event_id`` stays the same however often the event is sent."""

    event_name: str
    event_time: int
    event_id: str
    action_source: str
    user_data: UserData
    custom_data: CustomData


class Body(Part, frozen=True, kw_only=True):
    data: tuple[Event, ...]
    test_event_code: str | None = None


class Fault(msgspec.Struct, frozen=True):
    """Graph's error. Messages are for people: decisions rest on the codes."""

    code: int
    error_subcode: int = 0

    @property
    def name(self) -> str:
        """``100/2804003``, or ``190`` where there is no subcode."""
        return f"{self.code}/{self.error_subcode}" if self.error_subcode else str(self.code)


class Answer(msgspec.Struct, frozen=True):
    """Of a request that was taken whole, or (``error``) refused whole."""

    events_received: int | None = None
    error: Fault | None = None
    id: str = ""


FIELDS = {"": frozenset({"events_received", "messages", "fbtrace_id"})}  # of a good answer (contract meta_capi 2)

encode = msgspec.json.Encoder(decimal_format="number").encode
_read = msgspec.json.Decoder(Answer).decode


def read(body: bytes) -> Answer | None:
    """An answer, or None where the bytes are none."""
    try:
        return _read(body)
    except msgspec.DecodeError:
        return None
