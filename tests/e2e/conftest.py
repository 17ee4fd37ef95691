"""Commands set logging up; each test leaves it as it was. And an adapter that is installed beside the shipped ones."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from bridge import registry


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)


@pytest.fixture
def plugins(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an installed distribution that brings the adapter ``paper`` by its entry point."""
    folder = tmp_path_factory.mktemp("plugins")
    info = folder / "paper-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: paper\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[bridge.adapters]\npaper = tests.e2e.paper:SPEC\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    registry._plugins.cache_clear()
    yield folder
    sys.path.remove(str(folder))
    registry._plugins.cache_clear()
