"""A table file as a source: read twice per scan, in bounded memory, one page of deals at a time.

The first reading finds out which ids appear on several rows; the second hands out the others as they come and keeps
only those back, because all rows of one deal must be read together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from zlib import crc32

from adapters.table.columns import Header, recognise
from adapters.table.delimited import Layout, Line, inspect, lines
from adapters.table.mapping import Names, Reader, Row, digest
from adapters.table.settings import TableSettings
from bridge.errors import BridgeError, Drift, RecordInvalid
from bridge.model import Catalogue, Deal
from bridge.ports import BadRecord, Finding, Head, Level, Listing, SourceTraits, Window
from bridge.tools import Tools

TRAITS = SourceTraits(overlap=timedelta(0), settle=timedelta(0), reads_everything=True)
PAGE = 500
_BITS = 1 << 23  # of the filter below: 1 MiB, one false alarm in 40 at 200,000 rows
_BAD_SHOWN = 5


def build(own: str, settings: TableSettings, tools: Tools) -> Table:
    return Table(settings, tools)


class _Repeats:
    """Which keys come more than once, in fixed memory. A false alarm only makes a row wait for the end."""

    def __init__(self) -> None:
        self._seen = bytearray(_BITS // 8)
        self._again: set[int] = set()

    def add(self, key: str) -> None:
        place, bit = self._place(key)
        if self._seen[place] & bit:
            self._again.add(place * 8 + bit)
        self._seen[place] |= bit

    def __contains__(self, key: str) -> bool:
        place, bit = self._place(key)
        return place * 8 + bit in self._again

    @staticmethod
    def _place(key: str) -> tuple[int, int]:
        number = crc32(key.encode()) % _BITS
        return number // 8, 1 << number % 8


class Table:
    """One file. Every scan lists all of it; the core drops what it knows already."""

    def __init__(self, settings: TableSettings, tools: Tools) -> None:
        self.traits = TRAITS
        self._settings = settings
        self._tools = tools
        self._path = Path(tools.folder, settings.path)
        self._reader: Reader | None = None

    async def check(self) -> list[Finding]:
        """Whether the file can be read, and how much of it."""
        try:
            return await asyncio.to_thread(self._findings)
        except BridgeError as error:
            return [Finding(Level.ERROR, str(self._path), str(error))]

    async def catalogue(self) -> Catalogue:
        """The names that occur in the table. Open: others may come.

        Raises:
            Unavailable, Drift: as ``scan``.
        """
        return await asyncio.to_thread(self._catalogue)

    async def scan(self, window: Window) -> AsyncIterator[Listing]:
        """Every deal of the table, whatever the window.

        Raises:
            Unavailable: the file cannot be read now, or changes meanwhile.
            Drift: encoding, header or columns are not recognised; the message says which setting helps.
        """
        with closing(self._pages(self._tools.clock.now())) as pages:
            while (listing := await asyncio.to_thread(next, pages, None)) is not None:
                yield listing

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        """Deals of listed rows; everything is in the rows already."""
        reader, now = self._reader, self._tools.clock.now()
        if reader is None:
            reader = (await asyncio.to_thread(self._open))[1]
        return [_deal(reader, head, now) for head in heads]

    async def fetch(self, keys: Sequence[str]) -> Listing:
        """These deals as they are now; the table is read for them from end to end."""
        wanted = frozenset(keys)
        return await asyncio.to_thread(self._only, wanted, self._tools.clock.now())

    async def close(self) -> None:
        """Nothing is held open between two reads."""

    # --- reading, in a worker thread ---

    def _open(self) -> tuple[Layout, Reader]:
        layout = inspect(self._path, self._settings.encoding, self._settings.delimiter)
        with closing(lines(layout)) as records:
            header = _header(records, self._settings)
        self._reader = Reader.of(header, self._settings, self._tools.tenant)
        return layout, self._reader

    def _pages(self, now: datetime) -> Generator[Listing, None, None]:
        layout, reader = self._open()
        repeats, total = _survey(layout, reader)
        with closing(_listed(layout, reader, repeats, now)) as found:
            done = 0
            while page := list(islice(found, PAGE)):
                heads = tuple(item for item in page if isinstance(item, Head))
                bad = tuple(item for item in page if isinstance(item, BadRecord))
                done += len(bad) + sum(len(head.row) for head in heads)
                yield Listing(heads, bad, min(done / max(total, 1), 1.0))

    def _only(self, keys: frozenset[str], now: datetime) -> Listing:
        heads: list[Head] = []
        bad: list[BadRecord] = []
        for page in self._pages(now):
            heads += [head for head in page.heads if head.key in keys]
            bad += [item for item in page.bad if item.key in keys]
        return Listing(tuple(heads), tuple(bad), 1.0)

    def _catalogue(self) -> Catalogue:
        layout, reader = self._open()
        names = Names(reader)
        for row in _rows(layout, reader):
            if isinstance(row, Row):
                names.add(row)
        return names.catalogue()

    def _findings(self) -> list[Finding]:
        layout, reader = self._open()
        subject, roles = str(self._path), reader.header.roles
        known = ", ".join(f"{role} = {title}" for role, title in roles.items())
        mark = {"\t": "tab"}.get(layout.delimiter, layout.delimiter)
        found = f"{layout.encoding}, delimiter {mark}, header in row {reader.header.row}: {known}"
        warnings = []
        if "status" not in roles:
            warnings.append("no column with a status: goals by stage or outcome never hold")
        if "lead_id" not in roles:
            warnings.append("no column with an id: rows are told apart by their content")
        named = {kind for _, kind in reader.wanted}
        warnings += [
            f"fields: no column of those named for {kind}" for kind in self._settings.fields if kind not in named
        ]
        return [
            Finding(Level.OK, subject, found),
            *(Finding(Level.WARNING, subject, warning) for warning in warnings),
            *self._counts(reader, subject),
        ]

    def _counts(self, reader: Reader, subject: str) -> Iterator[Finding]:
        now, deals = self._tools.clock.now(), 0
        bad: list[BadRecord] = []
        for listing in self._pages(now):
            read = [_deal(reader, head, now) for head in listing.heads]
            bad += [*listing.bad, *(item for item in read if isinstance(item, BadRecord))]
            deals += sum(isinstance(item, Deal) for item in read)
        yield Finding(Level.OK if deals else Level.WARNING, subject, f"{deals} deals can be read, {len(bad)} cannot")
        for item in bad[:_BAD_SHOWN]:
            yield Finding(Level.WARNING, subject, item.message)


def _header(records: Iterable[Line], settings: TableSettings) -> Header:
    for line in records:
        is_wanted = (
            line.number == settings.header_row if settings.header_row else any(cell.strip() for cell in line.cells)
        )
        if is_wanted:
            return recognise(line.number, line.cells, settings.columns)
    raise Drift("the table is empty: no header found")


def _rows(layout: Layout, reader: Reader) -> Iterator[Row | BadRecord]:
    """Every row under the header that is not blank."""
    for line in lines(layout):
        if line.number <= reader.header.row:
            continue
        if line.is_broken:
            message = f"row {line.number}: a quote is opened and never closed"
            yield BadRecord(f"row:{line.number}", "open_quote", message)
        elif any(line.cells):
            row = _row(reader, line)
            if isinstance(row, BadRecord) or row.cells:
                yield row


def _survey(layout: Layout, reader: Reader) -> tuple[_Repeats, int]:
    """Which keys repeat, and how many rows there are."""
    repeats, total = _Repeats(), 0
    for row in _rows(layout, reader):
        total += 1
        key = row if isinstance(row, BadRecord) else _key(reader, row)
        if isinstance(key, str):
            repeats.add(key)
    return repeats, total


def _listed(
    layout: Layout, reader: Reader, repeats: _Repeats, now: datetime
) -> Generator[Head | BadRecord, None, None]:
    held: dict[str, list[Row]] = {}
    for row in _rows(layout, reader):
        if isinstance(row, BadRecord):
            yield row
            continue
        key = _key(reader, row)
        if isinstance(key, BadRecord):
            yield key
        elif key in repeats:
            held.setdefault(key, []).append(row)
        else:
            yield _head(reader, key, [row], now)
    for key, rows in held.items():
        yield _head(reader, key, rows, now)


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


def _deal(reader: Reader, head: Head, now: datetime) -> Deal | BadRecord:
    try:
        return reader.deal(head, now)
    except RecordInvalid as error:
        return _bad(head.key, error, head.version)


def _bad(key: str, error: RecordInvalid, version: str = "") -> BadRecord:
    return BadRecord(key, error.code, str(error), version)
