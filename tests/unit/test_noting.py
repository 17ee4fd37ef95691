"""What is noted of texts and contacts that are not kept."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from bridge.model import Clue, Contact
from bridge.noting import noted
from bridge.scoring import NOTED
from tests.unit.rules.kit import deal

SITE = "https://okna.example/Price/Windows?utm_source=ya&utm_campaign=12345678&utm_term=%D0%BE%D0%BA%D0%BD%D0%B0"


def of(*clues: tuple[str, str], phones: tuple[str, ...] = (), wanted: Any = NOTED) -> dict[str, tuple[str, ...]]:
    found = tuple(Clue(where, text) for where, text in clues)
    return noted(deal("1", clues=found, contacts=(Contact("1", phones),)), wanted, "RU")


def test_the_page_and_the_tags_of_an_address() -> None:
    """Without the rest of its query, in small letters, decoded; an address inside another one too."""
    expected = {
        "landing": ("/price/windows",),
        "utm_source": ("ya",),
        "utm_campaign": ("12345678",),
        "utm_term": ("окна",),
    }
    assert of(("Страница", SITE)) == expected
    inside = SITE.replace(":", "%3A").replace("/", "%2F").replace("?", "%3F").replace("=", "%3D").replace("&", "%26")
    assert of(("Страница", f"https://form.example/?from={inside}"))["utm_campaign"] == ("12345678",)


def test_a_field_of_its_own_wins_and_a_referrer_is_no_page() -> None:
    found = of(("Referer", "https://ya.example/search"), ("Страница", SITE), ("field UTM_CAMPAIGN", "brand"))
    assert (found["utm_campaign"], found["landing"]) == (("brand",), ("/price/windows",))
    assert "landing" not in of(("HTTP_REFERER", "https://ya.example/search"))
    assert of(("Страница", "https://okna.example"))["landing"] == ("/",)


@pytest.mark.parametrize("text", ["who@mail.example", "+7 (999) 000-00-01", "call 89990000001"])
def test_a_person_is_never_noted(text: str) -> None:
    """Neither in a tag nor in a page's name."""
    assert of(("utm_content", text)) == {"utm_content": ("other",)}
    page = text.replace(" ", "%20")
    assert of(("Страница", f"https://okna.example/{page}"))["landing"] == ("other",)


@pytest.mark.parametrize(
    "text",
    [
        f"{'x' * 94}who.else@mail.example",
        f"{'спросить ' * 10}+7 999 000-00-01",
        "who%40mail.example",
        "who%252540mail.example",
    ],
)
def test_nor_what_is_cut_or_encoded(text: str) -> None:
    """The beginning of an e-mail or a phone names somebody as well as the whole, and so does one in percent signs."""
    assert of(("utm_content", text)) == {"utm_content": ("other",)}
    assert of(("Страница", f"https://okna.example/{quote(text, safe='%')}"))["landing"] == ("other",)


@pytest.mark.parametrize(
    ("phone", "country", "kind"),
    [
        ("8 999 000-00-01", "RU", "mobile"),
        ("+7 495 123-45-67", "RU", "fixed"),
        ("8 800 200-06-00", "RU", "toll_free"),
        ("+375 29 123-45-67", "BY", "mobile"),
    ],
)
def test_phones_are_told_by_the_numbering_plan(phone: str, country: str, kind: str) -> None:
    assert of(phones=(phone, phone)) == {"phone_country": (country,), "phone_type": (kind,)}


def test_only_what_is_wanted_is_noted() -> None:
    """And nothing where there is nothing."""
    assert of(("Страница", SITE), phones=("89990000001",), wanted={"landing"}) == {"landing": ("/price/windows",)}
    assert of(("Страница", SITE), phones=("89990000001",), wanted={"phone_type"}) == {"phone_type": ("mobile",)}
    assert of(("Комментарий", "позвонить"), phones=("нет",)) == {}
