"""The bridge itself, measured: the same functions a backfill and the daemon call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bridge import log
from bridge.compose import Installation, load_config
from bridge.loops import deliver, poll
from bridge.ports import Window
from bridge.sim.clock import ManualClock
from bridge.tenant import Progress, Tenant
from tests.bench import child
from tests.bench.child import Watch


@asynccontextmanager
async def tenant(told: dict[str, Any]) -> AsyncIterator[Tenant]:
    """The one tenant of a configuration, on a clock that stands at ``now``."""
    log.setup("error", "console")
    clock = ManualClock(datetime.fromisoformat(told["now"]))
    installation = await Installation.open(load_config(Path(told["config"])), clock, seed=1)
    try:
        yield await installation.tenant(installation.names()[0])
    finally:
        await installation.close()


async def read(who: Tenant, told: dict[str, Any]) -> Progress:
    """A backfill of everything there is."""
    since = datetime.fromisoformat(told["since"]) - timedelta(days=1)
    how = poll.Reading(since, moves_watermark=False)
    return await poll.read(who, who.sources["crm"], Window(since, who.clock.now()), how)


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


_PARTS = {"pipeline": pipeline, "reread": reread}

if __name__ == "__main__":
    told = child.arguments()
    asyncio.run(_PARTS[told.get("part", "pipeline")](told, Watch()))
