"""A title with a unit is the amount's like the same without; the unit is its currency. What looks like one is told."""

from __future__ import annotations

import pytest

from adapters.table.columns import recognise
from bridge.model import Money
from bridge.ports import Level
from tests.adapters.table.kit import Office

START = "id;Дата;Статус;Дата статуса"
ROW = "1;02.03.2026;Продажа;03.03.2026"


def roles(*titles: str) -> dict[str, str]:
    return {role: title for role, title in recognise(1, ["Дата", *titles], {}).roles.items() if role != "created_at"}


@pytest.mark.parametrize(
    ("title", "currency"),
    [
        ("Сумма, руб.", "RUB"),
        ("Сумма, руб", "RUB"),
        ("Сумма (руб)", "RUB"),
        ("сумма(Руб.)", "RUB"),
        ("Сумма, в рублях", "RUB"),
        ("Сумма [р.]", "RUB"),
        ("Бюджет, ₽", "RUB"),
        ("Бюджет,\u00a0₽ *", "RUB"),
        ("Сумма_сделки (RUB):", "RUB"),
        ("Amount, RUB", "RUB"),
        ("Revenue (USD)", "USD"),
        ("Price, $", "USD"),
        ("Выручка, €", "EUR"),
        ("Сумма, KZT", "KZT"),
    ],
)
async def test_a_title_with_a_unit_is_the_amount_in_its_currency(office: Office, title: str, currency: str) -> None:
    """Behind a comma or in brackets. Taken for the tenant's currency, dollars would be roubles."""
    assert roles(title) == {"amount": title.strip()}
    office.write(f"{START};{title}\n{ROW};1 500\n")
    assert (await office.one()).value == Money(150_000, currency)
    assert await office.told(Level.WARNING) == []


@pytest.mark.parametrize(
    "title",
    [
        "Сумма, тыс. руб.",
        "Сумма (без НДС)",
        "Сумма, руб., с НДС",
        "Amount (net)",
        "Сумма, шт.",
        "Дата, руб.",
        "Телефон (руб.)",
        "(руб.)",
        ", руб.",
    ],
)
def test_another_unit_or_title_is_not_the_amount(title: str) -> None:
    """Thousands would be read as units; a remark in brackets may be anything; only sums of money have such units."""
    assert roles("Статус", title) == {"status": "Статус"}


def test_a_title_without_a_unit_goes_before_one_with_it() -> None:
    """A table that was read before is read on; of two that only a unit makes alike, neither is taken."""
    assert roles("Сумма, USD", "Сумма") == {"amount": "Сумма"}
    assert roles("Сумма, руб.", "Бюджет, руб.") == {}
    assert roles("Сумма, руб.", "Себестоимость, руб.") == {"amount": "Сумма, руб.", "cost": "Себестоимость, руб."}
    assert recognise(1, ["Дата", "Бюджет, руб."], {"cost": "Бюджет, руб."}).roles["cost"] == "Бюджет, руб."


@pytest.mark.parametrize(
    ("cells", "value"),
    [("500;", "500.00 USD"), ("€500;", "500.00 EUR"), ("500;RUB", "500.00 RUB"), ("500 ₽;", "500.00 RUB")],
)
async def test_a_cells_own_currency_goes_before_the_titles(office: Office, cells: str, value: str) -> None:
    """Its sign, or the row's currency column; also where the setting ``columns`` names the title."""
    office.write(f"{START};Итого (USD);Валюта\n{ROW};{cells}\n")
    assert str((await office.one(columns={"amount": "Итого (USD)"})).value) == value


@pytest.mark.parametrize(
    ("title", "known"),
    [
        ("Сума", "Сумма"),
        ("Сумма договора", "Сумма"),
        ("Бюджeт, руб.", "Бюджет"),  # with a Latin e
        ("Итого, руб.", "Сумма"),
        ("Total amount", "amount"),
        ("Price of everything", "amount"),
        ("Средний чек", "Сумма"),
        ("Сумма (без НДС)", "Сумма"),
    ],
)
async def test_what_looks_like_the_amount_is_a_warning(office: Office, title: str, known: str) -> None:
    """Without it each sale goes without a value. The advice settles it."""
    office.write(f"{START};{title}\n{ROW};500\n")
    (told,) = await office.told(Level.WARNING)
    assert f'no column is the amount; column "{title}" looks like it' in told
    assert f'(nearest known title: "{known}")' in told
    assert f'columns = {{ amount = "{title}" }}' in told
    assert not any("play no role" in text for text in await office.told(Level.OK))
    assert await office.told(Level.WARNING, columns={"amount": title}) == []


async def test_an_amount_in_thousands_is_told_as_such(office: Office) -> None:
    """Named as the amount, it would be a thousandth of what it is."""
    office.write(f"{START};Сумма, тыс. руб.\n{ROW};500\n")
    (told,) = await office.told(Level.WARNING)
    assert 'column "Сумма, тыс. руб." looks like it' in told
    assert "columns = " not in told
    assert "whole units" in told


@pytest.mark.parametrize("title", ["Оплачено", "Дата суммы", "Погода", "Комментарий к заявке", "Город"])
async def test_what_does_not_look_like_an_amount_is_only_noted(office: Office, title: str) -> None:
    """A warning that comes for nothing is read by nobody."""
    office.write(f"{START};{title}\n{ROW};да\n")
    assert await office.told(Level.WARNING) == []


async def test_beside_an_amount_other_sums_are_only_noted(office: Office) -> None:
    """The deal has its value."""
    office.write(f"{START};Сумма;Сумма договора\n{ROW};5;6\n")
    assert await office.told(Level.WARNING) == []


async def test_commas_that_may_group_thousands_are_told(office: Office) -> None:
    """By how many there are and the first of them; the setting that decides settles it."""
    rows = "".join(f"{n};02.03.2026;Продажа;03.03.2026;{text}\n" for n, text in enumerate(("1,5", "25,000", "1,234 ₽")))
    office.write(f"{START};Сумма\n{rows}")
    (told,) = await office.told(Level.WARNING)
    assert 'column "Сумма": amounts with one comma before three digits: 2 (first: row 3)' in told
    assert "25,000" not in told
    assert 'decimal = "."' in told
    assert await office.told(Level.WARNING, decimal=",") == []
    office.write(f"{START};Сумма\n{rows.replace('1,5', '1 500')}")
    assert await office.told(Level.WARNING, decimal=".") == []
