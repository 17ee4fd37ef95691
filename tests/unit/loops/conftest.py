"""Every test of the loops has an empty SQLite file of its own."""

from __future__ import annotations

import io
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bridge.store import Store
from tests.simulation.kit import captured_logs


@pytest.fixture
async def store(tmp_path: Path, migrated: Path) -> AsyncIterator[Store]:
    shutil.copy(migrated, tmp_path / "bridge.db")
    opened = await Store.open(f"sqlite:///{tmp_path / 'bridge.db'}")
    yield opened
    await opened.close()


@pytest.fixture(autouse=True)
def logs() -> Iterator[io.StringIO]:
    """What was logged, line by line; nothing of it reaches the terminal."""
    with captured_logs() as stream:
        yield stream
