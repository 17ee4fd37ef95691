"""Currencies that a workbook shows by the number formats of its cells: ``#,##0.00 [$€-407]``, ``# ##0" руб."``.

The number itself knows nothing of them, and calamine does not tell formats, so where a workbook has such a format the
sheet's own XML is gone through beside it. Built-in formats are left out: their sign is that of the reader's computer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, iterparse
from zipfile import BadZipFile, ZipFile

from adapters.table.formulas import PLACE, elements, part_of, tag
from adapters.table.grid import UNKNOWN, column_number
from adapters.table.values import parse_currency

_STYLES = "xl/styles.xml"
_SAID = re.compile(r'\[\$([^\]-]*)(?:-[^\]]*)?\]|"([^"]*)"|\\(.)|([₽$€£¥])')
_SIGNS = frozenset("£¥₴₸₺₾₼₹₩₪฿")  # of currencies that nobody who reads them here takes for the tenant's own


def currency_of(code: str) -> str:
    """The currency of a number format, :data:`UNKNOWN` for a sign that is not understood, "" for none."""
    found: set[str] = set()
    for bracket, quoted, escaped, bare in _SAID.findall(code.partition(";")[0]):
        said = (bracket or quoted or escaped or bare).strip()
        try:
            found.add(parse_currency(said))
        except ValueError:
            if bracket or said in _SIGNS:
                found.add(UNKNOWN)
    return found.pop() if len(found) == 1 else UNKNOWN if found else ""


def currencies(path: Path, sheet: str) -> Iterator[tuple[int, Mapping[int, str]]]:
    """Rows (from 1) with the currencies their cells show, by column (from 1), in the order of the sheet.

    Nothing where the workbook cannot be gone through in this way.
    """
    try:
        with ZipFile(path) as archive:
            styles = _styles(archive)
            part = part_of(archive, sheet) if styles else None
            if part is not None:
                yield from _rows(archive, part, styles)
    except (OSError, BadZipFile, KeyError, ParseError, ValueError):
        return


def _styles(archive: ZipFile) -> dict[str, str]:
    """Currencies by the number of the style that a cell names."""
    codes: dict[str, str] = {}
    styles: list[str] = []
    for element in elements(archive, _STYLES):
        if tag(element) == "numFmt":
            codes[element.get("numFmtId", "")] = currency_of(element.get("formatCode", ""))
        elif tag(element) == "cellXfs":
            styles = [codes.get(style.get("numFmtId", ""), "") for style in element]
    return {str(number): currency for number, currency in enumerate(styles) if currency}


def _rows(archive: ZipFile, part: str, styles: Mapping[str, str]) -> Iterator[tuple[int, Mapping[int, str]]]:
    found: dict[int, str] = {}
    number = 0
    with archive.open(part) as file:
        for _, element in iterparse(file):  # noqa: S314 - no document types get here
            if tag(element) == "c" and (place := _shown(element, styles)):
                number = int(place[2])
                found[column_number(place[1])] = styles[element.get("s", "")]
            elif tag(element) == "row":
                element.clear()  # a sheet of a million rows is not kept
                if found:
                    yield number, found
                found = {}


def _shown(cell: Element, styles: Mapping[str, str]) -> re.Match[str] | None:
    """Where a cell stands that holds a number in a style with a currency."""
    if cell.get("s") not in styles or cell.get("t", "n") != "n":
        return None
    return PLACE.fullmatch(cell.get("r", ""))
