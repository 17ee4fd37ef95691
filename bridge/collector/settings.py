"""Settings of the collector, ``[tenants.T.collector]``. Off unless the section is there."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from bridge.config import Duration, SourceSettings, TenantSettings

KIND = "collector"  # of the source made of the posts, and its name
TOO_MANY_OF_DAY = "too_many_of_day"  # why a post is refused
_SITE = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_LOCAL = ("127.0.0.1", "localhost")


class Fill(StrEnum):
    """What a hidden field of a form may be filled with."""

    LEAD_KEY = "lead_key"
    CLIENT_ID = "client_id"
    YCLID = "yclid"
    YMCLID = "ymclid"
    GCLID = "gclid"
    GBRAID = "gbraid"
    WBRAID = "wbraid"
    GA_CLIENT_ID = "ga_client_id"
    GA_SESSION_ID = "ga_session_id"
    FBCLID = "fbclid"
    RB_CLICKID = "rb_clickid"
    ROISTAT = "roistat"
    UTM_SOURCE = "utm_source"
    UTM_MEDIUM = "utm_medium"
    UTM_CAMPAIGN = "utm_campaign"
    UTM_CONTENT = "utm_content"
    UTM_TERM = "utm_term"
    LANDING_PAGE = "landing_page"
    REFERRER = "referrer"


def _site(value: str) -> str:
    """A host name in its own spelling (``пример.рф`` becomes ``xn--e1afmkfd.xn--p1ai``)."""
    try:
        star, _, rest = value.strip().lower().rpartition("*.")
        plain = f"{'*.' if '*.' in value else ''}{rest.encode('idna').decode()}"
    except UnicodeError:
        plain = star = "?"
    if star or not _SITE.fullmatch(plain):
        raise ValueError('write the site\'s host name alone: "example.ru", or "*.example.ru" for all below it')
    return plain


def _a_day(value: timedelta) -> timedelta:
    if value < timedelta(days=1):
        raise ValueError("must be at least a day: deals come after their forms")
    return value


Site = Annotated[str, AfterValidator(_site)]


class CollectorSettings(SourceSettings):
    """``sites``: host names whose pages may post. ``too_fast``: a form sent sooner after the page was loaded is marked.

    ``phone_input`` and ``email_input`` are CSS selectors of the inputs that are hashed on arrival, "" for none;
    ``honeypot`` the name of an input that people do not see. ``per_minute`` posts are taken of the whole tenant,
    ``per_visitor`` of one IP address; ``per_day`` on one day (UTC). What is made of them is stored for ``keep``.
    """

    kind: Literal["collector"] = "collector"
    poll_every: Duration = timedelta(seconds=30)
    start_from: Duration = timedelta(days=30)
    sites: Annotated[list[Site], Field(min_length=1)]
    consent: Literal["required", "given"] = "required"
    post: bool = True
    hidden_fields: dict[Fill, Annotated[str, Field(pattern=r"^[\w\-\[\].:]{1,80}$")]] = Field(
        default_factory=lambda: {Fill.LEAD_KEY: "bridge_lead"}
    )
    add_fields: bool = False
    metrica_counter: Annotated[int, Field(ge=0)] = 0
    phone_input: Annotated[str, Field(max_length=200)] = ""
    email_input: Annotated[str, Field(max_length=200)] = ""
    honeypot: Annotated[str, Field(max_length=80, pattern=r"^[\w\-\[\]]*$")] = ""
    too_fast: Duration = timedelta(seconds=3)
    address: Literal["forgotten", "hashed"] = "forgotten"
    per_minute: Annotated[int, Field(ge=1)] = 600
    per_visitor: Annotated[int, Field(ge=1)] = 20
    per_day: Annotated[int, Field(ge=1)] = 10_000
    keep: Annotated[Duration, AfterValidator(_a_day)] = timedelta(days=400)

    @model_validator(mode="after")
    def _has_a_purpose(self) -> CollectorSettings:
        if not self.post and not self.hidden_fields:
            raise ValueError("without post and hidden_fields it does nothing; give one of them")
        return self

    def welcomes(self, origin: str) -> bool:
        """Whether pages of this origin (``https://example.ru``) may post. Plain HTTP only on this machine (tests)."""
        try:
            parts = urlsplit(origin)
            host = (parts.hostname or "").lower()
        except ValueError:
            return False
        if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOCAL):
            return False
        return any(host == site or (site.startswith("*.") and host.endswith(site[1:])) for site in self.sites)


def collector_of(settings: TenantSettings) -> CollectorSettings | None:
    """The tenant's collector; None while it is off."""
    found = settings.sources.get(KIND)
    return found if isinstance(found, CollectorSettings) else None
