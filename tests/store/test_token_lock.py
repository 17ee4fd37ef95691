"""A rotating refresh token works once: of all processes at a database, one at a time spends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog

from bridge.errors import AuthError, LockHeld, Unavailable
from bridge.net.token import RotatingKeeper
from bridge.sim.clock import ManualClock
from bridge.store import Store
from bridge.store.tokens import DatabaseTokens
from bridge.tools import Account, AccountSetup, Clock, Log, Rate, Tokens, TokenStore
from tests.simulation.kit import captured_logs
from tests.store.child import child
from tests.support import START

ACCOUNT = "okna/crm"


@dataclass(slots=True)
class Vendor:
    """Takes each refresh token once and stops an account that shows it again."""

    valid: str = "refresh-0"
    spent: int = 0

    async def refresh(self, door: Account, old: Tokens | None) -> Tokens:
        assert old is not None
        await asyncio.sleep(0.02)
        if old.refresh != self.valid:
            raise AuthError("the refresh token was used before", is_final=True)
        self.spent += 1
        self.valid = f"refresh-{self.spent}"
        return Tokens(f"access-{self.spent}", None, self.valid)


@dataclass(slots=True)
class Base:
    """What a process has around an account."""

    tokens: TokenStore
    clock: Clock = field(default_factory=lambda: ManualClock(START))
    log: Log = field(default_factory=structlog.get_logger)


def keeper(store: Store, vendor: Vendor) -> RotatingKeeper:
    """The account's keeper in a process of its own; only its start value is configured."""
    base = Base(DatabaseTokens(store, ManualClock(START)))
    start = Tokens("", refresh="refresh-0")
    setup = AccountSetup(ACCOUNT, "https://crm.example", _judge, Rate(10.0), start, refresh=vendor.refresh)
    return RotatingKeeper(setup, vendor.refresh, _Door(), base)


class _Door:
    """Nobody goes through it here."""

    async def send(self, request: Any) -> Any:
        raise NotImplementedError

    def pause(self, seconds: float, scope: str = "") -> None:
        raise NotImplementedError


def _judge(request: Any, response: Any) -> None:
    raise NotImplementedError


@pytest.fixture
async def second(store: Store, database_url: str) -> AsyncIterator[Store]:
    """Another process's store."""
    opened = await Store.open(database_url)
    yield opened
    await opened.close()


async def test_one_refresh_of_an_account_at_a_time(store: Store, second: Store) -> None:
    """The lock of an account lets one in, of however many tasks and stores; those of other accounts are free."""
    clock = ManualClock(START)
    processes = [DatabaseTokens(one, clock) for one in (store, second)]
    inside: list[str] = []

    async def refresh(tokens: DatabaseTokens, account: str) -> None:
        async with tokens.lock(account):
            assert account not in inside
            inside.append(account)
            await tokens.save(account, "seed", Tokens("access"))
            inside.remove(account)

    async with processes[0].lock("dom/crm"):
        await asyncio.gather(*(refresh(tokens, ACCOUNT) for tokens in processes * 3))
    await refresh(processes[1], "dom/crm")


async def test_two_processes_spend_one_refresh(store: Store, second: Store) -> None:
    """Both start with the same refresh token at the same moment, both get the same access token for it; the same when
    the vendor refuses that one later."""
    vendor = Vendor()
    with captured_logs():
        keepers = [keeper(one, vendor) for one in (store, second, store)]
        assert await asyncio.gather(*(one.current() for one in keepers)) == ["access-1"] * 3
        assert vendor.spent == 1
        assert await asyncio.gather(*(one.renewed("access-1") for one in keepers)) == ["access-2"] * 3
        assert vendor.spent == 2


async def test_another_process_is_waited_for(store: Store, database_url: str) -> None:
    """It renews: we wait, without holding up anything else, until it has ended in order or by a kill."""
    async with child(database_url) as other:
        assert await other.ask("open") == "opened"
        for end in (lambda: other.ask("unlock"), other.kill):
            assert await other.ask(f"renew {ACCOUNT}") == "locked"
            waiting = asyncio.create_task(_enter(store))
            async with store.account_lock("okna/ads"):
                await asyncio.sleep(0.3)
            assert not waiting.done()
            await end()
            await asyncio.wait_for(waiting, 60)


async def test_whoever_waits_can_be_cancelled(store: Store, second: Store) -> None:
    """A daemon that stops does not wait for another process's renewal, and takes nothing along."""
    async with store.account_lock(ACCOUNT):
        waiting = asyncio.create_task(keeper(second, Vendor()).current())
        await asyncio.sleep(0.15)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiting, 5)
    await asyncio.wait_for(_enter(store), 60)


async def test_nobody_waits_for_ever(store: Store, second: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that never ends its renewal is named; for the account this is an outage like another, to be tried
    again later, with nothing sent and nothing spent."""
    monkeypatch.setattr("bridge.store.locks._TRIES", 3)
    vendor = Vendor()
    async with store.account_lock(ACCOUNT):
        with pytest.raises(LockHeld, match=f"renewing the token of {ACCOUNT}"):
            await _enter(second)
        with pytest.raises(Unavailable, match=f"renewing the token of {ACCOUNT}"):
            await keeper(second, vendor).current()
    assert vendor.spent == 0


async def _enter(store: Store) -> None:
    async with store.account_lock(ACCOUNT):
        return
