"""No stage begins before its lead where a day was written without a clock time; what is written with one stays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.table.grid import digest
from adapters.table.moments import Told, creation, is_same_day, placed
from adapters.table.values import Moment, Times, read_time
from bridge.ports import Level
from tests.adapters.table import books
from tests.adapters.table.kit import HEADER, Office, moments

START = "ID сделки;Дата создания;Статус;Дата статуса\n"


def local(moment: datetime) -> str:
    return moment.astimezone(ZoneInfo("Europe/Moscow")).strftime("%d.%m %H:%M")


async def read(office: Office, rows: str, **options: str) -> tuple[str, list[tuple[str, str]]]:
    """When the deal was created, and its stages; in local time."""
    office.write(START + rows)
    deal = await office.one(**options)
    return local(deal.created_at), [(change.stage, local(change.at)) for change in deal.history]


@pytest.mark.parametrize(
    ("created", "status", "lead", "stage"),
    [
        ("19.03.2026 17:40", "19.03.2026", "19.03 17:40", "19.03 17:40"),
        ("19.03.2026 09:10", "19.03.2026", "19.03 09:10", "19.03 12:00"),
        ("19.03.2026", "19.03.2026 09:15", "19.03 09:15", "19.03 09:15"),
        ("19.03.2026", "19.03.2026 17:15", "19.03 12:00", "19.03 17:15"),
        ("19.03.2026", "19.03.2026", "19.03 12:00", "19.03 12:00"),
        ("19.03.2026 17:40", "20.03.2026", "19.03 17:40", "20.03 12:00"),
        ("19.03.2026 17:40", "18.03.2026", "19.03 17:40", "18.03 12:00"),
        ("19.03.2026 17:40", "19.03.2026 17:10", "19.03 17:40", "19.03 17:10"),  # both as they are written
        ("2026-03-18T21:30:00Z", "19.03.2026", "19.03 00:30", "19.03 12:00"),
        ("2026-03-19T20:30:00Z", "19.03.2026", "19.03 23:30", "19.03 23:30"),
        ("2026-03-19T23:30:00-05:00", "19.03.2026", "20.03 07:30", "20.03 07:30"),  # the 19th, for whoever wrote it
        ("46100.75", "46100", "19.03 18:00", "19.03 18:00"),
        ("1773945000", "19.03.2026", "19.03 21:30", "19.03 21:30"),
        ("2026-03-19", "2026-03-19+05:00", "19.03 12:00", "19.03 12:00"),
    ],
)
async def test_a_day_without_a_clock_lies_not_before_a_lead_of_that_day(
    office: Office, created: str, status: str, lead: str, stage: str
) -> None:
    """Noon is our choice, not the table's: a sale before its own lead and click would be linked to nothing."""
    assert await read(office, f"1;{created};Продажа;{status}\n") == (lead, [("продажа", stage)])


async def test_midnight_gives_way_like_noon(office: Office) -> None:
    """Whatever time of day is set for dates without one."""
    rows = "1;19.03.2026 17:40;Продажа;19.03.2026\n"
    assert await read(office, rows, date_time_policy="midnight") == ("19.03 17:40", [("продажа", "19.03 17:40")])


async def test_a_modification_without_a_clock_lies_not_before_its_lead(office: Office) -> None:
    """It dates the stage where no status date does."""
    office.write("id;Дата;Статус;Изменено\n1;19.03.2026 17:40;Продажа;19.03.2026\n")
    deal = await office.one()
    assert moments(deal) == [("продажа", "19.03 14:40")]
    assert deal.updated_at == deal.created_at == deal.closed_at


async def test_days_of_a_workbook_lie_not_before_its_leads(office: Office) -> None:
    """Cells that hold a date, some with a clock time."""
    row = ["1", datetime.fromisoformat("2026-03-19 17:40"), "Продажа", datetime.fromisoformat("2026-03-19").date()]
    books.write(office.use("leads.xlsx"), [books.TITLES[:4], row])
    assert moments(await office.one()) == [("продажа", "19.03 14:40")]


@pytest.mark.parametrize(
    "rows",
    [
        "1;19.03.2026 17:40;Новый;19.03.2026\n1;;Продажа;19.03.2026\n",
        "1;19.03.2026;Новый;19.03.2026\n1;19.03.2026 17:40;Продажа;19.03.2026\n",
        "1;19.03.2026 17:40;Новый;19.03.2026\n1;19.03.2026 18:10;Продажа;19.03.2026\n",
        "1;19.03.2026 17:40;Новый;19.03.2026 17:40\n1;19.03.2026 17:40;Продажа;19.03.2026\n",
    ],
)
async def test_rows_of_one_deal_have_one_creation(office: Office, rows: str) -> None:
    """A row that tells only the day, or nothing, of the creation lies not before what another tells."""
    told = ("19.03 17:40", [("новый", "19.03 17:40"), ("продажа", "19.03 17:40")])
    assert await read(office, rows) == told
    first, second = rows.splitlines()
    assert await read(office, f"{second}\n{first}\n") == told


async def test_where_a_day_is_placed_changes_no_version(office: Office) -> None:
    """A table that nobody has edited is not read anew: versions are what they were for these rows."""
    office.write(
        HEADER
        + "1;19.03.2026 17:40;Новый;;;;19.03.2026 17:40\n1;19.03.2026 17:40;Продажа;;;;19.03.2026\n"
        + "2;19.03.2026 17:40;Продажа;;;;19.03.2026\n"
    )
    reader = (await office.heads())[0].row.reader
    for head in await office.heads():
        rows = sorted(head.row.rows, key=lambda row: row.cells["Статус"], reverse=True)  # noon stands first
        written = [repr(sorted(row.cells.items())) for row in rows]
        assert head.version == digest(reader.stamp, *written)


async def test_a_status_on_a_day_before_its_lead_is_told(office: Office) -> None:
    """By how many rows there are and the first of them; a day without a clock time is no such thing."""
    office.write(
        START
        + "1;19.03.2026 17:40;Продажа;19.03.2026\n2;19.03.2026;Продажа;18.03.2026\n3;нет даты;Продажа;18.03.2026\n"
        + "4;19.03.2026 00:30;Продажа;18.03.2026 23:00\n5;19.03.2026 17:40;Продажа;19.03.2026 17:10\n"
    )
    (told,) = [text for text in await office.told(Level.WARNING) if "day before" in text]
    assert 'column "Дата статуса"' in told
    assert "rows: 2 (first: row 3)" in told
    office.write(START + "1;19.03.2026 17:40;Продажа;19.03.2026\n")
    assert await office.told(Level.WARNING) == []


Cell = tuple[date, time | None, str]
CLOCKS = st.none() | st.times().map(lambda at: at.replace(microsecond=0))
DAYS = st.integers(-1, 1).map(lambda days: datetime.fromisoformat("2026-03-29").date() + timedelta(days))
ZONES = st.sampled_from(["Europe/Moscow", "Europe/Berlin", "America/New_York", "Asia/Vladivostok", "UTC"])
CELLS = st.none() | st.tuples(DAYS, CLOCKS, st.sampled_from(["", "Z", "+05:00", "-08:00"]))
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS).filter(any), min_size=1, max_size=3)


@given(ROWS, ZONES, st.sampled_from([12, 0]))
def test_no_stage_begins_before_its_lead_on_one_day(
    rows: Sequence[Sequence[Cell | None]], zone: str, hour: int
) -> None:
    """Days before and after a change of clocks, any zone, any of the three columns empty, several rows of one deal.

    Only where creation and stage are both written with their clock times, they stay as they are.
    """
    times = Times(ZoneInfo(zone), time(hour))
    told = [Told(*(_cell(cell, times) for cell in row)) for row in rows]
    start = creation(told)
    for stage in (row.known[0] for row in told):
        at = placed(stage, start)
        assert at == stage.at or (stage.is_day and at == start.at > stage.at)
        if is_same_day(stage, start) and (stage.is_day or not any(_is_written(row.created, start) for row in told)):
            assert start.at <= at
    if len(told) == 1 and told[0].created is not None and not told[0].created.is_day:
        assert start == told[0].created


def _is_written(created: Moment | None, start: Moment) -> bool:
    return created is not None and not created.is_day and is_same_day(created, start)


def _cell(cell: Cell | None, times: Times) -> Moment | None:
    if cell is None:
        return None
    day, clock, offset = cell
    return read_time(f"{day}" + (f" {clock}" if clock else "") + offset, times)
