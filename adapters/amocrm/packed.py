"""Events of many leads packed into bytes: some 80 for each, where an object would take several hundred. Pure.

A first reading of a year holds hundreds of thousands of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from struct import Struct

from adapters.amocrm.wire import StatusEvent

HEAD = ">QQ26s"  # lead, second, event id: how each record begins, so that records sort as bytes
_LEAD = Struct(">Q")


def head_of(event: StatusEvent) -> tuple[int, int, bytes]:
    """Values for ``HEAD``."""
    return event.entity_id, event.created_at, event.id.encode()[:26]


@dataclass(slots=True)
class Packed:
    """Records by lead, in order of (second, event id). One that is added twice counts once."""

    _records: list[bytes] = field(default_factory=list)
    _is_sorted: bool = True

    def add(self, records: Sequence[bytes]) -> None:
        """Keep these, in any order."""
        if records:
            self._records += records
            self._is_sorted = False

    def drop(self, leads: Container[int]) -> None:
        """Forget the records of these leads."""
        self._records = [record for record in self._records if _LEAD.unpack_from(record)[0] not in leads]

    def of(self, lead: int) -> Iterable[bytes]:
        """This lead's records."""
        if not self._records:
            return ()
        if not self._is_sorted:
            self._records.sort()
            self._is_sorted = True
        start = bisect_left(self._records, _LEAD.pack(lead))
        end = bisect_left(self._records, _LEAD.pack(lead + 1), lo=start)
        return dict.fromkeys(self._records[start:end])
