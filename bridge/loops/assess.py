"""Judge deals: across the border, match, qualify, plan. The store is read for context, the judging itself is pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from bridge.channels import UNKNOWN
from bridge.errors import RecordInvalid
from bridge.identity import Reading, read, seal_contacts
from bridge.loops import counting, relatives, seconds
from bridge.loops.definitions import note
from bridge.model import (
    ONCE,
    Catalogue,
    Deal,
    DealKind,
    Judgement,
    Match,
    StageChange,
    Touch,
    Unmatched,
    ValueChange,
    frozen,
)
from bridge.noting import noted
from bridge.ports import BadRecord
from bridge.rules import consent, definitions, match, payments, plan, qualify, undo
from bridge.rules.case import Case
from bridge.rules.floor import Floor
from bridge.rules.plan import Route, Told
from bridge.store.codec import Facts
from bridge.store.records import Assessed, Context, Page
from bridge.tenant import Progress, SourceUnit, Tenant

JUDGING_FAILED = "judging_failed"
_DIRTY_PAGE = 500
_NOTHING: Mapping[Told, str] = {}
_ALONE: match.Others = {}


@frozen
class Desk:
    """What judging needs beside the deal itself; the same for a whole page.

    ``seen``: what the goals were judged by; the guards of ``routes`` are made of it. ``has_children``: some stored
    deals were converted from leads, so a lead may be counted on one of them.
    """

    tenant: Tenant
    source: str
    compiled: qualify.Compiled
    routes: Mapping[str, Sequence[Route]]
    floor: Floor
    seen: definitions.Seen
    now: datetime
    has_children: bool = False


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
    now = tenant.clock.now()
    known = seen or definitions.noted(state.goals, tenant.digests, now)
    routes = _guarded(tenant, known)
    return Desk(tenant, unit.name, compiled, routes, floor or state.floor, known, now, state.has_children)


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
            kept = _kept(tenant, deal) if keeps_fields or deal.is_touch else {}
            raw = _raw(deal) if keeps_raw else None
            entrance.entered.append(Entered(seal_contacts(deal, key, source, region, kept), read(deal), raw))
        except Exception as error:
            entrance.failed.append(_set_aside(tenant, source, deal, error))
    return entrance


def entered_before(stored: Iterable[Facts]) -> list[Entered]:
    """Deals as they are stored."""
    return [Entered(facts.deal, facts.reading) for facts in stored]


def _kept(tenant: Tenant, deal: Deal) -> dict[str, tuple[str, ...]]:
    """The custom fields that a goal looks at. All of a touch: they are few neutral facts, wanted by other rules."""
    if deal.is_touch:
        return dict(deal.fields)
    return {name: values for name, values in deal.fields.items() if tenant.keeps_field(name)}


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
    meanwhile: Sequence[tuple[Deal, Touch | None]] = (),
) -> Judged:
    """Match, judge and plan deals; a lead before the deals that were made from it.

    ``known`` are those already stored, whose history is merged; ``meanwhile`` are deals that are just being stored,
    with their touches. One that cannot be judged does not hold up the others.
    """
    judged = Judged()
    tenant, records = desk.tenant, desk.tenant.records
    parents = [item.deal.parent for item in entered if item.deal.parent is not None]
    stored = [key for item in entered if (key := item.deal.key) in known] if known else []
    context = await records.context(tenant.name, desk.source, stored, parents)
    merged, own = _merge_all(desk, entered, context, judged)
    if parents:
        merged.sort(key=lambda item: item.deal.parent is not None)
    if any(item.deal.merged_into for item in merged):
        merged.sort(key=lambda item: item.deal.merged_into is None)
    family = await _family(desk, [item.deal for item in merged], context)
    others_of = await relatives.of_page(tenant, desk.source, [item.deal for item in merged])
    lost = [item for item in merged if not item.deal.is_touch and not match.suffices(item.reading.identifiers)]
    parent_touches = await _parent_touches(desk, [item.deal for item in lost], own)
    others = await _touches_of(desk, lost, [*meanwhile, *((item.deal, own[item.deal.key]) for item in merged)])
    reach = tenant.reach
    cases: list[tuple[Entered, Match | Unmatched, Sequence[Judgement]]] = []
    for item in merged:
        deal = item.deal
        try:
            parent = parent_touches.get(deal.parent or "")
            found = match.find(deal, item.reading, parent, others.get(deal.key, _ALONE), reach)
            cases.append((item, found, judge(desk, case_of(desk, deal, item.reading, found))))
        except Exception as error:
            judged.failed.append(_set_aside(tenant, desk.source, deal, error))
    apart = await seconds.of_page(tenant, desk.source, [judgements for _, _, judgements in cases])
    for item, found, judgements in cases:
        deal, key = item.deal, item.deal.key
        touch = own[key]
        before = context.conversions.get(key, ())
        try:
            counted = others_of.counted(deal, family.counted(deal))
            subject = plan.Subject(tenant.name, desk.source, deal, found, counted)
            told = others_of.known(deal, before)
            said = apart.apart(subject, judgements, told, family.kin(deal))
            outcome = plan.make(subject, said, told, consent.for_deal(desk.routes, deal))
        except Exception as error:
            judged.failed.append(_set_aside(tenant, desk.source, deal, error))
            continue
        family.note(key, before, outcome)
        apart.note(key, outcome)
        others_of.note(deal, before, outcome)
        freed = (*family.freed(deal, outcome), *relatives.reopened(deal, outcome))
        reopens = (*(family.waiting(key) if touch is not None else ()), *freed)
        waits = match.waits(deal, item.reading, found, others.get(key, _ALONE), reach)
        about_stored = (key in known, reopens, _gone(item, context.facts.get(key)), waits, _recheck_at(judgements))
        judged.assessed.append(Assessed(deal, item.reading, found, touch, outcome, item.raw, *about_stored))
    return judged


def _merge_all(
    desk: Desk, entered: Sequence[Entered], context: Context, judged: Judged
) -> tuple[list[Entered], dict[str, Touch | None]]:
    """The deals with their whole histories, and the touch each tells of itself."""
    merged: list[Entered] = []
    own: dict[str, Touch | None] = {}
    for item in entered:
        key = item.deal.key
        stored = context.facts.get(key)
        try:
            whole = item if stored is None else _merge(_with_stored(item, stored), stored.deal)
            own[key] = match.touch_of(whole.deal, whole.reading)
        except Exception as error:
            judged.failed.append(_set_aside(desk.tenant, desk.source, item.deal, error))
        else:
            merged.append(whole)
    return merged, own


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


@dataclass(slots=True)
class _Family:
    """Leads of a page and the deals made from them: what is counted on one is not counted on the other.

    ``above`` is what is promised for a lead, ``below`` what is promised for its deals and for which of them.
    ``unmatched`` are stored deals made from a lead, not on this page, that a click of the lead would serve;
    ``children`` are all its stored deals.
    """

    above: dict[str, set[Told]] = field(default_factory=dict)
    below: dict[str, dict[Told, str]] = field(default_factory=dict)
    unmatched: dict[str, tuple[str, ...]] = field(default_factory=dict)
    children: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def counted(self, deal: Deal) -> Mapping[Told, str]:
        """What is promised already for the lead this deal was made from, or for a deal made from it."""
        if deal.parent is None:
            return self.below.get(deal.key, _NOTHING)
        return dict.fromkeys(self.above[deal.parent], deal.parent)

    def kin(self, deal: Deal) -> set[str]:
        """The lead it was made from, or the deals made from it."""
        if deal.parent is not None:
            return {deal.parent}
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

    def waiting(self, lead: str) -> tuple[str, ...]:
        """Deals made from this lead that still lack a click."""
        return self.unmatched.get(lead, ())


async def _family(desk: Desk, deals: Sequence[Deal], context: Context) -> _Family:
    family = _Family()
    here = {deal.key: deal.parent for deal in deals if deal.parent is not None}
    leads = [deal.key for deal in deals if deal.kind is DealKind.LEAD] if desk.has_children else []
    stored = await desk.tenant.records.children(desk.tenant.name, desk.source, leads) if leads else {}
    since = desk.tenant.clock.now() - desk.tenant.settings.match.horizon
    for lead, children in stored.items():
        family.children[lead] = tuple(child.deal for child in children)
        family.below[lead] = {told: child.deal for child in reversed(children) for told in child.promised}
        late = [child for child in children if child.created_at >= since and child.deal not in here]
        family.unmatched[lead] = tuple(child.deal for child in late if not child.is_matched)
    for key, lead in here.items():
        family.above[lead] = set(plan.promised(context.conversions.get(lead, ())))
        told = plan.promised(context.conversions.get(key, ()))
        family.below.setdefault(lead, {}).update(dict.fromkeys(told, key))
    return family


def case_of(desk: Desk, deal: Deal, reading: Reading, found: Match | Unmatched) -> Case:
    """A deal as its goals look at it."""
    return Case(deal, desk.source, desk.now, reading, found)


def judge(desk: Desk, case: Case) -> Sequence[Judgement]:
    """What every goal says of a deal now; ``explain`` asks the same."""
    if case.deal.is_deleted or case.deal.is_touch:
        return []
    found = [one for goal in desk.compiled.goals for one in qualify.judgements(goal, case, desk.floor)]
    settings = desk.tenant.settings
    sales = [goal.name for goal in settings.goals if goal.is_sale]
    undone_by = {goal.name: goal.undone_by for goal in settings.goals if goal.undone_by}
    return undo.undone(undo.unsold(found, sales, case.deal, settings.currency), undone_by, settings.currency)


def _recheck_at(judgements: Iterable[Judgement]) -> datetime | None:
    """When a goal will be reached though nothing happens to the deal until then."""
    return min((one.recheck_at for one in judgements if one.recheck_at is not None), default=None)


async def _parent_touches(desk: Desk, lost: Sequence[Deal], own: Mapping[str, Touch | None]) -> dict[str, Touch]:
    keys = sorted({deal.parent for deal in lost if deal.parent is not None})
    if not keys:
        return {}
    found = await desk.tenant.records.touches(desk.tenant.name, desk.source, keys)
    found.update({key: touch for key in keys if (touch := own.get(key)) is not None})
    return found


async def _touches_of(
    desk: Desk, lost: Sequence[Entered], page: Sequence[tuple[Deal, Touch | None]]
) -> dict[str, match.Others]:
    """For each deal without a click of its own: touches by its join keys, stored ones and those of this page."""
    joins = {item.deal.key: match.joins_of(item.deal, item.reading.identifiers) for item in lost}
    wanted = {key for keys in joins.values() for key in keys}
    if not wanted:
        return {}
    found = await desk.tenant.records.touches_of_persons(desk.tenant.name, desk.source, sorted(wanted))
    renewed = {deal.key for deal, touch in page if touch is not None}
    found = {key: [touch for touch in touches if touch.deal not in renewed] for key, touches in found.items()}
    for deal, touch in page:
        if touch is not None:
            for key in match.joins_of(deal, touch.identifiers):
                if key in wanted:
                    found.setdefault(key, []).append(touch)
    return {deal: {key: found[key] for key in keys if key in found} for deal, keys in joins.items()}


def _gone(item: Entered, stored: Facts | None) -> tuple[str, ...]:
    """Join keys of the stored deal that it has no more. A deleted record tells of none, which is not the same."""
    if stored is None or item.deal.is_deleted:
        return ()
    before = match.joins_of(stored.deal, stored.reading.identifiers)
    now = match.joins_of(item.deal, item.reading.identifiers)
    return () if before == now else tuple(sorted(set(before) - set(now)))


def _merge(item: Entered, before: Deal) -> Entered:
    """The deal with the histories that were stored before joined to what was read now."""
    deal = item.deal
    if deal.value_changes or before.value_changes or deal.value != before.value:
        deal = replace(deal, value_changes=merge_values(before, deal))
    if before.noted:
        deal = replace(deal, noted={**before.noted, **deal.noted})  # a source may tell of a page once only
    if before.payments != deal.payments:
        deal = replace(deal, payments=payments.merge(before.payments, deal.payments))
    if before.history != deal.history:
        deal = replace(deal, history=_up_to_now(deal, merge_history(before.history, deal.history)))
    return Entered(deal, item.reading, item.raw)


def merge_values(before: Deal, now: Deal) -> tuple[ValueChange, ...]:
    """Two partial histories of a deal's value as one.

    A value that was not known to change held from the beginning. One that nothing tells of came with the record.
    """
    known = before.value_changes
    if not known and before.value is not None:
        known = (ValueChange(before.created_at, before.value),)
    told = {change.at: change for change in (*known, *now.value_changes)}
    if now.value is not None and (not told or told[max(told)].value != now.value):
        told[now.updated_at] = ValueChange(now.updated_at, now.value)
    return tuple([told[at] for at in sorted(told)])


def _up_to_now(deal: Deal, history: tuple[StageChange, ...]) -> tuple[StageChange, ...]:
    """A history that ends in the deal's current stage, even where its source has lost the last move."""
    if history and (history[-1].pipeline, history[-1].stage) == (deal.pipeline, deal.stage):
        return history
    at = max(deal.updated_at, history[-1].at) if history else deal.updated_at
    return (*history, StageChange(at, deal.pipeline, deal.stage, deal.outcome, "record"))


def merge_history(before: Sequence[StageChange], now: Sequence[StageChange]) -> tuple[StageChange, ...]:
    """Two partial histories as one, in time order; the current stage (the last of ``now``) stays last.

    An entry taken from the record itself is only a stand-in: it gives way to an earlier one of the same stage.
    """
    true = {(c.at, c.pipeline, c.stage): c for c in (*before, *now) if c.source != "record"}
    stand_ins = [c for c in dict.fromkeys((*before, *now)) if c.source == "record"]
    merged: list[StageChange] = []
    for change in sorted([*true.values(), *stand_ins], key=lambda c: c.at):
        is_told = bool(merged) and (merged[-1].pipeline, merged[-1].stage) == (change.pipeline, change.stage)
        if change.source != "record" or not is_told:
            merged.append(change)
    return tuple(merged)
