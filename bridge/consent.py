"""Settings of consent: what a tenant's visitors agreed to, and where a deal tells what its own person did."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bridge.config import DestinationSettings, Model, Names
from bridge.model import Consent

Choice = Literal["granted", "denied"]
YES = ("granted", "yes", "y", "true", "1", "да")
_CHOICES = {"granted": True, "denied": False, None: None}


class ConsentSettings(Model):
    """``ad_user_data``, ``ad_personalization``: for deals that say nothing themselves; None: not known, and not sent.

    ``field``: custom fields of the deal that say it. A text among ``granted`` is a yes, any other text a no, none at
    all leaves it to the settings. ``personalization_field`` says ``ad_personalization`` by itself; without it ``field``
    says both, but what the settings deny stays denied.
    ``required``: only deals with a yes for ``ad_user_data`` are sent; None: where the tenant's ``region`` is in the
    EEA, the UK or Switzerland.
    """

    ad_user_data: Choice | None = None
    ad_personalization: Choice | None = None
    field: Names | None = None
    personalization_field: Names | None = None
    granted: Names = Field(default_factory=lambda: list(YES))
    required: bool | None = None

    @model_validator(mode="after")
    def _one_field_first(self) -> ConsentSettings:
        if self.personalization_field and not self.field:
            raise ValueError("personalization_field needs field beside it; name the field for ad_user_data there")
        return self

    @property
    def default(self) -> Consent:
        """For deals that say nothing themselves."""
        return Consent(_CHOICES[self.ad_user_data], _CHOICES[self.ad_personalization])

    @property
    def is_per_deal(self) -> bool:
        """Whether deals tell for themselves."""
        return self.field is not None

    @property
    def is_refused(self) -> bool:
        """Whether the settings say no for a deal that says nothing itself, or leave it open where deals should say."""
        return self.ad_user_data == "denied" or (self.is_per_deal and self.ad_user_data != "granted")

    @property
    def names(self) -> list[str]:
        """Custom fields that are looked at."""
        return [*(self.field or ()), *(self.personalization_field or ())]


class ConsentedSettings(DestinationSettings):
    """What a destination derives from that asks for consent; the core then plans by it."""

    consent: ConsentSettings = ConsentSettings()
