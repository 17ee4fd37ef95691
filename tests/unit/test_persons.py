"""Phones and e-mails in the vendors' normal forms, and the sealing of contacts at the border."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.frozen import replace
from bridge.identity import (
    google_email,
    md5_hex,
    metrica_email,
    metrica_phone,
    phone_e164,
    seal_contacts,
    sha256_hex,
)
from bridge.model import Contact, Deal, DealKind, Money, Outcome, Person

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = b"k" * 32
MOBILE = st.from_regex(r"9[0-9]{9}", fullmatch=True).filter(lambda digits: len(set(digits)) > 1)


def deal(*contacts: Contact) -> Deal:
    return Deal(DealKind.LEAD, "5", "v", AT, AT, "10", "1", Outcome.OPEN, Money(100, "RUB"), contacts=contacts)


class TestPhones:
    @pytest.mark.parametrize(
        ("text", "region", "e164"),
        [
            ("+1 (800) 555-0100", "RU", "+18005550100"),
            ("501 234 567", "PL", "+48501234567"),
            ("79995551111", "RU", "+79995551111"),
            ("8 (495) 123-45-67", "RU", "+74951234567"),
            ("8 (4012) 12-34-56 доб. 123", "RU", "+74012123456"),
            ("8 800 555-35-35", "RU", "+78005553535"),
            ("'+7.900.000.00.00", "RU", "+79000000000"),
            ("79161234567.0", "RU", "+79161234567"),
            ("+375 29 123-45-67", "RU", "+375291234567"),
            ("375291234567", "RU", "+375291234567"),
            ("8 701 123 45 67", "KZ", "+77011234567"),
            ("89161234567", "KZ", "+79161234567"),
        ],
    )
    def test_known_phones(self, text: str, region: str, e164: str) -> None:
        """Vectors of contracts google 7 and yandex 4.2, landlines and the neighbours."""
        assert phone_e164(text, region) == e164

    @given(
        MOBILE,
        st.sampled_from(["+7", "8", "7", "", "+8", "+7 8", "8-", "+7("]),
        st.sampled_from(["{}{}{}{}", "({}) {}-{}-{}", " {} {} {} {}", "-{}-{}-{}-{}", " ({}){} {} {}", ".{}.{}.{}.{}"]),
        st.sampled_from(
            ["{}", " {} ", "'{}", "\u200e{}\u202c", "тел. {}", "{} доб. 12", "{}, 8 495 1234567", "{}\n{}"]
        ),
    )
    def test_every_messy_spelling_of_a_mobile_gives_one_number(
        self, national: str, head: str, form: str, around: str
    ) -> None:
        """8, 7, +7 or nothing, brackets, dots, words, extensions, second numbers: the same E.164."""
        body = form.format(national[:3], national[3:6], national[6:8], national[8:])
        if head == "+7(" and "(" in body:
            head = "+7"
        typed = head + body
        assert phone_e164(around.format(typed, typed), "RU") == "+7" + national

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "нет",
            "12345",
            "7,9161E+10",
            "7.9161234567E+10",
            "+7 (999) 999-99-99",
            "0000000000",
            "1775110000000000000",
        ],
    )
    def test_what_is_no_phone_is_none(self, text: str) -> None:
        """Above all masks of one digit, which would join strangers, and what a spreadsheet's float left."""
        assert phone_e164(text, "RU") is None

    def test_an_empty_fraction_is_dropped(self) -> None:
        assert phone_e164("79161234567.0", "RU") == "+79161234567"

    @pytest.mark.parametrize("text", ["8916123456789161234568", "89161234567 89161234568", "12 89161234567"])
    def test_digits_of_different_numbers_are_never_glued(self, text: str) -> None:
        assert phone_e164(text, "RU") in (None, "+79161234567")

    @given(st.text(max_size=40), st.sampled_from(["RU", "PL", "US", "XX"]))
    def test_whatever_comes_out_is_e164(self, text: str, region: str) -> None:
        """Never an exception; a plus and 8 to 15 digits, which read again give themselves."""
        found = phone_e164(text, region)
        if found is not None:
            assert found[0] == "+"
            assert found[1:].isascii()
            assert found[1:].isdigit()
            assert 8 <= len(found) - 1 <= 15
            assert phone_e164(found, "RU") == found

    def test_metrica_wants_digits_only(self) -> None:
        assert metrica_phone("8 (999) 555-11-11", "RU") == "79995551111"
        assert metrica_phone("нет", "RU") is None


class TestEmails:
    @pytest.mark.parametrize(
        ("text", "normal", "digest"),
        [
            (
                "alexz@example.com",
                "alexz@example.com",
                "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a",
            ),
            (
                "Cloudy.SanFrancisco+shopping@gmail.com",
                "cloudysanfrancisco@gmail.com",
                "223ebda6f6889b1494551ba902d9d381daf2f642bae055888e96343d53e9f9c4",
            ),
            (
                "user.name+NYC@Example.com",
                "user.name+nyc@example.com",
                "f109a2a632fbcea5fc82049f50beed3d8621bf9034399f437fb622222acccdac",
            ),
            (
                " Jan.Kowalski@Example.com ",
                "jan.kowalski@example.com",
                "323b95c3ebd98a852911b870fe9c0988a3e008a43804a90dd40b65bc75e8f168",
            ),
            (
                "jan.kowalski@gmail.com",
                "jankowalski@gmail.com",
                "e1edb5820b9b0f7df38a809702ed8a75bbc27005bdf47bbbe1955ec99080c771",
            ),
        ],
    )
    def test_google_vectors(self, text: str, normal: str, digest: str) -> None:
        """Contract google 7."""
        assert google_email(text) == normal
        assert sha256_hex(normal) == digest

    @pytest.mark.parametrize(
        ("phone", "digest"),
        [
            ("+18005550100", "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30"),
            ("+48501234567", "61ec8d59cc48c5809b6e49ff6e8253b6aa48c52eae53280c729576deae8625e8"),
        ],
    )
    def test_google_phone_vectors(self, phone: str, digest: str) -> None:
        assert sha256_hex(phone) == digest

    def test_metrica_vectors(self) -> None:
        """Contract yandex 4.2."""
        assert md5_hex("mail@yandex.ru") == "3c56ff8fef0f6c65b36b2d25720fe276"
        assert md5_hex("79995551111") == "f09f2c3d48f31e2a802944ade2e5aec5"

    @pytest.mark.parametrize(
        ("text", "normal"),
        [
            ("Mail@Yandex.ru", "mail@yandex.ru"),
            ("ivan.petrov+crm@ya.ru", "ivan-petrov@yandex.ru"),
            ("ivan.petrov@yandex.com.tr", "ivan-petrov@yandex.ru"),
            ("ivan.petrov@notyandex.ru", "ivan.petrov@notyandex.ru"),
            ("I.V.an+x@GoogleMail.com", "ivan@gmail.com"),
            ("ivan.petrov+x@mail.ru", "ivan.petrov@mail.ru"),
            ("почта@mail.ru", None),
        ],
    )
    def test_metrica_form(self, text: str, normal: str | None) -> None:
        assert metrica_email(text) == normal

    @pytest.mark.parametrize(
        "text",
        ["Ivan@Example.com", "ivan@example.com, petr@example.com", "Иван <ivan@example.com>", "mailto:ivan@example.com",
         "ivan @ example.com", "ivan@example.com.", "почта: ivan@example.com (рабочая)"],
    )  # fmt: skip
    def test_an_address_is_found_in_what_people_type(self, text: str) -> None:
        assert google_email(text) == "ivan@example.com"

    @pytest.mark.parametrize("text", ["", "нет", "ivan@", "@example.com", "ivan@localhost", "a@b@c.ru"])
    def test_what_is_no_address_is_none(self, text: str) -> None:
        assert google_email(text) is None

    @given(st.text(max_size=40) | st.emails())
    def test_normal_forms_are_stable(self, text: str) -> None:
        """Normalising twice changes nothing, and white space or upper case never survives."""
        for normalise in (google_email, metrica_email):
            once = normalise(text)
            if once is not None:
                assert normalise(once) == once
                assert once == "".join(once.split()).lower()


class TestSealing:
    CONTACT = Contact("77", ("8 (916) 123-45-67", "+7 916 123 45 67"), ("Ivan.Petrov+x@Yandex.ru",))

    def test_a_contact_becomes_digests(self) -> None:
        """Vendors' digests of the normal forms (Meta's keep the e-mail as it is), and three joins of our own."""
        sealed = seal_contacts(deal(self.CONTACT), KEY, "crm", "RU")
        (person,) = sealed.persons
        assert sealed.contacts == ()
        assert person.phone_sha256 == (sha256_hex("+79161234567"),)
        assert person.phone_md5 == (md5_hex("79161234567"),)
        assert person.email_sha256 == (sha256_hex("ivan.petrov+x@yandex.ru"),)
        assert person.email_md5 == (md5_hex("ivan-petrov@yandex.ru"),)
        assert person.phone_digits_sha256 == (sha256_hex("79161234567"),)
        assert person.email_lower_sha256 == (sha256_hex("ivan.petrov+x@yandex.ru"),)
        assert len(person.joins) == 3
        assert [join.partition(":")[0] for join in person.joins] == ["phone", "email", "contact"]
        assert all(len(join.partition(":")[2]) == 32 for join in person.joins)

    def test_only_google_and_metrica_fold_a_gmail_address(self) -> None:
        """Meta takes the address as it is typed, in lower case (contract meta_capi 1)."""
        (person,) = seal_contacts(deal(Contact("1", (), ("Some.One+x@Gmail.com",))), KEY, "crm", "RU").persons
        assert person.email_sha256 == (sha256_hex("someone@gmail.com"),)
        assert person.email_lower_sha256 == (sha256_hex("some.one+x@gmail.com"),)

    def test_nothing_else_of_the_deal_changes(self) -> None:
        before = deal(self.CONTACT)
        sealed = seal_contacts(before, KEY, "crm", "RU")
        assert replace(sealed, contacts=before.contacts, persons=()) == before

    def test_a_deal_without_contacts_is_left_alone(self) -> None:
        """What is behind the border already keeps its persons."""
        behind = replace(deal(), persons=(Person(("j",)),))
        assert seal_contacts(behind, KEY, "crm", "RU") is behind

    @given(MOBILE, st.sampled_from(["8{}", "+7 {}", "{}"]), st.sampled_from(["+7{}", "7-{}"]))
    def test_one_person_in_two_sources_shares_a_join(self, national: str, one: str, two: str) -> None:
        """Phones join across sources and spellings; CRM contact ids only within their source."""
        first = seal_contacts(deal(Contact("1", (one.format(national),))), KEY, "crm", "RU").persons[0]
        second = seal_contacts(deal(Contact("1", (two.format(national),))), KEY, "b24", "RU").persons[0]
        assert first.joins[0] == second.joins[0]
        assert first.joins[1] != second.joins[1]

    def test_joins_depend_on_the_tenants_key(self) -> None:
        """Two tenants cannot compare their customers; a long key counts in full."""
        keys = [b"a" * 32, b"b" * 32, b"a" * 64 + b"x", b"a" * 64 + b"y"]
        joins = {seal_contacts(deal(self.CONTACT), key, "crm", "RU").persons[0].joins for key in keys}
        assert len(joins) == len(keys)

    def test_phone_and_e_mail_joins_never_meet(self) -> None:
        """The kind of fact is part of the digest: a contact id that looks like a phone is not that phone."""
        by_phone = seal_contacts(deal(Contact("", ("+79161234567",))), KEY, "crm", "RU").persons[0]
        by_id = seal_contacts(deal(Contact("+79161234567")), KEY, "crm", "RU").persons[0]
        assert set(by_phone.joins).isdisjoint(by_id.joins)

    def test_the_main_contact_comes_first(self) -> None:
        side, main = Contact("1", ("89161234567",)), Contact("2", ("89161234568",), is_main=True)
        sealed = seal_contacts(deal(side, main), KEY, "crm", "RU")
        assert sealed.persons[0].phone_md5 == (md5_hex("79161234568"),)

    @given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
    def test_sealing_never_raises_and_keeps_nothing_raw(self, id: str, phone: str, email: str) -> None:
        sealed = seal_contacts(deal(Contact(id, (phone,), (email,))), KEY, "crm", "RU")
        digests = [
            text for person in sealed.persons for texts in msgspec.to_builtins(person).values() for text in texts
        ]
        digests = [text.rpartition(":")[2] for text in digests]
        assert all(len(text) in (32, 64) and set(text) <= set("0123456789abcdef") for text in digests)
