"""Client and simulator over real sockets: the whole life of a batch, with and without trouble."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.yandex_metrica import SPEC
from adapters.yandex_metrica.destination import Metrica
from adapters.yandex_metrica.fake import Metrica as Simulator
from bridge import registry
from bridge.errors import Ambiguous, BridgeError, Drift, Throttled, Unavailable
from bridge.identity import batch_id
from bridge.model import IdKind, Outgoing
from bridge.ports import Accepted, Answer, Fate, Level, Sealed, Seen
from bridge.sim.clock import ManualClock
from bridge.sim.faults import FaultPlan
from tests.adapters.yandex_metrica.helpers import CLIENT_ID, HOUR, YCLID, click, client_of, roubles, row, sealed, settle
from tests.support import START


def leads(count: int) -> list[Outgoing]:
    """Rows with a yclid, a ClientID, or both, of visits the simulator is told about by ``visited``."""
    kinds = ((IdKind.YCLID,), (IdKind.CLIENT_ID,), (IdKind.CLIENT_ID, IdKind.YCLID))
    return [
        row(*((kind, _value(kind, number)) for kind in kinds[number % 3]), number=number, value=roubles(str(number)))
        for number in range(count)
    ]


def _value(kind: IdKind, number: int) -> str:
    return str((12345000000000000000 if kind is IdKind.YCLID else 1712345678000000000) + number)


def visited(simulator: Simulator, count: int) -> None:
    for number in range(count):
        yclid, client_id = _value(IdKind.YCLID, number), _value(IdKind.CLIENT_ID, number)
        simulator.know(click(number, yclid=yclid, client_id=client_id))


def label_of(rows: Sequence[Outgoing], attempt: int = 0) -> str:
    return batch_id("okna/metrica", [(item.delivery, attempt) for item in rows])


async def deliver(client: Metrica, clock: ManualClock, batch: Sealed) -> Answer:
    """What the core does with one batch: send; after a lost answer look up, and send again what is surely absent."""
    while True:
        sent_at = clock.now()
        try:
            return await client.send(batch)
        except (Ambiguous, Drift):
            clock.advance(client.traits.visibility)
        except (Throttled, Unavailable):
            clock.advance(HOUR)
            continue
        while True:
            try:
                found = await client.lookup(batch, sent_at)
                break
            except BridgeError:
                clock.advance(timedelta(minutes=1))
        if found is not None:
            return found


async def test_a_batch_is_sent_processed_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row arrives under its best identifier with its time and value, and is linked."""
    clock = ManualClock(START)
    simulator = Simulator(clock)
    visited(simulator, 30)
    async with client_of(simulator, clock, tmp_path, monkeypatch) as client:
        rows = leads(30)
        batch = sealed(rows)
        answer = await client.send(batch)
        assert await client.verify(Accepted(answer.receipt, tuple(rows), clock.now())) is None
        verdicts = await settle(client, clock, answer, rows)
    assert [(verdict.delivery, verdict.seen) for verdict in verdicts] == [(name, Seen.VERIFIED) for name in batch.rows]
    applied = simulator.applied()
    at = START - timedelta(minutes=30)
    kinds = (IdKind.YCLID, IdKind.CLIENT_ID, IdKind.YCLID)
    assert [(item.identifiers, item.value, item.at) for item in applied] == [
        ((_value(kinds[number % 3], number),), Decimal(number), at) for number in range(30)
    ]
    assert all(item.is_linked and item.reaches == 1 for item in applied)


async def test_unknown_visitors_end_as_unlinked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LINKAGE_FAILURE is a verdict, not an error."""
    clock = ManualClock(START)
    simulator = Simulator(clock, processing=HOUR)
    async with client_of(simulator, clock, tmp_path, monkeypatch) as client:
        rows = leads(2)
        verdicts = await settle(client, clock, await client.send(sealed(rows)), rows)
    assert {(verdict.seen, verdict.code) for verdict in verdicts} == {(Seen.UNLINKED, "linkage_failure")}
    assert clock.now() == START + HOUR


async def test_a_new_value_overwrites_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restatement is the same row with another price: one reach, the new amount."""
    clock = ManualClock(START)
    simulator = Simulator(clock)
    visited(simulator, 1)
    async with client_of(simulator, clock, tmp_path, monkeypatch) as client:
        for number, amount in enumerate(("100.00", "250.50", "0")):
            rows = [row(number=number, value=roubles(amount))]
            await client.send(sealed(rows, label_of(rows)))
    assert [(item.value, item.reaches) for item in simulator.applied()] == [(Decimal("0.00"), 1)]
    assert simulator.repeated_labels == 0


async def test_one_bad_row_among_two_thousand_is_found_by_halving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly that row is rejected, every other one accepted and counted once, in at most 2 log2(n) + 1 uploads."""
    clock = ManualClock(START)
    simulator = Simulator(clock, is_limited=False)
    rows = leads(2000)
    bad = rows[1234]
    simulator.bad_rows = {identifier.value for identifier in bad.identifiers}
    fates: dict[str, tuple[Fate, str]] = {}
    async with client_of(simulator, clock, tmp_path, monkeypatch) as client:
        open_batches = deque([rows])
        while open_batches:
            part = open_batches.popleft()
            answer = await client.send(sealed(part, label_of(part)))
            if answer.outcomes[0].fate is Fate.SPLIT:
                middle = len(part) // 2
                open_batches += [part[:middle], part[middle:]]
            else:
                fates.update({outcome.delivery: (outcome.fate, outcome.code) for outcome in answer.outcomes})
    assert fates.pop(bad.delivery) == (Fate.REJECTED, "row_refused")
    assert Counter(fates.values()) == {(Fate.ACCEPTED, ""): 1999}
    assert len(simulator.applied()) == 1999
    assert len(simulator.uploads) <= 23


@pytest.mark.parametrize("seed", range(2))
async def test_nothing_is_lost_or_doubled_under_harsh_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """429, 5xx before and after applying, dropped connections and cut bodies: each row counts exactly once."""
    clock = ManualClock(START)
    faults = FaultPlan.harsh(seed)
    faults.rates = dict.fromkeys(faults.rates, 0.1)
    simulator = Simulator(clock, faults, is_limited=False)
    visited(simulator, 24)
    async with client_of(simulator, clock, tmp_path, monkeypatch) as client:
        rows = leads(24)
        for start in range(0, 24, 4):
            part = rows[start : start + 4]
            batch = sealed(part, label_of(part))
            answer = await deliver(client, clock, batch)
            assert {outcome.fate for outcome in answer.outcomes} == {Fate.ACCEPTED}
            verdicts = await settle(client, clock, answer, part)
            assert {verdict.seen for verdict in verdicts} == {Seen.VERIFIED}
    assert sorted(item.value for item in simulator.applied() if item.value is not None) == [*map(Decimal, range(24))]
    assert sum(faults.drawn.values()) > 10, f"seed {seed} brought too little trouble to show anything"
    # An upload that was taken is found by its label, so the same one never goes out twice.
    assert simulator.repeated_labels == 0


async def test_the_check_passes_on_a_good_counter_and_names_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator's goals are found; a wrong access level and a wrong goal are errors."""
    clock = ManualClock(START)
    simulator = Simulator(clock)
    async with client_of(simulator, clock, tmp_path, monkeypatch) as client:
        good = await client.check({"qualified": "qualified_lead", "sale": "deal_won"})
        assert [finding.level for finding in good] == [Level.OK] * 4
        simulator.permission = "view"
        simulator.add_goal("broad_lead", condition="contain")
        bad = await client.check({"qualified": "broad_lead", "sale": "dealwon"})
    assert [finding.level for finding in bad] == [Level.ERROR, Level.WARNING, Level.ERROR, Level.OK]
    assert "nearest: deal_won" in bad[2].message


async def test_the_clients_pace_stays_inside_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst of status requests is paced by the client: the vendor never has to say 429."""
    clock = ManualClock(START)
    simulator = Simulator(clock)
    async with client_of(simulator, clock, tmp_path, monkeypatch) as client:
        item = row((IdKind.YCLID, YCLID), (IdKind.CLIENT_ID, CLIENT_ID))
        answer = await client.send(sealed([item]))
        for _ in range(40):
            await client.verify(Accepted(answer.receipt, (item,), clock.now()))
    assert simulator.requests["GET uploading"] == 40


def test_the_registry_finds_the_adapter() -> None:
    """By the folder's name."""
    assert registry.spec("yandex_metrica") is SPEC
