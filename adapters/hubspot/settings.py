"""Settings of a HubSpot portal: how to be let in, what to read, how fast."""

from __future__ import annotations

import re
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from bridge.config import Currency, HookedSettings, HookSettings, Model, SecretRef
from bridge.errors import ConfigError

HOME = "https://api.hubapi.com"
SCOPES = ("crm.objects.contacts.read", "crm.objects.deals.read", "crm.schemas.contacts.read", "crm.schemas.deals.read")
_OBJECTS_PATH = re.compile(r"(/[a-z0-9][a-z0-9.-]*)+")


def _address(text: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f'write the address of the API, "{HOME}", or leave it out')
    if (parts.hostname or "").startswith("app"):
        raise ValueError(f'this is the address people use; that of the API is "{HOME}", or leave it out')
    return text.strip().rstrip("/")


def _path(text: str) -> str:
    if not _OBJECTS_PATH.fullmatch(text):
        raise ValueError('write the path before an object\'s name, such as "/crm/v3/objects" or "/crm/objects/2026-03"')
    return text


def _once(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise ValueError("an entry is named twice")
    return value


class PrivateApp(Model):
    """A private app's access token (``pat-...``): it has no end."""

    token: SecretRef


class OAuth(Model):
    """A public app's own credentials.

    ``refresh_token`` is only the first one; newer ones live in the database. Without it ``bridge auth`` gets one.
    """

    client_id: Annotated[str, Field(min_length=1)]
    client_secret: SecretRef
    redirect_uri: Annotated[str, Field(min_length=1)]
    refresh_token: SecretRef | None = None


def _way(value: Any) -> str:
    has_token = isinstance(value, PrivateApp) or (isinstance(value, dict) and "token" in value)
    return "token" if has_token else "oauth"


Auth = Annotated[Annotated[PrivateApp, Tag("token")] | Annotated[OAuth, Tag("oauth")], Discriminator(_way)]
Entities = Annotated[tuple[Literal["contact", "deal"], ...], Field(min_length=1), AfterValidator(_once)]


class HubSpotHook(HookSettings):
    """``client_secret``: of the app that sends the webhooks; a public app's own is known from ``auth``.

    ``portal_id``: the account's number (Hub ID), for an app that serves several accounts.
    """

    client_secret: SecretRef | None = None
    portal_id: Annotated[int, Field(gt=0)] | None = None


class HubSpotSettings(HookedSettings):
    """A portal to read from.

    ``entities``: ``contact`` (as leads, by lifecycle stage) and ``deal``. ``properties``: the vendor's own properties
    that goals look at; properties made in the portal are read anyway. ``home_currency``: of deals that name none; by
    default the tenant's. ``requests_per_second`` with bursts of ten: 9 stays below 100 in ten seconds, 18 below 190
    (contract 6); ``searches_per_second``: 5 for a whole portal, whoever asks.
    """

    kind: Literal["hubspot"] = "hubspot"
    base_url: Annotated[str, AfterValidator(_address)] = HOME
    objects_path: Annotated[str, AfterValidator(_path)] = "/crm/v3/objects"
    auth: Auth
    entities: Entities = ("contact", "deal")
    properties: Annotated[tuple[str, ...], AfterValidator(_once)] = ()
    loss_reason_field: str = "closed_lost_reason"
    home_currency: Currency | None = None
    requests_per_second: Annotated[float, Field(gt=0, le=10_000)] = 9.0
    searches_per_second: Annotated[float, Field(gt=0, le=10_000)] = 4.0
    hook: HubSpotHook | None = None

    @model_validator(mode="after")
    def _hooks_are_signed(self) -> HubSpotSettings:
        if self.hook is not None and self.hook.client_secret is None and isinstance(self.auth, PrivateApp):
            raise ValueError("hook.client_secret is missing: the private app's page shows it beside the token")
        return self

    def shared_accounts(self, folder: Path) -> frozenset[str]:
        """See ``ports.SharesAccount``. No address tells portals apart: the portal's number does where it is given, and
        the same credential always opens the same portal.
        """
        named = [] if self.hook is None or self.hook.portal_id is None else [f"portal {self.hook.portal_id}"]
        secret = self.auth.token if isinstance(self.auth, PrivateApp) else self.auth.refresh_token
        with suppress(ConfigError):  # the source itself says that its secret is missing
            value = "" if secret is None else secret.read(folder).get_secret_value()
            named += [f"credential {sha256(value.encode()).hexdigest()}"] if value else []
        return frozenset([f"{self.base_url} {name} {entity}" for name in named for entity in self.entities])
