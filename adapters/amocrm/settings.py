"""Settings of an amoCRM (or Kommo) account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, Tag

from bridge.config import HookSettings, Model, SecretRef
from bridge.marking import MarkedSettings, WriteBackSettings

VENDORS = ("amocrm.ru", "kommo.com", "amocrm.com")  # contract amocrm, head and 0


def vendor_of(address: str) -> str:
    """The vendor's domain an account's address belongs to; "" for any other (a proxy, a simulator)."""
    host = urlsplit(address).hostname or ""
    return next((domain for domain in VENDORS if host.endswith(f".{domain}")), "")


def _account_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError('write the address of your account, such as "https://example.amocrm.ru"')
    if parts.path not in ("", "/"):
        raise ValueError('write the address without a path: "https://example.amocrm.ru"')
    if parts.hostname in {f"{prefix}{domain}" for prefix in ("", "www.") for domain in VENDORS}:
        raise ValueError("this is the vendor's own site; write the address of your account (contract amocrm 0)")
    return text.rstrip("/")


class LongLivedToken(Model):
    """A token made in the account by an administrator, for 1 day to 5 years; it cannot be renewed."""

    token: SecretRef


class OAuth(Model):
    """An integration's own credentials.

    ``refresh_token`` is only the first one; newer ones live in the database. Without it ``bridge auth`` gets them.
    """

    client_id: Annotated[str, Field(min_length=1)]
    client_secret: SecretRef
    redirect_uri: Annotated[str, Field(min_length=1)]
    refresh_token: SecretRef | None = None


def _way(value: Any) -> str:
    has_token = isinstance(value, LongLivedToken) or (isinstance(value, dict) and "token" in value)
    return "token" if has_token else "oauth"


Auth = Annotated[Annotated[LongLivedToken, Tag("token")] | Annotated[OAuth, Tag("oauth")], Discriminator(_way)]


class AmoCrmHook(HookSettings):
    """``managed``: the daemon registers the webhook. ``account_id``: webhooks of another account are refused."""

    managed: bool = True
    account_id: int | None = None


class AmoCrmSettings(MarkedSettings):
    """One account. ``requests_per_second``: 7 for an integration, on Kommo for an IP address (contract amocrm 11)."""

    kind: Literal["amocrm"] = "amocrm"
    base_url: Annotated[str, AfterValidator(_account_address)]
    auth: Auth
    requests_per_second: Annotated[float, Field(gt=0, le=10_000)] = 7.0
    hook: AmoCrmHook | None = None
    write_back: WriteBackSettings | None = None

    def shared_accounts(self, folder: Path) -> frozenset[str]:
        """See ``ports.SharesAccount``."""
        return frozenset([self.base_url.casefold()])
