"""``bridge demo --leads``: a table that cannot be used is refused at once; one that can makes an upload file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from bridge.sim.table_road import look_at, table_road
from bridge.system_clock import SystemClock
from tests.adapters.table import books
from tests.e2e.kit import free_call

HEAD = "ID;Дата создания;Статус;Дата статуса;Сумма;yclid\n"
GARBAGE = b"PK\x03\x04" + bytes(range(256)) * 40


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.csv", None, "there is no table"),
        ("leads.csv", b"", "empty, no header found"),
        ("leads.csv", "Имя;Телефон\nx;y\n".encode(), "no column with a date is recognised"),
        ("leads.csv", f"{HEAD}1;вчера;Новый;;;\n".encode(), 'leads.csv, row 2, column "Дата создания"'),
        ("leads.csv", f"{HEAD}1;вчера;Новый;;;\n".encode(), "0 deals can be read, 1 cannot"),
        ("book.xlsx", GARBAGE, "book.xlsx is no readable workbook"),
        ("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old .xls"),
        ("Отчёт.pdf", b"%PDF-1.4\n\xff\xfe\x00binary", "Отчёт.pdf"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_before_anything_begins(
    tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    """Exit status 2 and the reason, in a moment; an earlier demo's folder is not touched."""
    table, folder = tmp_path / name, tmp_path / "demo"
    if content is not None:
        table.write_bytes(content)
    said = free_call("demo", "--folder", str(folder), "--leads", str(table))
    assert said.status == 2
    assert told in said.err
    assert "Part 1" not in said.out
    assert not folder.exists()


async def test_a_workbook_of_ones_own_becomes_an_upload_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read by its own name, in today's time."""
    now = SystemClock().now().replace(tzinfo=None, microsecond=0)
    came, paid = now - timedelta(days=3), now - timedelta(days=2)
    titles = HEAD.strip().split(";")
    books.write(tmp_path / "мои лиды.xlsx", [titles, ["A-1", came, "Оплачен", paid, 1500, "17751101234567890123"]])
    await look_at(tmp_path / "мои лиды.xlsx")
    folder = tmp_path / "demo"
    folder.mkdir()
    assert await table_road(folder, tmp_path / "мои лиды.xlsx")
    (file,) = (folder / "upload").glob("yandex_metrica-*.csv")
    assert "deal_won" in file.read_text(encoding="utf-8")
    said = capsys.readouterr().out
    assert "мои лиды.xlsx" in said
    assert 'unknown stage "Квалифицирован"' in said


async def test_the_shipped_table_is_a_fine_end_of_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its one unreadable row and its lost digits are told, and are no failure: ``make demo`` ends well."""
    assert await table_road(tmp_path, None)
    said = capsys.readouterr().out
    assert 'leads.csv, row 35, column "Дата статуса"' in said
    assert 'leads.csv: row 28, column "yclid"' in said
