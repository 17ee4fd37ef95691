"""Expected values: exact, between what the channel and its pipeline tell, and frozen as of their moment."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.config import Goal
from bridge.frozen import replace
from bridge.model import Background, Deal, DealKind, Money, Outcome, Verdict
from bridge.rules.definitions import RULE, VALUE, Meanings, digests
from bridge.rules.expectation import (
    Cell,
    Estimate,
    Expectation,
    Expected,
    cell_of,
    counted,
    expected,
    is_usable,
    percent,
)
from bridge.rules.floor import Floor
from bridge.rules.qualify import judge
from bridge.valuing import ExpectedSettings
from tests.unit.rules.kit import case, compiled, deal, goal, hour, money, verdict

DAY = timedelta(days=1)


@st.composite
def cells(draw: st.DrawFn, least: int = 0) -> Cell:
    reached = draw(st.integers(least, 500))
    sold = draw(st.integers(min(1, reached), reached)) if reached else 0
    valued = draw(st.integers(0, sold))
    total = draw(st.integers(valued, 10**12)) if valued else 0
    return Cell(reached, sold, valued, total)


def estimate(*channels: Cell, least: int = 1, weight: int = 20) -> Estimate:
    own = {f"c{number}": cell for number, cell in enumerate(channels)}
    return Estimate(hour(0), "RUB", least, weight, {"10": own})


def known(made: Estimate, channel: str = "c0") -> Expected:
    found = expected(made, "10", channel)
    assert isinstance(found, Expected)
    return found


USABLE = cells(1).filter(lambda cell: cell.valued > 0)


@given(st.lists(cells(), min_size=1, max_size=4), USABLE, st.integers(1, 200))
def test_a_channel_lies_between_its_own_average_and_its_pipelines(others: list[Cell], one: Cell, weight: int) -> None:
    """Rate and mean sale both; never below zero; a channel nobody came by is the pipeline itself."""
    made = estimate(one, *others, weight=weight)
    whole = made.pipeline("10")
    all_rate, all_mean = Fraction(whole.sold, whole.reached), Fraction(whole.total, whole.valued)
    found = known(made)
    own_rate, own_mean = Fraction(one.sold, one.reached), Fraction(one.total, one.valued)
    assert min(own_rate, all_rate) <= found.rate <= max(own_rate, all_rate) <= 1
    assert min(own_mean, all_mean) <= found.mean <= max(own_mean, all_mean)
    assert found.value.minor >= 0
    nobody = known(made, "nobody")
    assert (nobody.rate, nobody.mean) == (all_rate, all_mean)


@given(USABLE, USABLE, st.integers(1, 100))
def test_more_weight_is_nearer_to_the_pipeline_and_more_deals_are_nearer_to_the_channel(
    one: Cell, other: Cell, weight: int
) -> None:
    """Thin data gives way to what is known of all channels."""
    light, heavy = known(estimate(one, other, weight=weight)), known(estimate(one, other, weight=weight + 1))
    whole = Fraction(light.whole.sold, light.whole.reached)
    assert abs(heavy.rate - whole) <= abs(light.rate - whole)
    many = [
        replace(c, reached=9 * c.reached, sold=9 * c.sold, valued=9 * c.valued, total=9 * c.total) for c in (one, other)
    ]
    own = Fraction(one.sold, one.reached)
    assert abs(known(estimate(*many, weight=weight)).rate - own) <= abs(light.rate - own)


@given(USABLE, cells(), st.integers(1, 50), st.integers(1, 10**9))
def test_more_sales_and_dearer_ones_are_never_worth_less(one: Cell, other: Cell, weight: int, more: int) -> None:
    """Another sale among the same deals raises the rate; a dearer one raises the mean, and so the value."""
    before = known(estimate(one, other, weight=weight))
    dearer = known(estimate(replace(one, total=one.total + more), other, weight=weight))
    assert dearer.rate == before.rate
    assert dearer.mean > before.mean
    assert dearer.value.minor >= before.value.minor
    if one.sold < one.reached:
        assert known(estimate(replace(one, sold=one.sold + 1), other, weight=weight)).rate > before.rate


def test_an_estimate_is_exact_to_the_minor_unit() -> None:
    """Ten of forty sold, for 300.01 each on average; the channel has four of ten, dearer. Worked out by hand."""
    made = estimate(Cell(10, 4, 4, 200_000), Cell(30, 6, 6, 100_010), weight=20)
    found = known(made)
    assert found.rate == Fraction(4 * 40 + 20 * 10, 40 * 30)  # (4 + 20 * 10/40) / 30 = 0.3
    assert found.mean == Fraction(200_000 + 20 * Fraction(300_010, 10), 24)
    assert found.value == Money(10_000, "RUB")  # 0.3 * 33334.1(6) = 10000.25
    assert percent(found.rate) == "30.0 %"


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (estimate(), "0 of the 1 finished deals that an estimate needs"),
        (estimate(Cell(19, 5, 5, 500), least=20), "19 of the 20 finished deals that an estimate needs"),
        (estimate(Cell(50, 0, 0, 0)), "no sale with an amount in RUB among 50 finished deals"),
        (estimate(Cell(50, 9, 0, 0)), "no sale with an amount in RUB among 50 finished deals"),
    ],
)
def test_without_data_there_is_no_guess(made: Estimate, reason: str) -> None:
    """The reason says what is lacking."""
    assert expected(made, "10", "c0") == reason
    assert not is_usable(made)
    assert is_usable(estimate(Cell(50, 9, 1, 100)))


def test_deals_are_counted_with_what_became_of_them() -> None:
    """A lead from which deals were made is sold when one of them is; amounts of zero or in other money are none."""
    won, lost = deal("1", "142", value=money("100")), deal("1", "143", value=money("100"))
    assert cell_of([won], "RUB") == Cell(1, 1, 1, 10_000)
    assert cell_of([lost], "RUB") == cell_of([deal("1")], "RUB") == Cell(1)
    assert cell_of([won], "USD") == cell_of([replace(won, value=None)], "RUB") == Cell(1, 1)
    assert cell_of([replace(won, value=money("0"))], "RUB") == Cell(1, 1)
    child = deal("WON", kind=DealKind.DEAL, value=money("300"))
    assert cell_of([won, child, child], "RUB") == Cell(1, 1, 1, 60_000)
    assert cell_of([won, deal("3", kind=DealKind.DEAL)], "RUB") == Cell(1)
    assert counted([("a", "x", Cell(1)), ("a", "x", Cell(1, 1)), ("b", "y", Cell(1))]) == {
        "a": {"x": Cell(2, 1)},
        "b": {"y": Cell(1)},
    }


# --- what goals make of it ---------------------------------------------------------------------------------------

OLD, NEW = estimate(Cell(40, 10, 10, 400_000)), estimate(Cell(40, 20, 20, 800_000))
VERSIONS = (replace(OLD, at=hour(0)), replace(NEW, at=hour(0) + DAY))


def lead(*stages: str, channel: str = "c0", **facts: Any) -> Deal:
    return deal(*stages, background=Background(channel), **facts)


def judged(
    one: Deal, versions: tuple[Estimate, ...] = VERSIONS, *, has_children: bool = False
) -> tuple[Money | None, str]:
    """What a goal on the qualified stage says that a deal is worth, and why."""
    ready = compiled({"stage": "Продажи/Квалифицирован"}, value="expected")
    assert ready.problems == ()
    found = judge(ready.knowing({"goal": versions}, has_children=has_children).goals[0], case(one), Floor())
    assert found.verdict is Verdict.QUALIFIED
    return found.value, found.reason


def test_an_open_deal_is_worth_what_was_expected_when_it_reached_the_goal() -> None:
    """By the newest estimate before; later ones change nothing. The reason tells rate, mean and numbers."""
    value, reason = judged(lead("1", "3"))
    assert value == money("100")
    assert reason == (
        "from events; expected value: 25.0 % of 400.00 RUB; c0: 10 of 40 sold, its pipeline: 10 of 40; "
        "estimated 2026-03-01 09:00 UTC"
    )
    assert judged(lead("1", "3"), VERSIONS[:1]) == (value, reason)
    assert judged(lead("1", "3"), VERSIONS[1:]) == (
        None,
        'from events; no expected value: no estimate was known then; "bridge values" tells more',
    )


def test_the_truth_takes_the_place_of_what_was_expected() -> None:
    """Sold: its own amount, where it has one; lost: nothing, whatever was known."""
    assert judged(lead("1", "3", "142", value=money("777")))[0] == money("777")
    assert judged(lead("1", "3", "142"))[0] == money("100")
    assert judged(lead("1", "3", "143", value=money("777")), ())[0] == money("0")
    assert judged(lead("1", "3", "142", "3", value=money("777")))[0] == money("100")


def test_a_lead_that_became_a_deal_is_not_sold_by_that() -> None:
    """Where leads become deals the lead's outcome is no sale."""
    assert judged(lead("1", "3", "142", value=money("777")), has_children=True)[0] == money("100")


def test_another_pipeline_and_another_channel_have_their_own() -> None:
    """Without enough of a pipeline there is no value; a channel that is new has its pipeline's."""
    assert judged(lead("1", "3", channel="new"))[0] == money("100")
    elsewhere = replace(VERSIONS[0], cells={"20": VERSIONS[0].cells["10"]})
    assert judged(lead("1", "3"), (elsewhere,)) == (
        None,
        "from events; no expected value: 0 of the 1 finished deals that an estimate needs",
    )


@given(st.lists(st.integers(0, 60), unique=True, max_size=6), st.integers(0, 60), st.integers(0, 60))
def test_a_later_estimate_never_changes_an_earlier_conversion(hours: list[int], moment: int, later: int) -> None:
    """Whatever is estimated after a moment, what is valid at it stays."""
    versions = tuple([replace(OLD, at=hour(at)) for at in sorted(hours)])
    added = (*versions, replace(NEW, at=max([hour(moment + 1 + later), *[one.at for one in versions]])))
    assert Expectation("RUB", added).at(hour(moment)) == Expectation("RUB", versions).at(hour(moment)) or (
        added[-1].at <= hour(moment)
    )


def test_other_ways_to_estimate_are_another_value() -> None:
    """Settings, and who reaches the goal: what was promised keeps its value then."""

    def parts(made: Goal, settings: ExpectedSettings) -> dict[str, str]:
        return dict(digests([made], "RUB", None, Meanings(expected=settings.meaning))["a"])

    one, other = ExpectedSettings(), ExpectedSettings(cycle=timedelta(days=120))
    made = goal("a", {"outcome": "won"}, value="expected")
    assert parts(made, one)[VALUE] != parts(made, other)[VALUE]
    assert parts(goal("a", {"outcome": "open"}, value="expected"), one)[VALUE] != parts(made, one)[VALUE]
    plain = goal("a", {"outcome": "won"}, value="deal")
    assert parts(plain, one) == parts(plain, other)
    assert parts(plain, one)[RULE] != parts(made, one)[RULE]


def test_a_payment_has_no_expected_value() -> None:
    """It is worth what was paid."""
    with pytest.raises(ValidationError, match="worth what was paid"):
        goal("a", {"outcome": "won"}, per="payment", value="expected")


# --- a field's amount, a share -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ({"share": "0.35"}, "350.00"),
        ({"share": 0.1}, "100.00"),
        ({"field": "Маржа"}, "123.45"),
        ({"field": "маржа ", "share": "0.5"}, "61.73"),
        ({"field": "Пусто"}, None),
    ],
)
def test_a_share_and_a_field_are_exact(value: dict[str, object], amount: str | None) -> None:
    """Decimal throughout, half up at the end; an empty field is no value."""
    one = deal("1", "142", value=money("1000"), fields={"Маржа": ("123,45 ₽",), "Пусто": ("",)})
    assert verdict({"outcome": "won"}, one, value=value).value == (None if amount is None else money(amount))


def test_a_field_without_an_amount_is_said() -> None:
    """And never its content."""
    one = deal("1", "142", fields={"Маржа": ("много",)})
    judged = verdict({"outcome": "won"}, one, value={"field": "Маржа"})
    assert (judged.verdict, judged.reason) == (
        Verdict.EXCLUDED,
        "value expression failed: field Маржа holds no amount",
    )


def test_a_share_of_nothing_is_nothing() -> None:
    """A deal without an amount has no value; a share alone is required to say something."""
    assert verdict({"outcome": "won"}, deal("1", "142"), value={"share": "0.35"}).value is None
    assert deal("1", "142").outcome is Outcome.WON
    with pytest.raises(ValidationError, match="say of what"):
        goal("a", {"outcome": "won"}, value={})
