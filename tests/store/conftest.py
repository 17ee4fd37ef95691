"""Fixtures of the store's tests."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.store import Store


@pytest.fixture
async def store(database_url: str, migrated: Path) -> AsyncIterator[Store]:
    """An open, migrated store on an empty database."""
    if database_url.startswith("sqlite"):
        shutil.copy(migrated, database_url.removeprefix("sqlite:///"))
    opened = await Store.open(database_url)
    yield opened
    await opened.close()
