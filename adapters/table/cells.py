"""The rows of a workbook's sheet, from its XML as it streams: of the sheet one row is held at a time.

Texts that cells share wait on disk (``spool.py``), since a table of leads shares few. The workbook was measured before,
and found free of document types (``workbook.py``).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Generator, Mapping
from datetime import datetime, time, timedelta
from functools import lru_cache
from xml.etree.ElementTree import Element
from zipfile import ZipFile

from adapters.table.formats import Style
from adapters.table.formulas import PLACE, ended, is_lost, member, parts_of, tag
from adapters.table.grid import DAY_ZERO, Line, Numeral, Priced, column_number, numeral, text_of
from adapters.table.spool import Spool
from bridge.frozen import frozen

_ROWS_MAX, _COLUMNS_MAX = 1_048_576, 16_384  # of a sheet
_DAYS_MAX = 2_950_000  # in the year 9976, by either day zero; what lies beyond is no date
_LEAP_DAY = 60  # the 29th of February 1900, which never was: days before it count from a day later (contract tables C)
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_HALVES = ("D8", "D9", "DA", "DB", "DC", "DD", "DE", "DF")  # of a sign beyond the first 65,536
_NEAR = 4096  # shared texts kept at hand: names of statuses come in every row


class Texts:
    """The texts that cells share, by number."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._places = array("Q")
        self.at = lru_cache(_NEAR)(self._at)

    def read(self, archive: ZipFile, part: str) -> None:
        with archive.open(member(archive, part)) as file:
            for element in ended(file, "si"):
                self._places.append(self._spool.add(Line(0, [_text(element)])))

    def _at(self, number: int) -> str:
        """Raises ValueError for a number that no text has."""
        if not 0 <= number < len(self._places):
            raise ValueError("shared text")
        return self._spool.at(self._places[number]).cells[0]


@frozen
class Sheet:
    """How the cells of a sheet are to be understood. ``styles`` by the number that cells name."""

    part: str
    texts: Texts
    styles: Mapping[str, Style]
    day_zero: datetime


def lines(archive: ZipFile, sheet: Sheet) -> Generator[Line, None, None]:
    """Every row up to the last that has a value, blank ones too; each as long as its last cell.

    Raises:
        ValueError: a number, place or shared text is none. Besides what the archive and its XML raise.
    """
    last = given = 0
    with archive.open(member(archive, sheet.part)) as file:
        for row in ended(file, "row"):
            number = int(row.get("r") or last + 1)
            if not last < number <= _ROWS_MAX:
                raise ValueError("row")
            last = number
            cells = _cells(row, sheet)
            if any(cells):
                yield from (Line(blank, []) for blank in range(given + 1, number))
                yield Line(number, cells)
                given = number


def _cells(row: Element, sheet: Sheet) -> list[str]:
    made: list[str] = []
    for cell in row:
        if tag(cell) != "c":
            continue
        column = _column(cell) or len(made) + 1
        text = _value(cell, sheet)
        if text:
            if not len(made) < column <= _COLUMNS_MAX:
                raise ValueError("column")
            made += [""] * (column - len(made) - 1)
            made.append(text)
        elif len(made) < column <= _COLUMNS_MAX:
            made += [""] * (column - len(made))
    return made


def _column(cell: Element) -> int | None:
    place = PLACE.fullmatch(cell.get("r", ""))
    return column_number(place[1]) if place else None


def _value(cell: Element, sheet: Sheet) -> str:
    """A cell as text; errors, and formulas that nobody has computed, are empty (contract tables C)."""
    parts = parts_of(cell)
    if is_lost(cell, parts):
        return ""
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        return _text(parts["is"]) if "is" in parts else ""
    told = parts["v"].text or "" if "v" in parts else ""
    if not told:
        return ""
    if kind == "s":
        return str(sheet.texts.at(int(told)))
    if kind == "str":
        return _unescaped(told)
    if kind == "b":
        return text_of(told.strip() in ("1", "true"))
    return _moment(told) if kind == "d" else _number(told, sheet.styles.get(cell.get("s", "")), sheet.day_zero)


def _moment(told: str) -> str:
    """A time in ISO 8601, which some programs write."""
    try:
        return text_of(datetime.fromisoformat(told)) if "T" in told else told
    except ValueError:
        return told


def _number(told: str, style: Style | None, day_zero: datetime) -> str:
    value = float(told)
    if not abs(value) < float("inf"):
        raise ValueError("number")
    if style is None:
        return numeral(value)
    if style.currency:
        return Priced.of(Numeral(numeral(value)), style.currency)
    if style.is_duration:
        return text_of(timedelta(seconds=round(value * 86_400))) if abs(value) < _DAYS_MAX else numeral(value)
    return _day(value, day_zero) if 0 < value < _DAYS_MAX else numeral(value)


def _day(value: float, day_zero: datetime) -> str:
    """A day, a time of day, or both, as the workbook's format shows it: to the second."""
    if value < 1:
        seconds = round(value * 86_400)
        return time(seconds // 3600 % 24, seconds // 60 % 60, seconds % 60).isoformat()
    if day_zero == DAY_ZERO and value < _LEAP_DAY:
        value += 1
    moment = day_zero + timedelta(days=value)
    return text_of(moment.date()) if value == int(value) else text_of(moment)


def _text(element: Element) -> str:
    """A text, in one piece or in several with formats of their own; how it is pronounced is left out."""
    said = []
    for part in element:
        if tag(part) == "t":
            said.append(part.text or "")
        elif tag(part) == "r":
            said += [run.text or "" for run in part if tag(run) == "t"]
    return _unescaped("".join(said))


def _unescaped(text: str) -> str:
    """Signs that XML cannot hold are written ``_x000B_``; halves of a sign stay so: no text can hold them."""
    return _ESCAPED.sub(lambda found: found[0] if found[1][:2].upper() in _HALVES else chr(int(found[1], 16)), text)
