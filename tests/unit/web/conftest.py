"""Fixtures of the tests of the web server."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from tests.simulation.kit import captured_logs


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What the program logs during the test."""
    with captured_logs() as stream:
        yield stream
