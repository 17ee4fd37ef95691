"""The simulated portal's records: properties with their histories, associations, and a search index that lags."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from adapters.hubspot.fake_schema import CHANGED, CONTACTS, DEALS, PROPERTIES, Pipeline, Property, pipelines, stamp
from bridge.frozen import frozen

# Told of everything that happens: kind of object, its id, what happened, when, and more about it.
Tell = Callable[[str, int, str, datetime, Mapping[str, Any]], None]
_SAVED_AFTER = timedelta(milliseconds=100)  # a record is stamped a little after the change that it was saved with


@frozen
class Change:
    value: str
    at: datetime

    def shown(self) -> dict[str, Any]:
        about = {"sourceType": "CRM_UI", "sourceId": "userId:9", "updatedByUserId": 9}
        return {"value": self.value, "timestamp": stamp(self.at), **about}


@dataclass(slots=True)
class Record:
    """A contact or deal. ``history`` is oldest first, as it happened."""

    number: int
    created: datetime
    values: dict[str, str]
    history: dict[str, list[Change]] = field(default_factory=dict)
    archived_at: datetime | None = None


@frozen
class Indexed:
    """A record as searches see it."""

    number: int
    order: int
    changed: int  # milliseconds
    values: Mapping[str, str]


class Shelf:
    """What searches see of one kind of records, in the order of their times of change (``name``), then of their ids.

    Put in order when it is looked at, not at each change: most changes follow each other without a search between.
    """

    def __init__(self, name: str, rows: Iterable[Indexed] = ()) -> None:
        self.name = name
        self._known = {row.number: row for row in rows}
        self._rows: list[Indexed] | None = None
        self._stamps: list[int] = []

    def put(self, number: int, fresh: Indexed | None, order: int) -> None:
        """The record as it is from now on, None if it is gone; nothing if a later change is known already."""
        known = self._known.get(number)
        if known is not None and known.order > order:
            return
        self._rows = None
        if fresh is None:
            self._known.pop(number, None)
        else:
            self._known[number] = fresh

    @property
    def rows(self) -> Sequence[Indexed]:
        if self._rows is None:
            self._rows = sorted(self._known.values(), key=lambda row: (row.changed, row.number))
            self._stamps = [row.changed for row in self._rows]
        return self._rows

    @property
    def stamps(self) -> Sequence[int]:
        """The times of change of ``rows``, milliseconds."""
        return self._stamps if self._rows is not None else [row.changed for row in self.rows]


class PortalData:
    """Everything a portal holds.

    ``lag``: up to so long after it a change shows in searches (contract 3: eventual consistency); reading by id shows
    it at once.
    """

    def __init__(self, lag: timedelta = timedelta(0), seed: int = 0) -> None:
        self.properties: dict[str, dict[str, Property]] = {
            kind: {one.name: one for one in known} for kind, known in PROPERTIES.items()
        }
        self.pipelines: list[Pipeline] = pipelines()
        self.records: dict[str, dict[int, Record]] = {CONTACTS: {}, DEALS: {}}
        self.merged: dict[str, dict[int, int]] = {CONTACTS: {}, DEALS: {}}
        self.links: dict[int, dict[int, str | None]] = {}  # deal -> contact -> label
        self.lag = lag
        self.unlisted: set[tuple[str, int]] = set()  # searches pass over these, as nobody promised them
        self.tell: Tell = _nobody  # webhooks listen
        self._dice = random.Random(seed)  # noqa: S311 - a simulation, no secret
        self._numbers = {CONTACTS: 300, DEALS: 500}
        self._shelves = {kind: Shelf(CHANGED[kind]) for kind in (CONTACTS, DEALS)}
        self._waiting: list[tuple[datetime, int, str, Indexed | None, int]] = []
        self._order = 0

    # --- changing ---

    def add(self, kind: str, at: datetime, values: Mapping[str, str | None]) -> int:
        """A record created at a moment; returns its id."""
        self._numbers[kind] += 1
        number = self._numbers[kind]
        self.records[kind][number] = Record(number, at, {"hs_object_id": str(number), "createdate": stamp(at)})
        self.tell(kind, number, "creation", at, {})
        self.update(kind, number, at, values)
        return number

    def update(self, kind: str, number: int, at: datetime, values: Mapping[str, str | None]) -> None:
        """Properties that get other values; each change is remembered."""
        record = self.records[kind][number]
        for name, value in values.items():
            text = value or ""
            if text != record.values.get(name, ""):
                record.values[name] = text
                record.history.setdefault(name, []).append(Change(text, at))
                self.tell(kind, number, "propertyChange", at, {"propertyName": name, "propertyValue": text})
        if kind == DEALS:
            self._mark(record)
        self.touch(kind, number, at)

    def touch(self, kind: str, number: int, at: datetime) -> None:
        """The record is stamped as modified without a change that anybody reads (an opened e-mail, say)."""
        self.records[kind][number].values[CHANGED[kind]] = stamp(at + _SAVED_AFTER)
        self._index_later(kind, number, at)

    def import_many(self, kind: str, count: int, at: datetime, values: Mapping[str, str | None]) -> list[int]:
        """Records of a mass import, all of one millisecond."""
        return [self.add(kind, at, values) for _ in range(count)]

    def archive(self, kind: str, number: int, at: datetime) -> None:
        """Into the recycle bin: gone for everyone who does not ask for archived records."""
        self.records[kind][number].archived_at = at
        self.tell(kind, number, "deletion", at, {})
        self._index_later(kind, number, at)

    def merge(self, kind: str, away: int, into: int, at: datetime) -> None:
        """One record becomes part of another; its id leads to the survivor from now on."""
        lost = self.records[kind].pop(away)
        self.merged[kind][away] = into
        self._index_later(kind, away, at)
        filled = {name: value for name, value in lost.values.items() if name not in self.records[kind][into].values}
        for linked in self.links.values():
            if kind == CONTACTS and away in linked:
                linked[into] = linked.pop(away)
        self.update(kind, into, at, filled)
        ends = {"primaryObjectId": into, "mergedObjectIds": [away], "newObjectId": into, "numberOfPropertiesMoved": 1}
        self.tell(kind, into, "merge", at, ends)

    def link(self, deal: int, contact: int, label: str | None = None, at: datetime | None = None) -> None:
        """An association of a deal with a contact; it changes neither of them."""
        self.links.setdefault(deal, {})[contact] = label
        ends = {"associationType": "DEAL_TO_CONTACT", "fromObjectId": deal, "toObjectId": contact}
        more = {**ends, "associationRemoved": False, "isPrimaryAssociation": False}
        self.tell(DEALS, deal, "associationChange", at or self.records[DEALS][deal].created, more)

    def _mark(self, record: Record) -> None:
        """What the portal itself computes of a deal's stage."""
        stage = record.values.get("dealstage")
        found = next((one for pipeline in self.pipelines for one in pipeline.stages if one.id == stage), None)
        is_closed = found is not None and found.is_closed
        record.values["hs_is_closed"] = str(is_closed).lower()
        record.values["hs_is_closed_won"] = str(is_closed and found is not None and found.probability == "1.0").lower()

    # --- reading ---

    def live(self, kind: str, number: int) -> Record | None:
        """The record behind an id, which may have been merged; None if there is none or it is archived."""
        record = self.records[kind].get(self.merged[kind].get(number, number))
        return None if record is None or record.archived_at is not None else record

    def archived(self, kind: str, number: int) -> Record | None:
        record = self.records[kind].get(number)
        return record if record is not None and record.archived_at is not None else None

    def indexed(self, kind: str, now: datetime) -> Shelf:
        """What a search looks through at this moment."""
        while self._waiting and self._waiting[0][0] <= now:
            _, order, where, fresh, number = heapq.heappop(self._waiting)
            self._shelves[where].put(number, fresh, order)
        shelf = self._shelves[kind]
        if not self.unlisted:
            return shelf
        return Shelf(shelf.name, (row for row in shelf.rows if (kind, row.number) not in self.unlisted))

    def shown(self, record: Record, names: Iterable[str], kind: str) -> dict[str, Any]:
        """A record as objects endpoints send it; properties the portal does not have are left out."""
        wanted = dict.fromkeys([*names, "hs_object_id", "createdate", CHANGED[kind]])
        values = {name: record.values.get(name) or None for name in wanted if name in self.properties[kind]}
        dates = {"createdAt": record.values["createdate"], "updatedAt": record.values[CHANGED[kind]]}
        gone = {} if record.archived_at is None else {"archivedAt": stamp(record.archived_at)}
        return {"id": str(record.number), "properties": values, **dates, "archived": bool(gone), **gone}

    def _index_later(self, kind: str, number: int, at: datetime) -> None:
        self._order += 1
        record = self.records[kind].get(number)
        fresh = None
        if record is not None and record.archived_at is None:
            changed = round(datetime.fromisoformat(record.values[CHANGED[kind]]).timestamp() * 1000)
            fresh = Indexed(number, self._order, changed, dict(record.values))
        visible = at + self.lag * self._dice.random() if self.lag else at
        heapq.heappush(self._waiting, (visible, self._order, kind, fresh, number))


def _nobody(kind: str, number: int, action: str, at: datetime, more: Mapping[str, Any]) -> None:
    """Nobody listens."""
