"""Settings, and what ``bridge check`` says about the counter and its goals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.yandex_metrica import SPEC
from adapters.yandex_metrica.goals import counter_findings, target_findings
from adapters.yandex_metrica.settings import MetricaSettings
from adapters.yandex_metrica.wire import CounterReply, GoalsReply, read
from bridge.ports import Level, Proof
from bridge.tools import Response
from tests.adapters.yandex_metrica.helpers import sample

SECTION = {"kind": "yandex_metrica", "counter_id": 90000001, "token": {"env": "OKNA_METRICA_TOKEN"}}
GOALS = read(GoalsReply, Response(200, {}, sample("goals.json"))).goals


# --- settings ----------------------------------------------------------------------------------------------------


def test_three_keys_are_a_whole_section() -> None:
    """Everything else has the vendor's own value as its default."""
    settings = MetricaSettings.model_validate(SECTION)
    assert settings.base_url == "https://api-metrika.yandex.net"
    assert settings.mode == "offline_conversions"
    assert (settings.window, settings.visibility) == (timedelta(days=21), timedelta(minutes=5))
    assert settings.max_rows == 10_000


def test_the_defaults_stay_below_the_daily_quota() -> None:
    """A batch at each ``send_every``, polled for two hours: fewer than 5000 requests a day (contract 10)."""
    settings = MetricaSettings.model_validate(SECTION)
    uploads = timedelta(days=1) / settings.send_every
    polls = (timedelta(hours=2) - settings.verify_first) / settings.verify_every + 1
    reads = 2 * (timedelta(days=1) / settings.verify_every)  # goals and a report, whatever waits
    assert uploads * (1 + polls) + reads < 5000


@pytest.mark.parametrize(("read_back", "days"), [("off", 1), ("reports", 3), ("logs", 3)])
def test_the_asking_ends_after_the_last_log_that_may_show_a_row(read_back: str, days: int) -> None:
    """A log of the day of processing is made on the next one; without reading back a day is enough (contract 2.4)."""
    settings = MetricaSettings.model_validate({**SECTION, "read_back": read_back})
    assert settings.verify_limit == timedelta(days=days)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"mode": "calls"}, "offline_conversions"),
        ({"token": "y0_secret"}, "never written here"),
        ({"counter_id": "okna"}, "integer"),
        ({"counter_id": 0}, "greater than 0"),
        ({"max_rows": 0}, "greater than or equal to 1"),
        ({"verify_every": "0s"}, "longer than zero"),
        ({"unlinked_after": "0s"}, "longer than zero"),
        ({"read_back": "yes"}, "'reports' or 'logs'"),
        ({"window": "three weeks"}, "number and a unit"),
        ({"base_url": "api-metrika.yandex.net"}, "starting with https"),
        ({"counter": 1}, "Extra inputs"),
    ],
)
def test_a_wrong_setting_says_what_to_write(change: dict[str, Any], text: str) -> None:
    """The message is for the operator, not for a programmer."""
    with pytest.raises(ValidationError, match=text):
        MetricaSettings.model_validate({**SECTION, **change})


def test_the_spec_promises_what_the_vendor_can() -> None:
    """Proof by label, values can be restated, no personal data."""
    assert SPEC.destination is not None
    traits = SPEC.destination.traits
    assert (traits.proof, traits.adjusts, traits.accepts_persons) == (Proof.TAG, True, False)


# --- goals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "level", "text"),
    [
        ("qualified_lead", Level.OK, "611000001"),
        ("deal_won", Level.WARNING, '"matches" condition'),
        ("qualified_leed", Level.ERROR, "nearest: qualified_lead"),
        ("something_else", Level.ERROR, "JavaScript-event goal"),
        ("611000001", Level.ERROR, 'event identifier "qualified_lead", not the goal\'s id'),
        ("7012345678", Level.ERROR, "use the event identifier, not the goal id"),
        ("Qualified lead", Level.ERROR, 'event identifier "qualified_lead", not the goal\'s title'),
        ("thanks", Level.ERROR, "of the type url"),
        ("crm_paid", Level.ERROR, "counted twice"),
        ("lead?x", Level.ERROR, '"?" is not allowed'),
        ("a/b", Level.ERROR, '"/" is not allowed'),
        (" ", Level.ERROR, "empty"),
    ],
)
def test_each_target_is_found_or_explained(target: str, level: Level, text: str) -> None:
    """Metrica takes rows of unknown goals and links them to nothing: only the check can tell."""
    (finding,) = target_findings({"qualified": target}, GOALS)
    assert finding.level is level
    assert text in finding.message
    assert finding.subject == f"goal qualified -> {target}"


def test_an_empty_counter_is_explained_too() -> None:
    """No goals, no suggestions, no crash."""
    (finding,) = target_findings({"sale": "deal_won"}, [])
    assert finding.level is Level.ERROR
    assert "nearest" not in finding.message


@pytest.mark.parametrize(
    ("permission", "level"),
    [("own", Level.OK), ("edit", Level.OK), ("view", Level.ERROR), ("analyst", Level.ERROR), (None, Level.WARNING)],
)
def test_uploading_needs_edit_access(permission: str | None, level: Level) -> None:
    """Reading the counter proves nothing about writing to it."""
    written = f'"permission":"{permission}"'.encode() if permission else b'"permission":null'
    body = sample("counter.json").replace(b'"permission":"edit"', written)
    (finding,) = counter_findings(read(CounterReply, Response(200, {}, body)).counter)
    assert finding.level is level


def test_a_deleted_counter_is_an_error() -> None:
    """Its goals still list."""
    body = sample("counter.json").replace(b'"Active"', b'"Deleted"')
    (finding,) = counter_findings(read(CounterReply, Response(200, {}, body)).counter)
    assert finding.level is Level.ERROR
