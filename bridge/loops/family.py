"""Leads and the deals made from them: what is counted on one is not counted on the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.loops.relatives import away_of, heirs_of
from bridge.model import Deal, DealKind, Touch, frozen
from bridge.rules import plan
from bridge.rules.graph import is_reference
from bridge.rules.plan import Told
from bridge.store import relatives
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

    Where leads were merged: ``heirs`` tells which lead goes on for another, ``merged`` what is promised for those that
    one has taken in, ``adopted`` what is promised for deals made from those.
    """

    above: dict[str, set[Told]] = field(default_factory=dict)
    below: dict[str, dict[Told, str]] = field(default_factory=dict)
    late: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unmatched: dict[str, tuple[str, ...]] = field(default_factory=dict)
    children: dict[str, tuple[str, ...]] = field(default_factory=dict)
    heirs: dict[str, str] = field(default_factory=dict)
    merged: dict[str, dict[Told, str]] = field(default_factory=dict)
    adopted: dict[str, dict[Told, str]] = field(default_factory=dict)

    def taken(self, deal: Deal) -> Mapping[Told, str]:
        """Of ``counted``, what became its own sale by a merge: of leads, or of the leads that deals were made from."""
        if deal.parent is None:
            return self.adopted.get(deal.key, _NOTHING) if self.adopted else _NOTHING
        if not (self.merged or self.heirs):
            return _NOTHING
        heir = self.heirs.get(deal.parent, deal.parent)
        goes_on = dict.fromkeys(self.above.get(heir, ()), heir) if heir != deal.parent else _NOTHING
        return {**self.merged.get(heir, _NOTHING), **goes_on}

    def counted(self, deal: Deal) -> Mapping[Told, str]:
        """What is promised already for the lead this deal was made from, or for a deal made from it."""
        if deal.parent is None:
            return self.below.get(deal.key, _NOTHING) if self.below else _NOTHING
        own = dict.fromkeys(self.above[deal.parent], deal.parent)
        taken = self.taken(deal)
        return {**taken, **own} if taken else own

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
    if desk.has_merged and (desk.has_children or here):
        await _join(desk, deals, family)
    return family


@frozen
class _Merges:
    """``heirs``: by lead, the one that goes on. By that: what is promised for it, and for all that it has taken in."""

    heirs: Mapping[str, str]
    own: Mapping[str, Sequence[plan.KnownConversion]]
    gone: Mapping[str, Mapping[str, Sequence[plan.KnownConversion]]]


async def _join(desk: Desk, deals: Sequence[Deal], family: Family) -> None:
    """Leads that became one: each of their deals is made from the one that goes on."""
    parents = {deal.parent for deal in deals if deal.parent is not None}
    found = await _merges(desk, deals, parents)
    family.heirs = {lead: heir for lead, heir in found.heirs.items() if lead != heir}
    for heir in {found.heirs[lead] for lead in parents}:
        family.above.setdefault(heir, set(plan.promised(found.own.get(heir, ()))))
        gone = found.gone.get(heir, {})
        family.merged[heir] = {told: key for key, known in gone.items() for told in plan.promised(known)}
    keys = sorted({key for gone in found.gone.values() for key in gone})
    born = await desk.tenant.records.children(desk.tenant.name, desk.source, keys) if keys else {}
    for heir, gone in found.gone.items():
        children = [child for key in sorted(gone) for child in born.get(key, ())]
        if children:
            adopted = {told: child.deal for child in children for told in child.promised}
            family.adopted[heir] = adopted
            family.below[heir] = {**adopted, **family.below.get(heir, {})}
            family.children[heir] = (*family.children.get(heir, ()), *[child.deal for child in children])


async def _merges(desk: Desk, deals: Sequence[Deal], parents: Collection[str]) -> _Merges:
    """What is stored of the page's leads and of those that its deals were made from, and what this page tells anew."""
    store, name, source = desk.tenant.store, desk.tenant.name, desk.source
    away = away_of(deals)
    leads = {*parents, *[deal.key for deal in deals if deal.kind is DealKind.LEAD and not deal.is_touch]}
    heirs = await heirs_of(desk.tenant, source, deals, leads, has_merged=True)
    taken_in, own = await relatives.around_merges(store, name, source, sorted({*heirs.values(), *away}))
    for key in away:  # not stored yet
        heir = heirs.get(key, key)
        if heir != key:
            taken_in[heir] = {**taken_in.get(heir, {}), key: own.get(key, ()), **taken_in.get(key, {})}
    gone = {heir: {key: known for key, known in each.items() if key != heir} for heir, each in taken_in.items()}
    return _Merges(heirs, own, gone)
