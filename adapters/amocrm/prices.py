"""What a lead was worth when, told from ``sale_field_changed`` events (contract amocrm 6, 13). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from struct import Struct

from adapters.amocrm.packed import HEAD, Packed
from adapters.amocrm.wire import Lead, StatusEvent, StatusValue
from bridge.model import Money, ValueChange, frozen, utc

_RECORD = Struct(HEAD + "qq")  # amount before, amount after
_MOST = 10**15  # whole units; more is no budget but damage


@frozen
class Price:
    """A budget that was set. ``at`` in Unix seconds, amounts in whole units; an empty budget is 0."""

    at: int
    before: int
    after: int


@dataclass(slots=True)
class Prices:
    """Budgets of many leads. An event that is added twice counts once."""

    _kept: Packed = field(default_factory=partial(Packed, _RECORD))

    def add(self, events: Iterable[StatusEvent]) -> None:
        """Keep these events, as far as they are about a budget."""
        for event in events:
            if event.type == "sale_field_changed":
                before, after = _sale(event.value_before), _sale(event.value_after)
                if max(abs(before), abs(after)) < _MOST:
                    self._kept.add(event.entity_id, _RECORD.pack(event.created_at, event.id.encode(), before, after))

    def drop(self, leads: Iterable[int]) -> None:
        """Forget the budgets of these leads."""
        self._kept.drop(leads)

    def of(self, lead: int) -> list[Price]:
        """This lead's budgets in order of (time, event id)."""
        return [Price(at, before, after) for at, _, before, after in self._kept.of(lead)]


def _sale(values: Sequence[StatusValue] | None) -> int:
    sale = values[0].sale_field_value if values else None
    return sale.sale or 0 if sale is not None else 0


def value_changes(lead: Lead, prices: Sequence[Price], *, is_known: bool, now: Money | None) -> tuple[ValueChange, ...]:
    """Every value the lead is known to have had, with the time from which on; () when it was always what it is.

    Args:
        is_known: its earlier values are stored; else the first one here is the one it was created with.
        now: its value as read; events of Kommo leave out its minor units.
    """
    told = [price for price in prices if price.at <= lead.updated_at]
    if not told or now is None:
        return ()
    steps = [] if is_known else [(min(lead.created_at, told[0].at), told[0].before)]
    for earlier, later in pairwise([Price(0, 0, told[0].before), *told]):
        if earlier.after != later.before:  # an event is missing: its change was made before the next one
            steps.append((max(later.at - 1, earlier.at), later.before))
        steps.append((later.at, later.after))
    changes = [ValueChange(utc(at), Money.of(amount, now.currency)) for at, amount in steps]
    if abs(changes[-1].value.amount - now.amount) < 1:
        changes[-1] = ValueChange(changes[-1].at, now)
    return tuple(changes)
