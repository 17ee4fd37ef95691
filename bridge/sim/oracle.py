"""What ought to have happened: computed from the world alone, sharing no code with ``bridge.rules``.

``expected`` says which goals were reached, when, and which click a perfect matcher would know. ``deliverable`` applies
one vendor's windows. ``compare`` holds that against what the vendor's simulator counts.

A case is *certain* unless it lies so near a border that an honest bridge may come down on either side: it happened
within ``lag`` of the comparison, or of the closing of a window (sending takes a while); or Metrica's own window,
counted from the visit, closes before ours, counted from the deal's creation. Uncertain cases may be there or not;
the world keeps them rare.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from bridge.frozen import frozen, replace
from bridge.sim.events import Applied, Call, Carrier, Click, Lead, StageName, Step
from bridge.sim.world import World

Goal = Literal["qualified", "spam", "sale"]
Vendor = Literal["yandex_metrica", "google_ads"]

LOOK_BACK = timedelta(days=90)  # config.MatchSettings
CALL_AFTER = timedelta(minutes=30)  # the same
METRICA_WINDOW = timedelta(days=21)  # contract yandex 2.5
METRICA_PROCESSING = timedelta(hours=2)  # contract yandex 2.4
GOOGLE_WINDOW = timedelta(days=90)  # contract google 3.4
GOOGLE_FRESH_CLICK = timedelta(hours=6)  # contract google 2.13
SPAM_REASONS = frozenset({"Спам", "Дубль"})
_WHOLE = frozenset({Carrier.FIELD, Carrier.CONVERTED})
_MARK_ONLY = frozenset({Carrier.URL, Carrier.UTM})  # the click's own id is there, the ClientID is not


@frozen
class Expected:
    """A lead reached a goal.

    ``click`` is the click a perfect matcher would know, with only the identifiers the CRM or the call tracker shows;
    None if they show none. ``touched_at`` is the creation of the lead that shows it, or the call's time. ``values`` are
    the budgets in force since the sale, each with its beginning; ``value`` is the last of them. ``others`` are clicks
    of the same person before the lead: a destination that can do nothing with ``click`` may be told of one of them.
    """

    lead: int
    goal: Goal
    at: datetime
    value: Decimal | None
    click: Click | None
    created_at: datetime
    touched_at: datetime | None
    values: tuple[tuple[datetime, Decimal], ...] = ()
    others: tuple[_Told, ...] = ()


@frozen
class Check:
    """One destination at the moment of comparison.

    Args:
        vendor: whose windows apply.
        targets: goal name -> the vendor's own goal; goals not named are not sent there.
        now: the vendor's clock. Later than the world's last told moment, so that everything had time to arrive.
        lag: how long a delivery may take after it became possible (outages and killed daemons included).
    """

    vendor: Vendor
    targets: Mapping[str, str]
    now: datetime
    lag: timedelta = timedelta(hours=12)


@frozen
class Due:
    """An expected delivery to one destination. ``values`` are the amounts it may show, the last one the newest."""

    expected: Expected
    target: str
    identifiers: frozenset[str]
    values: tuple[Decimal | None, ...]
    is_certain: bool


@frozen
class _Told:
    """A click that becomes known at ``at`` and may serve a lead that came up to ``late`` before that, or after it."""

    at: datetime
    click: Click
    late: timedelta = timedelta(0)


@frozen
class Verdict:
    """How a destination differs from what ought to be. ``by_person`` rows were linked by hashed user data alone.

    ``found`` is there, ``unlinked`` of it the vendor did not link with a visit; what is certain and not linked is
    missing.
    """

    missing: list[Due] = field(default_factory=list)
    doubled: list[Applied] = field(default_factory=list)
    unexpected: list[Applied] = field(default_factory=list)
    wrong_value: list[tuple[Due, Applied]] = field(default_factory=list)
    certain: int = 0
    uncertain: int = 0
    found: int = 0
    unlinked: int = 0
    by_person: int = 0

    @property
    def is_clean(self) -> bool:
        return not (self.missing or self.doubled or self.unexpected or self.wrong_value)

    def counts(self) -> dict[str, int]:
        """The figures, for a table."""
        return {
            "expected": self.certain,
            "uncertain": self.uncertain,
            "found": self.found,
            "unlinked": self.unlinked,
            "by_person": self.by_person,
            "missing": len(self.missing),
            "doubled": len(self.doubled),
            "unexpected": len(self.unexpected),
            "wrong_value": len(self.wrong_value),
        }

    def summary(self) -> str:
        """One line: ``expected 118, uncertain 2, ... missing 0, doubled 0, unexpected 0, wrong value 0``."""
        return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in self.counts().items())


# --- what happened -----------------------------------------------------------------------------------------------


def expected(world: World, until: datetime) -> list[Expected]:
    """Every goal reached up to and including ``until``, in time order; whether or not any destination can take it."""
    shown, forms = _shown_by_person(world, until), _forms(world, until)
    found = [item for lead in world.leads for item in _of_lead(lead, _form_of(lead, forms), shown, until)]
    return sorted(found, key=lambda item: (item.at, item.lead, item.goal))


def _forms(world: World, until: datetime) -> dict[str, Call]:
    return {call.key: call for call in world.calls if call.key and call.click is not None and call.at <= until}


def _form_of(lead: Lead, forms: Mapping[str, Call]) -> _Told | None:
    """The form whose lead key the lead carries, whenever it was."""
    form = forms.get(lead.garbage.rpartition("=")[2])
    return _Told(min(form.at, lead.created_at), form.click) if form is not None and form.click is not None else None


def _of_lead(lead: Lead, form: _Told | None, shown: Mapping[int, list[_Told]], until: datetime) -> Iterable[Expected]:
    steps = [step for step in lead.steps if step.at <= until]
    reached = _reached(steps)
    if not reached:
        return
    teller = form or _teller(lead, shown)
    click = teller.click if teller else None
    touched_at = teller.at if teller else None
    others = tuple(_near(lead, shown))
    for goal, at in reached.items():
        values = _values(steps, at) if goal == "sale" else ()
        value = values[-1][1] if values else None
        yield Expected(lead.id, goal, at, value, click, lead.created_at, touched_at, values, others)


def _reached(steps: Sequence[Step]) -> dict[Goal, datetime]:
    """The first time each goal was reached: later entries of a stage count no more."""
    reached: dict[Goal, datetime] = {}
    for step in steps:
        if step.stage is StageName.QUALIFIED:
            reached.setdefault("qualified", step.at)
        elif step.stage is StageName.WON:
            reached.setdefault("sale", step.at)
        elif step.stage is StageName.LOST and step.loss_reason in SPAM_REASONS:
            reached.setdefault("spam", step.at)
    return reached


def _values(steps: Sequence[Step], sold_at: datetime) -> tuple[tuple[datetime, Decimal], ...]:
    before = [(sold_at, step.value) for step in steps if step.value is not None and step.at <= sold_at]
    after = [(step.at, step.value) for step in steps if step.value is not None and step.at > sold_at]
    return (*before[-1:], *after)


def _shown(lead: Lead) -> Click | None:
    """The click with those identifiers that stand somewhere on this very lead."""
    if lead.click is None or lead.carrier in _WHOLE:
        return lead.click
    return replace(lead.click, client_id=None) if lead.carrier in _MARK_ONLY else None


def _shown_by_person(world: World, until: datetime) -> dict[int, list[_Told]]:
    by_person: defaultdict[int, list[_Told]] = defaultdict(list)
    for lead in world.leads:
        click = _shown(lead)
        if click is not None:
            by_person[lead.person].append(_Told(lead.created_at, click))
    for call in world.calls:
        if call.click is not None and call.at <= until:
            by_person[call.person].append(_Told(call.at, call.click, CALL_AFTER))
    return by_person


def _teller(lead: Lead, shown: Mapping[int, list[_Told]]) -> _Told | None:
    """Who shows the lead's click: the lead itself, else what is nearest to it of the person, inside the look-back."""
    own = _shown(lead)
    if own is not None:
        return _Told(lead.created_at, own)
    return min(_near(lead, shown), key=lambda told: abs(told.at - lead.created_at), default=None)


def _near(lead: Lead, shown: Mapping[int, list[_Told]]) -> list[_Told]:
    came = lead.created_at
    return [told for told in shown.get(lead.person, ()) if came - LOOK_BACK <= told.at <= came + told.late]


# --- what a destination can take ---------------------------------------------------------------------------------


def deliverable(items: Iterable[Expected], check: Check) -> list[Due]:
    """Those of the expected goals that this destination must have by now, and (uncertain) those it may have."""
    judge = _for_metrica if check.vendor == "yandex_metrica" else _for_google
    return [due for item in items if item.goal in check.targets and (due := judge(item, check)) is not None]


def _for_metrica(item: Expected, check: Check) -> Due | None:
    """Yclid or ClientID; sent within 21 days of the touch; linked if the visit is no older when it is processed."""
    told, is_own = _told_of(item, lambda click: bool(click.yclid or click.client_id))
    if not told:
        return None
    latest = max(told, key=lambda one: one.at)
    closes, unlinks = latest.at + METRICA_WINDOW, latest.click.at + METRICA_WINDOW
    if item.at > min(closes, check.now):
        return None
    arrives = item.at + check.lag
    is_certain = is_own and arrives <= min(closes, check.now) and arrives + METRICA_PROCESSING <= unlinks
    identifiers = frozenset(mark for one in told for mark in (one.click.yclid, one.click.client_id) if mark)
    # A correction travels like the row it corrects: seen for sure only while the windows are open, and after a while.
    settled = min(check.now, closes, unlinks - METRICA_PROCESSING) - check.lag
    return _due(item, check, identifiers, settled, is_certain=is_certain)


def _for_google(item: Expected, check: Check) -> Due | None:
    """A gclid of at most 90 days; held back until the click is certainly six hours old."""
    told, is_own = _told_of(item, lambda click: bool(click.gclid))
    if not told:
        return None
    latest = max(told, key=lambda one: one.at)
    closes = latest.at + GOOGLE_WINDOW
    opens = max(item.at, min(one.at for one in told) + GOOGLE_FRESH_CLICK)
    if opens > min(closes, check.now):
        return None
    # A deal made from the lead when it qualified is a touch of its own, and as young as the goal it reached.
    surely_open = item.at + GOOGLE_FRESH_CLICK + check.lag
    is_certain = is_own and surely_open <= min(check.now, latest.click.at + GOOGLE_WINDOW)
    settled = min(check.now, latest.click.at + GOOGLE_WINDOW) - check.lag
    identifiers = frozenset(one.click.gclid for one in told if one.click.gclid)
    return _due(item, check, identifiers, settled, is_certain=is_certain)


def _told_of(item: Expected, takes: Callable[[Click], bool]) -> tuple[Sequence[_Told], bool]:
    """The lead's click, which a destination that takes it must be told of; else those it may be told of."""
    if item.click is not None and item.touched_at is not None and takes(item.click):
        return [_Told(item.touched_at, item.click)], True
    told = [one for one in item.others if takes(one.click)]
    return told, len(told) == 1


def _due(item: Expected, check: Check, identifiers: frozenset[str], settled: datetime, *, is_certain: bool) -> Due:
    return Due(item, check.targets[item.goal], identifiers, _in_force(item.values, settled), is_certain)


def _in_force(values: Sequence[tuple[datetime, Decimal]], settled: datetime) -> tuple[Decimal | None, ...]:
    """The amount that must have arrived by ``settled``, and those that came into force since; None without a value."""
    if not values:
        return (None,)
    first = max((index for index, (at, _) in enumerate(values) if at <= settled), default=0)
    return tuple(value for _, value in values[first:])


# --- the comparison ----------------------------------------------------------------------------------------------


def compare(items: Iterable[Expected], applied: Sequence[Applied], check: Check) -> Verdict:
    """Hold what a destination counts against what ought to be there.

    A counted goal reach belongs to an expected one if target and second agree and one of its identifiers is the
    click's. Google may also count leads by hashed user data: a row of another identifier is tolerated there
    (``by_person``) if a lead reached that very goal at that very second, at most once for each such lead.
    """
    items = list(items)
    dues = deliverable(items, check)
    verdict, claims, strangers = _claimed(dues, applied)
    for due in dues:
        _judge_due(due, claims[id(due)], verdict)
    spare = _spare_goals(items, dues, claims, check)
    tolerated = 0
    for row in strangers:
        key = (row.target, row.at)
        if check.vendor == "google_ads" and spare[key] > 0 and row.reaches == 1:
            spare[key] -= 1
            tolerated += 1
        else:
            verdict.unexpected.append(row)
    certain = sum(due.is_certain for due in dues)
    found = sum(bool(claims[id(due)]) for due in dues)
    unlinked = sum(bool(rows) and not any(row.is_linked for row in rows) for rows in claims.values())
    sure = replace(verdict, certain=certain, uncertain=len(dues) - certain)
    return replace(sure, found=found, unlinked=unlinked, by_person=tolerated)


def _claimed(
    dues: Sequence[Due], applied: Sequence[Applied]
) -> tuple[Verdict, dict[int, list[Applied]], list[Applied]]:
    index: defaultdict[tuple[str, datetime], list[Due]] = defaultdict(list)
    for due in dues:
        index[due.target, due.expected.at].append(due)
    claims: dict[int, list[Applied]] = {id(due): [] for due in dues}
    strangers = []
    for row in applied:
        owner = next((due for due in index[row.target, row.at] if due.identifiers & set(row.identifiers)), None)
        if owner is None:
            strangers.append(row)
        else:
            claims[id(owner)].append(row)
    return Verdict(), claims, strangers


def _judge_due(due: Due, rows: Sequence[Applied], verdict: Verdict) -> None:
    if due.is_certain and not any(row.is_linked for row in rows):
        verdict.missing.append(due)
    verdict.doubled.extend(row for index, row in enumerate(rows) if index > 0 or row.reaches > 1)
    verdict.wrong_value.extend((due, row) for row in rows[:1] if row.is_linked and row.value not in due.values)


def _spare_goals(
    items: Iterable[Expected], dues: Sequence[Due], claims: Mapping[int, Sequence[Applied]], check: Check
) -> defaultdict[tuple[str, datetime], int]:
    """How many leads reached each goal at each second without a row of their own click."""
    spare: defaultdict[tuple[str, datetime], int] = defaultdict(int)
    for item in items:
        if item.goal in check.targets:
            spare[check.targets[item.goal], item.at] += 1
    for due in dues:
        if claims[id(due)]:
            spare[due.target, due.expected.at] -= 1
    return spare
