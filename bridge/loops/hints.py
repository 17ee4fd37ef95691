"""Read again what a vendor says has changed: records named by webhooks, and by the queue a vendor keeps for us.

A hint goes away only after its record was read and is committed. What a crash leaves is read once more, which changes
nothing. A record that cannot be read whatever we do loses its hint: the polls meet it by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from bridge.errors import AuthError, BridgeError, ConfigError, StoreError, Throttled, Unavailable
from bridge.hints import HintQueue, queue_of
from bridge.loops.guard import as_drift
from bridge.loops.reread import reread
from bridge.tenant import Progress, SourceUnit, Tenant

_AT_ONCE = 50  # records: what every vendor reads in a request or two
_ROUNDS = 20  # of one run; the next one goes on
_PAUSE = timedelta(minutes=1)  # after a failure; the poll says what is wrong with the source
_HOOKS, _QUEUE = "webhooks", "queue"  # the two roads
_PASSING = (AuthError, ConfigError, StoreError, Throttled, Unavailable)


async def once(tenant: Tenant) -> Progress:
    """Read every record that webhooks have named since."""
    progress = Progress()
    for unit in tenant.sources.values():
        if _is_ready(tenant, unit, _HOOKS):
            progress += await _named(tenant, unit)
    return progress


async def pull(tenant: Tenant) -> Progress:
    """Read every record that the sources' own queues name."""
    progress = Progress()
    for unit in tenant.sources.values():
        queue = queue_of(unit.port)
        if queue is not None and _is_ready(tenant, unit, _QUEUE):
            progress += await _queued(tenant, unit, queue)
    return progress


def has_queue(tenant: Tenant) -> bool:
    """Whether any source has a queue to look into."""
    return any(queue_of(unit.port) is not None for unit in tenant.sources.values())


def _is_ready(tenant: Tenant, unit: SourceUnit, road: str) -> bool:
    after = unit.hints_after.get(road)
    return unit.port is not None and (after is None or after <= tenant.clock.now())


async def _named(tenant: Tenant, unit: SourceUnit) -> Progress:
    progress = Progress()
    for _ in range(_ROUNDS):
        hints = await tenant.hints.take(tenant.name, unit.name, _AT_ONCE)
        if not hints:
            break
        error = await _read(tenant, unit, [hint.record for hint in hints], progress)
        if isinstance(error, _PASSING):
            _wait(tenant, unit, _HOOKS, error)
            return progress
        if error is not None:
            _drop(tenant, unit, error, len(hints))
        await tenant.hints.done(tenant.name, unit.name, hints)
    unit.hints_after.pop(_HOOKS, None)
    return progress


async def _queued(tenant: Tenant, unit: SourceUnit, queue: HintQueue) -> Progress:
    progress = Progress()
    try:
        for _ in range(_ROUNDS):
            parcel = await queue.take()
            if parcel is None:
                break
            error = await _read(tenant, unit, parcel.keys, progress)
            if isinstance(error, _PASSING):
                raise error
            if error is None:
                await queue.done(parcel)
            else:
                _drop(tenant, unit, error, len(parcel.keys))
                await queue.failed(parcel)
        unit.hints_after.pop(_QUEUE, None)
    except BridgeError as error:
        _wait(tenant, unit, _QUEUE, error)
    except Exception as error:
        if _QUEUE not in unit.hints_after:
            tenant.log.exception("loop_failed", loop="hints", account=unit.name)
        _wait(tenant, unit, _QUEUE, as_drift(error))
    return progress


async def _read(tenant: Tenant, unit: SourceUnit, keys: Sequence[str], progress: Progress) -> Exception | None:
    """Read records again; what went wrong, if anything did. An adapter's own mistake is logged whole."""
    if not keys:
        return None
    try:
        counts = await reread(tenant, unit, keys)
    except BridgeError as error:
        return error
    except Exception as error:
        tenant.log.exception("loop_failed", loop="hints", account=unit.name)
        return error
    counts.done["hints"] += len(keys)
    progress += counts
    tenant.log.debug("hints_read", source=unit.name, **counts.done)
    return None


def _wait(tenant: Tenant, unit: SourceUnit, road: str, error: BridgeError) -> None:
    """Try later, on this road: the first failure is said, its repetitions quietly."""
    say = tenant.log.debug if road in unit.hints_after else tenant.log.warning
    say("hints_failed", source=unit.name, road=road, error=str(error), kind=type(error).__name__)
    unit.hints_after[road] = tenant.clock.now() + _PAUSE


def _drop(tenant: Tenant, unit: SourceUnit, error: Exception, count: int) -> None:
    """These records are left to the polls."""
    tenant.log.error("hints_dropped", source=unit.name, count=count, kind=type(error).__name__)
