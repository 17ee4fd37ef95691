"""Exact tests for counts, however small. Pure.

Written out because the one library for it, SciPy, would weigh more than all the others together. The tests compare
them with exact fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, lgamma, log, log1p

from bridge.model import frozen

_NOTHING = 1e-18  # a term so much smaller than the sum adds nothing


@frozen
class Sample:
    """So many ``hits`` among ``leads``."""

    leads: int
    hits: int

    @property
    def share(self) -> float:
        """0..1; 0 of none."""
        return self.hits / self.leads if self.leads else 0.0


def joined(samples: Sequence[Sample]) -> Sample:
    return Sample(sum([one.leads for one in samples]), sum([one.hits for one in samples]))


def chance_of_fewer(recent: Sample, usual: Sample) -> float:
    """How likely so few hits in ``recent`` are, or fewer, if both samples are drawn alike.

    Fisher's exact test, one side: the tail of the hypergeometric distribution. Whatever the true share, a result of at
    most ``a`` comes up with a probability of at most ``a``.
    """
    marked = recent.hits + usual.hits
    hits = recent.hits
    term = total = exp(
        _log_choose(recent.leads, hits)
        + _log_choose(usual.leads, usual.hits)
        - _log_choose(recent.leads + usual.leads, marked)
    )
    while hits > 0 and term > total * _NOTHING:
        term *= hits * (usual.leads - marked + hits) / ((recent.leads - hits + 1) * (marked - hits + 1))
        total += term
        hits -= 1
    return min(total, 1.0)


def chance_of_more(recent: int, usual: int, exposure: float) -> float:
    """How likely ``recent`` events or more are, if they come as often as usual.

    ``exposure`` is the recent part of the whole time, 0..1. The conditional test of two Poisson rates: the upper tail
    of a binomial distribution.
    """
    count, hits = recent + usual, recent
    if hits == 0 or exposure >= 1:
        return 1.0
    term = total = exp(_log_choose(count, hits) + hits * log(exposure) + (count - hits) * log1p(-exposure))
    while hits < count and term > total * _NOTHING:
        term *= (count - hits) / (hits + 1) * exposure / (1 - exposure)
        total += term
        hits += 1
    return min(total, 1.0)


def spread(samples: Sequence[Sample]) -> float:
    """By how much more the shares of samples vary than chance alone makes them; 1 at least.

    Pearson's statistic over its degrees of freedom: the design effect of clustered observations.
    """
    filled = [one for one in samples if one.leads]
    whole = joined(filled)
    if len(filled) < 2 or whole.hits in (0, whole.leads):
        return 1.0
    share = whole.share
    deviation = sum([(one.hits - one.leads * share) ** 2 / (one.leads * share * (1 - share)) for one in filled])
    return max(1.0, deviation / (len(filled) - 1))


def thinned(sample: Sample, spread: float, rounded: Callable[[float], int]) -> Sample:
    """What a sample is worth by a spread: its counts divided by it (Rao and Scott 1992); hits ``rounded`` as told."""
    leads = int(sample.leads / spread)
    return Sample(leads, min(leads, rounded(sample.hits / spread)))


def _log_choose(whole: int, part: int) -> float:
    if not 0 <= part <= whole:
        return float("-inf")
    return lgamma(whole + 1) - lgamma(part + 1) - lgamma(whole - part + 1)
