"""Settings of a Yandex Metrica counter: as a destination, and as a source of visits."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bridge.config import DestinationSettings, Duration, SecretRef, TimeZone
from bridge.visits import VisitSettings


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

    ``timezone`` and ``update_window`` are of CRM orders alone: the counter's time zone (None: the tenant's), and how
    long after the visit Metrica takes changes of an order (contract yandex 4.6).
    """

    kind: Literal["yandex_metrica"]
    counter_id: Annotated[int, Field(gt=0)]
    token: SecretRef
    mode: Literal["offline_conversions", "crm_orders"] = "offline_conversions"
    base_url: Annotated[str, AfterValidator(_web_address)] = "https://api-metrika.yandex.net"
    send_every: Span = timedelta(minutes=5)
    window: Span = timedelta(days=21)
    update_window: Span = timedelta(days=111)
    timezone: TimeZone | None = None
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
        if self.mode == "crm_orders":
            return day if self.read_back == "off" else max(day, self.unlinked_after + day)
        return day if self.read_back == "off" else max(day, self.unlinked_after + 2 * day)


class MetricaVisitSettings(VisitSettings):
    """One counter's raw visits. ``token`` needs the scope metrika:read (contract yandex 9.2).

    ``form_goals``: by their numbers, event identifiers or titles.
    """

    kind: Literal["yandex_metrica"]
    counter_id: Annotated[int, Field(gt=0)]
    token: SecretRef
    base_url: Annotated[str, AfterValidator(_web_address)] = "https://api-metrika.yandex.net"
