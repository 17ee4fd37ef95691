"""Settings of what a conversion is worth: a share of an amount, a custom field, product rows, an expected value."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from bridge.config_base import Duration, Model, as_list, as_text

Span = Annotated[Duration, Field(ge=timedelta(days=1), le=timedelta(days=3650))]


EVERY = "*"  # stands for any text within a product's name, and so alone for every product


def _named(value: Any) -> Any:
    """Names, each with its share if it has one; ``"all"`` is every product."""
    if isinstance(value, dict):
        return value
    names = [EVERY] if value == "all" else as_list(value)
    if not all(isinstance(name, str) for name in names):
        raise ValueError('name products by text or number: ["Окна*", 412]')
    return dict.fromkeys(names)


_Name = Annotated[str, Field(min_length=1, max_length=255)]
_Share = Annotated[Decimal, Field(ge=0, le=100)]
Products = Annotated[
    dict[_Name, _Share | None],
    BeforeValidator(_named),
    Field(min_length=1, max_length=200),
]


class ValueOf(Model):
    """The amount in a custom ``field`` (else the deal's own, or the payment's), or a ``share`` of it.

    ``products``: instead of it what the deal's product rows come to, those with one of these names or catalogue ids,
    which may have a share each.
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
        products = self.products or {}
        if self.share is not None and any(share is not None for share in products.values()):
            raise ValueError('each product has its share already: { products = { "Окна*" = 0.3, "*" = 0.1 } }')
        alike = [" ".join(name.split()).casefold() for name in products]
        if len(set(alike)) < len(alike):
            raise ValueError("a product is named twice")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether it is the deal's as a whole, whatever single payments come to."""
        return self.field is not None or self.products is not None


def _shape(value: Any) -> str:
    return "table" if isinstance(value, dict | ValueOf) else "one"


# "deal": the amount as it is now; "deal_at_goal": as it was when the goal was reached; "payment": the sum of the
# payment; "expected": what such deals bring on average; or a number, or a CEL expression; or a table.
Value = Annotated[
    Annotated[ValueOf, Tag("table")]
    | Annotated[Literal["deal", "deal_at_goal", "payment", "expected"] | Decimal | str, Tag("one")],
    Discriminator(_shape),
]


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
