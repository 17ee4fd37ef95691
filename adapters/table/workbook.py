"""From an XLSX workbook to rows of text (contract tables C). python-calamine reads it; what it reads is measured first.

Numbers come with the 15 digits they have, dates by the workbook's own day zero, formulas with their cached values.
Hidden and filtered rows are read like others, merged cells have their value in the first cell.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    SheetMetadata,
    SheetTypeEnum,
    SheetVisibleEnum,
    load_workbook,
)

from adapters.table.formats import currencies
from adapters.table.formulas import without_value
from adapters.table.grid import DAY_ZERO, DAY_ZERO_1904, Grid, Line, Numeral, Priced, text_of
from bridge.errors import Drift, Unavailable

MAGIC = b"PK\x03\x04"
OLD_MAGIC = b"\xd0\xcf\x11\xe0"  # what held .xls, and holds a workbook with a password
UNPACKED_MAX = 512 * 1024 * 1024  # a sheet of a million short rows
RATIO_MAX = 500  # how much smaller than its content a large part may be; real sheets stay below 30
RATIO_FROM = 32 * 1024 * 1024  # smaller parts cannot hurt
PARTS_MAX = 10_000
_CHUNK = 1 << 18
_HEADER = struct.Struct("<4s22xHH")  # of a part in the archive: signature, ..., lengths of its name and extra field
_DATE_1904 = re.compile(rb'date1904\s*=\s*["\'](?:1|true)["\']')
_BOOK = "xl/workbook.xml"
_WITH_SHEETS = (SheetTypeEnum.WorkSheet, SheetTypeEnum.MacroSheet)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What a part may unpack to at most: in sum with the others, and by its packed size."""

    left: int
    of_part: int


def open_workbook(path: Path, sheet: str | None) -> Grid:
    """One sheet of a workbook: by its name, else the first that is visible.

    Raises:
        Unavailable: it cannot be read now.
        Drift: it is damaged, dangerous, or has no such sheet.
    """
    stamp = _stamp(path)
    day_zero = _inspect(path)
    try:
        with closing(load_workbook(str(path))) as book:
            chosen = _chosen(book, sheet, path.name)
            cells = book.get_sheet_by_name(chosen)
    except CalamineError as error:
        raise _damaged(path, type(error).__name__) from None

    def lines() -> Generator[Line, None, None]:
        yield from _priced(_lines(cells), currencies(path, chosen))
        if _stamp(path) != stamp:
            raise Unavailable(f"table {path.name} changed while it was read; it is read again next time")

    place, written = f'{path.name}, sheet "{chosen}"', f'workbook, sheet "{chosen}"'
    spoilt = partial(without_value, path, chosen)
    return Grid(place, written, repr((chosen, stamp)), lines, day_zero=day_zero, spoilt=spoilt)


def _lines(cells: CalamineSheet) -> Iterator[Line]:
    """Rows from the first of the sheet on; calamine leaves out the empty columns in front, not the empty rows."""
    margin = [""] * (cells.start[1] if cells.start else 0)
    for number, row in enumerate(cells.iter_rows(), start=1):
        yield Line(number, margin + [text_of(value) for value in row])


def _priced(lines: Iterator[Line], shown: Iterator[tuple[int, Mapping[int, str]]]) -> Iterator[Line]:
    """The lines, their numbers with the currencies in whose formats they are shown."""
    row, found = next(shown, (0, {}))
    for line in lines:
        while found and row < line.number:
            row, found = next(shown, (0, {}))
        if found and row == line.number:
            for column, currency in found.items():
                text = line.cells[column - 1] if column <= len(line.cells) else ""
                if isinstance(text, Numeral):
                    line.cells[column - 1] = Priced.of(text, currency)
        yield line


def _chosen(book: CalamineWorkbook, wanted: str | None, name: str) -> str:
    sheets = [one for one in book.sheets_metadata if one.typ in _WITH_SHEETS]
    if wanted is not None:
        found = next((one.name for one in sheets if one.name.casefold() == wanted.casefold()), None)
    else:
        found = next((one.name for one in sheets if one.visible is SheetVisibleEnum.Visible), None)
    if found is None:
        raise Drift(f"table {name} has no {_wanted(wanted)}; there are: {_listed(sheets)}; name one with sheet")
    return found


def _wanted(sheet: str | None) -> str:
    return "visible sheet" if sheet is None else f'sheet "{sheet}"'


def _listed(sheets: list[SheetMetadata]) -> str:
    return ", ".join(f'"{one.name}"' for one in sheets) or "none"


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise Unavailable(f"table {path.name} cannot be read: {type(error).__name__}; see that it is there") from None
    return status.st_mtime_ns, status.st_size, status.st_ino


# --- before it is read -------------------------------------------------------------------------------------------


def _inspect(path: Path) -> datetime:
    """Its day zero. Every part is unpacked once and counted: what the archive says of its sizes is only a claim.

    Raises:
        Unavailable: it cannot be read now.
        Drift: no workbook, or one that would unpack to more than anybody's table.
    """
    day_zero = DAY_ZERO
    left = UNPACKED_MAX
    try:
        with open(path, "rb") as file, ZipFile(file) as archive:
            parts = archive.infolist()
            if len(parts) > PARTS_MAX:
                raise _dangerous(path)
            for part in parts:
                first, size = _unpacked(file, part, _Bounds(left, max(RATIO_FROM, part.compress_size * RATIO_MAX)))
                if size is None:
                    raise _dangerous(path)
                left -= size
                if part.filename.endswith((".xml", ".rels")) and b"<!DOCTYPE" in first:
                    raise Drift(f"table {path.name} holds an XML document type, which no spreadsheet writes; not read")
                if part.filename == _BOOK and _DATE_1904.search(first):
                    day_zero = DAY_ZERO_1904
    except (BadZipFile, zlib.error, struct.error, NotImplementedError) as error:
        raise _damaged(path, type(error).__name__) from None
    except OSError as error:
        raise Unavailable(f"table {path.name} cannot be read: {type(error).__name__}; see that it is there") from None
    return day_zero


def _unpacked(file: IO[bytes], part: ZipInfo, bounds: _Bounds) -> tuple[bytes, int | None]:
    """The beginning of a part, and its size unpacked; None when it goes beyond the bounds."""
    first, size = b"", 0
    for chunk in _chunks(file, part):
        first = first or chunk
        size += len(chunk)
        if size > min(bounds.left, bounds.of_part):
            return first, None
    return first, size


def _chunks(file: IO[bytes], part: ZipInfo) -> Iterator[bytes]:
    """A part unpacked piece by piece, by what its bytes are and not by the size that is written beside them."""
    if part.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise NotImplementedError("compression")
    file.seek(part.header_offset)
    signature, name, extra = _HEADER.unpack(file.read(_HEADER.size))
    if signature != MAGIC:
        raise BadZipFile("header")
    file.seek(name + extra, 1)
    left = part.compress_size
    if part.compress_type == ZIP_STORED:
        while left and (packed := file.read(min(left, _CHUNK))):
            left -= len(packed)
            yield packed
        return
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    while left and (packed := file.read(min(left, _CHUNK))):
        left -= len(packed)
        while packed:
            yield stream.decompress(packed, _CHUNK)
            packed = stream.unconsumed_tail
    while rest := stream.decompress(stream.unconsumed_tail, _CHUNK):
        yield rest


def _dangerous(path: Path) -> Drift:
    limit = UNPACKED_MAX // (1024 * 1024)
    return Drift(
        f"table {path.name} unpacks to more than {limit} MiB, or to far more than it is; save it anew or as CSV"
    )


def _damaged(path: Path, what: str) -> Drift:
    return Drift(f"table {path.name} is no readable workbook ({what}); open it in a spreadsheet and save it as XLSX")
