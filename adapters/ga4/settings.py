"""Settings of a Google Analytics 4 destination (Measurement Protocol)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from bridge.config import Duration, SecretRef
from bridge.consent import ConsentedSettings

WINDOW = timedelta(hours=72)  # how far back an event may lie (contract google 5)


class Ga4Settings(ConsentedSettings):
    """One web stream. ``base_url``: the host in the EU is ``https://region1.google-analytics.com``."""

    kind: Literal["ga4"]
    measurement_id: Annotated[str, Field(pattern=r"^G-[A-Z0-9]{4,20}$")]
    api_secret: SecretRef
    base_url: str = "https://www.google-analytics.com"
    window: Annotated[Duration, Field(gt=timedelta(0), le=WINDOW)] = WINDOW

    def shared_accounts(self, folder: Path) -> frozenset[str]:
        """See ``ports.SharesAccount``."""
        return frozenset([f"stream {self.measurement_id}"])
