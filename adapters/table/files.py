"""A local file as a grid, whatever it is: by its first bytes, because names lie."""

from __future__ import annotations

import re
from pathlib import Path

from adapters.table import delimited, workbook
from adapters.table.grid import Grid, unreadable
from adapters.table.settings import TableSettings
from bridge.errors import Drift
from bridge.frozen import replace

_HEAD = 64  # bytes
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|meta|body|table|\?xml)\b", re.IGNORECASE)

_OTHERS = {  # what people save or send in place of a table, by its first bytes
    b"%PDF-": "a PDF",
    b"\x1f\x8b": "packed by gzip",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
}


def open_file(path: Path, settings: TableSettings) -> Grid:
    """The table in a file: a workbook, or text with delimiters.

    Raises:
        Unavailable: it cannot be read now.
        Drift: it is of another kind, damaged, or not in its encoding.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise unreadable(path, error) from None
    grid = _opened(path, head, settings)
    area = settings.area
    return replace(grid, lines=lambda: area.cut(grid.lines()), spoilt=lambda: area.places(grid.spoilt()))


def _opened(path: Path, head: bytes, settings: TableSettings) -> Grid:
    if head.startswith(workbook.MAGIC):
        return workbook.open_workbook(path, settings.sheet_name)
    if head.startswith(workbook.OLD_MAGIC):
        raise Drift(f"table {path.name} is an old .xls or has a password; save it as XLSX without one")
    if _MARKUP.match(head):  # what some programs export as .xls; as text its rows would be titles
        raise Drift(f"table {path.name} is a web page or XML; open it in a spreadsheet and save it as XLSX")
    for begin, what in _OTHERS.items():
        if head.startswith(begin):
            raise Drift(f"table {path.name} is {what}; save the table itself as XLSX or CSV")
    if settings.sheet_name is not None:
        raise Drift(f"table {path.name} is no workbook and has no sheets; remove sheet")
    return delimited.open_text(path, settings.encoding, settings.delimiter)
