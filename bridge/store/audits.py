"""What vendors count beside what they were sent: the comparison's input, its last result, and when it is due."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import delete, func, insert, select

from bridge.audits import DayCount, Sent
from bridge.frozen import frozen
from bridge.states import DeliveryState
from bridge.store import codec, schema
from bridge.store.codec import micros, moment
from bridge.store.engine import Store

_TAKEN = (DeliveryState.ACCEPTED, DeliveryState.VERIFIED)


@frozen
class AuditReport:
    """The last comparison of a destination; ``error`` says why a newer one failed."""

    audited_at: datetime | None = None
    error: str | None = None
    days: tuple[DayCount, ...] = ()


class Audits:
    """Reads and writes for one tenant. Whoever writes holds its lock."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    async def due(self, destination: str) -> datetime:
        """When the next comparison is due."""
        table = schema.destination_state
        query = select(table.c.audit_due).where(table.c.tenant == self._tenant, table.c.destination == destination)
        async with self._store.read() as connection:
            found = await connection.scalar(query)
        return codec.EPOCH if found is None else moment(found)

    async def report(self, destination: str) -> AuditReport:
        return await report(self._store, self._tenant, destination)

    async def sent(self, destination: str, since: datetime) -> list[Sent]:
        """Conversions that occurred since then and stand accepted there, each once: as first accepted."""
        promised, parent, batch = schema.delivery, schema.conversion, schema.batch
        answered = func.coalesce(batch.c.answered_at, promised.c.updated_at)
        query = (
            select(parent.c.order_key, promised.c.content, answered)
            .select_from(
                promised.join(parent, promised.c.conversion == parent.c.id).outerjoin(
                    batch, promised.c.batch == batch.c.id
                )
            )
            .where(promised.c.tenant == self._tenant, promised.c.destination == destination)
            .where(promised.c.state.in_(_TAKEN), parent.c.occurred_at >= micros(since))
            .order_by(parent.c.revision.desc(), promised.c.id)
        )
        async with self._store.read() as connection:
            revisions: dict[str, list[tuple[Any, int]]] = {}
            for key, data, at in await connection.execute(query):
                revisions.setdefault(key, []).append((data, at))
        return [_sent(found) for found in revisions.values()]

    async def save(
        self,
        destination: str,
        counts: Sequence[DayCount],
        since: date,
        times: tuple[datetime, datetime],
        untold: str | None = None,
    ) -> None:
        """A comparison of all days from ``since`` on.

        ``times``: of it, and of the next; ``untold``: what could not be compared, and why.
        """
        now, due = times
        table = schema.audit
        here = (table.c.tenant == self._tenant, table.c.destination == destination)
        rows = [self._row(destination, count, now) for count in counts]
        async with self._store.write("audit") as connection:
            await connection.execute(delete(table).where(*here, table.c.day >= since.isoformat()))
            if rows:
                await connection.execute(insert(table), rows)
            state = {"audit_due": micros(due), "audited_at": micros(now), "audit_error": untold}
            await connection.execute(
                codec.upsert(self._store.dialect, schema.destination_state, *state),
                {"tenant": self._tenant, "destination": destination, **state},
            )

    async def failed(self, destination: str, error: str, due: datetime) -> None:
        """It could not be done; what was found before stays."""
        state = {"audit_due": micros(due), "audit_error": error}
        async with self._store.write("audit") as connection:
            await connection.execute(
                codec.upsert(self._store.dialect, schema.destination_state, *state),
                {"tenant": self._tenant, "destination": destination, **state},
            )

    def _row(self, destination: str, count: DayCount, now: datetime) -> dict[str, Any]:
        return {
            "tenant": self._tenant,
            "destination": destination,
            "target": count.target,
            "day": count.day.isoformat(),
            "ours": count.ours,
            "theirs": count.theirs,
            "missing": count.missing,
            "open": count.open,
            "is_ours_only": count.is_ours_only,
            "counted_at": micros(now),
        }


def _sent(newest_first: Sequence[tuple[Any, int]]) -> Sent:
    (last, _), (first, at) = newest_first[0], newest_first[-1]
    latest = codec.outgoing(last) if len(newest_first) > 1 else None
    return Sent(codec.outgoing(first), moment(at), latest)


async def report(store: Store, tenant: str, destination: str, since: date | None = None) -> AuditReport:
    """What is known; days from ``since`` on, newest first."""
    table, state = schema.audit, schema.destination_state
    query = select(table).where(table.c.tenant == tenant, table.c.destination == destination)
    if since is not None:
        query = query.where(table.c.day >= since.isoformat())
    about = select(state.c.audited_at, state.c.audit_error).where(
        state.c.tenant == tenant, state.c.destination == destination
    )
    async with store.read() as connection:
        rows = (await connection.execute(query.order_by(table.c.day.desc(), table.c.target))).all()
        found = (await connection.execute(about)).one_or_none()
    days = tuple(map(_count, rows))
    return AuditReport(codec.maybe(found.audited_at), found.audit_error, days) if found else AuditReport(days=days)


def _count(row: Any) -> DayCount:
    day = date.fromisoformat(row.day)
    return DayCount(row.target, day, row.ours, row.theirs, row.missing, row.open, row.is_ours_only)
