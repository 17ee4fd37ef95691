"""Settings of a Bitrix24 source: the portal's address, how to be let in, what to read."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from adapters.bitrix24 import entities
from bridge.config import Duration, HookSettings, Model, SecretRef
from bridge.errors import ConfigError
from bridge.marking import MarkedSettings, MarkSettings

_FIELD = re.compile(r"UF_[A-Z0-9_]+")
_WEBHOOK = re.compile(r"[1-9]\d{0,9}/[A-Za-z0-9_-]{4,64}")


def _portal(value: str) -> str:
    parts = urlsplit(value.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.username:
        raise ValueError('write the portal\'s address, for example "https://okna.bitrix24.ru"')
    if "/rest" in parts.path:
        raise ValueError("give the address only; the webhook (USER/CODE) is a secret and belongs into auth.webhook")
    return value.strip().rstrip("/")


def _server(value: str) -> str:
    parts = urlsplit(value.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
        raise ValueError('write the server\'s address without a path: "https://oauth.bitrix24.tech"')
    return value.strip().rstrip("/")


class Webhook(Model):
    """An inbound webhook: the secret is ``USER/CODE``, the two parts after ``/rest/`` of the webhook's URL."""

    webhook: SecretRef


class OAuth(Model):
    """A local application. ``refresh_token`` is only the first one; newer ones live in the database. Without it
    ``bridge auth`` gets them.

    ``oauth_url``: the authorization server; without it the one of the portal's region (contract 1.2).
    """

    client_id: Annotated[str, Field(min_length=1)]
    client_secret: SecretRef
    refresh_token: SecretRef | None = None
    oauth_url: Annotated[str, AfterValidator(_server)] | None = None


def _way(value: Any) -> str:
    has_client = isinstance(value, OAuth) or (isinstance(value, dict) and "client_id" in value)
    return "oauth" if has_client else "webhook"


Auth = Annotated[Annotated[Webhook, Tag("webhook")] | Annotated[OAuth, Tag("oauth")], Discriminator(_way)]


def _entity(value: str) -> str:
    return entities.named(value).name


def _once(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise ValueError("an entity is named twice")
    return value


Entities = Annotated[
    tuple[Annotated[str, AfterValidator(_entity)], ...], Field(min_length=1, max_length=20), AfterValidator(_once)
]


class Bitrix24Hook(HookSettings):
    """``application_token``: the secret that the portal shows with the outgoing webhook, and sends with each event."""

    application_token: SecretRef


def _code(value: str) -> str:
    if not _FIELD.fullmatch(value):
        raise ValueError('write the code of a custom field here: "UF_CRM_..."')
    return value


class Bitrix24WriteBack(MarkSettings):
    """``field``: a custom field, by its code. Leads and deals have no tags."""

    field: Annotated[str, AfterValidator(_code)]


class Bitrix24Settings(MarkedSettings):
    """A portal to read from.

    ``entities``: ``lead``, ``deal``, and smart processes by their number (``item:1032``).
    ``requests_per_second``: what the plan drains (2; Enterprise 5), shared by everything on this host's address.
    ``loss_reason_field``: a custom field that holds why a record was lost; without it (or where it is empty) the
    failure stage itself is the reason.
    ``payments``: what a goal per payment counts: the deal's payments, or its smart invoices. A payment moves no time of
    its deal: every ``payments_every`` they are asked for anew, of open deals, and of those modified since
    ``payments_for`` that were won, or lost after a payment of theirs was promised.
    ``product_rows``: of which entities product rows are read, for values made of them; whether an edit of rows moves a
    record's time is not documented, so every ``product_rows_every`` they are asked for anew, of open records and of
    those won and modified since ``product_rows_for``.
    ``offline_events``: read the queue of changes that the portal keeps for an application, every ten seconds.
    """

    kind: Literal["bitrix24"] = "bitrix24"
    base_url: Annotated[str, AfterValidator(_portal)]
    auth: Auth
    entities: Entities = ("lead", "deal")
    requests_per_second: Annotated[float, Field(gt=0, le=1000)] = 2.0
    loss_reason_field: str | None = None
    payments: Literal["off", "payments", "invoices"] = "off"
    payments_every: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(minutes=30)
    payments_for: Duration = timedelta(days=30)
    product_rows: Annotated[tuple[Annotated[str, AfterValidator(_entity)], ...], AfterValidator(_once)] = ()
    product_rows_every: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(hours=6)
    product_rows_for: Duration = timedelta(days=30)
    hook: Bitrix24Hook | None = None
    write_back: Bitrix24WriteBack | None = None
    offline_events: bool = False

    def shared_accounts(self, folder: Path) -> frozenset[str]:
        """See ``ports.SharesAccount``: entities may well be read by one source each."""
        return frozenset([f"{self.base_url.casefold()} {entity}" for entity in self.entities])

    @model_validator(mode="after")
    def _agrees(self) -> Bitrix24Settings:
        if self.payments != "off" and "deal" not in self.entities:
            raise ValueError('payments belong to deals: add "deal" to entities')
        for name in self.product_rows:
            if name not in self.entities:
                raise ValueError(f'product_rows names "{name}", which is not read: add it to entities')
        mark = self.write_back
        if mark is not None and mark.field == self.loss_reason_field:
            raise ValueError("write_back.field would overwrite loss_reason_field; give it a field of its own")
        if self.offline_events and isinstance(self.auth, Webhook):
            raise ValueError("offline_events needs an application (OAuth); an inbound webhook cannot have them")
        return self


def webhook(text: str) -> str:
    """``USER/CODE`` out of the secret; a whole webhook URL is understood too.

    Raises:
        ConfigError: it is neither. The text itself is never repeated.
    """
    code = text.strip().rpartition("/rest/")[2].strip("/")
    if not _WEBHOOK.fullmatch(code):
        raise ConfigError("auth.webhook is not USER/CODE (the two parts after /rest/ of the inbound webhook's URL)")
    return code
