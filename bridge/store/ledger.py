"""Right of the border: promises to the outside world, from the first batch to the last verdict.

Every UPDATE names the state it expects and counts its rows. How promises come into being: ``store.plans``.

Steps of one batch: seal (rows and exact bytes in one transaction), mark (``sending``, committed before the socket is
touched), record (one outcome for every row). Every move is appended to ``delivery_event``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.errors import StoreError
from bridge.frozen import replace
from bridge.model import ConversionKind, Outgoing, frozen
from bridge.ports import Payload, Sealed
from bridge.rules.deal_orders import ORIGINAL_CANCELLED
from bridge.rules.mark import SHOWN
from bridge.rules.plan import DELETED
from bridge.states import BatchState, DeliveryState, Move, source_of, step
from bridge.store import bulk, codec, schema
from bridge.store.codec import micros, moment
from bridge.store.engine import Store
from bridge.store.marks import ask
from bridge.store.moves import INSTEAD, Shift, expect, followed, hold, lock, move_alike, recalled
from bridge.store.turns import Shop, Turns, turns


@frozen
class DueRow:
    """A pending delivery whose time has come. ``refusal``: the code that says why it is not to be sent any more."""

    content: Outgoing
    data: bytes  # the content as stored
    attempt: int
    max_rows: int | None
    planned_at: datetime
    refusal: str = ""


class WithdrawnError(StoreError):
    """Rows were withdrawn since they were read as due; nothing was done. What is due has to be read again."""


# Makes the exact bytes of a batch: ``Destination.render``.
Render = Callable[[Sequence[Outgoing], str], Payload]


@frozen
class OpenBatch:
    """A batch that is not settled: to be sent, repaired or verified."""

    sealed: Sealed
    destination: str
    state: BatchState
    sent_at: datetime | None
    answered_at: datetime | None
    receipt: Mapping[str, str]


@frozen
class Settlement:
    """What recording a batch's answer writes. ``due`` is the first verification, None if there is none.

    ``sealed`` is the batch as last marked or read: an answer to an earlier sending settles nothing.
    """

    sealed: Sealed
    shifts: Sequence[Shift]
    receipt: Mapping[str, str]
    due: datetime | None
    error: str | None = None
    state: BatchState = BatchState.DONE


@frozen
class Verdicts:
    """What verifying a batch writes: ``remarks`` are codes of rows that stay accepted, ``due`` is when to ask again."""

    batch: str
    shifts: Sequence[Shift]
    remarks: Mapping[str, str] = field(default_factory=dict)
    due: datetime | None = None


@lru_cache
def _due() -> Select[bytes, int, int | None, int]:
    """In the order of ``ix_delivery_due``, so that what is due beyond the limit is not looked at.

    Rows that were planned at once come as they lie, side by side; by their ids each would be on another page.
    """
    table = schema.delivery
    here = (table.c.tenant == bindparam("tenant"), table.c.destination == bindparam("destination"))
    return (
        select(table.c.content, table.c.attempt, table.c.max_rows, table.c.planned_at)
        .where(*here, schema.is_pending, table.c.due <= bindparam("now"))
        .order_by(table.c.due, table.c.planned_at)
        .limit(bindparam("most"))
    )


class Ledger:
    """Writes of the right side for one tenant."""

    def __init__(self, store: Store, tenant: str, marked: Collection[str] = ()) -> None:
        """``marked``: sources whose deals are marked with what became of their deliveries."""
        self._store = store
        self._tenant = tenant
        self._marked = marked

    # --- what is due ---

    async def due(self, destination: str, now: datetime, limit: int, apart: timedelta = timedelta(0)) -> list[DueRow]:
        """Pending deliveries due now, oldest first; a restatement is left out while an earlier row is on its way.

        Of the rows of one deal's order at most one comes, and ``apart`` from the one before.
        """
        values = {"tenant": self._tenant, "destination": destination, "now": micros(now), "most": limit}
        async with self._store.read() as connection:
            rows = [
                DueRow(codec.outgoing(data), bytes(data), attempt, most, moment(planned))
                for data, attempt, most, planned in await bulk.fetched(connection, _due(), values)
            ]
            restated = [row for row in rows if row.content.kind is ConversionKind.RESTATEMENT]
            restated = [row for row in restated if row.content.rank is None]
            busy = await self._overtaking(connection, destination, restated)
            moot = await self._cancelled(connection, destination, restated)
            ordered = [row.content for row in rows if row.content.rank is not None]
            told = await turns(connection, Shop(self._tenant, destination, apart), ordered, now)
        free = [row for row in rows if row.content.delivery not in busy | told.busy]
        if moot or ordered:
            return [_seen(row, told, is_moot=row.content.delivery in moot) for row in free]
        return free

    async def _cancelled(self, connection: AsyncConnection, destination: str, restated: Sequence[DueRow]) -> set[str]:
        """Restatements of conversions whose first row was cancelled by a human: what a plan withdraws, it restores."""
        if not restated:
            return set()
        promised, parent = schema.delivery, schema.conversion
        query = (
            select(parent.c.order_key)
            .select_from(promised.join(parent, promised.c.conversion == parent.c.id))
            .where(
                promised.c.tenant == self._tenant,
                promised.c.destination == destination,
                promised.c.state == DeliveryState.CANCELLED,
                parent.c.revision == 0,
                codec.among(connection.dialect.name, parent.c.order_key, {row.content.order_key for row in restated}),
            )
        )
        cancelled = set((await connection.execute(query)).scalars())
        return {row.content.delivery for row in restated if row.content.order_key in cancelled}

    async def _overtaking(self, connection: AsyncConnection, destination: str, restated: Sequence[DueRow]) -> set[str]:
        """Restatements of conversions an earlier row of which is still pending, on the wire or held."""
        if not restated:
            return set()
        promised, parent = schema.delivery, schema.conversion
        query = (
            select(parent.c.order_key, promised.c.id, parent.c.revision)
            .select_from(promised.join(parent, promised.c.conversion == parent.c.id))
            .where(
                promised.c.tenant == self._tenant,
                promised.c.destination == destination,
                promised.c.state.in_([DeliveryState.PENDING, DeliveryState.SEALED, DeliveryState.HELD]),
                codec.among(connection.dialect.name, parent.c.order_key, {row.content.order_key for row in restated}),
            )
        )
        open_rows: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for order_key, delivery, revision in await connection.execute(query):
            open_rows[order_key].append((revision, delivery))
        return {
            row.content.delivery
            for row in restated
            if min(open_rows[row.content.order_key], default=(0, row.content.delivery))[1] != row.content.delivery
        }

    async def open_batches(self, destination: str, now: datetime, *, settled: bool) -> list[OpenBatch]:
        """Due batches: ``settled`` ones (without their bytes) wait for verification, others were left on their way."""
        table = schema.batch
        states = [BatchState.DONE] if settled else [BatchState.SEALED, BatchState.SENDING]
        query = (
            select(*[c for c in table.c if not settled or c is not table.c.body])  # nobody sends what was answered
            .where(
                table.c.tenant == self._tenant,
                table.c.destination == destination,
                table.c.state.in_(states),
                table.c.due <= micros(now),
            )
            .order_by(table.c.due, table.c.sealed_at)
            .limit(500)
        )
        async with self._store.read() as connection:
            return [_open_batch(row) for row in await connection.execute(query)]

    async def accepted(self, batch: OpenBatch) -> list[Outgoing]:
        """Deliveries of this batch that wait for verification, in row order."""
        table = schema.delivery
        async with self._store.read() as connection:
            these = codec.among(connection.dialect.name, table.c.id, batch.sealed.rows)
            is_waiting = (table.c.batch == batch.sealed.label, table.c.state == DeliveryState.ACCEPTED)
            query = select(table.c.id, table.c.content, table.c.attempt).where(these, *is_waiting)
            found = await connection.execute(query)
            waiting = {key: replace(codec.outgoing(data), attempt=attempt) for key, data, attempt in found}
        return [waiting[row] for row in batch.sealed.rows if row in waiting]

    async def destination_due(self, destination: str) -> datetime:
        """When this destination is to be served again."""
        table = schema.destination_state
        query = select(table.c.due).where(table.c.tenant == self._tenant, table.c.destination == destination)
        async with self._store.read() as connection:
            due = await connection.scalar(query)
        return codec.EPOCH if due is None else moment(due)

    async def set_destination_due(self, destination: str, due: datetime) -> None:
        """Set when this destination is to be served again."""
        row = {"tenant": self._tenant, "destination": destination, "due": micros(due)}
        async with self._store.write("destination state") as connection:
            await connection.execute(codec.upsert(self._store.dialect, schema.destination_state, "due"), row)

    async def forget_bodies(self, before: datetime) -> int:
        """Drop the bytes of batches settled before then; the rows, receipts and events stay."""
        table = schema.batch
        async with self._store.write("forget bodies") as connection:
            result = await connection.execute(
                update(table)
                .where(
                    table.c.tenant == self._tenant,
                    table.c.due.is_(None),
                    table.c.answered_at < micros(before),
                    func.length(table.c.body) > 0,
                )
                .values(body=b"")
            )
            return int(result.rowcount)

    # --- the five steps ---

    async def seal(self, destination: str, label: str, rows: Sequence[DueRow], render: Render, now: datetime) -> Sealed:
        """Take these pending rows and store their batch with its exact bytes, in one transaction.

        Contents are read again under the transaction's lock: the value sent is the one polling stored last.

        Raises:
            WithdrawnError: one of the rows was withdrawn since; nothing was sealed.
            StoreError: one of the rows is no longer pending; nothing was sealed.
        """
        async with self._store.write("seal") as connection:
            contents = await self._locked(connection, rows)
            # Pauses grow with the attempts of the rows, whichever batch they are in.
            attempt = max((row.attempt for row in rows), default=0)
            sealed = Sealed(label, render(contents, label), tuple(content.delivery for content in contents), attempt)
            await connection.execute(
                insert(schema.batch),
                {
                    "id": label,
                    "tenant": self._tenant,
                    "destination": destination,
                    "state": BatchState.SEALED,
                    "rows": codec.encode(sealed.rows),
                    "body": sealed.payload.body,
                    "content_type": sealed.payload.content_type,
                    "attempt": attempt,
                    "sealed_at": micros(now),
                    "due": micros(now),
                },
            )
            await self._move(connection, [Shift(row, Move.SEAL) for row in sealed.rows], now, label)
        return sealed

    async def _locked(self, connection: AsyncConnection, rows: Sequence[DueRow]) -> list[Outgoing]:
        """The rows' contents as they are now, and no longer change until the transaction ends."""
        stored = await lock(connection, [row.content.delivery for row in rows])
        contents = []
        for row in rows:
            now = stored.get(row.content.delivery)
            if now is not None and now.state == DeliveryState.CANCELLED:
                raise WithdrawnError(f"delivery {row.content.delivery} was withdrawn")
            data = row.data if now is None else now.content
            content = row.content if data == row.data else codec.outgoing(data)
            contents.append(content if content.attempt == row.attempt else replace(content, attempt=row.attempt))
        return contents

    async def mark(self, sealed: Sealed, now: datetime, due: datetime) -> Sealed:
        """Commit that the bytes are about to leave. ``due``: when to repair if no answer is recorded.

        Every mark counts the attempt up and names the one it found, so of two processes that read the same batch only
        one gets to send it: a lock can be lost unnoticed, a row cannot.

        Returns:
            The batch as it is now, to record its answer with.

        Raises:
            StoreError: it was marked or recorded since the caller read it; do not send.
        """
        table = schema.batch
        values = {"state": BatchState.SENDING, "sent_at": micros(now), "due": micros(due)}
        async with self._store.write("mark") as connection:
            statement = update(table).where(*_as_read(sealed)).values(**values, attempt=sealed.attempt + 1)
            expect(1, await connection.execute(statement), f"batch {sealed.label} is not as it was read")
        return replace(sealed, attempt=sealed.attempt + 1)

    async def record(self, settlement: Settlement, now: datetime) -> None:
        """Store the receipt and one outcome for every row, in one transaction.

        Raises:
            StoreError: recorded already, or sent again since, or a row has no outcome or two; nothing was written.
        """
        label = settlement.sealed.label
        async with self._store.write("record") as connection:
            await self._expect_every_row(connection, settlement)
            await hold(connection, settlement.sealed.rows)
            statement = (
                update(schema.batch)
                .where(*_as_read(settlement.sealed))
                .values(
                    state=settlement.state,
                    answered_at=micros(now),
                    receipt=codec.encode(settlement.receipt),
                    due=None if settlement.due is None else micros(settlement.due),
                    error=settlement.error,
                )
            )
            expect(1, await connection.execute(statement), f"batch {label} is recorded or was sent again")
            await self._move(connection, settlement.shifts, now, label)

    async def _expect_every_row(self, connection: AsyncConnection, settlement: Settlement) -> None:
        label = settlement.sealed.label
        query = select(schema.batch.c.rows).where(schema.batch.c.id == label)
        rows = codec.texts(await connection.scalar(query) or b"[]")
        if sorted(shift.delivery for shift in settlement.shifts) != sorted(rows):
            raise StoreError(f"batch {label}: an outcome for each of its {len(rows)} rows is needed")

    async def postpone(self, sealed: Sealed, due: datetime, error: str | None = None, *, settled: bool = False) -> None:
        """Look at this batch again later. ``error``: what went wrong with it, if anything did.

        ``sealed`` is the batch as last marked or read; ``settled``: its answer is recorded, it waits for verification.

        Raises:
            StoreError: it was sent again or recorded since, or verified; its time is what that made it.
        """
        table = schema.batch
        as_read = _as_answered(sealed) if settled else _as_read(sealed)
        async with self._store.write("postpone") as connection:
            statement = update(table).where(*as_read, table.c.due.is_not(None))
            changed = await connection.execute(statement.values(due=micros(due), error=error))
            expect(1, changed, f"batch {sealed.label} is not as it was read")

    async def verified(self, verdicts: Verdicts, now: datetime) -> None:
        """Store what the vendor said of a batch's rows, and when to ask about the others.

        A row that a later one of its conversion has followed is not sent again: it would undo the correction. It stays
        accepted, with the code; so does one whose deal was deleted while it was on its way.
        """
        table, promised = schema.batch, schema.delivery
        values = {"due": None if verdicts.due is None else micros(verdicts.due), "error": None}
        async with self._store.write("verify") as connection:
            await connection.execute(update(table).where(table.c.id == verdicts.batch).values(values))
            redone = [shift.delivery for shift in verdicts.shifts if shift.move is Move.REDO]
            final = await followed(connection, redone) | await recalled(connection, redone)
            shifts = [shift for shift in verdicts.shifts if shift.move is not Move.REDO or shift.delivery not in final]
            await self._move(connection, shifts, now, verdicts.batch)
            told = {shift.delivery: shift.code for shift in verdicts.shifts if shift.delivery in final}
            if rows := [{"key": key, "remark": code} for key, code in {**verdicts.remarks, **told}.items()]:
                remark = update(promised).where(promised.c.id == bindparam("key")).values(code=bindparam("remark"))
                await connection.execute(remark, rows)

    # --- single moves ---

    async def move(self, shifts: Sequence[Shift], now: datetime) -> int:
        """Moves outside of a batch: expire, refuse, resolve.

        Returns:
            How many were cancelled instead of becoming pending: their deal has been deleted meanwhile.
        """
        if not shifts:
            return 0
        async with self._store.write("move") as connection:
            await hold(connection, [shift.delivery for shift in shifts])
            return await self._move(connection, shifts, now, None)

    async def wait(self, until: Mapping[str, tuple[datetime, str]]) -> None:
        """Pending rows that may not be sent yet: their new due time and the reason."""
        table = schema.delivery
        if not until:
            return
        statement = (
            update(table)
            .where(table.c.id == bindparam("key"), table.c.state == DeliveryState.PENDING)
            .values(due=bindparam("until"), code=bindparam("why"))
        )
        rows = [{"key": key, "until": micros(due), "why": why} for key, (due, why) in sorted(until.items())]
        async with self._store.write("wait") as connection:
            await connection.execute(statement, rows)

    async def held(self, keys: Sequence[str]) -> dict[str, str | None]:
        """Which of these deliveries are held, with the batch each was in."""
        table = schema.delivery
        async with self._store.read() as connection:
            query = select(table.c.id, table.c.batch).where(
                table.c.tenant == self._tenant,
                codec.among(connection.dialect.name, table.c.id, keys),
                table.c.state == DeliveryState.HELD,
            )
            return {row.id: row.batch for row in await connection.execute(query)}

    async def _move(
        self, connection: AsyncConnection, shifts: Sequence[Shift], now: datetime, batch: str | None
    ) -> int:
        called_back = await recalled(connection, [shift.delivery for shift in shifts if shift.move in INSTEAD])
        groups: dict[tuple[Move, str, datetime | None, int | None], list[str]] = defaultdict(list)
        for shift in shifts:
            if shift.delivery in called_back:
                groups[INSTEAD[shift.move], DELETED, None, None].append(shift.delivery)
            else:
                groups[shift.move, shift.code, shift.due, shift.max_rows].append(shift.delivery)
        for (move, code, due, most), keys in groups.items():
            await move_alike(connection, keys, Shift("", move, code, due, most), now, batch)
            if self._marked and {source_of(move), step(source_of(move), move)} & SHOWN:
                await ask(connection, self._tenant, self._marked, keys, now)
        return len(called_back)


def _seen(row: DueRow, told: Turns, *, is_moot: bool) -> DueRow:
    key = row.content.delivery
    content = row.content if key not in told.follows else replace(row.content, follows=True)
    refusal = told.refused.get(key) or (ORIGINAL_CANCELLED if is_moot else "")
    return replace(row, content=content, refusal=refusal)


def _as_read(sealed: Sealed) -> tuple[ColumnElement[bool], ...]:
    """Still without an answer, and not sent since the caller read or marked it."""
    table = schema.batch
    is_open = table.c.state.in_([BatchState.SEALED, BatchState.SENDING])
    return table.c.id == sealed.label, is_open, table.c.attempt == sealed.attempt


def _as_answered(sealed: Sealed) -> tuple[ColumnElement[bool], ...]:
    """With the answer to the very sending that the caller knows of."""
    table = schema.batch
    return table.c.id == sealed.label, table.c.state == BatchState.DONE, table.c.attempt == sealed.attempt


def _open_batch(row: Any) -> OpenBatch:
    payload = Payload(bytes(getattr(row, "body", b"")), row.content_type)
    sealed = Sealed(row.id, payload, tuple(codec.texts(row.rows)), row.attempt)
    state, receipt = BatchState(row.state), codec.mapping(row.receipt)
    return OpenBatch(sealed, row.destination, state, codec.maybe(row.sent_at), codec.maybe(row.answered_at), receipt)
