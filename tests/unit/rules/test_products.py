"""Values made of product rows: every row counts once, by the name that comes closest, exactly."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.model import Deal, Judgement, Money, Verdict
from bridge.products import Product
from bridge.rules.definitions import RULE, VALUE, digests
from tests.unit.rules.kit import deal, goal, money, verdict

SOLD = {"outcome": "won"}


def row(name: str, price: str = "100", quantity: str = "1", number: str = "", currency: str = "RUB") -> Product:
    return Product(number, name, Decimal(price), Decimal(quantity), currency)


ROWS = (
    row("Окна ПВХ, двойные", "10000.335", "3", "412"),
    row("Монтаж окон", "5000", "1.5"),
    row("Доставка", "700", number="9"),
)


def sold(*rows: Product) -> Deal:
    return deal("1", "142", value=money("1"), products=rows)


def judged(subject: Deal, products: Any, **more: Any) -> Judgement:
    """What a goal with such products says of a deal that is sold."""
    return verdict(SOLD, subject, value={"products": products, **more})


@pytest.mark.parametrize(
    ("products", "share", "amount"),
    [
        ("all", None, "38201.01"),
        ("*", None, "38201.01"),
        ("all", 0.35, "13370.35"),
        (["окна*", "ДОСТАВКА"], None, "30701.01"),
        ([412, "9"], "0.5", "15350.50"),
        ("*окон", None, "7500"),
        (["*ПВХ*"], None, "30001.01"),
        ({"Окна*": 0.3, "Монтаж*": "0.5", "*": 0.1}, None, "12820.30"),
        ({"Окна*": 0.3, "Окна ПВХ*": 1, "Доставка": 0}, None, "30001.01"),
        ({"*": 0.1, "412": 0}, None, "820"),
        (["Двери*"], None, "0"),
    ],
)
def test_rows_are_added_up_exactly(products: Any, share: Any, amount: str) -> None:
    """Names or ids in any case, ``*`` for any text; the closest name counts; rounded once, half up, at the end."""
    found = judged(sold(*ROWS), products, **({} if share is None else {"share": share}))
    assert (found.verdict, found.value) == (Verdict.QUALIFIED, money(amount))


def test_the_reason_holds_the_summands() -> None:
    """By name as in the settings, and how many rows do not count; of many names only the first."""
    told = judged(sold(*ROWS), {"Окна*": 0.3, "Монтаж*": 1}).reason
    assert told == 'from events; product rows: 1 "Монтаж*" 7500.00, 1 "Окна*" 30001.01 x 0.3, 1 not counted'
    many = [row(f"Товар {number}") for number in range(9)]
    assert judged(sold(*many), [one.name for one in many]).reason.endswith(", 4 more groups")


def test_unknown_products_are_no_value() -> None:
    """As with an empty field: the goal is reached, nothing is invented, and the reason says why."""
    found = judged(deal("1", "142", value=money("1000")), "all")
    assert (found.verdict, found.value) == (Verdict.QUALIFIED, None)
    assert found.reason.endswith("no value: its product rows are not read")
    assert judged(sold(), "all").reason.endswith("no value: no product rows")
    assert judged(sold(), "all").value is None


def test_the_currency_is_that_of_the_rows() -> None:
    """Whatever the tenant's is, and where the deal's own amount is nothing."""
    assert judged(deal("1", "142", products=(row("a", currency="USD"),)), "all").value == money("100", "USD")


PRICES = st.decimals(-(10**6), 10**6, places=4)
NAMES = st.sampled_from(["a", "ab", "abc", "b", "b c", ""])
TABLES = st.lists(st.tuples(NAMES, PRICES, PRICES), min_size=1, max_size=8)


@given(TABLES, st.dictionaries(st.sampled_from(["*", "a*", "*b", "a*c", "ab", "* c"]), st.just("0.5"), min_size=1))
def test_no_row_counts_twice_and_the_order_says_nothing(rows: list[Any], shares: dict[str, str]) -> None:
    """All rows and those that count differ by those that do not; neither rows nor names have an order."""
    made = [row(name, str(price), str(quantity)) for name, price, quantity in rows]
    found = judged(sold(*made), {**shares, "*": "0.5"})
    whole = sum((one.price * one.quantity for one in made), Decimal(0))
    assert found.value == Money.of(whole * Decimal("0.5"), "RUB")
    turned = dict(reversed(shares.items()))
    assert judged(sold(*reversed(made)), turned).value == judged(sold(*made), shares).value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"products": "all", "field": "Маржа"}, "give one of the two"),
        ({"products": {"Окна*": 0.3}, "share": 0.5}, "has its share already"),
        ({"products": ["Окна*", "окна*"]}, "named twice"),
        ({"products": ["Окна*", ["Двери*"]]}, "by text or number"),
        ({"products": [True]}, "by text or number"),
        ({"products": []}, "at least 1"),
        ({"product": "all"}, "Extra inputs"),
        ({"products": {"Окна*": -1}}, "greater than or equal to 0"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(value: Any, said: str) -> None:
    """With words that say what to write, and no word on other kinds of value."""
    with pytest.raises(ValidationError, match=said) as refused:
        goal("a", SOLD, value=value)
    assert refused.value.error_count() == 1
    with pytest.raises(ValidationError, match="give a share"):
        goal("a", SOLD, per="payment", value={"products": "all"})


def test_only_another_meaning_is_another_definition() -> None:
    """Spelling and order are none; names and shares are."""

    def parts(products: Any, **more: Any) -> tuple[str, str]:
        found = digests([goal("a", SOLD, value={"products": products, **more})], "RUB")["a"]
        return found[RULE], found[VALUE]

    assert parts("all") == parts(["*"]) == parts({"*": 1})
    assert parts({"Окна*": 0.3, "*": 0.10}) == parts({"*": "0.1", "окна*": "0.3"})
    assert parts(["Окна*"], share=0.3) == parts({"Окна*": 0.3})
    assert len({parts("all"), parts(["Окна*"]), parts({"Окна*": 0.3}), parts({"Окна*": 0.4})}) == 4


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("sum(deal.products.map(p, p.price * p.quantity)) * 0.3", "11460.3"),
        ('sum(deal.products.filter(p, p.name.startsWith("Монтаж")).map(p, p.price))', "5000"),
        ("deal.products.size() * 10", "30"),
    ],
)
def test_expressions_see_the_rows(value: str, amount: str) -> None:
    """For what no table of shares says."""
    assert verdict(SOLD, sold(*ROWS), value=value).value == money(amount)
    assert verdict({"expression": 'deal.products.exists(p, p.id == "412")'}, sold(*ROWS)).verdict is Verdict.QUALIFIED
    assert verdict(SOLD, deal("1", "142"), value="sum(deal.products.map(p, p.price))").value == money("0")
