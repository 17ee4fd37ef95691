"""A Google spreadsheet as a grid (contract tables A2): a request for what it is, then one for each block of rows.

Values come unformatted: numbers and serial dates do not depend on anybody's locale. A second reading of the ids as they
are shown is left out on purpose: two readings are not one moment, and an id that wandered to the next row would count
a conversion twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import quote

from adapters.table import wire
from adapters.table.auth import ServiceAccount, fingerprint, refresher
from adapters.table.grid import Digest, Grid, Line, column_letters, text_of
from adapters.table.settings import TableSettings
from adapters.table.spool import Spool
from bridge.errors import Drift, Unavailable
from bridge.frozen import frozen
from bridge.tools import AccountSetup, Rate, Request, Tokens, Tools
from bridge.unbroken import to_the_end

CELLS_MAX = 100_000  # of one request: answers stay near the 2 MB that Google recommends (contract tables A4)
ROWS_MIN = 500
BURST, PARALLEL = 10, 2  # with 0.8 requests a second, at most 58 in any minute: below the quota of 60
_FIELDS = "properties(title,locale,timeZone),sheets.properties(sheetId,title,hidden,gridProperties)"
_AS_STORED = (
    ("majorDimension", "ROWS"),
    ("valueRenderOption", "UNFORMATTED_VALUE"),
    ("dateTimeRenderOption", "SERIAL_NUMBER"),
)


@frozen
class _Extent:
    """Which cells of which sheet are to be read; the last row and column are those of the sheet itself."""

    sheet: str
    first_row: int
    last_row: int
    first_column: int
    last_column: int

    def rows(self, first: int, last: int) -> str:
        """The range of some rows, in A1 notation."""
        name = self.sheet.replace("'", "''")
        left, right = column_letters(self.first_column), column_letters(self.last_column)
        return f"'{name}'!{left}{first}:{right}{last}"

    def blocks(self) -> Iterator[tuple[int, int]]:
        """First and last row of each request."""
        height = max(ROWS_MIN, CELLS_MAX // (self.last_column - self.first_column + 1))
        for first in range(self.first_row, self.last_row + 1, height):
            yield first, min(first + height - 1, self.last_row)


@frozen
class _Head:
    """The first row that is not empty."""

    row: int
    cells: list[wire.Cell]


class Spreadsheet:
    """One spreadsheet, read as a service account. Every reading is whole: Sheets tells nothing of changes."""

    def __init__(self, name: str, settings: TableSettings, tools: Tools) -> None:
        assert settings.credentials is not None
        self._id = settings.spreadsheet_id
        self._settings = settings
        text = settings.credentials.read(tools.folder).get_secret_value()
        key, mark = ServiceAccount.read(text), fingerprint(text)
        self.email = key.email
        self._account = tools.http.account(
            AccountSetup(
                name=f"{tools.tenant.name}/{name}",
                base_url=settings.base_url,
                judge=wire.judge,
                rate=Rate(settings.requests_per_second, BURST, PARALLEL),
                # No access token yet; the fingerprint ties saved tokens to this very key.
                tokens=Tokens("", refresh=mark),
                refresh=refresher(key, settings.token_uri, tools.clock),
                limit=f"sheets {mark}",  # the quota is the service account's, whoever reads with it
            )
        )

    async def grid(self) -> Grid:
        """The sheet as it is now, kept on disk until it is closed: asked for again it would be another moment.

        Raises:
            AuthError, Throttled, Unavailable, Refused: as Google answers. Unavailable: the disk is full, too.
            Drift: an answer is not understood, or there is no such sheet.
        """
        book = await self._book()
        extent = self._extent(book)
        spool = Spool()
        try:
            stamp = await self._spooled(spool, extent, Digest(extent.sheet), book.properties.time_zone)
        except BaseException:
            spool.close()
            raise
        return _grid(book, extent, spool, stamp)

    async def _spooled(self, spool: Spool, extent: _Extent, stamp: Digest, zone: str) -> str:
        """Every row into the spool, block by block; what changes when any of them does."""
        stamp.add(zone)
        head: _Head | None = None
        for first, last in extent.blocks():
            rows = await self._block(extent, (first, last), head)
            head = head or next((_Head(n, row) for n, row in enumerate(rows, start=first) if _is_filled(row)), None)
            await to_the_end(asyncio.to_thread(_keep, spool, stamp, first, rows))
        return stamp.text()

    async def _book(self) -> wire.Spreadsheet:
        path = f"/v4/spreadsheets/{quote(self._id, safe='')}"
        answer = await self._account.send(Request("GET", path, params=(("fields", _FIELDS),), is_safe=True))
        return wire.read_spreadsheet(answer.body)

    async def _block(self, extent: _Extent, rows: tuple[int, int], head: _Head | None) -> list[list[wire.Cell]]:
        """Some rows. Each later request brings the titles along: one call is one moment, several are not.

        Raises:
            Unavailable: the titles are not what they were.
        """
        ranges = [extent.rows(*rows)] + ([extent.rows(head.row, head.row)] if head else [])
        params = (*(("ranges", one) for one in ranges), *_AS_STORED)
        path = f"/v4/spreadsheets/{quote(self._id, safe='')}/values:batchGet"
        answer = await self._account.send(Request("GET", path, params=params, is_safe=True))
        body, *again = wire.read_ranges(answer.body, len(ranges))
        if head is not None and again[0].values != [head.cells]:
            raise Unavailable("the spreadsheet changed while it was read; it is read again next time")
        return body.values

    def _extent(self, book: wire.Spreadsheet) -> _Extent:
        sheets = [one.properties for one in book.sheets if one.properties.grid_properties is not None]
        chosen = self._chosen(sheets)
        size, area = chosen.grid_properties or wire.GridProperties(), self._settings.area
        extent = _Extent(
            chosen.title,
            area.first_row,
            min(area.last_row or size.row_count, size.row_count),
            area.first_column,
            min(area.last_column or size.column_count, size.column_count),
        )
        if extent.last_row < extent.first_row or extent.last_column < extent.first_column:
            raise Drift(f"{_place(book, chosen.title)} has only {size.row_count} rows; range begins behind them")
        return extent

    def _chosen(self, sheets: list[wire.SheetProperties]) -> wire.SheetProperties:
        wanted, number = self._settings.sheet_name, self._settings.sheet_id
        if wanted is not None:
            found = next((one for one in sheets if one.title.casefold() == wanted.casefold()), None)
        elif number is not None:
            found = next((one for one in sheets if one.sheet_id == number), None)
        else:
            found = next((one for one in sheets if not one.hidden), None)
        if found is None:
            known = ", ".join(f'"{one.title}"' for one in sheets) or "none"
            what = f'sheet "{wanted}"' if wanted is not None else "visible sheet"
            what = f"sheet with the number {number} of its address" if wanted is None and number is not None else what
            raise Drift(f"the spreadsheet has no {what}; there are: {known}; name one with sheet")
        return found


def _is_filled(row: list[wire.Cell]) -> bool:
    return any(cell not in ("", None) for cell in row)


def _place(book: wire.Spreadsheet, sheet: str) -> str:
    return f'spreadsheet "{book.properties.title}", sheet "{sheet}"'


def _keep(spool: Spool, stamp: Digest, first: int, rows: list[list[wire.Cell]]) -> None:
    for number, row in enumerate(rows, start=first):
        cells = [text_of(cell) for cell in row]
        stamp.add(repr((number, cells)))
        spool.add(Line(number, cells))


def _grid(book: wire.Spreadsheet, extent: _Extent, spool: Spool, stamp: str) -> Grid:
    own = book.properties
    written = f"Google spreadsheet, locale {own.locale}, time zone {own.time_zone}"
    place = _place(book, extent.sheet)
    return Grid(place, written, stamp, spool.lines, own.time_zone or None, close=spool.close)
