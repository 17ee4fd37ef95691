"""Settings of one project in Callibri."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bridge.config import SecretRef, TimeZone, TrackerSettings


def _address(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise ValueError('write an address, such as "https://api.callibri.ru"')
    return text.rstrip("/")


class CallibriSettings(TrackerSettings):
    """One project. ``use_guesses``: also calls whose visitor Callibri itself is not sure of (contract callibri 3).

    ``timezone`` is that of the days the project is asked by; None: the tenant's.
    """

    kind: Literal["callibri"] = "callibri"
    base_url: Annotated[str, AfterValidator(_address)] = "https://api.callibri.ru"
    site_id: Annotated[int, Field(gt=0)]
    user_email: Annotated[str, Field(min_length=1)]
    token: SecretRef
    timezone: TimeZone | None = None
    use_guesses: bool = False
    requests_per_second: Annotated[float, Field(gt=0, le=10_000)] = 1.0
