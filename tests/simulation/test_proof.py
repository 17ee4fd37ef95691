"""What the ledger says of each conversion is what Metrica holds: the simulator knows which visit each was linked to."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.yandex_metrica.evidence import client_ids, sent_as
from adapters.yandex_metrica.fake import Metrica
from bridge.model import Outgoing
from bridge.sim.stage import METRICA, Cast
from bridge.store import codec, schema
from tests.simulation.kit import START, play, rows, staged

# What may stay open with reading back, and why: see the adapter's README.
OPEN = {"not_seen", "partly_seen"}


class Truth:
    """What one simulated counter holds."""

    def __init__(self, metrica: Metrica) -> None:
        applied = metrica.applied()
        self._linked = {(row.identifiers[0], row.target, row.at) for row in applied if row.is_linked}
        numbers = {goal["id"]: goal["conditions"][0]["url"] for goal in metrica.goals}
        shown = metrica._shown(metrica.clock.now())
        self._reached = {(visit.client_id, numbers[goal]) for visit, goals in shown for goal in goals}

    def is_linked(self, row: Outgoing) -> bool:
        """This very row counts."""
        return (sent_as(row)[1], row.target, row.occurred_at.replace(microsecond=0)) in self._linked

    def is_reached(self, row: Outgoing) -> bool:
        """Its visitor reached the goal, by this row or another."""
        return any((client_id, row.target) in self._reached for client_id in client_ids(row))


@pytest.mark.parametrize(("read_back", "is_harsh"), [("reports", False), ("logs", True)])
async def test_every_verdict_is_true_of_the_counter(read_back: str, is_harsh: bool, tmp_path: Path) -> None:
    """A third of the visits was never seen by the counter: what is proved is there, what is called unlinked is not."""
    stage = staged(Cast(11, START, days=9, leads=60, kinds=("amocrm",), is_harsh=is_harsh))
    (scene,) = stage.scenes
    metrica = scene.ads[METRICA]
    assert isinstance(metrica, Metrica)
    metrica.read_back = read_back
    metrica.unseen = {click.id for click in scene.world.clicks if click.id % 3 == 0}
    async with play(tmp_path, stage) as made:
        await made.live(timedelta(hours=4), timedelta(days=6))
        truth = Truth(metrica)
        delivery = schema.delivery
        found = await rows(made.installation.store, delivery, delivery.c.destination == METRICA)
    ends = Counter[tuple[str, str | None]]()
    for item in found:
        row, end = codec.outgoing(item["content"]), (item["state"], item["code"])
        ends[end] += 1
        if end[1] == "visit_log":
            assert truth.is_linked(row)
        elif end[1] == "goal_reach":
            assert truth.is_reached(row)
        elif end[0] == "unlinked":
            assert not truth.is_linked(row), end
        elif end[0] == "accepted":
            assert end[1] in OPEN
    print(dict(ends))
    states = Counter[str]()
    for (state, _), count in ends.items():
        states[state] += count
    assert states["verified"] > 20
    assert states["unlinked"] > 3
    if read_back == "logs":
        assert not any(code == "file_processed" for _, code in ends)
        assert any(code == "visit_log" for _, code in ends)
