"""Rotating tokens, committed before they are used, and renewed by one process at a time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from sqlalchemy import select

from bridge.store import codec, schema
from bridge.store.engine import Store
from bridge.tools import Clock, Tokens


class DatabaseTokens:
    """The ``TokenStore`` of an installation."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def load(self, account: str, seed: str) -> Tokens | None:
        table = schema.token
        async with self._store.read() as connection:
            query = select(table.c.tokens).where(table.c.account == account, table.c.seed == seed)
            data = await connection.scalar(query)
        return None if data is None else codec.tokens(data)

    async def save(self, account: str, seed: str, tokens: Tokens) -> None:
        row = {
            "account": account,
            "seed": seed,
            "tokens": codec.encode(tokens),
            "saved_at": codec.micros(self._clock.now()),
        }
        dialect = "sqlite" if self._store.is_sqlite else "postgresql"
        async with self._store.write("token") as connection:
            await connection.execute(codec.upsert(dialect, schema.token, "seed", "tokens", "saved_at"), row)

    def lock(self, account: str) -> AbstractAsyncContextManager[None]:
        return self._locked(account)

    @asynccontextmanager
    async def _locked(self, account: str) -> AsyncIterator[None]:
        async with self._locks[account], self._store.account_lock(account):
            yield
