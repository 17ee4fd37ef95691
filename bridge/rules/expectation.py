"""What a deal that reached a goal is worth on average: its chance of a sale times the mean sale. Pure and exact.

docs/explanation/expected-value.md explains the method. Whole numbers and fractions throughout; one rounding, to the
minor unit, at the end. An estimate is frozen with the moment it was made at: a deal is worth what the newest estimate
before it reached its goal says, so a later estimate never changes what was told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction

from bridge.model import Deal, DealKind, Money, Outcome, frozen

NO_CHANNEL = "unknown"


@frozen
class Cell:
    """Deals that ``reached`` the goal, those of them that were ``sold``, and of the ``valued`` sales the ``total``.

    ``total`` is in minor units; a sale without an amount above zero is no valued one.
    """

    reached: int = 0
    sold: int = 0
    valued: int = 0
    total: int = 0

    def plus(self, other: Cell) -> Cell:
        return Cell(
            self.reached + other.reached, self.sold + other.sold, self.valued + other.valued, self.total + other.total
        )


@frozen
class Estimate:
    """Everything that was counted at one moment, and how it was to be used then."""

    at: datetime
    currency: str
    least: int
    weight: int
    cells: Mapping[str, Mapping[str, Cell]]  # by pipeline and channel

    def pipeline(self, name: str) -> Cell:
        """All channels of a pipeline together."""
        whole = Cell()
        for cell in self.cells.get(name, {}).values():
            whole = whole.plus(cell)
        return whole


@frozen
class Expected:
    """A channel's estimate in its pipeline. ``mean`` is in minor units; ``own`` and ``whole`` are what was counted."""

    rate: Fraction
    mean: Fraction
    own: Cell
    whole: Cell
    currency: str

    @property
    def value(self) -> Money:
        """Rate times mean, rounded half up to the minor unit."""
        exact = self.rate * self.mean
        return Money((2 * exact.numerator + exact.denominator) // (2 * exact.denominator), self.currency)


# --- estimating --------------------------------------------------------------------------------------------------


def counted(found: Iterable[tuple[str, str, Cell]]) -> dict[str, dict[str, Cell]]:
    """(pipeline, channel, cell) of each deal as cells."""
    cells: dict[str, dict[str, Cell]] = {}
    for pipeline, channel, cell in found:
        channels = cells.setdefault(pipeline, {})
        channels[channel] = channels.get(channel, Cell()).plus(cell)
    return cells


def cell_of(family: Sequence[Deal], currency: str) -> Cell:
    """A deal that reached the goal, with what became of it: ``family`` are a lead and the deals made from it.

    A lead from which a deal was made is sold when that deal is.
    """
    own = [deal for deal in family if deal.kind is not DealKind.LEAD] or family
    won = [deal for deal in own if deal.outcome is Outcome.WON]
    amounts = [d.value.minor for d in won if d.value is not None and d.value.currency == currency and d.value.minor > 0]
    return Cell(1, int(bool(won)), int(bool(amounts)), sum(amounts))


def expected(estimate: Estimate, pipeline: str, channel: str) -> Expected | str:
    """Rate and mean of a channel, shrunk towards its pipeline's; in words, why there is none."""
    whole, weight = estimate.pipeline(pipeline), estimate.weight
    if whole.reached < estimate.least:
        return f"{whole.reached} of the {estimate.least} finished deals that an estimate needs"
    if not whole.valued:
        return f"no sale with an amount in {estimate.currency} among {whole.reached} finished deals"
    own = estimate.cells[pipeline].get(channel, Cell())
    rate = (own.sold + weight * Fraction(whole.sold, whole.reached)) / (own.reached + weight)
    mean = (own.total + weight * Fraction(whole.total, whole.valued)) / (own.valued + weight)
    return Expected(rate, mean, own, whole, estimate.currency)


def is_usable(estimate: Estimate) -> bool:
    """Whether any pipeline has enough."""
    return any(not isinstance(expected(estimate, name, ""), str) for name in estimate.cells)


# --- using -------------------------------------------------------------------------------------------------------


@frozen
class Expectation:
    """A goal's estimates, the oldest first, and how its deals are worth them.

    ``has_children``: leads of the source become deals, so a lead that is won is only converted.
    """

    currency: str
    versions: tuple[Estimate, ...] = ()
    has_children: bool = False

    def at(self, moment: datetime) -> Estimate | None:
        """The estimate that was known then."""
        known = [one for one in self.versions if one.at <= moment]
        return known[-1] if known else None

    def worth(self, deal: Deal, moment: datetime, pipeline: str) -> tuple[Money | None, str]:
        """What a deal that reached the goal then, in that pipeline, is worth, and why. None: nobody knows."""
        if deal.outcome is Outcome.LOST:
            return Money(0, self.currency), "lost: worth nothing"
        is_sold = deal.outcome is Outcome.WON and not (self.has_children and deal.kind is DealKind.LEAD)
        if is_sold and deal.value is not None and deal.value.minor > 0:
            return deal.value, "sold: the deal's own amount"
        known = self.at(moment)
        if known is None:
            return None, 'no expected value: no estimate was known then; "bridge values" tells more'
        channel = deal.background.channel if deal.background is not None else ""
        found = expected(known, pipeline, channel or NO_CHANNEL)
        if isinstance(found, str):
            return None, f"no expected value: {found}"
        return found.value, f"expected value: {words(found, channel or NO_CHANNEL, known.at)}"


def words(found: Expected, channel: str, at: datetime) -> str:
    """An estimate for people: rate, mean, how many deals, and how far they are the channel's own."""
    mean = Money(round(found.mean), found.currency)
    own, whole = found.own, found.whole
    return (
        f"{percent(found.rate)} of {mean}; {channel}: {own.sold} of {own.reached} sold, "
        f"its pipeline: {whole.sold} of {whole.reached}; estimated {at:%Y-%m-%d %H:%M} UTC"
    )


def percent(rate: Fraction) -> str:
    """``12.5 %``."""
    tenths = (2000 * rate.numerator + rate.denominator) // (2 * rate.denominator)
    return f"{tenths // 10}.{tenths % 10} %"


def window(at: datetime, cycle: timedelta, history: timedelta) -> tuple[datetime, datetime]:
    """When deals must have reached the goal to count in an estimate of that moment: so long ago that they are over."""
    return at - cycle - history, at - cycle
