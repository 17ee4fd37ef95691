"""Fixtures of the tests of tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.sim.clock import ManualClock
from bridge.tools import Tools
from tests.adapters.table.kit import NOW, Office
from tests.support import adapter_tools


@pytest.fixture
async def tools(tmp_path: Path) -> AsyncIterator[Tools]:
    """The tools of an adapter whose folder is a temporary one."""
    async with adapter_tools(ManualClock(NOW), tmp_path) as made:
        yield made


@pytest.fixture
def office(tools: Tools) -> Office:
    """A folder that holds one table."""
    return Office(tools)
