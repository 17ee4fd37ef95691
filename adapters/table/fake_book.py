"""The spreadsheet behind the simulated Google Sheets: typed cells, A1 ranges, what each render option shows of a cell.

Cells are text, numbers, :class:`Amount`, booleans, days, times, :class:`Wrong`, or None.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from bridge.frozen import frozen

_DAY_ZERO = datetime(1899, 12, 30)  # noqa: DTZ001 - serial dates have no zone (contract tables A2)
_DAY = timedelta(days=1)
_RANGE = re.compile(r"(?:(?:'((?:[^']|'')+)'|([^'!]+))!)?([A-Z]+)?(\d+)?(?::([A-Z]+)?(\d+)?)?")


@frozen
class Amount:
    """A number formatted as money."""

    value: Decimal


@frozen
class Wrong:
    """A formula that failed; ``shown`` as in ``#N/A``."""

    shown: str = "#N/A"


Value = str | int | float | Amount | bool | datetime | date | Wrong | None


class BadRangeError(ValueError):
    """A range that names nothing of this spreadsheet; with Google's own text."""


@dataclass(slots=True)
class Sheet:
    """One sheet. ``rows`` may be ragged; the grid is at least as large as they are."""

    id: int
    title: str
    rows: list[list[Value]] = field(default_factory=list)
    is_hidden: bool = False
    is_chart: bool = False
    least_rows: int = 1000  # of a new sheet
    least_columns: int = 26

    @property
    def height(self) -> int:
        return max(self.least_rows, len(self.rows))

    @property
    def width(self) -> int:
        return max(self.least_columns, *(len(row) for row in self.rows), 1) if self.rows else self.least_columns

    def properties(self, index: int) -> dict[str, Any]:
        """As the API tells them: what is false or absent is left out."""
        told: dict[str, Any] = {"sheetId": self.id, "title": self.title, "index": index}
        if self.is_hidden:
            told["hidden"] = True
        if self.is_chart:
            return {**told, "sheetType": "OBJECT"}
        size = {"rowCount": self.height, "columnCount": self.width}
        return {**told, "sheetType": "GRID", "gridProperties": size}


@dataclass(slots=True)
class Book:
    """One spreadsheet. ``group`` stands between thousands in formatted numbers (contract tables, unverified 3)."""

    id: str
    title: str = "Заявки"
    locale: str = "ru_RU"
    time_zone: str = "Europe/Moscow"
    group: str = "\u00a0"
    sheets: list[Sheet] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """The whole resource, without cells."""
        own = {"title": self.title, "locale": self.locale, "timeZone": self.time_zone}
        sheets = [{"properties": sheet.properties(index)} for index, sheet in enumerate(self.sheets)]
        return {"spreadsheetId": self.id, "properties": own, "sheets": sheets}

    def values(self, wanted: str, shown: Shown) -> dict[str, Any]:
        """A ValueRange: trailing empty cells and rows are left out, and ``values`` if nothing is there.

        Raises:
            BadRangeError: no such sheet, no range, or beyond the grid.
        """
        sheet, (top, left, bottom, right) = self._place(wanted)
        rows = [
            _without_tail([shown.of(value) for value in row[left - 1 : right]]) for row in sheet.rows[top - 1 : bottom]
        ]
        while rows and not rows[-1]:
            rows.pop()
        name = sheet.title.replace("'", "''")
        told = {"range": f"'{name}'!{_letters(left)}{top}:{_letters(right)}{bottom}", "majorDimension": "ROWS"}
        return {**told, "values": rows} if rows else told

    def _place(self, wanted: str) -> tuple[Sheet, tuple[int, int, int, int]]:
        match = _RANGE.fullmatch(wanted)
        title = None if match is None else (match[1].replace("''", "'") if match[1] else match[2])
        sheet = next((one for one in self.sheets if not one.is_chart and title in (None, one.title)), None)
        if match is None or sheet is None:
            raise BadRangeError(f"Unable to parse range: {wanted}")
        left, top, right, bottom = match.groups()[2:]
        edges = (
            int(top or 1),
            _number(left or "A"),
            int(bottom) if bottom else sheet.height,
            _number(right) if right else sheet.width,
        )
        if edges[2] > sheet.height or edges[3] > sheet.width or edges[0] > sheet.height:
            limits = f"Max rows: {sheet.height}, max columns: {sheet.width}"
            raise BadRangeError(f"Range ({wanted}) exceeds grid limits. {limits}")
        return sheet, edges

    def as_csv(self, sheet: Sheet) -> str:
        """File, Download, CSV: what is shown, with commas."""
        out, shown = io.StringIO(newline=""), Shown(self, "FORMATTED_VALUE")
        csv.writer(out, lineterminator="\r\n").writerows([shown.of(value) for value in row] for row in sheet.rows)
        return out.getvalue()


@frozen
class Shown:
    """Render options of a request. ``value`` and ``dates`` as the API names them."""

    book: Book
    value: str = "FORMATTED_VALUE"
    dates: str = "SERIAL_NUMBER"

    def of(self, cell: Value) -> Any:
        """A cell as JSON."""
        if cell is None or isinstance(cell, str):
            return cell or ""
        if isinstance(cell, Wrong):
            return cell.shown
        is_formatted = self.value == "FORMATTED_VALUE"
        if isinstance(cell, bool):
            return ("ИСТИНА" if cell else "ЛОЖЬ") if is_formatted else cell
        if isinstance(cell, date):
            return _day(cell) if is_formatted or self.dates == "FORMATTED_STRING" else _serial(cell)
        if isinstance(cell, Amount):
            return self._money(cell.value) if is_formatted else _plain(float(cell.value))
        return _general(cell) if is_formatted else _plain(cell)

    def _money(self, amount: Decimal) -> str:
        whole, _, fraction = f"{amount:,.2f}".partition(".")
        return f"{whole.replace(',', self.book.group)},{fraction} ₽"


def _plain(value: float) -> float:
    """Numbers keep 15 digits, whatever was typed (contract tables A2)."""
    rounded = float(f"{value:.15g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 10**15 else rounded


def _general(value: float) -> str:
    """A number without a format of its own, in a Russian spreadsheet."""
    text = f"{value:.5E}" if abs(value) >= 10**15 else f"{_plain(value)}"
    return text.replace(".", ",")


def _serial(cell: date) -> float:
    moment = cell if isinstance(cell, datetime) else datetime(cell.year, cell.month, cell.day)  # noqa: DTZ001 - as it is shown
    return _plain((moment - _DAY_ZERO) / _DAY)


def _day(cell: date) -> str:
    """As a Russian spreadsheet shows it: hours without a leading nought."""
    day = f"{cell:%d.%m.%Y}"
    return f"{day} {cell.hour}:{cell:%M:%S}" if isinstance(cell, datetime) else day


def _without_tail(row: list[Any]) -> list[Any]:
    while row and row[-1] == "":
        row.pop()
    return row


def _number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


def _letters(number: int) -> str:
    text = ""
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(65 + rest) + text
    return text


def masked(value: Any, mask: Sequence[Any]) -> Any:
    """Of a resource only what a field mask (see ``parse_mask``) names."""
    if isinstance(value, list):
        return [masked(item, mask) for item in value]
    return {name: masked(value[name], inner) if inner else value[name] for name, inner in mask if name in value}


def parse_mask(text: str) -> list[Any]:
    """``a(b,c),d.e`` as nested (name, parts) pairs.

    Raises:
        ValueError: it does not end where it should.
    """
    tokens = re.findall(r"[A-Za-z0-9_]+|[(),.]", text)
    if "".join(tokens) != text:
        raise ValueError(text)
    found, rest = _parts(tokens)
    if rest:
        raise ValueError(text)
    return found


def _parts(tokens: list[str]) -> tuple[list[Any], list[str]]:
    found: list[Any] = []
    while True:
        name, rest = _part(tokens)
        found.append(name)
        if not rest or rest[0] != ",":
            return found, rest
        tokens = rest[1:]


def _part(tokens: list[str]) -> tuple[Any, list[str]]:
    if not tokens or not tokens[0].isidentifier():
        raise ValueError("a field is missing")
    name, rest = tokens[0], tokens[1:]
    if rest and rest[0] == ".":
        inner, rest = _part(rest[1:])
        return (name, [inner]), rest
    if rest and rest[0] == "(":
        group, rest = _parts(rest[1:])
        if not rest or rest[0] != ")":
            raise ValueError("a bracket is missing")
        return (name, group), rest[1:]
    return (name, []), rest
