"""Settings of a webhook destination."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from bridge.config import DestinationSettings, Duration, SecretRef

_LOCAL = ("127.0.0.1", "localhost", "::1")


def _own_or_https(url: str) -> str:
    """Conversions of a business do not travel the internet in the clear; on one's own machine they may."""
    address = urlsplit(url)
    if address.scheme == "https" and address.hostname:
        return url
    if address.scheme == "http" and address.hostname in _LOCAL:
        return url
    raise ValueError("write the whole address, starting with https:// (http:// only for this machine)")


class WebhookSettings(DestinationSettings):
    """One endpoint. ``secret`` signs the messages; ``authorization`` is sent as the header of that name, if given."""

    kind: Literal["webhook"]
    url: Annotated[str, AfterValidator(_own_or_https)]
    secret: SecretRef
    authorization: SecretRef | None = None
    idempotent: bool = False
    persons: bool = False
    max_rows: Annotated[int, Field(ge=1, le=10_000)] = 100
    window: Duration = timedelta(days=90)

    def shared_accounts(self, folder: Path) -> frozenset[str]:
        """See ``ports.SharesAccount``."""
        return frozenset([self.url])
