"""Settings of a Bitrix24 source: the portal's address, an inbound webhook, what to read."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from bridge.config import Model, SecretRef, SourceSettings
from bridge.errors import ConfigError

_WEBHOOK = re.compile(r"[1-9]\d{0,9}/[A-Za-z0-9_-]{4,64}")


def _portal(value: str) -> str:
    parts = urlsplit(value.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.username:
        raise ValueError('write the portal\'s address, for example "https://okna.bitrix24.ru"')
    if "/rest" in parts.path:
        raise ValueError("give the address only; the webhook (USER/CODE) is a secret and belongs into auth.webhook")
    return value.strip().rstrip("/")


class Auth(Model):
    """An inbound webhook: the secret is ``USER/CODE``, the two parts after ``/rest/`` of the webhook's URL."""

    webhook: SecretRef


class Bitrix24Settings(SourceSettings):
    """A portal to read from.

    ``requests_per_second``: what the plan drains (2; Enterprise 5), shared by everything on this host's address.
    ``loss_reason_field``: a custom field that holds why a record was lost; without it (or where it is empty) the
    failure stage itself is the reason.
    """

    kind: Literal["bitrix24"] = "bitrix24"
    base_url: Annotated[str, AfterValidator(_portal)]
    auth: Auth
    entities: Annotated[tuple[Literal["lead", "deal"], ...], Field(min_length=1, max_length=2)] = ("lead", "deal")
    requests_per_second: Annotated[float, Field(gt=0, le=1000)] = 2.0
    loss_reason_field: str | None = None


def webhook(text: str) -> str:
    """``USER/CODE`` out of the secret; a whole webhook URL is understood too.

    Raises:
        ConfigError: it is neither. The text itself is never repeated.
    """
    code = text.strip().rpartition("/rest/")[2].strip("/")
    if not _WEBHOOK.fullmatch(code):
        raise ConfigError("auth.webhook is not USER/CODE (the two parts after /rest/ of the inbound webhook's URL)")
    return code
