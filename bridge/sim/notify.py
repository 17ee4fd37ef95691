"""The service manager's side of ``sd_notify``: waits for a process to say it is ready."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol

_LIMIT = 60.0  # seconds for a process to start


class Waitable(Protocol):
    """A process whose end can be awaited (``asyncio.subprocess.Process``)."""

    async def wait(self) -> Any: ...


class Notifications:
    """A datagram socket in the abstract namespace; ``address`` goes into the child's ``NOTIFY_SOCKET``."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.address = f"@bridge-{os.getpid()}-{id(self)}"

    def __enter__(self) -> Notifications:
        self._socket.bind("\0" + self.address[1:])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    async def wait(self, message: bytes, process: Waitable, limit: float = _LIMIT) -> bool:
        """True when the message has come; False when the process ended or so many seconds passed before."""
        loop = asyncio.get_running_loop()
        ended = asyncio.create_task(process.wait())
        came = asyncio.create_task(self._until(loop, message))
        done, _ = await asyncio.wait({ended, came}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        for task in (ended, came):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return came in done

    async def _until(self, loop: asyncio.AbstractEventLoop, message: bytes) -> None:
        while message not in await loop.sock_recv(self._socket, 4096):
            pass
