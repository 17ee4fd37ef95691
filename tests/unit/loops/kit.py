"""A tenant at work on a real SQLite file, with adapters that do what the test says."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from bridge.catalogue import Catalogue
from bridge.config import DestinationSettings, Goal, SourceSettings, TenantSettings
from bridge.explain import explain
from bridge.frozen import replace
from bridge.marking import MarkedSettings, WriteBackSettings
from bridge.marks import Marker
from bridge.model import Deal, IdKind, Outgoing
from bridge.ports import (
    Accepted,
    Admission,
    Answer,
    BadRecord,
    DestinationTraits,
    Fate,
    Finding,
    Head,
    Listing,
    Pass,
    Payload,
    Proof,
    RowOutcome,
    RowVerdict,
    Sealed,
    SourceTraits,
    Window,
)
from bridge.sim.clock import ManualClock
from bridge.spam import SpamSettings
from bridge.store import Store, schema
from bridge.store.reports import Reports
from bridge.tenant import DestinationUnit, SourceUnit, Tenant
from bridge.valuing import ExpectedSettings
from tests.store import kit as rows_kit
from tests.store.kit import SOURCE, TENANT, conversion, key, plan
from tests.support import START

Reply = Callable[[Sealed], Answer] | Exception
TRAITS = DestinationTraits(Proof.ROW, (IdKind.YCLID,))
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


# --- destinations ------------------------------------------------------------------------------------------------


def accept(batch: Sealed) -> Answer:
    """Everything is taken."""
    return Answer(tuple(RowOutcome(row, Fate.ACCEPTED) for row in batch.rows), {"upload": batch.label[:8]})


def answered(fate: Fate, code: str = "", not_before: datetime | None = None) -> Callable[[Sealed], Answer]:
    """The same fate for every row."""

    def reply(batch: Sealed) -> Answer:
        return Answer(tuple(RowOutcome(row, fate, code, not_before) for row in batch.rows))

    return reply


def splitting(*bad: str) -> Callable[[Sealed], Answer]:
    """Refuses whole batches that hold a bad row, and does not say which."""

    def reply(batch: Sealed) -> Answer:
        return answered(Fate.SPLIT, "bad_row")(batch) if set(bad) & set(batch.rows) else accept(batch)

    return reply


@dataclass(slots=True)
class Ads:
    """A destination with a script: each send, lookup and verification takes the next line, the last one stays.

    Exceptions are raised. ``passes`` are verdicts of ``admit`` by delivery.
    """

    traits: DestinationTraits = TRAITS
    sends: list[Reply] = field(default_factory=lambda: [accept])
    lookups: list[Reply | None] = field(default_factory=lambda: [None])
    verifies: list[list[RowVerdict] | Exception | None] = field(default_factory=lambda: [None])
    passes: dict[str, Admission] = field(default_factory=dict)
    size: int = 1000
    sent: list[Sealed] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    verified: list[tuple[str, ...]] = field(default_factory=list)
    asked: list[Accepted] = field(default_factory=list)

    async def check(self, targets: Mapping[str, str]) -> list[Finding]:
        return []

    def batch_size(self, due: int) -> int:
        return self.size

    def batch_key(self, row: Outgoing) -> str:
        return row.target

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        return self.passes.get(row.delivery, Admission(Pass.SEND))

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        return rows_kit.render(rows, label)

    async def send(self, batch: Sealed) -> Answer:
        self.sent.append(batch)
        return _said(_next(self.sends), batch)

    async def lookup(self, batch: Sealed, sent_at: datetime) -> Answer | None:
        self.looked_up.append(batch.label)
        line = _next(self.lookups)
        return None if line is None else _said(line, batch)

    async def verify(self, accepted: Accepted) -> list[RowVerdict] | None:
        self.verified.append(accepted.deliveries)
        self.asked.append(accepted)
        line: list[RowVerdict] | Exception | None = _next(self.verifies)
        if isinstance(line, Exception):
            raise line
        return line

    async def close(self) -> None:
        return None

    def proving(self, proof: Proof, **traits: Any) -> Ads:
        """The same with another proof."""
        self.traits = replace(self.traits, proof=proof, **traits)
        return self

    @property
    def bodies(self) -> list[bytes]:
        return [batch.payload.body for batch in self.sent]


def _next(script: list[Any]) -> Any:
    return script.pop(0) if len(script) > 1 else script[0]


def _said(line: Reply, batch: Sealed) -> Answer:
    if isinstance(line, Exception):
        raise line
    return line(batch)


# --- sources -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Crm:
    """A source with a script: each scan takes the next list of pages, the last one stays; exceptions are raised.

    Asked by key it has what ``holds`` was told; ``trouble`` is raised instead.
    """

    scans: list[list[Listing | Exception]] = field(default_factory=lambda: [[]])
    deals: dict[str, Deal | BadRecord] = field(default_factory=dict)
    marker: Marker | None = None
    names: Catalogue = field(default_factory=lambda: Catalogue(is_open=True))
    traits: SourceTraits = field(default_factory=SourceTraits)
    windows: list[Window] = field(default_factory=list)
    held: dict[str, Head | BadRecord] = field(default_factory=dict)
    trouble: Exception | None = None
    fetched: list[tuple[str, ...]] = field(default_factory=list)
    completed: Counter[str] = field(default_factory=Counter)
    completed_for: list[Window] = field(default_factory=list)
    asked_names: int = 0
    is_asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def check(self) -> list[Finding]:
        return []

    async def catalogue(self) -> Catalogue:
        self.asked_names += 1
        return self.names

    async def scan(self, window: Window) -> AsyncIterator[Listing]:
        self.windows.append(window)
        self.is_asked.set()
        await self._before_listing()
        for page in _next(self.scans):
            if isinstance(page, Exception):
                raise page
            yield page

    async def _before_listing(self) -> None:
        """Lists at once."""

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        self.completed.update(head.key for head in heads)
        self.completed_for.append(window)
        return [self.deals[head.key] for head in heads]

    async def fetch(self, keys: Sequence[str]) -> Listing:
        self.fetched.append(tuple(keys))
        self.is_asked.set()
        if self.trouble is not None:
            raise self.trouble
        found = [self.held[key] for key in keys if key in self.held]
        heads = tuple(item for item in found if isinstance(item, Head))
        return Listing(heads, tuple(item for item in found if isinstance(item, BadRecord)))

    async def close(self) -> None:
        return None

    def holds(self, *records: Deal | BadRecord) -> None:
        """These records as they are now, for whoever asks for them by key."""
        for record in records:
            if isinstance(record, Deal):
                self.deals[record.key] = record
                self.held[record.key] = Head(record.key, record.version, record.updated_at, None)
            else:
                self.held[record.key] = record

    def shows(self, *deals: Deal) -> Listing:
        """A page that lists these deals."""
        self.deals.update({deal.key: deal for deal in deals})
        return Listing(tuple(Head(deal.key, deal.version, deal.updated_at, None) for deal in deals))


class Slow(Crm):
    """A source that lists when it is told to; ``stuck_at``: from which scan on."""

    def __init__(self, stuck_at: int = 1, **more: Any) -> None:
        super().__init__(**more)
        self.may_answer, self.is_stuck, self.stuck_at = asyncio.Event(), asyncio.Event(), stuck_at

    async def _before_listing(self) -> None:
        if len(self.windows) >= self.stuck_at:
            self.is_stuck.set()
            await self.may_answer.wait()


# --- the tenant --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Office:
    """One tenant, its clock and its store."""

    tenant: Tenant
    clock: ManualClock
    store: Store

    async def promise(self, *numbers: int) -> list[str]:
        """Deliveries of these leads' sales, pending; their ids."""
        await plan(self.store, *(conversion(number) for number in numbers), now=self.clock.now())
        return [key(number) for number in numbers]

    async def rows(self) -> dict[str, dict[str, Any]]:
        """Deliveries as they are, by id."""
        return {row["id"]: row for row in await rows_kit.rows(self.store, schema.delivery)}

    async def states(self) -> Counter[str]:
        return Counter(row["state"] for row in (await self.rows()).values())

    async def batches(self) -> list[dict[str, Any]]:
        return await rows_kit.rows(self.store, schema.batch)

    async def explained(self, deal: str) -> dict[str, Any]:
        """What ``explain`` says of a deal of the usual source."""
        return await explain(self.tenant, await Reports(self.store).deal(TENANT, SOURCE, deal))

    async def source(self) -> dict[str, Any]:
        (row,) = await rows_kit.rows(self.store, schema.source_state)
        return row


def office(
    store: Store,
    destinations: Mapping[str, Ads] | None = None,
    sources: Mapping[str, Crm] | None = None,
    goals: Sequence[Goal] = (),
    scores: Mapping[str, Any] | None = None,
    spam: Mapping[str, Any] | None = None,
    expected: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Office:
    """A tenant with these adapters; ``settings`` go to every destination."""
    clock = ManualClock(START)
    destination = DestinationSettings(kind="ads", **settings)
    source: SourceSettings = SourceSettings(kind="crm", start_from=10 * DAY)
    if any(port.marker is not None for port in (sources or {}).values()):
        source = MarkedSettings(kind="crm", start_from=10 * DAY, write_back=WriteBackSettings(field="Mark"))
    made = Tenant(
        TENANT,
        TenantSettings(
            destinations=dict.fromkeys(destinations or {}, destination),
            scores=dict(scores or {}),
            goals=list(goals),
            spam=SpamSettings.model_validate(spam or {}),
            expected=ExpectedSettings.model_validate(expected or {}),
        ),
        {name: SourceUnit(name, source, port) for name, port in (sources or {}).items()},
        {name: DestinationUnit(name, destination, port) for name, port in (destinations or {}).items()},
        store,
        clock,
        structlog.get_logger(),
        b"k" * 32,
        random.Random(1),
    )
    return Office(made, clock, store)
