"""Logs of the played businesses are caught, not printed."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from tests.simulation.kit import captured_logs


@pytest.fixture(autouse=True)
def logs() -> Iterator[io.StringIO]:
    """What the program logs during the test."""
    with captured_logs() as stream:
        yield stream
