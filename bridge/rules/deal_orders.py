"""Destinations that keep one order per deal: under which key, and what stands in it in the end. Pure.

The order of a lead goes on as the order of the deal made from it. Its state is what the deal reached last; a deal that
comes back to an end it had left (won, lost, won again) is told there again, as a restatement.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING

from bridge.frozen import replace
from bridge.identity import deal_order_key
from bridge.model import Judgement, Outgoing, Verdict, frozen
from bridge.states import DeliveryState

if TYPE_CHECKING:
    from bridge.rules.plan import KnownConversion, KnownDelivery, Plan, Route, Subject

OVERTAKEN = "overtaken"  # code of a row that came when its order told already of something that was reached later
ORIGINAL_CANCELLED = "original_cancelled"  # of a correction of what a human has cancelled
NOT_BEGUN = "order_not_begun"  # of one that takes back what never arrived
END = 2


@frozen
class Root:
    """The deal under whose key an order is kept: the lead, or the deal itself; when it came in; where it is known."""

    deal: str
    created_at: datetime
    arrived: frozenset[str] = frozenset()


def rows_of(known: Iterable[KnownConversion]) -> Iterator[KnownDelivery]:
    """Everything that was ever promised of these conversions."""
    return chain.from_iterable(one.deliveries for one in known)


def revision_of(item: KnownConversion) -> int:
    """By which conversions of one goal are sorted: the original first."""
    return item.conversion.revision


def placed(content: Outgoing, subject: Subject, route: Route) -> Outgoing:
    """The row as one of its deal's order. What was promised of the deal before says which order that is."""
    orders = route.traits.deal_orders
    assert orders is not None
    rank, before = orders.rank(route.target), subject.told.get(route.destination)
    if before is not None:
        came = before.content.deal_created_at
        key, follows = before.content.order_key, before.has_arrived
    else:
        root = subject.root or Root(subject.deal.key, subject.deal.created_at)
        key, came = deal_order_key(subject.tenant, subject.source, root.deal), root.created_at
        follows = route.destination in root.arrived
    made = replace(content, order_key=key, deal_created_at=came, rank=rank, follows=follows)
    return made if before is None else _behind(made, before.content, rank)


def _behind(content: Outgoing, last: Outgoing, rank: int) -> Outgoing:
    """A row of an order taken over from a record that was merged away: what was reached before its last row follows."""
    is_early = last.deal != content.deal and (content.occurred_at, rank) < last.place
    return replace(content, again_at=last.place[0]) if is_early else content


def told(
    known: Iterable[KnownConversion], inherited: Mapping[str, KnownDelivery] | None = None
) -> dict[str, KnownDelivery]:
    """For each destination with an order of this deal: a row of it, one that arrived if there is any.

    ``inherited`` are rows of orders it goes on in where nothing of its own is there or can still come.
    """
    found: dict[str, KnownDelivery] = {}
    for delivery in rows_of(known):
        before = found.get(delivery.destination)
        if delivery.content.rank is not None and (before is None or _weight(delivery) > _weight(before)):
            found[delivery.destination] = delivery
    return found | {
        name: row for name, row in (inherited or {}).items() if name not in found or not _weight(found[name])
    }


def _weight(row: KnownDelivery) -> int:
    return 3 if row.has_arrived else 2 if row.is_live else int(row.is_withdrawn)


@frozen
class Return:
    """The deal is back at the goal of ``judgement``, and this destination was told of another since."""

    judgement: Judgement
    mine: tuple[KnownConversion, ...]
    route: Route
    again_at: datetime

    @property
    def latest(self) -> Outgoing:
        """The last row this destination was told of the goal."""
        content = replace(self.known[-1].content, again_at=self.again_at)
        is_undone = content.retracted_at is not None
        return replace(content, value=self.judgement.value, retracted_at=None) if is_undone else content

    @property
    def known(self) -> list[KnownDelivery]:
        """Rows of the goal that this destination was told, or that it would have been had they not been overtaken."""
        rows = [row for row in rows_of(self.mine) if row.destination == self.route.destination]
        return [row for row in rows if row.is_live or (row.state is DeliveryState.REJECTED and row.code == OVERTAKEN)]


def returns(
    plan: Plan,
    judgements: Sequence[Judgement],
    known: Sequence[KnownConversion],
    routes: Mapping[str, Sequence[Route]],
) -> list[Return]:
    """For each order: the end that the deal has come back to, where its rows (known, or just planned) end otherwise."""
    found = []
    ends: dict[str, tuple[Judgement, Route]] = {}
    for judgement in judgements:
        for route in routes.get(judgement.goal, ()) if judgement.verdict is Verdict.QUALIFIED else ():
            orders = route.traits.deal_orders
            if orders is not None and orders.rank(route.target) == END:
                best = ends.get(route.destination)
                if best is None or _at(judgement) > _at(best[0]):
                    ends[route.destination] = judgement, route
    for destination, (judgement, route) in ends.items():
        last = _last(plan, known, destination)
        at = _at(judgement)
        if last is None or last.goal == judgement.goal or route.withheld or not route.guard.promises(at):
            continue
        if last.place < (at, END):
            mine = tuple(sorted((k for k in known if k.conversion.goal == judgement.goal), key=revision_of))
            found.append(Return(judgement, mine, route, at))
    return found


def is_told(plan: Plan, there: Return) -> bool:
    """Whether nothing is to be added: a row that is planned anyway tells of it, or the goal is not told there."""
    place = (there.judgement.goal, there.route.destination)
    mine = {row.id for row in rows_of(there.mine) if row.told == place}
    for number, new in enumerate(plan.deliveries):
        if (new.content.goal, new.destination) == place:
            plan.deliveries[number] = replace(new, content=replace(new.content, again_at=there.again_at))
            return True
    for number, (row, content) in enumerate(plan.restored):
        if row.id in mine:
            plan.restored[number] = row, replace(content, again_at=there.again_at)
            return True
    for number, (key, content) in enumerate(plan.replaced):
        if key in mine:
            plan.replaced[number] = key, replace(content, again_at=there.again_at)
            return True
    gone = {row.id for row, _ in plan.withdrawn}
    return all(row.id in gone for row in there.known)


Needless = tuple["KnownDelivery | None", str, str, str]  # the pending row, if it is one; goal, destination, reason


def spare(plan: Plan, known: Sequence[KnownConversion]) -> list[Needless]:
    """Leave out what takes a goal back where its order comes to another end later, which takes it back as well.

    Returns:
        What was left out; pending rows are to be withdrawn.
    """
    ends, found = _ends(plan, known), list[Needless]()

    def is_needless(content: Outgoing, destination: str, row: KnownDelivery | None = None) -> bool:
        if content.retracted_at is None or content.again_at == content.retracted_at:
            return False
        later = next((e for e in ends[destination] if e.goal != content.goal and e.place > content.place), None)
        if later is not None:
            reason = f'nothing to take back: its order tells of the goal "{later.goal}", which came later'
            found.append((row, content.goal, destination, reason))
        return later is not None

    plan.deliveries[:] = [new for new in plan.deliveries if not is_needless(new.content, new.destination)]
    plan.restored[:] = [(row, content) for row, content in plan.restored if not is_needless(content, row.destination)]
    wanted, gone = dict(plan.replaced), {row.id for row, _ in plan.withdrawn}
    for row in rows_of(known):
        is_waiting = row.state is DeliveryState.PENDING and row.id not in gone
        if is_waiting and is_needless(wanted.get(row.id, row.content), row.destination, row):
            wanted.pop(row.id, None)
    plan.replaced[:] = list(wanted.items())
    used = {new.conversion for new in plan.deliveries}
    plan.conversions[:] = [one for one in plan.conversions if not one.revision or one.id in used]
    return found


def _ends(plan: Plan, known: Sequence[KnownConversion]) -> defaultdict[str, list[Outgoing]]:
    """By destination: what ends an order and is not taken back itself, sent or about to be."""
    rows = _standing(plan, known)
    found: defaultdict[str, list[Outgoing]] = defaultdict(list)
    for destination, content in rows:
        if content.rank == END and content.retracted_at is None:
            found[destination].append(content)
    return found


def _at(judgement: Judgement) -> datetime:
    at = judgement.again_at or judgement.occurred_at
    assert at is not None, "a qualified judgement has a time"
    return at


def _last(plan: Plan, known: Sequence[KnownConversion], destination: str) -> Outgoing | None:
    """The row that will stand in the order when everything has arrived."""
    rows = [content for name, content in _standing(plan, known) if name == destination]
    return max(rows, key=lambda row: row.place, default=None)


def _standing(plan: Plan, known: Sequence[KnownConversion]) -> list[tuple[str, Outgoing]]:
    """All rows that were sent or are about to be after this plan, with their destinations."""
    withdrawn = {row.id for row, _ in plan.withdrawn}
    replaced = dict(plan.replaced)
    rows = [
        (row.destination, replaced.get(row.id, row.content))
        for row in rows_of(known)
        if row.is_live and row.id not in withdrawn
    ]
    rows += [(row.destination, content) for row, content in plan.restored]
    return rows + [(new.destination, new.content) for new in plan.deliveries]
