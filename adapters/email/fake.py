"""A simulated mail server: as much of SMTP as a client that hands in mail needs, and the faults of a bad day."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from contextlib import suppress
from datetime import datetime
from email import message_from_bytes, policy
from typing import Any

from bridge.sim.events import Applied, Click
from bridge.sim.faults import Fault, FaultPlan
from bridge.sim.server import DestinationSimulator
from bridge.tools import Clock

USER = "leads@okna.example"
SALES = "sales@okna.example"


class PostOffice(DestinationSimulator):
    """One mailbox to send from. ``refuses``: recipients that nobody knows."""

    def __init__(
        self, clock: Clock, faults: FaultPlan | None = None, *, name: str = "sim", is_limited: bool = True
    ) -> None:
        super().__init__(clock, faults, name=name, is_limited=is_limited)
        self.refuses: set[str] = set()
        self.mails: list[tuple[str, tuple[str, ...], bytes]] = []
        self.port = 0
        self._first: dict[tuple[str, str], datetime] = {}
        self._password = f"{name}-sample-mail-password"
        self._server: asyncio.Server | None = None

    def settings(self) -> dict[str, Any]:
        return {
            "kind": "email",
            "host": "127.0.0.1",
            "port": self.port,
            "security": "none",
            "user": USER,
            "password": {"env": f"{self.name.upper()}_MAIL_PASSWORD"},
            "sender": USER,
            "to": {"sales": [SALES]},
        }

    def secrets(self) -> dict[str, str]:
        return {f"{self.name.upper()}_MAIL_PASSWORD": self._password}

    async def start(self, port: int = 0) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"smtp://127.0.0.1:{self.port}"
        return self.base_url

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def know(self, click: Click) -> None:
        """People do not look at clicks."""

    def applied(self) -> list[Applied]:
        """Every distinct mail, by recipients and text, and how often it was taken."""
        count: Counter[tuple[str, str]] = Counter()
        for _, recipients, mail in self.mails:
            count[", ".join(recipients), text_of(mail)] += 1
        return [
            Applied(
                target=to,
                at=self._first[to, text],
                value=None,
                identifiers=(),
                order_key=text,
                reaches=times,
                is_linked=True,
            )
            for (to, text), times in count.items()
        ]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await _Session(self, reader, writer).run()
        writer.close()

    def take(self, sender: str, recipients: tuple[str, ...], mail: bytes) -> None:
        """A complete mail came in."""
        self.mails.append((sender, recipients, mail))
        self._first.setdefault((", ".join(recipients), text_of(mail)), self.clock.now())

    def knows(self, plain: str) -> bool:
        """The initial answer of AUTH PLAIN (RFC 4616)."""
        with suppress(ValueError):
            return base64.b64decode(plain) == f"\0{USER}\0{self._password}".encode()
        return False


class _Session:
    """One connection."""

    def __init__(self, office: PostOffice, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._office, self._reader, self._writer = office, reader, writer
        self._is_known = False
        self._sender = ""
        self._recipients: list[str] = []

    async def run(self) -> None:
        await self._say("220 okna.example ready")
        while line := (await self._reader.readline()).decode().rstrip("\r\n"):
            verb = line[:4].upper()
            if verb == "QUIT":
                await self._say("221 bye")
                return
            if verb == "DATA":
                if not await self._data():
                    return
                continue
            await self._say(self._reply(verb, line))

    def _reply(self, verb: str, line: str) -> str:
        if verb in ("EHLO", "HELO"):
            return "250-okna.example\r\n250-8BITMIME\r\n250 AUTH PLAIN"
        if verb == "AUTH":
            self._is_known = line[:10].upper() == "AUTH PLAIN" and self._office.knows(line[10:].strip())
            return "235 welcome" if self._is_known else "535 5.7.8 authentication failed"
        if not self._is_known:
            return "530 5.7.0 authentication required"
        if verb == "MAIL":
            self._sender, self._recipients = _address(line), []
            return "250 ok"
        if verb == "RCPT":
            return self._receive(_address(line))
        return "250 ok" if verb in ("RSET", "NOOP") else "502 not known"

    def _receive(self, recipient: str) -> str:
        if recipient in self._office.refuses:
            return f"550 5.1.1 <{recipient}> nobody is called so"
        self._recipients.append(recipient)
        return "250 ok"

    async def _data(self) -> bool:
        """Take a mail; False when the connection is to end without another word."""
        if not self._recipients:
            await self._say("503 5.5.1 no recipients")
            return True
        fault = self._office.faults.draw("DATA", is_write=True)
        self._office.requests["DATA"] += 1
        if fault is Fault.THROTTLE:
            await self._say("451 4.7.1 later")
            return True
        if fault is Fault.DROP_BEFORE:
            return False
        await self._say("354 go on")
        mail = (await self._reader.readuntil(b"\r\n.\r\n"))[:-3].replace(b"\r\n..", b"\r\n.")
        if fault is Fault.ERROR_BEFORE:
            await self._say("451 4.3.0 later")
            return True
        self._office.take(self._sender, tuple(self._recipients), mail)
        if fault in (Fault.LOST_ANSWER, Fault.ERROR_AFTER):
            return False
        if fault is Fault.CUT_BODY:
            self._writer.write(b"25")
            return False
        await self._say("250 2.0.0 taken")
        return True

    async def _say(self, line: str) -> None:
        self._writer.write(f"{line}\r\n".encode())
        await self._writer.drain()


def text_of(mail: bytes) -> str:
    """The words of a mail."""
    body = message_from_bytes(mail, policy=policy.default).get_body()
    return "\n".join(str(body.get_content()).strip().splitlines()) if body else ""


def _address(line: str) -> str:
    return line.partition("<")[2].partition(">")[0]
