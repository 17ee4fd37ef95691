"""Going through a grid's rows: twice per scan, one page of deals at a time. Runs in a worker thread.

The first pass finds out which ids appear on several rows; the second hands out the others as they come and keeps only
those back, on disk, because all rows of one deal must be read together.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from itertools import islice
from zlib import crc32

from adapters.table.columns import Header, recognise
from adapters.table.grid import Grid, Line, digest
from adapters.table.mapping import ID_ROLES, Listed, Names, Reader, Row
from adapters.table.settings import TableSettings
from adapters.table.spool import Spool
from bridge.catalogue import Catalogue
from bridge.errors import Drift, RecordInvalid
from bridge.model import Deal
from bridge.ports import BadRecord, Head, Listing
from bridge.survey import SAMPLE, FieldSample, Sampler

PAGE = 500
_BITS = 1 << 23  # of each filter below: 1 MiB, one false alarm in 40 at 200,000 rows
_DRAWERS = 256  # of rows that wait, by key: each of them fits into memory


class _Repeats:
    """Which keys come more than once, in fixed memory. A false alarm only makes a row wait for the end."""

    def __init__(self) -> None:
        self._seen = bytearray(_BITS // 8)
        self._again = bytearray(_BITS // 8)

    def add(self, key: str) -> None:
        place, bit = self._place(key)
        self._again[place] |= self._seen[place] & bit
        self._seen[place] |= bit

    def __contains__(self, key: str) -> bool:
        place, bit = self._place(key)
        return bool(self._again[place] & bit)

    @staticmethod
    def _place(key: str) -> tuple[int, int]:
        number = crc32(key.encode()) % _BITS
        return number // 8, 1 << number % 8


class _Cabinet:
    """Rows that wait on disk until all rows of their deals are there; memory holds where each of them lies."""

    def __init__(self, reader: Reader, spool: Spool) -> None:
        self._titles = reader.header.titles
        self._spool = spool
        self._drawers = [array("Q") for _ in range(_DRAWERS)]

    def put(self, key: str, row: Row) -> None:
        cells = [key, *(row.cells.get(title, "") for title in self._titles)]
        self._drawers[crc32(key.encode()) % _DRAWERS].append(self._spool.add(Line(row.number, cells)))

    def deals(self) -> Iterator[tuple[str, list[Row]]]:
        """Keys, each with all its rows, in the order in which they came."""
        for drawer in self._drawers:
            found: dict[str, list[Row]] = {}
            for place in drawer:
                line = self._spool.at(place)
                key, *texts = line.cells
                cells = {title: text for title, text in zip(self._titles, texts, strict=True) if text}
                found.setdefault(key, []).append(Row(line.number, cells))
            yield from found.items()


def pages(grid: Grid, reader: Reader, now: datetime) -> Generator[Listing, None, None]:
    """All deals of the table, some at a time."""
    repeats, total = _survey(grid, reader)
    with closing(_listed(grid, reader, repeats, now)) as found:
        done = 0
        while page := list(islice(found, PAGE)):
            heads = tuple(item for item in page if isinstance(item, Head))
            bad = tuple(item for item in page if isinstance(item, BadRecord))
            done += len(bad) + sum(len(head.row.rows) for head in heads)
            yield Listing(heads, bad, min(done / max(total, 1), 1.0))


def only(grid: Grid, reader: Reader, keys: frozenset[str], now: datetime) -> Listing:
    heads: list[Head] = []
    bad: list[BadRecord] = []
    for page in pages(grid, reader, now):
        heads += [head for head in page.heads if head.key in keys]
        bad += [item for item in page.bad if item.key in keys]
    return Listing(tuple(heads), tuple(bad), 1.0)


def catalogue(grid: Grid, reader: Reader) -> Catalogue:
    names = Names(reader)
    for row in rows(grid, reader):
        if isinstance(row, Row):
            names.add(row)
    return names.catalogue()


def samples(grid: Grid, reader: Reader) -> tuple[FieldSample, ...]:
    """What the last rows hold in each column; counts, no values."""
    last = deque((row for row in rows(grid, reader) if isinstance(row, Row)), SAMPLE)
    roles = {title: role for role, title in reader.header.roles.items()}
    made = []
    for title in reader.header.titles:
        sampler = Sampler(title, (title,), "row", ID_ROLES.get(roles.get(title, "")))
        for row in last:
            sampler.add([row.cells[title]] if title in row.cells else [])
        made.append(sampler.sample(len(last)))
    return tuple(made)


def header_of(place: str, records: Iterable[Line], settings: TableSettings) -> Header:
    for line in records:
        is_wanted = (
            line.number == settings.header_row if settings.header_row else any(cell.strip() for cell in line.cells)
        )
        if is_wanted:
            try:
                return recognise(line.number, line.cells, settings.columns)
            except Drift as error:
                raise Drift(f"{place}, {error}") from None
    raise Drift(f"{place}: empty, no header found")


def rows(grid: Grid, reader: Reader) -> Iterator[Row | BadRecord]:
    """Every row under the header that is not blank."""
    for line in grid.lines():
        if line.number <= reader.header.row:
            continue
        if line.is_broken:
            message = f"{reader.place}, row {line.number}: a quote is opened and never closed"
            yield BadRecord(f"row:{line.number}", "open_quote", message)
        elif any(line.cells):
            row = _row(reader, line)
            if isinstance(row, BadRecord) or row.cells:
                yield row


def _survey(grid: Grid, reader: Reader) -> tuple[_Repeats, int]:
    """Which keys repeat, and how many rows there are."""
    repeats, total = _Repeats(), 0
    for row in rows(grid, reader):
        total += 1
        key = row if isinstance(row, BadRecord) else _key(reader, row)
        if isinstance(key, str):
            repeats.add(key)
    return repeats, total


def _listed(grid: Grid, reader: Reader, repeats: _Repeats, now: datetime) -> Generator[Head | BadRecord, None, None]:
    with closing(Spool()) as spool:
        waiting = _Cabinet(reader, spool)
        for row in rows(grid, reader):
            if isinstance(row, BadRecord):
                yield row
                continue
            key = _key(reader, row)
            if isinstance(key, BadRecord):
                yield key
            elif key in repeats:
                waiting.put(key, row)
            else:
                yield _head(reader, key, [row], now)
        for key, together in waiting.deals():
            yield _head(reader, key, together, now)


# One unreadable record is a value from here on: the page goes on without it.


def _row(reader: Reader, line: Line) -> Row | BadRecord:
    try:
        return reader.row(line.number, line.cells)
    except RecordInvalid as error:
        return _bad(f"row:{digest(repr(line.cells))}", error)


def _key(reader: Reader, row: Row) -> str | BadRecord:
    try:
        return reader.key(row)
    except RecordInvalid as error:
        return _bad(f"row:{digest(repr(row.cells))}", error)


def _head(reader: Reader, key: str, rows: Sequence[Row], now: datetime) -> Head | BadRecord:
    try:
        return reader.head(key, rows, now)
    except RecordInvalid as error:
        return _bad(key, error, digest(*(repr(row.cells) for row in rows)))


def deal_of(head: Head, now: datetime) -> Deal | BadRecord:
    """The deal of a head, read as it was listed."""
    listed: Listed = head.row
    try:
        return listed.reader.deal(head, now)
    except RecordInvalid as error:
        return _bad(head.key, error, head.version)


def _bad(key: str, error: RecordInvalid, version: str = "") -> BadRecord:
    return BadRecord(key, error.code, str(error), version)
