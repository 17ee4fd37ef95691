"""Parts of a workbook, and cells that have no value: errors, and formulas that nobody has computed (contract tables C).

Both are empty cells of a table, so for ``bridge check`` the sheet is gone through once more. The workbook was measured
before, and found free of document types (``workbook.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO
from xml.etree.ElementTree import Element, ParseError, iterparse, parse
from zipfile import BadZipFile, ZipFile

from adapters.table.grid import column_number
from bridge.frozen import frozen

PLACE = re.compile(r"([A-Z]{1,3})(\d{1,7})")
BOOK, LINKS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
XML = (".xml", ".rels")  # of these it is known that they hold no document types
_WITH_CELLS = ("worksheet", "xlMacrosheet", "xlIntlMacrosheet")


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
    return next((one.part for one in sheets(archive) if one.name == sheet), None)


@frozen
class SheetPart:
    """One sheet with cells, and the part that holds it."""

    name: str
    part: str
    is_visible: bool


def sheets(archive: ZipFile) -> list[SheetPart]:
    """The sheets with cells, in their order; a chart has none."""
    links = {link.get("Id"): link for link in elements(archive, LINKS)}
    found = []
    for element in elements(archive, BOOK):
        if tag(element) == "sheet":
            relation = next((value for name, value in element.attrib.items() if name.endswith("}id")), None)
            link = links.get(relation)
            if link is not None and link.get("Type", "").rpartition("/")[2] in _WITH_CELLS:
                part = str(PurePosixPath("/xl", link.get("Target", ""))).lstrip("/")
                found.append(SheetPart(element.get("name", ""), part, element.get("state", "visible") == "visible"))
    return found


def member(archive: ZipFile, part: str) -> str:
    """The part's name as the archive has it: some programs write it in other letters.

    Raises:
        KeyError: there is none.
    """
    names = [name for name in archive.namelist() if name.lower().endswith(XML)]
    if part in names:
        return part
    same = next((name for name in names if name.replace("\\", "/").casefold() == part.casefold()), None)
    if same is None:
        raise KeyError(part)
    return same


def elements(archive: ZipFile, part: str) -> Iterator[Element]:
    """Every element of a small part."""
    with archive.open(member(archive, part)) as file:
        yield from parse(file).iter()  # noqa: S314 - no document types get here


def _lost_cells(archive: ZipFile, part: str) -> Iterator[tuple[int, int]]:
    with archive.open(member(archive, part)) as file:
        for row in ended(file, "row"):
            for cell in row:
                if not is_lost(cell, parts_of(cell)):
                    continue
                if place := PLACE.fullmatch(cell.get("r", "")):
                    yield int(place[2]), column_number(place[1])


def ended(file: IO[bytes], wanted: str) -> Iterator[Element]:
    """Each element of this name, whole. What was given is taken out of the tree, which else would grow to its end."""
    path: list[Element] = []
    inside = 0
    for event, element in iterparse(file, ("start", "end")):  # noqa: S314 - no document types get here
        is_wanted = tag(element) == wanted
        if event == "start":
            path.append(element)
            inside += is_wanted
            continue
        path.pop()
        inside -= is_wanted
        if is_wanted:
            yield element
        if path and not inside:
            path[-1].remove(element)


def is_lost(cell: Element, parts: Mapping[str, Element]) -> bool:
    """An error, or a formula without a stored value. A formula may well give an empty text, which is stored as one."""
    kind, value = cell.get("t"), parts.get("v")
    if kind == "e":
        return True
    return "f" in parts and (value is None or (not value.text and kind != "str"))


def parts_of(cell: Element) -> dict[str, Element]:
    """A cell's formula, value and text, by their names."""
    return {tag(part): part for part in cell}


def tag(element: Element) -> str:
    """The name without its namespace, of which there are two (transitional and strict)."""
    return element.tag.rpartition("}")[2]
