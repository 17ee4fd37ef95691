"""A webhook's messages. Order of fields is order of bytes; what is not known is left out, never null."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what goes out."""


class Value(Part, frozen=True, kw_only=True):
    """``amount`` in whole units, as text: no reader rounds it by accident."""

    amount: Decimal
    currency: str


class PersonDigests(Part, frozen=True, kw_only=True):
    """SHA-256 of E.164 phones and normalised e-mails, in hex."""

    phone_sha256: tuple[str, ...] = ()
    email_sha256: tuple[str, ...] = ()


class Conversion(Part, frozen=True, kw_only=True):
    """One deal reached one goal. ``id`` stays the same however often it is sent.

    ``order`` is shared by a conversion and its restatements; of those the newest counts. Times are aware UTC.
    """

    id: str
    order: str
    kind: str
    goal: str
    target: str
    occurred_at: datetime
    deal_created_at: datetime
    clicked_before: datetime | None = None
    value: Value | None = None
    identifiers: dict[str, str] = {}
    persons: tuple[PersonDigests, ...] = ()


class Message(Part, frozen=True, kw_only=True):
    """``type`` is "conversions", or "ping" with none: somebody ran ``bridge check``."""

    type: str
    conversions: tuple[Conversion, ...] = ()


encode = msgspec.json.Encoder(decimal_format="string").encode
