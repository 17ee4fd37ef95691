"""Settings of a source of raw visits, which an analytics counter keeps; how they join deals is in ``rules.pages``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator

from bridge.config import SourceSettings
from bridge.config_base import Duration, Names
from bridge.matching import WITHIN_MOST

_DAY = timedelta(days=1)


def _short(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= WITHIN_MOST:
        raise ValueError('must be more than zero and at most "15m": more time joins strangers')
    return value


def _a_day(value: timedelta) -> timedelta:
    if value < _DAY:
        raise ValueError("must be at least a day: visits are told by days")
    return value


class VisitSettings(SourceSettings):
    """What every source of visits has. ``form_goals``: the counter's goals that a sent form reaches; only visits that
    reached one are kept. ``within``: a deal is made so long before or after its form was sent, at most.

    ``reread``: so many days are read again each day, for visits that closed late. ``keep``: so long visits are stored.
    """

    poll_every: Duration = timedelta(minutes=30)
    start_from: Duration = timedelta(days=30)
    form_goals: Names
    within: Annotated[Duration, AfterValidator(_short)] = timedelta(minutes=5)
    reread: Annotated[Duration, AfterValidator(_a_day)] = timedelta(days=3)
    keep: Annotated[Duration, AfterValidator(_a_day)] = timedelta(days=120)


def within_of(sources: Iterable[SourceSettings]) -> timedelta:
    """How near in time a deal and a form of its landing page must be, by the most cautious of a tenant's sources; zero
    where none brings visits.
    """
    return min((one.within for one in sources if isinstance(one, VisitSettings)), default=timedelta(0))
