"""What ``bridge check`` says of a table: what was recognised, what was not, and what a spreadsheet has spoilt. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, islice
from zoneinfo import ZoneInfo

from adapters.table.columns import Header, is_multiple, looks_like_a_date, near_amount, nearest, normal_title
from adapters.table.grid import Grid, Line
from adapters.table.mapping import ID_ROLES, Reader, Row
from adapters.table.moments import is_day_before
from adapters.table.values import has_doubtful_comma, is_cell_error, is_precision_lost, normal
from bridge.errors import RecordInvalid
from bridge.frozen import frozen
from bridge.model import IdKind, Outcome
from bridge.ports import BadRecord, Level
from bridge.survey import FieldSample, Shape, guess

_PLACES_SHOWN = 3
_NAMES_SHOWN = 12
_EXACT_DIGITS = 15  # what a spreadsheet keeps of a number (contract tables A2)
_ROUND_MIN = 3  # so many identifiers that all end in noughts are no coincidence
_COUNTED = 10_000  # cells, at most
_ANY_TEXT = (IdKind.USER_ID, IdKind.PURCHASE_ID)  # names of columns that every other table has
_SHORT_NAMES = 60  # characters of a status; what is longer is no name


@frozen
class Remark:
    """One line of the findings; without a subject of its own it is about the table."""

    level: Level
    message: str
    subject: str = ""


# --- titles ------------------------------------------------------------------------------------------------------


def of_header(grid: Grid, reader: Reader, tenant_zone: str) -> Iterator[Remark]:
    """How the table is written, which column is what, and what the columns do not tell."""
    header, settings = reader.header, reader.settings
    known = ", ".join(f"{role} = {title}" for role, title in header.roles.items())
    yield Remark(Level.OK, f"{grid.written}, header in row {header.row}: {known}")
    yield from _unrecognised(header, {title for title, _ in reader.wanted})
    if "status" not in header.roles:
        yield Remark(Level.WARNING, "no column with a status: goals by stage or outcome never hold")
    elif "status_at" not in header.roles:
        yield _undated(header)
    if "lead_id" not in header.roles:
        yield Remark(Level.WARNING, "no column with an id: rows are told apart by their content")
    yield from _configured(reader)
    if grid.zone and settings.timezone is None and not _agree(grid.zone, tenant_zone):
        message = f"times are read in {grid.zone}, which the spreadsheet names; the tenant's time zone is {tenant_zone}"
        yield Remark(Level.WARNING, f"{message}; if that is meant, set timezone = {grid.zone!r}")


def _configured(reader: Reader) -> Iterator[Remark]:
    """Each column that the setting ``fields`` names."""
    known = {normal_title(title): title for title in reader.header.titles}
    for kind, names in reader.settings.fields.items():
        for name in names:
            title = known.get(normal_title(name))
            if title is None:
                yield Remark(Level.WARNING, f'there is no column "{name}"', f"fields.{kind}")
            else:
                yield Remark(Level.OK, f'column "{title}"', f"fields.{kind}")


def _unrecognised(header: Header, used: set[str]) -> Iterator[Remark]:
    own = [title for title in header.own if title not in used and not title.startswith("column ")]
    suspects = [title for title in own if looks_like_a_date(title) and "status_at" not in header.roles]
    for title in suspects:
        near = nearest(title)
        like = f' (nearest known title: "{near.title}")' if near else ""
        choice = f'columns = {{ status_at = "{title}" }}'
        message = f'column "{title}" looks like a date and is not recognised{like}'
        yield Remark(Level.WARNING, f"{message}; if it says when the status began: {choice}")
    amounts = {} if "amount" in header.roles else {title: known for title in own if (known := near_amount(title))}
    for title, known in amounts.items():
        yield _no_amount(title, known)
    others = [title for title in own if title not in suspects and title not in amounts]
    if others:
        yield Remark(Level.OK, f"columns that play no role, kept as fields for goals: {_with_nearest(others)}")


def _no_amount(title: str, known: str) -> Remark:
    message = f'no column is the amount; column "{title}" looks like it (nearest known title: "{known}")'
    advice = f'if it is: columns = {{ amount = "{title}" }}'
    if is_multiple(title):
        advice = "amounts are read as they are written, so add a column in whole units"
    return Remark(Level.WARNING, f'{message}, and with value = "deal" no sale has a value; {advice}')


def of_samples(reader: Reader, samples: Iterable[FieldSample]) -> Iterator[Remark]:
    """Columns without a role that look like identifiers, by what they hold or by their titles: they go unused."""
    own = {title for title in reader.own if not title.startswith("column ")}
    for sample in samples:
        kind, why = _identifier(sample) if sample.setting in own else (None, "")
        if kind is not None:
            message = f'column "{sample.setting}" looks like an identifier and is not recognised ({why})'
            yield Remark(Level.WARNING, f'{message}; if it is one: fields = {{ {kind} = ["{sample.setting}"] }}')


def _identifier(sample: FieldSample) -> tuple[IdKind | None, str]:
    """What a column may be, and why. A title alone is no sign where values are there and none has the form of an id."""
    found = guess(sample)
    if found is not None and found.kind not in _ANY_TEXT:
        return found.kind, found.evidence
    near = nearest(sample.setting)
    if near is None or near.role not in ID_ROLES or (sample.filled and not set(sample.shapes) - {Shape.OTHER}):
        return None, ""
    return ID_ROLES[near.role], f'nearest known title: "{near.title}"'


def _with_nearest(titles: list[str]) -> str:
    parts = []
    for title in titles:
        near = nearest(title)
        parts.append(f'"{title}"' + (f' (like "{near.title}", which is {near.role})' if near else ""))
    return ", ".join(parts)


def _undated(header: Header) -> Remark:
    role = "updated_at" if "updated_at" in header.roles else "created_at"
    title = header.roles.get(role, "")
    message = f'no column says when a status began; goals are dated by {role} = "{title}"'
    if role == "created_at":
        message += ": a lead that changes later than start_from ago is dated before it, and needs a backfill"
    return Remark(Level.WARNING, f'{message}; add a column such as "Дата статуса", or name yours as status_at')


def _agree(first: str, second: str) -> bool:
    """Whether two zones show the same time, in winter and in summer."""
    days = (datetime(2026, 1, 15), datetime(2026, 7, 15))  # noqa: DTZ001 - the zones are compared on them
    return all(day.replace(tzinfo=ZoneInfo(first)).utcoffset() == ZoneInfo(second).utcoffset(day) for day in days)


# --- cells -------------------------------------------------------------------------------------------------------


def of_cells(grid: Grid, reader: Reader, rows: Iterable[Row | BadRecord]) -> Iterator[Remark]:
    """What statuses there are and what they mean, and cells that a spreadsheet has spoilt."""
    looks = (_Statuses(reader), _Lost(reader), _Nameless(reader), _Early(reader), _Commas(reader))
    for row in rows:
        if isinstance(row, Row):
            for look in looks:
                look.add(row)
    for look in looks:
        yield from look.remarks()
    yield from _errors(grid, reader)


class _Statuses:
    """The statuses that occur, by what they mean for a deal."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._seen: dict[str, str] = {}

    def add(self, row: Row) -> None:
        title = self._reader.header.roles.get("status", "")
        if text := row.cells.get(title, ""):
            self._seen.setdefault(normal(text), text)

    def remarks(self) -> Iterator[Remark]:
        if not self._seen:
            return
        parts = []
        for outcome in (Outcome.WON, Outcome.LOST, Outcome.OPEN):
            names = [text for key, text in self._seen.items() if self._reader.outcome(key) is outcome]
            parts.append(f"{outcome}: {_listed(names)}")
        is_won = any(self._reader.outcome(key) is Outcome.WON for key in self._seen)
        advice = "" if is_won else '; if one of them means a sale, set won = ["..."]'
        yield Remark(Level.OK, f"statuses that occur: {'; '.join(parts)}{advice}")


def _listed(names: list[str]) -> str:
    shown = [f'"{name[:_SHORT_NAMES]}"' for name in names[:_NAMES_SHOWN]]
    more = [f"{len(names) - _NAMES_SHOWN} more"] if len(names) > _NAMES_SHOWN else []
    return ", ".join([*shown, *more]) or "none"


class _Nameless:
    """Rows without an id in a table that has a column for it."""

    def __init__(self, reader: Reader) -> None:
        self._place = reader.place
        self._title = reader.header.roles.get("lead_id")
        self._rows: list[int] = []

    def add(self, row: Row) -> None:
        if self._title is not None and self._title not in row.cells:
            self._rows.append(row.number)

    def remarks(self) -> Iterator[Remark]:
        if self._rows:
            shown = ", ".join(map(str, self._rows[:_NAMES_SHOWN])) + (" and more" if self._rows[_NAMES_SHOWN:] else "")
            message = f'{self._place}: rows without an id in column "{self._title}": {len(self._rows)} (row {shown})'
            advice = "told apart by their content, so that one that is edited may count as a new lead; give each an id"
            yield Remark(Level.WARNING, f"{message}: {advice}")


class _Early:
    """Rows whose status is dated on a day before their lead."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._first = self._count = 0

    def add(self, row: Row) -> None:
        try:
            told = self._reader.told(row)
        except RecordInvalid:  # told where rows are counted
            return
        if told.status is not None and told.created is not None and is_day_before(told.status, told.created):
            self._first = self._first or row.number
            self._count += 1

    def remarks(self) -> Iterator[Remark]:
        if self._count:
            title = self._reader.header.roles["status_at"]
            message = f'{self._reader.place}, column "{title}": the status is dated on a day before its lead'
            advice = "no click is found for a conversion before it; correct the dates"
            yield Remark(Level.WARNING, f"{message}, in rows: {self._count} (first: row {self._first}); {advice}")


class _Commas:
    """Amounts whose comma is taken for the decimal one, and may group thousands: money has no thousandths."""

    def __init__(self, reader: Reader) -> None:
        self._place = reader.place
        self._title = reader.header.roles.get("amount", "") if reader.settings.decimal == "auto" else ""
        self._first = self._count = 0

    def add(self, row: Row) -> None:
        if has_doubtful_comma(row.cells.get(self._title, "")):
            self._first = self._first or row.number
            self._count += 1

    def remarks(self) -> Iterator[Remark]:
        if self._count:
            message = f'{self._place}, column "{self._title}": amounts with one comma before three digits'
            advice = (
                'the comma is read as the decimal one; if it groups thousands, set decimal = ".", else decimal = ","'
            )
            yield Remark(Level.WARNING, f"{message}: {self._count} (first: row {self._first}); {advice}")


class _Lost:
    """Identifiers whose digits a spreadsheet has destroyed: shown as 1,77E+18, or rounded to noughts."""

    def __init__(self, reader: Reader) -> None:
        self._place = reader.place
        roles = reader.header.roles
        self._titles = {roles[role] for role in ID_ROLES if role in roles} | {title for title, _ in reader.wanted}
        self._spoilt: list[tuple[int, str]] = []
        self._long: Counter[str] = Counter()
        self._round: Counter[str] = Counter()

    def add(self, row: Row) -> None:
        for title, text in row.cells.items():
            if title not in self._titles:
                continue
            if is_precision_lost(text):
                self._spoilt.append((row.number, title))
            elif len(text) > _EXACT_DIGITS + 1 and text.isdecimal():
                self._long[title] += 1
                self._round[title] += not text[_EXACT_DIGITS:].strip("0")

    def remarks(self) -> Iterator[Remark]:
        if self._spoilt:
            told = _cells(self._place, self._spoilt)
            message = f"identifiers that have lost their digits and are not used: {len(self._spoilt)} ({told})"
            yield Remark(Level.WARNING, f"{message}; format the column as text and enter them again")
        for title, count in self._round.items():
            if count >= _ROUND_MIN and count == self._long[title]:
                message = f'every long identifier in column "{title}" ends in noughts after {_EXACT_DIGITS} digits'
                yield Remark(Level.WARNING, f"{message}: a spreadsheet has rounded them; format the column as text")


def _errors(grid: Grid, reader: Reader) -> Iterator[Remark]:
    """Cells that show #N/A and the like, or whose formula was never computed: they count as empty."""
    titles = dict(enumerate(reader.header.titles, start=1))
    spoilt = ((row, titles[column]) for row, column in grid.spoilt() if row > reader.header.row and column in titles)
    wrong = list(islice(chain(_cell_errors(grid.lines(), reader.header), spoilt), _COUNTED))
    if wrong:
        what = "cells that hold a spreadsheet's error, or a formula without its value, and count as empty"
        yield Remark(Level.WARNING, f"{what}: {len(wrong)} ({_cells(reader.place, wrong)})")


def _cell_errors(lines: Iterable[Line], header: Header) -> Iterator[tuple[int, str]]:
    for line in lines:
        if line.number > header.row:
            for title, text in header.cells(line.cells).items():
                if is_cell_error(text.strip()):
                    yield line.number, title


def _cells(place: str, cells: list[tuple[int, str]]) -> str:
    shown = "; ".join(f'row {number}, column "{title}"' for number, title in cells[:_PLACES_SHOWN])
    return f"{place}: {shown}" + (" and more" if len(cells) > _PLACES_SHOWN else "")
