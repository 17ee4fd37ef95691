"""Judge deals: across the border, match, qualify, plan. The store is read for context, the judging itself is pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from bridge.catalogue import Catalogue
from bridge.channels import UNKNOWN
from bridge.errors import RecordInvalid
from bridge.frozen import replace
from bridge.identity import Reading, read, seal_contacts
from bridge.loops import counting, neighbours, origins, relatives, roots, seconds, suspicion
from bridge.loops import family as families
from bridge.loops.definitions import note
from bridge.loops.promises import Promises
from bridge.model import ONCE, Background, Deal, Identifier, Judgement, Learnt, Match, Touch, Unmatched, frozen
from bridge.noting import noted
from bridge.ports import BadRecord
from bridge.rules import consent, definitions, histories, match, plan, qualify, undo
from bridge.rules.case import Case
from bridge.rules.choice import Want
from bridge.rules.floor import Floor
from bridge.rules.plan import Route
from bridge.store.codec import Facts
from bridge.store.records import Assessed, Context, Page
from bridge.tenant import Progress, SourceUnit, Tenant

JUDGING_FAILED = "judging_failed"
_DIRTY_PAGE = 500
Texts = Mapping[str, tuple[str, ...]]


@frozen
class Desk:
    """What judging needs beside the deal itself; the same for a whole page.

    ``seen``: what the goals were judged by; the guards of ``routes`` are made of it. ``wants``: what each destination
    takes. ``has_children``: some stored deals were converted from leads, so a lead may be counted on one of them;
    ``has_merged``: some were merged into others, so what is promised for them may count for those.
    ``within``: see ``rules.pages``. ``asks_consent``: some of the ``routes`` depend on what a deal's person agreed to.
    """

    tenant: Tenant
    source: str
    compiled: qualify.Compiled
    routes: Mapping[str, Sequence[Route]]
    floor: Floor
    seen: definitions.Seen
    now: datetime
    wants: tuple[Want, ...] = ()
    has_children: bool = False
    has_merged: bool = False
    within: timedelta = timedelta(0)
    undoing: undo.Undoing = undo.Undoing()
    asks_consent: bool = False

    @property
    def leads_become_deals(self) -> bool:
        port = self.tenant.sources[self.source].port
        return port is not None and port.traits.leads_become_deals

    @property
    def asks_fields(self) -> Mapping[str, consent.Terms]:
        """Destinations for which custom fields say what a deal's person agreed to."""
        return consent.asking_fields(self.routes) if self.asks_consent else {}

    @property
    def marks_spam(self) -> bool:
        """Whether spam is marked in the CRM."""
        return self.tenant.settings.spam.mark and self.tenant.sources[self.source].is_marked


@frozen
class Entered:
    """A deal behind the border: nothing personal is left in it. ``raw`` are its texts, where they are kept."""

    deal: Deal
    reading: Reading
    raw: bytes | None = None


@dataclass(slots=True)
class Entrance:
    """Deals brought across the border, and those that could not be, with the reason."""

    entered: list[Entered] = field(default_factory=list)
    failed: list[BadRecord] = field(default_factory=list)


@dataclass(slots=True)
class Judged:
    """A page's deals with their plans, and those that could not be judged, with the reason."""

    assessed: list[Assessed] = field(default_factory=list)
    failed: list[BadRecord] = field(default_factory=list)


async def once(tenant: Tenant, *, asks: bool = False) -> Progress:
    """Judge again the deals that something late concerns: a touch of the same person, a value that changed too late,
    the day on which a score passes its threshold.

    ``asks``: count as well which promises destinations would not take any more.
    """
    progress = Progress()
    for unit in tenant.sources.values():
        async with tenant.left:
            progress += await _dirty(tenant, unit, asks)
    return progress


async def _dirty(tenant: Tenant, unit: SourceUnit, asks: bool) -> Progress:
    progress = Progress()
    if not await has_names(tenant, unit):
        return progress
    while keys := await tenant.records.dirty(tenant.name, unit.name, tenant.clock.now(), _DIRTY_PAGE):
        await note(tenant, unit)
        stored_facts = await tenant.records.facts(tenant.name, unit.name, keys)
        desk = await desk_for(tenant, unit)
        judged = await judge_all(desk, entered_before(stored_facts.values()), frozenset(keys))
        now = tenant.clock.now()
        page = Page(tenant.name, unit.name, now, judged.assessed, failed=judged.failed)
        await tenant.records.write_page(page)
        progress += counting.count(page)
        if asks:
            progress += counting.unsendable(tenant, page.assessed)
        progress.done["assessed"] += len(judged.assessed)
        if len(keys) < _DIRTY_PAGE:
            break
    return progress


async def has_names(tenant: Tenant, unit: SourceUnit) -> bool:
    """Whether the source's names are known, from memory or from the store; without them nothing was read yet."""
    if unit.catalogue_at is None:
        stored = await tenant.records.catalogue(tenant.name, unit.name)
        if stored is None:
            return False
        tenant.compile(unit, stored[0])
        unit.catalogue_at = stored[1]
    return True


async def desk_for(
    tenant: Tenant, unit: SourceUnit, floor: Floor | None = None, seen: definitions.Seen | None = None
) -> Desk:
    """The desk for a source by the names that are known of it; ``floor`` and ``seen`` override what is stored.

    A definition that is another than the stored one has changed just now, whether or not that was noted yet.
    """
    await has_names(tenant, unit)
    state = await tenant.records.source_state(tenant.name, unit.name)
    compiled = tenant.compile(unit, unit.catalogue or Catalogue())
    if tenant.expects:
        known_values = await tenant.estimates.of(unit.name, tenant.digests)
        compiled = compiled.knowing(known_values, has_children=state.has_children)
    now = tenant.clock.now()
    known = seen or definitions.noted(state.goals, tenant.digests, now)
    routes = _guarded(tenant, known)
    about = (floor or state.floor, known, now, tenant.wants(routes), state.has_children, state.has_merged)
    undoing = undo.Undoing.of(tenant.settings.goals, tenant.settings.currency)
    return Desk(tenant, unit.name, compiled, routes, *about, tenant.reach.within, undoing, consent.is_asked(routes))


def knowing(desk: Desk, *, has_children: bool, has_merged: bool) -> Desk:
    """The same, where such deals were read since."""
    has_children, has_merged = desk.has_children or has_children, desk.has_merged or has_merged
    if (has_children, has_merged) == (desk.has_children, desk.has_merged):
        return desk
    compiled = desk.compiled.with_children() if has_children else desk.compiled
    return replace(desk, compiled=compiled, has_children=has_children, has_merged=has_merged)


def _guarded(tenant: Tenant, seen: definitions.Seen) -> dict[str, Sequence[Route]]:
    """Where each goal goes, and what of it is kept back."""
    zone = ZoneInfo(tenant.settings.timezone)
    return {
        goal: [replace(r, guard=definitions.guard(seen, goal, r.destination, zone)) for r in routes]
        for goal, routes in tenant.routes().items()
    }


def enter(tenant: Tenant, source: str, deals: Sequence[Deal]) -> Entrance:
    """Fresh deals of an adapter brought across the border. Needs nothing of the store."""
    entrance = Entrance()
    keeps_fields, keeps_raw = tenant.keeps_fields, tenant.settings.keep_raw_days > 0
    key, region, wanted = tenant.join_key, tenant.settings.region, tenant.noted
    for deal in deals:
        try:
            if wanted:
                deal = replace(deal, noted=noted(deal, wanted, region))  # noqa: PLW2901 - the same deal, told more of
            kept = _kept(tenant, deal, deal.fields) if keeps_fields or deal.is_touch else {}
            raw = _raw(deal) if keeps_raw else None
            if deal.options:
                deal = replace(deal, options=_kept(tenant, deal, deal.options))  # noqa: PLW2901 - the same deal, less of it
            entrance.entered.append(Entered(seal_contacts(deal, key, source, region, kept), read(deal), raw))
        except Exception as error:
            entrance.failed.append(_set_aside(tenant, source, deal, error))
    return entrance


def entered_before(stored: Iterable[Facts]) -> list[Entered]:
    """Deals as they are stored."""
    return [Entered(facts.deal, facts.reading) for facts in stored]


def _kept(tenant: Tenant, deal: Deal, fields: Texts) -> dict[str, tuple[str, ...]]:
    """Of these the custom fields that a goal looks at. All of a touch: they are few neutral facts, wanted by other
    rules.
    """
    if deal.is_touch:
        return dict(fields)
    return {name: values for name, values in fields.items() if tenant.keeps_field(name)}


def _set_aside(tenant: Tenant, source: str, deal: Deal, error: Exception) -> BadRecord:
    """A deal that cannot be judged. What goes wrong at one place of the code is logged whole once, not for each deal.

    The error's text stays out of the store: it may repeat anything of the record.
    """
    code = error.code if isinstance(error, RecordInvalid) else JUDGING_FAILED
    place, told, log = _place(error), tenant.sources[source].told, tenant.log
    log.warning("record_quarantined", source=source, record=deal.key, code=code)
    if place not in told:
        told.add(place)
        log.exception("judging_failed", source=source, record=deal.key, exc_info=error)
    return BadRecord(deal.key, code, f"{type(error).__name__} in {place}; the log says more", deal.version)


def _place(error: Exception) -> str:
    """Module and line where an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "nowhere" if trace is None else f"{trace.tb_frame.f_globals.get('__name__')}, line {trace.tb_lineno}"


def _raw(deal: Deal) -> bytes | None:
    """The record's texts as they were. A field known under several names is kept under the first of them."""
    once: dict[int, str] = {}
    for name, values in deal.fields.items():
        once.setdefault(id(values), name)
    fields = {name: deal.fields[name] for name in once.values()}
    texts = {clue.where: clue.text for clue in deal.clues}
    return msgspec.json.encode({"fields": fields, "texts": texts}) if fields or texts else None


async def judge_all(
    desk: Desk,
    entered: Sequence[Entered],
    known: frozenset[str],
    meanwhile: Sequence[Assessed] = (),
) -> Judged:
    """Match, judge and plan deals; a lead before the deals that were made from it, a merged record before all others.

    ``known`` are those already stored, whose history is merged; ``meanwhile`` are deals that are just being stored. One
    that cannot be judged does not hold up the others.
    """
    judged = Judged()
    tenant = desk.tenant
    parents = [item.deal.parent for item in entered if item.deal.parent is not None]
    stored = [key for item in entered if (key := item.deal.key) in known] if known else []
    context = await tenant.records.context(tenant.name, desk.source, stored, parents)
    leads = await _leads(desk, entered, parents)
    merged, own = _merge_all(desk, entered, context, leads, judged)
    if parents:
        merged.sort(key=lambda item: item.deal.parent is not None)
    if [item for item in merged if item.deal.merged_into]:
        merged.sort(key=lambda item: item.deal.merged_into is None)
    deals = [item.deal for item in merged]
    family = await families.of_page(desk, deals, context)
    others = await relatives.of_page(tenant, desk.source, deals, has_merged=desk.has_merged)
    orders = await roots.roots(tenant, desk.source, deals) if parents else {}
    place = _place_of(desk, own, meanwhile)
    searches = await _searches(desk, place, merged, own)
    page_of = [(item.deal, item.reading) for item in merged]
    company = await suspicion.company(tenant, desk.source, page_of)
    moves = await suspicion.moves(company, context.facts, family.children)
    around = _Around(searches, company, await origins.of_page(tenant, place, page_of, desk.asks_fields))
    cases = _verdicts(desk, merged, around, judged)
    decisive = [plan.decisive(case.judgements) for case in cases]
    apart = await seconds.of_page(tenant, desk.source, decisive, [(item.deal.key, item.plan) for item in meanwhile])
    page = Promises(desk, context, known, own, family, others, orders, apart, moves, around.origins)
    for case, judgements in zip(cases, decisive, strict=True):
        try:
            outcome = page.planned(case.item, case.found, judgements)
            waits = match.waits(case.search, desk.wants) if case.search is not None else ()
            waits += (*around.origins.waits(case.item.deal), *others.waits(case.item.deal, desk.source))
        except Exception as error:
            judged.failed.append(_set_aside(tenant, desk.source, case.item.deal, error))
        else:
            judged.assessed.append(page.assessed(case.item, case.found, case.judgements, outcome, waits))
    return judged


@frozen
class _Around:
    """What is known around the deals of a page."""

    searches: Mapping[str, match.Search]
    company: suspicion.Company
    origins: origins.Origins


@frozen
class _Verdict:
    """A deal with its click and what every goal says of it. ``search``: see ``_searches``."""

    item: Entered
    search: match.Search | None
    found: match.Found
    judgements: Sequence[Judgement]


def _verdicts(desk: Desk, merged: Sequence[Entered], around: _Around, judged: Judged) -> list[_Verdict]:
    verdicts = []
    for item in merged:
        deal, reading = item.deal, item.reading
        try:
            learnt = around.origins.learnt(deal, reading)
            deal = _with_background(deal, around.company.of(deal, reading.channel), learnt)
            search = around.searches.get(deal.key)
            found = match.find_all(search, desk.wants) if search is not None else match.by_itself(deal, reading)
            judgements = judge(desk, case_of(desk, deal, reading, found.match))
            told = item if deal is item.deal else Entered(deal, reading, item.raw)
            verdicts.append(_Verdict(told, search, found, judgements))
        except Exception as error:
            judged.failed.append(_set_aside(desk.tenant, desk.source, item.deal, error))
    return verdicts


def _with_background(deal: Deal, known: Background | None, learnt: Mapping[str, Learnt]) -> Deal:
    if learnt:
        known = replace(known or Background(), learnt=learnt)
    return deal if deal.background == known else replace(deal, background=known)


def _merge_all(
    desk: Desk, entered: Sequence[Entered], context: Context, leads: Mapping[str, datetime], judged: Judged
) -> tuple[list[Entered], dict[str, Touch | None]]:
    """The deals with their whole histories, and the touch each tells of itself."""
    merged: list[Entered] = []
    own: dict[str, Touch | None] = {}
    for item in entered:
        key = item.deal.key
        stored = context.facts.get(key)
        try:
            whole = item if stored is None else _merged(_with_stored(item, stored), stored.deal)
            if leads:
                whole = _with_lead(whole, leads)
            own[key] = match.touch_of(whole.deal, whole.reading, desk.within)
        except Exception as error:
            judged.failed.append(_set_aside(desk.tenant, desk.source, item.deal, error))
        else:
            merged.append(whole)
    return merged, own


async def _leads(desk: Desk, entered: Sequence[Entered], parents: Sequence[str]) -> Mapping[str, datetime]:
    """When the leads came in that deals of the page were made from."""
    if not parents or not desk.leads_become_deals:
        return {}
    return await roots.arrivals(desk.tenant, desk.source, sorted(set(parents)), [item.deal for item in entered])


def _with_lead(item: Entered, leads: Mapping[str, datetime]) -> Entered:
    """A deal made from a lead came with that lead."""
    deal = item.deal
    came = leads.get(deal.parent) if deal.parent is not None else None
    if came is None or came >= deal.created_at or came == deal.came_at:
        return item
    return Entered(replace(deal, came_at=came), item.reading, item.raw)


def _merged(item: Entered, before: Deal) -> Entered:
    return Entered(histories.merge(before, item.deal), item.reading, item.raw)


def _with_stored(item: Entered, stored: Facts) -> Entered:
    """What was read, with what its source does not tell twice.

    Of a deleted deal it tells nothing but the deletion; some identifiers it showed for a while only (``model.ONCE``).
    The channel it came by stays what it was first known to be.
    """
    if item.deal.is_deleted:
        deal = replace(stored.deal, version=item.deal.version, updated_at=item.deal.updated_at, is_deleted=True)
        deal = replace(deal, merged_into=item.deal.merged_into or deal.merged_into)
        return Entered(deal, stored.reading)
    reading, told = item.reading, [pair for pair in stored.reading.found if pair[1].found_in.startswith(ONCE)]
    if stored.reading.channel not in ("", UNKNOWN, reading.channel):
        reading = replace(reading, channel=stored.reading.channel)
    if told:
        kinds = {identifier.kind for _, identifier in reading.found}
        kept = [pair for pair in told if pair[1].kind not in kinds]
        reading = replace(reading, found=(*reading.found, *kept), places=())
    return item if reading is item.reading else Entered(item.deal, reading, item.raw)


def case_of(desk: Desk, deal: Deal, reading: Reading, found: Match | Unmatched) -> Case:
    """A deal as its goals look at it."""
    return Case(deal, desk.source, desk.now, reading, found)


def judge(desk: Desk, case: Case) -> Sequence[Judgement]:
    """What every goal says of a deal now; ``explain`` asks the same."""
    if case.deal.is_deleted or case.deal.is_touch:
        return []
    return desk.undoing.applied(qualify.of_all(desk.compiled.goals, case, desk.floor), case.deal)


def _place_of(desk: Desk, own: Mapping[str, Touch | None], meanwhile: Sequence[Assessed]) -> neighbours.Place:
    """Where to look for records around the page's deals: in the store, and among what is just being stored."""
    page = {item.deal.key: item.touch for item in meanwhile if item.touch is not None}
    page.update({key: touch for key, touch in own.items() if touch is not None})
    tenant = desk.tenant
    return neighbours.Place(tenant.records, tenant.name, desk.source, tenant.reach, page)


async def _searches(
    desk: Desk, place: neighbours.Place, merged: Sequence[Entered], own: Mapping[str, Touch | None]
) -> dict[str, match.Search]:
    """Those of the deals whose own identifiers leave something to look for, with what is known around them. For a
    tracker's record nothing is looked for.
    """
    reach, model = place.reach, desk.tenant.model
    lost = [item for item in merged if not match.is_settled(_shown(own[item.deal.key]), desk.wants, model)]
    parents = await _parent_touches(desk, [item.deal for item in lost], own)
    made = [match.Search(i.deal, i.reading, parents.get(i.deal.parent or ""), {}, reach, model) for i in lost]
    await neighbours.learn(place, [search for search in made if not search.deal.is_touch], desk.wants)
    return {search.deal.key: search for search in made}


def _shown(touch: Touch | None) -> tuple[Identifier, ...]:
    return () if touch is None else touch.identifiers


async def _parent_touches(desk: Desk, lost: Sequence[Deal], own: Mapping[str, Touch | None]) -> dict[str, Touch]:
    keys = sorted({deal.parent for deal in lost if deal.parent is not None})
    if not keys:
        return {}
    found = await desk.tenant.records.touches(desk.tenant.name, desk.source, keys)
    found.update({key: touch for key in keys if (touch := own.get(key)) is not None})
    return found
