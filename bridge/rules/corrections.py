"""What a correction of something promised before says, and when there is nothing to correct. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bridge.frozen import replace
from bridge.model import Conversion, ConversionKind, Deal, Judgement, Money, Outgoing

if TYPE_CHECKING:
    from bridge.rules.plan import KnownConversion, KnownDelivery, Route


def kept_value(mine: Sequence[KnownConversion]) -> Money | None:
    """The value told last; a refund that was undone is none."""
    values = [item.conversion.value for item in mine]
    return next((value for value in reversed(values) if value is None or value.minor), values[0])


def worthless(judgement: Judgement, latest: Conversion) -> Judgement:
    """A retraction at the time and in the currency of what was promised."""
    value = judgement.value if latest.value is None else Money(0, latest.value.currency)
    return replace(judgement, value=value, occurred_at=latest.occurred_at)


def dated(content: Outgoing, before: Outgoing | None, deal: Deal, *, is_retracted: bool) -> Outgoing:
    """A correction with the moment of its retraction, if it is one: the first at which the CRM is known to say so.

    So is a first row of an order that may have been counted before.
    """
    may_be = content.kind is ConversionKind.RESTATEMENT or content.rank is not None
    is_retraction = is_retracted and may_be
    known = before.retracted_at if before is not None else None
    return replace(content, retracted_at=(known or deal.updated_at) if is_retraction else None)


def is_news(delivery: KnownDelivery, route: Route) -> bool:
    """Whether its destination has nothing that could be corrected: then a retraction needs not be told.

    What was tried before may have been counted (a file that had to be split, in part): it is sent, worth nothing, but
    not where nothing is corrected, for there it would count, or count once more. A deletion withdraws it all the same,
    for no destination is told of that in any way. For the same reason only a deletion recalls what is under way: a
    retraction follows it as a correction.
    """
    is_out_of_reach = not delivery.is_tried or not route.traits.adjusts
    return delivery.content.kind is ConversionKind.ORIGINAL and is_out_of_reach
