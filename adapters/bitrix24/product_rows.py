"""Product rows of leads, deals and items (contract bitrix24 4.4).

They are not on the record's row, and whether an edit of them moves its time is not documented (17). There is no list
over several records: each is asked for, fifty in a request, and further pages of those that have more than fifty rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from adapters.bitrix24 import wire
from adapters.bitrix24.entities import Entity, id_of, prefix_of
from adapters.bitrix24.portal import Command, Done, Portal
from bridge.errors import AuthError, Drift, RecordInvalid, Refused
from bridge.ports import Head
from bridge.products import ROWS_MAX

ROW_LIST = "crm.item.productrow.list"
REFUSED = "products_refused"  # codes of a record that is judged without its rows
TOO_MANY = "products_too_many"
TOLERATED = frozenset((REFUSED, TOO_MANY))
_BAD = "bad_products"

# The rows of one record, or why they cannot be read.
Rows = tuple[wire.ProductRow, ...] | RecordInvalid


def owners(heads: Iterable[Head], entities: Sequence[Entity]) -> dict[str, Entity]:
    """Of which records to ask for rows: those of these entities, unless they are gone."""
    if not entities:
        return {}
    known = {entity.prefix: entity for entity in entities}
    found = {head.key: known.get(prefix_of(head.key)) for head in heads if isinstance(head.row, wire.Listed)}
    return {key: entity for key, entity in found.items() if entity is not None}


async def of_records(portal: Portal, wanted: Mapping[str, Entity]) -> dict[str, Rows]:
    """Rows by the record's key, of each ``wanted`` one.

    Raises:
        AuthError, Throttled, Unavailable: the portal's answer, where it is not about one record alone.
        Drift: likewise, or rows of records that were not asked for.
    """
    readings = [_Reading(id_of(key), entity.owner_code) for key, entity in wanted.items()]
    unfinished = readings
    while unfinished:
        answers = await portal.all([reading.command() for reading in unfinished])
        for reading, done in zip(unfinished, answers, strict=True):
            reading.take(done)
        unfinished = [reading for reading in unfinished if reading.start is not None]
    return {key: reading.found() for key, reading in zip(wanted, readings, strict=True)}


@dataclass(slots=True)
class _Reading:
    """Rows of one record, page by page. ``start``: where the next page begins, None after the last."""

    number: str
    owner_code: str
    rows: dict[int, wire.ProductRow] = field(default_factory=dict)
    start: int | None = 0
    wrong: RecordInvalid | None = None

    def command(self) -> Command:
        only = {"=ownerType": self.owner_code, "=ownerId": self.number}
        return Command(ROW_LIST, {"filter": only, "order": {"id": "ASC"}, "start": self.start})

    def take(self, done: Done) -> None:
        """A page. Only what concerns this record alone is kept as its trouble.

        Raises:
            Drift: rows of another record.
        """
        try:
            page = done.rows(wire.PRODUCT_ROWS).product_rows
        except (Refused, AuthError) as error:  # of a scope that only rows need; other refusals were raised before
            text = f"its product rows cannot be read, so values made of them wait: {error}"
            return self._end(RecordInvalid(text, code=REFUSED))
        except Drift as error:  # of this record alone: one odd row must not keep the others from being read
            return self._end(RecordInvalid(str(error), code=_BAD))
        if any(row.owner_id not in (None, int(self.number)) for row in page):
            raise Drift(f"{ROW_LIST} returned rows of records that were not asked for: the filter is ignored")
        before = len(self.rows)
        self.rows.update((row.id, row) for row in page)
        if len(self.rows) > ROWS_MAX or (done.total or 0) > ROWS_MAX:
            text = f"it has more than {ROWS_MAX} product rows, which are not read: values made of them wait"
            return self._end(RecordInvalid(text, code=TOO_MANY))
        if done.next is not None:
            is_stuck = len(self.rows) == before
            return self._end(_changed()) if is_stuck else self._go_on(done.next)
        return self._end(_changed() if done.total and done.total != len(self.rows) else None)

    def _go_on(self, start: int) -> None:
        self.start = start

    def _end(self, wrong: RecordInvalid | None) -> None:
        self.start, self.wrong = None, wrong

    def found(self) -> Rows:
        return self.wrong or tuple(self.rows[number] for number in sorted(self.rows))


def _changed() -> RecordInvalid:
    """Rows that moved between two pages: the next look reads them again."""
    return RecordInvalid("its product rows are not as many as the portal counts", code=_BAD)
