"""What changed rules would change of what is counted: a goal that they undo is lost."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest

from bridge.config import Goal
from bridge.loops import replan
from bridge.rules.flips import Change, Comparison
from bridge.store import Store
from tests.store.kit import ADS
from tests.unit.loops.kit import Office
from tests.unit.loops.test_unsold import LOST, Life, deal

GOOD: dict[str, Any] = {"name": "good", "when": {"stage": "Good"}, "value": 100, "send": {ADS: "good"}}
GONE: dict[str, Any] = {"name": "gone", "when": {"outcome": "lost"}, "send": {}}
UNDONE = [{**GOOD, "undone_by": ["gone"]}, GONE]


async def compared(made: Office, goals: list[dict[str, Any]]) -> Comparison:
    """All that is stored, by these goals in place of the tenant's."""
    changed = [Goal.model_validate(goal) for goal in goals]
    made.tenant.settings = made.tenant.settings.model_copy(update={"goals": changed})
    made.tenant._digests = made.tenant.sources["crm"].compiled = None
    found = Comparison(20)
    async with aclosing(replan.looks(made.tenant, [goal.name for goal in changed])) as pages:
        async for page in pages:
            for one, look in page.looks:
                found.add(one.key, look)
    return found


@pytest.mark.parametrize("sends", [True, False])
async def test_a_goal_that_changed_rules_undo_is_lost(sends: bool, store: Store) -> None:
    """Whether it was sent or only promised: it counts now and would not then, and the reason names what undoes it."""
    life = Life(store, GOOD)
    await life.read(deal(*LOST), sends=sends)
    found = await compared(life.office, UNDONE)
    count = found.goals["good"]
    assert (count.before, count.after, dict(count.changes)) == (1, 0, {Change.LOST: 1})
    (lost,) = [flip for flip in found.flips if flip.goal == "good"]
    assert lost.reason.startswith('undone by the goal "gone"')


@pytest.mark.parametrize("adjusts", [True, False])
async def test_what_is_undone_already_does_not_flip(adjusts: bool, store: Store) -> None:
    """By the rules that took it back, or said that it stays, nothing would change."""
    life = Life(store, GOOD, adjusts=adjusts)
    await compared(life.office, UNDONE)
    await life.read(deal(*LOST[:1]))
    await life.read(deal(*LOST))
    assert (await compared(life.office, UNDONE)).flips == []
