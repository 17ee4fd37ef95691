"""Settings of a VK Ads destination."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from bridge.config import DestinationSettings, Duration, as_text


class VkAdsSettings(DestinationSettings):
    """One pixel. A hit has no time of its own, so ``window_event`` bounds how late it may tell of a conversion.

    ``currency`` is the account's: a hit names none.
    """

    kind: Literal["vk_ads"]
    pixel_id: Annotated[str, BeforeValidator(as_text), Field(pattern=r"^[0-9]{1,20}$")]
    base_url: str = "https://top-fwz1.mail.ru"
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "RUB"
    window_event: Duration = timedelta(days=3)
    window_click: Duration = timedelta(days=90)

    def shared_accounts(self, folder: Path) -> frozenset[str]:
        """See ``ports.SharesAccount``."""
        return frozenset([f"pixel {self.pixel_id}"])
