"""Times as HubSpot writes them: ISO in records, Unix milliseconds in filters (contract hubspot 2). Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from adapters.hubspot.entities import Entity
from adapters.hubspot.wire import Record
from bridge.errors import RecordInvalid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def moment(text: str | None) -> datetime | None:
    """An ISO time as UTC, or Unix milliseconds (filters use them); None for an empty one.

    Raises:
        RecordInvalid: it is neither.
    """
    if not text:
        return None
    try:
        if text.isascii() and text.isdigit():
            return _EPOCH + int(text) * _MILLISECOND
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise RecordInvalid("a time cannot be read", code="bad_time") from None
    if found.tzinfo is None:
        raise RecordInvalid("a time has no zone", code="bad_time")
    return found.astimezone(UTC)


def known(text: str | None) -> datetime:
    found = moment(text)
    if found is None:
        raise RecordInvalid("a time is missing", code="bad_time")
    return found


def millis(at: datetime) -> int:
    """Whole milliseconds since 1970, rounded down."""
    return (at - _EPOCH) // _MILLISECOND


def stamp_of(entity: Entity, record: Record) -> int | None:
    """When a record was modified, in milliseconds; None where that cannot be read."""
    try:
        found = moment(record.get(entity.changed))
    except RecordInvalid:
        return None
    return None if found is None else millis(found)


def created_at(record: Record) -> datetime:
    """When a record came into being; the beginning of time where that cannot be read."""
    try:
        return moment(record.get("createdate") or record.created_at) or _EPOCH
    except RecordInvalid:
        return _EPOCH
