"""Cells are read as people mean them, and refused where they may mean two things."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from unicodedata import category, normalize
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.table.columns import normal_title
from adapters.table.grid import DAY_ZERO, DAY_ZERO_1904, numeral
from adapters.table.values import (
    DecimalMark,
    Times,
    bare,
    clean,
    has_doubtful_comma,
    is_cell_error,
    is_precision_lost,
    normal,
    parse_amount,
    parse_currency,
    parse_id,
    parse_time,
    split_contacts,
)
from bridge.frozen import replace

MOSCOW = ZoneInfo("Europe/Moscow")
NOON = time(12)
TIMES = Times(MOSCOW, NOON)
# Local times, without a zone on purpose.
SOON_ENOUGH, LATE_ENOUGH = datetime.fromisoformat("1991-01-02"), datetime.fromisoformat("2080-01-01")
AMOUNTS = st.decimals(min_value=0, max_value=10**12, places=2)


def at(text: str) -> datetime:
    return parse_time(text, TIMES)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1 234,56", "1234.56"),
        ("1\u00a0234,56", "1234.56"),
        ("1\u202f234,56", "1234.56"),
        ("1234.56", "1234.56"),
        ("1,234.56", "1234.56"),
        ("1.234,56", "1234.56"),
        ("1,234,567", "1234567"),
        ("1.234.567", "1234567"),
        ("100 000 ₽", "100000"),
        ("100000 руб.", "100000"),
        ("100 000 р.", "100000"),
        ("$1,234.50", "1234.50"),
        ("(500)", "-500"),
        ("\u2212500", "-500"),
        ("-1 234,5", "-1234.5"),
        ("1,5", "1.5"),
        ("1,234", "1.234"),
        ("0", "0"),
    ],
)
def test_an_amount_is_read_as_russian_and_english_tables_write_it(text: str, amount: str) -> None:
    """Contract tables D, column "accept"."""
    assert parse_amount(text)[0] == Decimal(amount)


@pytest.mark.parametrize(
    "text",
    [
        "1.234",
        "12 34",
        "1,23,456",
        "1.2.3",
        "1e5",
        "1,77511E+18",
        "abc",
        "12a",
        "--5",
        "1,234.567,8",
        "1" * 14,
        "NaN",
        "₽",
        "()",
        "",
    ],
)
def test_an_ambiguous_or_foreign_amount_is_refused(text: str) -> None:
    """Refused without repeating the text, which may be anything."""
    with pytest.raises(ValueError, match="amount") as caught:
        parse_amount(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "mark", "amount"),
    [
        ("1.234", ".", "1.234"),
        ("1.234", ",", "1234"),
        ("1,234", ".", "1234"),
        ("1,234", ",", "1.234"),
        ("1,5", ".", None),
    ],
)
def test_the_column_option_settles_what_is_ambiguous(text: str, mark: DecimalMark, amount: str | None) -> None:
    """``decimal`` says which of the two marks is the decimal one; the other then groups thousands."""
    if amount is None:
        with pytest.raises(ValueError, match="amount"):
            parse_amount(text, mark)
    else:
        assert parse_amount(text, mark)[0] == Decimal(amount)


@pytest.mark.parametrize(
    ("text", "is_doubtful"),
    [
        *((text, True) for text in ("25,000", "1,234", "-1,234", "(12,345)", "12,345 ₽", "$25,000", "999,999 руб.")),
        *((text, False) for text in ("0,500", "1234,567", "1 234,567", "1,234.50", "1,234,567", "25,00", "25,0000")),
        *((text, False) for text in ("1.234", "abc", "", "1,2345", ",123")),
        (numeral(25.123), False),
    ],
)
def test_a_comma_that_may_group_thousands_is_recognised(text: str, is_doubtful: bool) -> None:
    """One comma before three digits, and one to three before it: a decimal one by the contract, and perhaps not."""
    assert has_doubtful_comma(text) is is_doubtful


@given(st.integers(1, 999), st.integers(0, 999))
def test_whatever_has_a_doubtful_comma_has_two_readings(before: int, behind: int) -> None:
    """And so the setting ``decimal`` decides."""
    text = f"{before},{behind:03}"
    assert has_doubtful_comma(text)
    assert parse_amount(text, ".")[0] == before * 1000 + behind
    assert parse_amount(text)[0] == parse_amount(text, ",")[0] == Decimal(f"{before}.{behind:03}")


@given(
    AMOUNTS,
    st.sampled_from([" ", "\u00a0", "\u202f", ".", ""]),
    st.sampled_from(["", " ₽", " руб.", " р."]),
    st.booleans(),
)
def test_any_russian_amount_survives_its_own_writing(value: Decimal, group: str, unit: str, is_negative: bool) -> None:
    """Group marks, units and signs change nothing of the number."""
    text = f"{value:,.2f}".replace(",", "#").replace(".", ",").replace("#", group) + unit
    assert parse_amount(f"-{text}" if is_negative else text)[0] == (-value if is_negative else value)


CURRENCY_SIGNS = [chr(code) for code in range(0x110000) if category(chr(code)) == "Sc"]


@given(AMOUNTS, st.sampled_from(CURRENCY_SIGNS), st.booleans(), st.sampled_from(["", " ", "\u00a0"]))
def test_no_sign_of_a_currency_is_ever_dropped(value: Decimal, sign: str, is_behind: bool, gap: str) -> None:
    """Of all signs of Unicode: the amount is in the sign's own currency, or it is refused."""
    known = {"₽": "RUB", "$": "USD", "€": "EUR"}.get(normalize("NFKC", sign))
    text = f"{value}{gap}{sign}" if is_behind else f"{sign}{gap}{value}"
    if known is None:
        with pytest.raises(ValueError, match="amount"):
            parse_amount(text)
    else:
        assert parse_amount(text) == (value, known)


@pytest.mark.parametrize("text", ["$500 ₽", "€$5", "$$5", "500 € руб.", "$ 5 р.", "5₽₽", "500 USD", "£5"])
def test_two_signs_or_an_unknown_one_are_no_amount(text: str) -> None:
    """What one sign says must not be lost behind the other."""
    with pytest.raises(ValueError, match="not an amount"):
        parse_amount(text)


@given(AMOUNTS)
def test_any_english_amount_survives_its_own_writing(value: Decimal) -> None:
    """Commas for thousands and two decimals leave no doubt."""
    assert parse_amount(f"{value:,.2f}")[0] == value


@given(st.text(max_size=30))
def test_no_text_breaks_a_parser(text: str) -> None:
    """Whatever stands in a cell: a value or a ValueError, never another exception."""
    for parse in (parse_amount, at, parse_currency, parse_id):
        with suppress(ValueError):
            parse(text)
    split_contacts(clean(text))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("05.03.2026 9:07", "2026-03-05T06:07:00"),
        ("05.03.2026 09:07:05", "2026-03-05T06:07:05"),
        ("05.03.26", "2026-03-05T09:00:00"),
        ("5.3.2026", "2026-03-05T09:00:00"),
        ("2026-03-05 09:07:05", "2026-03-05T06:07:05"),
        ("2026-03-05T09:07:05Z", "2026-03-05T09:07:05"),
        ("2026-03-05T09:07:05+05:00", "2026-03-05T04:07:05"),
        ("2026-03-05T09:07:05.123+0300", "2026-03-05T06:07:05"),
        ("2026-03-05", "2026-03-05T09:00:00"),
        ("46086", "2026-03-05T09:00:00"),
        ("46086.3802", "2026-03-05T06:07:29"),
        ("46086,5", "2026-03-05T09:00:00"),
        ("1772690400", "2026-03-05T06:00:00"),
        ("1772690400123", "2026-03-05T06:00:00"),
    ],
)
def test_a_date_is_read_in_each_of_its_forms(text: str, moment: str) -> None:
    """Contract tables D; a date without a time is noon in the table's zone."""
    assert at(text) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "03/05/2026",
        "31.02.2026",
        "05.13.2026",
        "05.03.2026 25:00",
        "19999",
        "80001",
        "1.1.0001",
        "0001-01-01",
        "вчера",
        "12:30",
        "",
    ],
)
def test_what_is_no_certain_date_is_refused(text: str) -> None:
    """American dates unless declared, impossible days, serials out of range."""
    with pytest.raises(ValueError, match=r"date|day|year"):
        at(text)


def test_declared_american_dates_are_read_month_first() -> None:
    """``date_order = "mdy"`` makes slashes legal."""
    assert parse_time("03/05/2026 09:00", replace(TIMES, order="mdy")) == datetime(2026, 3, 5, 6, 0, tzinfo=UTC)


@given(st.datetimes(SOON_ENOUGH, LATE_ENOUGH))
def test_a_written_moment_is_read_back(local: datetime) -> None:
    """Every common way of writing one local second gives the same moment."""
    local = local.replace(microsecond=0)
    moment = local.replace(tzinfo=MOSCOW).astimezone(UTC)
    serial = Decimal((local - DAY_ZERO) / timedelta(seconds=1)) / 86_400
    texts = [local.strftime("%d.%m.%Y %H:%M:%S"), local.isoformat(), local.isoformat(" "), moment.isoformat()]
    texts.append(f"{serial:.8f}")
    assert {at(text) for text in texts} == {moment}


@given(
    st.dates(SOON_ENOUGH.date(), LATE_ENOUGH.date()),
    st.sampled_from(["Europe/Moscow", "Asia/Vladivostok", "America/New_York"]),
)
def test_a_date_at_noon_stays_the_same_day_in_utc(day: date, zone: str) -> None:
    """The reason for noon: the day neither slips back nor forward from UTC-11 to UTC+12."""
    assert parse_time(day.strftime("%d.%m.%Y"), Times(ZoneInfo(zone), NOON)).date() == day


def test_nothing_has_many_names() -> None:
    """Null literals and a spreadsheet's error values are empty cells; the text apostrophe is dropped."""
    for text in ("", " ", "-", "—", "нет", "N/A", "NULL", "(not set)", "<не указано>", "#N/A", "#ССЫЛКА!", "'"):
        assert clean(text) == ""
    assert clean("'1772690000123456789 ") == "1772690000123456789"


@pytest.mark.parametrize("text", ["нет", "-", "—", "n/a", "(not set)", "0"])
def test_in_a_column_of_the_tables_own_no_is_an_answer(text: str) -> None:
    """What is nothing in an amount or a phone may be just what a goal asks for; only errors are nothing there."""
    assert bare(f" '{text} ") == text
    assert bare("#N/A") == ""


@pytest.mark.parametrize(
    "text", ["#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#ERROR!", "#Н/Д", "#ЗНАЧ!", "#ИМЯ?"]
)
def test_every_error_of_a_spreadsheet_is_recognised(text: str) -> None:
    """In both languages; a hashtag is none."""
    assert is_cell_error(text)
    assert not is_cell_error(text + "x")


@given(st.floats(-9.99e12, 9.99e12, allow_nan=False))
def test_a_cell_that_held_a_number_is_that_number(value: float) -> None:
    """Whatever ``decimal`` says, to the 15 digits that a spreadsheet keeps."""
    for mark in ("auto", ",", "."):
        assert parse_amount(numeral(value), mark)[0] == Decimal(f"{value:.15g}")


@given(st.datetimes(datetime.fromisoformat("1996-01-01"), LATE_ENOUGH), st.booleans())
def test_a_serial_number_of_either_calendar_is_its_second(moment: datetime, is_1904: bool) -> None:
    """Days and a fraction since the workbook's day zero; a text never counts from 1904 (contract tables C)."""
    moment = moment.replace(microsecond=0)
    zero = DAY_ZERO_1904 if is_1904 else DAY_ZERO
    serial, times = numeral((moment - zero) / timedelta(days=1)), Times(UTC, time(0), day_zero=zero)
    if 20_000 <= float(serial) < 80_000:
        read = parse_time(serial, times)
        assert read == moment.replace(tzinfo=UTC)
        assert read - parse_time(str(serial), times) == (timedelta(days=1462) if is_1904 else timedelta(0))


def test_lost_digits_are_recognised_and_an_id_of_them_refused() -> None:
    """An id is text; scientific notation means that its last digits are gone."""
    assert [is_precision_lost(text) for text in ("1,77511E+18", "1.5e+20", "7E+10", "1772690000123456789")] == [
        True,
        True,
        True,
        False,
    ]
    assert parse_id("17.0") == "17"
    with pytest.raises(ValueError, match="digits"):
        parse_id("1,2E+15")


def test_currencies_and_names_are_compared_by_meaning() -> None:
    """Signs and words for the rouble; ё, case and spaces in a status."""
    assert [parse_currency(text) for text in ("₽", "руб.", "RUR", "rub", "usd", "$", "€")] == [
        *["RUB"] * 4,
        "USD",
        "USD",
        "EUR",
    ]
    assert normal("  Отменён\u00a0 клиентом ") == "отменен клиентом"
    assert normal_title("Дата_создания* :") == normal_title(" дата  создания")


def test_a_cell_may_hold_several_phones() -> None:
    """Apart at commas and line ends; a phone that went through a float is no phone, ``.0`` is only noise."""
    assert split_contacts("8 999 000-00-01, +79990000002\n79990000003.0") == (
        "8 999 000-00-01",
        "+79990000002",
        "79990000003",
    )
    assert split_contacts("7,9E+10") == ()
