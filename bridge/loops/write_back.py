"""Mark deals in their CRM with what became of their conversions, where the configuration asks for it.

The ledger puts up a deal whenever a delivery of it moves; here its mark is made of the ledger as it is now and written.
A crash between writing and recording leaves one mark: the same text is written over itself. Reading comes first: a few
deals at each tick, and the tenant's ``left`` is kept for no more than one batch, so that no page is judged between our
write and the record of what it did to the deal's version. Nothing here touches a delivery.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from bridge.errors import BridgeError
from bridge.frozen import replace
from bridge.log import redact
from bridge.loops.guard import contained, told
from bridge.marks import Mark, Marked, Marker, MarkFate, marker_of
from bridge.rules.mark import mark_of
from bridge.rules.suspicion import named
from bridge.store.marks import DueMark
from bridge.tenant import Progress, SourceUnit, Tenant

_MOST = 200  # deals of a source at one tick
_PAUSE, _PAUSE_MAX = timedelta(minutes=1), timedelta(hours=6)
_DOUBLINGS = 10
_NO_SPAM = "no spam"  # of a deal that was marked as spam and turned out to be none: a field is not emptied


async def once(tenant: Tenant) -> Progress:
    """Some of the deals whose marks are out of date, of every source that is written back to."""
    progress = Progress()
    for unit in tenant.sources.values():
        marker = marker_of(unit.port) if unit.is_marked else None
        if marker is not None:
            progress += await contained(tenant, "write_back", unit.name, _mark_some(tenant, unit, marker))
    return progress


async def _mark_some(tenant: Tenant, unit: SourceUnit, marker: Marker) -> Progress:
    progress = Progress()
    left = _MOST
    while left > 0:
        async with tenant.left:
            due = await tenant.marks.due(unit.name, tenant.clock.now(), min(left, marker.most))
            if not due or not await _mark(tenant, unit, marker, due, progress):
                break
        left -= len(due)
    return progress


async def _mark(tenant: Tenant, unit: SourceUnit, marker: Marker, due: Sequence[DueMark], progress: Progress) -> bool:
    """One batch; False when the CRM did not take it, and the rest should wait."""
    marks = await _marks(tenant, unit, due)
    try:
        written = {item.deal: item for item in await marker.mark(marks)}
        done = [(item, mark, written[item.deal]) for item, mark in zip(due, marks, strict=True)]
    except Exception as error:
        if not isinstance(error, BridgeError):
            tenant.log.exception("loop_failed", loop="write_back", account=unit.name)
        await _failed(tenant, unit, due, error, progress)
        return False
    await tenant.marks.record(unit.name, done, tenant.clock.now())
    _tell(tenant, unit, list(written.values()), progress)
    return True


async def _marks(tenant: Tenant, unit: SourceUnit, due: Sequence[DueMark]) -> list[Mark]:
    """What these deals are to show, by the ledger as it is."""
    zone = ZoneInfo(tenant.settings.timezone)
    deals = [item.deal for item in due]
    known = await tenant.marks.told(unit.name, deals)
    marks_spam = tenant.settings.spam.mark
    facts = await tenant.records.facts(tenant.name, unit.name, deals) if marks_spam else {}
    spam = {key: named(one.deal) if one.deal.is_spam else "" for key, one in facts.items()}
    marks = [mark_of(deal, known.get(deal, ()), zone, spam.get(deal, "")) for deal in deals]
    return [mark if mark.text or not marks_spam else replace(mark, text=_NO_SPAM) for mark in marks]


async def _failed(
    tenant: Tenant, unit: SourceUnit, due: Sequence[DueMark], error: Exception, progress: Progress
) -> None:
    """Try these later, the longer the more often they failed; the first failure is said, its repetitions quietly."""
    say = tenant.log.debug if unit.mark_trouble else tenant.log.warning
    problem = told(unit.name, error)
    text = redact(problem.removeprefix(f"{unit.name}: "))
    attempt = min(max(item.attempt for item in due), _DOUBLINGS)
    until = tenant.clock.now() + min(_PAUSE * 2**attempt, _PAUSE_MAX)
    await tenant.marks.failed(unit.name, due, until, text)
    say("write_back_failed", source=unit.name, deals=len(due), error=text, kind=type(error).__name__)
    unit.mark_trouble = text
    progress.problems.append(problem)


def _tell(tenant: Tenant, unit: SourceUnit, written: Sequence[Marked], progress: Progress) -> None:
    if unit.mark_trouble:
        tenant.log.info("write_back_recovered", source=unit.name)
        unit.mark_trouble = ""
    for item in written:
        if item.fate is MarkFate.REFUSED:
            tenant.log.warning("mark_refused", source=unit.name, record=item.deal, code=item.code)
    good = sum(item.fate is MarkFate.DONE for item in written)
    progress.done["marked"] += good
    if written:
        tenant.log.debug("deals_marked", source=unit.name, marked=good, others=len(written) - good)
