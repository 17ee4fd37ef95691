"""How many new leads bring an identifier, and whether that has fallen. Pure; docs/explanation/coverage.md explains it.

A fall is judged within a channel, so that a campaign that ends makes none: the last day, then the last week, against
the four weeks before, by an exact test of counts that are first divided by how much days differ anyway.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise
from math import ceil, floor, log

from bridge.channels import OTHER, OWN
from bridge.frozen import replace
from bridge.model import IdKind, frozen, utc
from bridge.rules.odds import Sample, chance_of_fewer, chance_of_more, joined, spread, thinned

ALL, ANY = "all", ""  # every channel; a usable identifier of any kind
DAY, WEEK, QUARTER = timedelta(days=1), timedelta(days=7), timedelta(minutes=15)
HISTORY = timedelta(days=28)  # what is usual, before the time that is judged
REACH = HISTORY + WEEK
CHANCE = 1e-5  # of a false alarm, for one look at one share
_LESS = 0.8  # of the usual share: what falls less is nobody's business
_AGAIN, _AGAIN_CHANCE = 0.85, 0.005  # of the usual share, and surely more than when it fell: it is over
_MORE_CHANCE = 0.05
_LEADS, _USUAL_LEADS, _USUAL_DAYS, _USUAL_SHARE = 5, 30, 7, 0.1  # less says nothing
_OWN_NAMES = 8  # channels of the advertiser's own that are told apart; the smaller ones are "other"
_SILENCE_DAYS, _PAUSE = timedelta(days=14), 1.5


@frozen
class Cell:
    """Leads of one quarter of an hour (numbered since 1970) that are alike. ``is_own``: not joined to another's."""

    quarter: int
    channel: str
    kinds: tuple[str, ...]
    is_own: bool
    leads: int


@frozen
class Fall:
    """The share of ``kind`` in ``channel`` fell: in leads from ``began`` on, noticed at ``since``; until ``ended``."""

    channel: str
    kind: str
    began: datetime
    since: datetime
    usual: Sample
    recent: Sample
    ended: datetime | None = None


@frozen
class Silence:
    """No lead after ``since``, where some ``per_day`` are usual and no pause was longer than ``longest`` (seconds)."""

    since: datetime
    per_day: float
    longest: int


@dataclass(slots=True)
class Share:
    """New leads, those with a usable identifier of their own, those with one only by joining."""

    leads: int = 0
    own: int = 0
    joined: int = 0


@frozen
class Verdict:
    """``falls``: standing ones, and ended ones that history has to leave out. ``over``: ended now; True: recovered."""

    falls: tuple[Fall, ...]
    started: tuple[Fall, ...] = ()
    over: tuple[tuple[Fall, bool], ...] = ()


@dataclass(slots=True)
class Line:
    """One share over time: that of ``kind`` in ``channel``. ``counts``: leads and hits of each quarter, by number."""

    channel: str
    kind: str
    counts: dict[int, list[int]] = field(default_factory=dict)

    def add(self, quarter: int, leads: int, hits: int) -> None:
        found = self.counts.get(quarter)
        if found is None:
            self.counts[quarter] = [leads, hits]
        else:
            found[0] += leads
            found[1] += hits

    def sample(self, since: datetime, until: datetime) -> Sample:
        first, end = quarter_of(since), quarter_of(until)
        inside = [pair for quarter, pair in self.counts.items() if first <= quarter < end]
        return Sample(sum([pair[0] for pair in inside]), sum([pair[1] for pair in inside]))

    def days(self, until: datetime, falls: Sequence[Fall]) -> list[Sample]:
        """The days of the history before a moment, from the first lead on, without those on which something fell."""
        end, size = quarter_of(until), DAY // QUARTER
        counts = [(0, 0)] * min(max(0, end - min(self.counts, default=end) + size - 1) // size, HISTORY // DAY)
        for quarter, (leads, hits) in self.counts.items():
            day = (end - 1 - quarter) // size
            if quarter < end and day < len(counts):
                counts[day] = (counts[day][0] + leads, counts[day][1] + hits)
        gone = [(f.began, f.ended or until) for f in falls if self.concerns(f)]
        starts = [until - (day + 1) * DAY for day in range(len(counts))]
        return [
            Sample(*pair)
            for start, pair in zip(starts, counts, strict=True)
            if not any(began < start + DAY and start < ended for began, ended in gone)
        ]

    def concerns(self, fall: Fall) -> bool:
        """Whether it spoils this line's past: that of a channel is seen in the whole, and that of the whole in each."""
        return fall.kind in (ANY, self.kind) and (fall.channel == self.channel or ALL in (fall.channel, self.channel))


def quarter_of(at: datetime) -> int:
    """The number of the first quarter of an hour that begins then or later."""
    return -int(-at.timestamp() // QUARTER.total_seconds())


class Tally:
    """Leads counted by channel. ``accepted`` are the kinds a destination takes: others are of no use; none: all are."""

    def __init__(self, cells: Sequence[Cell], accepted: Collection[str]) -> None:
        self._accepted = frozenset(accepted or IdKind)
        self._cells = [(cell, self._usable(cell)) for cell in _told_apart(cells)]
        self.lines: dict[tuple[str, str], Line] = {}
        kinds: dict[str, set[str]] = defaultdict(set)
        for cell, usable in self._cells:
            kinds[cell.channel].update(usable if cell.is_own else ())
        for cell, usable in self._cells:
            own = usable if cell.is_own else []
            for channel in (ALL, cell.channel):
                self._line(channel, ANY).add(cell.quarter, cell.leads, cell.leads * bool(own))
            for kind in kinds[cell.channel]:
                self._line(cell.channel, kind).add(cell.quarter, cell.leads, cell.leads * (kind in own))

    def _usable(self, cell: Cell) -> list[str]:
        return [kind for kind in cell.kinds if kind in self._accepted]

    def _line(self, channel: str, kind: str) -> Line:
        line = self.lines.get((channel, kind))
        if line is None:
            line = self.lines[channel, kind] = Line(channel, kind)
        return line

    def shares(self, since: datetime, until: datetime) -> dict[str, Share]:
        """By channel, and of all, in this time; the busiest first."""
        found: dict[str, Share] = defaultdict(Share)
        found[ALL] = Share()
        first, end = quarter_of(since), quarter_of(until)
        for cell, usable in self._cells:
            if first <= cell.quarter < end:
                for share in (found[ALL], found[cell.channel]):
                    share.leads += cell.leads
                    share.own += cell.leads * (bool(usable) and cell.is_own)
                    share.joined += cell.leads * (bool(usable) and not cell.is_own)
        return dict(sorted(found.items(), key=lambda item: (item[0] != ALL, -item[1].leads, item[0])))


def _told_apart(cells: Sequence[Cell]) -> list[Cell]:
    """The advertiser's own channels stay bounded in number: the smaller ones are joined."""
    sizes: Counter[str] = Counter()
    for cell in cells:
        if cell.channel.startswith(OWN):
            sizes[cell.channel] += cell.leads
    kept = sorted(sizes, key=lambda name: (-sizes[name], name))[:_OWN_NAMES]
    lost = sizes.keys() - set(kept)
    return [replace(cell, channel=OTHER) if cell.channel in lost else cell for cell in cells]


# --- falls -------------------------------------------------------------------------------------------------------


def judge(tally: Tally, until: datetime, known: Sequence[Fall]) -> Verdict:
    """What fell, what still stands, what is over, at a moment up to which all leads are known."""
    past = [fall for fall in known if fall.ended is None or fall.ended > until - REACH]
    over = [(fall, how) for fall in past if fall.ended is None and (how := _is_over(tally, fall, until)) is not None]
    ended = {(fall.channel, fall.kind): how for fall, how in over}
    kept = []
    for fall in past:
        if fall.ended is not None or (how := ended.get((fall.channel, fall.kind))) is None:
            kept.append(fall)
        elif how:
            kept.append(replace(fall, ended=until))
    started = _started(tally, until, kept)
    return Verdict((*kept, *started), tuple(started), tuple(over))


def _started(tally: Tally, until: datetime, falls: Sequence[Fall]) -> list[Fall]:
    """One fall for one cause: of a kind only where the channel's own share holds, of all where every channel's does."""
    standing = {(fall.channel, fall.kind) for fall in falls if fall.ended is None}
    started: list[Fall] = []
    whole = [key for key in tally.lines if key[0] == ALL]
    parts = sorted(tally.lines.keys() - whole, key=lambda key: (key[1] != ANY, key))
    for channel, kind in (*parts, *whole):
        here = {(channel, kind), (channel, ANY), (ALL, ANY) if kind else (channel, ANY)}
        if here & standing or (channel == ALL and any(one == ANY for _, one in standing)):
            continue
        fall = _fall(tally.lines[channel, kind], until, falls)
        if fall is not None:
            started.append(fall)
            standing.add((channel, kind))
    return started


def _fall(line: Line, until: datetime, falls: Sequence[Fall]) -> Fall | None:
    ends = [fall.ended for fall in falls if fall.ended is not None and line.concerns(fall)]
    for window in (DAY, WEEK):
        since = max([until - window, *ends])
        recent, days = line.sample(since, until), line.days(since, falls)
        if has_fallen(recent, days) and (line.channel != ALL or _has_risen(recent, days, until - since)):
            return Fall(line.channel, line.kind, since, until, joined(days), recent)
    return None


def has_fallen(recent: Sample, days: Sequence[Sample]) -> bool:
    """Whether a share is so much below that of the days before that chance does not explain it."""
    usual = joined(days)
    if recent.leads < _LEADS or usual.leads < _USUAL_LEADS or sum([day.leads > 0 for day in days]) < _USUAL_DAYS:
        return False
    if usual.share < _USUAL_SHARE or recent.share > usual.share * _LESS:
        return False
    more = spread(days)
    return chance_of_fewer(thinned(recent, more, ceil), thinned(usual, more, floor)) <= CHANCE


def _has_risen(recent: Sample, days: Sequence[Sample], span: timedelta) -> bool:
    """Whether leads without an identifier come more often. Else others are missing: a campaign has ended."""
    usual = joined(days)
    exposure = span / (span + len(days) * DAY)
    return chance_of_more(recent.leads - recent.hits, usual.leads - usual.hits, exposure) <= _MORE_CHANCE


def _is_over(tally: Tally, fall: Fall, until: datetime) -> bool | None:
    """True: recovered; False: it has become what is usual; None: it stands."""
    line = tally.lines.get((fall.channel, fall.kind))
    for window in (DAY, WEEK):
        since = max(until - window, fall.since)
        if line is not None and has_recovered(line.sample(since, until), fall):
            return True
    return False if until - fall.since >= HISTORY else None


def has_recovered(recent: Sample, fall: Fall) -> bool:
    """Whether leads since the fall have nearly the usual share again, and surely more than when it fell."""
    if recent.leads < _LEADS or recent.share < fall.usual.share * _AGAIN:
        return False
    return chance_of_fewer(fall.recent, recent) <= _AGAIN_CHANCE


# --- silence -----------------------------------------------------------------------------------------------------


def silence(tally: Tally, until: datetime) -> Silence | None:
    """A source that usually brings leads brings none: for longer than any pause, when a dozen were to be expected."""
    whole = tally.lines.get((ALL, ANY))
    quarters = sorted(whole.counts) if whole is not None else []
    if whole is None or len(quarters) < 2 or (quarters[-1] - quarters[0]) * QUARTER < _SILENCE_DAYS:
        return None
    longest = max([after - before for before, after in pairwise(quarters)]) * QUARTER
    rate = sum([pair[0] for pair in whole.counts.values()]) / (quarters[-1] - quarters[0])
    last = utc((quarters[-1] + 1) * QUARTER.total_seconds())
    quiet = until - last
    if quiet < longest * _PAUSE or quiet / QUARTER * rate < -log(CHANCE):
        return None
    return Silence(last, round(rate * (DAY // QUARTER), 1), round(longest.total_seconds()))


def leads_needed(share: float) -> int:
    """From how many leads a day on a fall from this share to nothing is noticed within a day.

    After four weeks of such days, which differ by chance alone.
    """
    leads, days = _LEADS, HISTORY // DAY
    while chance_of_fewer(Sample(leads, 0), Sample(days * leads, floor(days * leads * share))) > CHANCE:
        leads += 1
    return leads


# --- what is shown -----------------------------------------------------------------------------------------------


@frozen
class Row:
    """Shares by channel of one day or week of the tenant's calendar, which begins on ``start`` (ISO date)."""

    start: str
    channels: dict[str, Share]


@frozen
class Report:
    """What was counted of one source up to ``until``. ``windows``: the last day, the last week, and what is usual."""

    until: datetime
    windows: dict[str, dict[str, Share]]
    days: tuple[Row, ...]
    weeks: tuple[Row, ...]
    falls: tuple[Fall, ...] = ()
    silence: Silence | None = None

    @property
    def standing(self) -> tuple[Fall, ...]:
        return tuple([fall for fall in self.falls if fall.ended is None])


SHOWN_DAYS, SHOWN_WEEKS = 14, 5


def words(fall: Fall) -> str:
    """A fall in one line for people."""
    place = "all channels" if fall.channel == ALL else fall.channel
    what = fall.kind or "usable identifier"
    now, usual = round(100 * fall.recent.share), round(100 * fall.usual.share)
    return f"{place}: {now} % of {fall.recent.leads} new leads have a {what}, usually {usual} %"


def silence_words(silence: Silence) -> str:
    return f"no new lead since {silence.since:%Y-%m-%d %H:%M} UTC, usually {silence.per_day:g} a day"


def windows(tally: Tally, until: datetime) -> dict[str, dict[str, Share]]:
    return {
        "day": tally.shares(until - DAY, until),
        "week": tally.shares(until - WEEK, until),
        "usual": tally.shares(until - DAY - HISTORY, until - DAY),
    }


def calendar(tally: Tally, until: datetime, zone: tzinfo, size: timedelta, count: int) -> tuple[Row, ...]:
    """The last days or weeks (from Monday on) of the calendar, the running one last."""
    today = until.astimezone(zone).date()
    first = today - timedelta(days=today.weekday()) if size == WEEK else today
    starts = [first - size * back for back in range(count - 1, -1, -1)]
    ends = [*starts[1:], first + size]
    return tuple(
        [
            Row(start.isoformat(), tally.shares(_midnight(start, zone), _midnight(end, zone)))
            for start, end in zip(starts, ends, strict=True)
        ]
    )


def reach(until: datetime, zone: tzinfo, weeks: int) -> datetime:
    """From when on leads have to be counted for so many weeks of the calendar and for judging."""
    today = until.astimezone(zone).date()
    monday = today - timedelta(days=today.weekday()) - WEEK * (weeks - 1)
    return min(until - REACH, _midnight(monday, zone))


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
