"""Only one process at a time works for a tenant, and the lock dies with the process that holds it."""

from __future__ import annotations

import pytest

from bridge.errors import LockHeld, StoreError
from bridge.store import Store
from tests.store import kit
from tests.store.child import child


async def is_free(store: Store, tenant: str) -> bool:
    try:
        async with store.tenant_lock(tenant):
            return True
    except LockHeld:
        return False


async def test_a_second_taker_is_refused_at_once(store: Store, database_url: str) -> None:
    """Two stores at one database: the second hears LockHeld, other tenants are free, and the end of the block frees."""
    second = await Store.open(database_url)
    async with store.tenant_lock("okna"):
        assert not await is_free(second, "okna")
        assert await is_free(second, "dom")
    assert await is_free(second, "okna")
    await second.close()


async def test_nobody_holds_a_lock_twice(store: Store) -> None:
    """Not even within one process."""
    async with store.tenant_lock("okna"):
        assert not await is_free(store, "okna")
    assert await is_free(store, "okna")


async def test_an_error_inside_frees_the_lock(store: Store, database_url: str) -> None:
    """However the block ends, the lock is gone with it."""
    second = await Store.open(database_url)
    with pytest.raises(ValueError, match="on purpose"):
        async with store.tenant_lock("okna"):
            raise ValueError("on purpose")
    assert await is_free(second, "okna")
    await second.close()


async def test_work_goes_on_under_many_locks(store: Store) -> None:
    """A daemon holds a lock for each of many tenants and still reads and writes."""
    locks = [store.tenant_lock(f"tenant-{number}") for number in range(30)]
    for lock in locks:
        await lock.__aenter__()
    await kit.plan(store, kit.conversion(1))
    assert await kit.states(store, kit.key(1)) == ["pending"]
    for lock in locks:
        await lock.__aexit__(None, None, None)


async def test_another_process_keeps_the_lock_and_its_death_frees_it(store: Store, database_url: str) -> None:
    """Held by another process: refused. That process killed without warning: free, with no waiting for a lease."""
    async with child(database_url) as other:
        assert await other.ask("open") == "opened"
        assert await other.ask("lock okna") == "locked"
        with pytest.raises(StoreError, match="another process works for tenant okna"):
            async with store.tenant_lock("okna"):
                pass
        assert await is_free(store, "dom")
        await other.kill()
        assert await is_free_soon(store, "okna")


async def test_another_process_is_refused_and_takes_over(store: Store, database_url: str) -> None:
    """It hears the same LockHeld; when we are done, the lock is its own to take and to give back."""
    async with child(database_url) as other:
        assert await other.ask("open") == "opened"
        async with store.tenant_lock("okna"):
            assert await other.ask("lock okna") == "held"
        assert await other.ask("lock okna") == "locked"
        assert await other.ask("unlock") == "unlocked"
        assert await is_free(store, "okna")


async def is_free_soon(store: Store, tenant: str) -> bool:
    """The kernel frees a file's lock at once; PostgreSQL has to read the end of the connection first."""
    for _ in range(200):
        if await is_free(store, tenant):
            return True
    return False
