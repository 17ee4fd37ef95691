"""Metrica's JSON as it comes (contract yandex 2.3, 5, 6, 10). Any field may be missing; numbers may come as text.

Logs come as tables (contract yandex 9.2).
"""

from __future__ import annotations

from datetime import tzinfo
from io import BytesIO
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec

from bridge.errors import Drift
from bridge.tools import Response

T = TypeVar("T")


class Uploading(msgspec.Struct, frozen=True):
    """One upload. ``source_quantity``: rows of the file; ``line_quantity``: rows that passed validation."""

    id: int
    status: str | None = None
    comment: str | None = None
    create_time: str | None = None
    source_quantity: int | None = None
    line_quantity: int | None = None


class UploadingReply(msgspec.Struct, frozen=True):
    uploading: Uploading


class UploadingsReply(msgspec.Struct, frozen=True):
    uploadings: list[Uploading]


class Counter(msgspec.Struct, frozen=True):
    """``time_zone_offset`` in minutes east of UTC."""

    id: int
    name: str | None = None
    status: str | None = None
    permission: str | None = None
    time_zone_name: str | None = None
    time_zone_offset: int | None = None

    @property
    def zone(self) -> tzinfo | None:
        """Its time zone; None where its name is not told, or not known here."""
        try:
            return ZoneInfo(self.time_zone_name or "")
        except (ValueError, KeyError, OSError):
            return None


class CounterReply(msgspec.Struct, frozen=True):
    counter: Counter


class Condition(msgspec.Struct, frozen=True):
    """For an ``action`` goal ``url`` is the event identifier, i.e. our target."""

    type: str | None = None
    url: str | None = None


class Goal(msgspec.Struct, frozen=True):
    id: int
    name: str | None = None
    type: str | None = None
    conditions: list[Condition] | None = None


class GoalsReply(msgspec.Struct, frozen=True):
    goals: list[Goal]


class Dimension(msgspec.Struct, frozen=True):
    """A value that rows are grouped by; which of the two it comes in differs between dimensions."""

    id: str | int | None = None
    name: str | int | None = None

    @property
    def text(self) -> str:
        """The value, "" where Metrica groups what has none."""
        value = self.id if self.id is not None else self.name
        return "" if value is None else str(value)


class ReportRow(msgspec.Struct, frozen=True):
    dimensions: list[Dimension]
    metrics: list[float]


class Report(msgspec.Struct, frozen=True):
    """An answer of the reports (contract yandex 9.1). ``sampled`` or hidden rows: what is absent may still exist."""

    data: list[ReportRow]
    total_rows: int = 0
    sampled: bool | None = None
    contains_sensitive_data: bool | None = None

    @property
    def is_whole(self) -> bool:
        return not (self.sampled or self.contains_sensitive_data)


class LogPart(msgspec.Struct, frozen=True):
    part_number: int


class LogRequest(msgspec.Struct, frozen=True):
    """A request for raw visits (contract yandex 9.2). Dates ``YYYY-MM-DD`` in the counter's time zone."""

    request_id: int
    status: str | None = None
    fields: list[str] | None = None
    date1: str | None = None
    date2: str | None = None
    parts: list[LogPart] | None = None


class LogRequestReply(msgspec.Struct, frozen=True):
    log_request: LogRequest


class LogRequestsReply(msgspec.Struct, frozen=True):
    requests: list[LogRequest]


class LogEvaluation(msgspec.Struct, frozen=True):
    possible: bool | None = None
    max_possible_day_quantity: int | None = None


class LogEvaluationReply(msgspec.Struct, frozen=True):
    log_request_evaluation: LogEvaluation


class GoalReply(msgspec.Struct, frozen=True):
    goal: Goal


class OrdersUploading(msgspec.Struct, frozen=True):
    """One upload of CRM orders (contract yandex 4.3).

    ``datetime`` in the counter's time; ``elements_count``: rows that were accepted.
    """

    uploading_id: str
    datetime: str | None = None
    api_validation_status: str | None = None
    elements_count: int | None = None


class OrdersUploadingReply(msgspec.Struct, frozen=True):
    uploading: OrdersUploading


class OrdersUploadingsReply(msgspec.Struct, frozen=True):
    uploadings: list[OrdersUploading]


class OrderStatus(msgspec.Struct, frozen=True):
    """A status of the operator's own, mapped to one of Metrica's types (contract yandex 4.5)."""

    id: str
    type: str | None = None


class OrderStatusesReply(msgspec.Struct, frozen=True):
    order_statuses: list[OrderStatus] = []


class ErrorItem(msgspec.Struct, frozen=True):
    error_type: str | None = None


class ErrorReply(msgspec.Struct, frozen=True):
    errors: list[ErrorItem]


def read(kind: type[T], response: Response) -> T:
    """A good answer's body.

    Raises:
        Drift: it is not JSON, or lacks what the contract promises.
    """
    try:
        return msgspec.json.decode(response.body, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Drift(f"Metrica answered {response.status} without a readable {kind.__name__}") from None


def log_lines(body: bytes, fields: tuple[str, ...]) -> BytesIO:
    """The lines of one part of a log, tabs between the cells, without the first one, which names the fields.

    Raises:
        Drift: it is no table of the fields that were ordered.
    """
    lines = BytesIO(body)
    if tuple(lines.readline().decode("utf-8", "replace").rstrip("\r\n").split("\t")) != fields:
        raise Drift("Metrica's log has other columns than were ordered")
    return lines


def is_json(body: bytes) -> bool:
    """Whether a body is one whole JSON value; builds nothing."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


def error_type(response: Response) -> str | None:
    """The first ``error_type`` of an error body; None when it is no such body (a gateway's page)."""
    try:
        reply = msgspec.json.decode(response.body, type=ErrorReply, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return next((item.error_type for item in reply.errors if item.error_type), None)
