"""How the simulated Metrica reads an uploaded file (contract yandex 2.1, 2.2, 15). Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal

import msgspec

# The order in which the identifiers of one row are tried (contract 2.2: undocumented, this is the choice).
from bridge.frozen import frozen

IDENTIFIERS = ("ClientId", "UserId", "Yclid", "PurchaseId")
COLUMNS = {name.lower(): name for name in (*IDENTIFIERS, "Target", "DateTime", "Price", "Currency")}
_PRICE = re.compile(r"[0-9]+(\.[0-9]+)?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_BOUNDARY = re.compile(r'multipart/form-data;.*?\bboundary="?([^";]{1,70})"?', re.IGNORECASE)
_FILE_PART = re.compile(rb'content-disposition:\s*form-data;(?:.*;)?\s*name="file"', re.IGNORECASE)
_NUMBERS = frozenset(("ClientId", "Yclid"))


class BadFileError(Exception):
    """The whole upload is refused with HTTP 400 and this ``error_type``."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


class Row(msgspec.Struct, frozen=True, gc=False):
    """One good row. ``ids``: (column, value) of the filled identifier cells, in the order they are tried."""

    ids: tuple[tuple[str, str], ...]
    target: str
    at: int
    price: Decimal | None


@frozen
class ParsedFile:
    """``source_quantity`` counts the data rows, good or bad."""

    source_quantity: int
    rows: tuple[Row, ...]


def file_of(content_type: str, body: bytes) -> bytes:
    """The content of the one part named "file".

    Raises:
        BadFileError: not multipart, cut, another number of parts, another name.
    """
    match = _BOUNDARY.fullmatch(content_type.strip())
    if match is None:
        raise BadFileError("invalid_uploading", "Multipart request expected")
    mark = b"--" + match[1].encode()
    # Each delimiter begins a line: the CRLF before it belongs to it and not to the part (RFC 2046).
    pieces = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise BadFileError("invalid_uploading", "Multipart request is incomplete")
    parts = pieces[1:-1]
    if len(parts) != 1:
        raise BadFileError("invalid_uploading", "Exactly one part is expected")
    head, gap, content = parts[0].partition(b"\r\n\r\n")
    if not gap or not any(_FILE_PART.match(line) for line in head.split(b"\r\n")):
        raise BadFileError("missing_parameter", "Required part 'file' is not present")
    return content


def parse(content: bytes, now: int, bad_rows: set[str]) -> ParsedFile:
    """Rows of a CSV file; bad ones are dropped.

    ``now`` in Unix seconds; ``bad_rows``: identifiers whose rows fail on purpose.

    Raises:
        BadFileError: not UTF-8, no rows, a wrong header, or a DateTime in the future.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFileError("invalid_uploading", "File is not in UTF-8") from None
    lines = _lines(text)
    read = RowReader(_columns(next(lines, []))).read
    source_quantity = 0
    rows = []
    for cells in lines:
        source_quantity += 1
        row = read(cells)
        if row is None or (bad_rows and any(value in bad_rows for _, value in row.ids)):
            continue
        if row.at > now:
            raise BadFileError("invalid_uploading", f"DateTime is in the future, line {source_quantity}")
        rows.append(row)
    if not source_quantity:
        raise BadFileError("invalid_uploading", "File is empty")
    return ParsedFile(source_quantity, tuple(rows))


def _lines(text: str) -> Iterator[list[str]]:
    try:
        yield from filter(None, csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error:
        raise BadFileError("invalid_uploading", "File is not a CSV") from None


def _columns(header: Sequence[str]) -> list[str]:
    names = [COLUMNS.get(cell.strip().lower(), "") for cell in header]
    if "" in names or len(set(names)) != len(names):
        raise BadFileError("invalid_uploading", "Unknown or repeated column")
    if "Target" not in names or "DateTime" not in names or not any(name in names for name in IDENTIFIERS):
        raise BadFileError("invalid_uploading", "A required column is missing")
    return names


class RowReader:
    """Cells to a row, for one header."""

    def __init__(self, columns: Sequence[str]) -> None:
        places = {name: place for place, name in enumerate(columns)}
        self._width = len(columns)
        self._ids = [(name, places[name]) for name in IDENTIFIERS if name in places]
        self._target, self._at = places["Target"], places["DateTime"]
        self._price, self._currency = places.get("Price"), places.get("Currency")

    def read(self, cells: Sequence[str]) -> Row | None:
        """None when the row fails validation."""
        if len(cells) != self._width:
            return None
        at, target = cells[self._at], cells[self._target]
        ids = tuple([(name, cells[place]) for name, place in self._ids if cells[place]])
        if not ids or not target or not _is_number(at):
            return None
        if not all(name not in _NUMBERS or _is_number(value) for name, value in ids):
            return None
        price = "" if self._price is None else cells[self._price]
        if price and not _PRICE.fullmatch(price):
            return None
        currency = "" if self._currency is None else cells[self._currency]
        if not price or not _CURRENCY.fullmatch(currency):  # contract 2.2: without a currency the amount is null
            return Row(ids, target, int(at), None)
        return Row(ids, target, int(at), Decimal(price))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 20
