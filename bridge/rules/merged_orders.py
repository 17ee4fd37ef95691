"""Records that became one, at destinations that keep an order per deal: one sale ends up in one order. Pure.

The survivor goes on in its own order. Where it has none, it goes on in that of a record merged into it, which was there
in time to be linked. An order that nobody goes on in is closed: cancelled, worth nothing. So is one whose sale the
other order tells, too. One that has come to its end otherwise stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

from bridge.frozen import replace
from bridge.model import Conversion, ConversionKind, Judgement, Money, Outgoing, Verdict, frozen
from bridge.rules.deal_orders import END, revision_of, rows_of, told
from bridge.states import DeliveryState

if TYPE_CHECKING:
    from bridge.rules.plan import KnownConversion, KnownDelivery, Route, Subject


@frozen
class Onward:
    """Another order that tells of this record now: whose, its key, and the ends with a value that it tells."""

    deal: str
    order_key: str
    goals: frozenset[str] = frozenset()


@frozen
class Closing:
    """An order is to be closed by ``content``, a correction of ``latest``; or it ``is_told`` so already."""

    judgement: Judgement
    latest: Conversion
    content: Outgoing
    route: Route
    reason: str
    is_told: bool


def is_closing(content: Outgoing) -> bool:
    """Whether a row closes an order: it is told again at the moment at which it is taken back."""
    return content.rank is not None and content.retracted_at is not None and content.again_at == content.retracted_at


def standing(known: Iterable[KnownConversion], *, will_begin: bool = False) -> dict[str, KnownDelivery]:
    """By destination: the last row of an order that has begun, or may have; or that ``will_begin`` as promised.

    One that is about to be closed counts as closed.
    """
    found: dict[str, KnownDelivery] = {}
    for row in rows_of(known):
        is_waiting = row.state is DeliveryState.PENDING and not (will_begin or is_closing(row.content))
        if row.content.rank is None or not row.is_live or is_waiting:
            continue
        if row.destination not in found or _weight(row.content) >= _weight(found[row.destination].content):
            found[row.destination] = row
    return found


def _weight(content: Outgoing) -> tuple[tuple[datetime, int], bool]:
    return content.place, is_closing(content)


def inherited(lost: Iterable[Sequence[KnownConversion]]) -> dict[str, KnownDelivery]:
    """By destination: the last row of an open order of records that were merged away, for the survivor to go on in."""
    found: dict[str, KnownDelivery] = {}
    for known in lost:
        for destination, row in standing(known).items():
            if row.content.rank != END:
                found.setdefault(destination, row)
    return found


def going_on(
    survivor: str, own: Sequence[KnownConversion], lost: Mapping[str, Sequence[KnownConversion]]
) -> dict[str, Onward]:
    """For a record that was merged away: where the survivor goes on. In its own order, else in one of those it ``lost``
    before. Where its own tells of no sale, that of another one that it lost does.
    """
    rows = told(own, inherited(lost.values()))
    ends: dict[str, set[str]] = {}
    for row in rows_of(own):
        if row.is_live and _is_sale(row.content):
            ends.setdefault(row.destination, set()).add(row.content.goal)
    found = {name: Onward(survivor, row.content.order_key, frozenset(ends.get(name, ()))) for name, row in rows.items()}
    others = sold(lost)
    return found | {name: one for name, one in others.items() if name not in found or not found[name].goals}


def tells_sale(known: Iterable[KnownConversion]) -> bool:
    """Whether an order of a record that was merged away tells of a sale."""
    return any(_is_sale(row.content) for row in standing(known).values())


def is_open(known: Iterable[KnownConversion]) -> bool:
    """Whether an order of a record that was merged away may have to be closed."""
    return any(row.content.rank != END or _is_sale(row.content) for row in standing(known).values())


def sold(lost: Mapping[str, Sequence[KnownConversion]]) -> dict[str, Onward]:
    """For a survivor: orders of records merged into it that tell of a sale."""
    found: dict[str, Onward] = {}
    for key, known in lost.items():
        for destination, row in standing(known).items():
            if _is_sale(row.content):
                found[destination] = Onward(key, row.content.order_key, frozenset([row.content.goal]))
    return found


def closings(
    subject: Subject,
    judgements: Sequence[Judgement],
    known: Sequence[KnownConversion],
    routes: Mapping[str, Sequence[Route]],
) -> Iterator[Closing]:
    """The orders of this record that nobody goes on in.

    That of a survivor is one as soon as it reaches a sale that the order of a record merged into it tells of.
    """
    last = standing(known, will_begin=not subject.deal.is_deleted) if subject.onward else {}
    reached = {one.goal for one in judgements if one.verdict is Verdict.QUALIFIED}
    for destination, onward in subject.onward.items():
        row = last.get(destination)
        if row is None or row.content.order_key == onward.order_key:
            continue
        is_told = any(
            is_closing(one.content) and one.is_live for one in rows_of(known) if one.destination == destination
        )
        if is_told or _is_left(row.content, onward, reached, is_deleted=subject.deal.is_deleted):
            route = _route(routes, row)
            if route is not None and (is_told or _may_tell(route, subject)):
                yield _closing(subject, row, known, route, is_told=is_told)


def reopened(known: Iterable[KnownConversion], onward: Mapping[str, Onward]) -> list[KnownDelivery]:
    """Rows that were to close an order in which this record goes on after all."""
    waiting = [row for row in rows_of(known) if row.state is DeliveryState.PENDING and is_closing(row.content)]
    return [row for row in waiting if row.destination not in onward]


def _route(routes: Mapping[str, Sequence[Route]], row: KnownDelivery) -> Route | None:
    """The way to its destination: that of its goal, unless the goal is told there no more."""
    ways = chain(routes.get(row.content.goal, ()), *routes.values())
    return next((way for way in ways if way.destination == row.destination), None)


def _may_tell(route: Route, subject: Subject) -> bool:
    return not route.withheld and route.guard.promises(subject.deal.updated_at)


def _is_left(content: Outgoing, onward: Onward, reached: Iterable[str], *, is_deleted: bool) -> bool:
    if content.rank != END:
        return is_deleted or not onward.goals.isdisjoint(reached)
    return is_deleted and content.goal in onward.goals and _is_sale(content)


def _is_sale(content: Outgoing) -> bool:
    return content.rank == END and content.value is not None and content.value.minor > 0


def _closing(
    subject: Subject, row: KnownDelivery, known: Sequence[KnownConversion], route: Route, *, is_told: bool
) -> Closing:
    orders, content = route.traits.deal_orders, row.content
    assert orders is not None, "only a destination with orders has rows of one"
    mine = [one for one in known if one.conversion.goal == content.goal]
    latest = max(mine, key=revision_of).conversion
    nothing = None if content.value is None else Money(0, content.value.currency)
    at = max(subject.deal.updated_at, content.place[0])
    kind = ConversionKind.RESTATEMENT
    closed = replace(content, target=orders.void, rank=END, value=nothing, again_at=at, retracted_at=at, kind=kind)
    told = Judgement(latest.goal, Verdict.QUALIFIED, latest.rule, "", latest.occurred_at, nothing)
    onward = subject.onward[row.destination]
    return Closing(told, latest, closed, route, _why(onward, is_deleted=subject.deal.is_deleted), is_told)


def _why(onward: Onward, *, is_deleted: bool) -> str:
    if is_deleted:
        return f"its order is cancelled there: it was merged into {onward.deal}, which goes on in its own"
    return f"its order is cancelled there: the sale is told in that of {onward.deal}, which was merged into it"
