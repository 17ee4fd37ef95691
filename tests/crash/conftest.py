"""Crashing bridges are loud; these tests keep what they say to themselves, and leave logging as it was."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from bridge import log


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    log.setup("error", "json", io.StringIO())
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
