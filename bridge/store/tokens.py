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
        async with self._store.write("token") as connection:
            await connection.execute(codec.upsert(self._store.dialect, schema.token, "seed", "tokens", "saved_at"), row)

    def lock(self, account: str) -> AbstractAsyncContextManager[None]:
        return self._locked(account)

    @asynccontextmanager
    async def _locked(self, account: str) -> AsyncIterator[None]:
        async with self._locks[account], self._store.account_lock(account):
            yield


class TokensOnDemand:
    """A ``TokenStore`` over a database that does not exist yet: made when the first token has to be kept."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._store: Store | None = None
        self._made: DatabaseTokens | None = None
        self._making = asyncio.Lock()

    async def load(self, account: str, seed: str) -> Tokens | None:
        return None if self._made is None else await self._made.load(account, seed)

    async def save(self, account: str, seed: str, tokens: Tokens) -> None:
        await (await self._real()).save(account, seed, tokens)

    def lock(self, account: str) -> AbstractAsyncContextManager[None]:
        return self._locked(account)

    async def close(self) -> None:
        """Close what was made."""
        if self._store is not None:
            await self._store.close()

    @asynccontextmanager
    async def _locked(self, account: str) -> AsyncIterator[None]:
        async with (await self._real()).lock(account):
            yield

    async def _real(self) -> DatabaseTokens:
        async with self._making:
            if self._made is None:
                self._store = await Store.open(self._url)
                self._made = DatabaseTokens(self._store, self._clock)
            return self._made
