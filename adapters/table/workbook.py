"""From an XLSX workbook to rows of text (contract tables C): measured first, then read as it streams (``cells.py``).

Numbers come with the 15 digits they have, dates by the workbook's own day zero, formulas with their cached values.
Hidden and filtered rows are read like others, merged cells have their value in the first cell.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO
from xml.etree.ElementTree import ParseError
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from adapters.table.cells import Sheet, Texts, lines
from adapters.table.formats import Style, styles
from adapters.table.formulas import BOOK, XML, SheetPart, sheets, without_value
from adapters.table.grid import DAY_ZERO, DAY_ZERO_1904, Grid, Line, unreadable
from adapters.table.spool import Spool
from bridge.errors import Drift, Unavailable
from bridge.frozen import frozen

MAGIC = b"PK\x03\x04"
OLD_MAGIC = b"\xd0\xcf\x11\xe0"  # what held .xls, and holds a workbook with a password
UNPACKED_MAX = 512 * 1024 * 1024  # a sheet of a million short rows
RATIO_MAX = 500  # how much smaller than its content a large part may be; real sheets stay below 30
RATIO_FROM = 32 * 1024 * 1024  # smaller parts cannot hurt
PARTS_MAX = 10_000
_CHUNK = 1 << 18
_HEADER = struct.Struct("<4s22xHH")  # of a part in the archive: signature, ..., lengths of its name and extra field
_DATE_1904 = re.compile(rb'date1904\s*=\s*["\'](?:1|true)["\']')
_DOCUMENT_TYPE = tuple("<!DOCTYPE".encode(coding) for coding in ("utf-8", "utf-16-le", "utf-16-be"))
_TEXTS = "xl/sharedStrings.xml"


@frozen
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
    with _readable(path), ZipFile(path) as archive:
        chosen = _chosen(sheets(archive), sheet, path.name)
    rows = _Rows(path, chosen.part, day_zero, stamp)
    place, written = f'{path.name}, sheet "{chosen.name}"', f'workbook, sheet "{chosen.name}"'
    spoilt = partial(without_value, path, chosen.name)
    shown = repr((chosen.name, stamp))
    return Grid(place, written, shown, rows.lines, day_zero=day_zero, spoilt=spoilt, close=rows.close)


class _Rows:
    """The rows of a sheet. When they are first asked for the sheet is gone through, once; then they wait on disk."""

    def __init__(self, path: Path, part: str, day_zero: datetime, stamp: tuple[int, int, int]) -> None:
        self._path, self._part, self._day_zero, self._stamp = path, part, day_zero, stamp
        self._spool: Spool | None = None

    def lines(self) -> Generator[Line, None, None]:
        """Every row from the first.

        Raises:
            Unavailable: the workbook cannot be read now, or changes meanwhile.
            Drift: it is damaged.
        """
        if self._spool is None:
            self._spool = Spool()
            self._fill(self._spool)
        yield from self._spool.lines()
        if _stamp(self._path) != self._stamp:
            raise Unavailable(f"table {self._path.name} changed while it was read; it is read again next time")

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()

    def _fill(self, spool: Spool) -> None:
        with _readable(self._path), ZipFile(self._path) as archive, closing(Spool()) as shared:
            texts = Texts(shared)
            with suppress(KeyError):  # a workbook need not have any
                texts.read(archive, _TEXTS)
            for line in lines(archive, Sheet(self._part, texts, _styles(archive), self._day_zero)):
                spool.add(line)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (BadZipFile, zlib.error, KeyError, ParseError, EOFError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from None
    except OSError as error:
        raise unreadable(path, error) from None


def _styles(archive: ZipFile) -> dict[str, Style]:
    try:
        return styles(archive)
    except KeyError:  # nor any of these
        return {}


def _chosen(found: list[SheetPart], wanted: str | None, name: str) -> SheetPart:
    if wanted is not None:
        chosen = next((one for one in found if one.name.casefold() == wanted.casefold()), None)
    else:
        chosen = next((one for one in found if one.is_visible), None)
    if chosen is None:
        raise Drift(f"table {name} has no {_wanted(wanted)}; there are: {_listed(found)}; name one with sheet")
    return chosen


def _wanted(sheet: str | None) -> str:
    return "visible sheet" if sheet is None else f'sheet "{sheet}"'


def _listed(found: list[SheetPart]) -> str:
    return ", ".join(f'"{one.name}"' for one in found) or "none"


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
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
                if part.filename.lower().endswith(XML) and any(text in first for text in _DOCUMENT_TYPE):
                    raise Drift(f"table {path.name} holds an XML document type, which no spreadsheet writes; not read")
                if part.filename == BOOK and _DATE_1904.search(first):
                    day_zero = DAY_ZERO_1904
    except (BadZipFile, zlib.error, struct.error, NotImplementedError) as error:
        raise _damaged(path, error) from None
    except OSError as error:
        raise unreadable(path, error) from None
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


def _damaged(path: Path, error: Exception) -> Drift:
    why = "damaged, or only a part of one"
    if isinstance(error, KeyError):
        why = "an OpenDocument table" if _is_open_document(path) else "a part of it is missing"
    return Drift(f"table {path.name} is no readable workbook ({why}); open it in a spreadsheet and save it as XLSX")


def _is_open_document(path: Path) -> bool:
    """Such a file begins with a part "mimetype" that is stored as it is."""
    with suppress(OSError), open(path, "rb") as file:
        return b"mimetypeapplication/vnd.oasis.opendocument" in file.read(128)
    return False
