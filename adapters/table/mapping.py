"""From rows to deals: keys, versions, times, stages, clues. Pure; ``now`` is handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.table.columns import DATES, Header, joined_title, normal_title
from adapters.table.grid import Grid, digest
from adapters.table.moments import Told, creation, placed
from adapters.table.settings import TableSettings
from adapters.table.values import (
    Moment,
    Times,
    bare,
    clean,
    is_precision_lost,
    normal,
    parse_amount,
    parse_currency,
    parse_id,
    parse_time,
    read_time,
    split_contacts,
)
from bridge.catalogue import Catalogue, Pipeline, Stage
from bridge.errors import Drift, RecordInvalid
from bridge.frozen import replace
from bridge.model import Clue, Contact, Deal, DealKind, IdKind, Money, Outcome, StageChange, frozen
from bridge.ports import Head
from bridge.tools import TenantFacts

T = TypeVar("T")

# Identifier columns in order of preference; the URL and the utm columns follow.
ID_ROLES = {
    "yclid": IdKind.YCLID,
    "ym_client_id": IdKind.CLIENT_ID,
    "gclid": IdKind.GCLID,
    "gbraid": IdKind.GBRAID,
    "wbraid": IdKind.WBRAID,
    "ga_client_id": IdKind.GA_CLIENT_ID,
    "fbclid": IdKind.FBCLID,
    "rb_clickid": IdKind.RB_CLICKID,
    "roistat": IdKind.ROISTAT,
}
_UTM_ROLES = ("utm_content", "utm_term", "utm_campaign", "utm_source", "utm_medium")
_PERSONAL = frozenset(("phone", "email", "name", "comment"))
# What a person keeps changing in a row says nothing about which row it is.
_UNSTABLE = frozenset(
    (
        "status",
        "status_at",
        "updated_at",
        "pipeline",
        "amount",
        "cost",
        "currency",
        "reject_reason",
        "manager",
        "comment",
    )
)
# Settings that change what a row means; the others only say where the table is.
_READING = {"columns", "fields", "timezone", "date_time_policy", "date_order", "decimal", "won", "lost"}
_RANKS = {Outcome.OPEN: 0, Outcome.LOST: 1, Outcome.WON: 2}
_FUTURE_MAX = timedelta(days=1)
_REAL_CLIENT_ID = 16  # digits; call trackers name shorter ids of their own "ym_uid" (contract tables E)
_STAGES_MAX = 500


@frozen
class Row:
    """One row's cells that are not empty, by title. ``number`` is the row's, as a spreadsheet counts."""

    number: int
    cells: Mapping[str, str]


@frozen
class _Dated:
    """A row with its times read, and when its stage began."""

    row: Row
    told: Told
    at: datetime


@frozen
class Reader:
    """How this table is read: its header, and the settings made ready."""

    place: str  # file and sheet, where a message begins
    header: Header
    settings: TableSettings
    times: Times
    currency: str  # of amounts that name none: of their column's title, else the tenant's
    won: frozenset[str]
    lost: frozenset[str]
    wanted: tuple[tuple[str, IdKind], ...]  # titles which the setting ``fields`` names, in its order
    stamp: str  # changes with any setting that changes what is read
    own: frozenset[str]  # titles of columns that play no role

    @classmethod
    def of(cls, grid: Grid, header: Header, settings: TableSettings, tenant: TenantFacts) -> Reader:
        """The reader of a grid with this header.

        Raises:
            Drift: the table's own time zone is none that is known.
        """
        zone = _zone(settings.timezone or grid.zone or tenant.timezone, grid)
        day_only = time(12) if settings.date_time_policy == "noon" else time(0)
        times = Times(zone, day_only, settings.date_order, grid.day_zero)
        shown = settings.model_dump(include=_READING)
        stamp = digest(repr(shown), repr(sorted(header.roles.items())), zone.key, tenant.currency)
        won, lost = (frozenset(map(normal, names)) for names in (settings.won, settings.lost))
        titles = {normal_title(title): title for title in header.titles}
        named = ((titles.get(normal_title(n), ""), kind) for kind, names in settings.fields.items() for n in names)
        wanted = tuple(pair for pair in named if pair[0])
        own = frozenset(header.own) - {title for title, _ in wanted}
        return cls(
            grid.place, header, settings, times, header.currency or tenant.currency, won, lost, wanted, stamp, own
        )

    # --- rows ---

    def row(self, number: int, texts: Sequence[str]) -> Row:
        """A row from its cells.

        Raises:
            RecordInvalid: it has more cells than the header (a delimiter inside a cell, not quoted).
        """
        if any(text.strip() for text in texts[len(self.header.titles) :]):
            message = f"{self._where(number)}: more cells than the header has"
            advice = "put quotes around cells that hold the delimiter"
            raise RecordInvalid(f"{message}; {advice}", code="extra_cells")
        # In a column of the table's own, "no" is an answer.
        cells = ((t, bare(text) if t in self.own else clean(text)) for t, text in self.header.cells(texts).items())
        return Row(number, {title: text for title, text in cells if text})

    def key(self, row: Row) -> str:
        """``lead:<id>``, or a digest of what does not change in a row that has none.

        Raises:
            RecordInvalid: the id's digits are lost, or nothing tells this row from others.
        """
        own = self._cell(row, "lead_id")
        if own:
            return f"{DealKind.LEAD}:{self._parsed(row, 'lead_id', parse_id, 'id_precision_lost')}"
        stable = sorted(
            (role, self._stable(role, row.cells[title]))
            for role, title in self.header.roles.items()
            if role not in _UNSTABLE and title in row.cells
        )
        if not stable:
            raise RecordInvalid(
                f"{self._where(row.number)}: neither an id nor anything else to know it by", code="no_identity"
            )
        return f"{DealKind.LEAD}:row-{digest(repr(stable))}"

    def _stable(self, role: str, text: str) -> str:
        """A cell as it counts for a row's key: a day is the same however it is written, and whatever zone is set."""
        if role != "created_at":
            return text
        try:
            return parse_time(text, replace(self.times, zone=UTC, day_only=time(0))).isoformat()
        except ValueError:
            return text

    def head(self, key: str, rows: Sequence[Row], now: datetime) -> Head:
        """One deal as listed; its rows in the order of their times.

        Raises:
            RecordInvalid: a date cannot be read, is missing, or lies in the future.
        """
        written = self._as_written(rows, now)
        # In the order of what is written, wherever days without a clock time are placed: content alone makes a version.
        version = digest(self.stamp, *(repr(sorted(item.row.cells.items())) for item in written))
        listed = Listed(self, tuple(item.row for item in written))
        start = creation([item.told for item in written])
        return Head(key, version, max(placed(at, start) for item in written for at in item.told.known), listed)

    # --- deals ---

    def deal(self, head: Head, now: datetime) -> Deal:
        """The deal of a head's rows. Several rows are several moments of one deal; the latest says how it stands.

        Raises:
            RecordInvalid: a cell cannot be read.
        """
        written = self._as_written(head.row.rows, now)
        start = creation([item.told for item in written])
        dated = self._in_order([replace(item, at=placed(item.told.known[0], start)) for item in written])
        rows = [item.row for item in reversed(dated)]  # the newest first
        history = self._history(dated)
        current = history[-1]
        return Deal(
            kind=DealKind.LEAD,
            id=head.key.partition(":")[2],
            version=head.version,
            created_at=start.at,
            updated_at=head.updated_at,
            pipeline=current.pipeline,
            stage=current.stage,
            outcome=current.outcome,
            value=self._value(rows),
            closed_at=None if current.outcome is Outcome.OPEN else current.at,
            loss_reason=_named(self._cell(rows[0], "reject_reason")),
            origin=_named(next((row.cells[o] for row in rows if (o := self.header.origin) and o in row.cells), "")),
            fields=self._fields(rows),
            clues=tuple(dict.fromkeys(clue for row in rows for clue in self._clues(row))),
            history=history,
            contacts=self._contacts(rows),
        )

    def _in_order(self, items: list[_Dated]) -> list[_Dated]:
        """By their times. Rows of one time go from open to lost to won, so that sorting the table changes nothing."""
        return items if len(items) == 1 else sorted(items, key=self._place_in_time)

    def _place_in_time(self, item: _Dated) -> tuple[datetime, int, str, str]:
        stage = normal(self._cell(item.row, "status"))
        return item.at, _RANKS[self.outcome(stage)], stage, repr(sorted(item.row.cells.items()))

    def _as_written(self, rows: Sequence[Row], now: datetime) -> list[_Dated]:
        """In the order of their times as they are written, days at the time that is set for them."""
        return self._in_order([self._dated(row, now) for row in rows])

    def _dated(self, row: Row, now: datetime) -> _Dated:
        told = self.told(row)
        if not told.known:
            titles = [self.header.roles[role] for role in DATES if role in self.header.roles]
            raise RecordInvalid(f'{self._where(row.number)}: no date in column "{titles[0]}"', code="no_date")
        for role, moment in (("status_at", told.status), ("updated_at", told.updated), ("created_at", told.created)):
            if moment is not None and moment.at > now + _FUTURE_MAX:
                message = f"{self._where(row.number, role)}: a date in the future"
                raise RecordInvalid(message, code="date_in_future")
        return _Dated(row, told, told.known[0].at)

    def told(self, row: Row) -> Told:
        """What a row says of times.

        Raises:
            RecordInvalid: a date cannot be read.
        """
        return Told(*(self._time(row, role) for role in ("status_at", "updated_at", "created_at")))

    def _time(self, row: Row, role: str) -> Moment | None:
        return self._parsed(row, role, lambda text: read_time(text, self.times), "bad_date")

    def _history(self, dated: Sequence[_Dated]) -> tuple[StageChange, ...]:
        """Every change of stage; rows without a status say nothing, unless no row has one."""
        changes: list[StageChange] = []
        for item in [item for item in dated if self._cell(item.row, "status")] or dated[-1:]:
            stage = normal(self._cell(item.row, "status"))
            pipeline = normal(self._cell(item.row, "pipeline"))
            if not changes or (changes[-1].pipeline, changes[-1].stage) != (pipeline, stage):
                changes.append(StageChange(item.at, pipeline, stage, self.outcome(stage), "record"))
        return tuple(changes)

    def outcome(self, stage: str) -> Outcome:
        """What a (normal) stage name means for the deal."""
        return Outcome.WON if stage in self.won else Outcome.LOST if stage in self.lost else Outcome.OPEN

    def _value(self, rows: Sequence[Row]) -> Money | None:
        row = next((row for row in rows if self._cell(row, "amount")), None)
        if row is None:
            return None
        mark = self.settings.decimal
        read = self._parsed(row, "amount", lambda text: parse_amount(text, mark), "bad_amount")
        named = self._parsed(row, "currency", parse_currency, "bad_currency")
        if read is None:
            return None
        amount, signed = read
        if signed and named and signed != named:
            title = self.header.roles["currency"]
            message = f'not an amount: its sign means {signed}, and column "{title}" says another currency'
            raise RecordInvalid(f"{self._where(row.number, 'amount')}: {message}", code="bad_amount")
        return Money.of(amount, named or signed or self.currency)

    def _fields(self, rows: Sequence[Row]) -> dict[str, tuple[str, ...]]:
        """Every column that is not personal, under its title and (if it plays one) its role."""
        fields: dict[str, tuple[str, ...]] = {}
        roles = {title: role for role, title in self.header.roles.items()}
        for title, text in ((title, text) for row in rows for title, text in row.cells.items()):
            role = roles.get(title, title)
            if role not in _PERSONAL:
                fields.setdefault(title, (text,))
                fields.setdefault(role, (text,))
        return fields

    def _clues(self, row: Row) -> Iterator[Clue]:
        yield from (Clue(f"field {title}", row.cells[title], kind) for title, kind in self.wanted if title in row.cells)
        for role, kind in ID_ROLES.items():
            text = self._cell(row, role)
            if text and not (role == "ym_client_id" and self._is_tracker_id(text)):
                yield Clue(f"field {self.header.roles[role]}", text, kind)
        if page := self._cell(row, "landing_page"):
            yield Clue(f"field {self.header.roles['landing_page']}", page)
        yield from (Clue(role, text) for role in _UTM_ROLES if (text := self._cell(row, role)))
        comment = self._cell(row, "comment")
        if "clid" in comment.lower():  # a comment is personal; it is a clue only if somebody pasted an identifier
            yield Clue(f"field {self.header.roles['comment']}", comment)

    def _is_tracker_id(self, text: str) -> bool:
        if len(text) >= _REAL_CLIENT_ID or is_precision_lost(text):
            return False
        return joined_title(self.header.roles["ym_client_id"]) == "ymuid"

    def _contacts(self, rows: Sequence[Row]) -> tuple[Contact, ...]:
        phones = dict.fromkeys(one for row in rows for one in split_contacts(self._cell(row, "phone")))
        emails = dict.fromkeys(one for row in rows for one in split_contacts(self._cell(row, "email")))
        return (Contact("", tuple(phones), tuple(emails), is_main=True),) if phones or emails else ()

    # --- cells ---

    def _where(self, number: int, role: str | None = None) -> str:
        """File, sheet, row and column: never what stands there."""
        column = f', column "{self.header.roles[role]}"' if role else ""
        return f"{self.place}, row {number}{column}"

    def _cell(self, row: Row, role: str) -> str:
        return row.cells.get(self.header.roles.get(role, ""), "")

    def _parsed(self, row: Row, role: str, parse: Callable[[str], T], code: str) -> T | None:
        """A cell's meaning; None if it is empty."""
        text = self._cell(row, role)
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as error:
            raise RecordInvalid(f"{self._where(row.number, role)}: {error}", code=code) from None


@frozen
class Listed:
    """What a head holds: the rows of one deal, and how they were read. The table may be another by now."""

    reader: Reader
    rows: tuple[Row, ...]


class Names:
    """Collects the stages, pipelines and loss reasons of a table, as written, for the catalogue."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._stages: dict[str, dict[str, str]] = {}
        self._pipelines: dict[str, str] = {}
        self._reasons: dict[str, str] = {}

    def add(self, row: Row) -> None:
        cell = {role: row.cells.get(title, "") for role, title in self._reader.header.roles.items()}
        pipeline, stage, reason = (cell.get(role, "") for role in ("pipeline", "status", "reject_reason"))
        self._pipelines.setdefault(normal(pipeline), pipeline)
        stages = self._stages.setdefault(normal(pipeline), {})
        if stage and len(stages) < _STAGES_MAX:
            stages.setdefault(normal(stage), stage)
        if reason and len(self._reasons) < _STAGES_MAX:
            self._reasons.setdefault(normal(reason), reason)

    def catalogue(self) -> Catalogue:
        """Open: a name not seen yet may come tomorrow."""
        pipelines = tuple(
            Pipeline(id, self._pipelines[id], DealKind.LEAD, self._listed(stages))
            for id, stages in self._stages.items()
        )
        return Catalogue(pipelines, tuple(self._reasons.items()), self._fields(), is_open=True)

    def _fields(self) -> tuple[str, ...]:
        """Titles, and the roles that some of them play: goals may name either."""
        return tuple(dict.fromkeys((*self._reader.header.titles, *self._reader.header.roles)))

    def _listed(self, stages: Mapping[str, str]) -> tuple[Stage, ...]:
        return tuple(Stage(id, name, self._reader.outcome(id)) for id, name in stages.items())


def _named(text: str) -> tuple[str, str] | None:
    return (normal(text), text) if text else None


def _zone(name: str, grid: Grid) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise Drift(f'{grid.place} names an unknown time zone, "{name}"; set timezone') from None
