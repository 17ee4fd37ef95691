"""Spam signals of the deals of a page: the store is asked who else came then; ``rules.suspicion`` judges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bridge.clues import Reading
from bridge.frozen import replace
from bridge.model import Background, Deal
from bridge.rules.suspicion import (
    Member,
    Reach,
    Request,
    Span,
    background,
    forms_of,
    is_touch,
    merged,
    request_of,
    rows_of,
    spans_about,
    spans_after,
    spans_before,
)
from bridge.store.codec import Facts
from bridge.store.places import by_source
from bridge.store.records import Crowding
from bridge.tenant import Tenant

Read = tuple[Deal, Reading]


def reach_of(tenant: Tenant) -> Reach:
    """How far the tenant's rules look."""
    return Reach(tenant.settings.spam.rules, tenant.settings.match.call_after)


@dataclass(slots=True)
class Company:
    """A page's requests, and who came with them. Without rules that look at others nothing is asked of the store.

    ``page`` are the requests that are being judged: the store may know them otherwise, or not yet. It is empty where
    nobody asks for backgrounds.
    """

    tenant: Tenant
    source: str
    reach: Reach
    page: dict[str, Request] = field(default_factory=dict)
    leads: dict[str, Request] = field(default_factory=dict)
    forms: dict[tuple[str, str], Request] = field(default_factory=dict)
    members: dict[str, list[Member]] = field(default_factory=dict)

    def of(self, deal: Deal, channel: str) -> Background | None:
        """What judging is to know of a deal; None when there is nothing to tell."""
        if deal.is_touch or not self.page:
            return None
        request = self._request(deal)
        forms = [self.forms[place] for place in forms_of(request, self.members, self.reach) if place in self.forms]
        judged = background(self.tenant.settings.spam, request, forms, self.members)
        return Background(channel, judged.signals, judged.is_spam)

    def _request(self, deal: Deal) -> Request:
        lead = deal.parent and (self.page.get(deal.parent) or self.leads.get(deal.parent))
        return lead or self.page[deal.key]


async def company(tenant: Tenant, source: str, page: Sequence[Read]) -> Company:
    """What the signals of a page's deals depend on."""
    found = Company(tenant, source, reach_of(tenant))
    if not (found.reach.rules or tenant.expects):
        return found
    found.page = {deal.key: request_of(deal, reading, source) for deal, reading in page}
    if not found.reach.rules:
        return found
    parents = {deal.parent for deal, _ in page if deal.parent is not None} - found.page.keys()
    if parents:
        found.leads = _requests(await tenant.records.facts(tenant.name, source, sorted(parents)), source)
    if found.reach.uses_crowds:
        requests = [*found.page.values(), *found.leads.values()]
        await _look(found, [span for one in requests if not one.is_touch for span in spans_before(one, found.reach)])
        await _look_at_forms(found, requests)
    return found


async def _look(found: Company, spans: Iterable[Span]) -> None:
    """Learn who has these keys at these times: of the page as it is now, of all others as they are stored."""
    wanted = merged(spans)
    stored = await found.tenant.crowds.members(wanted)
    times: dict[str, list[Span]] = defaultdict(list)
    for span in wanted:
        times[span.key].append(span)
    for key, members in stored.items():
        found.members[key] = [one for one in members if one.source != found.source or one.deal not in found.page]
    for request in found.page.values():
        for key in request.keys:
            if any(span.since <= request.at <= span.until for span in times.get(key, ())):
                member = Member(key, request.at, found.source, request.deal)
                found.members.setdefault(key, []).append(member)


async def _look_at_forms(found: Company, requests: Sequence[Request]) -> None:
    """Forms that belong to the page's requests, and the crowds these came in."""
    places = {place for one in requests if not one.is_touch for place in forms_of(one, found.members, found.reach)}
    if not places:
        return
    found.forms = await _stored(found.tenant, places)
    known = found.members
    found.members = {}
    await _look(found, [span for one in found.forms.values() for span in spans_before(one, found.reach)])
    for key, members in known.items():
        others = found.members.get(key, ())
        found.members[key] = sorted({*members, *others}, key=lambda one: one.order)


async def _stored(tenant: Tenant, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Request]:
    """Requests and touches by source and key, as they are stored."""
    found: dict[tuple[str, str], Request] = {}
    for source, keys in by_source(sorted(places)).items():
        facts = await tenant.records.facts(tenant.name, source, keys)
        found |= {(source, key): one for key, one in _requests(facts, source).items()}
    return found


def _requests(facts: Mapping[str, Facts], source: str) -> dict[str, Request]:
    return {key: request_of(one.deal, one.reading, source) for key, one in facts.items()}


# --- what others have of it ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Moves:
    """Rows that a page's requests join and leave, by deal, and ``stirs``: whom all of that concerns."""

    rows: dict[str, Crowding] = field(default_factory=dict)
    stirs: tuple[tuple[str, str], ...] = ()

    def of(self, key: str) -> Crowding:
        """Those of one deal. The first that is asked for of those that change anything carries all ``stirs``."""
        own = self.rows.get(key)
        if own is None:
            return _SAME
        stirs, self.stirs = self.stirs, ()
        return replace(own, stirs=stirs) if stirs else own


_SAME = Crowding()


async def moves(found: Company, stored: Mapping[str, Facts], children: Mapping[str, Sequence[str]]) -> Moves:
    """What is new or has changed of a page's requests, and whose signals depend on that.

    ``stored``: the page's deals as they were; ``children``: stored deals made from the page's leads. What was read
    before a rule looked at landing pages or IP addresses has no rows of these, and gets them when it is judged again.
    """
    result = Moves()
    if not found.reach.rules:
        return result
    kept = await _kept(found)
    concerned: list[Request] = []
    reached: set[tuple[str, str]] = set()
    for key, request in found.page.items():
        facts = stored.get(key)
        before = None if facts is None else request_of(facts.deal, facts.reading, found.source)
        now, then = rows_of(request), () if before is None else rows_of(before)
        joined = [row for row in now if (key, *row) not in kept] if found.reach.uses_origins else []
        if before == request and not joined:
            continue
        result.rows[key] = Crowding(tuple(joined), tuple([row for row in then if row not in now]))
        concerned += [request] if before is None else [before, request]
        reached.update((found.source, child) for child in children.get(key, ()))
    if found.reach.uses_crowds and concerned:
        reached |= await _stirred(found, concerned)
    result.stirs = tuple(sorted(place for place in reached if place[0] != found.source or place[1] not in found.page))
    return result


async def _kept(found: Company) -> set[tuple[str, str, datetime]]:
    """Rows (deal, key, time) of landing pages and IP addresses that the page's requests have in the store."""
    if not found.reach.uses_origins:
        return set()
    spans = [Span(key, at, at) for one in found.page.values() for key, at in rows_of(one)]
    stored = await found.tenant.crowds.members(sorted(set(spans), key=lambda one: (one.key, one.since)))
    return {(one.deal, one.key, one.at) for several in stored.values() for one in several if one.source == found.source}


async def _stirred(found: Company, requests: Sequence[Request]) -> set[tuple[str, str]]:
    """Requests whose signals may depend on these; a form's by way of whatever form came after it."""
    crowds = found.tenant.crowds
    members = await crowds.members(merged([span for one in requests for span in spans_after(one, found.reach)]))
    reached = {one.place for several in members.values() for one in several}
    later = await _stored(found.tenant, [place for place in reached if is_touch(place[1])])
    about = await crowds.members(merged([span for one in later.values() for span in spans_about(one, found.reach)]))
    reached.update(one.place for several in about.values() for one in several)
    return {place for place in reached if not is_touch(place[1])}
