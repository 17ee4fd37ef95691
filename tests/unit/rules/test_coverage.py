"""A fall of coverage is noticed within a day, chance makes none, and what ended is over."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.channels import OTHER
from bridge.frozen import replace
from bridge.model import utc
from bridge.rules.coverage import (
    ALL,
    DAY,
    HISTORY,
    REACH,
    WEEK,
    Cell,
    Fall,
    Share,
    Tally,
    Verdict,
    calendar,
    has_fallen,
    has_recovered,
    judge,
    leads_needed,
    quarter_of,
    reach,
    silence,
    silence_words,
    windows,
    words,
)
from bridge.rules.odds import Sample

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
ACCEPTED = ("yclid", "client_id", "gclid")
# What a lead of this moment carries, drawn by this dice: its kinds, or None for one that has only a joined identifier.
Form = Callable[[datetime, random.Random], tuple[str, ...] | None]


def form(share: float, *kinds: str) -> Form:
    """A form that passes these identifiers for so many of its leads."""
    return lambda _, dice: kinds if dice.random() < share else ()


def until(at: datetime, before: Form, after: Form) -> Form:
    return lambda now, dice: (before if now < at else after)(now, dice)


def leads(channel: str, per_day: float, made: Form, *, days: float = 40, seed: int = 1) -> list[Cell]:
    """Leads at random moments of the waking hours."""
    dice = random.Random(f"{seed} {channel}")
    cells = []
    for day in range(int(days)):
        for _ in range(int(per_day + dice.random())):
            at = START + day * DAY + dice.uniform(5, 20) * HOUR
            kinds = made(at, dice)
            cells.append(Cell(quarter_of(at), channel, kinds or ("yclid",) * (kinds is None), kinds is not None, 1))
    return cells


def verdict(cells: Sequence[Cell], now: datetime, known: Sequence[Fall] = ()) -> Verdict:
    """What a look at this moment finds."""
    first, end = quarter_of(now - REACH), quarter_of(now)
    inside = [cell for cell in cells if first <= cell.quarter < end]
    return judge(Tally(inside, ACCEPTED), now, known)


def looks(cells: Sequence[Cell], since: datetime, end: datetime, step: timedelta = HOUR) -> Iterator[Verdict]:
    """One look after another, each knowing what the last one found."""
    known: tuple[Fall, ...] = ()
    now = since
    while now <= end:
        found = verdict(cells, now, known)
        yield found
        known, now = found.falls, now + step


def events(cells: Sequence[Cell], since: datetime, end: datetime, step: timedelta = HOUR) -> list[tuple[str, str, str]]:
    """What would be logged, in order: what happened, channel, kind."""
    told = []
    for found in looks(cells, since, end, step):
        told += [("fell", fall.channel, fall.kind) for fall in found.started]
        told += [("over" if how else "settled", fall.channel, fall.kind) for fall, how in found.over]
    return told


# --- no false alarms ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_day", [3, 12, 40])
@pytest.mark.parametrize("share", [0.15, 0.5, 0.72, 0.95])
def test_constant_coverage_never_alarms(share: float, per_day: int) -> None:
    """Two months of two channels and the whole, looked at twice a day."""
    cells = leads("yandex_direct", per_day, form(share, "yclid"), days=60, seed=int(share * 100))
    cells += leads("google_ads", per_day / 3, form(share, "gclid"), days=60, seed=int(share * 100))
    assert events(cells, START + DAY, START + 60 * DAY, 12 * HOUR) == []


@pytest.mark.parametrize("share", [0.15, 0.5, 0.72, 0.95])
@pytest.mark.parametrize("per_day", [5, 25])
def test_alarms_by_chance_are_as_rare_as_stated(share: float, per_day: int) -> None:
    """Of 4,000 months without a change, 0.04 alarms are expected at most: none is seen."""
    dice = random.Random(int(1000 * share) + per_day)
    drawn = [Sample(per_day, sum(dice.random() < share for _ in range(per_day))) for _ in range(4000 + 28)]
    assert [n for n in range(4000) if has_fallen(drawn[n + 28], drawn[n : n + 28])] == []


def test_days_that_differ_every_week_do_not_alarm() -> None:
    """On week-ends nobody but the call centre makes leads: by chance alone such a Saturday would be one of millions."""

    def weekly(at: datetime, dice: random.Random) -> tuple[str, ...]:
        return ("yclid",) if dice.random() < (0.45 if at.weekday() >= 5 else 0.75) else ()

    cells = leads("yandex_direct", 80, weekly, days=60)
    assert events(cells, START + 21 * DAY, START + 60 * DAY, 12 * HOUR) == []
    day = [Sample(80, 60)] * 28
    assert has_fallen(Sample(80, 36), day), "the same Saturday after four weeks without week-ends"


def test_a_campaign_that_ends_does_not_alarm() -> None:
    """Direct is switched off: the share of all leads falls, but no more of them come without an identifier."""
    cells = leads("yandex_direct", 40, form(0.9, "yclid"), days=30)
    cells += leads("unknown", 20, form(0.2, "client_id"), days=50)
    assert events(cells, START + 29 * DAY, START + 50 * DAY, 6 * HOUR) == []


def test_a_young_history_judges_nothing() -> None:
    """A week is needed to know what is usual; a handful of leads says nothing either."""
    broken = until(START + 5 * DAY, form(0.9, "yclid"), form(0.0))
    assert events(leads("yandex_direct", 50, broken, days=6), START, START + 6 * DAY) == []
    rare = until(START + 30 * DAY, form(0.9, "yclid"), form(0.0))
    assert events(leads("yandex_direct", 0.5, rare, days=34), START, START + 34 * DAY) == []


# --- what fell is noticed ----------------------------------------------------------------------------------------


@given(st.floats(0.2, 0.97), st.integers(0, 200))
def test_a_form_that_loses_everything_is_noticed_after_one_day(share: float, more: int) -> None:
    """For every usual share and every number of leads a day from ``leads_needed`` on."""
    count = leads_needed(share) + more
    usual = int(28 * count * share)
    days = [Sample(count, usual // 28 + (n < usual % 28)) for n in range(28)]
    assert has_fallen(Sample(count, 0), days)


@given(st.integers(5, 200), st.integers(0, 200), st.lists(st.tuples(st.integers(1, 90), st.floats(0, 1)), max_size=28))
def test_the_judgement_is_monotone(count: int, hits: int, past: list[tuple[int, float]]) -> None:
    """What is a fall stays one if still fewer of the leads have an identifier."""
    days = [Sample(n, round(n * share)) for n, share in past]
    found = [has_fallen(Sample(count, k), days) for k in range(min(hits, count) + 1)]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(("seed", "hour"), [(1, 0), (2, 5), (3, 9), (4, 13), (5, 17), (6, 22)])
def test_a_form_that_stops_passing_ids_is_noticed_within_a_day_and_its_repair_too(seed: int, hour: int) -> None:
    """It falls once, in its own channel, within 24 hours and the time until the next look, and ends once."""
    broke = START + 30 * DAY + hour * HOUR
    mended = broke + 3 * DAY
    made = until(broke, form(0.7, "client_id"), until(mended, form(0.0), form(0.7, "client_id")))
    cells = leads("organic", 20, made, seed=seed) + leads("vk", 20, form(0.6, "client_id"), seed=seed)
    found = list(looks(cells, broke - 3 * HOUR, mended + 10 * DAY, 2 * HOUR))
    (fall,) = [fall for one in found for fall in one.started]
    (over,) = [one for one in found if one.over]
    (ended,) = [one.ended for one in over.falls]
    assert fall.channel == "organic"
    assert broke < fall.since <= broke + DAY + 2 * HOUR
    assert over.over == ((fall, True),)
    assert ended is not None
    assert mended < ended <= mended + 2 * DAY


def test_a_form_that_passes_nothing_any_more_shows_in_the_whole() -> None:
    """Its leads lose their utm tags as well and are of no channel; more of all leads are without an identifier."""
    broke = START + 30 * DAY + 9 * HOUR
    cells = [
        cell if cell.quarter < quarter_of(broke) else replace(cell, channel="unknown", kinds=())
        for cell in leads("yandex_direct", 40, form(0.8, "yclid"))
    ]
    cells += leads("unknown", 8, form(0.0))
    assert events(cells, broke - DAY, broke + DAY + HOUR, 5 * HOUR) == [("fell", ALL, "")]


def test_a_client_id_that_is_lost_is_noticed_though_a_yclid_is_left() -> None:
    """Every lead is still usable, but a form has stopped to pass the ClientID."""
    broke = START + 30 * DAY
    made = until(broke, form(0.9, "yclid", "client_id"), form(0.9, "yclid"))
    cells = leads("yandex_direct", 30, made)
    assert events(cells, broke - DAY, broke + DAY + HOUR, 5 * HOUR) == [("fell", "yandex_direct", "client_id")]


def test_a_small_business_is_noticed_within_a_week() -> None:
    """Three leads a day are too few for a day's judgement."""
    broke = START + 30 * DAY
    cells = leads("organic", 3, until(broke, form(0.8, "client_id"), form(0.0)))
    assert events(cells, broke - DAY, broke + WEEK + HOUR, 8 * HOUR) == [("fell", "organic", "")]


def test_what_no_destination_takes_is_no_identifier() -> None:
    """A form that passes only another system's id has lost what is usable."""
    broke = START + 30 * DAY
    cells = leads("organic", 30, until(broke, form(0.9, "client_id"), form(0.9, "roistat")))
    assert events(cells, broke - DAY, broke + DAY + HOUR, 5 * HOUR) == [("fell", "organic", "")]
    (fall,) = judge(Tally(cells, ()), broke + DAY, ()).started
    assert fall.kind == "client_id", "without destinations every kind is of use; this one is lost all the same"


def test_joined_identifiers_do_not_hide_a_broken_form() -> None:
    """Leads that only other leads of the same person explain have none of their own."""
    broke = START + 30 * DAY
    cells = leads("organic", 30, until(broke, form(0.9, "client_id"), lambda at, dice: None))
    assert events(cells, broke - DAY, broke + DAY + HOUR, 5 * HOUR) == [("fell", "organic", "")]


# --- ends, repetitions -------------------------------------------------------------------------------------------


def test_a_fall_is_told_once_while_it_lasts_and_settles_after_four_weeks() -> None:
    """What is never repaired has become usual: neither noise for ever, nor forgotten the next day."""
    broke = START + 30 * DAY
    cells = leads("organic", 30, until(broke, form(0.8, "client_id"), form(0.05, "client_id")), days=80)
    told = events(cells, broke - DAY, START + 80 * DAY, 12 * HOUR)
    assert told == [("fell", "organic", ""), ("settled", "organic", "")]


def test_a_second_fall_soon_after_the_first_is_noticed_as_soon() -> None:
    """The days of the first fall do not count as what is usual."""
    first, mended, second = START + 30 * DAY, START + 38 * DAY, START + 46 * DAY
    made = until(first, form(0.7, "client_id"), until(mended, form(0.0), form(0.7, "client_id")))
    cells = leads("organic", 16, until(second, made, form(0.0)), days=60)
    times = [fall.since for one in looks(cells, first, START + 50 * DAY, 4 * HOUR) for fall in one.started]
    assert len(times) == 2
    assert times[1] <= second + DAY + HOUR


@given(st.integers(5, 60), st.integers(0, 60))
def test_a_fall_is_not_over_while_leads_are_as_bad(count: int, hits: int) -> None:
    """Recovery needs nearly the usual share, and more than at the fall: what is a fall still is no recovery."""
    fall = Fall("organic", "", START, START, Sample(800, 560), Sample(30, 3))
    recent = Sample(count, min(hits, count))
    if has_recovered(recent, fall):
        assert recent.share >= 0.85 * 0.7
        assert not has_fallen(recent, [Sample(29, 20)] * 28)


# --- silence -----------------------------------------------------------------------------------------------------


def test_a_source_that_goes_quiet_is_noticed_and_a_week_end_is_none() -> None:
    """Longer than any pause of the last weeks, when a dozen leads were due."""
    every = leads("organic", 30, form(0.5, "client_id"))
    office = [cell for cell in every if utc(cell.quarter * 900).weekday() < 5]
    friday = utc(max(cell.quarter for cell in office) * 900)
    assert friday.weekday() == 4
    tally = Tally(office, ACCEPTED)
    assert silence(tally, friday + 2 * DAY) is None
    found = silence(tally, friday + 5 * DAY)
    assert found is not None
    assert found.since == friday + timedelta(minutes=15)
    assert 15 < found.per_day < 30
    assert (
        silence_words(found) == f"no new lead since {found.since:%Y-%m-%d %H:%M} UTC, usually {found.per_day:g} a day"
    )


def test_a_source_without_much_history_is_never_quiet() -> None:
    """Nor one that has no leads, or a few a month."""
    for cells in ([], leads("organic", 30, form(0.5), days=10), leads("organic", 0.1, form(0.5), days=40)):
        assert silence(Tally(cells, ACCEPTED), START + 60 * DAY) is None


# --- what is shown -----------------------------------------------------------------------------------------------


def cell(at: datetime, channel: str = "vk", *kinds: str, is_own: bool = True, count: int = 1) -> Cell:
    return Cell(quarter_of(at), channel, kinds, is_own, count)


def test_shares_tell_leads_with_an_identifier_of_their_own_from_joined_ones() -> None:
    """By channel and of all; what no destination takes does not count."""
    cells = [
        cell(START, "vk", "yclid", count=3),
        cell(START, "vk", "yclid", is_own=False, count=2),
        cell(START, "vk", "roistat", count=4),
        cell(START, "email", count=1),
    ]
    found = Tally(cells, ACCEPTED).shares(START, START + DAY)
    assert found == {ALL: Share(10, 3, 2), "vk": Share(9, 3, 2), "email": Share(1, 0, 0)}
    assert list(found) == [ALL, "vk", "email"]


def test_days_and_weeks_are_those_of_the_tenants_calendar() -> None:
    """A lead of Sunday evening in London is one of Monday in Moscow, and belongs to the next week."""
    sunday = datetime(2026, 3, 8, 21, 30, tzinfo=UTC)
    tally = Tally([cell(sunday)], ACCEPTED)
    now = sunday + HOUR
    weeks = {zone: calendar(tally, now, ZoneInfo(zone), WEEK, 2) for zone in ("Europe/Moscow", "Europe/London")}
    assert [(row.start, row.channels[ALL].leads) for row in weeks["Europe/Moscow"]] == [
        ("2026-03-02", 0),
        ("2026-03-09", 1),
    ]
    assert [(row.start, row.channels[ALL].leads) for row in weeks["Europe/London"]] == [
        ("2026-02-23", 0),
        ("2026-03-02", 1),
    ]
    days = calendar(tally, now, ZoneInfo("Europe/Moscow"), DAY, 2)
    assert [(row.start, row.channels[ALL].leads) for row in days] == [("2026-03-08", 0), ("2026-03-09", 1)]


def test_a_week_with_a_change_of_clocks_has_all_its_hours() -> None:
    """Berlin skips an hour on 29 March 2026."""
    zone = ZoneInfo("Europe/Berlin")
    edges = [datetime(2026, 3, 22, 23, tzinfo=UTC), datetime(2026, 3, 29, 21, 45, tzinfo=UTC)]
    (row,) = calendar(Tally([cell(at) for at in edges], ACCEPTED), edges[1], zone, WEEK, 1)
    assert (row.start, row.channels[ALL].leads) == ("2026-03-23", 2)


@given(st.integers(0, 365 * 24), st.integers(1, 53))
def test_enough_is_read_for_the_calendar_and_for_judging(hours: int, weeks: int) -> None:
    """From the first shown Monday on, and four weeks before the last week."""
    now, zone = START + hours * HOUR, ZoneInfo("Asia/Kolkata")
    (first, *_) = calendar(Tally([], ()), now, zone, WEEK, weeks)
    since = reach(now, zone, weeks)
    assert since <= now - WEEK - HISTORY
    assert since <= datetime.fromisoformat(first.start).replace(tzinfo=zone)


def test_channels_of_the_advertisers_own_stay_few() -> None:
    """The eight biggest are told apart; the hundred others are one, and no lead is lost."""
    cells = [cell(START, f"utm:partner{n}", count=200 - n) for n in range(100)] + [cell(START, "vk", count=7)]
    found = Tally(cells, ACCEPTED).shares(START, START + DAY)
    assert set(found) == {ALL, "vk", OTHER, *(f"utm:partner{n}" for n in range(8))}
    assert found[ALL].leads == sum(one.leads for one in cells)
    assert found[OTHER].leads == sum(200 - n for n in range(8, 100))


def test_windows_are_the_last_day_the_last_week_and_what_is_usual() -> None:
    """Half-open: a lead of this very moment belongs to the next look."""
    now = START + 40 * DAY
    ages = (timedelta(0), HOUR, DAY, 3 * DAY, WEEK + HOUR, 29 * DAY, 30 * DAY)
    found = windows(Tally([cell(now - age) for age in ages], ACCEPTED), now)
    assert {name: channels[ALL].leads for name, channels in found.items()} == {"day": 2, "week": 3, "usual": 3}


def test_a_fall_is_told_in_words() -> None:
    """With its channel, its identifier, and both shares."""
    fall = Fall("yandex_direct", "", START, START, Sample(800, 560), Sample(24, 1))
    assert words(fall) == "yandex_direct: 4 % of 24 new leads have a usable identifier, usually 70 %"
    assert words(replace(fall, kind="client_id", channel=ALL)) == (
        "all channels: 4 % of 24 new leads have a client_id, usually 70 %"
    )
