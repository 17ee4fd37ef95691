"""A row to a hit, whether it may go now, and what the pixel's answer means. Pure."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from adapters.vk_ads import wire
from adapters.vk_ads.settings import VkAdsSettings
from bridge.errors import Ambiguous, Refused, RowRejected, Throttled
from bridge.model import IdKind, Money, Outgoing
from bridge.ports import Admission, Pass, Payload
from bridge.tools import Request, Response

KINDS = (IdKind.RB_CLICKID,)


def admit(row: Outgoing, now: datetime, settings: VkAdsSettings) -> Admission:
    """Whether the row may be sent now.

    Codes: ``no_identifier``, ``negative_value``, ``currency`` refuse; ``future`` waits; ``window_event``,
    ``window_click`` expire.
    """
    refusal = _refusal(row, settings.currency)
    if refusal:
        return Admission(Pass.REFUSED, refusal)
    if row.occurred_at > now:
        return Admission(Pass.WAIT, "future", row.occurred_at)
    # VK counts a hit when it comes: an old conversion would be counted as of today.
    if now - row.occurred_at > settings.window_event:
        return Admission(Pass.EXPIRED, "window_event")
    if now - row.clicked_by > settings.window_click:
        return Admission(Pass.EXPIRED, "window_click")
    return Admission(Pass.SEND)


def _refusal(row: Outgoing, currency: str) -> str:
    if row.first(*KINDS) is None:
        return "no_identifier"
    if row.value is None:
        return ""
    if row.value.minor < 0:
        return "negative_value"
    return "" if row.value.currency.upper() == currency else "currency"


def render(row: Outgoing, pixel_id: str) -> Payload:
    """The hit of one row. It is stored as it goes on the wire: behind the question mark of the address.

    Raises:
        RowRejected: the row has no click of VK.
    """
    click = row.first(*KINDS)
    if click is None:
        raise RowRejected("no rb_clickid", code="no_identifier")
    return Payload(wire.encode(pixel_id, _whole(row.value), row.target, click.value), "text/plain")


def _whole(value: Money | None) -> int:
    """Whole units: the contract shows no fractions. A goal without a value is worth 0."""
    return int(value.amount.quantize(Decimal(1), ROUND_HALF_UP)) if value else 0


def judge(request: Request, response: Response) -> None:
    """The error an answer means. What the pixel answers is not documented (contract vk_ads, unverified 1).

    So 2xx and 3xx are taken as counted, and only a clear no as not counted.

    Raises:
        Throttled: 429.
        Ambiguous: 408 and 5xx; who knows where the hit was dropped.
        Refused: any other 4xx; ``code`` is ``http_`` and the status.
    """
    status = response.status
    if 200 <= status < 400:
        return
    if status == 429:
        raise Throttled("the pixel asks for fewer hits")
    if status == 408 or status >= 500:
        raise Ambiguous(f"the pixel answered {status}; the hit may have been counted")
    raise Refused(f"the pixel refused the hit ({status}); check base_url and pixel_id", code=f"http_{status}")
