"""The tests of counts give what exact fractions give, and no more false alarms than they promise."""

from __future__ import annotations

import random
from fractions import Fraction
from math import ceil, comb, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.rules.odds import Sample, chance_of_fewer, chance_of_more, spread, thinned

counts = st.integers(0, 60)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    leads = draw(counts)
    return Sample(leads, draw(st.integers(0, leads)))


@given(samples(), samples())
def test_the_chance_of_fewer_hits_is_that_of_the_hypergeometric_distribution(recent: Sample, usual: Sample) -> None:
    """Summed with whole numbers over every result that is not above this one."""
    marked, whole = recent.hits + usual.hits, recent.leads + usual.leads
    ways = sum(comb(recent.leads, hits) * comb(usual.leads, marked - hits) for hits in range(recent.hits + 1))
    exact = Fraction(ways, comb(whole, marked))
    assert chance_of_fewer(recent, usual) == pytest.approx(float(exact), rel=1e-9, abs=1e-300)


@given(counts, counts, st.fractions(Fraction(1, 100), Fraction(99, 100), max_denominator=100))
def test_the_chance_of_more_events_is_that_of_the_binomial_distribution(
    recent: int, usual: int, part: Fraction
) -> None:
    """The same, over every result that is not below this one."""
    whole = recent + usual
    exact = sum(comb(whole, n) * part**n * (1 - part) ** (whole - n) for n in range(recent, whole + 1))
    assert chance_of_more(recent, usual, float(part)) == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize(
    ("recent", "usual", "low", "high"),
    [
        (Sample(4000, 3900), Sample(100_000, 50_000), 1 - 1e-9, 1.0),
        (Sample(4000, 4000), Sample(100_000, 50_000), 1.0, 1.0),
        (Sample(4000, 2010), Sample(100_000, 50_000), 0.5, 0.7),
        (Sample(4000, 1990), Sample(100_000, 50_000), 0.3, 0.5),
        (Sample(4000, 100), Sample(100_000, 50_000), 0.0, 1e-300),
    ],
)
def test_many_leads_are_no_trouble_for_the_chance_of_fewer(
    recent: Sample, usual: Sample, low: float, high: float
) -> None:
    """What is far above the usual is as likely as can be, although no float holds the chance of this very result."""
    assert low <= chance_of_fewer(recent, usual) <= high


@pytest.mark.parametrize(("recent", "low", "high"), [(1000, 1 - 1e-9, 1.0), (3450, 0.3, 0.7), (9000, 0.0, 1e-300)])
def test_many_leads_are_no_trouble_for_the_chance_of_more(recent: int, low: float, high: float) -> None:
    """A campaign that ends leaves much fewer leads than usual: that is not more of them."""
    assert low <= chance_of_more(recent, 100_000 - recent, 1 / 29) <= high


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("promised", [0.05, 0.01])
def test_alike_samples_look_different_no_more_often_than_promised(share: float, promised: float) -> None:
    """Of 3,000 pairs drawn alike: the chance is at most ``promised`` in so many of them at most, but for luck."""
    dice = random.Random(11)
    draws = 3000
    alarms = 0
    for _ in range(draws):
        recent, usual = (Sample(n, sum(dice.random() < share for _ in range(n))) for n in (12, 60))
        alarms += chance_of_fewer(recent, usual) <= promised
    assert alarms <= draws * promised + 4 * (draws * promised) ** 0.5


@given(samples(), samples())
def test_fewer_hits_are_never_more_likely(recent: Sample, usual: Sample) -> None:
    """One hit less makes the chance smaller, all else alike; and a better past does, too."""
    if recent.hits:
        assert chance_of_fewer(Sample(recent.leads, recent.hits - 1), usual) <= chance_of_fewer(recent, usual) + 1e-12
    if usual.hits < usual.leads:
        better = Sample(usual.leads, usual.hits + 1)
        assert chance_of_fewer(recent, better) <= chance_of_fewer(recent, usual) + 1e-12


def test_days_that_differ_by_chance_have_no_spread() -> None:
    """On average over many months the statistic is one; days that really differ have a larger one."""
    dice = random.Random(5)

    def month(*shares: float) -> float:
        shares = shares * 14
        return spread([Sample(40, sum(dice.random() < share for _ in range(40))) for share in shares])

    calm = [month(0.7, 0.7) for _ in range(200)]
    assert 1.0 <= sum(calm) / len(calm) <= 1.2
    assert max(calm) <= 2.5
    assert min(month(0.9, 0.5) for _ in range(50)) >= 4


def test_a_spread_of_nothing_is_one() -> None:
    """Days without leads, days without hits and a single day tell of no spread."""
    for days in ([], [Sample(5, 3)], [Sample(0, 0), Sample(4, 1)], [Sample(4, 0)] * 5, [Sample(4, 4)] * 5):
        assert spread(days) == 1.0


@given(samples(), st.floats(1, 50))
def test_a_thinned_sample_is_a_sample(sample: Sample, more: float) -> None:
    """Never more hits than leads; a spread of one changes nothing."""
    for rounded in (ceil, floor):
        made = thinned(sample, more, rounded)
        assert 0 <= made.hits <= made.leads <= sample.leads
        assert thinned(sample, 1.0, rounded) == sample
