"""Stage changes count with their true times, whether or not a poll happened to see them."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.sim.events import Carrier, Click, Lead, StageName, Step
from bridge.sim.stage import GOOGLE, GOOGLE_TARGETS, METRICA, METRICA_TARGETS, Cast
from tests.simulation.kit import CRMS, START, Play, play, staged, tell

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
CAME = START + timedelta(days=1)
QUALIFIED_AT, LOST_AT = CAME + 3 * HOUR, CAME + 3 * HOUR + 40 * timedelta(seconds=1)
SOLD_AT = CAME + 5 * HOUR


def lead(*steps: Step) -> Lead:
    """A lead with a click of its own in both ad systems' fields."""
    landing = "https://okna.example/?yclid=17751100000000000001"
    click = Click(1, CAME - HOUR, 1, landing, "", "17751100000000000001", "Cj0KCQiAsample0000000000000000000000001")
    first = Step(CAME, StageName.NEW)
    phones = ("+79990000001",)
    return Lead(1, 1, CAME, "Иван Тестов", phones, (), click, Carrier.FIELD, "", "Сайт", (), (first, *steps))


def reached(made: Play, destination: str) -> dict[str, tuple[datetime, Decimal | None]]:
    """What the ad system counts: target -> time and value."""
    applied = made.stage.scenes[0].ads[destination].applied()
    assert all(row.is_linked and row.reaches == 1 for row in applied)
    assert len({row.target for row in applied}) == len(applied)
    return {row.target: (row.at, row.value) for row in applied}


@pytest.mark.parametrize("kind", CRMS)
async def test_a_lead_qualified_and_lost_between_two_polls_was_qualified(kind: str, tmp_path: Path) -> None:
    """Its ``qualified`` is sent with the second at which it was, and so is the loss that followed at once."""
    steps = (Step(QUALIFIED_AT, StageName.QUALIFIED), Step(LOST_AT, StageName.LOST, "Спам"))
    async with play(tmp_path, staged(Cast(1, START, days=3, leads=0, kinds=(kind,)))) as made:
        await made.turn()
        tell(made.stage.scenes[0], lead(*steps), made.stage)
        await made.turn(12 * HOUR)
        await made.turn(6 * HOUR)
        wanted = {METRICA_TARGETS["qualified"]: (QUALIFIED_AT, None), METRICA_TARGETS["spam"]: (LOST_AT, None)}
        assert reached(made, METRICA) == wanted
        assert reached(made, GOOGLE) == {GOOGLE_TARGETS["qualified"]: (QUALIFIED_AT, None)}


@pytest.mark.parametrize("kind", CRMS)
async def test_a_goal_reached_twice_counts_once_with_its_first_time(kind: str, tmp_path: Path) -> None:
    """A lead that goes back and is qualified again, seen by a poll in each stage, was qualified when it first was."""
    steps = (
        Step(QUALIFIED_AT, StageName.QUALIFIED),
        Step(QUALIFIED_AT + 12 * HOUR, StageName.CONTACTED),
        Step(QUALIFIED_AT + 24 * HOUR, StageName.QUALIFIED),
    )
    story = lead(*steps)
    async with play(tmp_path, staged(Cast(1, START, days=3, leads=0, kinds=(kind,)))) as made:
        await made.turn()
        tell(made.stage.scenes[0], story, made.stage, slice(1))
        for step in range(1, len(steps) + 1):
            tell(made.stage.scenes[0], story, made.stage, slice(step, step + 1))
            await made.turn(MINUTE)
        await made.turn(24 * HOUR)
        assert reached(made, METRICA) == {METRICA_TARGETS["qualified"]: (QUALIFIED_AT, None)}
        assert reached(made, GOOGLE) == {GOOGLE_TARGETS["qualified"]: (QUALIFIED_AT, None)}


@pytest.mark.parametrize("kind", CRMS)
async def test_a_price_that_changes_after_the_sale_was_sent_is_corrected(kind: str, tmp_path: Path) -> None:
    """Both ad systems end with one sale at the time of the sale and the newest price."""
    steps = (
        Step(QUALIFIED_AT, StageName.QUALIFIED),
        Step(SOLD_AT, StageName.WON, value=Decimal(90_000)),
        Step(SOLD_AT + 24 * HOUR, StageName.WON, value=Decimal(70_500)),
    )
    story = lead(*steps)
    async with play(tmp_path, staged(Cast(1, START, days=3, leads=0, kinds=(kind,)))) as made:
        await made.turn()
        tell(made.stage.scenes[0], story, made.stage, slice(1))
        for step in range(1, len(steps) + 1):
            tell(made.stage.scenes[0], story, made.stage, slice(step, step + 1))
            await made.turn(8 * HOUR)
        await made.turn(HOUR)
        assert reached(made, METRICA)[METRICA_TARGETS["sale"]] == (SOLD_AT, Decimal(70_500))
        assert reached(made, GOOGLE)[GOOGLE_TARGETS["sale"]] == (SOLD_AT, Decimal(70_500))
