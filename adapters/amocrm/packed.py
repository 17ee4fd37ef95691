"""Events of many leads packed into bytes: some 80 for each, where an object would take several hundred. Pure.

A first reading of a year holds hundreds of thousands of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

HEAD = ">Q26s"  # second, event id: how each record begins


@dataclass(slots=True)
class Packed:
    """Records by lead, in order of (second, event id). One that is added twice counts once. ``layout``: of a record."""

    layout: Struct
    _records: dict[int, bytes] = field(default_factory=dict)

    def add(self, lead: int, record: bytes) -> None:
        """Keep a record, packed by the layout, in any order."""
        self._records[lead] = self._records.get(lead, b"") + record

    def drop(self, leads: Iterable[int]) -> None:
        """Forget the records of these leads."""
        for lead in leads:
            self._records.pop(lead, None)

    def of(self, lead: int) -> list[tuple[Any, ...]]:
        """This lead's records."""
        records = self._records.get(lead)
        return sorted(set(self.layout.iter_unpack(records))) if records else []
