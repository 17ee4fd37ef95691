"""What looks odd about a request is noted at the border by name; its origin becomes a digest."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.frozen import replace
from bridge.identity import seal_contacts
from bridge.model import Clue, Contact, Deal, DealKind, IdKind, Outcome
from bridge.signs import is_disposable, is_sound

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = b"k" * 32


def sealed(*contacts: Contact, clues: tuple[Clue, ...] = (), signs: tuple[str, ...] = (), key: bytes = KEY) -> Deal:
    """A deal behind the border, as it is stored."""
    raw = Deal(DealKind.LEAD, "5", "v", AT, AT, "10", "1", Outcome.OPEN, contacts=contacts, clues=clues, signs=signs)
    return seal_contacts(raw, key, "crm", "RU", {})


@pytest.mark.parametrize(
    ("contacts", "signs"),
    [
        ((), ()),
        ((Contact("1"),), ()),
        ((Contact("1", (" ", "")),), ()),
        ((Contact("1", ("+7 916 123-45-67",), ("ivan@mail.ru",)),), ()),
        ((Contact("1", ("12345",)),), ("phone_invalid",)),
        ((Contact("1", ("+7 999 999-99-99",)),), ("phone_invalid",)),
        ((Contact("1", ("+7 123 456-78-90",)),), ("phone_invalid",)),
        ((Contact("1", ("12345",)), Contact("2", ("8 916 123 45 67",))), ()),
        ((Contact("1", (), ("no address",)),), ("email_invalid",)),
        ((Contact("1", (), ("a@-b.ru",)),), ("email_invalid",)),
        ((Contact("1", (), ("a@b.123",)),), ("email_invalid",)),
        ((Contact("1", (), ("a@b.123", "a@mail.ru")),), ()),
        ((Contact("1", (), ("a@Mailinator.com",)),), ("email_disposable",)),
        ((Contact("1", (), ("a@mailinator.com", "a@mail.ru")),), ()),
        ((Contact("1", ("1",), ("a@x.mailinator.com",)),), ("phone_invalid", "email_disposable")),
    ],
)
def test_contacts_are_noted_by_name(contacts: tuple[Contact, ...], signs: tuple[str, ...]) -> None:
    """One good phone or e-mail among bad ones clears the deal; none given is no sign."""
    assert sealed(*contacts).signs == signs


def test_a_source_may_tell_of_its_form_and_of_nothing_else() -> None:
    """``honeypot`` and ``too_fast`` come through; what the border itself finds out cannot be claimed."""
    told = ("too_fast", "phone_invalid", "honeypot")
    assert sealed(Contact("1", ("8 916 123 45 67",)), signs=told).signs == ("too_fast", "honeypot")
    assert sealed(signs=told).signs == ("too_fast", "honeypot")


@pytest.mark.parametrize("domain", ["mail.ru", "почта.рф", "xn--80a1acny.xn--p1ai", "a-b.co.uk", "1c.ru"])
def test_sound_domains(domain: str) -> None:
    """Letters of any alphabet, digits, inner hyphens."""
    assert is_sound(domain)


@pytest.mark.parametrize("domain", ["", "ru", "a..ru", "-a.ru", "a-.ru", "a_b.ru", "a.1", "a.r", f"{'a' * 64}.ru"])
def test_unsound_domains(domain: str) -> None:
    """No mail server can have such a name."""
    assert not is_sound(domain)


def test_a_part_of_a_disposable_domain_is_disposable_and_no_other() -> None:
    """Subdomains belong to whoever has the domain; an ending that only looks alike does not."""
    assert is_disposable("mailinator.com")
    assert is_disposable("a.b.mailinator.com")
    assert not is_disposable("xx-mailinator.com")
    assert not is_disposable("mailinator.com.ru")
    assert not is_disposable("gmail.com")


def test_a_landing_page_is_known_by_host_and_path() -> None:
    """Scheme, www, letter case of the host, tags and a last stroke make no other page; a referrer is none."""
    first = sealed(clues=(Clue("field page", "https://www.Okna.example/akcia/?yclid=1#top"),)).crowds
    assert len(first) == 1
    assert first[0].startswith("page:")
    assert (
        sealed(clues=(Clue("utm_referrer", "https://ya.ru/"), Clue("URL", "http://okna.example/akcia"))).crowds == first
    )
    assert sealed(clues=(Clue("URL", "http://okna.example/other"),)).crowds != first
    assert sealed(clues=(Clue("referer", "https://okna.example/akcia"),)).crowds == ()
    assert sealed(clues=(Clue("page", "https://okna.example/akcia", IdKind.YCLID),)).crowds == ()


def test_addresses_become_digests_of_the_tenant() -> None:
    """One address in every spelling, one network of IPv6; another tenant's digest is another; garbage is none."""

    def crowds(*texts: str, key: bytes = KEY) -> tuple[str, ...]:
        return sealed(Contact("", addresses=texts), key=key).crowds

    assert crowds("203.0.113.7") == crowds(" 203.0.113.7", "::ffff:203.0.113.7")
    assert crowds("2001:db8::1") == crowds("2001:db8:0:0:9::2")
    assert crowds("2001:db8::1") != crowds("2001:db8:0:1::1")
    assert crowds("203.0.113.7", key=b"o" * 32) != crowds("203.0.113.7")
    assert crowds("unknown", "") == ()


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=20))
def test_nothing_that_was_typed_is_left(phone: str, email: str, address: str) -> None:
    """Whatever the texts: the border never raises, and signs are names of a known few."""
    deal = sealed(Contact("1", (phone,), (email,), addresses=(address,)))
    assert set(deal.signs) <= {"phone_invalid", "email_invalid", "email_disposable"}
    assert all(one.startswith("ip:") and len(one) == 23 for one in deal.crowds)
    assert replace(deal, contacts=()) == deal
