"""The Measurement Protocol's JSON (contract google 5). What is not known is left out, never null."""

from __future__ import annotations

from decimal import Decimal

import msgspec

COLLECT = "/mp/collect"
VALIDATE = "/debug/mp/collect"


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what goes out."""


class Consent(Part, frozen=True, kw_only=True):
    """``GRANTED`` or ``DENIED``: other words than in the Data Manager API (contract google 10.12)."""

    ad_user_data: str | None = None
    ad_personalization: str | None = None


class Params(Part, frozen=True, kw_only=True):
    """``value`` in whole units, with ``currency``; ``conversion_id`` is ours and means nothing to Google."""

    currency: str | None = None
    value: Decimal | None = None
    session_id: str | None = None
    engagement_time_msec: int | None = None
    disqualified_lead_reason: str | None = None
    unconvert_lead_reason: str | None = None
    conversion_id: str


class Event(Part, frozen=True, kw_only=True):
    name: str
    params: Params


class Body(Part, frozen=True, kw_only=True):
    """Events of one visitor at one time (Unix microseconds)."""

    client_id: str
    timestamp_micros: int
    consent: Consent | None = None
    validation_behavior: str | None = None
    events: tuple[Event, ...]


class Complaint(msgspec.Struct, frozen=True, rename="camel"):
    """One validation message. The description is for people: decisions rest on the code."""

    validation_code: str = ""
    field_path: str = ""
    description: str = ""


class Validation(msgspec.Struct, frozen=True, rename="camel"):
    """What the debug path answers; no messages: valid."""

    validation_messages: tuple[Complaint, ...]


encode = msgspec.json.Encoder(decimal_format="number").encode
read_validation = msgspec.json.Decoder(Validation).decode
