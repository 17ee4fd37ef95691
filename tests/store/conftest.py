"""Fixtures of the store's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bridge.store import Store


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """An open, migrated store on an empty database."""
    opened = await Store.open(database_url)
    yield opened
    await opened.close()
