"""Moves of deliveries from state to state, each guarded by the state it starts from and told by an event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Insert, Select, and_, bindparam, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bridge.errors import StoreError
from bridge.model import frozen
from bridge.states import DeliveryState, Move, source_of, step
from bridge.store import bulk, codec, schema
from bridge.store.codec import micros


@frozen
class Shift:
    """One delivery's move. ``due`` is when to try again (only for moves to pending)."""

    delivery: str
    move: Move
    code: str = ""
    due: datetime | None = None
    max_rows: int | None = None


# What becomes of a row whose deal was deleted while it was under way, instead of becoming pending again.
INSTEAD = {Move.AGAIN: Move.DROP, Move.RESEND: Move.CANCEL}


async def recalled(connection: AsyncConnection, keys: Sequence[str]) -> set[str]:
    if not keys:
        return set()
    table = schema.delivery
    query = select(table.c.id).where(codec.among(connection.dialect.name, table.c.id, keys), table.c.is_recalled)
    return set((await connection.execute(query)).scalars())


_ONCE = text("'once'")
_AFTER_PENDING = [DeliveryState.SEALED, DeliveryState.ACCEPTED, DeliveryState.VERIFIED, DeliveryState.HELD]


async def followed(connection: AsyncConnection, keys: Sequence[str]) -> set[str]:
    """Those of these deliveries whose conversion was told their destination anew since, by a row that was sent."""
    if not keys:
        return set()
    table, parent = schema.delivery, schema.conversion
    later, above = table.alias("later"), parent.alias("above")
    same = [above.c[name] == parent.c[name] for name in ("tenant", "source", "order_key")]
    of_deal = above.c.deal == parent.c.deal
    of_payment = and_(above.c.occurrence == parent.c.occurrence, above.c.occurrence != _ONCE)  # it may have moved
    found: set[str] = set()
    for is_later in (of_deal, of_payment):  # one after the other: each has an index of its own
        query = (
            select(table.c.id)
            .select_from(
                table.join(parent, table.c.conversion == parent.c.id)
                .join(above, and_(*same, above.c.revision > parent.c.revision, is_later))
                .join(later, and_(later.c.conversion == above.c.id, later.c.destination == table.c.destination))
            )
            .where(codec.among(connection.dialect.name, table.c.id, keys), later.c.state.in_(_AFTER_PENDING))
        )
        found |= set((await connection.execute(query)).scalars())
    return found


async def move_alike(
    connection: AsyncConnection, keys: Sequence[str], like: Shift, now: datetime, batch: str | None
) -> None:
    """The same move of many deliveries, with its events. Lock them first.

    Raises:
        StoreError: one of them is not in the state that the move starts from.
    """
    table = schema.delivery
    before = source_of(like.move)
    after = step(before, like.move)
    values = _columns(like, after, now, batch)
    these = (codec.among(connection.dialect.name, table.c.id, keys), table.c.state == before)
    changed = await connection.execute(update(table).where(*these).values(values))
    expect(len(keys), changed, f"{like.move}: not every delivery was {before}")
    told = event(connection.dialect.name, keys, (micros(now), before.value, after.value, batch, like.code or None))
    await connection.execute(*told)


def event(dialect: str, deliveries: Iterable[str], told: tuple[Any, ...]) -> tuple[Insert, dict[str, Any]]:
    """The same event (at, before, after, batch, code) of each of these deliveries: a statement and its values."""
    return _told(dialect), {**dict(zip(_TOLD, told, strict=True)), "told_of": codec.listed(dialect, deliveries)}


_EVENT = ("at", "before", "after", "batch", "code")
_TOLD = tuple([f"told_{name}" for name in _EVENT])


@lru_cache
def _told(dialect: str) -> Insert:
    table = schema.delivery_event
    told = [bindparam(name, type_=table.c[column].type) for name, column in zip(_TOLD, _EVENT, strict=True)]
    return insert(table).from_select(["delivery", *_EVENT], select(codec.each_named(dialect, "told_of"), *told))


@frozen
class Locked:
    """A delivery as it is, and stays until the transaction ends. ``state``: the text of a ``DeliveryState``."""

    content: bytes
    state: str
    code: str | None


async def lock(connection: AsyncConnection, keys: Iterable[str]) -> dict[str, Locked]:
    """These deliveries, held until the transaction ends."""
    table = schema.delivery
    rows = await _locked(connection, keys, table.c.content, table.c.state, table.c.code)
    return {key: Locked(bytes(content), state, code) for key, content, state, code in rows}


async def hold(connection: AsyncConnection, keys: Iterable[str]) -> None:
    """Hold these deliveries until the transaction ends. SQLite's one writer holds everything anyway."""
    if connection.dialect.name != "sqlite":
        await _locked(connection, keys)


async def _locked(connection: AsyncConnection, keys: Iterable[str], *columns: Column[Any]) -> Sequence[Any]:
    dialect = connection.dialect.name
    return await bulk.fetched(connection, _locking(dialect, columns), {"keys": codec.listed(dialect, keys)})


@lru_cache
def _locking(dialect: str, columns: tuple[Column[Any], ...]) -> Select[*tuple[Any, ...]]:
    """Every writer takes rows in this order: two in different orders would wait for each other."""
    table = schema.delivery
    wanted = codec.among_named(dialect, table.c.id, "keys")
    return select(table.c.id, *columns).where(wanted).order_by(table.c.id).with_for_update()


def _columns(like: Shift, after: DeliveryState, now: datetime, batch: str | None) -> dict[str, Any]:
    values: dict[str, Any] = {"state": after, "updated_at": micros(now), "code": like.code or None}
    if like.move is Move.SEAL:
        values["batch"] = batch
    if after is DeliveryState.PENDING:
        values |= {"attempt": schema.delivery.c.attempt + 1, "due": micros(like.due or now)}
        if like.max_rows is not None:
            values["max_rows"] = like.max_rows
    return values


def expect(count: int, result: Any, message: str) -> None:
    if result.rowcount != count:
        raise StoreError(f"{message} ({result.rowcount} of {count}); another writer?")
