"""Deliveries that will soon be too late: how many, when the first, and who hears of it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bridge.loops import deliver, windows
from bridge.model import Outgoing
from bridge.ports import Admission, Pass
from bridge.rules.windows import Waiting, closes
from bridge.store import Store
from bridge.store.reports import Reports
from tests.simulation.kit import events
from tests.store.kit import ADS, TENANT
from tests.support import START
from tests.unit.loops.kit import DAY, HOUR, MINUTE, Ads, office


@dataclass(slots=True)
class Windowed(Ads):
    """A destination whose rows each have an end; before it they have to wait for ``opens``."""

    ends: dict[str, datetime] = field(default_factory=dict)
    opens: datetime = START + 100 * DAY

    def admit(self, row: Outgoing, now: datetime) -> Admission:
        if row.delivery in self.ends and now >= self.ends[row.delivery]:
            return Admission(Pass.EXPIRED, "window_21d")
        return Admission(Pass.WAIT, "held_back", self.opens) if now < self.opens else Admission(Pass.SEND)


async def test_what_closes_soon_is_counted_with_its_first_end(store: Store, logs: io.StringIO) -> None:
    """Three wait, two of them not for long; the warning comes once, and only when they have waited for an hour."""
    ads = Windowed()
    made = office(store, {ADS: ads})
    first, second, third = await made.promise(1, 2, 3)
    ads.ends = {first: START + 47 * HOUR, second: START + 20 * HOUR, third: START + 3 * DAY}
    await windows.once(made.tenant)
    found = await made.tenant.windows.last(ADS)
    assert found is not None
    assert (found.count, found.overdue, found.goals) == (2, 0, (("sale", 2),))
    assert found.first is not None
    assert timedelta(0) <= found.first - ads.ends[second] <= MINUTE
    assert not events(logs, "window_closing")
    for _ in range(8):
        made.clock.advance(10 * MINUTE)
        await windows.once(made.tenant)
    (told,) = events(logs, "window_closing")
    assert (told["deliveries"], told["overdue"]) == (2, 2)


async def test_what_has_expired_is_counted_by_reason_and_waits_no_more(store: Store) -> None:
    """The report of the destination tells why, for status and metrics."""
    ads = Windowed()
    made = office(store, {ADS: ads})
    keys = await made.promise(1, 2)
    ads.ends = dict.fromkeys(keys, START + HOUR)
    made.clock.advance(2 * HOUR)
    await deliver.once(made.tenant)
    await windows.once(made.tenant)
    report = await Reports(store).destination(TENANT, ADS)
    assert report.expired == {"window_21d": 2}
    assert report.closing is not None
    assert report.closing.count == 0


async def test_what_waits_for_a_better_hour_is_not_overdue(store: Store, logs: io.StringIO) -> None:
    """A message of the evening goes in the morning, long before its window closes: nobody is warned at night."""
    ads = Windowed(opens=START + 11 * HOUR)
    made = office(store, {ADS: ads})
    ads.ends = dict.fromkeys(await made.promise(1), START + 24 * HOUR)
    made.clock.advance(2 * HOUR)
    await windows.once(made.tenant)
    found = await made.tenant.windows.last(ADS)
    assert found is not None
    assert (found.count, found.overdue) == (1, 0)
    assert not events(logs, "window_closing")


async def test_giving_up_is_an_end_like_any_other(store: Store) -> None:
    """Without a window of the vendor's, sending is given up some time after the promise."""
    ads = Windowed()
    made = office(store, {ADS: ads})
    await made.promise(1)
    made.clock.advance(ads.traits.give_up_after - DAY)
    await windows.once(made.tenant)
    found = await made.tenant.windows.last(ADS)
    assert found is not None
    assert (found.count, found.overdue) == (1, 1)


async def test_a_row_at_which_the_adapter_fails_does_not_hide_the_others(store: Store) -> None:
    """Its turn to be rejected comes with sending."""

    class Failing(Windowed):
        def admit(self, row: Outgoing, now: datetime) -> Admission:
            if row.delivery not in self.ends:
                raise RuntimeError("a bug")
            return Admission(Pass.EXPIRED, "x")

    ads = Failing()
    made = office(store, {ADS: ads})
    first, _ = await made.promise(1, 2)
    ads.ends = {first: START}
    await windows.once(made.tenant)
    found = await made.tenant.windows.last(ADS)
    assert found is not None
    assert found.count == 1


async def test_an_end_beyond_the_horizon_is_none(store: Store) -> None:
    """And one that has passed is the present."""
    ads = Windowed()
    made = office(store, {ADS: ads})
    (key,) = await made.promise(1)
    ads.ends = {key: START + 3 * DAY}
    async for page in made.tenant.windows.waiting(ADS):
        waiting: Waiting = page[0]
    give_up = ads.traits.give_up_after
    assert closes(ads.admit, waiting, give_up, START, START + 2 * DAY) is None
    assert closes(ads.admit, waiting, give_up, START + 4 * DAY, START + 5 * DAY) == START + 4 * DAY
