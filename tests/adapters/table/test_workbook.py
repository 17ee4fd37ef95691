"""XLSX workbooks: what Excel and its like write becomes the same deals as a CSV file, and traps are named."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from python_calamine import load_workbook

from adapters.table import workbook
from adapters.table.formulas import without_value
from adapters.table.grid import numeral, text_of
from bridge.clues import read as read_clues
from bridge.errors import Drift, Unavailable
from bridge.frozen import replace
from bridge.model import Money, Outcome
from bridge.ports import Level
from tests.adapters.table import books
from tests.adapters.table.books import TITLES
from tests.adapters.table.kit import WINDOW, Office

CAME, PAID = datetime.fromisoformat("2026-03-02T10:30:15"), datetime.fromisoformat("2026-03-05T18:00:00")
LEAD: list[Any] = ["A-1", CAME, "Оплачен", PAID, 100000.5, "1772690000123456789"]
OPEN_DOCUMENT = books.archive({"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": "<x/>"})
BAD_XML = b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/hostname'>]>"


@pytest.mark.parametrize("is_1904", [False, True])
async def test_dates_amounts_and_ids_are_read_as_they_are_shown(office: Office, is_1904: bool) -> None:
    """Times in the tenant's zone, by the workbook's own day zero (contract tables C, F4); ids keep all digits."""
    books.write(office.use("leads.xlsx"), [TITLES, LEAD], is_1904=is_1904)
    deal = await office.one()
    assert deal.created_at == datetime(2026, 3, 2, 7, 30, 15, tzinfo=UTC)
    assert [(change.stage, change.at) for change in deal.history] == [
        ("оплачен", datetime(2026, 3, 5, 15, 0, tzinfo=UTC))
    ]
    assert (deal.value, deal.outcome) == (Money(10_000_050, "RUB"), Outcome.WON)
    assert read_clues(deal).identifiers[0].value == "1772690000123456789"


@pytest.mark.parametrize("is_1904", [False, True])
async def test_a_date_without_its_format_is_a_number_of_days(office: Office, is_1904: bool) -> None:
    """A column that lost its format still holds days since the workbook's own day zero, not 4 years beside it."""
    serial = 46083 - (1462 if is_1904 else 0)
    row: list[Any] = ["A-1", serial, "Новый", serial + 0.5]
    books.write(office.use("leads.xlsx"), [TITLES, row], is_1904=is_1904)
    deal = await office.one()
    assert deal.created_at == datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    assert deal.history[0].at == datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


async def test_a_day_without_a_time_is_noon(office: Office) -> None:
    """As in a CSV file: whether the day was typed as a date or as text."""
    rows: list[list[Any]] = [["A-1", date(2026, 3, 2), "Новый"], ["A-2", "02.03.2026", "Новый"]]
    books.write(office.use("leads.xlsx"), [TITLES, *rows])
    deals, _ = await office.read()
    assert {deal.created_at for deal in deals.values()} == {datetime(2026, 3, 2, 9, 0, tzinfo=UTC)}


async def test_an_identifier_stored_as_a_number_is_refused_and_named(office: Office) -> None:
    """Excel keeps 15 digits of it (F5); the row stays, and ``check`` names row and column, never the value."""
    books.write(office.use("leads.xlsx"), [TITLES, [*LEAD[:5], 1772690000123456789]])
    deal = await office.one()
    reading = read_clues(deal)
    assert (reading.identifiers, [g.reason for g in reading.garbage]) == ((), ["scientific_notation"])
    (told,) = [text for text in await office.told(Level.WARNING) if "digits" in text]
    assert 'leads.xlsx, sheet "Лиды": row 2, column "ClientID"' in told
    assert "17726" not in told


async def test_a_lead_id_stored_as_a_long_number_sets_its_row_aside(office: Office) -> None:
    """Two leads must not become one; file, sheet, row and column are named."""
    books.write(office.use("leads.xlsx"), [TITLES, [1234567890123456, *LEAD[1:]], LEAD])
    deals, (bad,) = await office.read()
    assert list(deals) == ["A-1"]
    assert bad.code == "id_precision_lost"
    assert bad.message.startswith('leads.xlsx, sheet "Лиды", row 2, column "ID сделки": ')


@pytest.mark.parametrize(
    ("value", "kopecks"), [(1234.567, 123457), (1.234, 123), (0.1 + 0.2, 30), (1_000_000, 100_000_000), (-500, -50000)]
)
@pytest.mark.parametrize("decimal", ["auto", ",", "."])
async def test_a_number_is_never_ambiguous(office: Office, value: float, kopecks: int, decimal: str) -> None:
    """What stops a text ("1.234") does not stop a number: its point is a decimal point, whatever ``decimal`` says."""
    books.write(office.use("leads.xlsx"), [TITLES, [*LEAD[:4], value]])
    assert (await office.one(decimal=decimal)).value == Money(kopecks, "RUB")


@pytest.mark.parametrize(
    ("form", "currency"),
    [
        ('#,##0.00 "€"', "EUR"),
        ("#,##0.00 [$€-407]", "EUR"),
        ("[$$-409]#,##0.00;[RED]-[$€-409]#,##0.00", "USD"),
        ('# ##0" руб."', "RUB"),
        ("#,##0 [$р.-419]", "RUB"),
        ("[$USD] #,##0", "USD"),
        ("#,##0\\ \\€", "EUR"),
        ("[$-419]#,##0.00", "KZT"),
        ('0.0" шт."', "KZT"),
        ("#,##0.00", "KZT"),
        ("General", "KZT"),
        ("#,##0.00 [$£-809]", ""),
        ('"€"#,##0 "$"', ""),
    ],
)
async def test_a_number_is_in_the_currency_of_its_format(office: Office, form: str, currency: str) -> None:
    """Whatever the tenant's currency is; of a sign that is not known no amount is made, and no other row minds."""

    rows = [TITLES, LEAD, [], ["A-2", *LEAD[1:4], 1500], ["A-3", *LEAD[1:4], 7]]
    books.write(office.use("leads.xlsx"), rows, forms={(3, 4): form})
    office.tools = replace(office.tools, tenant=replace(office.tools.tenant, currency="KZT"))
    deals, bad = await office.read()
    assert [str(deals[key].value) for key in ("A-1", "A-3")] == ["100000.50 KZT", "7.00 KZT"]
    if currency:
        assert str(deals["A-2"].value) == f"1500.00 {currency}"
        assert bad == []
    else:
        assert [(one.key, one.code) for one in bad] == [("lead:A-2", "bad_amount")]


async def test_another_format_is_another_content(office: Office) -> None:
    """Dollars made euros by the format alone: a new version, which is read."""
    versions = set()
    for form in ("[$$-409]#,##0", '#,##0 "€"', '#,##0 "€"'):
        books.write(office.use("leads.xlsx"), [TITLES, LEAD], forms={(1, 4): form})
        (head,) = await office.heads()
        versions.add(head.version)
    assert len(versions) == 2


async def test_a_row_without_an_id_is_the_same_lead_in_every_kind_of_table(office: Office) -> None:
    """Whoever moves on from CSV to a workbook, or sets a time zone, sends nothing again."""
    office.write("Дата;Статус;Телефон\n05.03.2026;Новый;79990000001\n")
    key = (await office.one()).key
    assert (await office.one(timezone="Asia/Omsk")).key == key
    titles = ["Дата", "Статус", "Телефон"]
    for day in (date(2026, 3, 5), "2026-03-05", 46086):
        books.write(office.use("leads.xlsx"), [titles, [day, "Оплачен", 79990000001]])
        assert (await office.one()).key == key


async def test_a_small_number_is_an_id_like_any_other(office: Office) -> None:
    """1001 is lead 1001, not 1001.0; a phone typed as a number keeps its digits."""
    titles = ["№ заявки", "Создана", "Телефон"]
    books.write(office.use("leads.xlsx"), [titles, [1001, CAME, 79990000001]])
    deal = await office.one()
    assert deal.key == "lead:1001"
    assert deal.contacts[0].phones == ("79990000001",)


async def test_the_sheet_is_the_first_visible_one_or_the_named_one(office: Office) -> None:
    """Hidden sheets in front are passed over, and read when they are asked for."""
    books.write(office.use("leads.xlsx"), [TITLES, LEAD], before=("Справка", "Архив"))
    assert (await office.one()).key == "lead:A-1"
    assert (await office.one(sheet="лиды")).key == "lead:A-1"
    with pytest.raises(Drift, match="empty"):
        await office.read(sheet="Архив")
    with pytest.raises(Drift, match='no sheet "Март"; there are: "Справка", "Архив", "Лиды"'):
        await office.read(sheet="Март")


async def test_hidden_rows_are_read_and_merged_cells_have_one_value(office: Office) -> None:
    """A filter hides rows from people, not from the table (contract tables C)."""

    def change(sheet: Any) -> None:
        sheet.set_row(1, None, None, {"hidden": True})
        sheet.merge_range(2, 2, 3, 2, "Отказ")

    rows = [LEAD, ["A-2", CAME, None, PAID], ["A-3", CAME, None, PAID]]
    books.write(office.use("leads.xlsx"), [TITLES, *rows], change=change)
    deals, bad = await office.read()
    assert bad == []
    assert {id: deal.stage for id, deal in deals.items()} == {"A-1": "оплачен", "A-2": "отказ", "A-3": ""}


async def test_formulas_count_with_their_stored_values(office: Office) -> None:
    """No formula is computed; an error, or a value that was never stored, is an empty cell (contract tables C)."""

    def change(sheet: Any) -> None:
        sheet.write_formula(1, 4, "=500+400", None, 900)
        sheet.write_formula(2, 4, "=1/0", None, "#DIV/0!")
        sheet.write_formula(3, 4, "=1+1", None, "")

    rows = [[id, CAME, "Новый"] for id in ("A-1", "A-2", "A-3")]
    books.write(office.use("leads.xlsx"), [TITLES, *rows], change=change)
    deals, bad = await office.read()
    assert bad == []
    assert [deal.value for deal in deals.values()] == [Money(90000, "RUB"), None, None]


async def test_errors_and_formulas_without_a_value_are_told(office: Office) -> None:
    """Programs that write workbooks compute nothing: all amounts would be missing, and nobody would know."""

    def change(sheet: Any) -> None:
        sheet.write_formula(3, 5, "=1/0", None, "#DIV/0!")
        sheet.write_formula(4, 5, "=1+1", None, 4321)
        sheet.write_formula(5, 5, '=""', None, "")

    leads: list[list[Any]] = [[f"A-{n}", CAME, "Оплачен", PAID] for n in range(4)]
    rows = [[None, *row] for row in ([], TITLES, *leads)]
    books.write(office.use("leads.xlsx"), rows, change=change, before=("Справка",))

    def spoil(sheet: bytes) -> bytes:
        """The second formula was never computed; the third gave an empty text, which Excel stores as one."""
        return sheet.replace(b"<v>4321</v>", b"").replace(b'<c r="F6"', b'<c r="F6" t="str"')

    books.edit(office.path, {"xl/worksheets/sheet2.xml": spoil})
    for part in (None, "B2:F9"):
        (told,) = [text for text in await office.told(Level.WARNING, range=part) if "formula" in text]
        assert 'empty: 2 (leads.xlsx, sheet "Лиды": row 4, column "Сумма"; row 5, column "Сумма")' in told
    deals, _ = await office.read()
    assert [deal.value for deal in deals.values()] == [None] * 4
    assert not any("formula" in text for text in await office.told(Level.WARNING, range="B2:E9"))


@pytest.mark.parametrize("part", ["xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/worksheets/sheet1.xml"])
def test_a_workbook_built_in_another_way_is_only_not_gone_through(tmp_path: Path, part: str) -> None:
    """This search may miss something, it never stops a reading that would work."""
    path = tmp_path / "leads.xlsx"
    books.write(path, [TITLES, LEAD], change=lambda sheet: sheet.write_formula(1, 6, "=1/0", None, "#DIV/0!"))
    assert list(without_value(path, "Лиды")) == [(2, 7)]
    assert list(without_value(path, "Март")) == []
    books.edit(path, {part: lambda old: old[: len(old) // 2]})
    assert list(without_value(path, "Лиды")) == []
    assert list(without_value(tmp_path / "missing.xlsx", "Лиды")) == []


async def test_rows_are_counted_as_the_spreadsheet_counts_them(office: Office) -> None:
    """Blank rows above and between count; a range leaves out what stands around the table."""
    rows: list[list[Any]] = [
        [],
        ["Отчёт за март"],
        [None, *TITLES],
        [],
        [None, "A-0", "вчера", "Новый"],
        [None, *LEAD],
        ["Итого", 5],
    ]
    books.write(office.use("leads.xlsx"), rows)
    deals, (bad,) = await office.read(range="B3:G6")
    assert (list(deals), bad.key) == (["A-1"], "lead:A-0")
    assert 'row 5, column "Дата создания"' in bad.message


async def test_a_workbook_is_recognised_by_its_content(office: Office) -> None:
    """A CSV file called .xlsx and a workbook called .csv are what they are."""
    books.write(office.use("leads.csv"), [TITLES, LEAD])
    assert (await office.one()).key == "lead:A-1"
    office.use("leads.xlsx").write_text("id;Дата\n1;02.03.2026\n", encoding="utf-8")
    assert (await office.one()).key == "lead:1"
    with pytest.raises(Drift, match="has no sheets"):
        await office.read(sheet="Лиды")


async def test_reading_twice_gives_the_same_versions_and_a_changed_cell_another(office: Office) -> None:
    """Also when the workbook was saved anew without a change."""
    books.write(office.use("leads.xlsx"), [TITLES, LEAD])
    first = [head.version for head in await office.heads()]
    books.write(office.path, [TITLES, LEAD])
    assert [head.version for head in await office.heads()] == first
    books.write(office.path, [TITLES, [*LEAD[:4], 7, LEAD[5]]])
    assert [head.version for head in await office.heads()] != first


async def test_a_workbook_saved_while_it_is_read_is_read_again_later(office: Office) -> None:
    """Half of an old table and half of a new one is no table."""
    books.write(office.use("leads.xlsx"), [TITLES, *[[f"A-{n}", CAME, "Новый"] for n in range(1200)]])
    scan = office.source().scan(WINDOW)
    await anext(scan)
    books.write(office.path, [TITLES, LEAD])
    with pytest.raises(Unavailable, match="changed"):
        _ = [listing async for listing in scan]


# --- what is refused ---


async def test_a_bomb_is_refused_by_what_it_unpacks_to(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own claims about sizes are not believed."""
    monkeypatch.setattr(workbook, "UNPACKED_MAX", 1_000_000)
    books.write(office.use("leads.xlsx"), [TITLES, LEAD])
    assert (await office.one()).key == "lead:A-1"
    books.edit(office.path, {"xl/worksheets/sheet1.xml": lambda old: old + b" " * 2_000_000})
    books.understate_sizes(office.path)
    with pytest.raises(Drift, match="unpacks to more"):
        await office.read()


async def test_a_part_that_is_packed_beyond_all_measure_is_refused(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand to one is no table, even below the limit."""
    monkeypatch.setattr(workbook, "RATIO_FROM", 100_000)
    books.write(office.use("leads.xlsx"), [TITLES, LEAD])
    books.edit(office.path, {"xl/theme/theme1.xml": lambda old: old + b" " * 9_000_000})
    with pytest.raises(Drift, match="far more"):
        await office.read()


async def test_external_entities_are_refused(office: Office) -> None:
    """No spreadsheet writes a document type; a file that has one wants something else."""
    books.write(office.use("leads.xlsx"), [TITLES, LEAD])
    books.edit(office.path, {"xl/sharedStrings.xml": lambda old: old.replace(b"<sst", BAD_XML + b"<sst", 1)})
    with pytest.raises(Drift, match="document type"):
        await office.read()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PK\x03\x04" + bytes(range(256)) * 40, "no readable workbook .damaged"),
        (OPEN_DOCUMENT, "no readable workbook .an OpenDocument table"),
        (b"\xef\xbb\xbf\r\n<HTML><table><tr><td>79161234567", "is a web page or XML; open it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(4096), "old .xls or has a password"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "is a PDF; save the table itself"),
        (b"\x1f\x8b\x08\x00leads.csv\x00", "packed by gzip"),
    ],
)
async def test_a_damaged_an_old_and_a_locked_workbook_say_what_to_do(office: Office, content: bytes, told: str) -> None:
    """Save it as XLSX."""
    office.use("leads.xlsx").write_bytes(content)
    with pytest.raises(Drift, match=told):
        await office.read()


async def test_an_archive_that_holds_no_workbook_is_drift(office: Office) -> None:
    """A ZIP file is not yet a workbook; nor is one whose parts are cut."""
    books.write(office.use("leads.xlsx"), [TITLES, LEAD])
    books.edit(office.path, {"xl/workbook.xml": lambda _: b"<html/>"})
    with pytest.raises(Drift):
        await office.read()
    books.write(office.path, [TITLES, LEAD])
    books.edit(office.path, {"xl/worksheets/sheet1.xml": lambda old: old[: len(old) // 2]})
    with pytest.raises(Drift):
        await office.read()


async def test_a_missing_workbook_is_unavailable(office: Office) -> None:
    """It may be on its way; the message names it."""
    office.use("leads.xlsx")
    with pytest.raises(Unavailable, match=r"leads\.xlsx"):
        await office.read()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1001, "1001"),
        (1001.0, "1001"),
        (100000.5, "100000.5"),
        (0.1 + 0.2, "0.3"),
        (46086.3802083333, "46086.3802083333"),
        (999999999999999, "999999999999999"),
        (10**15, "1.00000000000000E+15"),
        (1772690000123456789, "1.77269000012346E+18"),
    ],
)
def test_a_number_has_fifteen_digits(number: float, text: str) -> None:
    """As a spreadsheet shows it; beyond them it says that they are lost."""
    assert numeral(number) == text


@pytest.mark.parametrize("is_1904", [False, True])
def test_another_reader_sees_the_same_cells(tmp_path: Path, is_1904: bool) -> None:
    """python-calamine: days, times, lengths of time, signs that XML cannot hold, texts with formats inside."""
    path = tmp_path / "any.xlsx"
    forms = [
        "General",
        "dd.mm.yyyy",
        "[$-419]d mmmm yyyy;@",
        "h:mm",
        "[h]:mm:ss",
        '0.0" days"',
        "@",
        "#,##0.00_р_.",
        "mm:ss",
    ]
    numbers = [0.25, 1, 59, 60.5, 61, 46083, 46083.4376736, 46083.99999999, 1001.0, 0.1 + 0.2, 12345.678]
    texts = ["two\nlines", " spaces ", "\x0b", "_x0041_", "_x000D_\r", "😀", "a&b<c>", "'1234", "\u00a0", "#N/A"]
    rows: list[list[Any]] = [[*numbers], [], [*texts], [True, False, None, "end"]]
    rows += [[*numbers] for _ in forms]
    places = {(row, column): form for row, form in enumerate(forms, start=4) for column in range(len(numbers))}

    def change(sheet: Any) -> None:
        book = xlsxwriter.Workbook()
        sheet.write_rich_string(20, 1, "one ", book.add_format({"bold": True}), "two", " three")
        sheet.write_number(21, 2, 46083.5, None)

    books.write(path, rows, is_1904=is_1904, forms=places, change=change)
    with closing(load_workbook(str(path))) as book:
        rows = book.get_sheet_by_index(0).to_python()
    theirs = {(n, c): whole(v) for n, row in enumerate(rows, 1) for c, v in enumerate(row) if v != ""}
    grid = workbook.open_workbook(path, None)
    ours = {(line.number, c): str(text) for line in grid.lines() for c, text in enumerate(line.cells) if text}
    assert ours == theirs


async def test_workbooks_of_other_programs_are_read(office: Office) -> None:
    """Texts inside cells, also in pieces; cells and rows that do not say where they are; ISO times; odd names."""
    books.write(office.use("leads.xlsx"), [TITLES, *[["A-1", CAME, "Новый", PAID, 5]] * 2])

    def rewritten(old: bytes) -> bytes:
        head, rest = old.split(b'<row r="2"', 1)
        pieces = "<is><r><t>A</t></r><r><t>-9</t></r><rPh sb='0' eb='1'><t>x</t></rPh></is>"
        cells = f"<c t='inlineStr'>{pieces}</c><c t='d'><v>2026-03-02T10:30:15</v></c><c t='str'><v>Новый</v></c>"
        row = f"<row>{cells}<c/><c><v>7.50</v></c></row>".encode()
        return head + row + b"</sheetData>" + rest.split(b"</sheetData>", 1)[1]

    def renamed(part: bytes) -> bytes:
        return part.replace(b"sharedStrings.xml", b"SharedStrings.xml")

    books.edit(office.path, {"xl/worksheets/sheet1.xml": rewritten})
    office.path.write_bytes(renamed(office.path.read_bytes()))
    deal = await office.one()
    assert (deal.id, deal.stage, deal.value) == ("A-9", "новый", Money(750, "RUB"))
    assert deal.created_at == datetime(2026, 3, 2, 7, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'<row r="3"', b'<row r="1"'), (b'<row r="3"', b'<row r="9999999"'), (b"<v>6</v>", b"<v>600</v>")],
)
async def test_a_sheet_that_contradicts_itself_is_drift(office: Office, old: bytes, new: bytes) -> None:
    """Rows that go backwards or beyond every sheet, and a shared text that is not there: no row is guessed."""
    books.write(office.use("leads.xlsx"), [TITLES, LEAD, ["A-2", CAME, "Новый"]])
    books.edit(office.path, {"xl/worksheets/sheet1.xml": lambda part: part.replace(old, new, 1)})
    with pytest.raises(Drift, match="no readable workbook"):
        await office.read()


def whole(value: Any) -> str:
    """A cell of the other reader as text; it does not round lengths of time to the second."""
    is_length = isinstance(value, timedelta)
    return text_of(timedelta(seconds=round(value.total_seconds())) if is_length else value)


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn"), exclude_characters="_"), max_size=12)
KOPECKS = st.decimals(-(10**9), 10**9, places=2).map(float)  # XlsxWriter itself rounds at the 16th digit
CELLS = st.one_of(TEXTS, st.booleans(), st.integers(-(10**14), 10**14), KOPECKS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=6))
def test_every_cell_comes_back_as_it_was_written(tmp_path: Path, rows: list[list[Any]]) -> None:
    """Texts letter for letter, numbers to their 15 digits, in their rows."""
    path = tmp_path / "any.xlsx"
    books.write(path, rows)
    grid = workbook.open_workbook(path, None)
    read = {(line.number, place): text for line in grid.lines() for place, text in enumerate(line.cells) if text}
    written = {(number, place): text_of(cell) for number, row in enumerate(rows, 1) for place, cell in enumerate(row)}
    assert read == {place: text for place, text in written.items() if text}
