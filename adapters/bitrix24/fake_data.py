"""A simulated portal's records: rows in classic form, their indexes, stage history, and the changes to them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from adapters.bitrix24.fake_schema import (
    CATEGORIES,
    CONTACT,
    DEAL,
    INVOICE,
    INVOICE_CATEGORIES,
    LEAD,
    MULTI,
    PROCESS_CATEGORIES,
    TYPE_IDS,
    Schema,
    Status,
    stage_directory,
)


class Record:
    """One row, sparse: fields that are empty are not there. ``modified`` in Unix seconds.

    ``shown`` keeps the JSON of the row for each set of selected fields until it changes: lists are read often.
    """

    __slots__ = ("id", "modified", "multi", "row", "shown")

    def __init__(self, number: int, row: dict[str, Any], multi: dict[str, tuple[str, ...]], modified: int) -> None:
        self.id = number
        self.row = row
        self.multi = multi
        self.modified = modified
        self.shown: dict[tuple[str, ...], msgspec.Raw] = {}

    def multi_rows(self, name: str) -> list[dict[str, str]]:
        """Phones or e-mails as the classic API shows them (contract 4.1)."""
        values = self.multi.get(name, ())
        return [
            {"ID": f"{self.id * 10 + index}", "VALUE_TYPE": "WORK", "VALUE": value, "TYPE_ID": name}
            for index, value in enumerate(values)
        ]


class Bill(NamedTuple):
    """A payment of a deal, as the portal shows it; paid or not, it moves nothing on its deal (contract 4.4, 17)."""

    id: int
    deal: int
    amount: str
    currency: str
    paid_at: int | None = None


class Entry(NamedTuple):
    """One stage entry. ``type``: 1 created, 2 moved, 3 moved to a final stage, 5 other pipeline (contract 6)."""

    id: int
    type: int
    owner: int
    at: int
    category: int
    semantics: str
    stage: str


class Table:
    """All records of one entity: by id, and by time of change."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.records: dict[int, Record] = {}
        self.ids: list[int] = []
        self.generation = 0  # moves with every change
        self.hidden: set[int] = set()  # the user behind the credentials may not read them (contract 1.1, 14)
        self.unlisted: set[int] = set()  # lists by time pass over them: a fault no contract tells of
        self._changes: list[tuple[int, int]] = []  # (modified, id); outdated pairs stay until tidied
        self._is_sorted = True
        self._asked: tuple[tuple[int, int, int], list[int]] = ((-1, 0, 0), [])  # the last interval and who changed

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, record: Record) -> None:
        assert not self.ids or record.id > self.ids[-1], "ids only grow"
        self.records[record.id] = record
        self.ids.append(record.id)
        self.touch(record, record.modified)

    def touch(self, record: Record, at: int) -> None:
        """The record was modified."""
        record.modified = at
        self.generation += 1
        if self._changes and self._changes[-1][0] > at:
            self._is_sorted = False
        self._changes.append((at, record.id))
        if len(self._changes) > 4 * len(self.ids) + 1000:
            self._changes = [pair for pair in self._changes if self._is_current(pair)]

    def remove(self, number: int) -> None:
        """Deleted: just gone, no tombstone (contract 14)."""
        del self.records[number]
        del self.ids[bisect_left(self.ids, number)]
        self.generation += 1

    def put_back(self, record: Record) -> None:
        """Restored, under its own number."""
        self.records[record.id] = record
        insort(self.ids, record.id)
        self.touch(record, record.modified)

    def hide(self, number: int) -> None:
        """Take away the right to read a record."""
        self.hidden.add(number)
        self.generation += 1

    def behind(self, number: int) -> Iterator[Record]:
        """Records with a greater id, ascending."""
        records = self.records
        return (records[self.ids[at]] for at in range(bisect_right(self.ids, number), len(self.ids)))

    def changed(self, since: int, until: int, behind: int) -> list[int] | None:
        """Ids modified in [since, until], ascending; None when fewer stand ``behind`` an id.

        Kept until something moves: the pages of a chain ask alike.
        """
        asked = (self.generation, since, until)
        if self._asked[0] == asked:
            return self._asked[1]
        if not self._is_sorted:
            self._changes.sort()
            self._is_sorted = True
        first, last = bisect_left(self._changes, (since, 0)), bisect_left(self._changes, (until + 1, 0))
        if len(self.ids) - bisect_right(self.ids, behind) < last - first:
            return None
        found = sorted({pair[1] for pair in self._changes[first:last] if self._is_current(pair)})
        self._asked = (asked, found)
        return found

    def _is_current(self, pair: tuple[int, int]) -> bool:
        record = self.records.get(pair[1])
        return record is not None and record.modified == pair[0]


class History:
    """Stage entries of one entity, in order of id, and by owner."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.by_owner: dict[int, list[Entry]] = defaultdict(list)

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.by_owner[entry.owner].append(entry)


class PortalData:
    """The portal's state and every way it changes. Times are given, never read."""

    def __init__(
        self,
        schemas: Mapping[str, Schema],
        statuses: Iterable[Status],
        zone: timezone = timezone(timedelta(hours=3)),
        user: int = 1,
    ) -> None:
        self.zone = zone
        self.user = user
        self.keeps_closed = False  # DATE_CLOSED of a lead that was reopened: not verified (contract 17)
        self.tell: Callable[[str, int, str], None] = lambda kind, number, action: None  # events: see fake_events
        self.tables = {kind: Table(schema) for kind, schema in schemas.items()}
        self.history = {kind: History() for kind in schemas if kind != CONTACT}
        self.categories = {kind: PROCESS_CATEGORIES for kind in schemas if kind not in TYPE_IDS} | {DEAL: CATEGORIES}
        self.categories |= {INVOICE: INVOICE_CATEGORIES}
        self.bills: dict[int, Bill] = {}
        self.billed: dict[int, list[int]] = defaultdict(list)  # payments by deal
        self.statuses = list(statuses)
        self._by_code = {(status.directory, status.code): status for status in self.statuses}
        self._sources: dict[str, str] = {}
        self._ids: dict[str, int] = defaultdict(int)
        self.stamp = lru_cache(maxsize=65536)(self._stamp)

    def _stamp(self, at: int) -> str:
        return datetime.fromtimestamp(at, self.zone).isoformat()

    def stamp_date(self, at: int) -> str:
        """A plain date as the API shows it: its clock part equals the zone's offset (contract 3.4)."""
        day = datetime.fromtimestamp(at, self.zone).date()
        return datetime(day.year, day.month, day.day, tzinfo=UTC).astimezone(self.zone).isoformat()

    def add_status(self, status: Status) -> None:
        self.statuses.append(status)
        self._by_code[status.directory, status.code] = status

    def source(self, name: str) -> str:
        """The code of a source, which is created when the directory lacks it."""
        if name not in self._sources:
            known = next((item.code for item in self.statuses if (item.directory, item.name) == ("SOURCE", name)), "")
            if not known:
                known = f"UC_SRC{len(self.statuses)}"
                self.add_status(Status("SOURCE", known, name))
            self._sources[name] = known
        return self._sources[name]

    def stage_named(self, kind: str, category: int, name: str) -> str:
        """The code of a stage by its name."""
        directory = stage_directory(kind, category)
        return next(item.code for item in self.statuses if (item.directory, item.name) == (directory, name))

    def record(self, kind: str, number: int) -> Record:
        return self.tables[kind].records[number]

    def add(self, kind: str, at: datetime, fields: Mapping[str, Any], number: int | None = None) -> int:
        """Create a record; PHONE and EMAIL are lists of texts. Returns its id. ``number``: an id of one's own."""
        seconds = int(at.timestamp())
        self._ids[kind] = number = number or self._ids[kind] + 1
        stamp = self.stamp(seconds)
        multi = {name: tuple(fields[name]) for name in MULTI if fields.get(name)}
        row = {"ID": str(number), "DATE_CREATE": stamp, "DATE_MODIFY": stamp}
        row.update((name, value) for name, value in fields.items() if name not in MULTI and value is not None)
        row.update((f"HAS_{name}", "Y") for name in multi if name in ("PHONE", "EMAIL"))
        record = Record(number, row, multi, seconds)
        self.tables[kind].add(record)
        if kind in self.history:
            self._enter(kind, record, seconds, 1)
        if kind == DEAL:
            row["BEGINDATE"] = self.stamp_date(seconds)
            row["CLOSEDATE"] = self.stamp_date(seconds + 7 * 86400)
        self.tell(kind, number, "ADD")
        return number

    def update(self, kind: str, number: int, at: datetime, fields: Mapping[str, Any]) -> None:
        """Change fields. A changed stage or pipeline leaves its entry in the history."""
        record = self.record(kind, number)
        seconds = int(at.timestamp())
        before = self._place(kind, record)
        for name, value in fields.items():
            if name in MULTI:
                record.multi[name] = tuple(value)
            elif value is None:
                record.row.pop(name, None)
            else:
                record.row[name] = value
        record.row["DATE_MODIFY"] = self.stamp(seconds)
        self.tables[kind].touch(record, seconds)
        after = self._place(kind, record)
        if kind in self.history and after != before:
            self._enter(kind, record, seconds, 5 if after[0] != before[0] else 2)
        record.shown.clear()
        # A change of pipeline is no update (contract 8.1).
        self.tell(kind, number, "MOVETOCATEGORY" if kind == DEAL and after[0] != before[0] else "UPDATE")

    def bill(self, deal: int, amount: str, currency: str = "RUB", paid_at: datetime | None = None) -> int:
        """A payment is asked of a deal's customer, and made if there is a time. Returns its id."""
        self._ids["payment"] = number = self._ids["payment"] + 1
        self.bills[number] = Bill(number, deal, amount, currency)
        self.billed[deal].append(number)
        self.pay(number, paid_at)
        return number

    def pay(self, number: int, at: datetime | None) -> None:
        """A payment is made; without a time it is taken back."""
        self.bills[number] = self.bills[number]._replace(paid_at=None if at is None else int(at.timestamp()))

    def delete(self, kind: str, number: int) -> None:
        self.tables[kind].remove(number)
        self.tell(kind, number, "DELETE")

    def restore(self, kind: str, record: Record, at: datetime | None = None) -> None:
        """Take a record out of the recycle bin. Whether that counts as a modification is not verified (contract 17)."""
        if at is not None:
            record.modified = int(at.timestamp())
            record.row["DATE_MODIFY"] = self.stamp(record.modified)
            record.shown.clear()
        self.tables[kind].put_back(record)
        self.tell(kind, record.id, "ADD" if at is None else "UPDATE")

    def merge(self, kind: str, numbers: Sequence[int], at: datetime) -> None:
        """The first survives and is filled from the others, which are gone (contract 14)."""
        first, *others = numbers
        row = self.record(kind, first).row
        filled: dict[str, Any] = {}
        for number in others:
            filled |= {name: value for name, value in self.record(kind, number).row.items() if not row.get(name)}
            self.delete(kind, number)
        self.update(kind, first, at, filled)

    def _place(self, kind: str, record: Record) -> tuple[int, str]:
        if kind == LEAD:
            return 0, record.row.get("STATUS_ID", "NEW")
        return int(record.row.get("CATEGORY_ID", 0)), record.row.get("STAGE_ID", "NEW")

    def _enter(self, kind: str, record: Record, at: int, type_: int) -> None:
        """The record is in a stage since now: stamps, semantics, history."""
        category, stage = self._place(kind, record)
        status = self._by_code[stage_directory(kind, category), stage]
        semantics = status.semantics or "P"
        row, stamp = record.row, self.stamp(at)
        row["MOVED_TIME"] = row["LAST_ACTIVITY_TIME"] = stamp
        if kind == LEAD:
            row["STATUS_ID"], row["STATUS_SEMANTIC_ID"] = stage, semantics
            row["DATE_CLOSED"] = stamp if semantics != "P" else row.get("DATE_CLOSED", "") if self.keeps_closed else ""
        else:
            row["STAGE_ID"], row["STAGE_SEMANTIC_ID"] = stage, semantics
            row["CLOSED"] = "N" if semantics == "P" else "Y"
        type_ = 3 if type_ == 2 and semantics != "P" else type_
        self._ids["history"] += 1
        self.history[kind].add(Entry(self._ids["history"], type_, record.id, at, category, semantics, stage))

    def visible(self, kind: str, entries: Sequence[Entry]) -> Iterator[Entry]:
        """After a change of pipeline only entries of the current one are shown (contract 6). Deleted: none."""
        records = self.tables[kind].records
        for entry in entries:
            owner = records.get(entry.owner)
            if owner is not None and (kind == LEAD or entry.category == int(owner.row.get("CATEGORY_ID", 0))):
                yield entry
