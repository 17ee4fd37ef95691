"""Deals and visits by landing page and time: the last resort, where nothing of a person is in common. Pure.

A visit that sent a form of the deal's landing page about when the deal was made may be the deal's. It is taken only
where the two have nobody else: one such visit, and no other deal that it may belong to. Even so it is a guess: a form
may have made no deal, and the visit of the deal's own form may not have been seen.

The key of a page holds the hour, so a deal never looks at, nor waits for, more than the page's visits of some minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from bridge.matching import FORM_GOAL
from bridge.model import Deal, Identifier, Touch, frozen
from bridge.rules.graph import LOOKED_AT, PAGE, Others, disagree, kind_of

_HOUR = 3600
_PREFIX = f"{PAGE}:"  # of a landing page among ``Deal.crowds``


@frozen
class Fit:
    """The visit of a deal; or ``doubt``: why none is taken of those that may be it. Both empty: there is none."""

    visit: Touch | None = None
    doubt: str = ""


def hung_on(deal: Deal, within: timedelta) -> tuple[str, ...]:
    """The key under which a deal, or a visit that sent a form, is found by its landing page."""
    if deal.is_touch and FORM_GOAL not in deal.fields:
        return ()
    return tuple(_keys(deal, deal.came, deal.came)) if within else ()


def looked_at(deal: Deal, within: timedelta) -> tuple[str, ...]:
    """The keys under which the deal's visit is found, and deals that may be the visit's instead."""
    if deal.is_touch or not within:
        return ()
    return tuple(_keys(deal, deal.came - 2 * within, deal.came + 2 * within))


def _keys(deal: Deal, first: datetime, last: datetime) -> Iterator[str]:
    page = next((one for one in deal.crowds if one.startswith(_PREFIX)), "")
    if page:
        hours = range(int(first.timestamp()) // _HOUR, int(last.timestamp()) // _HOUR + 1)
        yield from (f"{page}:{hour}" for hour in hours)


def fit(deal: Deal, keys: Sequence[str], identifiers: Sequence[Identifier], others: Others, within: timedelta) -> Fit:
    """The visit that sent the form this deal was made of.

    Args:
        deal: whose visit is wanted.
        keys: of its person.
        identifiers: its own, which the visit must not contradict.
        others: records by key, those of ``looked_at`` among them.
        within: so far the deal and the form may lie apart.
    """
    listed = [others.get(key, ()) for key in looked_at(deal, within)]
    near = {touch for touches in listed for touch in touches if touch.deal != deal.key}
    sent = [touch for touch in near if touch.is_tracked and abs(touch.at - deal.came) <= within]
    visits = [touch for touch in sent if not _is_another(identifiers, touch.identifiers)]
    if not visits:
        return Fit()
    if any(len(touches) >= LOOKED_AT for touches in listed):
        return Fit(doubt="too many forms of its landing page were sent in that hour to tell them apart")
    about = f"of its landing page within {int(within.total_seconds()) // 60} min"
    several = len({_told(touch.identifiers) for touch in visits})
    if several > 1:
        return Fit(doubt=f"{several} visitors sent a form {about}, and none of them is taken")
    rivals = [touch for touch in near if not touch.is_tracked and _is_rival(deal, keys, touch, visits, within)]
    if rivals:
        return Fit(doubt=f"one visitor sent a form {about}, which may have made {len(rivals)} other deals as well")
    return Fit(min(visits, key=lambda touch: (abs(touch.at - deal.came), touch.at, touch.deal)))


def _told(identifiers: Iterable[Identifier]) -> frozenset[tuple[str, str]]:
    return frozenset((item.kind.value, item.value) for item in identifiers)


def _is_another(one: Iterable[Identifier], other: Iterable[Identifier]) -> bool:
    """Whether two records are of different clicks or browsers: of no kind they tell the same, of some another."""
    mine, theirs = _told(one), _told(other)
    return not mine & theirs and bool({kind for kind, _ in mine} & {kind for kind, _ in theirs})


def _is_rival(deal: Deal, keys: Iterable[str], touch: Touch, visits: Iterable[Touch], within: timedelta) -> bool:
    """Whether another deal may be that of the visit. One of the same person is not another's."""
    if all(abs(touch.at - visit.at) > within or _is_another(touch.identifiers, visit.identifiers) for visit in visits):
        return False
    if touch.deal == deal.parent:
        return False
    mine = frozenset(keys)
    return not any(key in mine and kind_of(key) != PAGE for key in touch.keys) or disagree(mine, touch.keys)
