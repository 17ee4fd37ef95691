"""A form of the advertiser's site breaks: it is noticed within a day, told once, and over soon after the repair."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge import standing
from bridge.frozen import replace
from bridge.sim.events import Carrier, Lead
from bridge.sim.stage import SOURCE, Cast, Scene
from tests.simulation.kit import CRMS, START, Play, events, play, staged

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BROKE, MENDED = START + 12 * DAY + 9 * HOUR, START + 14 * DAY + 9 * HOUR


def without_ids(lead: Lead) -> Lead:
    """Neither identifiers nor utm tags reach the CRM."""
    return replace(lead, click=None, carrier=Carrier.NONE)


def without_client_id(lead: Lead) -> Lead:
    """The page's address, and a yclid in it, still do."""
    return lead if lead.click is None else replace(lead, click=replace(lead.click, client_id=None))


def breaks(scene: Scene, how: Callable[[Lead], Lead]) -> None:
    """What becomes of leads that come in between."""
    leads = tuple(how(lead) if BROKE <= lead.created_at < MENDED else lead for lead in scene.world.leads)
    scene.world = replace(scene.world, leads=leads)
    scene.__post_init__()


async def fallen(made: Play) -> list[dict[str, Any]]:
    """What ``bridge status`` says of it."""
    outcome = await standing.status(made.config, made.stage.clock, None)
    (tenant,) = outcome.data["tenants"].values()
    found: list[dict[str, Any]] = tenant["sources"][SOURCE]["coverage"]["fallen"]
    assert bool(found) == any("new leads have a" in line for line in outcome.data["attention"])
    return found


async def live(made: Play, until: timedelta, step: timedelta) -> None:
    """Up to so long after the start."""
    while made.stage.told_until < START + until:
        await made.turn(step)


def told(logs: io.StringIO, event: str) -> list[tuple[str, str, str]]:
    """This event of the log: name, channel, identifier."""
    return [(one["event"], one["channel"], one["identifier"]) for one in events(logs, event)]


@pytest.mark.parametrize(
    ("kind", "how", "where"),
    [
        *((kind, without_ids, ("all", "any")) for kind in CRMS),
        ("amocrm", without_client_id, ("yandex_direct", "client_id")),
    ],
    ids=[*CRMS, "client_id"],
)
async def test_a_broken_form_is_noticed_within_a_day(
    kind: str, how: Callable[[Lead], Lead], where: tuple[str, str], tmp_path: Path, logs: io.StringIO
) -> None:
    """Silent before; standing 24 hours later; told once; gone after the repair."""
    stage = staged(Cast(3, START, days=18, leads=540, kinds=(kind,)))
    breaks(stage.scenes[0], how)
    async with play(tmp_path, stage) as made:
        await live(made, BROKE - START, 27 * HOUR)
        assert await fallen(made) == []
        await live(made, BROKE - START + DAY, 3 * HOUR)
        assert where in [(one["channel"], one["identifier"] or "any") for one in await fallen(made)]
        await live(made, MENDED - START + 3 * DAY, 6 * HOUR)
        assert await fallen(made) == []
        fell = told(logs, "coverage_fell")
        assert sorted(set(fell)) == sorted(fell)
        assert sorted(place for _, *place in told(logs, "coverage_recovered")) == sorted(place for _, *place in fell)
