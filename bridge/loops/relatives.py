"""Records that became one, and payments that moved: what is counted on one deal is not counted on the other.

A record that was merged into another is deleted, and what was sent of it stays counted: the survivor does not reach
that goal once more. A payment keeps its number when it moves to another deal, which goes on with what was promised for
it: it is not told twice, and its refund is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bridge.model import ONCE_PER_DEAL, Deal
from bridge.rules import plan
from bridge.rules.plan import KnownConversion, Told
from bridge.store import relatives
from bridge.tenant import Tenant


def has_any(deal: Deal) -> bool:
    """Whether what is promised for this deal may depend on what is promised for another one of its page or the next."""
    return bool(deal.parent or deal.merged_into or deal.payments)


@dataclass(slots=True)
class Relatives:
    """``lost``: by record, what is promised for those merged into it. ``moved``: conversions by payment."""

    lost: dict[str, dict[Told, str]]
    moved: Mapping[str, Sequence[KnownConversion]]

    def counted(self, deal: Deal, family: Mapping[Told, str]) -> Mapping[Told, str]:
        """What is promised already for its ``family``, or for a record merged into this one."""
        lost = self.lost.get(deal.key)
        return {**lost, **family} if lost else family

    def known(self, deal: Deal, own: Sequence[KnownConversion]) -> Sequence[KnownConversion]:
        """What was promised for the deal, and with each of its payments that are or were another one's."""
        if not self.moved or not deal.payments or deal.is_deleted:
            return own
        mine = {one.conversion.occurrence: one.conversion.order_key for one in own if one.conversion.revision == 0}
        others = [
            one
            for key in sorted({payment.id for payment in deal.payments})
            for one in self.moved.get(key, ())
            if one.conversion.deal != deal.key and mine.get(key) in (None, one.conversion.order_key)
        ]
        return [*own, *others] if others else own

    def note(self, deal: Deal, own: Sequence[KnownConversion], outcome: plan.Plan) -> None:
        """What a record of this page still counts after it was merged away, for the one that has taken it in."""
        if deal.is_deleted and deal.merged_into:
            once = [one for one in own if one.conversion.occurrence == ONCE_PER_DEAL]
            lost = self.lost.setdefault(deal.merged_into, {})
            lost.update(dict.fromkeys(plan.promised(once, outcome), deal.key))


def reopened(deal: Deal, outcome: plan.Plan) -> tuple[str, ...]:
    """The survivor, when something is no longer promised for what it has taken in."""
    return (deal.merged_into,) if deal.merged_into and outcome.withdrawn else ()


async def of_page(tenant: Tenant, source: str, deals: Iterable[Deal]) -> Relatives:
    """Everything that is promised for others and concerns these deals."""
    living = [deal for deal in deals if not deal.is_deleted and not deal.is_touch]
    keys = [deal.key for deal in living]
    payments = sorted({payment.id for deal in living for payment in deal.payments or ()})
    store, name = tenant.store, tenant.name
    lost = await relatives.of_merged(store, name, source, keys) if keys else {}
    moved = await relatives.of_payments(store, name, source, payments) if payments else {}
    return Relatives(lost, moved)
