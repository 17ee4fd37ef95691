"""Settings of one project in Roistat."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bridge.config import SecretRef, TrackerSettings

Entity = Literal["call", "form", "visit"]
ALL: tuple[Entity, ...] = ("call", "form", "visit")


def _address(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise ValueError('write an address, such as "https://cloud.roistat.com/api/v1"')
    return text.rstrip("/")


class RoistatSettings(TrackerSettings):
    """One project. ``orders_per_minute``: the vendor allows 5 of those with up to 1000 orders (contract roistat 3)."""

    kind: Literal["roistat"] = "roistat"
    base_url: Annotated[str, AfterValidator(_address)] = "https://cloud.roistat.com/api/v1"
    project: Annotated[int, Field(gt=0)]
    api_key: SecretRef
    entities: Annotated[list[Entity], Field(min_length=1)] = Field(default_factory=lambda: list(ALL))
    requests_per_second: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    orders_per_minute: Annotated[float, Field(gt=0, le=600_000)] = 4.0
