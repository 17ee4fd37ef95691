"""What an access token says of itself (contract amocrm 1.3). Pure."""

from __future__ import annotations

import base64
import binascii

import msgspec
from msgspec import Struct


class Claims(Struct, frozen=True, gc=False):
    """What an access token says of itself: its end, Unix seconds, the account, the API's host (contract amocrm 1.3)."""

    exp: int
    account_id: int | str | None = None
    api_domain: str | None = None


def claims_of(token: str) -> Claims | None:
    """The claims of an access token, read without checking the signature; None if unreadable."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(payload, type=Claims)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return None
