"""What an adapter implements and what it is handed. The whole outside world of an adapter is :class:`Tools`.

An adapter package exports ``SPEC: AdapterSpec`` from its ``__init__``. Its settings are pydantic models derived
from ``config.SourceSettings`` / ``config.DestinationSettings``; its ``build`` functions get them already validated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from bridge.model import Catalogue, Deal, IdKind, Outgoing, frozen


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

    ``url`` is absolute or relative to the account's base URL. ``scope`` names a vendor limit of its own
    (Bitrix24: the method). ``timeout`` in seconds for the whole attempt, None for the default.
    """

    method: str
    url: str
    params: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    is_safe: bool = False
    scope: str = ""
    timeout: float | None = None


@frozen
class Response:
    """Any answer, whatever its status. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


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
    ``limit`` share one rate limit: the vendor counts what comes from one place, not per credential.
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


class Http(Protocol):
    """The HTTP client of this process."""

    def account(self, setup: AccountSetup) -> Account: ...


@frozen
class TenantFacts:
    """What an adapter may know of its tenant. ``timezone`` is an IANA name, ``region`` ISO 3166 (for phones).

    ``needs_values``: some goal asks what a deal was worth when (``Deal.value_changes``), so reading that pays.
    """

    name: str
    timezone: str
    currency: str
    region: str = "RU"
    needs_values: bool = False


@frozen
class Tools:
    """All an adapter may touch. ``folder`` is where files named in the configuration are looked up."""

    http: Http
    clock: Clock
    log: Log
    folder: Path
    tenant: TenantFacts


SOON = timedelta(days=14)  # a credential that ends within this time is warned of


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@frozen
class Finding:
    """One line of ``bridge check``: what was looked at, and what to do if it is wrong."""

    level: Level
    subject: str
    message: str


@frozen
class Window:
    """Half-open interval of the vendor's own modification times.

    ``marks``: what this source's last listing told to remember ("" at first), to find records that appeared since with
    times before the window; None when nobody asks for such.
    """

    start: datetime
    end: datetime
    marks: str | None = None


@frozen
class Head:
    """A record as listed: its key (``lead:5``), its version, its modification time, and the decoded raw row.

    ``version`` must be equal for equal content (leave out volatile links) and differ for any change we would read.
    """

    key: str
    version: str
    updated_at: datetime
    row: Any = field(repr=False)


@frozen
class BadRecord:
    """A record that cannot be read: quarantined and counted, the page goes on. Nothing personal in ``message``."""

    key: str
    code: str
    message: str
    version: str = ""


@frozen
class Listing:
    """One page of a scan. ``done`` is the share of the window read so far (0..1) if known.

    ``marks``: kept with the cursor once the window is stored, and handed to the next scan; None leaves the old ones.
    """

    heads: tuple[Head, ...]
    bad: tuple[BadRecord, ...] = ()
    done: float | None = None
    marks: str | None = None


@frozen
class SourceTraits:
    """``overlap`` re-read before the watermark; ``settle`` kept free before now; ``slice`` bounds of one window.

    ``is_read_whole``: histories come by time, so the cursor moves only when a window is read to its end. Else a record
    that moved twice, once in a slice that was read and once behind it, would lose the first move to an interruption.
    """

    overlap: timedelta = timedelta(minutes=10)
    settle: timedelta = timedelta(seconds=5)
    slice_min: timedelta = timedelta(hours=1)
    slice_max: timedelta = timedelta(days=31)
    is_read_whole: bool = False
    reads_everything: bool = False  # a table: each scan lists all rows, the window is ignored


class Source(Protocol):
    """A CRM or table read from. Reads may be repeated at any time; nothing here writes."""

    traits: SourceTraits

    async def check(self) -> list[Finding]:
        """Credentials, rights, settings that exist. Changes nothing. Problems are findings, not exceptions."""
        ...

    async def catalogue(self) -> Catalogue:
        """Pipelines, stages, loss reasons and field names, fresh."""
        ...

    def scan(self, window: Window) -> AsyncIterator[Listing]:
        """Every record modified inside the window, each at least once, whatever changes while reading.

        Raises:
            Drift: a page repeats, cannot be parsed, or a promised next one is missing.
        """
        ...

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        """Heads made into deals: contacts, history, clues. ``known`` are keys whose earlier history is stored.

        Called right after the listing that brought the heads, with those of them that are new or changed. One
        result for each head; a history may hold only what this window adds when the key is in ``known``.
        """
        ...

    async def fetch(self, keys: Sequence[str]) -> Listing:
        """These records as they are now (deep sweep, webhook hints). Missing ones are left out."""
        ...

    async def close(self) -> None: ...


class Proof(StrEnum):
    """What a destination can prove after a lost answer."""

    ROW = "row"  # it recognises a repeated row by itself: send the same bytes again
    TAG = "tag"  # an upload carries our label and can be looked up
    NONE = "none"  # nothing: a human decides, or the config chose


@frozen
class DestinationTraits:
    """``accepts``: identifier kinds in order of preference. Times as timedeltas; ``None`` = no such step.

    ``accepts_persons``: hashed contact data may travel with a row; ``persons_suffice``: a row without any identifier
    but with hashed contact data is worth sending.
    """

    proof: Proof
    accepts: tuple[IdKind, ...]
    accepts_persons: bool = False
    persons_suffice: bool = False
    adjusts: bool = False
    visibility: timedelta = timedelta(minutes=5)  # TAG: an absent label older than this was never applied
    verify_first: timedelta | None = timedelta(minutes=10)
    verify_every: timedelta = timedelta(minutes=10)
    verify_limit: timedelta = timedelta(hours=24)
    give_up_after: timedelta = timedelta(days=21)  # of trying to send
    max_bytes: int = 32 * 1024 * 1024


class Fate(StrEnum):
    """What became of one row of a batch."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"  # for good, with a code
    AGAIN = "again"  # back to pending, its attempt counted; ``not_before`` if the vendor or the window asks for it
    SPLIT = "split"  # some row of this batch is bad and the vendor does not say which: again, in halves


@frozen
class RowOutcome:
    delivery: str
    fate: Fate
    code: str = ""
    not_before: datetime | None = None


@frozen
class Answer:
    """Outcome of a send: one entry for every row, and the receipt to verify by (small JSON values only)."""

    outcomes: tuple[RowOutcome, ...]
    receipt: Mapping[str, str] = field(default_factory=dict)


class Seen(StrEnum):
    VERIFIED = "verified"
    UNLINKED = "unlinked"
    REJECTED = "rejected"
    UNKNOWN = "unknown"  # the vendor has settled but does not tell which rows: stays accepted, with the code


@frozen
class RowVerdict:
    delivery: str
    seen: Seen
    code: str = ""


class Pass(StrEnum):
    """May a row be sent now?"""

    SEND = "send"
    WAIT = "wait"
    EXPIRED = "expired"  # its window has closed
    REFUSED = "refused"  # it can never be sent, with a code


@frozen
class Admission:
    verdict: Pass
    code: str = ""
    until: datetime | None = None


@frozen
class Payload:
    """Exact bytes of a batch as they go on the wire, made once, stored, and sent again unchanged after a crash."""

    body: bytes = field(repr=False)
    content_type: str = "application/json"


@frozen
class Sealed:
    """A batch ready to send. ``label`` is its id (32 hex characters), ``rows`` are delivery ids in rendered order."""

    label: str
    payload: Payload
    rows: tuple[str, ...]
    attempt: int = 0


class Destination(Protocol):
    """An ad or analytics account written to."""

    traits: DestinationTraits

    async def check(self, targets: Mapping[str, str]) -> list[Finding]:
        """Credentials, rights, and that every target (goal name -> its goal there) exists. Changes nothing."""
        ...

    def batch_size(self, due: int) -> int:
        """How many rows to put in one batch when so many are due."""
        ...

    def batch_key(self, row: Outgoing) -> str:
        """Rows with different keys never share a batch (for example: different conversion actions)."""
        ...

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        """Is the row sendable now: identifiers, windows, hold-back. Pure."""
        ...

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        """The exact bytes of a batch of admitted rows. Pure and deterministic: same rows and label, same bytes."""
        ...

    async def send(self, batch: Sealed) -> Answer:
        """One attempt. Raises Ambiguous when the answer is lost, Unavailable/Throttled when it did not arrive."""
        ...

    async def lookup(self, batch: Sealed, sent_at: datetime) -> Answer | None:
        """TAG only: the recorded answer of this label, None when the vendor does not have it."""
        ...

    async def verify(self, receipt: Mapping[str, str], rows: Sequence[str]) -> list[RowVerdict] | None:
        """What the vendor says became of the rows; None while it is too early to say."""
        ...

    async def close(self) -> None: ...


@frozen
class Authorization:
    """Access that a person grants on the vendor's ``page``, which ends in a code; ``advice`` says what to do there.

    ``exchange`` gets an account without a token and that code. The tokens it returns are saved as ``setup``'s.
    """

    setup: AccountSetup
    page: str
    advice: str
    exchange: Callable[[Account, str], Awaitable[Tokens]] = field(repr=False)


@frozen
class SourceSpec:
    """``build`` and ``authorize`` get the own name in the tenant, the settings and the tools.

    ``authorize`` is for ``bridge auth`` and raises ConfigError when these settings need no code. ``expires`` tells
    when the configured credential ends for good (None: never, or unknown), from settings and the folder of secrets.
    """

    settings: type[Any]  # a config.SourceSettings
    build: Callable[[str, Any, Tools], Source]
    authorize: Callable[[str, Any, Tools], Authorization] | None = None
    expires: Callable[[Any, Path], datetime | None] | None = None


@frozen
class DestinationSpec:
    settings: type[Any]  # a config.DestinationSettings
    build: Callable[[str, Any, Tools], Destination]
    traits: DestinationTraits  # the defaults, for ``bridge adapters``


@frozen
class AdapterSpec:
    """One folder. ``kind`` is the folder's name; ``api_version`` and ``sunset`` are the vendor's, for warnings."""

    kind: str
    title: str
    source: SourceSpec | None = None
    destination: DestinationSpec | None = None
    api_version: str = ""
    fake: str = ""  # dotted path of the simulator class, for ``sim``
