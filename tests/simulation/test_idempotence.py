"""Reading again, in whatever order, changes nothing: ids are digests of facts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from adapters.amocrm.fake import Quirks
from bridge import commands
from bridge.sim.stage import Cast
from bridge.store import schema
from tests.simulation.kit import CRMS, START, Play, play, staged, uploads

DAYS, LEADS = 6, 60
SINCE = "2026-02-27"


def cast(kind: str, **options: Any) -> Cast:
    return Cast(5, START, days=DAYS, leads=LEADS, kinds=(kind,), crm_options=options)


async def backfill(made: Play) -> Mapping[str, int]:
    """``bridge backfill`` of the whole time; returns its counts."""
    tenant = made.stage.scenes[0].tenant
    period = commands.Period(tenant, SINCE, None, None, is_dry=False, as_json=True)
    outcome = await commands.backfill(made.config, made.stage.clock, period)
    assert outcome.status == 0
    counts: Mapping[str, int] = outcome.data["counts"]
    return counts


@pytest.mark.parametrize("kind", CRMS)
async def test_a_second_backfill_and_a_sync_send_nothing(kind: str, tmp_path: Path) -> None:
    """The first backfill of a period sends all of it; the second, and the sync after it, make no upload at all."""
    async with play(tmp_path, staged(cast(kind))) as made:
        scene = made.stage.scenes[0]
        made.stage.advance(START + timedelta(days=DAYS + 2))
        assert (await backfill(made))["changed"] >= LEADS
        made.stage.clock.set(made.stage.clock.now() + timedelta(hours=8))  # the business itself stands still
        first = {name: sorted(map(repr, account.applied())) for name, account in scene.ads.items()}
        sent = uploads(scene)
        assert sent >= 2
        assert all(verdict.is_clean and verdict.certain for verdict in made.stage.verdicts().values())

        assert (await backfill(made)).get("planned", 0) == 0
        synced = await commands.sync(made.config, made.stage.clock, None)
        assert synced.status == 0
        assert uploads(scene) == sent
        assert {name: sorted(map(repr, account.applied())) for name, account in scene.ads.items()} == first


async def originals(made: Play) -> tuple[set[str], set[str]]:
    """Ids of all first conversions and of the deliveries they were promised as."""
    parent, promised = schema.conversion, schema.delivery
    query = (
        select(parent.c.id, promised.c.id)
        .select_from(parent.outerjoin(promised, promised.c.conversion == parent.c.id))
        .where(parent.c.revision == 0)
    )
    async with made.installation.store.read() as connection:
        found = (await connection.execute(query)).all()
    return {conversion for conversion, _ in found}, {delivery for _, delivery in found if delivery is not None}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("amocrm", {"quirks": Quirks(event_order="shuffled")}),
        ("bitrix24", {}),
        ("hubspot", {"lag": timedelta(seconds=110)}),
    ],
    ids=CRMS,
)
async def test_ids_do_not_depend_on_the_order_of_reading(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Polled every few hours, or read at once at the end (amoCRM: with its history in another order, too): the same
    conversions and deliveries under the same ids."""
    results = []
    for number, (hours, own) in enumerate(((7, {}), (24 * DAYS, options))):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with play(folder, staged(cast(kind, **own))) as made:
            await made.live(timedelta(hours=hours), tail=timedelta(days=1))
            results.append(await originals(made))
    conversions, deliveries = results[0]
    assert len(conversions) >= 20
    assert len(deliveries) >= 20
    assert results[1] == results[0]
