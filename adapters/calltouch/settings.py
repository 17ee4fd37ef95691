"""Settings of one site in Calltouch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bridge.config import SecretRef, TimeZone, TrackerSettings


def _address(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise ValueError('write an address, such as "https://api.calltouch.ru"')
    return text.rstrip("/")


class CalltouchSettings(TrackerSettings):
    """One site; there is no list of the sites of a token (contract calltouch 1).

    ``timezone`` is that of the site's wall-clock strings and days; None: the tenant's. Limit: contract calltouch 8.
    """

    kind: Literal["calltouch"] = "calltouch"
    base_url: Annotated[str, AfterValidator(_address)] = "https://api.calltouch.ru"
    site_id: Annotated[int, Field(gt=0)]
    token: SecretRef
    timezone: TimeZone | None = None
    forms: bool = True
    requests_per_second: Annotated[float, Field(gt=0, le=10_000)] = 4.0
