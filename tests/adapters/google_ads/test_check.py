"""``bridge check`` of a Google Ads destination: a token, a try of every conversion action, consent."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.google_ads.fake import GoogleAds
from bridge.ports import Finding, Level
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault
from tests.adapters.google_ads.kit import ACTION, HOUR, OTHER, Bench, bench
from tests.support import START


def _levels(findings: list[Finding]) -> dict[str, str]:
    return {finding.subject: finding.level.value for finding in findings}


async def test_check_tries_every_action_without_storing_anything(here: Bench) -> None:
    """Token, access path and conversion actions, by ``validateOnly``."""
    findings = await here.port.check({"qualified": ACTION, "sale": OTHER, "again": ACTION})
    goals = {"goal qualified": "ok", "goal sale": "ok"}
    assert _levels(findings) == {"consent": "ok", **goals, "credentials": "ok", "Google Ads API": "ok"}
    assert here.fake.applied() == []
    assert here.fake.requests["POST /v1/events:ingest"] == 2


async def test_check_names_what_is_wrong_with_each_goal(here: Bench) -> None:
    """A title instead of an id, an action that does not exist, one that is too young."""
    here.fake.rules.actions = {ACTION: START - HOUR}
    findings = await here.port.check({"qualified": ACTION, "sale": OTHER, "spam": "Spam lead"})
    assert _levels(findings) == {
        "consent": "ok",
        "goal spam": "error",
        "goal qualified": "warning",
        "goal sale": "error",
        "credentials": "ok",
        "Google Ads API": "ok",
    }
    messages = {finding.subject: finding.message for finding in findings}
    assert "numeric" in messages["goal spam"]
    assert "INVALID_CONVERSION_ACTION_ID" in messages["goal sale"]


async def test_check_without_goals_still_tries_the_token(here: Bench) -> None:
    """And says that nothing is sent."""
    found = _levels(await here.port.check({}))
    assert found == {"consent": "ok", "goals": "warning", "credentials": "ok", "Google Ads API": "ok"}


async def test_check_reports_dead_credentials_and_trouble_as_findings(here: Bench, clock: ManualClock) -> None:
    """Problems are findings, not exceptions."""
    here.fake.faults.rates = {Fault.ERROR_BEFORE: 1.0}
    assert _levels(await here.port.check({"sale": ACTION}))["goal sale"] == "error"
    assert _levels(await here.port.check({}))["Data Manager API"] == "error"
    here.fake.faults.stop()
    here.fake.desk.revoke()
    (finding,) = [item for item in await here.port.check({"sale": ACTION}) if item.subject == "credentials"]
    assert finding.level is Level.ERROR
    assert "invalid_grant" in finding.message


async def test_check_leaves_consent_to_the_deals_where_they_tell_it(
    clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No warning of what is left open then."""
    async with bench(GoogleAds(clock), clock, tmp_path, monkeypatch, consent={"field": "agreed"}) as here:
        assert _levels(await here.port.check({}))["consent"] == "ok"


@pytest.mark.parametrize("consent", [{}, {"ad_user_data": "granted"}])
async def test_check_warns_of_consent_left_open(
    consent: dict[str, str], clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conversions of visitors from the EEA may be dropped without it."""
    async with bench(GoogleAds(clock), clock, tmp_path, monkeypatch, consent=consent) as here:
        assert _levels(await here.port.check({}))["consent"] == "warning"
