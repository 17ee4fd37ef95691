"""Settings of a Meta Conversions API destination."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from bridge.config import DestinationSettings, Duration, SecretRef, as_text

WINDOW = timedelta(days=7)  # how old an event may be (contract meta_capi 1)


class MetaCapiSettings(DestinationSettings):
    """One dataset (pixel). ``lead_event_source`` is the CRM's name, as Meta shows it.

    ``test_event_code``: ``check`` then sends synthetic events with it; conversions never carry it.
    """

    kind: Literal["meta_capi"]
    dataset_id: Annotated[str, BeforeValidator(as_text), Field(pattern=r"^[0-9]{5,20}$")]
    token: SecretRef
    base_url: str = "https://graph.facebook.com"
    api_version: Annotated[str, Field(pattern=r"^v[0-9]{1,3}\.[0-9]{1,2}$")] = "v25.0"
    lead_event_source: Annotated[str, Field(min_length=1, max_length=100)] = "CRM"
    persons: bool = False
    test_event_code: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,40}$")] | None = None
    max_rows: Annotated[int, Field(ge=1, le=1000)] = 100
    window: Annotated[Duration, Field(gt=timedelta(0), le=WINDOW)] = WINDOW

    def shared_accounts(self, folder: Path) -> frozenset[str]:
        """See ``ports.SharesAccount``."""
        return frozenset([f"dataset {self.dataset_id}"])
