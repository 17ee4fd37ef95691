"""Fixtures of the tests of Google Ads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.google_ads.fake import GoogleAds
from bridge.sim.clock import ManualClock
from tests.adapters.google_ads.kit import Bench, bench
from tests.support import START


@pytest.fixture
def clock() -> ManualClock:
    """Moved by hand, from the usual start."""
    return ManualClock(START)


@pytest.fixture
async def here(clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A client before the simulator, with the usual settings."""
    async with bench(GoogleAds(clock), clock, tmp_path, monkeypatch) as ready:
        yield ready
