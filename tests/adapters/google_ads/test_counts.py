"""What Google's reports count of each conversion action and day, beside what it was sent: over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.google_ads import ads_api, fake_counts
from adapters.google_ads.fake import GoogleAds
from adapters.google_ads.fake_ads import ACTIONS, FakeAction, FakeCustomer
from adapters.google_ads.fake_books import Booked
from bridge.audits import DayCount, Sent
from bridge.errors import AuthError, BridgeError
from bridge.frozen import replace
from bridge.model import ConversionKind, IdKind, Money, Outgoing
from bridge.rules.audit import Standing, standing
from bridge.sim.clock import ManualClock
from tests.adapters.google_ads import official
from tests.adapters.google_ads.kit import ACTION, DAY, GCLID, HOUR, PERSON, Bench, bench, click, row
from tests.support import START

SINCE = START - 28 * DAY
OLD = START - 3 * DAY  # accepted so long ago that it must show
# Half past nine in the evening of UTC is the next day in the account's time zone, Moscow.
LATE = datetime(2026, 2, 24, 21, 30, tzinfo=START.tzinfo)
THEN = date(2026, 2, 25)


def deal(number: int, **changes: Any) -> Outgoing:
    """A conversion by a click of its own, late on an evening."""
    own = click(IdKind.GCLID, f"{GCLID}{number}")
    return row(number, **{"identifiers": own, "occurred_at": LATE, "touched_at": LATE - DAY, **changes})


@pytest.fixture
async def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    clock = ManualClock(START)
    async with bench(GoogleAds(clock, is_limited=False), clock, tmp_path, monkeypatch, retract=True) as made:
        yield made


async def counted(here: Bench, *sent: Sent) -> list[DayCount]:
    found = await here.port.counts(sent, SINCE)
    assert found.untold == ()
    return list(found.days)


async def uploaded(here: Bench, *rows: Outgoing) -> list[Sent]:
    """Their clicks are known, and they arrived."""
    here.know(*rows, at=LATE - DAY)
    await here.send(*rows)
    return [Sent(item, OLD) for item in rows]


def act(here: Bench, **changes: Any) -> None:
    """The first conversion action is another one."""
    here.fake.rules.listed = (replace(ACTIONS[0], **changes), *ACTIONS[1:])


async def test_a_lost_conversion_is_missing_on_its_action_and_its_day(here: Bench) -> None:
    """Days are the account's own; what Google lost of one action is no matter of another."""
    one, two = await uploaded(here, deal(1), deal(2))
    (other,) = await uploaded(here, deal(3, target="7012345679"))
    assert await counted(here, one, two, other) == [
        DayCount(ACTION, THEN, 2, 2),
        DayCount("7012345679", THEN, 1, 1),
    ]
    here.fake.lose(one.row.order_key, ACTION)
    lost, well = await counted(here, one, two, other)
    assert lost == DayCount(ACTION, THEN, 2, 1, missing=1)
    assert standing(well) is Standing.EQUAL


async def test_shares_of_conversions_are_no_difference(here: Bench) -> None:
    """Attribution counts 0.7 of each of three: less than one whole conversion short is no loss, more than that is."""
    sent = await uploaded(here, deal(1), deal(2), deal(3))
    act(here, share=0.7)
    assert await counted(here, *sent) == [DayCount(ACTION, THEN, 3, 3)]
    here.fake.lose(sent[0].row.order_key, ACTION)
    (found,) = await counted(here, *sent)
    assert (found.theirs, found.missing) == (1, 1)


async def test_what_is_young_or_only_modelled_may_be_absent(here: Bench) -> None:
    """Accepted yesterday, by wbraid, by a person, or by a click older than the action's window: open, no loss."""
    act(here, window_days=30)
    rows = [
        Sent(deal(1), START - DAY),
        Sent(deal(2, identifiers=click(IdKind.WBRAID, "w")), OLD),
        Sent(deal(3, identifiers=(), persons=(PERSON,)), OLD),
        Sent(deal(4, touched_at=LATE - 31 * DAY), OLD),
    ]
    assert await counted(here, *rows) == [DayCount(ACTION, THEN, 4, 0, open=4)]
    assert await counted(here, *rows, Sent(deal(5), OLD)) == [DayCount(ACTION, THEN, 5, 0, missing=1, open=4)]


async def test_once_per_click_is_once(here: Bench) -> None:
    """An action that counts one conversion of a click has the first of ours."""
    same = click(IdKind.GCLID, GCLID)
    sent = await uploaded(here, deal(1, identifiers=same), deal(2, identifiers=same, occurred_at=LATE + HOUR))
    act(here, counting="ONE_PER_CLICK")
    assert await counted(here, *sent) == [DayCount(ACTION, THEN, 1, 1)]


async def test_what_was_taken_back_is_expected_no_more(here: Bench) -> None:
    """A retraction by the Ads API takes the count along, a correction to 0 does not."""
    (one, two) = await uploaded(here, deal(1), deal(2))
    gone = replace(one.row, kind=ConversionKind.RESTATEMENT, value=Money(0, "RUB"), retracted_at=START)
    await here.send(gone)
    zero = replace(two.row, kind=ConversionKind.RESTATEMENT, value=Money(0, "RUB"))
    await here.send(zero)
    sent = [replace(one, latest=gone), replace(two, latest=zero)]
    assert await counted(here, *sent) == [DayCount(ACTION, THEN, 1, 1)]


async def test_conversions_of_others_are_more_and_no_alarm(here: Bench) -> None:
    """Somebody else may upload to the same action."""
    one, _ = await uploaded(here, deal(1), deal(2))
    (found,) = await counted(here, one)
    assert standing(found) is Standing.MORE


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"account": FakeCustomer(is_manager=True)}, "a manager account has no counts of its own"),
        ({"account": FakeCustomer(zone="Mars/Olympus")}, "its time zone is not known here"),
        ({"listed": ACTIONS[1:]}, "does not list"),
        ({"listed": (FakeAction(ACTION, "CRM", owner="9876543210"),)}, "belongs to customers/9876543210"),
    ],
)
async def test_what_cannot_be_told_is_said(change: dict[str, Any], told: str, here: Bench) -> None:
    """No day is compared then, and none alarms."""
    for name, value in change.items():
        setattr(here.fake.rules, name, value)
    found = await here.port.counts([Sent(deal(1), OLD)], SINCE)
    assert found.days == ()
    ((target, why),) = found.untold
    assert target == ACTION
    assert told in why


async def test_without_the_right_it_says_what_to_do(here: Bench) -> None:
    """Give the right, or switch the comparison off."""
    here.fake.rules.has_ads_api = False
    with pytest.raises(AuthError, match=r"SERVICE_DISABLED.*audit = false"):
        await here.port.counts([Sent(deal(1), OLD)], SINCE)
    assert here.port.uncounted == ""


async def test_switched_off_it_is_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so plainly."""
    clock = ManualClock(START)
    async with bench(GoogleAds(clock, is_limited=False), clock, tmp_path, monkeypatch, audit=False) as made:
        assert "audit = false" in made.port.uncounted


async def test_a_manager_has_no_metrics(here: Bench) -> None:
    """The simulator refuses them as Google does (contract google 4.1)."""
    here.fake.rules.account = FakeCustomer(is_manager=True)
    access = here.port._ads_account(), "1234567890", None
    with pytest.raises(BridgeError, match="INVALID_ARGUMENT"):
        await ads_api.daily(*access, (THEN, THEN))


def test_googles_own_messages_read_the_report() -> None:
    """Names and types of what the simulator answers, and of what is asked, are those of the official messages."""
    booked = Booked(ACTION, LATE, None, "", GCLID, "k", is_linked=True)
    query = ads_api.DAYS.format(first=THEN, last=THEN)
    answer = fake_counts.report(query, [booked], ACTIONS, "1234567890", FakeCustomer())
    parsed = official.parse_report(answer)
    (line,) = parsed.results
    assert line.segments.conversion_action == f"customers/1234567890/conversionActions/{ACTION}"
    assert (line.segments.date, line.metrics.all_conversions_by_conversion_date) == ("2026-02-25", 1.0)
    asked = query.removeprefix("SELECT ").partition(" FROM ")[0].split(", ")
    assert all(official.has_field(name) for name in asked)
    assert not fake_counts.is_asked(query.replace("conversion_date", "conversion_dat"))
