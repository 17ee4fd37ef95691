"""Leads and the deals made from them: what is counted on one is not counted on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.model import Deal, DealKind, Touch
from bridge.rules import plan
from bridge.rules.graph import is_reference
from bridge.rules.plan import Told
from bridge.store.records import Context

if TYPE_CHECKING:
    from bridge.loops.assess import Desk

_NOTHING: Mapping[Told, str] = {}


@dataclass(slots=True)
class Family:
    """Those of a page, and what is stored of their relations.

    ``above`` is what is promised for a lead, ``below`` what is promised for its deals and for which of them.
    ``late`` are stored deals made from a lead, not on this page, that its click may still concern; ``unmatched`` those
    of them that have none as sure; ``children`` are all its stored deals.
    """

    above: dict[str, set[Told]] = field(default_factory=dict)
    below: dict[str, dict[Told, str]] = field(default_factory=dict)
    late: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unmatched: dict[str, tuple[str, ...]] = field(default_factory=dict)
    children: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def counted(self, deal: Deal) -> Mapping[Told, str]:
        """What is promised already for the lead this deal was made from, or for a deal made from it."""
        if deal.parent is None:
            return self.below.get(deal.key, _NOTHING) if self.below else _NOTHING
        return dict.fromkeys(self.above[deal.parent], deal.parent)

    def kin(self, deal: Deal) -> set[str]:
        """The lead it was made from, or the deals made from it."""
        if deal.parent is not None:
            return {deal.parent}
        if not (self.children or self.below):
            return set()
        return {*self.children.get(deal.key, ()), *self.below.get(deal.key, _NOTHING).values()}

    def note(self, key: str, known: Sequence[plan.KnownConversion], outcome: plan.Plan) -> None:
        """What is promised just now counts for the deals of the same page, too."""
        if key in self.above:
            self.above[key] = set(plan.promised(known, outcome))

    def freed(self, deal: Deal, outcome: plan.Plan) -> tuple[str, ...]:
        """Deals that may count what is no longer promised for this one: its lead, or those made from it."""
        if not outcome.withdrawn:
            return ()
        return self.children.get(deal.key, ()) if deal.parent is None else (deal.parent,)

    def concerned(self, lead: str, before: Touch | None, now: Touch | None) -> tuple[str, ...]:
        """Deals made from this lead that are matched otherwise by what it tells now.

        A click of its own, or the name of a form or visit, serves those that have none; one that was another before, or
        is none any more, was perhaps told of the others.
        """
        if not self.late:
            return ()
        if before is not None and before.identifiers != (now.identifiers if now is not None else ()):
            return self.late.get(lead, ()) if before.identifiers else self.unmatched.get(lead, ())
        is_of_use = now is not None and (now.identifiers or (now != before and any(map(is_reference, now.keys))))
        return self.unmatched.get(lead, ()) if is_of_use else ()


async def of_page(desk: Desk, deals: Sequence[Deal], context: Context) -> Family:
    family = Family()
    here = {deal.key: deal.parent for deal in deals if deal.parent is not None}
    leads = [deal.key for deal in deals if deal.kind is DealKind.LEAD] if desk.has_children else []
    stored = await desk.tenant.records.children(desk.tenant.name, desk.source, leads) if leads else {}
    since = desk.tenant.clock.now() - desk.tenant.settings.match.horizon
    for lead, children in stored.items():
        family.children[lead] = tuple(child.deal for child in children)
        family.below[lead] = {told: child.deal for child in reversed(children) for told in child.promised}
        late = [child for child in children if child.created_at >= since and child.deal not in here]
        family.late[lead] = tuple(child.deal for child in late)
        family.unmatched[lead] = tuple(child.deal for child in late if not child.is_exact)
    for key, lead in here.items():
        family.above[lead] = set(plan.promised(context.conversions.get(lead, ())))
        told = plan.promised(context.conversions.get(key, ()))
        family.below.setdefault(lead, {}).update(dict.fromkeys(told, key))
    return family
