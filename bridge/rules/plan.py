"""What to promise whom: from judgements and what was promised before to new conversions and deliveries. Pure.

A goal is reached once per deal, or once with each payment. A value that changes before sending replaces the pending
row; after sending it becomes a restatement where the destination adjusts, else a named skip. Nothing is silently
dropped.

What was promised and not sent is withdrawn when there is nothing to tell any more: its deal was deleted in the CRM, or
is spam by now, its payment refunded, or its click turned out to be another's. Should there be again, it is restored
under the same id. What was sent is beyond that: spam and refunds are told like any other new value, zero; a deletion
changes nothing there, since no destination takes it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

import msgspec

from bridge.frozen import replace
from bridge.identity import conversion_id, delivery_id, order_key
from bridge.model import (
    ONCE_PER_DEAL,
    Consent,
    Conversion,
    ConversionKind,
    Deal,
    Judgement,
    Match,
    Outgoing,
    Unmatched,
    Verdict,
    frozen,
)
from bridge.ports import DestinationTraits
from bridge.rules import deal_orders, merged_orders
from bridge.rules.apart import apart
from bridge.rules.consent import WITHHELD, Terms
from bridge.rules.content import agreed, content_of, refreshed, why_not
from bridge.rules.corrections import dated, is_news, kept_value, worthless
from bridge.rules.deal_orders import revision_of, rows_of
from bridge.rules.definitions import Guard
from bridge.rules.occurrences import counted_otherwise, kind_of
from bridge.states import DeliveryState

_QUALIFIED = Verdict.QUALIFIED  # Python is slow to look up a member of an enum
_SENT = frozenset(
    {DeliveryState.SEALED, DeliveryState.ACCEPTED, DeliveryState.VERIFIED, DeliveryState.HELD, DeliveryState.UNLINKED}
)
ARRIVED = frozenset({DeliveryState.ACCEPTED, DeliveryState.VERIFIED, DeliveryState.UNLINKED})
_UNDER_WAY = frozenset({DeliveryState.SEALED, DeliveryState.HELD})  # it may become pending again
DELETED = "deal_deleted"  # code of what was not sent because its deal was deleted in the CRM
RETRACTED = "retracted"  # code of what was not sent because its payment was refunded, or its deal is spam
UNMATCHED = "unmatched"  # code of what was not sent because its click turned out to be nobody's, or doubtful
COUNTED = "counted_elsewhere"  # code of what was not sent because a record merged into its deal has counted it
_WITHDRAWN = frozenset({COUNTED, DELETED, RETRACTED, UNMATCHED, WITHHELD})
LIVE = _SENT | {DeliveryState.PENDING}  # sent, or about to be

# A goal as one destination knows it: (goal, destination).
Told = tuple[str, str]


@frozen
class Route:
    """A goal goes to this destination under this name, unless ``guard`` keeps back what was reached before a change.

    ``consent`` and ``withheld`` are what its ``terms`` say of the deal (``consent.for_deal``).
    """

    destination: str
    target: str
    traits: DestinationTraits
    guard: Guard = Guard()
    terms: Terms | None = None
    consent: Consent | None = None
    withheld: str = ""


@frozen
class KnownDelivery:
    """``is_tried``: it was in a batch. ``is_recalled``: on the wire or held, it is not to become pending again."""

    id: str
    destination: str
    state: DeliveryState
    content: Outgoing
    code: str = ""
    is_recalled: bool = False
    is_tried: bool = False

    @property
    def is_withdrawn(self) -> bool:
        """Not sent because there was nothing to tell any more; only the CRM changes that, no human has decided it."""
        return self.state is DeliveryState.CANCELLED and self.code in _WITHDRAWN

    @property
    def is_untold(self) -> bool:
        """Certainly nothing of it has arrived. Not a row of an order: of two orders ``merged_orders`` cancels one."""
        is_single = self.content.kind is ConversionKind.ORIGINAL and self.content.rank is None
        return is_single and self.state is DeliveryState.PENDING and not self.is_tried

    @property
    def told(self) -> Told:
        return self.content.goal, self.destination

    @property
    def is_live(self) -> bool:
        """Sent, or about to be."""
        return self.state in LIVE

    @property
    def is_closing(self) -> bool:
        """Whether it closes an order that another record goes on without."""
        return merged_orders.is_closing(self.content)

    @property
    def has_arrived(self) -> bool:
        return self.state in ARRIVED


@frozen
class KnownConversion:
    conversion: Conversion
    deliveries: tuple[KnownDelivery, ...]


@frozen
class NewDelivery:
    conversion: str
    destination: str
    content: Outgoing


@frozen
class Skip:
    """A promise that was not made, and why (``explain`` prints it)."""

    goal: str
    destination: str
    reason: str
    occurrence: str = ONCE_PER_DEAL


class Plan(msgspec.Struct):  # made for every deal, in a third of the time that a dataclass takes
    """``replaced`` are pending deliveries with new content, ``revised`` conversions nothing of which was sent yet.

    ``withdrawn`` are pending deliveries that are not to be sent, with the code that says why; ``restored`` such that
    were withdrawn and are promised again; ``recalled`` those under way with whether they may not become pending again.
    """

    conversions: list[Conversion] = msgspec.field(default_factory=list)
    deliveries: list[NewDelivery] = msgspec.field(default_factory=list)
    replaced: list[tuple[str, Outgoing]] = msgspec.field(default_factory=list)
    revised: list[Conversion] = msgspec.field(default_factory=list)
    skipped: list[Skip] = msgspec.field(default_factory=list)
    withdrawn: list[tuple[KnownDelivery, str]] = msgspec.field(default_factory=list)
    restored: list[tuple[KnownDelivery, Outgoing]] = msgspec.field(default_factory=list)
    recalled: list[tuple[str, bool]] = msgspec.field(default_factory=list)

    @property
    def changes_known(self) -> bool:
        """Whether something that was promised before becomes another."""
        return bool(self.replaced or self.revised or self.withdrawn or self.restored or self.recalled)


@frozen
class Subject:
    """The deal a plan is about.

    ``counted`` is what is promised already for the lead it was converted from, or for a deal converted from it, with
    the key of that one: a lead and its deals are one sale; ``taken`` what is for records merged into it. ``root``:
    whose order it is where a destination keeps one per deal, the deal's own when None; ``told`` are rows of such orders
    that were promised before, by destination: of records merged into this one, then of its own. ``onward``: other
    orders that tell of this record's sale now. ``matches`` are those of destinations with one of their own.
    """

    tenant: str
    source: str
    deal: Deal
    match: Match | Unmatched
    counted: Mapping[Told, str] = field(default_factory=dict)
    taken: Mapping[Told, str] = field(default_factory=dict)
    root: deal_orders.Root | None = None
    told: Mapping[str, KnownDelivery] = field(default_factory=dict)
    onward: Mapping[str, merged_orders.Onward] = field(default_factory=dict)
    matches: Mapping[str, Match | Unmatched] = field(default_factory=dict)

    def match_for(self, destination: str) -> Match | Unmatched:
        """What a destination is told of the click."""
        return self.matches.get(destination, self.match)


def decisive(judgements: Iterable[Judgement]) -> list[Judgement]:
    """Those that there is something to tell of: goals that are reached, and what is none any more."""
    return [one for one in judgements if one.verdict is _QUALIFIED or one.is_retracted]


def make(
    subject: Subject,
    judgements: Sequence[Judgement],
    known: Sequence[KnownConversion],
    routes: Mapping[str, Sequence[Route]],
) -> Plan:
    """Everything to add for one deal. Running it again on its own result adds nothing."""
    is_changing = known and not subject.deal.is_deleted
    plan = _taken_back(known) if subject.deal.is_deleted else Plan()
    if is_changing:
        plan.recalled += [(d.id, False) for d in rows_of(known) if d.is_recalled and d.state in _UNDER_WAY]
    if known and (told := deal_orders.told(known, subject.told)):
        subject = replace(subject, told=told)
    otherwise_of = counted_otherwise(judgements, known) if known else None
    for judgement in apart(decisive(judgements), [item.conversion for item in known] if known else ()):
        mine = _conversions_of(judgement, known) if known else None
        otherwise = otherwise_of.get(kind_of(judgement.occurrence)) if otherwise_of else None
        about = replace(subject, counted={**subject.counted, **otherwise}) if otherwise else subject
        if mine:
            _continue_goal(plan, about, judgement, mine, routes.get(judgement.goal, ()))
        elif not judgement.is_retracted:
            _start_goal(plan, about, judgement, routes.get(judgement.goal, ()))
    if is_changing:
        gone = {row.id for row, _ in plan.withdrawn}
        again = merged_orders.reopened(known, subject.onward)
        plan.withdrawn += [(row, RETRACTED) for row in again if row.id not in gone]
    if subject.onward:
        _close(plan, subject, merged_orders.closings(subject, judgements, known, routes))
    if subject.told or [new for new in plan.deliveries if new.content.rank is not None]:
        _come_back(plan, subject, deal_orders.returns(plan, judgements, known, routes))
        _spare(plan, known)
    return plan


def _taken_back(known: Sequence[KnownConversion]) -> Plan:
    """Of a deleted deal: what was not sent never is. What was sent stays, since no destination takes it back."""
    plan = Plan()
    occurrences = {delivery.id: one.conversion.occurrence for one in known for delivery in one.deliveries}
    for delivery in rows_of(known):
        place, occurrence = delivery.told, occurrences[delivery.id]
        if delivery.is_closing:
            continue
        if delivery.state is DeliveryState.PENDING:
            plan.withdrawn.append((delivery, DELETED))
        elif delivery.state in _UNDER_WAY:
            reason = "deleted in the CRM while it was being sent: not tried again, but what has arrived stays counted"
            plan.skipped.append(Skip(*place, reason, occurrence))
            if not delivery.is_recalled:
                plan.recalled.append((delivery.id, True))
        elif delivery.state in (DeliveryState.ACCEPTED, DeliveryState.VERIFIED):
            reason = "deleted in the CRM after it was sent, which cannot be taken back: it stays counted there"
            plan.skipped.append(Skip(*place, reason, occurrence))
    return plan


def _conversions_of(judgement: Judgement, known: Sequence[KnownConversion]) -> list[KnownConversion]:
    place = judgement.goal, judgement.occurrence
    mine = [item for item in known if (item.conversion.goal, item.conversion.occurrence) == place]
    return sorted(mine, key=revision_of)


def promised(known: Sequence[KnownConversion], then: Plan | None = None) -> frozenset[Told]:
    """Everything that was sent or is about to be; ``then``: also after this plan of the same deal."""
    if then is None:
        return frozenset((k.conversion.goal, d.destination) for k in known for d in k.deliveries if d.is_live)
    gone = {row.id for row, _ in then.withdrawn}
    kept = {d.told for d in rows_of(known) if d.is_live and d.id not in gone}
    made = {(new.content.goal, new.destination) for new in then.deliveries}
    return frozenset(kept | made | {row.told for row, _ in then.restored})


def _start_goal(plan: Plan, subject: Subject, judgement: Judgement, routes: Sequence[Route]) -> None:
    """Not noted is a conversion that every destination counts elsewhere, or that is kept back from all of them."""
    conversion = _conversion(subject, judgement, 0)
    is_noted = not routes
    for route in routes:
        is_noted = _promise(plan, subject, conversion, route) or is_noted
    if is_noted:
        plan.conversions.append(conversion)


def _continue_goal(
    plan: Plan, subject: Subject, judgement: Judgement, mine: Sequence[KnownConversion], routes: Sequence[Route]
) -> None:
    original, latest = mine[0].conversion, mine[-1].conversion
    if judgement.is_retracted and not _may_undo(plan, judgement, original, routes):
        return
    if judgement.is_retracted:
        judgement = worthless(judgement, latest)
    elif routes and any(item.deliveries for item in mine):
        judgement = _as_promised(plan, judgement, mine, routes)
    unsent = (d.state is DeliveryState.PENDING or d.is_withdrawn for d in mine[0].deliveries)
    is_untouched = len(mine) == 1 and all(unsent)
    if is_untouched and (judgement.value, judgement.occurred_at) != (latest.value, latest.occurred_at):
        assert judgement.occurred_at is not None
        latest = replace(latest, value=judgement.value, occurred_at=judgement.occurred_at)
        plan.revised.append(latest)
    # What a destination that never had this conversion gets, whatever was restated elsewhere meanwhile.
    whole = replace(original, value=judgement.value, occurred_at=latest.occurred_at)
    restated = _restated(subject, replace(judgement, occurred_at=latest.occurred_at), latest)
    wanted = _Wanted(whole, restated, judgement.is_retracted)
    for route in routes:
        known = [d for d in rows_of(mine) if d.destination == route.destination]
        sent = [d for d in known if not (d.is_withdrawn or d.is_closing)]
        live = [d for d in sent if d.is_live]
        if live and original.deal != subject.deal.key:  # a payment that has moved here
            plan.skipped.append(_skip(whole, route, f"counted on {original.deal}"))
        if not known and judgement.is_retracted:
            plan.skipped.append(_skip(whole, route, judgement.reason))
        elif not known:
            _promise(plan, subject, whole, route)
        elif route.withheld:
            _withhold(plan, whole, route, known)
        elif known[0].is_withdrawn:  # the original; a restatement that was withdrawn is made anew
            _restore(plan, subject, known[0], wanted, route)
        elif live and sent[-1].content.value != judgement.value:
            # A restatement that was refused or came too late does not keep a newer value from being told.
            _follow_up(plan, subject, live, wanted, route)
        else:
            _follow_up(plan, subject, sent, wanted, route)


def _may_undo(plan: Plan, judgement: Judgement, original: Conversion, routes: Sequence[Route]) -> bool:
    """Whether what undoes the goal may take back what was reached before the goal was changed; a refund always may."""
    closed = [route for route in routes if not route.guard.rule.is_open(original.occurred_at)]
    if not judgement.is_undone or not closed:
        return True
    plan.skipped += [_skip(original, route, route.guard.why_not(original.occurred_at)) for route in closed]
    return False


def _as_promised(
    plan: Plan, judgement: Judgement, mine: Sequence[KnownConversion], routes: Sequence[Route]
) -> Judgement:
    """What was promised before its goal was changed keeps what the change may have moved, its time and its value.

    A value that the CRM has changed is told on while the goal's own value is what it was.
    """
    original, latest, guard = mine[0].conversion, mine[-1].conversion, routes[0].guard
    if not guard.rule.is_open(original.occurred_at):
        judgement = replace(judgement, occurred_at=latest.occurred_at)
    kept = kept_value(mine)
    if not guard.value.is_open(original.occurred_at) and judgement.value != kept:
        told = {d.destination for d in rows_of(mine) if d.is_live}
        plan.skipped += [_skip(latest, route, guard.why_kept()) for route in routes if route.destination in told]
        judgement = replace(judgement, value=kept)
    return judgement


@frozen
class _Wanted:
    """A known conversion as it ought to be now: whole, and as a correction of what was sent."""

    whole: Conversion
    restated: Conversion
    is_retracted: bool


def _follow_up(plan: Plan, subject: Subject, rows: Sequence[KnownDelivery], wanted: _Wanted, route: Route) -> None:
    """``rows``: what this destination was told of the goal, or is about to be; the last of them counts."""
    last, restated, value = rows[-1], wanted.restated, wanted.restated.value
    if last.state is DeliveryState.PENDING:
        # An order that its deal came back to waits with several rows, the first of them an original.
        unsent = rows if all(row.state is DeliveryState.PENDING for row in rows) else rows[-1:]
        if wanted.is_retracted and is_news(unsent[0], route):
            plan.withdrawn += [(row, RETRACTED) for row in unsent]
            return
        if last.is_untold and (elsewhere := subject.taken.get(last.told)) is not None:
            plan.withdrawn.append((last, COUNTED))
            plan.skipped.append(_skip(wanted.whole, route, f"counted on {elsewhere}"))
            return
        fresh = refreshed(subject, last, wanted.whole, route)
        if fresh is None:
            plan.withdrawn.append((last, UNMATCHED))
            plan.skipped.append(_skip(wanted.whole, route, why_not(subject, wanted.whole, route)))
            return
        fresh = dated(fresh, last.content, subject.deal, is_retracted=wanted.is_retracted)
        if fresh != last.content:
            plan.replaced.append((last.id, fresh))
        return
    is_taken_back = route.traits.retracts and last.content.retracted_at is not None
    is_another = value != last.content.value or (route.traits.retracts and wanted.is_retracted and not is_taken_back)
    if last.state not in _SENT or not is_another:
        return
    if is_taken_back:
        plan.skipped.append(_skip(restated, route, "retracted there, which cannot be undone"))
    elif value is None:
        plan.skipped.append(_skip(restated, route, "no value to correct it to: the goal has none any more"))
    elif last.state is DeliveryState.UNLINKED:
        plan.skipped.append(_skip(restated, route, "unlinked: nothing there to restate"))
    elif not route.traits.adjusts:
        plan.skipped.append(_skip(restated, route, "no_adjust"))
    else:
        content = agreed(replace(last.content, value=value, kind=ConversionKind.RESTATEMENT), route)
        _revise(plan, restated, dated(content, None, subject.deal, is_retracted=wanted.is_retracted), route)


def _come_back(plan: Plan, subject: Subject, returns: Sequence[deal_orders.Return]) -> None:
    """Tell orders again of an end that their deal has come back to."""
    for there in returns:
        if not deal_orders.is_told(plan, there):
            latest, content = there.mine[-1].conversion, agreed(there.latest, there.route)
            again = replace(there.judgement, occurred_at=latest.occurred_at, value=content.value)
            _revise(plan, _restated(subject, again, latest), content, there.route)


def _spare(plan: Plan, known: Sequence[KnownConversion]) -> None:
    """Take nothing back where the order ends otherwise anyway."""
    for row, goal, destination, reason in deal_orders.spare(plan, known):
        plan.skipped.append(Skip(goal, destination, reason))
        plan.withdrawn += [(row, RETRACTED)] if row is not None else []


def _close(plan: Plan, subject: Subject, closings: Iterable[merged_orders.Closing]) -> None:
    """Cancel orders that nobody goes on in."""
    for one in closings:
        if subject.deal.is_deleted:  # what was said of its rows there: that they stay counted
            plan.skipped = [skip for skip in plan.skipped if skip.destination != one.route.destination]
        plan.skipped.append(_skip(one.latest, one.route, one.reason))
        if not one.is_told:
            _revise(plan, _restated(subject, one.judgement, one.latest), one.content, one.route)


def _revise(plan: Plan, restated: Conversion, content: Outgoing, route: Route) -> None:
    """One more row about a known conversion."""
    if restated not in plan.conversions:
        plan.conversions.append(restated)
    key = delivery_id(restated.id, route.destination)
    made = replace(content, delivery=key, kind=ConversionKind.RESTATEMENT, attempt=0)
    plan.deliveries.append(NewDelivery(restated.id, route.destination, made))


def _restore(plan: Plan, subject: Subject, withdrawn: KnownDelivery, wanted: _Wanted, route: Route) -> None:
    """Promise again what was withdrawn, unless there is still nothing to tell."""
    whole = wanted.whole
    elsewhere = subject.counted.get(withdrawn.told)
    if wanted.is_retracted and is_news(withdrawn, route):
        return
    if elsewhere is not None:
        plan.skipped.append(_skip(whole, route, f"counted on {elsewhere}"))
    elif (content := refreshed(subject, withdrawn, whole, route)) is not None:
        content = dated(content, withdrawn.content, subject.deal, is_retracted=wanted.is_retracted)
        plan.restored.append((withdrawn, content))
    else:
        plan.skipped.append(_skip(whole, route, why_not(subject, whole, route)))


def _promise(plan: Plan, subject: Subject, conversion: Conversion, route: Route) -> bool:
    """Whether it is promised, or would be if the destination could take it."""
    elsewhere = subject.counted.get((conversion.goal, route.destination))
    if elsewhere is not None:
        plan.skipped.append(_skip(conversion, route, f"counted on {elsewhere}"))
        return False
    content, may_go = content_of(subject, conversion, route), route.guard.promises(conversion.occurred_at)
    if content is None:
        plan.skipped.append(_skip(conversion, route, why_not(subject, conversion, route)))
    elif route.withheld:
        plan.skipped.append(_skip(conversion, route, route.withheld))
    elif not may_go:
        plan.skipped.append(_skip(conversion, route, route.guard.why_not(conversion.occurred_at)))
    else:
        plan.deliveries.append(NewDelivery(conversion.id, route.destination, content))
    return may_go and not route.withheld


def _withhold(plan: Plan, whole: Conversion, route: Route, known: Sequence[KnownDelivery]) -> None:
    """What is pending is taken back; what was sent stays as it is, uncorrected."""
    plan.withdrawn += [(row, WITHHELD) for row in known if row.state is DeliveryState.PENDING]
    sent = [row for row in known if row.state in _SENT]
    if not sent or sent[-1].content.value != whole.value:
        plan.skipped.append(_skip(whole, route, route.withheld))


def _skip(conversion: Conversion, route: Route, reason: str) -> Skip:
    return Skip(conversion.goal, route.destination, reason, conversion.occurrence)


def _restated(subject: Subject, judgement: Judgement, latest: Conversion) -> Conversion:
    """The next revision. That of a payment that has moved here corrects what was promised for another deal."""
    return replace(_conversion(subject, judgement, latest.revision + 1), order_key=latest.order_key)


def _conversion(subject: Subject, judgement: Judgement, revision: int) -> Conversion:
    assert judgement.occurred_at is not None
    tenant, source, deal = subject.tenant, subject.source, subject.deal.key
    goal, occurrence = judgement.goal, judgement.occurrence
    kind = ConversionKind.RESTATEMENT if revision else ConversionKind.ORIGINAL
    return Conversion(
        conversion_id(tenant, source, deal, goal, occurrence, kind, revision),
        order_key(tenant, source, deal, goal, occurrence),
        deal,
        goal,
        kind,
        revision,
        judgement.occurred_at,
        judgement.value,
        judgement.rule,
        occurrence,
    )
