"""The deep sweep over whole businesses: readings miss nothing whatever the CRM does, and if they did, it is found."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.amocrm.fake import AmoCrm
from adapters.amocrm.fake_store import FIRST_LEAD
from adapters.bitrix24.fake import Bitrix24
from adapters.hubspot.fake import HubSpot
from bridge import commands
from bridge.daemon import Daemon
from bridge.sim.clock import SharedClock
from bridge.sim.events import Carrier, Click, Lead, StageName, Step
from bridge.sim.stage import METRICA, METRICA_TARGETS, SOURCE, Cast, Stage
from bridge.store import schema
from bridge.web.status import attention, status
from tests.simulation.kit import CRMS, START, Play, events, play, rows, staged, tell
from tests.simulation.traps import OPTIONS, edit_in_bulk, restless

HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
CAME = START + DAY


async def shown(made: Play) -> dict[str, Any]:
    """What status says of the first tenant's source, with the lines that need attention under ``attention``."""
    installation, now = made.installation, made.stage.clock.now()
    report = await status(installation.reports, made.config, installation.names(), now)
    source: dict[str, Any] = report["tenants"][made.stage.scenes[0].tenant]["sources"][SOURCE]
    return {**source, "attention": attention(report, made.config, now)}


# --- nothing is missed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CRMS)
async def test_under_every_paging_trap_readings_miss_nothing(kind: str, tmp_path: Path, logs: io.StringIO) -> None:
    """Leads that move while their pages are read, bulk edits of more than a page in one second, lost pages, bounds and
    orders as nobody promised them: a dozen sweeps find nothing that the readings had not."""
    cast = Cast(7, START, days=4, leads=900, kinds=(kind,), crm_options=OPTIONS[kind])
    async with play(tmp_path, staged(cast), source={"sweep_every": "6h"}) as made:
        for turn in range(12):
            if turn in (3, 6):
                edit_in_bulk(made)
            await restless(made, 8 * HOUR)
        while made.stage.told_until < START + 8 * DAY:
            await made.turn(12 * HOUR)
        assert [line for line in made.problems if "came empty" not in line] == []  # an alarm, and the cursor stays
        verdicts = made.stage.verdicts(DAY).values()
        assert all(verdict.is_clean for verdict in verdicts), [verdict.summary() for verdict in verdicts]
        sweeps = events(logs, "source_swept")
        assert len(sweeps) >= 12
        assert sum(line["deals"] for line in sweeps) >= 2000
        assert [(line["missed"], line["gone"]) for line in sweeps] == [(0, 0)] * len(sweeps)
        assert events(logs, "sweep_missed") == []


# --- and if something were ---------------------------------------------------------------------------------------


def lead(number: int, *steps: Step) -> Lead:
    """A lead with a click of its own; its first step is that it came."""
    yclid = f"1775110000000000{number:04d}"
    click = Click(number, CAME - HOUR, number, f"https://okna.example/?yclid={yclid}", "", yclid, None)
    first = Step(CAME + number * MINUTE, StageName.NEW)
    phones = (f"+7999000{number:04d}",)
    return Lead(
        number, number, first.at, "Иван Тестов", phones, (), click, Carrier.FIELD, "", "Сайт", (), (first, *steps)
    )


def hide(made: Play, number: int) -> None:
    """From now on lists by time pass over this lead of the world."""
    crm = made.stage.scenes[0].crm
    if isinstance(crm, AmoCrm):
        crm.store.unlisted.add(FIRST_LEAD + number)
        return
    kind, _, own = crm.deal_key(number).partition(":")
    if isinstance(crm, HubSpot):
        crm.data.unlisted.add((f"{kind}s", int(own)))
    else:
        assert isinstance(crm, Bitrix24)
        crm.data.tables[kind].unlisted.add(int(own))


def reached(made: Play) -> Sequence[tuple[str, Any, Decimal | None]]:
    applied = made.stage.scenes[0].ads[METRICA].applied()
    assert all(row.reaches == 1 for row in applied)
    return sorted((row.target, row.at, row.value) for row in applied)


@pytest.mark.parametrize("kind", CRMS)
async def test_a_change_that_no_window_shows_is_found_counted_and_repaired(
    kind: str, tmp_path: Path, logs: io.StringIO
) -> None:
    """The lead was qualified and sold in no reading's sight: the sweep names it, and both conversions arrive with their
    true times. The next sweep is clean again."""
    steps = (
        Step(CAME + 3 * HOUR, StageName.QUALIFIED),
        Step(CAME + 5 * HOUR, StageName.WON, value=Decimal(90_000)),
    )
    hidden, other = lead(1, *steps), lead(2, Step(CAME + 20 * HOUR, StageName.CONTACTED))
    async with play(tmp_path, staged(Cast(1, START, days=3, leads=0, kinds=(kind,)))) as made:
        scene = made.stage.scenes[0]
        await made.turn()
        for story in (hidden, other):
            tell(scene, story, made.stage, slice(1))
        await made.turn(MINUTE)
        hide(made, 1)
        tell(scene, hidden, made.stage, slice(1, None))
        tell(scene, other, made.stage, slice(1, None))  # the watermark passes the hidden moment by far
        await made.turn(2 * MINUTE)
        assert reached(made) == []
        await made.turn(HOUR)  # the first sweep is due a day after the first look
        await made.turn(4 * HOUR)
        found = await shown(made)
        assert (found["sweep_missed"], found["sweep_gone"], found["last_error"]) == (1, 0, None)
        assert any("missed" in line for line in found["attention"])
        (line,) = events(logs, "sweep_missed")
        assert (line["missed"], line["records"]) == (1, [scene.crm.deal_key(1)])
        assert reached(made) == [
            (METRICA_TARGETS["sale"], CAME + 5 * HOUR, Decimal(90_000)),
            (METRICA_TARGETS["qualified"], CAME + 3 * HOUR, None),
        ]
        await made.turn(DAY)
        clean = await shown(made)
        assert (clean["sweep_missed"], clean["swept_at"] > found["swept_at"]) == (0, True)
        assert clean["attention"] == []
        assert made.problems == []


async def test_a_deal_deleted_in_bitrix24_is_noticed_and_so_is_its_return(tmp_path: Path) -> None:
    """The portal keeps no list of deletions: polls see nothing, the sweep asks, and asks again later. One whose reading
    is forbidden since is counted and left."""
    async with play(tmp_path, staged(Cast(1, START, days=3, leads=0, kinds=("bitrix24",)))) as made:
        scene = made.stage.scenes[0]
        crm = scene.crm
        assert isinstance(crm, Bitrix24)
        await made.turn()
        for number in (1, 2, 3):
            tell(scene, lead(number), made.stage)
        await made.turn(MINUTE)
        keys = [crm.deal_key(number) for number in (1, 2, 3)]
        place, _, own = keys[0].partition(":")
        record = crm.data.record(place, int(own))
        for key, change in ((keys[0], crm.data.delete), (keys[1], lambda kind, own: crm.data.tables[kind].hide(own))):
            kind, _, own = key.partition(":")
            change(kind, int(own))
        await made.turn(DAY + HOUR)
        found = await shown(made)
        assert (found["sweep_missed"], found["sweep_gone"], found["attention"]) == (0, 2, [])
        is_open = {row["deal"]: row["is_open"] for row in await rows(made.installation.store, schema.deal)}
        assert [is_open[key] for key in keys] == [False, True, True]
        crm.data.restore(place, record)  # out of the bin, which moves no time
        await made.turn(DAY + HOUR)
        found = await shown(made)
        assert (found["sweep_missed"], found["sweep_gone"], found["attention"]) == (0, 1, [])
        is_open = {row["deal"]: row["is_open"] for row in await rows(made.installation.store, schema.deal)}
        assert is_open[keys[0]]
        assert made.problems == []


async def test_the_daemon_sweeps_beside_its_polls(tmp_path: Path, logs: io.StringIO) -> None:
    """As a job of its own; it ends with all others when the daemon stops."""
    stage = Stage(Cast(1, START, days=2, leads=20, kinds=CRMS), SharedClock(tmp_path / "clock"))
    async with play(tmp_path, stage) as made:
        stage.advance(START + DAY)
        daemon = Daemon(made.installation, tick=0.05)
        running = asyncio.create_task(daemon.run())
        async with asyncio.timeout(60):
            while len({line["tenant"] for line in events(logs, "source_swept")}) < len(CRMS):
                await asyncio.sleep(0.05)
                stage.advance(stage.told_until + HOUR)  # the first sweep is due a day after the first look
        daemon.stop()
        await running
        assert events(logs, "sweep_missed") == []
        assert events(logs, "loop_failed") == []


async def test_sync_sweeps_when_it_is_due(tmp_path: Path) -> None:
    """Who runs the bridge from cron gets the same; what was looked after is told in words."""
    async with play(tmp_path, staged(Cast(1, START, days=1, leads=20, kinds=("amocrm",)))) as made:
        made.stage.advance(START + 2 * DAY)
        first = await commands.sync(made.config, made.stage.clock, None)
        assert "reread" not in first.data["done"]["okna"]
        made.stage.advance(START + 3 * DAY + MINUTE)
        again = await commands.sync(made.config, made.stage.clock, None)
        assert again.status == 0
        assert again.data["done"]["okna"]["reread"] >= 1
        assert "missed" not in again.data["done"]["okna"]
