"""Repair by proof what a crash or a lost answer left open.

``sealed``: nothing was sent, go on. ``sending``: ROW sends the same bytes again; TAG looks the label up (there: record
it; absent longer than the vendor's visibility delay: send again); NONE holds, or does what the config chose.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from bridge.errors import BridgeError
from bridge.loops import deliver, trouble
from bridge.loops.guard import contained, told
from bridge.ports import Destination, Proof
from bridge.states import BatchState, Move
from bridge.store.ledger import OpenBatch, Settlement
from bridge.store.moves import Shift
from bridge.tenant import DestinationUnit, Progress, Tenant

_CHECK_AGAIN = timedelta(minutes=1)


async def once(tenant: Tenant) -> Progress:
    """Repair every open batch that is due."""
    progress = Progress()
    for unit in tenant.destinations.values():
        if unit.port is None:
            continue
        async with unit.busy:
            result = await contained(tenant, "reconcile", unit.name, _repair_all(tenant, unit, unit.port))
        await trouble.note(tenant, unit.name, trouble.SEND, result)  # deliver says when it is over
        progress += result
    return progress


async def _repair_all(tenant: Tenant, unit: DestinationUnit, port: Destination) -> Progress:
    progress = Progress()
    for batch in await tenant.ledger.open_batches(unit.name, tenant.clock.now(), settled=False):
        try:
            await _repair(tenant, unit, port, batch, progress)
        except Exception as error:
            # One batch that cannot be repaired does not hold up the others, nor what waits behind them.
            tenant.log.exception("batch_failed", destination=unit.name, batch=batch.sealed.label)
            progress.problems.append(told(unit.name, error))
            with suppress(BridgeError):
                due = tenant.clock.now() + deliver.pause(tenant, batch.sealed.attempt)
                await tenant.ledger.postpone(batch.sealed, due, type(error).__name__)
    return progress


async def _repair(
    tenant: Tenant, unit: DestinationUnit, port: Destination, batch: OpenBatch, progress: Progress
) -> None:
    tenant.log.info(
        "batch_reconciled", destination=unit.name, batch=batch.sealed.label, state=batch.state, proof=port.traits.proof
    )
    if batch.state is BatchState.SEALED or port.traits.proof is Proof.ROW:
        await _send(tenant, unit, port, batch, progress)
    elif port.traits.proof is Proof.TAG:
        await _look_up(tenant, unit, port, batch, progress)
    else:
        await _unprovable(tenant, unit, port, batch, progress)


async def _send(tenant: Tenant, unit: DestinationUnit, port: Destination, batch: OpenBatch, progress: Progress) -> None:
    progress.done["reconciled"] += 1
    await deliver.send(tenant, unit, port, batch.sealed, progress)


async def _look_up(
    tenant: Tenant, unit: DestinationUnit, port: Destination, batch: OpenBatch, progress: Progress
) -> None:
    assert batch.sent_at is not None
    now = tenant.clock.now()
    try:
        found = await port.lookup(batch.sealed, batch.sent_at)
        answer = None if found is None else deliver.whole(batch.sealed, found)
    except BridgeError as error:
        due = now + deliver.pause(tenant, batch.sealed.attempt)
        await tenant.ledger.postpone(batch.sealed, due, type(error).__name__)
        progress.problems.append(f"{unit.name}: {type(error).__name__}: {error}")
        return
    visible_at = batch.sent_at + port.traits.visibility
    if answer is not None:
        progress.done["reconciled"] += 1
        await deliver.record(tenant, unit, port, deliver.Recorded(batch.sealed, answer), progress)
    elif now >= visible_at:
        await _send(tenant, unit, port, batch, progress)
    else:
        await tenant.ledger.postpone(batch.sealed, min(visible_at, now + _CHECK_AGAIN))


async def _unprovable(
    tenant: Tenant, unit: DestinationUnit, port: Destination, batch: OpenBatch, progress: Progress
) -> None:
    choice = unit.settings.when_unsure
    if choice == "resend":
        await _send(tenant, unit, port, batch, progress)
        return
    rows = batch.sealed.rows
    if choice == "drop":
        shifts, state = [Shift(row, Move.DROP, "dropped_when_unsure") for row in rows], BatchState.DONE
    else:
        shifts, state = [Shift(row, Move.HOLD, "answer_lost") for row in rows], BatchState.HELD
    settlement = Settlement(batch.sealed, shifts, {}, None, "no proof", state)
    await tenant.ledger.record(settlement, tenant.clock.now())
    progress.done["cancelled" if choice == "drop" else "held"] += len(rows)
    event = "batch_dropped" if choice == "drop" else "batch_held"
    tenant.log.warning(event, destination=unit.name, batch=batch.sealed.label, rows=len(rows))
