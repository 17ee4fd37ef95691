"""Cells of a workbook that have no value: errors, and formulas that nobody has computed (contract tables C).

calamine reads both as empty cells, so for ``bridge check`` the sheet's own XML is gone through. The workbook was
measured before, and found free of document types (``workbook.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, ParseError, iterparse, parse
from zipfile import BadZipFile, ZipFile

from adapters.table.grid import column_number

PLACE = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_BOOK, _LINKS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"


def without_value(path: Path, sheet: str) -> Iterator[tuple[int, int]]:
    """Row and column (from 1) of each such cell; none where the workbook cannot be gone through in this way."""
    try:
        with ZipFile(path) as archive:
            part = part_of(archive, sheet)
            if part is not None:
                yield from _lost_cells(archive, part)
    except (OSError, BadZipFile, KeyError, ParseError):
        return


def part_of(archive: ZipFile, sheet: str) -> str | None:
    """The part that holds a sheet: its name leads to a relation, the relation to a file."""
    links = {link.get("Id"): link.get("Target", "") for link in elements(archive, _LINKS)}
    for element in elements(archive, _BOOK):
        if tag(element) == "sheet" and element.get("name") == sheet:
            relation = next((value for name, value in element.attrib.items() if name.endswith("}id")), None)
            target = links.get(relation)
            return str(PurePosixPath("/xl", target)).lstrip("/") if target else None
    return None


def elements(archive: ZipFile, part: str) -> Iterator[Element]:
    """Every element of a small part."""
    with archive.open(part) as file:
        yield from parse(file).iter()  # noqa: S314 - no document types get here


def _lost_cells(archive: ZipFile, part: str) -> Iterator[tuple[int, int]]:
    with archive.open(part) as file:
        for _, element in iterparse(file):  # noqa: S314 - no document types get here
            name = tag(element)
            if name == "c" and _is_lost(element) and (place := PLACE.fullmatch(element.get("r", ""))):
                yield int(place[2]), column_number(place[1])
            if name == "row":
                element.clear()  # a sheet of a million rows is not kept


def _is_lost(cell: Element) -> bool:
    """An error, or a formula without a stored value. A formula may well give an empty text, which is stored as one."""
    kind, parts = cell.get("t"), {tag(part): part for part in cell}
    value = parts.get("v")
    if kind == "e":
        return True
    return "f" in parts and (value is None or (not value.text and kind != "str"))


def tag(element: Element) -> str:
    """The name without its namespace, of which there are two (transitional and strict)."""
    return element.tag.rpartition("}")[2]
