"""The bridge itself, measured: the same functions a backfill and the daemon call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bridge import log
from bridge.compose import Installation, load_config, settle_process
from bridge.loops import deliver, poll, reconcile
from bridge.model import IdKind, Outgoing
from bridge.ports import (
    Accepted,
    Admission,
    Answer,
    DestinationTraits,
    Fate,
    Finding,
    Pass,
    Payload,
    Proof,
    RowOutcome,
    RowVerdict,
    Sealed,
    Window,
)
from bridge.rules.floor import Floor
from bridge.sim.clock import ManualClock
from bridge.tenant import Progress, Tenant
from tests.bench import child
from tests.bench.child import Watch
from tests.bench.filling import fill


@asynccontextmanager
async def tenant(told: dict[str, Any]) -> AsyncIterator[Tenant]:
    """The one tenant of a configuration, on a clock that stands at ``now``."""
    log.setup("error", "console")
    settle_process()  # as every command does
    clock = ManualClock(datetime.fromisoformat(told["now"]) + timedelta(minutes=told.get("minutes", 0)))
    installation = await Installation.open(load_config(Path(told["config"])), clock, seed=1)
    try:
        yield await installation.tenant(installation.names()[0])
    finally:
        await installation.close()


def everything(who: Tenant, told: dict[str, Any]) -> Window:
    """From before the first lead until now."""
    return Window(datetime.fromisoformat(told["since"]) - timedelta(days=1), who.clock.now())


async def read(who: Tenant, told: dict[str, Any]) -> Progress:
    """A backfill of everything there is."""
    window = everything(who, told)
    how = poll.Reading(Floor(window.start), moves_watermark=False)
    return await poll.read(who, who.sources["crm"], window, how)


async def pipeline(told: dict[str, Any], watch: Watch) -> None:
    """CRM to ledger to Metrica."""
    async with tenant(told) as who:
        watch.start()
        progress = await read(who, told)
        if not told.get("is_reading_only"):
            progress += await deliver.once(who, force=True)
        watch.stop()
    done = {str(name): count for name, count in progress.done.items()}
    child.report(watch, done["listed"], done=done, problems=progress.problems)


async def reread(told: dict[str, Any], watch: Watch) -> None:
    """Everything again, nothing of it changed."""
    async with tenant(told) as who:
        first, second = Watch(), Watch()
        first.start()
        progress = await read(who, told)
        first.stop()
        second.start()
        again = await read(who, told)
        second.stop()
    watch.seconds, watch.cpu = first.seconds, first.cpu
    more = {"seconds": second.seconds, "cpu": second.cpu, "changed": again.done["changed"]}
    child.report(watch, progress.done["listed"], again=more)


async def prepare(told: dict[str, Any], watch: Watch) -> None:
    """A ledger full of promises, none of them sent."""
    async with tenant(told) as who:
        watch.start()
        await fill(who, told["count"])
        watch.stop()
    child.report(watch, told["count"])


async def upload(told: dict[str, Any], watch: Watch) -> None:
    """Send everything that is due; what a killed process left open is repaired first."""
    async with tenant(told) as who:
        watch.start()
        progress = await reconcile.once(who)
        progress += await deliver.once(who, force=True)
        watch.stop()
    child.report(watch, sum(progress.done.values()), problems=progress.problems)


class Instant:
    """A destination that takes everything at once, without a network."""

    traits = DestinationTraits(proof=Proof.ROW, accepts=(IdKind.YCLID,), verify_first=None)

    async def check(self, targets: Mapping[str, str]) -> list[Finding]:
        return []

    def batch_size(self, due: int) -> int:
        return 10_000

    def batch_key(self, row: Outgoing) -> str:
        return ""

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        return Admission(Pass.SEND)

    def render(self, rows: Sequence[Outgoing], label: str) -> Payload:
        return Payload(b"\n".join(row.identifiers[0].value.encode() for row in rows))

    async def send(self, batch: Sealed) -> Answer:
        return Answer(tuple(RowOutcome(row, Fate.ACCEPTED) for row in batch.rows), {})

    async def lookup(self, batch: Sealed, sent_at: datetime) -> Answer | None:
        return None

    async def verify(self, accepted: Accepted) -> list[RowVerdict] | None:
        return None

    async def close(self) -> None:
        """Nothing is held."""


async def ledger(told: dict[str, Any], watch: Watch) -> None:
    """Plan and store, then seal, mark, send and record; only the second half is on the main watch."""
    async with tenant(told) as who:
        planning = Watch()
        planning.start()
        await fill(who, told["count"])
        planning.stop()
        who.destinations["metrica"].port = Instant()
        inside = _clocked(who)
        watch.start()
        progress = await deliver.once(who, force=True)
        watch.stop()
    more = {"planning": planning.seconds, "database": inside.seconds, "transactions": inside.count}
    child.report(watch, progress.done["accepted"], **more)


@dataclass(slots=True)
class _Inside:
    """Seconds inside transactions, and their number."""

    seconds: float = 0.0
    count: int = 0


def _clocked(who: Tenant) -> _Inside:
    """Count the time between the beginning of every transaction and its end."""
    inside = _Inside()

    def clocked(opened: Callable[..., AbstractAsyncContextManager[Any]]) -> Any:
        @asynccontextmanager
        async def block(*arguments: Any) -> AsyncIterator[Any]:
            began = time.perf_counter()
            try:
                async with opened(*arguments) as connection:
                    yield connection
            finally:
                inside.seconds += time.perf_counter() - began
                inside.count += 1

        return block

    store: Any = who.store
    store.read, store.write = clocked(store.read), clocked(store.write)
    return inside


_PARTS = {
    "pipeline": pipeline,
    "reread": reread,
    "upload prepare": prepare,
    "upload": upload,
    "ledger": ledger,
}

if __name__ == "__main__":
    told = child.arguments()
    asyncio.run(_PARTS[told.get("part", "pipeline")](told, Watch()))
