"""What the reports show of CRM orders. Pure.

An order that was linked has reached the goal of its state in its visit (contract yandex 4.4), the nearest one before
the order's creation (4.6). So each row is looked for where its visitor (ClientID) reached that goal. Codes of verdicts:

- ``order_goal``: the reports show it, as often as this visitor's orders in the batch are in that state;
- ``upload_passed``: no more than that the file was valid: the row has no ClientID, its state has no goal in this
  counter, or reports may not be read;
- of ``unlinked``, and of rows that stay accepted since their phone or e-mail may have found another visitor:
  ``unknown_id`` (the ClientID never visited), ``visit_after_order``, ``not_seen``;
- of rows that stay accepted: ``partly_seen``, ``sampled``, as of offline conversions.

It proves the order's link and its state, not its revenue, which no report of visits tells of an order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from adapters.yandex_metrica.evidence import NOT_SEEN, PARTLY_SEEN, SAMPLED, UNKNOWN_ID, Reaches, client_ids, goals_of
from adapters.yandex_metrica.orders_mapping import CANCELLED, IN_PROGRESS, PAID, SPAM, status_of
from adapters.yandex_metrica.wire import Goal
from bridge.model import Outgoing
from bridge.ports import RowVerdict, Seen

UPLOAD_PASSED = "upload_passed"
ORDER_GOAL, VISIT_AFTER_ORDER = "order_goal", "visit_after_order"
_TYPES = {
    IN_PROGRESS: "cdp_order_in_progress",
    PAID: "cdp_order_paid",
    CANCELLED: "cdp_order_cancelled",
    SPAM: "cdp_order_spam",
}


def order_goals(row: Outgoing, goals: Iterable[Goal]) -> tuple[int, ...]:
    """Numbers of the goals that a row's state reaches; none: this counter shows nothing of it.

    Older counters have no goals of cancelled orders and of spam (contract yandex 4.4, 14).
    """
    status = status_of(row)
    if status in _TYPES:
        return tuple(goal.id for goal in goals if goal.type == _TYPES[status])
    return goals_of(status, goals)


def shown(
    rows: Sequence[Outgoing], numbers: Mapping[str, Sequence[int]], reaches: Mapping[int, Reaches]
) -> dict[str, RowVerdict]:
    """Verdicts on rows whose goal the reports show; the others are not named. ``numbers``: by delivery.

    Of two orders of one visitor in one state of which only one shows, nobody can tell which: neither is named.
    """
    orders: defaultdict[tuple[str, Sequence[int]], set[str]] = defaultdict(set)
    for row in rows:
        for visitor in client_ids(row):
            if count_of(row, visitor, numbers[row.delivery], reaches):
                orders[visitor, numbers[row.delivery]].add(row.order_key)
    verdicts = {}
    for row in rows:
        places = [(visitor, numbers[row.delivery]) for visitor in client_ids(row)]
        if any(count_of(row, *place, reaches) >= len(orders[place]) > 0 for place in places):
            verdicts[row.delivery] = RowVerdict(row.delivery, Seen.VERIFIED, ORDER_GOAL)
    return verdicts


def count_of(row: Outgoing, visitor: str, goals: Sequence[int], reaches: Mapping[int, Reaches]) -> int:
    """Reaches in visits that the order may have been linked to: none of a later day than its creation."""
    last = row.deal_created_at.date()
    days = (reaches[goal].counts.get(visitor, ()) for goal in goals)
    return max((sum(count for day, count in found if day <= last) for found in days), default=0)


def unseen(
    row: Outgoing, goals: Sequence[int], reaches: Mapping[int, Reaches], days: Mapping[str, Sequence[date]] | None
) -> RowVerdict:
    """The verdict on a row that the reports do not show, by the days (UTC) of its visitor's visits (None: untold)."""
    if any(count_of(row, visitor, goals, reaches) for visitor in client_ids(row)):
        return RowVerdict(row.delivery, Seen.UNKNOWN, PARTLY_SEEN)
    if not all(reaches[goal].is_whole for goal in goals):
        return RowVerdict(row.delivery, Seen.UNKNOWN, SAMPLED)
    code = NOT_SEEN if days is None else _why(row, days)
    has_contacts = any(person.email_md5 or person.phone_md5 for person in row.persons)
    return RowVerdict(row.delivery, Seen.UNKNOWN if has_contacts else Seen.UNLINKED, code)


def _why(row: Outgoing, days: Mapping[str, Sequence[date]]) -> str:
    visits = [day for visitor in client_ids(row) for day in days.get(visitor, ())]
    if not visits:
        return UNKNOWN_ID
    return NOT_SEEN if any(day <= row.deal_created_at.date() for day in visits) else VISIT_AFTER_ORDER
