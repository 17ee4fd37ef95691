"""What every kind of table comes down to: rows of texts, numbered as a spreadsheet numbers them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import date, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

from bridge.errors import Unavailable
from bridge.frozen import frozen

EXACT_MAX = 10**15  # a spreadsheet's numbers have 15 significant digits (contract tables A2)
DAY_ZERO = datetime(1899, 12, 30)  # noqa: DTZ001 - a spreadsheet's day zero has no zone; it is attached later
DAY_ZERO_1904 = datetime(1904, 1, 1)  # noqa: DTZ001 - of workbooks made on old Macs (contract tables C)
_HALF_SECOND = timedelta(microseconds=500_000)
_RANGE = re.compile(r"(?:('(?:[^']|'')+'|[^'!]+)!)?\$?([A-Z]{1,3})?\$?(\d{1,7})?:\$?([A-Z]{1,3})?\$?(\d{1,7})?", re.I)


def unreadable(path: Path, error: OSError) -> Unavailable:
    """What the system said of a file, as what to do about it."""
    match error:
        case FileNotFoundError():
            return Unavailable(f"there is no table {path.name} in {path.parent}; put it there, or correct path")
        case IsADirectoryError():
            return Unavailable(f"{path} is a folder; path names the table in it")
        case PermissionError():
            return Unavailable(f"table {path.name} may not be read; let the user who runs this read it")
    return Unavailable(f"table {path.name} cannot be read: {type(error).__name__}; see that it is there")


class Numeral(str):
    """The text of a cell that held a number: its decimal mark is a point, whatever the table's language."""

    __slots__ = ()


UNKNOWN = "?"  # a currency that is shown by a sign we do not understand


class Priced(Numeral):
    """The text of a cell that held a number, and the currency in whose format it is shown."""

    __slots__ = ("currency",)
    currency: str

    @classmethod
    def of(cls, text: Numeral, currency: str) -> Priced:
        made = cls(text)
        made.currency = currency
        return made

    def __repr__(self) -> str:
        """Versions are made of it: another format is another content."""
        return f"{str.__repr__(self)} {self.currency}"


@frozen
class Line:
    """One row. ``number`` counts from 1, as a spreadsheet does."""

    number: int
    cells: list[str]
    is_broken: bool = False  # its quote never ends; the rows after it are read as if it were not there


def _nothing() -> None:
    """Nothing is held open."""


@frozen
class Grid:
    """One sheet as it is now. ``lines`` may be called again and gives every row from the first, blank ones too.

    ``place`` begins every message about a row (file, sheet), ``written`` says how the table is written, ``zone`` is the
    time zone it names, ``day_zero`` what its numbers of days count from, ``stamp`` changes with its content.
    ``spoilt`` gives row and column of cells that the table has no value for and that ``lines`` gives as empty.
    ``close`` gives back what ``lines`` reads from, and must be called at the end.
    """

    place: str
    written: str
    stamp: str
    lines: Callable[[], Generator[Line, None, None]]
    zone: str | None = None
    day_zero: datetime = DAY_ZERO
    spoilt: Callable[[], Iterable[tuple[int, int]]] = tuple
    close: Callable[[], None] = _nothing


# --- cells -------------------------------------------------------------------------------------------------------


def text_of(value: Any) -> str:
    """A typed cell as text: numbers as :class:`Numeral`, days and times as ISO 8601, true and false by these words."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return numeral(value)
    if isinstance(value, datetime):
        # To the second: the fraction of a day is a float (contract tables A2).
        return (value + _HALF_SECOND).replace(microsecond=0).isoformat(" ")
    return value.isoformat() if isinstance(value, date) else str(value)


def numeral(value: float) -> Numeral:
    """A number with the 15 digits that a spreadsheet keeps; beyond them in scientific notation, as it is shown there.

    So an identifier that went through a number is never taken for a whole one, whatever digits the file spells out:
    programs that write workbooks fill in digits which they do not know.
    """
    if abs(value) >= EXACT_MAX:
        return Numeral(f"{value:.14E}")
    return Numeral(value if isinstance(value, int) else f"{value:.15g}".upper())


def digest(*parts: str) -> str:
    """32 hex characters that differ for different texts."""
    return blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Digest:
    """What ``digest`` makes of parts that come one by one."""

    def __init__(self, first: str) -> None:
        self._made = blake2b(first.encode("utf-8", "surrogatepass"), digest_size=16)

    def add(self, part: str) -> None:
        self._made.update(f"\x1f{part}".encode("utf-8", "surrogatepass"))

    def text(self) -> str:
        """32 hex characters."""
        return self._made.hexdigest()


# --- ranges ------------------------------------------------------------------------------------------------------


@frozen
class Area:
    """A part of a sheet; rows and columns count from 1, ``None`` means to the end."""

    first_row: int = 1
    last_row: int | None = None
    first_column: int = 1
    last_column: int | None = None

    def cut(self, lines: Iterable[Line]) -> Generator[Line, None, None]:
        """The lines of this area, with the cells of this area; they keep their numbers."""
        for line in lines:
            if self.last_row is not None and line.number > self.last_row:
                return
            if line.number >= self.first_row:
                yield Line(line.number, line.cells[self.first_column - 1 : self.last_column], line.is_broken)

    def places(self, cells: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Rows and columns of those cells that lie inside; columns count from the first of this area."""
        for row, column in cells:
            is_inside = self.first_row <= row <= (self.last_row or row)
            if is_inside and self.first_column <= column <= (self.last_column or column):
                yield row, column - self.first_column + 1


def parse_range(text: str) -> tuple[str | None, Area]:
    """The sheet (if one is named) and the area of a range in A1 notation with a colon: ``A:H``, ``A2:H500``, ``3:90``.

    Raises:
        ValueError: it is none, or ends before it begins.
    """
    match = _RANGE.fullmatch(text.strip())
    if match is None or not any(match.groups()[1:]):
        raise ValueError('write a range as "A:H", "A2:H500" or "Sheet!A2:H"')
    sheet, left, top, right, bottom = match.groups()
    area = Area(
        int(top) if top else 1,
        int(bottom) if bottom else None,
        column_number(left) if left else 1,
        column_number(right) if right else None,
    )
    ends = ((area.first_row, area.last_row), (area.first_column, area.last_column))
    if area.first_row < 1 or any(last is not None and last < first for first, last in ends):
        raise ValueError("the range ends before it begins")
    return (_unquoted(sheet) if sheet else None), area


def _unquoted(sheet: str) -> str:
    return sheet[1:-1].replace("''", "'") if sheet.startswith("'") else sheet.strip()


def column_number(letters: str) -> int:
    """``A`` is 1, ``Z`` 26, ``AA`` 27."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def column_letters(number: int) -> str:
    """1 is ``A``, 27 is ``AA``."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
