"""What an account's reports count of each conversion action and day, beside what it was sent. Pure.

``metrics.all_conversions_by_conversion_date`` puts a conversion on the day it occurred, in the account's time zone
(contract google 4.1; the metric's own documentation in Google's messages), whether its action is a primary one or not.

Google shares one conversion out among the clicks that led to it, and tells sums of shares. So less than one whole
conversion is no difference: a day counts as complete from ours minus one on, that one left out.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from adapters.google_ads import adjustments
from adapters.google_ads.ads_api import ONE_PER_CLICK, Action, Customer, DayTotal
from adapters.google_ads.mapping import CLICK_KINDS
from adapters.google_ads.settings import GoogleAdsSettings
from bridge.audits import DayCount, Sent
from bridge.model import IdKind, Outgoing, frozen

YOUNG = timedelta(days=2)  # processing takes up to a day (contract google 2.9); the reports another, to be sure
_NOISE = 0.01  # sums of shares are binary fractions


@frozen
class Books:
    """What the account tells. ``zone``: its own; ``totals``: of each action and day."""

    actions: Sequence[Action]
    zone: tzinfo
    totals: Sequence[DayTotal]


def zone_of(customer: Customer) -> tzinfo | None:
    """The account's time zone; None: not told, or not known here."""
    try:
        return ZoneInfo(customer.time_zone)
    except (ValueError, KeyError, OSError):
        return None


def untold(target: str, actions: Sequence[Action], customer: str) -> str:
    """Why nothing can be told of a conversion action; "" if something can."""
    action = next((one for one in actions if one.id == target), None)
    if action is None:
        return "the account does not list this conversion action"
    if action.owner_customer not in ("", f"customers/{customer}"):
        return f"it belongs to {action.owner_customer}, where its conversions are counted"
    return ""


def tally(
    target: str, sent: Sequence[Sent], books: Books, settings: GoogleAdsSettings, now: datetime
) -> list[DayCount]:
    """One conversion action day by day."""
    action = next(one for one in books.actions if one.id == target)
    theirs: defaultdict[date, float] = defaultdict(float)
    for total in books.totals:
        if total.action == target:
            theirs[total.day] += total.count
    ours: Counter[date] = Counter()
    loose: Counter[date] = Counter()  # of ours, those that may be absent
    for one in _counted(sent, action, settings):
        day = one.row.occurred_at.astimezone(books.zone).date()
        ours[day] += 1
        loose[day] += _may_be_absent(one, action, now)
    return [_day(target, day, ours[day], theirs[day], loose[day]) for day in sorted(ours.keys() | theirs.keys())]


def _day(target: str, day: date, ours: int, theirs: float, loose: int) -> DayCount:
    short = max(0, math.floor(ours - theirs + _NOISE))
    open_ = min(short, loose)
    shown = ours if abs(ours - theirs) < 1 - _NOISE else round(theirs)
    return DayCount(target, day, ours, shown, missing=short - open_, open=open_)


def _counted(sent: Iterable[Sent], action: Action, settings: GoogleAdsSettings) -> list[Sent]:
    """Those that Google should count: not what it took back since, and of one click the first where it counts once."""
    standing = [one for one in sent if one.latest is None or not adjustments.is_one(one.latest, settings)]
    if action.counting_type != ONE_PER_CLICK:
        return standing
    first: dict[object, Sent] = {}
    for one in sorted(standing, key=lambda one: one.row.occurred_at):
        first.setdefault(_click(one.row), one)
    return list(first.values())


def _click(row: Outgoing) -> object:
    """What a conversion is counted by; persons stand for the click they made."""
    return row.first(*CLICK_KINDS) or row.persons


def _may_be_absent(one: Sent, action: Action, now: datetime) -> bool:
    """Too young to show; or not certainly counted: the click is too old for the action, or only its group is known.

    Of a conversion by gbraid or wbraid, or by a person alone, Google shows what it models, not what it was sent.
    """
    days = action.click_through_lookback_window_days
    is_old = days is not None and one.row.occurred_at - one.row.clicked_by > timedelta(days=days)
    return now - one.answered_at < YOUNG or is_old or one.row.first(IdKind.GCLID) is None
