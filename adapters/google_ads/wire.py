"""Data Manager API messages as msgspec structs. Field names, presence and types: contract google 2.2-2.9.

What we send is exact: order of fields is order of bytes. What we read tolerates unknown and missing fields.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec


class Sent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Base of what goes out: camelCase, absent when not set."""


class AdIdentifiers(Sent, frozen=True, kw_only=True):
    gclid: str | None = None
    gbraid: str | None = None
    wbraid: str | None = None


class UserIdentifier(Sent, frozen=True, kw_only=True):
    """A digest, in exactly one of the two (a oneof at the vendor)."""

    email_address: str | None = None
    phone_number: str | None = None


class UserData(Sent, frozen=True, kw_only=True):
    user_identifiers: tuple[UserIdentifier, ...]


class ConsentChoice(Sent, frozen=True, kw_only=True):
    ad_user_data: str | None = None
    ad_personalization: str | None = None


class Event(Sent, frozen=True, kw_only=True):
    """``event_timestamp`` aware UTC; ``conversion_value`` in whole currency units, 0 is a set value."""

    transaction_id: str
    event_timestamp: datetime
    event_source: str
    conversion_value: Decimal | None = None
    currency: str | None = None
    consent: ConsentChoice | None = None
    ad_identifiers: AdIdentifiers | None = None
    user_data: UserData | None = None


class ProductAccount(Sent, frozen=True, kw_only=True):
    account_type: str
    account_id: str


class Destination(Sent, frozen=True, kw_only=True):
    reference: str
    operating_account: ProductAccount
    login_account: ProductAccount | None = None
    product_destination_id: str


class IngestRequest(Sent, frozen=True, kw_only=True):
    destinations: tuple[Destination, ...]
    consent: ConsentChoice | None = None
    encoding: str | None = None
    validate_only: bool = False
    events: tuple[Event, ...]


# Decimals as JSON numbers, digit for digit: a value never passes through a float.
encode = msgspec.json.Encoder(decimal_format="number").encode


class Read(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what comes in."""


class FieldWarning(Read, frozen=True, kw_only=True):
    reason: str = ""


class IngestResponse(Read, frozen=True, kw_only=True):
    request_id: str = ""
    field_warnings: tuple[FieldWarning, ...] = ()


class ReasonCount(Read, frozen=True, kw_only=True):
    """``record_count`` is an int64, hence a JSON string (contract google 2.9)."""

    record_count: int | str = 0
    reason: str = ""

    @property
    def count(self) -> int:
        text = str(self.record_count)
        return int(text) if text.isdecimal() else 0


class ErrorCounts(Read, frozen=True, kw_only=True):
    error_counts: tuple[ReasonCount, ...] = ()


class DestinationStatus(Read, frozen=True, kw_only=True):
    request_status: str = ""
    error_info: ErrorCounts | None = None


class RequestStatus(Read, frozen=True, kw_only=True):
    request_status_per_destination: tuple[DestinationStatus, ...] = ()


class FieldViolation(Read, frozen=True, kw_only=True):
    field: str = ""
    reason: str = ""


class Detail(Read, frozen=True, kw_only=True):
    """One of ErrorInfo, RequestInfo, BadRequest: the union of what we read of them."""

    reason: str = ""
    metadata: dict[str, str] = {}
    field_violations: tuple[FieldViolation, ...] = ()


class GoogleError(Read, frozen=True, kw_only=True):
    status: str = ""
    details: tuple[Detail, ...] = ()

    @property
    def reason(self) -> str:
        """The first ErrorInfo reason, else the canonical status: a code, never prose."""
        return next((detail.reason for detail in self.details if detail.reason), self.status)

    @property
    def metadata(self) -> dict[str, str]:
        return next((detail.metadata for detail in self.details if detail.metadata), {})

    @property
    def violations(self) -> tuple[FieldViolation, ...]:
        return tuple(violation for detail in self.details for violation in detail.field_violations)


class ErrorBody(Read, frozen=True, kw_only=True):
    error: GoogleError


class TokenAnswer(Read, frozen=True, kw_only=True, rename=None):
    """The token endpoint's answer, good or bad (contract google 6). ``expires_in`` in seconds."""

    access_token: str = ""
    expires_in: float = 3600
    scope: str = ""
    error: str = ""


def read_error(body: bytes) -> GoogleError | None:
    """The ``error`` member of a Google error body, or None when the body is something else (HTML, cut, empty)."""
    try:
        return _ERRORS.decode(body).error
    except msgspec.DecodeError:
        return None


_ERRORS = msgspec.json.Decoder(ErrorBody)
