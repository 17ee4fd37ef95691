"""Tables as Russian offices write them become deals; what cannot be read is named by row and column."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.table.columns import recognise
from adapters.table.delimited import inspect, lines
from adapters.table.reading import PAGE
from bridge.clues import read as read_clues
from bridge.errors import Drift, Unavailable
from bridge.model import Deal, IdKind, Money, Outcome
from bridge.ports import Level, Window
from bridge.sim.clock import ManualClock
from bridge.tools import Tools
from tests.adapters.table.kit import HEADER, NOW, WINDOW, Office, moments
from tests.support import adapter_tools

# --- files as they come ---


async def test_an_excel_file_in_cp1251(office: Office) -> None:
    """Semicolons, NBSP thousands, decimal commas, padded titles, a lost ClientID (contract tables F1, F12)."""
    office.sample("excel_cp1251.csv")
    deals, bad = await office.read()
    assert bad == []
    assert [deal.value for deal in deals.values()] == [None, Money(123456, "RUB"), Money(-50000, "RUB")]
    assert [deal.outcome for deal in deals.values()] == [Outcome.OPEN, Outcome.WON, Outcome.LOST]
    assert [deal.created_at.hour for deal in deals.values()] == [7, 9, 6]
    assert deals["B-1"].fields["Отчёт"] == ("март",)
    assert deals["B-1"].contacts[0].phones == ("8 (999) 000-00-01",)
    assert read_clues(deals["B-2"]).identifiers[0].value == "1772690000123456790"
    assert read_clues(deals["B-3"]).garbage[0].reason == "scientific_notation"


async def test_an_export_in_utf8_with_a_quoted_line_break(office: Office) -> None:
    """Byte order mark, commas, English titles, quotes inside quotes (F2); personal cells are in no field."""
    office.sample("utf8_bom_quotes.csv")
    deals, bad = await office.read()
    assert bad == []
    assert deals["1001"].value == Money(123450, "USD")
    assert moments(deals["1001"]) == [("paid", "05.03 12:00")]
    assert deals["1002"].history[-1].at == datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
    assert read_clues(deals["1001"]).identifiers[0].kind is IdKind.GCLID
    assert "second line" not in str(deals["1001"].fields)
    assert "ivan@example.com" not in str(deals["1001"].fields) + repr(deals["1001"])


async def test_unicode_text_with_tabs_and_a_sep_line(office: Office) -> None:
    """UTF-16, a declared delimiter, spreadsheet serials, Unix seconds (F3)."""
    office.sample("unicode_text.txt")
    deals, bad = await office.read()
    assert bad == []
    assert deals["7"].created_at == datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    assert deals["8"].created_at == datetime(2026, 3, 2, 9, 15, tzinfo=UTC)
    assert (deals["7"].value, deals["7"].outcome) == (Money(10_000_000, "RUB"), Outcome.WON)
    assert read_clues(deals["7"]).identifiers[0].value == "12345678901234567890"


async def test_the_table_of_the_docs(office: Office) -> None:
    """The demo's table: 40 leads, one with an impossible date; ids in fields and in URLs, one of them destroyed."""
    office.sample("leads.csv", "docs")
    deals, bad = await office.read()
    assert len(deals) == 39
    assert [item.code for item in bad] == ["bad_date"]
    readings = {id: read_clues(deal) for id, deal in deals.items()}
    methods = {method.value for reading in readings.values() for method, _ in reading.found[:1]}
    assert methods == {"field", "url"}
    assert [g.reason for r in readings.values() for g in r.garbage] == ["scientific_notation", "undefined"]
    assert moments(deals["A-1005"])[0][0] == "квалифицирован"
    assert all(deal.updated_at < NOW for deal in deals.values())


@pytest.mark.parametrize("encoding", ["koi8-r", "mac-cyrillic"])
async def test_rarer_encodings_are_read_only_when_named(office: Office, encoding: str) -> None:
    """They are not guessed: a wrong guess would garble every name."""
    office.write(HEADER + "1;02.03.2026;Оплачен;10;;;\n", encoding)
    with pytest.raises(Drift, match="encoding"):
        await office.read()
    deals, _ = await office.read(encoding=encoding)
    assert deals["1"].outcome is Outcome.WON


async def test_a_header_below_a_title_is_found_by_its_row(office: Office) -> None:
    """``header_row`` skips what stands above the table; blank rows above it need no setting."""
    office.write("Отчёт за март;;;;;;\n" + HEADER + "1;02.03.2026;Новый;;;;\n")
    with pytest.raises(Drift, match="date"):
        await office.read()
    assert list((await office.read(header_row=2))[0]) == ["1"]
    office.write("\n;;;\n" + HEADER + "1;02.03.2026;Новый;;;;\n")
    assert list((await office.read())[0]) == ["1"]


# --- headers ---


async def test_repeated_titles_are_an_error_that_lists_them(office: Office) -> None:
    """Which of two equal columns is meant, nobody can say."""
    office.write("ID;Дата;Сумма;сумма \n1;02.03.2026;5;6\n")
    with pytest.raises(Drift, match="сумма"):
        await office.read()


async def test_two_columns_for_one_role_need_a_choice(office: Office) -> None:
    """The message holds the very setting that makes it; the other column becomes a field."""
    office.write("ID;Дата;Сумма;Бюджет\n1;02.03.2026;5;6\n")
    with pytest.raises(Drift, match=r'columns = \{ amount = "Сумма" \}'):
        await office.read()
    deals, _ = await office.read(columns={"amount": "Бюджет"})
    assert deals["1"].value == Money(600, "RUB")
    assert deals["1"].fields["Сумма"] == ("5",)


async def test_a_missing_column_or_date_is_an_error_that_shows_what_is_there(office: Office) -> None:
    """A renamed column stops the reading instead of emptying every deal."""
    office.write("ID;Когда\n1;02.03.2026\n")
    with pytest.raises(Drift, match='"Когда"'):
        await office.read()
    with pytest.raises(Drift, match='"Дата"'):
        await office.read(columns={"created_at": "Дата"})
    assert "1" in (await office.read(columns={"created_at": "когда"}))[0]


def test_an_ad_source_column_is_utm_source_only_if_there_is_no_other() -> None:
    """Contract tables E; in both cases it names the lead's origin."""
    alone = recognise(1, ["Дата", "Источник"], {})
    beside = recognise(1, ["Дата", "Источник", "utm_source"], {})
    assert (alone.roles["utm_source"], alone.origin) == ("Источник", "Источник")
    assert (beside.roles["utm_source"], beside.origin) == ("utm_source", "Источник")
    assert beside.own == ("Источник",)


@pytest.mark.parametrize(
    ("value", "kinds"), [("123456", []), ("1772690000123456789", [IdKind.CLIENT_ID]), ("1,77E+18", [])]
)
async def test_a_trackers_short_ym_uid_is_no_client_id(office: Office, value: str, kinds: list[IdKind]) -> None:
    """Callibri's own numbers stand under a title that elsewhere means the ClientID (contract tables E)."""
    office.write(f"id;Дата;ym_uid\n1;02.03.2026;{value}\n")
    deals, _ = await office.read()
    assert [found.kind for found in read_clues(deals["1"]).identifiers] == kinds


async def test_identifiers_are_found_in_mapped_columns_urls_utm_and_comments(office: Office) -> None:
    """Order is preference: the configured field first; a comment counts only if an identifier was pasted there."""
    office.write(
        "id;Дата;Метка;yclid;Посадочная страница;utm_content;Комментарий\n"
        "1;02.03.2026;111111111111;222222222222;https://okna.example/?yclid=333333333333;yclid:444444444444;перезвонить\n"
        "2;02.03.2026;;;;yclid:444444444444;см. yclid=555555555555\n"
    )
    deals, _ = await office.read(fields={"yclid": "метка"})
    assert [clue.text[-12:] for clue in deals["1"].clues] == ["1" * 12, "2" * 12, "3" * 12, "4" * 12]
    assert [clue.where for clue in deals["1"].clues][2:] == ["field Посадочная страница", "utm_content"]
    assert [clue.where for clue in deals["2"].clues] == ["utm_content", "field Комментарий"]


# --- bad cells ---


@pytest.mark.parametrize(
    ("row", "code", "column"),
    [
        ("1;вчера;Новый;5;;;", "bad_date", "Дата создания"),
        ("1;02.03.2026;Новый;секрет;;;", "bad_amount", "Сумма"),
        ("1;02.03.2026;Новый;1.234;;;", "bad_amount", "Сумма"),
        ("1;02.04.2026;Новый;5;;;", "date_in_future", "Дата создания"),
        ("1;;Новый;5;;;", "no_date", "Дата создания"),
        ("1,2E+15;02.03.2026;Новый;5;;;", "id_precision_lost", "ID сделки"),
        ("1;02.03.2026;Новый;5;;;;лишнее", "extra_cells", ""),
        (";;Новый;5;;;", "no_identity", ""),
    ],
)
async def test_a_bad_cell_sets_its_row_aside_and_the_rest_goes_on(
    office: Office, row: str, code: str, column: str
) -> None:
    """The message names row and column, never what stands there."""
    office.write(HEADER + "7;02.03.2026;Новый;5;;;\n" + row + "\n8;03.03.2026;Новый;6;;;\n")
    deals, (bad,) = await office.read()
    assert list(deals) == ["7", "8"]
    assert bad.code == code
    assert "row 3" in bad.message
    assert column in bad.message
    assert not any(cell in bad.message for cell in row.split(";") if len(cell) > 1)


PRICED = "ID сделки;Дата создания;Сумма;Валюта\n"


@pytest.mark.parametrize(
    ("cells", "value"),
    [
        ("1 000 $;", "1000.00 USD"),
        ("1 000$;", "1000.00 USD"),
        ("€500;", "500.00 EUR"),
        ("500 ₽;", "500.00 RUB"),
        ("500;", "500.00 RUB"),
        ("$500;USD", "500.00 USD"),
        ("500 руб.;RUR", "500.00 RUB"),
        ("500;EUR", "500.00 EUR"),
    ],
)
async def test_an_amount_is_in_the_currency_that_its_sign_names(office: Office, cells: str, value: str) -> None:
    """The tenant's currency is only for amounts that come without any."""
    office.write(f"{PRICED}1;02.03.2026;{cells}\n")
    assert str((await office.one()).value) == value


@pytest.mark.parametrize("cells", ["500 $;RUB", "500 ₽;USD", "€500;$", "£500;", "$500 ₽;"])
async def test_an_amount_whose_sign_is_contradicted_or_unknown_is_refused(office: Office, cells: str) -> None:
    """Money in the wrong currency is worse than none: row and column are named."""
    office.write(f"{PRICED}1;02.03.2026;{cells}\n2;02.03.2026;5;\n")
    deals, (bad,) = await office.read()
    assert list(deals) == ["2"]
    assert bad.code == "bad_amount"
    assert 'row 2, column "Сумма": not an amount' in bad.message


async def test_an_open_quote_costs_one_row(office: Office) -> None:
    """The rows after it are read as if it were not there, at the end of the file and far before it."""
    many = "".join(f"{number};03.03.2026;Новый;6;;;\n" for number in range(100, 700))
    office.write(HEADER + '1;02.03.2026;"Новый;5;;;\n' + many + '2;02.03.2026;"Новый;5;;;')
    deals, bad = await office.read()
    assert len(deals) == 600
    assert [item.code for item in bad] == ["open_quote", "open_quote"]


async def test_inch_marks_inside_a_cell_are_no_quotes(office: Office) -> None:
    """Only a quote at the beginning of a cell opens one."""
    office.write('id;Дата;Размер;Примечание\n1;02.03.2026;окно 5";"две\nстроки"\n2;02.03.2026;x;\n')
    deals, bad = await office.read()
    assert (list(deals), bad) == (["1", "2"], [])
    assert deals["1"].fields["Размер"] == ('окно 5"',)


async def test_check_reports_how_the_table_is_read_and_what_is_wrong(office: Office) -> None:
    """Encoding, delimiter, roles, counts, the first bad rows; no exception for a missing file."""
    office.sample("leads.csv", "docs")
    findings = await office.source(fields={"gclid": "нет такой"}).check()
    texts = [finding.message for finding in findings]
    assert "cp1251, delimiter ;" in texts[0]
    assert "39 deals can be read, 1 cannot" in texts
    assert any("row 35" in text or "Дата статуса" in text for text in texts[2:])
    (configured,) = [finding for finding in findings if finding.subject == "fields.gclid"]
    assert (configured.level, "нет такой" in configured.message) == (Level.WARNING, True)
    office.path.unlink()
    (missing,) = await office.source().check()
    assert (missing.level, "there is no table" in missing.message) == (Level.ERROR, True)


# --- deals over time ---


async def test_rows_of_one_id_are_moments_of_one_deal(office: Office) -> None:
    """Earlier rows are earlier stages, by their dates; empty cells of the latest row are filled from before (F11)."""
    office.write(
        HEADER
        + "1;02.03.2026 10:00;Оплачен;900;;;06.03.2026 10:00\n"
        + "2;02.03.2026 10:00;Новый;;;;\n"
        + "1;02.03.2026 10:00;Новый;;89990000001;123456789012;02.03.2026 10:00\n"
        + "1;02.03.2026 10:00;В работе;100;;;04.03.2026 10:00\n"
    )
    deals, bad = await office.read()
    assert bad == []
    assert moments(deals["1"]) == [("новый", "02.03 07:00"), ("в работе", "04.03 07:00"), ("оплачен", "06.03 07:00")]
    assert deals["1"].value == Money(90000, "RUB")
    assert deals["1"].clues[0].text == "123456789012"
    assert deals["1"].contacts[0].phones == ("89990000001",)
    assert deals["1"].closed_at == deals["1"].history[-1].at


async def test_a_reverted_status_is_history(office: Office) -> None:
    """Paid, new again, paid again (F10): three entries, the first payment with its own time."""
    dates = ("03.03.2026 10:00", "04.03.2026 10:00", "05.03.2026 10:00")
    rows = zip(("Оплачен", "Новый", "Оплачен"), dates, strict=True)
    office.write(HEADER + "".join(f"1;02.03.2026;{status};5;;;{at}\n" for status, at in rows))
    deals, _ = await office.read()
    assert [stage for stage, _ in moments(deals["1"])] == ["оплачен", "новый", "оплачен"]


async def test_sorting_the_table_changes_nothing(office: Office) -> None:
    """Keys and versions hang on content, not on places (F9)."""
    body = [f"{n % 40};0{1 + n % 9}.03.2026 10:{n}:00;Этап {n % 7};{n};;;\n" for n in range(10, 60)]
    office.write(HEADER + "".join(body))
    before = {(head.key, head.version) for head in await office.heads()}
    office.write(HEADER + "".join(reversed(body)))
    assert {(head.key, head.version) for head in await office.heads()} == before


async def test_any_change_of_a_row_or_of_its_reading_changes_the_version(office: Office) -> None:
    """An edited cell, another word for "won", another time zone: each is read anew, the other row is not."""
    row, other = "1;02.03.2026;Новый;5;;;\n", "2;02.03.2026;Новый;5;;;\n"
    office.write(HEADER + row + other)
    first = {head.key: head.version for head in await office.heads()}
    office.write(HEADER + row.replace("5", "6") + other)
    second = {head.key: head.version for head in await office.heads()}
    assert [key for key in first if first[key] != second[key]] == ["lead:1"]
    for option in ({"won": ["новый"]}, {"timezone": "Asia/Omsk"}, {"decimal": ","}):
        assert {head.version for head in await office.heads(**option)}.isdisjoint(second.values())


async def test_a_row_without_an_id_is_known_by_what_does_not_change(office: Office) -> None:
    """A new status keeps the key; another person or date makes another deal; same rows are one deal."""
    start = "Дата;Телефон;Статус;Сумма\n"
    row = "02.03.2026;89990000001;Новый;\n"
    office.write(start + row)
    (first,) = await office.heads()
    office.write(start + row.replace("Новый;", "Оплачен;500"))
    (second,) = await office.heads()
    office.write(start + row + row + row.replace("89990000001", "89990000002"))
    keys = [head.key for head in await office.heads()]
    assert first.key == second.key
    assert first.version != second.version
    assert len(set(keys)) == len(keys) == 2
    assert first.key in keys


async def test_won_and_lost_are_words_of_a_list(office: Office) -> None:
    """Defaults in both languages, own words instead; case, ё and spaces do not matter."""
    office.write(HEADER + "1;02.03.2026;успешно  реализовано;;;;\n2;02.03.2026;Отменён;;;;\n3;02.03.2026;Договор;;;;\n")
    deals, _ = await office.read()
    assert [deal.outcome.value for deal in deals.values()] == ["won", "lost", "open"]
    deals, _ = await office.read(won="ДОГОВОР")
    assert [deal.outcome.value for deal in deals.values()] == ["open", "lost", "won"]


async def test_the_catalogue_is_what_occurs_and_stays_open(office: Office) -> None:
    """Stages by pipeline with their meaning, loss reasons, columns."""
    office.write("id;Дата;Воронка;Статус;Причина\n1;02.03.2026;Розница;Новый;\n2;02.03.2026;Опт;Отказ;Дорого\n")
    catalogue = await office.source().catalogue()
    assert catalogue.is_open
    assert [(p.id, p.name, [(s.name, s.outcome.value) for s in p.stages]) for p in catalogue.pipelines] == [
        ("розница", "Розница", [("Новый", "open")]),
        ("опт", "Опт", [("Отказ", "lost")]),
    ]
    assert catalogue.loss_reasons == (("дорого", "Дорого"),)
    assert "Воронка" in catalogue.fields


async def test_fetch_brings_only_what_is_asked_for(office: Office) -> None:
    """Unknown keys are left out."""
    office.write(HEADER + "1;02.03.2026;Новый;;;;\n2;вчера;Новый;;;;\n3;02.03.2026;Новый;;;;\n")
    listing = await office.source().fetch(["lead:1", "lead:2", "lead:9"])
    assert [head.key for head in listing.heads] == ["lead:1"]
    assert [item.key for item in listing.bad] == ["lead:2"]


# --- unchanged tables ---


async def remembered(office: Office, marks: str | None, **options: Any) -> tuple[int, str | None]:
    """How many deals a poll lists that remembers these marks, and what it remembers afterwards."""
    listings = [listing async for listing in office.source(**options).scan(Window(NOW, NOW, marks))]
    told = [listing.marks for listing in listings if listing.marks is not None]
    return sum(len(listing.heads) for listing in listings), told[-1] if told else marks


async def test_a_poll_of_an_unchanged_table_lists_nothing(office: Office, tools: Tools) -> None:
    """Until it is saved anew, read in another way, or a day has passed; a backfill always reads it."""
    row = "1;02.03.2026;Новый;5;;;\n"
    office.write(HEADER + row)
    first, marks = await remembered(office, "")
    assert (first, await remembered(office, marks)) == (1, (0, marks))
    assert (await remembered(office, None))[0] == 1
    for options in ({"won": ["новый"]}, {"range": "A1:G9"}, {"header_row": 1}):
        assert (await remembered(office, marks, **options))[0] == 1
    office.write(HEADER + row + "2;02.03.2026;Новый;5;;;\n")
    assert (await remembered(office, marks))[0] == 2
    assert isinstance(tools.clock, ManualClock)
    marks = (await remembered(office, marks))[1]
    tools.clock.advance(timedelta(days=1))
    assert (await remembered(office, marks))[0] == 2


async def test_a_table_with_an_unreadable_row_is_read_again_at_each_poll(office: Office) -> None:
    """A date in the future becomes one of the past without anybody saving the table."""
    office.write(HEADER + "1;02.03.2026;Новый;5;;;\n2;02.04.2026;Новый;5;;;\n")
    assert await remembered(office, "") == (1, "")


# --- size and trouble ---


async def test_a_long_table_comes_in_pages_each_deal_once(office: Office) -> None:
    """Pages are bounded, the share read grows to one, and rows of one deal meet wherever they stand."""
    rows = [f"{n};02.03.2026 10:00;Новый;;;;\n" for n in range(2 * PAGE)]
    again = [f"{n};02.03.2026 10:00;Оплачен;;;;05.03.2026\n" for n in range(0, 2 * PAGE, 100)]
    office.write(HEADER + "".join(rows + again))
    listings = [listing async for listing in office.source().scan(WINDOW)]
    heads = [head for listing in listings for head in listing.heads]
    assert max(len(listing.heads) for listing in listings) <= PAGE
    assert len({head.key for head in heads}) == len(heads) == 2 * PAGE
    assert sum(len(head.row.rows) == 2 for head in heads) == len(again)
    shares = [listing.done or 0 for listing in listings]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


async def test_a_file_that_changes_while_it_is_read_is_read_again_later(office: Office) -> None:
    """Half of an old table and half of a new one is no table."""
    office.write(HEADER + "".join(f"{n};02.03.2026;Новый;;;;\n" for n in range(3 * PAGE)))
    scan = office.source().scan(WINDOW)
    await anext(scan)
    office.write(office.path.read_text(encoding="utf-8") + "9999;02.03.2026;Новый;;;;\n")
    with pytest.raises(Unavailable, match="changed"):
        _ = [listing async for listing in scan]


async def test_a_listed_row_means_what_it_meant_when_it_was_listed(office: Office) -> None:
    """Somebody renames a column while a page is on its way: the old rows are not read by the new titles."""
    office.write(HEADER + "1;02.03.2026;Оплачен;5;;;\n")
    source = office.source()
    heads = [head async for listing in source.scan(WINDOW) for head in listing.heads]
    office.write("ID сделки;Дата создания;Состояние\n1;02.03.2026;Новый\n")
    await source.catalogue()
    (deal,) = await source.complete(heads, frozenset(), WINDOW)
    assert isinstance(deal, Deal)
    assert (deal.stage, deal.value) == ("оплачен", Money(500, "RUB"))


@pytest.mark.parametrize("content", [b"", b"\n\n", b";;;\n", b"PK\x03\x04" + bytes(range(256)) * 40])
async def test_what_is_no_table_is_drift(office: Office, content: bytes) -> None:
    """An empty file or a workbook under a wrong name keeps the cursor and alarms."""
    office.path.write_bytes(content)
    with pytest.raises(Drift):
        await office.read()


@pytest.mark.parametrize(
    "option",
    [
        {"encoding": "no-such"},
        {"delimiter": ";;"},
        {"timezone": "Moscow"},
        {"columns": {"nonsense": "x"}},
        {"surprise": 1},
    ],
)
def test_wrong_settings_are_refused(office: Office, option: dict[str, Any]) -> None:
    """Before anything is read."""
    with pytest.raises(ValidationError):
        office.source(**option)


async def test_real_tools_build_the_source(tmp_path: Path) -> None:
    """The table is looked up in the configuration's folder, in the tenant's zone."""
    async with adapter_tools(ManualClock(NOW), tmp_path) as made:
        office = Office(made)
        office.write(HEADER + "1;02.03.2026 12:00;Новый;;;;\n")
        deals, _ = await office.read()
        assert deals["1"].created_at == datetime(2026, 3, 2, 9, tzinfo=UTC)


CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t"), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=8), st.sampled_from([";", ",", "\t"]))
def test_every_quoted_cell_comes_back(tmp_path: Path, rows: Sequence[Sequence[str]], delimiter: str) -> None:
    """Delimiters, quotes and line breaks inside cells survive writing by one program and reading by ours."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b", "c"], *rows])
    path = tmp_path / "any.csv"
    path.write_bytes(out.getvalue().encode("utf-8-sig"))
    read = [line.cells for line in lines(inspect(path, delimiter=delimiter))]
    assert read == [["a", "b", "c"], *map(list, rows)]
