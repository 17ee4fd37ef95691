"""Settings of what a conversion is worth: a share of an amount, a custom field, product rows, an expected value."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from bridge.config_base import Duration, Model, as_list, as_text

Span = Annotated[Duration, Field(ge=timedelta(days=1), le=timedelta(days=3650))]


def _named(value: Any) -> Any:
    """``"all"`` is every product; one name is a list of one."""
    if isinstance(value, dict):
        return value
    return [EVERY] if value == "all" else as_list(value)


EVERY = "*"  # stands for any text within a product's name, and so alone for every product
_Name = Annotated[str, Field(min_length=1, max_length=255)]
_Share = Annotated[Decimal, Field(ge=0, le=100)]
Products = Annotated[
    Annotated[list[_Name], Field(min_length=1, max_length=200)]
    | Annotated[dict[_Name, _Share], Field(min_length=1, max_length=200)],
    BeforeValidator(_named),
]


class ValueOf(Model):
    """The amount in a custom ``field`` (else the deal's own, or the payment's), or a ``share`` of it.

    ``products``: instead of it what the deal's product rows come to, those with one of these names or catalogue ids;
    or a share of their own for each name.
    """

    field: Annotated[str, BeforeValidator(as_text), Field(min_length=1)] | None = None
    share: Annotated[Decimal, Field(gt=0, le=100)] | None = None
    products: Products | None = None

    @model_validator(mode="after")
    def _says_something(self) -> ValueOf:
        if self.field is None and self.share is None and self.products is None:
            raise ValueError(
                'say of what: { field = "Маржа" }, { share = 0.35 }, or both; { products = "all" }; '
                'the whole amount is "deal"'
            )
        if self.products is not None and self.field is not None:
            raise ValueError("a value is that of a field or that of products; give one of the two")
        if isinstance(self.products, dict) and self.share is not None:
            raise ValueError('each product has its share already: { products = { "Окна*" = 0.3, "*" = 0.1 } }')
        alike = [" ".join(name.split()).casefold() for name in self.products or ()]
        if len(set(alike)) < len(alike):
            raise ValueError("a product is named twice")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether it is the deal's as a whole, whatever single payments come to."""
        return self.field is not None or self.products is not None


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
