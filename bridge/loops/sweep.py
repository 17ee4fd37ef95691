"""The deep sweep: open deals are read again by their keys, to find, count and repair what the windows have missed.

Where a source tells of something that moves no record's time (payments of deals), it says how often open deals, and
those that were won lately, are to be read again for that; this is then the sweep.

A portal with a hundred thousand open deals is swept in pieces, a few at each tick; each is one transaction with the
place where the next one goes on, and between two of them polls get their turn.

A piece whose answer makes no sense is tried again later; if it still makes none, in halves, until what cannot be read
stands alone: that is set aside and counted, and the sweep goes on behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from bridge.errors import BridgeError, Drift, RecordInvalid, Refused
from bridge.frozen import replace
from bridge.log import redact
from bridge.loops import reread
from bridge.loops.guard import as_drift
from bridge.model import frozen
from bridge.ports import Head
from bridge.store.records import Page, SourceState
from bridge.store.sweeps import Counts, Since, Standing, Step, Sweep
from bridge.tenant import Progress, SourceUnit, Tenant

PIECES = 5  # at one tick: with a tick a minute 2,500 deals, ten requests of amoCRM's 420
_PAUSE = timedelta(minutes=15)  # after trouble
_NAMED = 5  # keys in one log line
_FAILURES = 24  # answers without sense for which a piece is divided further; two records cost so many
_SENSELESS = (Drift, Refused, RecordInvalid)


@frozen
class _Work:
    """One source's sweep that goes on now. ``safe``: no window will bring again what was modified before.

    ``since``: which deals that are not open are asked for. ``is_careful``: the first piece has failed before.
    """

    tenant: Tenant
    unit: SourceUnit
    safe: datetime
    since: Since
    is_careful: bool


async def once(tenant: Tenant) -> Progress:
    """Some pieces of every sweep that is due. A source that fails says so and does not hold up the others."""
    progress = Progress()
    for unit in tenant.sources.values():
        port, every = unit.port, interval(unit)
        if port is not None and every and not port.traits.reads_everything:
            progress += await _when_due(tenant, unit, every)
    return progress


def interval(unit: SourceUnit) -> timedelta:
    """How often a source is swept, zero for never: as its operator wants, and as what no window sees demands."""
    wanted = [unit.settings.sweep_every, unit.port.traits.sweep_every if unit.port is not None else None]
    return min(filter(None, wanted), default=timedelta(0))


async def _when_due(tenant: Tenant, unit: SourceUnit, every: timedelta) -> Progress:
    now = tenant.clock.now()
    state = await tenant.sweeps.state(unit.name)
    if state is None:  # the first reading has just brought everything
        await tenant.sweeps.put_off(unit.name, now + every)
        return Progress()
    if now < state.due <= now + max(every, _PAUSE):  # one that is due later than that: the setting was shortened
        return Progress()
    source = await tenant.records.source_state(tenant.name, unit.name)
    if source.watermark is None or source.failing_since is not None:
        return Progress()
    try:
        return await _sweep(tenant, unit, state, source)
    except Exception as error:
        return await _failed(tenant, unit, state, error)


async def _sweep(tenant: Tenant, unit: SourceUnit, state: Sweep, source: SourceState) -> Progress:
    assert unit.port is not None
    assert source.watermark is not None
    traits, now = unit.port.traits, tenant.clock.now()
    since = Since(now - traits.sweep_won if traits.sweep_won else None, now - traits.restorable)
    work = _Work(tenant, unit, source.watermark - traits.overlap, since, is_careful=state.last_error is not None)
    if state.begun_at is None:
        await tenant.sweeps.begin(unit.name, tenant.clock.now())
    progress, position = Progress(), state.position
    for _ in range(PIECES):
        async with tenant.left:
            counts, last = await _piece(work, position)
        progress += counts
        work = replace(work, is_careful=False)
        if last is None:
            await _finished(tenant, unit)
            break
        position = last
    return progress


async def _piece(work: _Work, position: str) -> tuple[Progress, str | None]:
    """Ask for the next deals and store what changed; where to go on, None after the last of them."""
    stored = await work.tenant.sweeps.open_deals(work.unit.name, position, reread.PIECE, work.since)
    if not stored:
        return Progress(), None
    keys = list(stored)
    progress = await (_divided(work, stored) if work.is_careful else _read(work, stored))
    return progress, keys[-1] if len(keys) == reread.PIECE else None


async def _read(work: _Work, stored: Mapping[str, Standing]) -> Progress:
    """One piece, in one transaction."""
    tenant, unit, keys = work.tenant, work.unit, list(stored)
    found = await reread.look_up(tenant, unit, keys)
    missed = [head.key for head in found.changed if is_missed(head, stored[head.key], work.safe)]
    away = [*found.gone, *sorted(found.deleted.difference(missed))]
    gone = [key for key in away if not stored[key].is_deleted]
    step = Step(keys[-1], Counts(len(keys), len(missed), len(gone)))
    await tenant.records.write_page(replace(found.page, sweep=step))
    progress = reread.told(tenant, unit, found, {key for key in keys if not stored[key].version})
    progress.done.update(missed=len(missed))
    progress.done["gone"] = len(gone)
    if missed:
        tenant.log.warning("sweep_missed", source=unit.name, missed=len(missed), records=missed[:_NAMED])
    return progress


async def _divided(work: _Work, stored: Mapping[str, Standing]) -> Progress:
    """A piece that has failed before, in parts: those that cannot be read are set aside.

    Raises:
        BridgeError: not one part can be read, so it is not the records that are odd; or what has nothing to do with
            records.
    """
    progress = Progress()
    waiting, left = [list(stored)], _FAILURES
    aside: list[tuple[list[str], BridgeError]] = []
    has_read = False
    while waiting:
        keys = waiting.pop()
        try:
            progress += await _read(work, {key: stored[key] for key in keys})
            has_read = True
        except Exception as error:
            failure = as_drift(error)
            if not isinstance(failure, _SENSELESS):
                raise
            left -= 1
            if len(keys) > 1 and left > 0:
                half = len(keys) // 2
                waiting += [keys[half:], keys[:half]]
                continue
            aside.append((keys, failure))
    if not has_read and len(stored) > 1:
        raise aside[-1][1]
    for keys, failure in aside:
        await _set_aside(work, keys, list(stored)[-1], failure)
    return progress


async def _set_aside(work: _Work, keys: Sequence[str], position: str, failure: BridgeError) -> None:
    tenant, unit = work.tenant, work.unit
    step = Step(position, Counts(len(keys), aside=len(keys)))
    await tenant.records.write_page(Page(tenant.name, unit.name, tenant.clock.now(), sweep=step))
    text = redact(f"{type(failure).__name__}: {failure}")
    tenant.log.warning("sweep_set_aside", source=unit.name, deals=len(keys), records=list(keys[:_NAMED]), error=text)


def is_missed(head: Head, stored: Standing, safe: datetime) -> bool:
    """Whether a window ought to have brought this change. Pure.

    It was modified when windows had long been read that far, and later than what is stored. What changes without
    moving the CRM's own time (a renamed loss reason) is in no window; of a deal in quarantine something newer is known.
    """
    return stored.version not in ("", head.version) and stored.updated_at < head.updated_at < safe


async def _finished(tenant: Tenant, unit: SourceUnit) -> None:
    state = await tenant.sweeps.state(unit.name)
    assert state is not None
    assert state.begun_at is not None
    now = tenant.clock.now()
    await tenant.sweeps.finish(unit.name, now, max(state.begun_at + interval(unit), now))
    counts = state.counts
    tenant.log.info("source_swept", source=unit.name, deals=counts.asked, missed=counts.missed, gone=counts.gone)


async def _failed(tenant: Tenant, unit: SourceUnit, state: Sweep, error: Exception) -> Progress:
    """Go on later where it stopped. What ails the source itself is told by its polls."""
    if not isinstance(error, BridgeError):
        tenant.log.exception("loop_failed", loop="sweep", account=unit.name)
    failure = as_drift(error)
    text = redact(f"{type(failure).__name__}: {failure}")
    await tenant.sweeps.put_off(unit.name, tenant.clock.now() + _PAUSE, text)
    say = tenant.log.debug if state.last_error else tenant.log.warning
    say("sweep_failed", source=unit.name, error=text)
    return Progress(problems=[f"{unit.name}: deep sweep: {text}"])
