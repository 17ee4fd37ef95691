"""What ``bridge check`` says of call trackers."""

from __future__ import annotations

import pytest

from bridge import trackers
from bridge.config import TrackerSettings
from bridge.ports import Level
from bridge.store import Store
from bridge.tenant import SourceUnit
from bridge.visits import VisitSettings
from tests.store.kit import ADS
from tests.unit.loops.kit import Ads, office
from tests.unit.loops.test_poll import SALE


@pytest.mark.parametrize(("told", "level"), [("unknown", Level.WARNING), ("yes", Level.OK), ("no", Level.OK)])
async def test_double_counting_is_warned_of_until_the_operator_says_how_it_is(
    store: Store, told: str, level: Level
) -> None:
    """The goals that calls must not be sent to are named."""
    made = office(store, {ADS: Ads()}, goals=[SALE])
    settings = TrackerSettings.model_validate({"kind": "calls", "sends_calls": told})
    finding = trackers.finding(made.tenant, SourceUnit("calls", settings, None))
    assert finding.level is level
    assert told == "no" or all(target in finding.message for target in SALE.send.values())


@pytest.mark.parametrize(("form_goal", "level"), [("lead_form", Level.OK), ("deal_won", Level.WARNING)])
async def test_a_goal_that_the_sites_forms_reach_is_warned_of_as_one_to_send_to(
    store: Store, form_goal: str, level: Level
) -> None:
    """The counter counts each form there already."""
    made = office(store, {ADS: Ads()}, goals=[SALE])
    settings = VisitSettings.model_validate({"kind": "visits", "form_goals": form_goal})
    finding = trackers.finding(made.tenant, SourceUnit("visits", settings, None))
    assert finding.level is level
    assert level is Level.OK or form_goal in finding.message
