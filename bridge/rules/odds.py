"""Exact tests for counts, however small. Pure.

Written out because the one library for it, SciPy, would weigh more than all the others together. The tests compare
them with exact fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    marked, whole = recent.hits + usual.hits, recent.leads + usual.leads
    others = usual.leads - marked  # so many more are unmarked in ``usual`` than marked in ``recent``

    def at(hits: int) -> float:
        return exp(
            _log_choose(recent.leads, hits) + _log_choose(usual.leads, marked - hits) - _log_choose(whole, marked)
        )

    def less(hits: int) -> float:
        return hits * (others + hits) / ((recent.leads - hits + 1) * (marked - hits + 1))

    if recent.hits * whole <= marked * recent.leads:
        return _sum(at(recent.hits), less, range(recent.hits, 0, -1))
    # The sum begins at its largest term: one far out on this side would be too small for a float.
    highest = min(recent.leads, marked)
    above = range(recent.hits + 1, highest)
    return 1.0 - _sum(at(recent.hits + 1), lambda hits: 1 / less(hits + 1), above) if recent.hits < highest else 1.0


def chance_of_more(recent: int, usual: int, exposure: float) -> float:
    """How likely ``recent`` events or more are, if they come as often as usual.

    ``exposure`` is the recent part of the whole time, 0..1. The conditional test of two Poisson rates: the upper tail
    of a binomial distribution.
    """
    count = recent + usual
    if recent == 0 or exposure >= 1:
        return 1.0
    odds = exposure / (1 - exposure)

    def at(hits: int) -> float:
        return exp(_log_choose(count, hits) + hits * log(exposure) + (count - hits) * log1p(-exposure))

    if recent >= count * exposure:
        return _sum(at(recent), lambda hits: (count - hits) / (hits + 1) * odds, range(recent, count))
    return 1.0 - _sum(at(recent - 1), lambda hits: hits / (count - hits + 1) / odds, range(recent - 1, 0, -1))


def _sum(first: float, ratio: Callable[[int], float], places: Iterable[int]) -> float:
    """The terms of a tail from its largest on; ``ratio``: of the next one to that of a place."""
    term = total = first
    for place in places:
        if term <= total * _NOTHING:
            break
        term *= ratio(place)
        total += term
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
