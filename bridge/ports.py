"""What an adapter implements: the Protocols of a source and a destination, their traits, and its ``AdapterSpec``.

An adapter package exports ``SPEC: AdapterSpec`` from its ``__init__``. Its settings are pydantic models derived
from ``config.SourceSettings`` / ``config.DestinationSettings``; its ``build`` functions get them already validated,
with the :class:`~bridge.tools.Tools` that are its whole outside world.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from bridge.catalogue import Catalogue
from bridge.forms import Form
from bridge.hints import HookParser
from bridge.model import Deal, IdKind, Outgoing, frozen
from bridge.tools import Account, AccountSetup, Tokens, Tools

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
    ``sweep_every``: what it tells of deals changes without moving their times (payments, product rows), so open ones,
    and those won and modified since ``sweep_won``, are to be read again so often; None where windows see everything.
    ``restorable``: so long a deleted record lies in a bin from which it can come back without any window telling so.
    ``leads_become_deals``: a deal made from a lead is that lead come further, and so it came when the lead did.
    ``brings_touches``: a call tracker, whose records (``Deal.is_touch``) serve the deals of other sources.
    """

    overlap: timedelta = timedelta(minutes=10)
    settle: timedelta = timedelta(seconds=5)
    slice_min: timedelta = timedelta(hours=1)
    slice_max: timedelta = timedelta(days=31)
    is_read_whole: bool = False
    reads_everything: bool = False  # a table: each scan lists all rows, the window is ignored
    brings_payments: bool = False  # as it is set up: its deals come with ``Deal.payments`` where a goal asks for them
    brings_products: bool = False  # as it is set up: some of its deals come with ``Deal.products``
    sweep_every: timedelta | None = None
    sweep_won: timedelta = timedelta(0)
    restorable: timedelta = timedelta(days=30)
    brings_touches: bool = False
    leads_become_deals: bool = False


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
        result for each head; a history may hold only what this window adds when the key is in ``known``. Of heads
        that came by ``fetch`` the window begins in 1970: their histories are wanted whole.
        """
        ...

    async def fetch(self, keys: Sequence[str]) -> Listing:
        """These records as they are now (deep sweep, webhook hints), however many.

        Missing ones are left out; one that is certainly deleted may be a head that ``complete`` makes a deleted deal.
        """
        ...

    async def close(self) -> None: ...


class Proof(StrEnum):
    """What a destination can prove after a lost answer."""

    ROW = "row"  # it recognises a repeated row by itself: send the same bytes again
    TAG = "tag"  # an upload carries our label and can be looked up
    NONE = "none"  # nothing: a human decides, or the config chose


@frozen
class DealOrders:
    """A destination that keeps one order per deal, which every row overwrites whole. A target is the order's state.

    Rows of one deal never share a batch and go one after another, ``apart`` from each other; what was reached earlier
    is not told once something later was. ``first`` and ``last`` are the states a deal's life begins and ends with: of
    several that were reached at one moment they go in that order. ``void`` is the one of the last that says an order
    comes to nothing, for one that nobody goes on in.
    """

    first: frozenset[str] = frozenset()
    last: frozenset[str] = frozenset()
    apart: timedelta = timedelta(0)
    void: str = ""

    def rank(self, target: str) -> int:
        """0 for a state of the beginning, 2 for one of the end, 1 for any other."""
        return 0 if target in self.first else 2 if target in self.last else 1


@frozen
class DestinationTraits:
    """``accepts``: identifier kinds in order of preference. Times as timedeltas; ``None`` = no such step.

    ``accepts_persons``: hashed contact data may travel with a row; ``persons_suffice``: a row without any identifier
    but with hashed contact data is worth sending. ``adjusts``: a value can be corrected; ``retracts``: what is
    none any more (``Outgoing.retracted_at``) is taken back for good, so that nothing can follow. Without
    ``needs_click`` it is told of deals without any click, too: a message to people.
    """

    proof: Proof
    accepts: tuple[IdKind, ...]
    accepts_persons: bool = False
    persons_suffice: bool = False
    needs_click: bool = True
    adjusts: bool = False
    deal_orders: DealOrders | None = None  # None: rows of one deal have nothing to do with each other
    retracts: bool = False
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

    @classmethod
    def alike(cls, rows: Sequence[str], fate: Fate, code: str = "", receipt: Mapping[str, str] | None = None) -> Answer:
        """The same outcome for every row."""
        return cls(tuple([RowOutcome(row, fate, code) for row in rows]), receipt or {})

    @classmethod
    def halved(cls, rows: Sequence[str], code: str, receipt: Mapping[str, str] | None = None) -> Answer:
        """Some row is bad and is not named: again in halves, until it stands alone and is the one."""
        return cls.alike(rows, Fate.SPLIT if len(rows) > 1 else Fate.REJECTED, code, receipt)


class Seen(StrEnum):
    VERIFIED = "verified"
    UNLINKED = "unlinked"
    REJECTED = "rejected"
    UNKNOWN = "unknown"  # the vendor has settled but does not tell which rows: stays accepted, with the code
    LATER = "later"  # too early to say of this row: stays accepted and is asked about again
    AGAIN = "again"  # proof ROW only: send it once more, alone or with fewer others, to learn what becomes of it


@frozen
class RowVerdict:
    """``code``: why, or what the verdict rests on where a destination has better and worse proof; LATER has none.

    AGAIN: not before ``not_before``, in a batch of at most ``max_rows``.
    """

    delivery: str
    seen: Seen
    code: str = ""
    not_before: datetime | None = None
    max_rows: int | None = None


@frozen
class Accepted:
    """A batch the vendor took: its receipt, when it answered, and those of its rows that still lack a verdict."""

    receipt: Mapping[str, str]
    rows: tuple[Outgoing, ...]
    answered_at: datetime

    @property
    def deliveries(self) -> tuple[str, ...]:
        return tuple(row.delivery for row in self.rows)


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

    async def verify(self, accepted: Accepted) -> list[RowVerdict] | None:
        """What the vendor says became of the rows; None while it is too early to say of any (LATER: of this one)."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class SharesGoals(Protocol):
    """A destination whose vendor's goals another destination may reach, too: one deal would be counted twice."""

    def shared_goal(self, target: str) -> str:
        """The vendor's goal that a row to this target reaches, in words no other one has; "" if nobody else can."""
        ...


@runtime_checkable
class SharesAccount(Protocol):
    """Settings of an account that others may name as well. Two sources of one bring the same deals, each as its own."""

    def shared_accounts(self, folder: Path) -> frozenset[str]:
        """What is read or written to, in words nothing else of this kind has; more than one where parts of an account
        can be read alone. Empty if it cannot be told. Relative files lie in ``folder``.
        """
        ...


@frozen
class Authorization:
    """Access that a person grants on the vendor's ``page``, which ends in a code; ``advice`` says what to do there.

    Write commands as ``bridge auth ...``, here and in errors: printed, they get the configuration that was given.

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
    ``hook`` makes what reads this source's webhooks, from the same two; it raises ConfigError when a secret is missing.
    Settings of a source with one derive from ``config.HookedSettings``. See ``hints`` for what else a source may have.
    ``form`` is for ``bridge init``.
    """

    settings: type[Any]  # a config.SourceSettings
    build: Callable[[str, Any, Tools], Source]
    authorize: Callable[[str, Any, Tools], Authorization] | None = None
    expires: Callable[[Any, Path], datetime | None] | None = None
    hook: Callable[[Any, Path], HookParser] | None = None
    form: Form = Form()


@frozen
class DestinationSpec:
    settings: type[Any]  # a config.DestinationSettings
    build: Callable[[str, Any, Tools], Destination]
    traits: DestinationTraits  # the defaults, for ``bridge adapters``
    form: Form = Form()  # for ``bridge init``
    traits_of: Callable[[Any], DestinationTraits] | None = None  # where they depend on the settings

    def traits_for(self, settings: Any) -> DestinationTraits:
        """The traits of a destination with these settings, built or not."""
        return self.traits if self.traits_of is None else self.traits_of(settings)


@frozen
class Api:
    """A vendor's API in the version an adapter speaks; ``sunset``: the first day on which it may be gone, if told."""

    version: str
    name: str = ""
    sunset: date | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


@frozen
class AdapterSpec:
    """One folder. ``kind`` is the folder's name; ``apis`` are what it calls, each with its end as the vendor tells.

    ``fake``: dotted path of the simulator class, for ``sim``; ``source_fake``: the source's, where it is another.
    """

    kind: str
    title: str
    source: SourceSpec | None = None
    destination: DestinationSpec | None = None
    apis: tuple[Api, ...] = ()
    fake: str = ""
    source_fake: str = ""
