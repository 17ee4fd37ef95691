"""Where the deals of a page came from: the leads they were made from, the forms they came of, what these tell of them.

Nothing is asked of the store unless some goal or score looks at facts that these records may tell, or a destination
asks fields for consent: of a lead it may have been refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bridge.clues import Reading
from bridge.frozen import replace
from bridge.loops import neighbours
from bridge.loops.neighbours import Place
from bridge.model import Deal, Learnt
from bridge.rules import behaviour, consent, facts, graph
from bridge.rules.consent import Terms
from bridge.rules.facts import Origin
from bridge.scoring import BEHAVIOUR
from bridge.store.codec import Facts
from bridge.store.places import by_source
from bridge.tenant import Tenant

Read = tuple[Deal, Reading]
_SILENT = Reading()


@dataclass(slots=True)
class Origins:
    """By deal: its lead, forms that it may have come of (the one that counts first), what is near it by which keys.

    ``terms``: of destinations that ask fields for consent.
    """

    asked: frozenset[str]
    terms: Mapping[str, Terms] = field(default_factory=dict)
    leads: dict[str, Read] = field(default_factory=dict)
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    near: dict[str, graph.Around] = field(default_factory=dict)
    requests: dict[str, Deal] = field(default_factory=dict)
    forms: dict[str, Read] = field(default_factory=dict)

    def learnt(self, deal: Deal, reading: Reading) -> dict[str, Learnt]:
        """What is to be known of a deal that it does not tell itself."""
        if deal.is_touch or not (self.asked or self.terms):
            return {}
        agreed = consent.handed_on(self.terms, self.leads[deal.parent][0]) if deal.parent in self.leads else {}
        return {**self._facts(deal, reading), **agreed} if self.asked else agreed

    def _facts(self, deal: Deal, reading: Reading) -> dict[str, Learnt]:
        origins: list[Origin] = []
        if deal.parent in self.leads:
            origins.append((deal.parent, *self.leads[deal.parent]))
        form = self._form(deal)
        origins += [form] if form is not None else []
        found = facts.learnt(deal, reading, origins, self.asked | {"visits"} if form is not None else self.asked)
        before = self._before(deal, found)
        if before is not None:
            found["visits_before"] = before
        return {name: one for name, one in found.items() if name in self.asked}

    def _form(self, deal: Deal) -> Origin | None:
        """The first of its forms that tells what its visitor did."""
        near = self.near.get(deal.key)
        listed = [] if near is None else behaviour.forms(self.requests[deal.key], self.keys[deal.key], near)
        return next(((name, *self.forms[name]) for name in listed if name in self.forms), None)

    def _before(self, deal: Deal, found: Mapping[str, Learnt]) -> Learnt | None:
        near = self.near.get(deal.key)
        if near is None or "visits_before" not in self.asked:
            return None
        return behaviour.visits_before(self.requests[deal.key], self.keys[deal.key], near, found)

    def waits(self, deal: Deal) -> tuple[str, ...]:
        """Keys by which a form or visit that becomes known or changes later may tell more."""
        near = self.near.get(deal.key)
        return () if near is None else graph.awaited(self.keys[deal.key], near)

    def tells(self, lead: Read) -> object:
        """What of a lead matters to the deals made from it."""
        deal, reading = lead
        keys = (deal.created_at, graph.joins_of(deal, reading.identifiers)) if self.asked & BEHAVIOUR else None
        return facts.told(deal, reading, self.asked), keys, consent.handed_on(self.terms, deal)

    def concerns(self, lead: Read, before: Facts | None) -> bool:
        """Whether deals that were made from a lead are to be judged again, now that it is so."""
        if lead[0].is_touch or not (self.asked or self.terms):
            return False
        return before is None or self.tells(lead) != self.tells((before.deal, before.reading))


async def of_page(tenant: Tenant, place: Place, page: Sequence[Read], terms: Mapping[str, Terms]) -> Origins:
    """What the facts of a page's deals depend on."""
    found = Origins(tenant.asked, terms)
    if not (found.asked or terms):
        return found
    living = [(deal, reading) for deal, reading in page if not deal.is_touch]
    if not living:
        return found
    await _learn_leads(tenant, place.source, living, found)
    if found.asked & BEHAVIOUR:
        await _look_around(tenant, place, living, found)
    return found


async def _learn_leads(tenant: Tenant, source: str, page: Sequence[Read], found: Origins) -> None:
    here = {deal.key: (deal, reading) for deal, reading in page}
    parents = {deal.parent for deal, _ in page if deal.parent is not None}
    stored = await tenant.records.facts(tenant.name, source, sorted(parents - here.keys())) if parents else {}
    found.leads = {key: (one.deal, one.reading) for key, one in stored.items()}
    found.leads.update({key: here[key] for key in parents & here.keys()})


async def _look_around(tenant: Tenant, place: Place, page: Sequence[Read], found: Origins) -> None:
    """Forms and visits by the keys of each deal and its lead, as of the lead's time."""
    for deal, reading in page:
        lead, lead_reading = found.leads.get(deal.parent or "", (None, _SILENT))
        request = deal if lead is None else replace(deal, created_at=min(deal.created_at, lead.created_at))
        found.requests[deal.key] = request
        found.keys[deal.key] = behaviour.keys_of(deal, reading, lead, lead_reading)
    asked = [(request, found.keys[key]) for key, request in found.requests.items()]
    named: set[str] = set()
    for (request, keys), others in zip(asked, await neighbours.on_keys(place, asked), strict=True):
        near = graph.around(request, keys, others, place.reach)
        found.near[request.key] = near
        named.update(behaviour.forms(request, keys, near))
    found.forms = await _forms(tenant, place.source, named)


def _place(name: str, source: str) -> tuple[str, str]:
    """Where a form is that has this name in a source."""
    own, _, key = name.rpartition("/form:")
    return (own, f"form:{key}") if own else (source, name)


async def _forms(tenant: Tenant, source: str, names: Iterable[str]) -> dict[str, Read]:
    """Those of these forms that tell what their visitors did, by the names they have in this source."""
    found: dict[str, Read] = {}
    for own, keys in by_source(_place(name, source) for name in sorted(names)).items():
        for key, one in (await tenant.records.facts(tenant.name, own, keys)).items():
            if "visits" in one.deal.fields:
                found[key if own == source else f"{own}/{key}"] = one.deal, one.reading
    return found
