"""Another process at the same database: opens it, takes a lock, holds on until told otherwise or killed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bridge.errors import LockHeld
from bridge.store import Store

_LIMIT = 240.0  # seconds for an answer; a busy machine takes long to load the program


@dataclass(slots=True)
class Child:
    """The other process. It waits for a word before each step and answers with one."""

    process: asyncio.subprocess.Process

    async def answer(self) -> str:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), _LIMIT)
        return line.decode().strip()

    async def ask(self, word: str) -> str:
        """Tell it to go on; returns how that went."""
        self.say(word)
        return await self.answer()

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())

    async def kill(self) -> None:
        """As ``kill -9`` does."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def child(url: str) -> AsyncIterator[Child]:
    """A process that has loaded the program; it obeys ``open``, ``lock TENANT``, ``renew ACCOUNT``, ``unlock``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    made = Child(process)
    try:
        assert await made.answer() == "loaded"
        yield made
    finally:
        if process.returncode is None:
            await made.kill()


async def _obey(url: str) -> None:
    _say("loaded")
    assert await _word() == "open"
    store = await Store.open(url)
    _say("opened")
    locks = {"lock": store.tenant_lock, "renew": store.account_lock}
    while (word := (await _word()).split())[0] in locks:
        try:
            async with locks[word[0]](word[1]):
                _say("locked")
                await _word()
            _say("unlocked")
        except LockHeld:
            _say("held")
    await store.close()


async def _word() -> str:
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.strip()


def _say(word: str) -> None:
    print(word, flush=True)


if __name__ == "__main__":
    asyncio.run(_obey(sys.argv[1]))
