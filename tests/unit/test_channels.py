"""Which channel the clues of a lead tell of: tags, then click ids, then the referrer; never a person."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.channels import NAMED, OTHER, OWN, UNKNOWN, channel_of
from bridge.identity import read
from bridge.model import Clue, Deal, DealKind, IdKind, Outcome

AT = datetime(2026, 3, 2, tzinfo=UTC)
YCLID, GCLID = "17751100000000000001", "Cj0KCQiAsample0000000000000000000000001"


def tagged(source: str, medium: str = "") -> str:
    """The channel of a lead with these utm fields."""
    return channel_of([Clue("utm_source", source), Clue("utm_medium", medium)], ())


@pytest.mark.parametrize(
    ("source", "medium", "channel"),
    [
        ("yandex", "cpc", "yandex_direct"),
        ("Yandex_RSYA", "cpc", "yandex_direct"),
        ("yandex.direct", "", "yandex_direct"),
        ("direct", "cpc", "yandex_direct"),
        ("yandex_maps", "cpc", "maps"),
        ("yandex-business", "", "maps"),
        ("2gis", "", "maps"),
        ("yandex", "organic", "organic"),
        ("google", "cpc", "google_ads"),
        ("youtube", "video", "google_ads"),
        ("vk", "cpm", "vk"),
        ("vk", "social", "vk"),
        ("instagram", "post", "meta"),
        ("tg_channel", "post", "telegram"),
        ("unisender", "email", "email"),
        ("spring-sale", "email", "email"),
        ("whatsapp", "", "messenger"),
        ("partner-site.ru", "referral", "referral"),
        ("avito", "cpc", "utm:avito"),
        ("partner_12", "", "utm:partner_12"),
    ],
)
def test_tags_name_the_channel(source: str, medium: str, channel: str) -> None:
    """Known words wherever they stand in a source; a medium that says more than the source does; else the source."""
    assert tagged(source, medium) == channel


@pytest.mark.parametrize("source", ["{utm_source}", "(none)", "(direct)", "[source]", "", "  ", "%%site%%"])
def test_a_template_that_was_not_filled_in_is_no_tag(source: str) -> None:
    """Then the click id tells, or nothing does."""
    assert tagged(source) == UNKNOWN
    assert channel_of([Clue("utm_source", source)], [IdKind.YCLID]) == "yandex_direct"


@pytest.mark.parametrize(
    "source",
    ["+79990000001", "7 999 000-00-01", "999-000-00-01", "somebody@example.com", "call me back", "a" * 60, "!!"],
)
def test_what_may_be_a_person_is_no_name_of_a_channel(source: str) -> None:
    """A channel is shown in metrics and logs."""
    assert tagged(source) == OTHER


@pytest.mark.parametrize(
    ("kinds", "channel"),
    [
        ((IdKind.CLIENT_ID, IdKind.YCLID), "yandex_direct"),
        ((IdKind.YMCLID,), "yandex_market"),
        ((IdKind.GBRAID,), "google_ads"),
        ((IdKind.RB_CLICKID,), "vk"),
        ((IdKind.FBCLID,), "meta"),
        ((IdKind.CLIENT_ID,), UNKNOWN),
        ((), UNKNOWN),
    ],
)
def test_without_tags_a_click_id_tells_whose_click_it_was(kinds: tuple[IdKind, ...], channel: str) -> None:
    """A visitor's id alone tells of no channel."""
    assert channel_of([Clue("field PAGE", "https://okna.example/?a=1")], kinds) == channel


@pytest.mark.parametrize(
    ("address", "channel"),
    [
        ("https://yandex.ru/", "organic"),
        ("https://www.google.com/search", "organic"),
        ("https://www.google.co.uk/", "organic"),
        ("https://vk.com/away.php", "vk"),
        ("https://t.me/s/okna", "telegram"),
        ("https://dzen.ru/a", "social"),
        ("https://l.instagram.com/", "meta"),
        ("https://forum.example.org/t/1", "referral"),
        ("https://okna.example/price", UNKNOWN),
        ("not an address", UNKNOWN),
    ],
)
def test_without_both_the_referrer_tells(address: str, channel: str) -> None:
    """Search engine, social network, another site; the site itself is no referrer."""
    page = Clue("incoming form: form_page", "https://okna.example/")
    assert channel_of([page, Clue("incoming form: referer", address)], ()) == channel


def test_tags_are_found_inside_addresses_too() -> None:
    """Also in one that is a parameter of another; a field of its own wins."""
    inside = "https://r.example/?to=https%3A%2F%2Fokna.example%2F%3Futm_medium%3Dcpc%26utm_source%3Dgoogle"
    for address in ("https://okna.example/?x=1&utm_source=google&utm_medium=cpc#top", inside):
        assert channel_of([Clue("field PAGE", address)], ()) == "google_ads"
        assert channel_of([Clue("field PAGE", address), Clue("utm_source", "vk")], ()) == "vk"


def test_an_identifiers_own_field_is_no_tag() -> None:
    """A clue of a known kind is that identifier, whatever its place is called."""
    assert channel_of([Clue("field utm_source", YCLID, IdKind.YCLID)], ()) == UNKNOWN


def test_a_reading_tells_the_channel_of_its_deal() -> None:
    """With and without clues."""

    def channel(*clues: Clue) -> str:
        deal = Deal(DealKind.LEAD, "1", "v", AT, AT, "1", "1", Outcome.OPEN, clues=clues)
        return read(deal).channel

    assert channel() == UNKNOWN
    assert channel(Clue("field GCLID", GCLID, IdKind.GCLID)) == "google_ads"
    assert channel(Clue("field GCLID", GCLID, IdKind.GCLID), Clue("utm_source", "yandex")) == "yandex_direct"


texts = st.one_of(st.text(), st.from_regex(r"https?://[a-z.]{0,20}/\?utm_(source|medium)=.{0,40}"))
clues = st.builds(Clue, st.sampled_from(("utm_source", "field UTM_MEDIUM", "field REFERRER", "comments")), texts)


@given(st.lists(clues, max_size=5), st.lists(st.sampled_from(IdKind), max_size=2))
def test_any_text_gives_a_channel_that_may_be_shown(found: list[Clue], kinds: list[IdKind]) -> None:
    """One of the closed set, or a short word; never six digits in a row, never an e-mail."""
    channel = channel_of(found, kinds)
    if channel not in NAMED:
        slug = channel.removeprefix(OWN)
        assert channel.startswith(OWN)
        assert 2 <= len(slug) <= 32
        assert "@" not in slug
        assert " " not in slug
        assert re.search("[0-9]{6}", re.sub(r"[_.-]", "", slug)) is None
