"""Workbooks for the tests, written by XlsxWriter, and ways to spoil them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import xlsxwriter

TITLES = ["ID сделки", "Дата создания", "Статус", "Дата статуса", "Сумма", "ClientID"]


def write(path: Path, rows: Sequence[Sequence[Any]], *, is_1904: bool = False, **sheets: Any) -> None:
    """One workbook: ``rows`` on the sheet "Лиды" (or ``name``), dates formatted as dates.

    Keywords: ``name``; ``before``: titles of hidden sheets in front; ``change``: called with the sheet at the end;
    ``forms``: number formats of cells, by row and column from 0.
    """
    book: Any = xlsxwriter.Workbook(str(path), {"date_1904": is_1904, "strings_to_formulas": False})
    moment, day = (book.add_format({"num_format": form}) for form in ("dd.mm.yyyy hh:mm:ss", "dd.mm.yyyy"))
    for title in sheets.get("before", ()):
        book.add_worksheet(title).hide()
    sheet = book.add_worksheet(sheets.get("name", "Лиды"))
    sheet.activate()
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            if isinstance(value, datetime):
                sheet.write_datetime(number, column, value, moment)
            elif isinstance(value, date):
                sheet.write_datetime(number, column, value, day)
            elif value is not None:
                form = sheets.get("forms", {}).get((number, column))
                sheet.write(number, column, value, *([book.add_format({"num_format": form})] if form else []))
    change: Callable[[Any], None] | None = sheets.get("change")
    if change is not None:
        change(sheet)
    book.close()


def archive(parts: Mapping[str, str]) -> bytes:
    """Any ZIP archive, its parts stored as they are."""
    out = io.BytesIO()
    with ZipFile(out, "w") as made:
        for name, text in parts.items():
            made.writestr(name, text)
    return out.getvalue()


def edit(path: Path, parts: Mapping[str, Callable[[bytes], bytes]]) -> None:
    """Some parts of a workbook replaced by what the functions make of them."""
    out = io.BytesIO()
    with ZipFile(path) as old, ZipFile(out, "w", ZIP_DEFLATED) as new:
        for part in old.infolist():
            change = parts.get(part.filename)
            new.writestr(part.filename, old.read(part) if change is None else change(old.read(part)))
    path.write_bytes(out.getvalue())


def understate_sizes(path: Path) -> None:
    """An archive that claims its parts unpack to one byte each."""
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.find(signature)
        while at >= 0:
            struct.pack_into("<I", data, at + offset, 1)
            at = data.find(signature, at + 4)
    path.write_bytes(bytes(data))
