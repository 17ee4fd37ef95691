"""Custom fields compared with what the configuration asks, and the values people write in them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.rules import conditions
from bridge.rules.names import path, plain, unknown
from bridge.rules.value import Moment, moment, number, yes_no
from tests.unit.rules.kit import case, deal


def holds(wanted: Any, *values: str) -> bool:
    check = conditions.field("Поле", wanted)
    return check.holds(case(deal(fields={"Поле": values} if values else {}))) == ""


class TestFields:
    @pytest.mark.parametrize(
        ("wanted", "values", "expected"),
        [
            ("Новый клиент", ("новый  КЛИЕНТ",), True),
            ("новый", ("старый", "Новый"), True),
            ("новый", (), False),
            (["a", 5], ("5.0",), True),
            (["a", "b"], ("c",), False),
            (30000, ("30 000,00 ₽",), True),
            (True, ("да",), True),
            (True, ("нет",), False),
            (False, ("нет",), True),
            ({"=": "x"}, ("X",), True),
            ({"!=": "x"}, ("y",), True),
            ({"!=": "x"}, (), True),
            ({"!=": ["x", "y"]}, ("z", "y"), False),
            ({"in": ["x", "y"]}, ("Y",), True),
            ({">": 100}, ("100,01",), True),
            ({">": 100}, ("100",), False),
            ({">": 100}, ("много",), False),
            ({">=": 100, "<": 200}, ("150",), True),
            ({">=": 100, "<": 200}, ("200",), False),
            ({">": 0.1}, ("0.2",), True),
            ({">=": "1 000,5"}, ("1000.50",), True),
            ({"<=": "2026-03-01"}, ("01.03.2026 18:00",), True),
            ({"<": date(2026, 3, 1)}, ("2026-02-28T23:59:59+00:00",), True),
            ({">": datetime(2026, 3, 1, 12, tzinfo=UTC)}, ("1772366401",), True),
            ({"=": date(2026, 3, 1)}, ("01.03.26",), True),
        ],
    )
    def test_comparisons(self, wanted: Any, values: tuple[str, ...], expected: bool) -> None:
        """Numbers, dates and yes/no are compared as what they mean, texts as people read them."""
        assert holds(wanted, *values) is expected

    def test_a_field_is_found_whatever_its_case(self) -> None:
        check = conditions.field("тип  клиента", "опт")
        assert check.holds(case(deal(fields={"Тип клиента": ("Опт",)}))) == ""

    @pytest.mark.parametrize("wanted", [{">": "много"}, {">": True}, {"~": 5}])
    def test_what_cannot_be_compared_is_refused(self, wanted: Any) -> None:
        with pytest.raises(conditions.UnusableError):
            conditions.field("Поле", wanted)

    @given(st.text(max_size=20).filter(lambda text: "секрет" not in text))
    def test_a_failed_condition_never_shows_the_deals_value(self, text: str) -> None:
        check = conditions.field("Поле", {"=": "x"})
        assert "секрет" not in check.holds(case(deal(fields={"Поле": (f"секрет{text}",)})))


class TestOptions:
    """A list field: what people see is in ``fields``, by what it is stored in ``options``."""

    @pytest.mark.parametrize(
        ("wanted", "label", "stored", "expected"),
        [
            ("Да", "да", "44", True),
            ("44", "Да", "44", True),
            (["46", "44"], "Да", "44", True),
            ({"in": ["44"]}, "Да", "44", True),
            ("45", "Да", "44", False),
            ({"!=": "44"}, "Да", "44", False),
            ({"!=": "Да"}, "Да", "44", False),
            ({"!=": "Нет"}, "Да", "44", True),
            ("UNQUALIFIED", "Не подходит", "unqualified", True),
            (True, "Ja", "true", True),
            (False, "Ja", "true", False),
            ({">=": 3}, "1", "144", False),
            ({"<": 3}, "1", "144", True),
            (144, "1", "144", False),
            (1, "1", "144", True),
            (True, "Нет", "1", False),
            (False, "Нет", "1", True),
            ({"contains": "4"}, "Частный", "44", False),
            ({">": "2026-03-01"}, "Весной", "1772366401", False),
        ],
    )
    def test_only_a_text_names_what_an_option_is_stored_by(
        self, wanted: Any, label: str, stored: str, expected: bool
    ) -> None:
        """An id is no number, no date, no yes and no part of the answer."""
        made = deal(fields={"Поле": (label,)}, options={"Поле": (stored,)})
        assert (conditions.field("Поле", wanted).holds(case(made)) == "") is expected
        assert (conditions.field("поле", wanted).holds(case(made)) == "") is expected


class TestNumbers:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1 234,56", "1234.56"),
            ("1\u00a0234,56", "1234.56"),
            ("1\u202f234", "1234"),
            ("1234.56", "1234.56"),
            ("1,234.56", "1234.56"),
            ("1.234,56", "1234.56"),
            ("1,234,567", "1234567"),
            ("100 000 ₽", "100000"),
            ("100000 руб.", "100000"),
            ("100 000 р.", "100000"),
            ("$5", "5"),
            ("(500)", "-500"),
            ("−500", "-500"),
            ("-500", "-500"),
            ("+500", "500"),
            ("'1234", "1234"),
            ("1,5", "1.5"),
        ],
    )
    def test_what_people_write(self, text: str, value: str) -> None:
        """Contract tables D."""
        assert number(text) == Decimal(value)

    @pytest.mark.parametrize(
        "text", ["", "-", "много", "1e5", "1,23,4", "12.34.56", "01.02.2026", "--5", "(5", "٣", "1,2.3"]
    )
    def test_what_is_no_number(self, text: str) -> None:
        assert number(text) is None

    @given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12))
    def test_every_amount_survives_its_russian_form(self, amount: Decimal) -> None:
        assert number(f"{amount:,}".replace(",", " ").replace(".", ",") + " ₽") == amount

    @given(st.text(max_size=30))
    def test_reading_never_raises(self, text: str) -> None:
        for read in (number, moment, yes_no, plain, path):
            read(text)


class TestMoments:
    @pytest.mark.parametrize(
        ("text", "at", "is_day"),
        [
            ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC), True),
            ("01.03.2026", datetime(2026, 3, 1, tzinfo=UTC), True),
            ("1.3.26", datetime(2026, 3, 1, tzinfo=UTC), True),
            ("01.03.2026 9:05", datetime(2026, 3, 1, 9, 5, tzinfo=UTC), False),
            ("2026-03-01T12:00:00+03:00", datetime(2026, 3, 1, 9, tzinfo=UTC), False),
            ("2026-03-01 12:00", datetime(2026, 3, 1, 12, tzinfo=UTC), False),
            ("1772366400", datetime(2026, 3, 1, 12, tzinfo=UTC), False),
            ("1772366400000", datetime(2026, 3, 1, 12, tzinfo=UTC), False),
        ],
    )
    def test_forms(self, text: str, at: datetime, is_day: bool) -> None:
        assert moment(text) == Moment(at, is_day)

    @pytest.mark.parametrize("text", ["", "31.02.2026", "2026-13-01", "03/01/2026", "20260301", "2026-03-01Tnoon"])
    def test_what_is_no_date(self, text: str) -> None:
        assert moment(text) is None


class TestNames:
    def test_the_nearest_names_are_shown_as_they_are_written(self) -> None:
        known = {plain(name): name for name in ("Спам", "Дубль", "Дорого")}
        assert unknown("loss reason", "дорго", known) == 'unknown loss reason "дорго"; nearest: "Дорого"'
        assert unknown("tag", "x", {}) == 'unknown tag "x"; the source knows none'

    def test_a_long_list_is_cut(self) -> None:
        known = {str(item): f"Этап {item}" for item in range(20)}
        assert unknown("stage", "zzz", known).endswith("and 12 more")

    @given(st.text(alphabet="абвёЁЖabC /\u00a0\u2007№1", max_size=20))
    def test_comparable_forms_are_stable(self, text: str) -> None:
        assert path(path(text)) == path(text)
