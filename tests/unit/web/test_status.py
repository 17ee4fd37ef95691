"""What needs attention, of a status as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.config import Config, DatabaseSettings, LogSettings, WebSettings
from bridge.web.status import attention
from tests.support import START
from tests.unit.web.test_metrics import source, status

CONFIG = Config(Path("config.toml"), DatabaseSettings(), WebSettings(), LogSettings(), {})
WELL: dict[str, Any] = {"quarantined": 0, "quarantine_codes": [], "sweep_missed": 0, "sweep_gone": 0, "sweep_aside": 0}


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ({}, []),
        ({"sweep_gone": 3}, []),
        (
            {"quarantined": 2, "quarantine_codes": ["bad_amount", "payments_refused"]},
            ["okna/crm: 2 records in quarantine (bad_amount, payments_refused)"],
        ),
        ({"sweep_missed": 2}, ["okna/crm: 2 changes missed by readings, found by the sweep"]),
        ({"sweep_aside": 2}, ["okna/crm: 2 deals set aside by the sweep: the answers about them make no sense"]),
        ({"sweep_error": "Refused: no"}, ["okna/crm: the deep sweep fails: Refused: no"]),
    ],
)
def test_what_reading_met_needs_attention(values: dict[str, Any], lines: list[str]) -> None:
    """Deals that are gone do not: people delete deals."""
    report = status({"crm": source(**WELL | values)})
    assert attention(report, CONFIG, START) == lines


def test_deals_that_cannot_be_marked_need_attention() -> None:
    """With how many they are, and why the first is not."""
    report = status({"crm": source(**WELL, marks_failing=2, mark_error="access_denied")})
    assert attention(report, CONFIG, START) == ["okna/crm: 2 deals not marked: access_denied"]
