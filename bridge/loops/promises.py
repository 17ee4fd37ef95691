"""What is promised of a page's deals, one after the other: what one is promised counts for those behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from bridge.loops import relatives
from bridge.loops.family import Family
from bridge.loops.origins import Origins
from bridge.loops.relatives import Relatives
from bridge.loops.seconds import Seconds
from bridge.loops.suspicion import Moves
from bridge.model import Judgement, Touch
from bridge.rules import consent, match, plan
from bridge.rules.deal_orders import Root
from bridge.rules.plan import KnownConversion, Plan
from bridge.store.codec import Facts
from bridge.store.records import Assessed, Context

if TYPE_CHECKING:
    from bridge.loops.assess import Desk, Entered


@dataclass(slots=True)
class Promises:
    """What has to be known around the deals of a page to promise what they reached."""

    desk: Desk
    context: Context
    known: frozenset[str]
    own: Mapping[str, Touch | None]
    family: Family
    relatives: Relatives
    orders: Mapping[str, Root]
    apart: Seconds
    moves: Moves
    origins: Origins

    def planned(self, item: Entered, found: match.Found, judgements: Sequence[Judgement]) -> Plan:
        """What to promise by these judgements, the decisive ones; it counts for the deals behind this one."""
        deal, desk, others, key = item.deal, self.desk, self.relatives, item.deal.key
        before = self.context.conversions.get(key, ())
        told = others.known(deal, before)
        if not (judgements or told or deal.is_deleted):
            return Plan()
        lost, taken = others.lost.get(key, {}), self.family.taken(deal)
        subject = plan.Subject(
            desk.tenant.name,
            desk.source,
            deal,
            found.match,
            others.counted(deal, self.family.counted(deal)),
            {**taken, **lost} if taken else lost,
            self.orders.get(key),
            others.orders(deal),
            others.onward(deal),
            found.told,
        )
        said = self.apart.apart(subject, judgements, told, self.family.kin(deal))
        routes = consent.for_deal(desk.routes, deal) if desk.asks_consent else desk.routes
        outcome = plan.make(subject, said, told, routes)
        self.family.note(key, before, outcome)
        self.apart.note(key, outcome)
        others.note(deal, before, outcome)
        return outcome

    def assessed(
        self,
        item: Entered,
        found: match.Found,
        judgements: Sequence[Judgement],
        outcome: Plan,
        waits: tuple[str, ...],
    ) -> Assessed:
        """The deal as it is written."""
        deal, key = item.deal, item.deal.key
        touch = self.own[key]
        stored = self.context.facts.get(key)
        before = self.context.conversions.get(key, ())
        told = None if stored is None else match.touch_of(stored.deal, stored.reading, self.desk.within)
        was_spam = stored is not None and stored.deal.is_spam
        return Assessed(
            deal,
            item.reading,
            found.match,
            touch,
            outcome,
            item.raw,
            is_known=key in self.known,
            reopens=(*self.family.concerned(key, told, touch), *self._freed(item, stored, before, outcome)),
            before=told,
            waits=tuple(dict.fromkeys(waits)) if waits else (),
            frees=relatives.withdrawn(self.desk.source, before, outcome),
            told=found.told,
            recheck_at=_recheck_at(judgements),
            crowd=self.moves.of(key),
            is_marked=deal.is_spam != was_spam and self.desk.marks_spam,
        )

    def _freed(
        self, item: Entered, stored: Facts | None, before: Sequence[KnownConversion], outcome: Plan
    ) -> tuple[str, ...]:
        """Deals that may count what is no longer promised for this one; those made from a lead that learn of it."""
        deal, children = item.deal, self.family.children.get(item.deal.key, ())
        if not (children or outcome.withdrawn or deal.merged_into):
            return ()
        is_news = stored is None or (stored.deal.is_deleted, stored.deal.merged_into) != (True, deal.merged_into)
        woken = self.relatives.reopened(deal, before, outcome, is_news=is_news)
        freed = (*self.family.freed(deal, outcome), *woken)
        if deal.merged_into and is_news and children:  # the deals made from it and the one that goes on: one sale now
            freed = (*freed, *children, *filter(None, [self.relatives.heirs.get(deal.key)]))
        if not children:
            return freed
        is_new = deal.key not in self.known and self.desk.leads_become_deals  # deals made from it learn when it came
        if is_new or self.origins.concerns((deal, item.reading), stored):
            freed = (*freed, *[child for child in children if child not in self.own])
        return freed


def _recheck_at(judgements: Sequence[Judgement]) -> datetime | None:
    """When a goal will be reached though nothing happens to the deal until then."""
    waiting = [one.recheck_at for one in judgements if one.recheck_at is not None]
    return min(waiting) if waiting else None
