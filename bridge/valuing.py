"""Settings of what a conversion is worth: a share of an amount, a custom field, an expected value."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from bridge.config_base import Duration, Model, as_text

Span = Annotated[Duration, Field(ge=timedelta(days=1), le=timedelta(days=3650))]


class ValueOf(Model):
    """The amount in a custom ``field`` (else the deal's own, or the payment's), or a ``share`` of it."""

    field: Annotated[str, BeforeValidator(as_text), Field(min_length=1)] | None = None
    share: Annotated[Decimal, Field(gt=0, le=100)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> ValueOf:
        if self.field is None and self.share is None:
            raise ValueError('say of what: { field = "Маржа" }, { share = 0.35 }, or both; the whole amount is "deal"')
        return self


class ExpectedSettings(Model):
    """How expected values are estimated from the tenant's own deals.

    ``cycle``: after so long a deal that reached a goal is sold or never will be. ``history``: how far back such deals
    count. ``least``: a pipeline with fewer of them tells nothing. ``weight``: for as many deals the pipeline's average
    stands in when one channel is estimated.
    """

    cycle: Span = timedelta(days=90)
    history: Span = timedelta(days=365)
    least: Annotated[int, Field(ge=1, le=100_000)] = 20
    weight: Annotated[int, Field(ge=1, le=100_000)] = 20

    @property
    def meaning(self) -> str:
        """The settings as one text: equal texts estimate alike."""
        return self.model_dump_json()
