"""Count new leads with and without identifiers, and say once when their share falls and once when that is over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bridge.rules import coverage
from bridge.rules.coverage import Fall, Report, Row, Tally, Verdict, silence_words, words
from bridge.store.records import SourceState
from bridge.tenant import Progress, SourceUnit, Tenant
from bridge.visits import VisitSettings

EVERY = timedelta(hours=1)


async def once(tenant: Tenant, *, force: bool = False) -> Progress:
    """Look at every source not looked at for an hour. What has fallen since the last look is a problem, once."""
    progress = Progress()
    for unit in tenant.sources.values():
        now = tenant.clock.now()
        counted_at = await tenant.coverage.counted_at(unit.name)
        if not force and counted_at is not None and now - counted_at < EVERY:
            continue
        state = await tenant.records.source_state(tenant.name, unit.name)
        if state.polled_at is not None:
            progress.problems += await _look(tenant, unit, state, state.polled_at)
    return progress


async def _look(tenant: Tenant, unit: SourceUnit, state: SourceState, until: datetime) -> list[str]:
    """Count up to the last good reading: a source that does not answer brings no leads, and that is another trouble."""
    zone = ZoneInfo(tenant.settings.timezone)
    since = coverage.reach(until, zone, coverage.SHOWN_WEEKS)
    tally = await _tally(tenant, unit, state, since, until)
    before = await tenant.coverage.report(unit.name)
    known = before.falls if before else ()
    report, verdict = await asyncio.to_thread(_report, tally, until, zone, known, is_asked_often=_is_asked_often(unit))
    await tenant.coverage.save(unit.name, report, tenant.clock.now())
    _say_what_is_over(tenant, unit, verdict)
    problems = [_say_what_fell(tenant, unit, fall) for fall in verdict.started]
    return problems + _say_of_silence(tenant, unit, before, report)


def _report(
    tally: Tally, until: datetime, zone: ZoneInfo, known: Sequence[Fall], *, is_asked_often: bool
) -> tuple[Report, Verdict]:
    verdict = coverage.judge(tally, until, known)
    report = Report(
        until,
        coverage.windows(tally, until),
        coverage.calendar(tally, until, zone, coverage.DAY, coverage.SHOWN_DAYS),
        coverage.calendar(tally, until, zone, coverage.WEEK, coverage.SHOWN_WEEKS),
        verdict.falls,
        coverage.silence(tally, until) if is_asked_often else None,
    )
    return report, verdict


def _say_what_fell(tenant: Tenant, unit: SourceUnit, fall: Fall) -> str:
    recent, usual = fall.recent, fall.usual
    tenant.log.warning(
        "coverage_fell",
        source=unit.name,
        channel=fall.channel,
        identifier=fall.kind or "any",
        leads=recent.leads,
        share=round(recent.share, 3),
        usual=round(usual.share, 3),
        began=fall.began,
    )
    return f"{unit.name}: {words(fall)}"


def _say_what_is_over(tenant: Tenant, unit: SourceUnit, verdict: Verdict) -> None:
    for fall, is_recovered in verdict.over:
        event = "coverage_recovered" if is_recovered else "coverage_settled"
        tenant.log.info(event, source=unit.name, channel=fall.channel, identifier=fall.kind or "any", fell=fall.since)


def _say_of_silence(tenant: Tenant, unit: SourceUnit, before: Report | None, now: Report) -> list[str]:
    was_silent = before is not None and before.silence is not None
    if now.silence is not None and not was_silent:
        tenant.log.warning("leads_stopped", source=unit.name, last=now.silence.since, per_day=now.silence.per_day)
        return [f"{unit.name}: {silence_words(now.silence)}"]
    if was_silent and now.silence is None:
        tenant.log.info("leads_resumed", source=unit.name)
    return []


async def weekly(tenant: Tenant, unit: SourceUnit, weeks: int) -> tuple[Row, ...]:
    """Shares by channel for so many weeks of the tenant's calendar, counted now; none before the first reading."""
    state = await tenant.records.source_state(tenant.name, unit.name)
    if state.polled_at is None:
        return ()
    zone = ZoneInfo(tenant.settings.timezone)
    since = coverage.reach(state.polled_at, zone, weeks)
    tally = await _tally(tenant, unit, state, since, state.polled_at)
    return coverage.calendar(tally, state.polled_at, zone, coverage.WEEK, weeks)


async def _tally(tenant: Tenant, unit: SourceUnit, state: SourceState, since: datetime, until: datetime) -> Tally:
    cells = await tenant.coverage.cells(unit.name, since, until, state.floor)
    # A hundred thousand leads take seconds to count: in a thread, because webhooks want their answers meanwhile.
    return await asyncio.to_thread(Tally, cells, accepted(tenant))


def accepted(tenant: Tenant) -> frozenset[str]:
    """Kinds of identifiers that some destination of the tenant takes; messages to people need none."""
    known = [unit.traits if unit.port is None else unit.port.traits for unit in tenant.destinations.values()]
    return frozenset([kind for traits in known if traits is not None and traits.needs_click for kind in traits.accepts])


def _is_asked_often(unit: SourceUnit) -> bool:
    """A table is filled when somebody finds the time, visits are told a day late: that these are quiet says nothing."""
    is_late = isinstance(unit.settings, VisitSettings)
    return unit.port is not None and not unit.port.traits.reads_everything and not is_late
