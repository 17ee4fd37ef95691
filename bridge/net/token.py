"""Access tokens: static ones, and rotating ones renewed early, once at a time, and committed before use.

A rotating refresh token works once. It is therefore spent only under the store's lock, after re-reading what another
process may have saved meanwhile, and its successor is committed before anyone sends with it.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime, timedelta
from typing import Protocol

from bridge.errors import Ambiguous, AuthError, Drift, LockHeld, Refused, Unavailable
from bridge.frozen import replace
from bridge.ports import Authorization
from bridge.tools import Account, AccountSetup, Clock, Log, Refresh, Tokens, TokenStore
from bridge.unbroken import to_the_end

_EARLY = timedelta(seconds=60)


class Keeper(Protocol):
    """Where an account gets its access token."""

    can_renew: bool

    async def current(self) -> str | None:
        """The token to send with, None when requests go without one."""
        ...

    async def renewed(self, refused: str | None) -> str | None:
        """Another token than the refused one (only if ``can_renew``).

        Raises:
            AuthError: only a human can get another one; final.
            Throttled, Unavailable: the token endpoint did not answer; nothing was sent in its name.
        """
        ...

    async def has_changed(self) -> bool:
        """Whether another process has stored another token since; it is used from now on."""
        ...


class Base(Protocol):
    """What a keeper needs of the account's surroundings."""

    @property
    def tokens(self) -> TokenStore: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def log(self) -> Log: ...


class StaticKeeper:
    """One token for ever, or none."""

    can_renew = False

    def __init__(self, token: str | None) -> None:
        self._token = token

    async def current(self) -> str | None:
        return self._token

    async def renewed(self, refused: str | None) -> str | None:
        return refused

    async def has_changed(self) -> bool:
        return False


def seed_of(tokens: Tokens | None) -> str:
    """Fingerprint of a start value: SHA-256 of its refresh token, or of its access token."""
    start = "" if tokens is None else tokens.refresh or tokens.access
    return hashlib.sha256(start.encode()).hexdigest()


class RotatingKeeper:
    """Tokens of an account with ``refresh``. ``door`` is the unauthorized account handed to the refresher."""

    can_renew = True

    def __init__(self, setup: AccountSetup, refresh: Refresh, door: Account, base: Base) -> None:
        self._name = setup.name
        self._start = setup.tokens
        self._seed = seed_of(setup.tokens)
        self._refresh = refresh
        self._door = door
        self._store = base.tokens
        self._clock = base.clock
        self._log = base.log
        self._tokens: Tokens | None = None
        self._renew_at: datetime | None = None
        self._is_loaded = False
        self._unsaved: Tokens | None = None  # got from the vendor, but the store failed
        self._one_at_a_time = asyncio.Lock()

    async def current(self) -> str | None:
        if not self._is_due():
            return self._access()
        async with self._one_at_a_time:
            if not self._is_loaded:
                self._keep(await self._store.load(self._name, self._seed) or self._start)
            if self._is_due():
                await self._renew(self._access())
            return self._access()

    async def renewed(self, refused: str | None) -> str | None:
        async with self._one_at_a_time:
            if self._access() == refused:
                await self._renew(refused)
            return self._access()

    async def has_changed(self) -> bool:
        async with self._one_at_a_time:
            saved = await self._store.load(self._name, self._seed)
            if saved is None or saved.access == self._access():
                return False
            self._unsaved = None
            self._keep(saved)
            return True

    async def _renew(self, spent: str | None) -> None:
        """Replace the spent token while no other process does.

        Raises:
            Unavailable: another process has been at it for too long.
        """
        try:
            async with self._store.lock(self._name):
                # A spent refresh token whose successor is not saved is lost for good.
                await to_the_end(self._replace(spent))
        except LockHeld as error:
            raise Unavailable(str(error)) from None

    async def _replace(self, spent: str | None) -> None:
        """By what another process has saved since, else by a new one, saved first."""
        saved = await self._store.load(self._name, self._seed)
        if saved is not None:
            self._keep(saved)
            if saved.access != spent:
                self._unsaved = None  # another process has saved a newer one since
                if not self._is_due():
                    return
        if self._unsaved is None:
            self._unsaved = await self._ask(saved or self._start)
        new = self._unsaved
        await self._store.save(self._name, self._seed, new)
        self._unsaved = None
        self._keep(new)
        self._log.info("token_refreshed", account=self._name, expires_at=new.expires_at)

    async def _ask(self, old: Tokens | None) -> Tokens:
        """Call the refresher. A lost answer here leaves the account's own request certainly unsent."""
        try:
            new = await self._refresh(self._door, old)
        except AuthError as error:
            raise AuthError(str(error), is_final=True, stop_for=error.stop_for) from None
        except Refused as error:
            raise AuthError(str(error), is_final=True) from None
        except (Ambiguous, Drift) as error:
            raise Unavailable(f"renewing the token of {self._name}: {error}") from None
        return replace(new, refresh=old.refresh) if new.refresh is None and old is not None else new

    def _keep(self, tokens: Tokens | None) -> None:
        self._is_loaded = True
        self._tokens = tokens
        self._renew_at = None
        if tokens is not None and tokens.expires_at is not None:
            life = tokens.expires_at - self._clock.now()
            self._renew_at = tokens.expires_at - min(_EARLY, life / 10)

    def _is_due(self) -> bool:
        if self._tokens is None or not self._tokens.access:
            return True
        return self._renew_at is not None and self._clock.now() >= self._renew_at

    def _access(self) -> str | None:
        return self._tokens.access if self._tokens is not None else None


async def grant(asked: Authorization, door: Account, code: str, store: TokenStore) -> Tokens:
    """Exchange a code for the first tokens of an account, saved before anyone uses them.

    A code works once: neither an interruption nor another process comes between the answer and the database.

    Raises:
        AuthError, Refused: the vendor did not take the code.
        Ambiguous, Unavailable: no answer; whether the code still works is unknown.
        LockHeld: another process renews the tokens of this account.
    """

    async def exchanged() -> Tokens:
        tokens = await asked.exchange(door, code)
        await store.save(asked.setup.name, seed_of(asked.setup.tokens), tokens)
        return tokens

    async with store.lock(asked.setup.name):
        return await to_the_end(exchanged())


def keeper_of(setup: AccountSetup, door: Account, base: Base) -> Keeper:
    """The keeper an account setup asks for."""
    if setup.refresh is None:
        return StaticKeeper(setup.tokens.access if setup.tokens else None)
    return RotatingKeeper(setup, setup.refresh, door, base)
