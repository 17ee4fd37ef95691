"""``bridge run`` as a process of its own, to be killed without warning.

Most of these processes are forked from one that has already loaded the program: what runs and dies is the same command,
only the second and a half of loading is saved. The others are started from nothing, as a service manager does.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from bridge.cli import app
from bridge.sim.notify import Notifications

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__])


class Forked:
    """A forked process that can be awaited and killed like a started one."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        self._end = asyncio.ensure_future(asyncio.to_thread(process.join))  # only one may read how it ended

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode if self._end.done() else None

    async def wait(self) -> None:
        await asyncio.shield(self._end)

    def kill(self) -> None:
        self._process.kill()


@dataclass(slots=True)
class Daemons:
    """One daemon after another on the same configuration."""

    config: Path
    clock: Path
    log: Path

    async def start(self, ready: Notifications, *, is_forked: bool) -> Forked | asyncio.subprocess.Process:
        """A new daemon; it tells ``ready`` when it is."""
        words = ["run", "--config", str(self.config), "--clock", str(self.clock)]
        if is_forked:
            process = _forks.Process(target=_run, args=(words, ready.address, self.log))
            await asyncio.to_thread(process.start)
            return Forked(process)
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bridge", *words),
                stdout=log,
                stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": ready.address},
            )


async def kill(process: Forked | asyncio.subprocess.Process) -> None:
    """``kill -9``. A process that had already ended by itself is an error."""
    assert process.returncode is None, f"the daemon ended by itself with status {process.returncode}"
    process.kill()
    await process.wait()
    assert process.returncode == -signal.SIGKILL


def _run(words: list[str], address: str, log: Path) -> None:
    """What the forked process does: the command, with its output in a file."""
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ["NOTIFY_SOCKET"] = address
    app(words)
