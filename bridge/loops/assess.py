"""Judge deals: across the border, match, qualify, plan. The store is read for context, the judging itself is pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import msgspec

from bridge.identity import Reading, read, seal_contacts
from bridge.model import Catalogue, Deal, Judgement, Match, StageChange, Touch, Unmatched, frozen
from bridge.rules import match, plan, qualify
from bridge.rules.plan import Route
from bridge.store.records import Assessed, Context, Page
from bridge.tenant import Progress, SourceUnit, Tenant

_DIRTY_PAGE = 500


@frozen
class Desk:
    """What judging needs beside the deal itself; the same for a whole page."""

    tenant: Tenant
    source: str
    compiled: qualify.Compiled
    routes: Mapping[str, Sequence[Route]]
    floor: datetime | None


async def once(tenant: Tenant) -> Progress:
    """Judge again the deals that something late concerns: a touch of the same person, a value that changed too late."""
    progress = Progress()
    for unit in tenant.sources.values():
        async with tenant.left:
            progress += await _dirty(tenant, unit)
    return progress


async def _dirty(tenant: Tenant, unit: SourceUnit) -> Progress:
    progress = Progress()
    if unit.catalogue is None:
        stored = await tenant.records.catalogue(tenant.name, unit.name)
        if stored is None:
            return progress
        tenant.compile(unit, stored[0])
        unit.catalogue_at = stored[1]
    while keys := await tenant.records.dirty(tenant.name, unit.name, _DIRTY_PAGE):
        stored_facts = await tenant.records.facts(tenant.name, unit.name, keys)
        entered = [Entered(facts.deal, facts.reading) for facts in stored_facts.values()]
        desk = await desk_for(tenant, unit)
        assessed = await judge_all(desk, entered, frozenset(keys))
        await tenant.records.write_page(Page(tenant.name, unit.name, tenant.clock.now(), assessed))
        progress.done["assessed"] += len(assessed)
        if len(keys) < _DIRTY_PAGE:
            break
    return progress


async def desk_for(tenant: Tenant, unit: SourceUnit, floor: datetime | None = None) -> Desk:
    """The desk for a source whose catalogue is known; ``floor`` overrides the stored one."""
    if floor is None:
        floor = (await tenant.records.source_state(tenant.name, unit.name)).floor
    compiled = tenant.compile(unit, unit.catalogue or Catalogue())
    return Desk(tenant, unit.name, compiled, tenant.routes(), floor)


@frozen
class Entered:
    """A deal behind the border: nothing personal is left in it. ``raw`` are its texts, where they are kept."""

    deal: Deal
    reading: Reading
    raw: bytes | None = None


def enter(tenant: Tenant, source: str, deals: Sequence[Deal]) -> list[Entered]:
    """Fresh deals of an adapter brought across the border. Needs nothing of the store."""
    keeps_raw = tenant.settings.keep_raw_days > 0
    key, region = tenant.join_key, tenant.settings.region
    entered = []
    for deal in deals:
        raw = _raw(deal) if keeps_raw else None
        inside = seal_contacts(deal, key, source, region, _kept(tenant, deal))
        entered.append(Entered(inside, read(deal), raw))
    return entered


def _kept(tenant: Tenant, deal: Deal) -> dict[str, tuple[str, ...]]:
    """The custom fields that a goal looks at."""
    if not tenant.keeps_fields:
        return {}
    return {name: values for name, values in deal.fields.items() if tenant.keeps_field(name)}


def _raw(deal: Deal) -> bytes | None:
    """The record's texts as they were. A field known under several names is kept under the first of them."""
    once: dict[int, str] = {}
    for name, values in deal.fields.items():
        once.setdefault(id(values), name)
    fields = {name: deal.fields[name] for name in once.values()}
    texts = {clue.where: clue.text for clue in deal.clues}
    return msgspec.json.encode({"fields": fields, "texts": texts}) if fields or texts else None


async def judge_all(desk: Desk, entered: Sequence[Entered], known: frozenset[str]) -> list[Assessed]:
    """Match, judge and plan deals. ``known`` are those already stored, whose history is merged."""
    tenant, records = desk.tenant, desk.tenant.records
    deals = [item.deal for item in entered]
    parents = [deal.parent for deal in deals if deal.parent is not None]
    stored = [deal.key for deal in deals if deal.key in known]
    context = await records.context(tenant.name, desk.source, stored, parents)
    deals = [_merge(deal, context) for deal in deals]
    own = {item.deal.key: match.touch_of(item.deal, item.reading) for item in entered}
    lost = [deal for deal in deals if own[deal.key] is None]
    parent_touches = await _parent_touches(desk, lost, own)
    others = await _touches_of(desk, lost, [(deal, own[deal.key]) for deal in deals])
    look_back = tenant.settings.match.look_back
    result = []
    for deal, item in zip(deals, entered, strict=True):
        key = deal.key
        parent = parent_touches.get(deal.parent or "")
        found = match.find(deal, item.reading, parent, others.get(key, ()), look_back)
        outcome = _plan(desk, deal, found, context)
        result.append(Assessed(deal, item.reading, found, own[key], outcome, item.raw, key in known))
    return result


def _plan(desk: Desk, deal: Deal, found: Match | Unmatched, context: Context) -> plan.Plan:
    judgements = judge(desk, deal)
    counted = plan.promised(context.conversions.get(deal.parent or "", ()))
    subject = plan.Subject(desk.tenant.name, desk.source, deal, found, counted)
    return plan.make(subject, judgements, context.conversions.get(deal.key, ()), desk.routes)


def judge(desk: Desk, deal: Deal) -> list[Judgement]:
    """What every goal says of a deal now; ``explain`` asks the same."""
    if deal.is_deleted:
        return []
    return [qualify.judge(goal, deal, desk.source, desk.floor) for goal in desk.compiled.goals]


async def _parent_touches(desk: Desk, lost: Sequence[Deal], own: Mapping[str, Touch | None]) -> dict[str, Touch]:
    keys = sorted({deal.parent for deal in lost if deal.parent is not None})
    if not keys:
        return {}
    found = await desk.tenant.records.touches(desk.tenant.name, desk.source, keys)
    found.update({key: touch for key in keys if (touch := own.get(key)) is not None})
    return found


async def _touches_of(
    desk: Desk, lost: Sequence[Deal], page: Sequence[tuple[Deal, Touch | None]]
) -> dict[str, list[Touch]]:
    """For each deal without a touch of its own: the touches of its persons, stored ones and those of this page."""
    digests = sorted({digest for deal in lost for digest in _joins(deal)})
    if not digests:
        return {}
    by_digest = await desk.tenant.records.touches_of_persons(desk.tenant.name, digests)
    wanted = set(digests)
    for deal, touch in page:
        if touch is not None:
            for digest in _joins(deal) & wanted:
                by_digest.setdefault(digest, []).append(touch)
    return {
        deal.key: [t for d in sorted(_joins(deal)) for t in by_digest.get(d, ()) if t.deal != deal.key] for deal in lost
    }


def _joins(deal: Deal) -> set[str]:
    return {digest for person in deal.persons for digest in person.joins}


def _merge(deal: Deal, context: Context) -> Deal:
    """The deal with the history that was stored before joined to what was read now."""
    stored = context.facts.get(deal.key)
    if stored is None or stored.deal.history == deal.history:
        return deal
    return replace(deal, history=_up_to_now(deal, merge_history(stored.deal.history, deal.history)))


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
