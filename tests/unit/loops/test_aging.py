"""Vendors change: versions of their APIs end, and their answers get words that no contract has."""

from __future__ import annotations

import io
import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from bridge.config import Config, DatabaseSettings, LogSettings, WebSettings
from bridge.loops import drift, retirement
from bridge.ports import Api
from bridge.rules.retirement import WARN_DAYS, endings
from bridge.store import Store
from bridge.store.reports import Reports
from bridge.tools import DriftCounts
from bridge.web.status import FRESH, attention
from tests.simulation.kit import events
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, Ads, Office, office
from tests.unit.web.test_metrics import status

CONFIG = Config(Path("config.toml"), DatabaseSettings(), WebSettings(), LogSettings(), {})
SUNSET = date(2026, 6, 1)
APIS = (Api("v26", "Ads API", SUNSET), Api("v1", "Data Manager API"), Api("v25", "Ads API", date(2026, 5, 1)))


def test_endings_are_told_by_date_and_near_from_sixty_days_on() -> None:
    """A version without a known end has none; one that is gone has negative days."""
    on = SUNSET - timedelta(days=WARN_DAYS)
    assert [(str(one.api), one.days, one.is_near) for one in endings(APIS, on)] == [
        ("Ads API v25", 29, True),
        ("Ads API v26", 60, True),
    ]
    assert not endings(APIS, on - timedelta(days=1))[1].is_near
    assert endings(APIS, SUNSET)[1].words.startswith("Ads API v26 may be gone since 2026-06-01: update the bridge")


def _with_apis(store: Store) -> Office:
    made = office(store, {ADS: Ads()})
    made.tenant.destinations[ADS].apis = APIS[:2]
    return made


async def test_the_log_warns_once_on_each_day_of_the_last_sixty(store: Store, logs: io.StringIO) -> None:
    """However often the loop looks; by the injected clock."""
    made = _with_apis(store)
    made.clock.advance(timedelta(days=29))  # 62 days ahead
    for _ in range(4 * 24):
        await retirement.once(made.tenant)
        made.clock.advance(HOUR)
    told = [(line["account"], line["api"], line["days"]) for line in events(logs, "api_ending")]
    assert told == [(ADS, "Ads API v26", days) for days in (60, 59, 58)]


async def test_check_warns_of_an_account_whose_version_ends(store: Store) -> None:
    """Nothing more than sixty days ahead."""
    made = _with_apis(store)
    assert retirement.findings(made.tenant) == []
    made.clock.advance(timedelta(days=60))
    (finding,) = retirement.findings(made.tenant)
    assert (finding.level.value, finding.subject) == ("warning", f"API of {ADS}")
    assert "2026-06-01" in finding.message


def test_status_asks_for_attention_when_an_end_is_near() -> None:
    """In words with what to do; an end that is far is a figure only."""
    near = {"api": "Ads API v26", "sunset": "2026-06-01", "days": 10}
    far = {**near, "days": 61}
    for apis, lines in (([near], 1), ([far], 0)):
        assert len(attention(status(accounts={ADS: {"apis": apis, "drift": []}}), CONFIG, START)) == lines


async def test_words_of_no_contract_are_counted_stored_and_said(store: Store, logs: io.StringIO) -> None:
    """Counts add up over time and restarts; each account and tenant has its own."""
    made = office(store, {ADS: Ads()})
    counts = made.tenant.destinations[ADS].drift
    for _ in range(2):
        counts.note("request status", "SETTLED_LATER")
        counts.note("request status", "SETTLED_LATER")
        await drift.once(made.tenant)
        made.clock.advance(DAY)
    await drift.once(made.tenant)
    found = await Reports(store).drift(TENANT)
    ((one,),) = found.values()
    assert (one.what, one.value, one.count, one.since, one.seen_at) == (
        *("request status", "SETTLED_LATER", 4),
        *(START, START + DAY),
    )
    assert await Reports(store).drift("dom") == {}
    assert [line["counts"] for line in events(logs, "drift_seen")] == [{"request status SETTLED_LATER": 2}] * 2


@pytest.mark.parametrize("value", ["+7 921 000-00-00", "a@example.com", "", "х" * 70, "A" * 65])
def test_a_text_that_may_be_a_persons_is_counted_without_it(value: str) -> None:
    """What does not look like a code of a vendor never reaches the database."""
    counts = DriftCounts()
    counts.note("status", value)
    assert counts.take() == {("status", "(no code)"): 1}


def test_ever_new_words_do_not_fill_the_database() -> None:
    """The first fifty of an account by themselves, the others together; nothing is lost of the sum."""
    counts = DriftCounts()
    for number in range(500):
        counts.note("field", f"f{number}")
    taken = counts.take()
    assert (len(taken), taken.total(), taken["field", "(others)"]) == (51, 500, 450)
    assert not counts.take()


def test_status_names_fresh_drift_and_forgets_to_ask_after_a_week() -> None:
    """Five words by name; the figures stay."""
    seen = [{"what": "field", "value": f"f{number}", "count": 1, "seen_at": START.isoformat()} for number in range(7)]
    report = status(accounts={ADS: {"apis": [], "drift": seen}})
    (line,) = attention(report, CONFIG, START + FRESH - HOUR)
    assert "field f4 (1) and 2 more" in line
    assert attention(report, CONFIG, START + FRESH) == []
    assert json.dumps(report)
