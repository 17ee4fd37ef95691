"""Rows that wait on disk come back as they were, and memory does not hold them."""

from __future__ import annotations

import asyncio
import errno
import os
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.table import spool
from adapters.table.grid import Line, Numeral, Priced
from adapters.table.reading import PAGE
from adapters.table.spool import Spool
from bridge.errors import Unavailable
from bridge.ports import Listing
from tests.adapters.table import books
from tests.adapters.table.kit import WINDOW, Office

NUMBERS = st.integers(0, 10**15).map(Numeral)
PRICES = st.builds(Priced.of, NUMBERS, st.sampled_from(["RUB", "USD", "?"]))
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
CELLS = st.one_of(TEXTS, NUMBERS, PRICES)
LINES = st.lists(st.builds(Line, st.integers(1, 10**7), st.lists(CELLS, max_size=5), st.booleans()), max_size=30)


@pytest.fixture(params=[64, 1 << 18])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Pieces smaller than most rows: everything goes to disk; and so large that nothing does."""
    monkeypatch.setattr(spool, "CHUNK", request.param)
    return int(request.param)


def shown(line: Line) -> list[Any]:
    cells = [(type(cell), str(cell), getattr(cell, "currency", "")) for cell in line.cells]
    return [line.number, line.is_broken, cells]


@pytest.mark.usefixtures("chunk")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(LINES)
def test_lines_come_back_as_they_were_in_order_and_one_by_one(lines: list[Line]) -> None:
    """Texts, numbers and currencies, by two readings at once and after more was written."""
    with closing(Spool()) as kept:
        places = [kept.add(line) for line in lines[:20]]
        early, again = kept.lines(), kept.lines()
        assert [shown(line) for line, _ in zip(early, again, strict=True)] == [shown(line) for line in lines[:20]]
        places += [kept.add(line) for line in lines[20:]]
        assert [shown(kept.at(place)) for place in reversed(places)] == [shown(line) for line in reversed(lines)]
        assert [shown(line) for line in kept.lines()] == [shown(line) for line in lines]


def test_memory_holds_a_few_lines_of_many() -> None:
    """30 MB of rows in and out, in less than 3 MB."""
    tracemalloc.start()
    try:
        with closing(Spool()) as kept:
            places = [kept.add(Line(number, ["x" * 1500])) for number in range(1, 20_001)]
            assert sum(1 for _ in kept.lines()) == 20_000
            assert kept.at(places[-1]).number == 20_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000


def test_a_full_disk_is_unavailable_and_a_partial_write_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says where to make room; a disk that takes a part gets the rest."""
    monkeypatch.setattr(spool, "CHUNK", 64)
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, bytes(data[:7]), at))
    with closing(Spool()) as kept:
        for number in range(1, 30):
            kept.add(Line(number, ["x" * number]))
        assert [len(line.cells[0]) for line in kept.lines()] == list(range(1, 30))

        def full(*_: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(Unavailable, match="TMPDIR"):
            kept.add(Line(31, ["x" * 100]))


@pytest.mark.parametrize("name", ["leads.csv", "leads.xlsx"])
async def test_nothing_stays_open_behind_a_reading(office: Office, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whole, broken off after a page, or cancelled in the middle of one: what waited on disk is given back."""
    monkeypatch.setattr(spool, "CHUNK", 64)
    rows = [[f"A-{n % PAGE}", "02.03.2026", "Новый"] for n in range(3 * PAGE)]
    if office.use(name).suffix == ".xlsx":
        books.write(office.path, [books.TITLES[:3], *rows])
    else:
        office.write("ID сделки;Дата создания;Статус\n" + "".join(f"{';'.join(row)}\n" for row in rows))

    def temporary() -> list[str]:
        links = [Path("/proc/self/fd", number) for number in os.listdir("/proc/self/fd")]
        return [shown for link in links if link.is_symlink() and "deleted" in (shown := os.readlink(link))]

    before = temporary()
    assert len(await office.heads()) == PAGE
    scan = office.source().scan(WINDOW)
    await anext(scan)
    assert len(temporary()) > len(before)
    await cast(AsyncGenerator[Listing, None], scan).aclose()
    for turns in range(1, 12):
        task = asyncio.create_task(office.heads())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert temporary() == before
