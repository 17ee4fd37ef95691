"""Settings of a Google Ads destination (Data Manager API)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from bridge.config import Duration, SecretRef
from bridge.consent import ConsentedSettings


def _digits(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.replace("-", "").strip() if isinstance(value, str) else value


# Digits only on the wire (contract google 2.3); people copy "123-456-7890" from the Ads interface.
AccountId = Annotated[str, BeforeValidator(_digits), Field(pattern=r"^[0-9]{1,20}$")]


class GoogleAdsSettings(ConsentedSettings):
    """One Google Ads account written to. ``customer_id`` owns the conversion actions (contract google 2.3).

    ``requests_per_second``, ``requests_per_day``: a Cloud project may make 300 calls a minute, and 100,000 of each kind
    a day (contract google 2.8); share them out where several tenants use one project. ``single_below``: up to so many
    due rows go one by one; None: as many as five minutes allow, while the day's calls last.
    ``retract``: what is none any more is taken back by the Google Ads API, not made worth 0.
    ``audit``: what it counts is read once a day by that API, too, and compared with what it was sent.
    ``ads_base_url``: the Google Ads API, for what uploads do not need.
    """

    kind: Literal["google_ads"]
    customer_id: AccountId
    login_customer_id: AccountId | None = None
    credentials: SecretRef
    base_url: str = "https://datamanager.googleapis.com"
    ads_base_url: str = "https://googleads.googleapis.com"
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    event_source: Literal["WEB", "APP", "IN_STORE", "PHONE", "OTHER", "MESSAGE"] = "WEB"
    send_persons: bool | None = None
    persons_alone: bool = False
    retract: bool = False
    audit: bool = True
    click_age_min: Duration = timedelta(hours=6)
    window_click: Duration = timedelta(days=90)
    window_person: Duration = timedelta(days=63)
    verify_first: Duration = timedelta(minutes=30)
    verify_every: Duration = timedelta(minutes=30)
    single_below: Annotated[int, Field(ge=0)] | None = None
    requests_per_second: Annotated[float, Field(gt=0, le=10_000)] = 4.8
    requests_per_day: Annotated[int, Field(ge=1)] = 100_000

    def shared_accounts(self, folder: Path) -> frozenset[str]:
        """See ``ports.SharesAccount``."""
        return frozenset([f"Google Ads account {self.customer_id}"])

    @field_validator("base_url", "ads_base_url")
    @classmethod
    def _no_last_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @model_validator(mode="after")
    def _denied_stays_denied(self) -> GoogleAdsSettings:
        if self.send_persons and self.consent.ad_user_data == "denied" and not self.consent.is_per_deal:
            raise ValueError("send_persons cannot be true while consent.ad_user_data is denied; remove one of them")
        return self

    @property
    def sends_persons_alone(self) -> bool:
        """Whether a lead without any click id is worth sending for its hashed contact data."""
        return self.persons_alone and self.sends_persons

    @property
    def sends_persons(self) -> bool:
        """Whether hashed e-mails and phones go out: asked for, or not forbidden and consent granted.

        Where deals say it themselves, it is for each of them to say: a plan leaves out the persons of the others.
        """
        if self.send_persons is None:
            return self.consent.ad_user_data == "granted" or self.consent.is_per_deal
        return self.send_persons
