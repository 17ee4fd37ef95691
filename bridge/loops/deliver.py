"""Send what is due: seal, mark, send, record. One attempt per batch; a lost answer is left to ``reconcile``.

Destinations take turns: one whose vendor takes a message a second gives way after a while, with the rest still due.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bridge.errors import (
    Ambiguous,
    AuthError,
    BridgeError,
    Drift,
    Refused,
    RowRejected,
    StoreError,
    Throttled,
    Unavailable,
)
from bridge.identity import batch_id
from bridge.loops import trouble, unread
from bridge.loops.clocks import is_due
from bridge.loops.guard import contained, told
from bridge.model import frozen
from bridge.ports import Admission, Answer, Destination, Fate, Pass, RowOutcome, Sealed
from bridge.states import Move
from bridge.store.ledger import DueRow, Settlement, WithdrawnError
from bridge.store.moves import Shift
from bridge.tenant import DestinationUnit, Progress, Tenant

_LOOK_AHEAD = 4_000  # due rows considered at once
_SLICE = 10.0  # seconds after which a destination gives way; in real time, as vendors' limits are
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=6)
AUTH_PAUSE = timedelta(minutes=15)
SETUP_PAUSE = timedelta(hours=1)
# Codes of what came back since credentials or settings are wrong: with new ones it need not wait for its pause.
MENDED_BY_PEOPLE = ("autherror", "stoppederror", "configerror")


async def once(tenant: Tenant, *, force: bool = False) -> Progress:
    """Send everything due at every destination that is due."""
    progress = await turn(tenant, force=force)
    while progress.unfinished:
        progress.unfinished.clear()
        progress += await turn(tenant, force=force)
    return progress


async def turn(tenant: Tenant, *, force: bool = False, most: float = _SLICE) -> Progress:
    """Send what is due at every destination that is due, each for about so many seconds at ``most``.

    One that fails does not hold up the others. One that has more to send stays due (``Progress.unfinished``).
    """
    progress = Progress()
    failing = await tenant.troubles.failing(trouble.SEND)
    for unit in tenant.destinations.values():
        due = await tenant.ledger.destination_due(unit.name)
        if not force and not is_due(due, unit.settings.send_every, tenant.clock.now()):
            continue
        if unit.port is None:
            result = Progress(problems=[f"{unit.name}: {unit.error}"])
        else:
            async with unit.busy:
                result = await contained(tenant, "deliver", unit.name, _send_due(tenant, unit, unit.port, most))
        if (result.done or result.problems) and not result.unfinished:
            await tenant.ledger.set_destination_due(unit.name, tenant.clock.now() + unit.settings.send_every)
        await trouble.note(tenant, unit.name, trouble.SEND, result)
        if unit.name in failing and await _is_well(tenant, unit, result):
            await trouble.clear(tenant, unit.name, trouble.SEND)
        progress += result
    return progress


async def _is_well(tenant: Tenant, unit: DestinationUnit, result: Progress) -> bool:
    """Whether trouble with sending is over: nothing fails, and something was answered or nothing waits to be tried.

    A turn with nothing to do proves nothing: what failed may just not be due again.
    """
    if result.problems or await tenant.troubles.has_failed_batch(unit.name, settled=False):
        return False
    # A rejected row may have been refused at home: that tells nothing of the vendor.
    is_answered = any(result.done[fate] for fate in Fate if fate is not Fate.REJECTED)
    return is_answered or not await tenant.troubles.has_returned_row(unit.name)


# Rows that may share a batch, by the destination's key for them and the most that a split left.
_Alike = Mapping[tuple[str, int | None], list[DueRow]]


@dataclass(slots=True)
class _Faults:
    """Rows at which the adapter itself failed, by delivery.

    As long as it manages others, the fault is with the row, which is rejected; when it manages none, the fault is the
    adapter's: all stay as they are, and the destination is in trouble. A row it rejects by name is rejected.
    """

    code: str
    errors: dict[str, Exception] = field(default_factory=dict)
    managed: int = 0

    async def settle(self, tenant: Tenant, unit: DestinationUnit, progress: Progress) -> None:
        shifts = []
        for key, error in self.errors.items():
            if isinstance(error, RowRejected) or self.managed:
                code = error.code if isinstance(error, RowRejected) else self.code
                shifts.append(Shift(key, Move.REFUSE, code))
        await _move(tenant, shifts, progress)
        bugs = [(key, error) for key, error in self.errors.items() if not isinstance(error, RowRejected)]
        for key, error in bugs[:1]:  # the others will hardly tell more
            where = {"destination": unit.name, "delivery": key, "code": self.code}
            event = "delivery_rejected" if self.managed else "loop_failed"
            tenant.log.exception(event, **where, exc_info=error)
            if not self.managed:
                progress.problems.append(told(unit.name, error))


@dataclass(slots=True)
class _Slice(Progress):
    """The progress of one destination, which gives way at ``until``, by the event loop's clock."""

    until: float = 0.0

    @property
    def is_over(self) -> bool:
        return asyncio.get_running_loop().time() >= self.until


async def _send_due(tenant: Tenant, unit: DestinationUnit, port: Destination, most: float) -> Progress:
    progress = _Slice(until=asyncio.get_running_loop().time() + most)
    while await _send_some(tenant, unit, port, progress):
        if progress.is_over:
            progress.unfinished.add(unit.name)
            break
    return progress


async def _send_some(tenant: Tenant, unit: DestinationUnit, port: Destination, progress: _Slice) -> bool:
    """The oldest due rows; whether to look for more. They are forgotten before the next ones are read."""
    orders = port.traits.deal_orders
    apart = timedelta(0) if orders is None else orders.apart
    rows = await tenant.ledger.due(unit.name, tenant.clock.now(), _LOOK_AHEAD, apart)
    if not rows:
        return False
    ready = await _admit(tenant, unit, port, rows, progress)
    if not progress.problems:
        await _send_ready(tenant, unit, port, ready, progress)
    return not progress.problems and (len(rows) == _LOOK_AHEAD or bool(ready))


async def _send_ready(
    tenant: Tenant, unit: DestinationUnit, port: Destination, ready: _Alike, progress: _Slice
) -> None:
    faults = _Faults("render_failed")
    for group in _groups(port, ready):
        async with aclosing(_sealed(tenant, unit, port, group, faults)) as batches:
            async for sealed in batches:
                faults.managed += 1
                await send(tenant, unit, port, sealed, progress)
                if progress.problems or progress.is_over:
                    break
        if progress.problems or (progress.is_over and faults.managed):  # else faults of rows would be the adapter's
            break
    await faults.settle(tenant, unit, progress)


async def _admit(
    tenant: Tenant, unit: DestinationUnit, port: Destination, rows: Sequence[DueRow], progress: Progress
) -> _Alike:
    """The rows that may go now; the others wait, expire or are refused, each with its reason."""
    now = tenant.clock.now()
    ready: dict[tuple[str, int | None], list[DueRow]] = defaultdict(list)
    waiting: dict[str, tuple[datetime, str]] = {}
    shifts: list[Shift] = []
    faults = _Faults("admit_failed")
    unknown = await unread.waiting(tenant, port, rows, now)
    for row in rows:
        key = row.content.delivery
        if now - row.planned_at > port.traits.give_up_after:
            shifts.append(Shift(key, Move.EXPIRE, "gave_up"))
            continue
        if row.refusal:
            shifts.append(Shift(key, Move.REFUSE, row.refusal))
            continue
        try:
            admission = port.admit(row.content, now)
            if admission.verdict is Pass.SEND and _may_wait(port, row, unknown.get(key)):
                admission = Admission(Pass.WAIT, unread.CODE, unknown[key])
            if admission.verdict is Pass.SEND:
                ready[port.batch_key(row.content), row.max_rows].append(row)
        except Exception as error:
            faults.errors[key] = error
            continue
        faults.managed += 1
        if admission.verdict is Pass.WAIT:
            waiting[key] = (max(admission.until or now, now + timedelta(seconds=1)), admission.code)
        elif admission.verdict is not Pass.SEND:
            move = Move.EXPIRE if admission.verdict is Pass.EXPIRED else Move.REFUSE
            shifts.append(Shift(key, move, admission.code))
    await tenant.ledger.wait(waiting)
    await _move(tenant, shifts, progress)
    await faults.settle(tenant, unit, progress)
    return ready


def _may_wait(port: Destination, row: DueRow, until: datetime | None) -> bool:
    """Whether a row is to wait, and is still taken afterwards."""
    return until is not None and port.admit(row.content, until).verdict is Pass.SEND


async def _move(tenant: Tenant, shifts: Sequence[Shift], progress: Progress) -> None:
    """Rows that will not be sent."""
    await tenant.ledger.move(shifts, tenant.clock.now())
    for shift in shifts:
        progress.done["expired" if shift.move is Move.EXPIRE else "rejected"] += 1
        event = "delivery_expired" if shift.move is Move.EXPIRE else "delivery_rejected"
        tenant.log.info(event, delivery=shift.delivery, code=shift.code)


def _groups(port: Destination, alike: _Alike) -> Iterable[list[DueRow]]:
    """Batches: rows that may share one, no more than the destination wants or a split left."""
    if not alike:
        return
    size = max(port.batch_size(sum(map(len, alike.values()))), 1)
    for (_, most), members in alike.items():
        step = min(size, most or size)
        for start in range(0, len(members), step):
            yield members[start : start + step]


async def _sealed(
    tenant: Tenant, unit: DestinationUnit, port: Destination, group: Sequence[DueRow], faults: _Faults
) -> AsyncGenerator[Sealed, None]:
    """The group as a batch; in halves when it cannot be rendered, until the rows that cannot be are left alone."""
    try:
        sealed = await _seal(tenant, unit, port, group)
    except WithdrawnError:
        return  # the others are read again
    except StoreError:
        raise
    except Exception as error:
        if len(group) == 1:
            faults.errors[group[0].content.delivery] = error
            return
    else:
        yield sealed
        return
    half = len(group) // 2
    for part in (group[:half], group[half:]):
        async with aclosing(_sealed(tenant, unit, port, part, faults)) as batches:
            async for sealed in batches:
                yield sealed


async def _seal(tenant: Tenant, unit: DestinationUnit, port: Destination, group: Sequence[DueRow]) -> Sealed:
    label = batch_id(f"{tenant.name}/{unit.name}", [(row.content.delivery, row.attempt) for row in group])
    sealed = await tenant.ledger.seal(unit.name, label, group, port.render, tenant.clock.now())
    tenant.log.debug("batch_sealed", destination=unit.name, batch=label, rows=len(group))
    return sealed


async def send(tenant: Tenant, unit: DestinationUnit, port: Destination, sealed: Sealed, progress: Progress) -> None:
    """Mark, send, record one sealed batch; what cannot be recorded stays ``sending`` for reconcile.

    Raises:
        StoreError: somebody else sent it since it was read; nothing left.
    """
    now = tenant.clock.now()
    sealed = await tenant.ledger.mark(sealed, now, now)
    try:
        answer = whole(sealed, await port.send(sealed))
    except (Ambiguous, Drift) as error:
        await _in_doubt(tenant, unit, sealed, error)
        progress.done["in_doubt"] += 1
        return
    except BridgeError as error:
        await _release(tenant, sealed, error)
        progress.problems.append(f"{unit.name}: {type(error).__name__}: {error}")
        return
    except Exception as error:
        # Whatever went wrong here, the bytes may have left: only proof may decide.
        tenant.log.exception("batch_failed", destination=unit.name, batch=sealed.label)
        await _in_doubt(tenant, unit, sealed, error)
        progress.problems.append(f"{unit.name}: {type(error).__name__}")
        return
    try:
        await record(tenant, unit, port, Recorded(sealed, answer), progress)
    except StoreError:
        raise
    except Exception as error:  # an answer that cannot be written down: asked for again ever more slowly
        await _in_doubt(tenant, unit, sealed, error)
        raise


def whole(sealed: Sealed, answer: Answer) -> Answer:
    """An answer that does not name every row exactly once is unknown, never success."""
    if sorted(outcome.delivery for outcome in answer.outcomes) != sorted(sealed.rows):
        raise Drift("the answer does not name every row of the batch")
    return answer


@frozen
class Recorded:
    sealed: Sealed
    answer: Answer


async def record(tenant: Tenant, unit: DestinationUnit, port: Destination, what: Recorded, progress: Progress) -> None:
    """Commit one outcome for every row of a batch, and when to verify it."""
    now = tenant.clock.now()
    sealed, answer = what.sealed, what.answer
    rows = len(sealed.rows)
    # When nothing at all became of a batch, trying again at once would only turn in a circle.
    is_stuck = all(outcome.fate is Fate.AGAIN for outcome in answer.outcomes)
    again = now + pause(tenant, sealed.attempt) if is_stuck else now
    shifts = [_shift(outcome, rows, again) for outcome in answer.outcomes]
    is_accepted = any(outcome.fate is Fate.ACCEPTED for outcome in answer.outcomes)
    first = port.traits.verify_first
    due = now + first if is_accepted and first is not None else None
    await tenant.ledger.record(Settlement(sealed, shifts, answer.receipt, due), now)
    for outcome in answer.outcomes:
        progress.done[outcome.fate] += 1
        if outcome.fate is Fate.REJECTED:
            tenant.log.warning("delivery_rejected", destination=unit.name, delivery=outcome.delivery, code=outcome.code)
    tenant.log.info("batch_sent", destination=unit.name, batch=sealed.label, rows=rows)


def _shift(outcome: RowOutcome, rows: int, again: datetime) -> Shift:
    if outcome.fate is Fate.ACCEPTED:
        return Shift(outcome.delivery, Move.ACCEPT, outcome.code)
    if outcome.fate is Fate.SPLIT and rows > 1:
        return Shift(outcome.delivery, Move.AGAIN, outcome.code or "split", again, rows // 2)
    if outcome.fate is Fate.AGAIN:
        return Shift(outcome.delivery, Move.AGAIN, outcome.code, outcome.not_before or again)
    return Shift(outcome.delivery, Move.REJECT, outcome.code or "row_refused")


async def _in_doubt(tenant: Tenant, unit: DestinationUnit, sealed: Sealed, error: Exception) -> None:
    """The answer is lost: the batch stays ``sending``; repair begins soon, then ever more slowly."""
    due = tenant.clock.now() + pause(tenant, sealed.attempt)
    await tenant.ledger.postpone(sealed, due, type(error).__name__)
    tenant.log.warning("batch_in_doubt", destination=unit.name, batch=sealed.label, error=type(error).__name__)


async def _release(tenant: Tenant, sealed: Sealed, error: BridgeError) -> None:
    """Certainly not applied: the rows are pending again, later."""
    now = tenant.clock.now()
    code = error.code if isinstance(error, Refused) else type(error).__name__.lower()
    due = now + _release_pause(tenant, sealed, error)
    shifts = [Shift(row, Move.AGAIN, code, due) for row in sealed.rows]
    await tenant.ledger.record(Settlement(sealed, shifts, {}, None, type(error).__name__), now)


def _release_pause(tenant: Tenant, sealed: Sealed, error: BridgeError) -> timedelta:
    if isinstance(error, AuthError):
        return AUTH_PAUSE
    if isinstance(error, Throttled) and error.retry_after is not None:
        return timedelta(seconds=error.retry_after)
    if isinstance(error, Throttled | Unavailable | StoreError):
        return pause(tenant, sealed.attempt)
    return SETUP_PAUSE


def pause(tenant: Tenant, attempt: int) -> timedelta:
    """How long to wait after so many sendings: exponential with full jitter.

    Somewhere between a tenth of and the whole of 30 s (after the first), 1 min, 2 min, ... 6 h.
    """
    ceiling: timedelta = min(_FIRST_PAUSE * 2 ** min(max(attempt - 1, 0), 12), _LONGEST_PAUSE)
    return ceiling * tenant.random.uniform(0.1, 1.0)
