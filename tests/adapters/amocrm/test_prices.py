"""What a lead was worth when: any order of events, any repetition, holes; and the whole source over the simulator."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.amocrm import wire
from adapters.amocrm.fake import Quirks
from adapters.amocrm.fake_store import FIRST_LEAD
from adapters.amocrm.prices import Prices, value_changes
from bridge.model import Deal, Money, utc
from bridge.ports import Window
from bridge.sim.clock import ManualClock
from bridge.sim.events import Lead
from tests.adapters.amocrm.kit import (
    CONTACTED,
    EVERYTHING,
    HOUR,
    NEW,
    QUALIFIED,
    WON,
    account,
    deals,
    happenings,
    key,
    lead,
    read,
    step,
)
from tests.support import START

AFTER = START + 30 * 24 * HOUR
CREATED = 100


def event(number: int, at: int, before: int | None, after: int | None) -> wire.StatusEvent:
    def side(amount: int | None) -> list[wire.StatusValue]:
        return [] if amount is None else [wire.StatusValue(sale_field_value=wire.Sale(amount))]

    return wire.StatusEvent(f"01j{number:023d}", 1, at, side(after), side(before), "sale_field_changed")


def record(updated: int) -> wire.Lead:
    return wire.Lead(1, CREATED, updated, 5, 11)


def money(amount: Decimal | int) -> Money:
    return Money.of(amount, "RUB")


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9)), max_size=6), st.randoms(use_true_random=False))
def test_the_value_at_any_time_is_the_one_that_was_set_last(walk: list[tuple[int, int]], rng: random.Random) -> None:
    """Events shuffled, doubled and mixed with another lead's give the walk itself, for a lead never read before."""
    amounts, at, events = [7], CREATED, []
    truth = {CREATED: 7}
    for number, (wait, amount) in enumerate(walk):
        at += wait
        events.append(event(number, at, amounts[-1], amount))
        amounts.append(amount)
        truth[at] = amount
    noise = [wire.StatusEvent(f"n{number}", 2, 5, None, None, "sale_field_changed") for number in range(3)]
    mixed = [*events, *noise, *events]
    rng.shuffle(mixed)
    kept = Prices()
    kept.add(mixed)
    changes = value_changes(record(at), kept.of(1), is_known=False, now=money(amounts[-1]))
    assert {change.at: change.value for change in changes} == (
        {utc(second): money(amount) for second, amount in truth.items()} if events else {}
    )


def test_a_change_without_its_event_is_known_from_the_next_one() -> None:
    """7 to 8 is lost, 8 to 9 is there: it was 8 before it became 9."""
    kept = Prices()
    kept.add([event(1, 200, 5, 7), event(2, 300, 8, 9)])
    changes = value_changes(record(300), kept.of(1), is_known=False, now=money(9))
    assert [(change.at, change.value) for change in changes] == [
        (utc(100), money(5)),
        (utc(200), money(7)),
        (utc(299), money(8)),
        (utc(300), money(9)),
    ]


def test_minor_units_that_events_leave_out_come_from_the_record() -> None:
    """Kommo keeps cents in the lead and tells whole units in events (contract amocrm 13)."""
    kept = Prices()
    kept.add([event(1, 200, None, 12)])
    changes = value_changes(record(200), kept.of(1), is_known=True, now=money(Decimal("12.34")))
    assert [change.value for change in changes] == [money(Decimal("12.34"))]


def test_what_is_no_budget_or_came_after_the_reading_is_left_out() -> None:
    """An amount beyond any deal is damage; a change after the record belongs to its next reading."""
    kept = Prices()
    kept.add([event(1, 200, 0, 10**16), event(2, 900, 0, 5)])
    assert value_changes(record(300), kept.of(1), is_known=True, now=money(0)) == ()


def valued(number: int) -> Lead:
    at = START + timedelta(seconds=number)
    return lead(
        number,
        step(at, NEW, 100),
        step(at + HOUR, QUALIFIED),
        step(at + 2 * HOUR, CONTACTED, 300),
        step(at + 3 * HOUR, WON, 250),
    )


def asked(deal: Deal, *moments: datetime) -> list[str]:
    return [str(deal.value_at(moment)) for moment in moments]


async def test_kommo_keeps_minor_units_now_and_in_the_history(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``price`` is cut to whole units there; the exact field wins, and completes the last event (contract 13)."""
    quirks = Quirks(is_kommo=True)
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), quirks=quirks, needs_values=True) as (sim, source):
        for event_ in happenings([valued(1)]):
            sim.happen(event_)
        sim.store.leads[FIRST_LEAD + 1].cents = 75
        (deal,) = deals(await read(source, EVERYTHING)).values()
    assert str(deal.value) == "250.75 RUB"
    assert [str(change.value) for change in deal.value_changes][-2:] == ["300.00 RUB", "250.75 RUB"]


@pytest.mark.parametrize("size", [3, 40])
async def test_the_value_at_each_stage_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int) -> None:
    """By a window's events or by the leads' own: what a qualified lead was worth is not what it was sold for."""
    world = [valued(number) for number in range(1, size + 1)]
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), needs_values=True) as (sim, source):
        for event_ in happenings(world):
            sim.happen(event_)
        found = deals(await read(source, EVERYTHING))
    for item in world:
        times = [s.at for s in item.steps]
        assert asked(found[key(item)], *times) == ["100.00 RUB", "100.00 RUB", "300.00 RUB", "250.00 RUB"]
        assert str(found[key(item)].value) == "250.00 RUB"


async def test_a_known_lead_brings_changes_and_no_invented_beginning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What it was worth before is stored, and is not told anew as the value it was created with."""
    world = [valued(number) for number in range(1, 41)]
    known = frozenset(map(key, world))
    window = Window(START + 2 * HOUR + timedelta(minutes=30), START + 4 * HOUR)
    async with account(monkeypatch, tmp_path, ManualClock(AFTER), needs_values=True) as (sim, source):
        for event_ in happenings(world):
            sim.happen(event_)
        found = deals(await read(source, window, known))
    told = found[key(world[0])].value_changes
    steps = [(step.at, f"{step.value}.00 RUB") for step in world[0].steps if step.value is not None]
    assert [(change.at, str(change.value)) for change in told] == steps


async def test_values_are_read_only_where_a_goal_asks_for_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Their events fill pages of a hundred: without need for them a reading takes as many requests as before."""
    world = [valued(number) for number in range(1, 401)]
    asked_for = {}
    for needs_values in (False, True):
        async with account(monkeypatch, tmp_path, ManualClock(AFTER), needs_values=needs_values) as (sim, source):
            for event_ in happenings(world):
                sim.happen(event_)
            await read(source, Window(START, START + 5 * HOUR))
            asked_for[needs_values] = sim.requests["GET /api/v4/events"]
    assert asked_for == {False: 12 + 1, True: 24 + 1}
