"""Random lives of a ledger, crashes included, beside a model of three dictionaries: they never differ."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.errors import StoreError
from bridge.ports import Sealed
from bridge.states import STEPS, BatchState, DeliveryState, Move, step
from bridge.store import Store, schema
from bridge.store.ledger import DueRow, Ledger, Settlement, Verdicts
from bridge.store.moves import Shift
from bridge.store.reports import Reports
from tests.store import kit
from tests.support import START

OPEN = (DeliveryState.PENDING, DeliveryState.SEALED, DeliveryState.HELD)
OUTCOMES = (Move.ACCEPT, Move.REJECT, Move.AGAIN, Move.HOLD, Move.DROP)
VERDICTS = (Move.VERIFY, Move.UNLINK, Move.REFUTE)
_tenants = (f"tenant-{number}" for number in count())


class Crash(BaseException):
    """The process ends here."""


@dataclass(slots=True)
class Trap:
    """The store's hook: raises once, at the side of the next commit it is set to."""

    side: str | None = None

    def __call__(self, label: str) -> None:
        if self.side is not None and label.startswith(self.side):
            self.side = None
            raise Crash(label)


@dataclass(slots=True)
class Life:
    """A ledger at work and what it ought to hold."""

    store: Store
    trap: Trap
    dice: random.Random
    tenant: str = field(default_factory=lambda: next(_tenants))
    states: dict[str, DeliveryState] = field(default_factory=dict)
    events: dict[str, list[str]] = field(default_factory=dict)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)  # delivery -> (lead, revision)
    open: dict[str, tuple[str, ...]] = field(default_factory=dict)  # batches without an answer -> their rows
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.store, self.tenant)

    async def do(self, write: Callable[[], Awaitable[object]], learn: Callable[[], None]) -> None:
        """Write, and learn what was written; now and then the process ends on either side of the commit."""
        self.trap.side = self.dice.choice(("before", "after", None, None, None, None))
        try:
            await write()
        except Crash as crash:
            if str(crash).startswith("before"):
                return
        finally:
            self.trap.side = None
        learn()

    def move(self, key: str, move: Move) -> None:
        self.states[key] = step(self.states[key], move)
        self.events[key].append(self.states[key])

    def of(self, state: DeliveryState) -> list[str]:
        return sorted(key for key, now in self.states.items() if now is state)

    def some(self, keys: Sequence[str]) -> list[str]:
        return sorted(self.dice.sample(keys, self.dice.randint(1, len(keys)))) if keys else []

    def ready(self) -> set[str]:
        """Pending rows which no earlier row of the same conversion stands before."""
        busy = {key: place for key, place in self.places.items() if self.states[key] in OPEN}
        first = {lead: min(revision for other, revision in busy.values() if other == lead) for lead, _ in busy.values()}
        return {key for key in self.of(DeliveryState.PENDING) if self.places[key][1] == first[self.places[key][0]]}

    # --- what may happen ---

    async def plan(self) -> None:
        lead = self.dice.randint(1, 4)
        revision = sum(place[0] == lead for place in self.places.values())
        made = kit.conversion(lead, revision, tenant=self.tenant)
        key = kit.key(lead, revision, tenant=self.tenant)

        def learn() -> None:
            self.places[key] = (lead, revision)
            self.states[key] = DeliveryState.PENDING
            self.events[key] = [DeliveryState.PENDING]

        await self.do(lambda: kit.plan(self.store, made, tenant=self.tenant), learn)

    async def seal(self) -> None:
        due = {row.content.delivery: row for row in await self.ledger.due(kit.ADS, START, 100)}
        assert set(due) == self.ready()
        rows: list[DueRow] = [due[key] for key in self.some(sorted(due))]
        if not rows:
            return
        keys, label = tuple(row.content.delivery for row in rows), kit.label(rows)

        def learn() -> None:
            self.open[label] = keys
            for key in keys:
                self.move(key, Move.SEAL)

        await self.do(lambda: self.ledger.seal(kit.ADS, label, rows, kit.render, START), learn)

    async def mark(self) -> None:
        if self.open:
            sealed = await self.on_the_wire()
            await self.do(lambda: self.ledger.mark(sealed, START, START), lambda: None)

    async def on_the_wire(self) -> Sealed:
        """One of the batches without an answer, as it is stored."""
        found = {one.sealed.label: one.sealed for one in await self.ledger.open_batches(kit.ADS, START, settled=False)}
        return found[self.dice.choice(sorted(self.open))]

    async def record(self) -> None:
        if not self.open:
            return
        sealed = await self.on_the_wire()
        label = sealed.label
        moves = {key: self.dice.choice(OUTCOMES) for key in self.open[label]}
        shifts = [Shift(key, move) for key, move in moves.items()]

        def learn() -> None:
            del self.open[label]
            for key, move in moves.items():
                self.move(key, move)

        await self.do(lambda: self.ledger.record(Settlement(sealed, shifts, {}, START), START), learn)

    async def verify(self) -> None:
        waiting = await self.ledger.open_batches(kit.ADS, START, settled=True)
        if not waiting:
            return
        batch = self.dice.choice(sorted(waiting, key=lambda batch: batch.sealed.label))
        rows = [row.delivery for row in await self.ledger.accepted(batch)]
        assert sorted(rows) == sorted(k for k in batch.sealed.rows if self.states[k] is DeliveryState.ACCEPTED)
        moves = {key: self.dice.choice(VERDICTS) for key in self.some(rows)}
        shifts = [Shift(key, move) for key, move in moves.items()]

        def learn() -> None:
            for key, move in moves.items():
                self.move(key, move)

        await self.do(lambda: self.ledger.verified(Verdicts(batch.sealed.label, shifts), START), learn)

    async def resolve(self) -> None:
        await self._single(DeliveryState.HELD, (Move.RESEND, Move.CONFIRM, Move.CANCEL))

    async def give_up(self) -> None:
        await self._single(DeliveryState.PENDING, (Move.EXPIRE, Move.REFUSE, Move.WITHDRAW))

    async def restore(self) -> None:
        await self._single(DeliveryState.CANCELLED, (Move.RESTORE,))

    async def _single(self, state: DeliveryState, moves: Sequence[Move]) -> None:
        rows = self.of(state)
        if not rows:
            return
        key, move = self.dice.choice(rows), self.dice.choice(moves)
        await self.do(lambda: self.ledger.move([Shift(key, move)], START), lambda: self.move(key, move))

    async def blunder(self) -> None:
        """A move that is not legal, of one row among legal ones: refused, and nothing happens to any of them."""
        move = self.dice.choice([move for move in Move if move is not Move.PLAN])
        wrong = [key for key, state in self.states.items() if (state, move) not in STEPS]
        if wrong:
            shifts = [Shift(key, move) for key in {*self.some(sorted(self.states)), self.dice.choice(sorted(wrong))}]
            with pytest.raises(StoreError):
                await self.ledger.move(shifts, START)

    # --- what must hold ---

    async def check(self) -> None:
        mine = schema.delivery.c.tenant == self.tenant
        stored = {row["id"]: row for row in await kit.rows(self.store, schema.delivery, mine)}
        assert {key: row["state"] for key, row in stored.items()} == self.states
        chains: dict[str, list[str]] = {key: [] for key in self.states}
        of_mine = schema.delivery_event.c.delivery.in_(sorted(self.states))
        for event in await kit.rows(self.store, schema.delivery_event, of_mine):
            chains[event["delivery"]].append(event["after"])
        assert chains == self.events
        found = await self.ledger.open_batches(kit.ADS, START, settled=False)
        assert {batch.sealed.label: batch.sealed.rows for batch in found} == self.open
        assert {batch.state for batch in found} <= {BatchState.SEALED, BatchState.SENDING}
        on_the_wire = sorted(key for rows in self.open.values() for key in rows)
        assert on_the_wire == self.of(DeliveryState.SEALED), "a sealed row is in exactly one open batch"
        assert all(stored[key]["batch"] == label for label, rows in self.open.items() for key in rows)


ACTS = (
    Life.plan,
    Life.seal,
    Life.mark,
    Life.record,
    Life.verify,
    Life.resolve,
    Life.give_up,
    Life.restore,
    Life.blunder,
)


@pytest.fixture
async def trapped(database_url: str) -> AsyncIterator[tuple[Store, Trap]]:
    trap = Trap()
    store = await Store.open(database_url, trap)
    yield store, trap
    await store.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(st.sampled_from(ACTS), min_size=5, max_size=30), seed=st.integers(0, 10**6))
async def test_any_sequence_of_steps_keeps_the_ledger_whole(
    trapped: tuple[Store, Trap], acts: list[Callable[[Life], Awaitable[None]]], seed: int
) -> None:
    """Planned, sealed, marked, recorded, verified, resolved, blundered and crashed in any order: states, chains and
    batches are what was committed; nothing overtakes; every sealed row is in one open batch."""
    store, trap = trapped
    life = Life(store, trap, random.Random(seed))
    await life.plan()
    for act in acts:
        await act(life)
        await life.check()
    assert await Reports(store).broken_chains() == 0
