"""What an adapter is handed: :class:`Tools`, its whole outside world. HTTP by account, mail, clock, log, a folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from bridge.frozen import replace
from bridge.model import frozen


class Clock(Protocol):
    """Time, injected. Simulations hand in a clock that moves by itself."""

    def now(self) -> datetime:
        """Aware UTC time."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Log(Protocol):
    """A structlog-like logger bound to tenant and account. Event names come from ``log.EVENTS``."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...
    def exception(self, event: str, **fields: Any) -> Any: ...


@frozen
class Request:
    """One HTTP request. ``is_safe``: repeating it changes nothing (a read, or a write the vendor recognises).

    None leaves that to the method, as HTTP has it; False is for a vendor whose GET writes.

    ``url`` is absolute or relative to the account's base URL. ``scope`` names a vendor limit of its own
    (Bitrix24: the method). ``timeout`` in seconds for the whole attempt, None for the default.
    """

    method: str
    url: str
    params: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    is_safe: bool | None = None
    scope: str = ""
    timeout: float | None = None


@frozen
class Response:
    """Any answer, whatever its status. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def retry_after(self) -> float | None:
        """How many seconds the vendor asks to wait; None where it does not say, or names a time instead."""
        text = self.headers.get("retry-after", "").strip()
        return float(text) if text.isascii() and text.isdigit() else None


@frozen
class Rate:
    """A client-side limit: ``per_second`` sustained, ``burst`` at once (a leaky bucket)."""

    per_second: float
    burst: int = 1
    parallel: int = 4


class Account(Protocol):
    """One credential at one vendor: rate limit, authorization, one attempt, translation, short retry."""

    async def send(self, request: Request) -> Response:
        """Send and return an answer that ``judge`` accepted.

        Raises:
            AuthError: refused after one refresh and one replay; the account then answers AuthError at once
                until ``AccountSetup.stop_for`` has passed.
            Throttled, Unavailable: after at most three attempts (reads, and writes that did not arrive).
            Ambiguous: an unsafe write whose answer is lost.
            Refused, Drift: whatever ``judge`` raised.
        """
        ...

    def pause(self, seconds: float, scope: str = "") -> None:
        """Hold every further request (of this scope) back for so long: a vendor's hint."""
        ...


@frozen
class Tokens:
    """An access token and what is needed to renew it. Times are aware UTC; None when unknown or endless."""

    access: str = field(repr=False)
    expires_at: datetime | None = None
    refresh: str | None = field(default=None, repr=False)


class TokenStore(Protocol):
    """Where rotating tokens live. ``account`` is unique in the installation; ``seed`` fingerprints the start value."""

    async def load(self, account: str, seed: str) -> Tokens | None:
        """The newest saved tokens that came from this seed, or None."""
        ...

    async def save(self, account: str, seed: str, tokens: Tokens) -> None:
        """Committed when it returns."""
        ...

    def lock(self, account: str) -> AbstractAsyncContextManager[None]:
        """At most one refresh of an account at a time, whichever process it runs in; re-read inside.

        Raises:
            LockHeld: another process did not end its own in time.
        """
        ...


# A refresher gets the newest stored tokens and an unauthorized account on the token endpoint, and returns new ones.
# Raises AuthError(is_final=True) when only a human can help.
Refresh = Callable[["Account", Tokens | None], Awaitable[Tokens]]
# Puts the access token where the vendor wants it.
Apply = Callable[[Request, str], Request]
# Raises the error class an answer means; returns quietly when the answer is good. Pure.
Judge = Callable[[Request, Response], None]


def bearer(request: Request, token: str, scheme: str = "Bearer") -> Request:
    """The usual ``Apply``: an Authorization header."""
    return replace(request, headers={**request.headers, "Authorization": f"{scheme} {token}"})


@frozen
class AccountSetup:
    """How to talk to one vendor account.

    Without ``refresh``, ``tokens`` is used for ever. With it, tokens are kept in the store under ``name``, renewed a
    little before ``expires_at`` and once on AuthError, under a lock, and committed **before** they are used;
    ``tokens`` is then only the start value (a stored one that came from it wins).
    ``stop_for`` is how long the account stays stopped after a final AuthError (seconds). Accounts that name the same
    ``limit`` share one rate limit: the vendor counts what comes from one place, not per credential. ``scopes`` are
    limits that requests of a scope keep beside the account's own.
    """

    name: str
    base_url: str
    judge: Judge
    rate: Rate
    tokens: Tokens | None = None
    apply: Apply = bearer
    refresh: Refresh | None = None
    timeout: float = 60.0
    max_body: int = 64 * 1024 * 1024
    stop_for: float = 900.0
    limit: str = ""
    scopes: tuple[tuple[str, Rate], ...] = ()


class Http(Protocol):
    """The HTTP client of this process."""

    def account(self, setup: AccountSetup) -> Account: ...


class Security(StrEnum):
    """How a connection to a mail server is made safe."""

    TLS = "tls"  # from the first byte
    STARTTLS = "starttls"
    NONE = "none"


@frozen
class MailServer:
    """Where mail is handed in. Without ``user`` nobody logs in."""

    host: str
    port: int
    security: Security
    user: str = ""
    password: str = field(default="", repr=False)
    timeout: float = 30.0  # seconds, of each step


class Mail(Protocol):
    """Hands mail to a server, each message over a connection of its own. No retry."""

    async def greet(self, server: MailServer) -> None:
        """Connect and log in, and send nothing.

        Raises:
            AuthError, Unavailable, Refused: as below.
        """
        ...

    async def send(self, server: MailServer, sender: str, recipients: Sequence[str], message: bytes) -> None:
        """Hand a message in, to all its recipients or to none. ``Date`` is put before it.

        Raises:
            AuthError: the server does not take user and password.
            Throttled: it says later (4yz), before or after the message.
            Unavailable: no connection, or lost before the message was complete.
            Ambiguous: the answer to the complete message is lost.
            Refused: it says no (5yz); ``code`` is ``recipient``, ``sender`` or ``message``.
        """
        ...


@frozen
class TenantFacts:
    """What an adapter may know of its tenant. ``timezone`` is an IANA name, ``region`` ISO 3166 (for phones).

    ``needs_values``: some goal asks what a deal was worth when (``Deal.value_changes``), so reading that pays;
    ``needs_payments``: some goal is reached by each payment (``Deal.payments``).
    """

    name: str
    timezone: str
    currency: str
    region: str = "RU"
    needs_values: bool = False
    needs_payments: bool = False


_CODE = re.compile(r"[A-Za-z][\w.:/-]{0,63}")
_DIFFERENT_MAX = 50  # of one account: what comes in ever new forms is no word of the vendor's


class DriftCounts:
    """Words of a vendor that its contract does not have: names of fields, enum values, statuses.

    They are tolerated and counted: ``status`` and the metrics show them. In memory until a loop stores them.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def note(self, what: str, value: str) -> None:
        """Count a word. ``what`` says where it stood; what does not look like a code is counted without its text."""
        key = (what, value if _CODE.fullmatch(value) else "(no code)")
        if key not in self._counts and len(self._counts) >= _DIFFERENT_MAX:
            key = (what, "(others)")
        self._counts[key] += 1

    def note_fields(self, document: Any, known: Mapping[str, frozenset[str]], place: str = "") -> None:
        """Count fields of a decoded JSON document that are not ``known``: the names in each object, by its own name.

        Objects of which nothing is known are not looked into.
        """
        if isinstance(document, list):
            for item in document:
                self.note_fields(item, known, place)
        elif isinstance(document, dict) and place in known:
            for name, value in document.items():
                if name not in known[place]:
                    self.note("field", f"{place}.{name}" if place else name)
                self.note_fields(value, known, name)

    def take(self) -> Counter[tuple[str, str]]:
        """What was counted since this was last asked."""
        taken, self._counts = self._counts, Counter()
        return taken


@frozen
class Tools:
    """All an adapter may touch. ``folder`` is where files named in the configuration are looked up."""

    http: Http
    clock: Clock
    log: Log
    folder: Path
    tenant: TenantFacts
    mail: Mail
    drift: DriftCounts = field(default_factory=DriftCounts)
