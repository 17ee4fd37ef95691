"""Settings of a Yandex Metrica destination."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from bridge.config import DestinationSettings, Duration, SecretRef

_CRM_ORDERS = 'mode "crm_orders" is not supported yet; use "offline_conversions", with goals of its own for each stage'


def _known_mode(value: Any) -> Any:
    if value == "crm_orders":
        raise ValueError(_CRM_ORDERS)
    return value


def _web_address(url: str) -> str:
    if not url.startswith(("https://", "http://")):
        raise ValueError("write the whole address, starting with https://")
    return url.rstrip("/")


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than zero")
    return value


Span = Annotated[Duration, AfterValidator(_positive)]


class MetricaSettings(DestinationSettings):
    """One counter. ``token`` needs the scopes metrika:read and metrika:offline_data (contract yandex 1).

    ``send_every`` is longer than elsewhere: a login has 5000 requests a day (contract yandex 10), and each upload
    costs one request plus one per ``verify_every`` until it is processed, which takes up to two hours.
    ``read_back``: where each row of a processed file is looked for; ``unlinked_after``: how long after the upload a
    row that is not found there counts as not linked.
    """

    kind: Literal["yandex_metrica"]
    counter_id: Annotated[int, Field(gt=0)]
    token: SecretRef
    mode: Annotated[Literal["offline_conversions"], BeforeValidator(_known_mode)] = "offline_conversions"
    base_url: Annotated[str, AfterValidator(_web_address)] = "https://api-metrika.yandex.net"
    send_every: Span = timedelta(minutes=5)
    window: Span = timedelta(days=21)
    verify_first: Span = timedelta(minutes=10)
    verify_every: Span = timedelta(minutes=10)
    read_back: Literal["off", "reports", "logs"] = "reports"
    unlinked_after: Span = timedelta(hours=24)
    visibility: Duration = timedelta(minutes=5)
    max_rows: Annotated[int, Field(ge=1, le=100_000)] = 10_000

    @property
    def verify_limit(self) -> timedelta:
        """How long an upload is asked about: until the last log that may show it is made (contract yandex 2.4, 9.2)."""
        day = timedelta(days=1)
        return day if self.read_back == "off" else max(day, self.unlinked_after + 2 * day)
