"""Ask the vendor what became of accepted batches, until it has settled or its time is over."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.errors import BridgeError, Refused
from bridge.loops import trouble
from bridge.loops.guard import contained, told
from bridge.ports import Destination, RowVerdict, Seen
from bridge.states import Move
from bridge.store.ledger import OpenBatch, Shift
from bridge.tenant import DestinationUnit, Progress, Tenant

_MOVES = {Seen.VERIFIED: Move.VERIFY, Seen.UNLINKED: Move.UNLINK, Seen.REJECTED: Move.REFUTE}


async def once(tenant: Tenant, *, force: bool = False) -> Progress:
    """Verify every batch that is due. ``force`` changes nothing about vendors' own delays."""
    progress = Progress()
    failing = await tenant.troubles.failing(trouble.VERIFY)
    for unit in tenant.destinations.values():
        if unit.port is None:
            continue
        result = await contained(tenant, "verify", unit.name, _verify_all(tenant, unit, unit.port))
        await trouble.note(tenant, unit.name, trouble.VERIFY, result)
        if unit.name in failing and await _is_well(tenant, unit, result):
            await trouble.clear(tenant, unit.name, trouble.VERIFY)
        progress += result
    return progress


async def _is_well(tenant: Tenant, unit: DestinationUnit, result: Progress) -> bool:
    """Whether trouble with verifying is over: no batch waits that could not be verified when it was last tried."""
    return not result.problems and not await tenant.troubles.has_failed_batch(unit.name, settled=True)


async def _verify_all(tenant: Tenant, unit: DestinationUnit, port: Destination) -> Progress:
    progress = Progress()
    for batch in await tenant.ledger.open_batches(unit.name, tenant.clock.now(), settled=True):
        if not await _verify(tenant, unit, port, batch, progress):
            break
    return progress


async def _verify(
    tenant: Tenant, unit: DestinationUnit, port: Destination, batch: OpenBatch, progress: Progress
) -> bool:
    """One batch; False when this destination does not answer and the others should wait, too."""
    now, label = tenant.clock.now(), batch.sealed.label
    rows = await tenant.ledger.accepted(batch)
    try:
        verdicts = await port.verify(batch.receipt, rows) if rows else []
    except Refused as error:
        await _settle(tenant, unit, batch, [RowVerdict(row, Seen.UNKNOWN, error.code) for row in rows], progress)
        return True
    except Exception as error:
        if not isinstance(error, BridgeError):
            tenant.log.exception("batch_failed", destination=unit.name, batch=label)
        await tenant.ledger.postpone(batch.sealed, now + port.traits.verify_every, type(error).__name__, settled=True)
        progress.problems.append(told(unit.name, error))
        return False
    if verdicts is not None:
        await _settle(tenant, unit, batch, _whole(rows, verdicts), progress)
    elif batch.answered_at is not None and now - batch.answered_at > port.traits.verify_limit:
        unknown = [RowVerdict(row, Seen.UNKNOWN, "never_confirmed") for row in rows]
        await _settle(tenant, unit, batch, unknown, progress)
    else:
        await tenant.ledger.postpone(batch.sealed, now + port.traits.verify_every, settled=True)
    return True


def _whole(rows: Sequence[str], verdicts: Sequence[RowVerdict]) -> list[RowVerdict]:
    """One verdict for each row that was asked about; of those not named the vendor told nothing."""
    told = {verdict.delivery: verdict for verdict in verdicts}
    return [told.get(row, RowVerdict(row, Seen.UNKNOWN, "not_told")) for row in rows]


async def _settle(
    tenant: Tenant, unit: DestinationUnit, batch: OpenBatch, verdicts: list[RowVerdict], progress: Progress
) -> None:
    shifts = [Shift(v.delivery, _MOVES[v.seen], v.code) for v in verdicts if v.seen in _MOVES]
    remarks = {v.delivery: v.code for v in verdicts if v.seen is Seen.UNKNOWN}
    await tenant.ledger.verified(batch.sealed.label, shifts, tenant.clock.now(), remarks)
    for verdict in verdicts:
        progress.done[verdict.seen] += 1
    tenant.log.info("verified", destination=unit.name, batch=batch.sealed.label, rows=len(verdicts))
