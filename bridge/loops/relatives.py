"""Records that became one, and payments that moved: what is counted on one deal is not counted on the other.

A record that was merged into another is deleted, and what was sent of it stays counted: the survivor does not reach
that goal once more, nor does one that takes in the survivor; where an order is kept per deal, one of them goes on
(``rules.merged_orders``). A payment keeps its number when it moves to another deal, which goes on with what was
promised for it: it is not told twice, and its refund is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bridge.frozen import replace
from bridge.model import ONCE_PER_DEAL, Deal
from bridge.rules import merged_orders, plan
from bridge.rules.merged_orders import Onward
from bridge.rules.plan import KnownConversion, KnownDelivery, Told
from bridge.states import DeliveryState
from bridge.store import relatives
from bridge.tenant import Tenant

_NO_ORDERS: Mapping[str, KnownDelivery] = {}
_NOWHERE: Mapping[str, Onward] = {}
_NOTHING: Mapping[Told, str] = {}


def has_any(deal: Deal) -> bool:
    """Whether what is promised for this deal may depend on what is promised for another one of its page or the next."""
    return bool(deal.parent or deal.merged_into or deal.payments)


@dataclass(slots=True)
class Relatives:
    """``lost``: by record, what is promised for those merged into it. ``moved``: conversions by payment. ``heirs``: by
    record of this page that was merged away, the one that goes on in the end.

    ``taken_in``: by record, those merged into it with their conversions; ``own``: its own ones. Both only where some
    destination keeps orders of deals.
    """

    lost: dict[str, dict[Told, str]]
    moved: Mapping[str, Sequence[KnownConversion]]
    heirs: Mapping[str, str] = field(default_factory=dict)
    taken_in: dict[str, dict[str, Sequence[KnownConversion]]] = field(default_factory=dict)
    own: Mapping[str, Sequence[KnownConversion]] = field(default_factory=dict)

    def counted(self, deal: Deal, family: Mapping[Told, str]) -> Mapping[Told, str]:
        """What is promised already for its ``family``, or for a record merged into this one."""
        lost = self.lost.get(deal.key) if self.lost else None
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

    def orders(self, deal: Deal) -> Mapping[str, KnownDelivery]:
        """By destination: a row of the order that the record goes on in, if it has none, since it has taken that in."""
        if deal.is_deleted or not self.taken_in:
            return _NO_ORDERS
        return merged_orders.inherited(self.taken_in.get(deal.key, {}).values())

    def onward(self, deal: Deal) -> Mapping[str, Onward]:
        """By destination: another order that tells of this record's sale."""
        if not deal.is_deleted:
            return merged_orders.sold(self.taken_in.get(deal.key, {})) if self.taken_in else _NOWHERE
        heir = self.heirs.get(deal.key)
        if heir is None or heir not in self.own:
            return _NOWHERE
        others = {key: known for key, known in self.taken_in.get(heir, {}).items() if key != deal.key}
        return merged_orders.going_on(heir, self.own[heir], others)

    def waits(self, deal: Deal, source: str) -> tuple[str, ...]:
        """Keys by which it is judged again when what is promised for another deal with its payments is withdrawn."""
        if not self.moved or deal.is_deleted:
            return ()
        owed = {one.conversion.occurrence for known in self.moved.values() for one in known if _is_owed(one, deal)}
        return tuple(_waiting_for(source, payment.id) for payment in deal.payments or () if payment.id in owed)

    def note(self, deal: Deal, own: Sequence[KnownConversion], outcome: plan.Plan) -> None:
        """What a record of this page still counts after it was merged away, for the one that goes on."""
        heir = self.heirs.get(deal.key)
        if heir is None:
            return
        once = [one for one in own if one.conversion.occurrence == ONCE_PER_DEAL]
        lost = self.lost.setdefault(heir, {})
        lost.update(self.lost.get(deal.key, _NOTHING))
        lost.update(dict.fromkeys(plan.promised(once, outcome), deal.key))
        closed = {new.destination for new in outcome.deliveries}  # nothing else is promised for what is gone
        left = [replace(one, deliveries=_without(one, closed)) for one in once]
        self.taken_in.setdefault(heir, {})[deal.key] = left

    def reopened(
        self, deal: Deal, known: Sequence[KnownConversion], outcome: plan.Plan, *, is_news: bool
    ) -> tuple[str, ...]:
        """The one that goes on, when something is promised no longer for this record, or counts there still; those
        merged into it before, or beside it, whose orders may be left now.
        """
        heir = self.heirs.get(deal.key)
        if heir in (None, deal.key) or not (outcome.withdrawn or plan.promised(known) or self.lost.get(deal.key)):
            return ()
        if not (self.taken_in and is_news):  # else two that cannot be closed would wake each other for ever
            return (heir,)
        others = dict(self.taken_in.get(deal.key, {}))
        if merged_orders.tells_sale(self.taken_in.get(heir, {}).get(deal.key, ())):  # as it is after this plan
            others |= self.taken_in[heir]
        return (heir, *[key for key, lost in others.items() if key != deal.key and merged_orders.is_open(lost)])


def _without(one: KnownConversion, closed: Collection[str]) -> tuple[KnownDelivery, ...]:
    return tuple(row for row in one.deliveries if row.destination not in closed)


def _is_owed(one: KnownConversion, deal: Deal) -> bool:
    """Whether another deal's end may withdraw it, now or once it is restored."""
    is_others = one.conversion.deal != deal.key
    return is_others and any(row.state is DeliveryState.PENDING or row.is_withdrawn for row in one.deliveries)


def _waiting_for(source: str, payment: str) -> str:
    return f"withdrawn:{source}/{payment}"


def withdrawn(source: str, known: Sequence[KnownConversion], outcome: plan.Plan) -> tuple[str, ...]:
    """Keys of payments that are no longer promised for a deal: they may have moved to another one."""
    if not outcome.withdrawn:
        return ()
    gone = {row.id for row, _ in outcome.withdrawn}
    owed = [one.conversion.occurrence for one in known if any(row.id in gone for row in one.deliveries)]
    return tuple(_waiting_for(source, payment) for payment in owed if payment != ONCE_PER_DEAL)


async def of_page(tenant: Tenant, source: str, deals: Sequence[Deal], *, has_merged: bool) -> Relatives:
    """Everything that is promised for others and concerns these deals. ``has_merged``: see ``assess.Desk``."""
    living = [deal for deal in deals if not deal.is_deleted and not deal.is_touch]
    keys = [deal.key for deal in deals if not deal.is_touch] if has_merged else []
    payments = sorted({payment.id for deal in living if deal.payments for payment in deal.payments})
    store, name = tenant.store, tenant.name
    lost = await relatives.of_merged(store, name, source, keys) if keys else {}
    moved = await relatives.of_payments(store, name, source, payments) if payments else {}
    found = Relatives(lost, moved, await heirs_of(tenant, source, deals, away_of(deals), has_merged=has_merged))
    survivors = sorted({*lost, *found.heirs.values()})
    if survivors and tenant.keeping_orders:
        found.taken_in, found.own = await relatives.around_merges(store, name, source, survivors)
        for key, heir in found.heirs.items():  # the merge of this page is not stored yet
            before = {one: known for one, known in found.taken_in.get(key, {}).items() if one != heir}
            if before and heir != key:
                found.taken_in[heir] = {**before, **found.taken_in.get(heir, {})}
    return found


def away_of(deals: Iterable[Deal]) -> dict[str, str]:
    """Of these, those that were merged away: into which."""
    return {deal.key: deal.merged_into for deal in deals if deal.is_deleted and deal.merged_into}


async def heirs_of(
    tenant: Tenant, source: str, deals: Sequence[Deal], keys: Collection[str], *, has_merged: bool
) -> dict[str, str]:
    """By each of these keys the record that goes on in the end: as a page's ``deals`` tell, of others as is stored."""
    away = away_of(deals)
    living = {deal.key for deal in deals if not deal.is_deleted}
    others = sorted({*keys, *away.values()} - living - away.keys()) if has_merged else []
    stored = await relatives.onward(tenant.store, tenant.name, source, others) if others else {}
    chain = {key: into for key, into in stored.items() if key not in living} | away
    return {key: _end_of(chain, key) for key in keys}


def _end_of(chain: Mapping[str, str], key: str) -> str:
    """The last record of a chain of merges; of a ring, which no CRM should tell, one that stands in it."""
    seen: set[str] = set()
    while key in chain and key not in seen:
        seen.add(key)
        key = chain[key]
    return key
