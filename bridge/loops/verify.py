"""Ask the vendor what became of accepted batches, until it has settled or its time is over."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.errors import BridgeError, Refused
from bridge.loops import trouble
from bridge.loops.guard import contained, told
from bridge.model import Outgoing
from bridge.ports import Accepted, Destination, RowVerdict, Seen
from bridge.states import Move
from bridge.store.ledger import OpenBatch, Verdicts
from bridge.store.moves import Shift
from bridge.tenant import DestinationUnit, Progress, Tenant

_MOVES = {Seen.VERIFIED: Move.VERIFY, Seen.UNLINKED: Move.UNLINK, Seen.REJECTED: Move.REFUTE, Seen.AGAIN: Move.REDO}


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
    assert batch.answered_at is not None, "a batch is settled by its answer"
    try:
        verdicts = await port.verify(Accepted(batch.receipt, tuple(rows), batch.answered_at)) if rows else []
    except Refused as error:
        await _settle(tenant, port, batch, _all(rows, Seen.UNKNOWN, error.code), progress)
        return True
    except Exception as error:
        if not isinstance(error, BridgeError):
            tenant.log.exception("batch_failed", destination=unit.name, batch=label)
        await tenant.ledger.postpone(batch.sealed, now + port.traits.verify_every, type(error).__name__, settled=True)
        progress.problems.append(told(unit.name, error))
        return False
    told_all = _all(rows, Seen.LATER) if verdicts is None else _whole(rows, verdicts)
    if now - batch.answered_at > port.traits.verify_limit:
        told_all = [_given_up(verdict) for verdict in told_all]
    await _settle(tenant, port, batch, told_all, progress)
    return True


def _all(rows: Sequence[Outgoing], seen: Seen, code: str = "") -> list[RowVerdict]:
    return [RowVerdict(row.delivery, seen, code) for row in rows]


def _whole(rows: Sequence[Outgoing], verdicts: Sequence[RowVerdict]) -> list[RowVerdict]:
    """One verdict for each row that was asked about; of those not named the vendor told nothing."""
    told = {verdict.delivery: verdict for verdict in verdicts}
    return [told.get(row.delivery, RowVerdict(row.delivery, Seen.UNKNOWN, "not_told")) for row in rows]


def _given_up(verdict: RowVerdict) -> RowVerdict:
    return RowVerdict(verdict.delivery, Seen.UNKNOWN, "never_confirmed") if verdict.seen is Seen.LATER else verdict


async def _settle(
    tenant: Tenant, port: Destination, batch: OpenBatch, verdicts: Sequence[RowVerdict], progress: Progress
) -> None:
    """Store what was said; a batch some of whose rows are still open is looked at again."""
    now = tenant.clock.now()
    settled = [verdict for verdict in verdicts if verdict.seen is not Seen.LATER]
    is_open = len(settled) < len(verdicts)
    shifts = [Shift(v.delivery, _MOVES[v.seen], v.code, v.not_before, v.max_rows) for v in settled if v.seen in _MOVES]
    remarks = {v.delivery: v.code for v in settled if v.seen is Seen.UNKNOWN}
    due = now + port.traits.verify_every if is_open else None
    await tenant.ledger.verified(Verdicts(batch.sealed.label, shifts, remarks, due), now)
    for verdict in settled:
        progress.done[verdict.seen] += 1
    if settled or not is_open:
        tenant.log.info("verified", destination=batch.destination, batch=batch.sealed.label, rows=len(settled))
