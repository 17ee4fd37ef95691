"""Conversion actions and their account, looked at through the Google Ads API by ``bridge check``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.google_ads import ads_api, inspection
from adapters.google_ads.ads_api import Action
from adapters.google_ads.fake import GoogleAds
from adapters.google_ads.fake_ads import ACTIONS, FakeCustomer, search
from bridge.frozen import replace
from bridge.ports import Finding
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault
from bridge.tools import DriftCounts
from tests.adapters.google_ads import official
from tests.adapters.google_ads.kit import ACTION, Bench, bench, settings
from tests.support import START

GOOD, OTHER = ACTIONS[0], ACTIONS[1]


@pytest.fixture
async def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    clock = ManualClock(START)
    async with bench(GoogleAds(clock, is_limited=False), clock, tmp_path, monkeypatch) as ready:
        yield ready


async def _found(here: Bench, subject: str = "goal qualified", target: str = ACTION) -> list[Finding]:
    """What check says of one subject, but that uploads are taken."""
    findings = await here.port.check({"qualified": target})
    return [item for item in findings if item.subject == subject and "takes conversions" not in item.message]


@pytest.mark.parametrize(
    ("changes", "level", "told"),
    [
        ({"owner": "5550001111"}, "error", 'set customer_id = "5550001111"'),
        ({"type": "WEBPAGE"}, "error", "is of type WEBPAGE, uploads need UPLOAD_CLICKS"),
        ({"status": "REMOVED"}, "error", "was removed"),
        ({"status": "HIDDEN"}, "error", "is hidden"),
        ({"status": "PAUSED"}, "warning", "status that the bridge does not know: PAUSED"),
        ({"attribution": "EXTERNAL"}, "error", "external attribution"),
        ({"is_primary": False}, "warning", "make it primary"),
        ({"counting": "ONE_PER_CLICK"}, "warning", 'set Count to "Every"'),
        ({"has_default_value": True}, "warning", "always uses its default value"),
        ({"window_days": 30}, "warning", 'window_click = "30d"'),
    ],
)
async def test_what_is_wrong_with_a_conversion_action_is_told_by_goal_with_what_to_do(
    here: Bench, changes: dict[str, Any], level: str, told: str
) -> None:
    """Owner, type, status, attribution, counting, values, window; one finding each."""
    here.fake.rules.listed = (replace(GOOD, **changes), OTHER)
    (finding,) = await _found(here)
    assert finding.level.value == level
    assert told in finding.message
    assert ACTION in finding.message


async def test_an_action_that_cannot_be_used_is_not_criticised_further(here: Bench) -> None:
    """Its owner and its type are wrong: both are told, its window is not."""
    here.fake.rules.listed = (replace(GOOD, owner="5", type="WEBPAGE", window_days=7, is_primary=False),)
    assert [finding.level.value for finding in await _found(here)] == ["error", "error"]


async def test_a_number_that_the_account_does_not_have_is_told_with_those_it_has(here: Bench) -> None:
    """Only such that take uploads."""
    (finding,) = await _found(here, target="7099999999")
    assert "has no conversion action 7099999999" in finding.message
    assert GOOD.id in finding.message
    assert ACTIONS[2].id not in finding.message


@pytest.mark.parametrize(
    ("account", "told"),
    [
        (FakeCustomer(has_tagging=False), "auto-tagging is off"),
        (FakeCustomer(owner="5550001111"), 'set customer_id = "5550001111"'),
        (FakeCustomer(has_terms=False), "customer data terms"),
        (FakeCustomer(enablement="OFF"), "enhanced conversions for leads are off"),
    ],
)
async def test_what_is_wrong_with_the_account_is_told(here: Bench, account: FakeCustomer, told: str) -> None:
    """With what to do; terms matter only where persons are sent."""
    here.fake.rules.account = account
    (finding,) = await _found(here, "account 1234567890")
    assert told in finding.message


def test_terms_of_persons_are_no_matter_where_none_are_sent() -> None:
    """An account that sends clicks alone needs none."""
    tracking = ads_api.Tracking(accepted_customer_data_terms=False, effective_enablement_setting="OFF")
    customer = ads_api.Customer(conversion_tracking_setting=tracking)
    assert inspection.of_account(customer, settings()) == []


async def test_when_all_is_right_one_line_says_so(here: Bench) -> None:
    """And when the right to look is missing, one line says that, which is no trouble."""
    (finding,) = await _found(here, "Google Ads API")
    assert finding.level.value == "ok"
    here.fake.rules.has_ads_api = False
    (finding,) = await _found(here, "Google Ads API")
    assert (finding.level.value, "SERVICE_DISABLED" in finding.message) == ("ok", True)
    assert "uploads do not need it" in finding.message


async def test_an_ads_api_that_fails_does_not_fail_the_check(here: Bench) -> None:
    """The goals were tried by the other API already."""
    here.fake.faults.rates = {Fault.ERROR_BEFORE: 1.0}
    findings = await here.port.check({})
    assert {item.subject for item in findings} >= {"Data Manager API", "Google Ads API"}


def test_words_that_are_new_are_counted_and_what_is_left_out_is_no_trouble() -> None:
    """An action of which nothing but its number is told is taken for good."""
    drift = DriftCounts()
    bare = Action(ACTION)
    assert inspection.of_goals({"sale": ACTION}, [bare], settings(), drift) == []
    odd = Action(ACTION, status="ENABLED", counting_type="EACH_THIRD")
    assert inspection.of_goals({"sale": ACTION}, [odd], settings(), drift) == []
    assert drift.take() == {("counting type", "EACH_THIRD"): 1}


def test_the_simulators_rows_are_the_vendors_resources() -> None:
    """Parsed strictly by Google's own messages: the fields asked for exist, with these types."""
    for query, key, module, name in (
        (ads_api.ACTIONS, "conversionAction", "conversion_action", "ConversionAction"),
        (ads_api.CUSTOMER, "customer", "customer", "Customer"),
    ):
        answer = search(ACTIONS, query)
        assert answer is not None
        for found in answer["results"]:
            official.parse_resource(module, name, found[key])
