"""What the tests of this adapter share: rows, batches, and a client standing before a simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.yandex_metrica.destination import Metrica
from adapters.yandex_metrica.fake import Metrica as Simulator
from adapters.yandex_metrica.mapping import render
from adapters.yandex_metrica.settings import MetricaSettings
from bridge.errors import BridgeError
from bridge.model import Identifier, IdKind, Money, Outgoing
from bridge.ports import Accepted, Answer, Payload, RowVerdict, Sealed, Seen
from bridge.sim.clock import ManualClock
from bridge.sim.events import Click
from bridge.tools import Clock
from tests.support import START, adapter_tools

SAMPLES = Path(__file__).parents[3] / "adapters" / "yandex_metrica" / "samples"
LABEL = "0123456789abcdef0123456789abcdef"
YCLID = "12345000000000000001"
CLIENT_ID = "1712345678123456789"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TOKEN_NAME = "OKNA_METRICA_TOKEN"


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def row(*identifiers: tuple[IdKind, str], number: int = 1, **changes: Any) -> Outgoing:
    """A delivery of a deal created an hour before START, qualified half an hour before it."""
    given: dict[str, Any] = {
        "delivery": f"{number:032x}",
        "order_key": f"{number + 1000:032x}",
        "target": "qualified_lead",
        "goal": "qualified",
        "occurred_at": START - timedelta(minutes=30),
        "deal_created_at": START - HOUR,
        "value": None,
        "identifiers": tuple(Identifier(kind, value) for kind, value in identifiers or ((IdKind.YCLID, YCLID),)),
        "touched_at": START - HOUR,
    }
    return Outgoing(**{**given, **changes})


def roubles(amount: str) -> Money:
    return Money.of(amount, "RUB")


def sealed(rows: Sequence[Outgoing], label: str = LABEL) -> Sealed:
    return Sealed(label, render(rows, label), tuple(item.delivery for item in rows))


def opaque(count: int = 1, label: str = LABEL) -> Sealed:
    """A batch whose bytes do not matter."""
    return Sealed(label, Payload(b"x", "multipart/form-data; boundary=x"), tuple(f"{n:032x}" for n in range(count)))


def click(number: int, at: datetime = START - 2 * HOUR, **identifiers: str) -> Click:
    return Click(number, at, number, "https://okna.example/", "", **identifiers)


async def settle(
    client: Metrica, clock: ManualClock, answer: Answer, rows: Sequence[Outgoing], every: timedelta | None = None
) -> list[RowVerdict]:
    """Ask like the core does, about the rows that still lack a verdict; those that never get one end as LATER.

    ``every``: more seldom than the traits say, because the client's own pace is kept in real time.
    """
    answered_at, waiting, settled = clock.now(), list(rows), list[RowVerdict]()
    while waiting and clock.now() - answered_at < client.traits.verify_limit:
        clock.advance(every or client.traits.verify_every)
        try:
            verdicts = await client.verify(Accepted(answer.receipt, tuple(waiting), answered_at)) or []
        except BridgeError:
            continue
        settled += [verdict for verdict in verdicts if verdict.seen is not Seen.LATER]
        named = {verdict.delivery for verdict in settled}
        waiting = [item for item in waiting if item.delivery not in named]
    settled += [RowVerdict(item.delivery, Seen.LATER) for item in waiting]
    return sorted(settled, key=lambda verdict: verdict.delivery)


@asynccontextmanager
async def client_of(
    simulator: Simulator, clock: Clock, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[Metrica]:
    """The real client over real sockets; the simulator is started and stopped."""
    await simulator.start()
    try:
        for name, secret in simulator.secrets().items():
            monkeypatch.setenv(name, secret)
        async with adapter_tools(clock, folder) as tools:
            section = {**simulator.settings(), **settings}
            yield Metrica("metrica", MetricaSettings.model_validate(section), tools)
    finally:
        await simulator.stop()


@asynccontextmanager
async def client_at(
    base_url: str, clock: Clock, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[Metrica]:
    """The real client for an address that respx answers for."""
    monkeypatch.setenv(TOKEN_NAME, "y0_SAMPLE")
    section = {
        "kind": "yandex_metrica",
        "counter_id": 90000001,
        "token": {"env": TOKEN_NAME},
        "base_url": base_url,
        **settings,
    }
    async with adapter_tools(clock, folder) as tools:
        yield Metrica("metrica", MetricaSettings.model_validate(section), tools)
