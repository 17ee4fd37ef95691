"""A table as a source, wherever it lies: opened anew for each reading, nothing stays open between two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import ParamSpec, TypeVar

from adapters.table import inspection
from adapters.table.files import open_file
from adapters.table.grid import Grid, digest
from adapters.table.mapping import Reader
from adapters.table.reading import catalogue, deal_of, header_of, only, pages, rows, samples
from adapters.table.settings import TableSettings
from adapters.table.sheets import Spreadsheet
from bridge.catalogue import Catalogue
from bridge.errors import BridgeError
from bridge.model import Deal
from bridge.ports import BadRecord, Finding, Head, Level, Listing, SourceTraits, Window
from bridge.survey import SourceSurvey
from bridge.tools import Tools
from bridge.unbroken import to_the_end

P = ParamSpec("P")
T = TypeVar("T")
TRAITS = SourceTraits(overlap=timedelta(0), settle=timedelta(0), reads_everything=True)
_BAD_SHOWN = 5

# Gives the table as it is at that moment.
Opener = Callable[[], Awaitable[Grid]]


def build(own: str, settings: TableSettings, tools: Tools) -> Table:
    """Raises ConfigError when the credentials of a spreadsheet are missing or unusable."""
    if settings.path is None:
        book = Spreadsheet(own, settings, tools)
        return Table(settings, tools, book.grid, f"spreadsheet {settings.spreadsheet_id}, read as {book.email}")
    path = Path(tools.folder, settings.path)

    async def opened() -> Grid:
        return await _in_thread(open_file, path, settings)

    return Table(settings, tools, opened, str(path))


class Table:
    """One table. Every scan lists all of it; the core drops what it knows already."""

    def __init__(self, settings: TableSettings, tools: Tools, opened: Opener, subject: str) -> None:
        self.traits = TRAITS
        self._settings = settings
        self._tools = tools
        self._opened = opened
        self._subject = subject

    async def check(self) -> list[Finding]:
        """Whether the table can be read, how much of it, and what in it means what."""
        try:
            async with self._open() as (grid, reader):
                return await _in_thread(self._findings, grid, reader)
        except BridgeError as error:
            return [Finding(Level.ERROR, self._subject, str(error))]

    async def catalogue(self) -> Catalogue:
        """The names that occur in the table. Open: others may come.

        Raises:
            Unavailable, Drift: as ``scan``.
        """
        async with self._open() as (grid, reader):
            return await _in_thread(catalogue, grid, reader)

    async def survey(self) -> SourceSurvey:
        """See ``survey.SurveysFields``: columns, and what the last rows hold in them."""
        async with self._open() as (grid, reader):
            return SourceSurvey(await _in_thread(samples, grid, reader))

    async def scan(self, window: Window) -> AsyncIterator[Listing]:
        """Every deal of the table, whatever the window; none if it is what it was when the last poll read it whole.

        A row dated tomorrow is not read today, so a table with unreadable rows is read again at each poll, and any at
        least once a day.

        Raises:
            AuthError, Throttled, Unavailable, Refused: the table cannot be read now, or changes meanwhile.
            Drift: encoding, header or columns are not recognised; the message says which setting helps.
        """
        async with self._open() as (grid, reader):
            now = self._tools.clock.now()
            mark = digest(grid.stamp, reader.stamp, repr(self._settings), now.date().isoformat())
            if window.marks == mark:
                return
            is_whole = True
            with closing(pages(grid, reader, now)) as listings:
                while (listing := await _in_thread(next, listings, None)) is not None:
                    is_whole = is_whole and not listing.bad
                    yield listing
        if is_whole:
            yield Listing((), (), 1.0, marks=mark)

    async def complete(self, heads: Sequence[Head], known: frozenset[str], window: Window) -> list[Deal | BadRecord]:
        """Deals of listed rows; everything is in the rows already."""
        now = self._tools.clock.now()
        return [deal_of(head, now) for head in heads]

    async def fetch(self, keys: Sequence[str]) -> Listing:
        """These deals as they are now; the table is read for them from end to end."""
        async with self._open() as (grid, reader):
            return await _in_thread(only, grid, reader, frozenset(keys), self._tools.clock.now())

    async def close(self) -> None:
        """Nothing is held open between two reads."""

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[Grid, Reader]]:
        """The table as it is now, its titles recognised; until the end of the block."""
        grid = await self._opened()
        try:
            yield grid, await _in_thread(self._recognised, grid)
        finally:
            grid.close()

    def _recognised(self, grid: Grid) -> Reader:
        with closing(grid.lines()) as lines:
            header = header_of(grid.place, lines, self._settings)
        return Reader.of(grid, header, self._settings, self._tools.tenant)

    def _findings(self, grid: Grid, reader: Reader) -> list[Finding]:
        found = [
            *inspection.of_header(grid, reader, self._tools.tenant.timezone),
            *inspection.of_samples(reader, samples(grid, reader)),
            *inspection.of_cells(grid, reader, rows(grid, reader)),
            *self._counts(grid, reader),
        ]
        return [Finding(item.level, item.subject or self._subject, item.message) for item in found]

    def _counts(self, grid: Grid, reader: Reader) -> Iterator[inspection.Remark]:
        now, deals = self._tools.clock.now(), 0
        bad: list[BadRecord] = []
        for listing in pages(grid, reader, now):
            read = [deal_of(head, now) for head in listing.heads]
            bad += [*listing.bad, *(item for item in read if isinstance(item, BadRecord))]
            deals += sum(isinstance(item, Deal) for item in read)
        level = Level.OK if deals else Level.ERROR if bad else Level.WARNING
        yield inspection.Remark(level, f"{deals:,} deal{'' if deals == 1 else 's'} can be read, {len(bad):,} cannot")
        yield from (inspection.Remark(Level.WARNING, item.message) for item in bad[:_BAD_SHOWN])


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of work in a thread, which ends before a cancellation goes on: what it reads is then closed."""
    return await to_the_end(asyncio.to_thread(work, *args, **kwargs))
