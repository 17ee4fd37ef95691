"""How many conversions go one by one: by the rate, and by what the day has left."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adapters.google_ads.answers import INGEST_CALL, STATUS_CALL
from adapters.google_ads.volume import Volume
from tests.adapters.google_ads.kit import DAY, HOUR, settings
from tests.support import START

PLENTY = 10**9


@pytest.mark.parametrize(
    ("changes", "most"),
    [({}, 1440), ({"requests_per_second": 1}, 300), ({"single_below": 7}, 7), ({"single_below": 0}, 0)],
)
def test_as_many_go_alone_as_five_minutes_of_the_rate_allow(changes: dict[str, float], most: int) -> None:
    """4.8 a second make 1,440; the settings may say another number."""
    volume = Volume(settings(**changes))
    assert volume.fits(most, PLENTY, PLENTY)
    assert not volume.fits(most + 1, PLENTY, PLENTY)


def test_each_lead_alone_needs_an_upload_and_three_looks() -> None:
    """Whichever of the two quotas is short decides (contract google 2.8)."""
    volume = Volume(settings())
    assert volume.fits(100, 100, 300)
    assert not volume.fits(100, 99, 300)
    assert not volume.fits(100, 100, 299)


def test_calls_are_counted_by_kind_over_the_last_day() -> None:
    """Nine tenths of the share; what is older than a day counts no more."""
    volume = Volume(settings(requests_per_day=1000))
    for hour in range(30):
        for _ in range(10):
            volume.note(INGEST_CALL, START + hour * HOUR)
    now = START + 30 * HOUR
    assert volume.left(STATUS_CALL, now) == 900
    assert volume.left(INGEST_CALL, now) == 900 - 240
    assert volume.left(INGEST_CALL, now + DAY) == 900
    assert volume.left(INGEST_CALL, now + timedelta(days=400)) == 900
