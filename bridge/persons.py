"""Phones and e-mails: the vendors' normal forms, their digests, and the sealing of contacts at the border.

Rules: contract google 7 (Google: E.164 phone, e-mail without white space), contract yandex 4.2 (Metrica: digits,
Gmail and Yandex mailboxes made canonical), contract meta_capi 1 (Meta: digits, e-mail in lower case), contract tables D
(how Russians write phones). Pure, and nothing here puts a phone or an e-mail into an error or a ``repr``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b, md5, sha256
from unicodedata import normalize

import phonenumbers

from bridge.frozen import replace
from bridge.model import Contact, Deal, Person
from bridge.signs import FROM_SOURCE, contact_signs, origins

_SEPARATORS = (
    " \t\n\r\v\f()-./·‐‑‒–—−\u00a0\u2007\u2009\u200b\u200c\u200d\u200e\u200f\u202a\u202c\u202d\u202f\u2060\ufeff"
)
_WITHOUT_SEPARATORS = str.maketrans("+0123456789", "+0123456789", _SEPARATORS)  # what it lacks costs an exception
# 8, 7, +7, the mistaken +8 and "+7 8", or nothing, before a mobile number. No other country's number looks so.
_RUSSIAN_MOBILE = re.compile(r"(?:\+?(?:7|8|78))?(9[0-9]{9})")
_RUSSIAN_TRUNK = re.compile(r"8([3489][0-9]{9})")
_RUSSIAN_REGIONS = frozenset(("RU", "KZ"))  # both dial 8 inside the country and are +7 outside
# Digits that may be one number: letters, commas, semicolons, slashes and line ends break a run (extensions fall off).
_RUN = re.compile(r"\+?[ \t(]*[0-9](?:[ \t().\-‐‑‒–—−·]*[0-9])*")
_NOT_PHONE = re.compile(r"[^0-9+]")
_FLOAT = re.compile(r"(\+?[0-9]+)[.,]0+")  # what a spreadsheet makes of a number
_EXPONENT = re.compile(r"[0-9]+(?:[.,][0-9]+)?[eEеЕ]\+?[0-9]+")
_NUMBER_LENGTHS = range(10, 16)  # contract tables D: fewer than 10 digits are no phone
_TEXT_MAX = 200

_EMAIL = re.compile(r"[^\s@,;:<>()\"'\[\]\\/|]+@[^\s@,;:<>()\"'\[\]\\/|.]+(?:\.[^\s@,;:<>()\"'\[\]\\/|.]+)+")
_EMAIL_BREAKS = re.compile(r"[\s,;:<>()\"'\[\]\\/|]+")
_EMAIL_MAX = 254  # RFC 5321
_YANDEX_DOMAIN = re.compile(
    r"(?:.+\.)?(?:ya\.ru|yandex\.(?:ru|by|kz|az|kg|lv|md|tj|tm|uz|ee|fr|lt|ua|com|co\.il|com\.(?:ge|am|tr|ru)))"
)
_GMAIL = frozenset(("gmail.com", "googlemail.com"))
_CACHE = 32_768


# --- phones ------------------------------------------------------------------------------------------------------


def phone_e164(text: str, region: str) -> str | None:
    """The first valid phone of a text as E.164 (``+79161234567``), or None.

    Takes numbers as people type them: 8 or nothing for +7, brackets, an extension, several numbers, words around.
    ``region`` (ISO 3166) is the country of numbers written without one. A number that went through a spreadsheet's
    float (``7,9E+10``) and a mask of one repeated digit are refused.
    """
    if region in _RUSSIAN_REGIONS:
        mobile = _RUSSIAN_MOBILE.fullmatch(text) or _RUSSIAN_MOBILE.fullmatch(text.translate(_WITHOUT_SEPARATORS))
        if mobile is not None:
            return _unless_mask("+7" + mobile[1])
    return _phone_slowly(text, region)


@lru_cache(maxsize=_CACHE)
def _phone_slowly(text: str, region: str) -> str | None:
    plain = normalize("NFKC", text[:_TEXT_MAX]).strip(" \t\n\r'\"`«»")
    if _EXPONENT.fullmatch(plain):
        return None
    whole = _FLOAT.fullmatch(plain)
    plain = plain if whole is None else whole[1]
    for run in _RUN.findall(plain):
        found = _one_phone(run, region, is_alone=run == plain)
        if found is not None:
            return found
    return _embedded_phone(plain, region)


def _one_phone(run: str, region: str, is_alone: bool) -> str | None:
    compact = _NOT_PHONE.sub("", run)
    if region in _RUSSIAN_REGIONS:
        mobile = _RUSSIAN_MOBILE.fullmatch(compact)
        if mobile is not None:
            return _unless_mask("+7" + mobile[1])
        if len(compact.lstrip("+")) not in _NUMBER_LENGTHS:
            return None
    for guess in _spellings(compact, region, is_alone):
        found = _valid(guess, region)
        if found is not None:
            return _unless_mask(found)
    return None


def _spellings(compact: str, region: str, is_alone: bool) -> list[str]:
    """What the digits may mean, most likely first. A forgotten plus is guessed only where nothing else is written."""
    guesses = []
    if region in _RUSSIAN_REGIONS:
        trunk = _RUSSIAN_TRUNK.fullmatch(compact)
        guesses = [] if trunk is None else ["+7" + trunk[1]]
    guesses.append(compact)
    if is_alone and len(compact) > 10 and not compact.startswith("+"):
        guesses.append("+" + compact)
    return guesses


def _valid(text: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _embedded_phone(text: str, region: str) -> str | None:
    """The first phone inside running text (two numbers parted by a mere space, words, dates)."""
    for match in phonenumbers.PhoneNumberMatcher(text, region):
        found = phonenumbers.format_number(match.number, phonenumbers.PhoneNumberFormat.E164)
        if _unless_mask(found) is not None:
            return found
    return None


def _unless_mask(e164: str) -> str | None:
    """None for ``+79999999999`` and the like: nobody's number, yet it would join strangers."""
    tail = e164[-10:]
    return None if tail == tail[0] * 10 else e164


def metrica_phone(text: str, region: str) -> str | None:
    """A phone as Metrica's CRM wants it: digits with the country code, no plus (contract yandex 4.2)."""
    e164 = phone_e164(text, region)
    return None if e164 is None else e164[1:]


# --- e-mails -----------------------------------------------------------------------------------------------------


def _email(text: str) -> str | None:
    """The first well-formed address of a text, in lower case, without white space."""
    plain = text.strip().lower()
    if _EMAIL.fullmatch(plain) and len(plain) <= _EMAIL_MAX:
        return plain
    plain = normalize("NFKC", plain).lower()
    tight = "".join(plain.split())
    for part in (*_EMAIL_BREAKS.split(plain), tight):
        trimmed = part.strip(".")
        if _EMAIL.fullmatch(trimmed) and len(trimmed) <= _EMAIL_MAX:
            return trimmed
    return None


def google_email(text: str) -> str | None:
    """The first e-mail of a text in Google's normal form, or None (contract google 7).

    Lower case, no white space; dots and ``+suffix`` of the local part go for gmail.com and googlemail.com only.
    """
    address = _email(text)
    return None if address is None else _google_form(address)


def _google_form(address: str) -> str:
    local, _, domain = address.partition("@")
    if domain not in _GMAIL:
        return address
    return f"{local.partition('+')[0].replace('.', '') or local}@{domain}"


def metrica_email(text: str) -> str | None:
    """The first e-mail of a text in Metrica's normal form, or None (contract yandex 4.2).

    Lower-case Latin; ``+suffix`` goes; googlemail.com is gmail.com, where dots go; every Yandex domain is yandex.ru,
    where dots are dashes.
    """
    address = _email(text)
    return None if address is None or not address.isascii() else _metrica_form(address)


def _metrica_form(address: str) -> str:
    local, _, domain = address.partition("@")
    local = local.lstrip("+").partition("+")[0] or local
    if domain in _GMAIL:
        return f"{local.replace('.', '')}@gmail.com"
    if "ya" in domain and _YANDEX_DOMAIN.fullmatch(domain):
        return f"{local.replace('.', '-')}@yandex.ru"
    return f"{local}@{domain}"


# --- digests -----------------------------------------------------------------------------------------------------


def sha256_hex(text: str) -> str:
    """Unsalted SHA-256 of the UTF-8 text, lower-case hex: what Google matches by (contract google 7)."""
    return sha256(text.encode("utf-8", "replace")).hexdigest()


def md5_hex(text: str) -> str:
    """Unsalted MD5 of the UTF-8 text, lower-case hex: what Metrica matches by (contract yandex 4.2)."""
    return md5(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()


# --- the border --------------------------------------------------------------------------------------------------


def seal_contacts(
    deal: Deal, key: bytes, source: str, region: str, kept: Mapping[str, tuple[str, ...]] | None = None
) -> Deal:
    """The deal with its contacts replaced by digests.

    ``key`` is the tenant's secret for :attr:`Person.joins`: 32 hex characters of keyed BLAKE2b over the phone, the
    e-mail and the CRM's contact id (within its ``source``). The main contact comes first. Unreadable phones and
    e-mails are left out. What looks odd about contacts is noted in :attr:`Deal.signs`, by name alone. With ``kept``
    given, these custom fields alone stay, and no clues: what is stored for ever.
    """
    contacts = deal.contacts
    if not contacts and kept is None:
        return deal
    if len(contacts) > 1:
        contacts = tuple(sorted(contacts, key=_is_side))
    keyed = _keyed(key)
    domains: list[str] = []
    persons = tuple([_seal(contact, keyed, source, region, domains) for contact in contacts])
    fields, clues = (deal.fields, deal.clues) if kept is None else (kept, ())
    return replace(
        deal,
        contacts=(),
        persons=persons or deal.persons,
        signs=_signs(deal, persons, domains),
        crowds=origins(deal.clues, contacts, keyed),
        fields=fields,
        clues=clues,
    )


def _is_side(contact: Contact) -> bool:
    return not contact.is_main


def _signs(deal: Deal, persons: Iterable[Person], domains: list[str]) -> tuple[str, ...]:
    """Those its source has noticed, and those of its contacts."""
    own = [sign for sign in deal.signs if sign in FROM_SOURCE] if deal.signs else []
    if deal.contacts:
        with_phone = [person for person in persons if person.phone_sha256]
        own += contact_signs(deal.contacts, bool(with_phone), domains)
    return tuple(own)


def _seal(contact: Contact, keyed: blake2b, source: str, region: str, domains: list[str]) -> Person:
    """``domains`` gets those of the e-mails.

    One loop for the phones and one for the e-mails, without helpers: this runs once for every changed deal.
    """
    joins: list[str] = []
    phone_sha256, email_sha256, phone_md5, email_md5, phone_digits, email_lower = [], [], [], [], [], []
    phones = [phone_e164(text, region) for text in contact.phones]
    for phone in phones if len(phones) < 2 else dict.fromkeys(phones):
        if phone is None:
            continue
        data = phone.encode()
        joins.append("phone:" + _join(keyed, b"phone:" + data))
        phone_sha256.append(sha256(data).hexdigest())
        phone_md5.append(md5(data[1:], usedforsecurity=False).hexdigest())
        phone_digits.append(sha256(data[1:]).hexdigest())
    emails = [_email(text) for text in contact.emails] if contact.emails else []
    for email in emails if len(emails) < 2 else dict.fromkeys(emails):
        if email is None:
            continue
        mailbox = _google_form(email)
        data = mailbox.encode("utf-8", "replace")
        joins.append("email:" + _join(keyed, b"email:" + data))
        email_sha256.append(sha256(data).hexdigest())
        email_lower.append(email_sha256[-1] if mailbox is email else sha256_hex(email))
        domains.append(email.partition("@")[2])
        if email.isascii():
            email_md5.append(md5(_metrica_form(email).encode(), usedforsecurity=False).hexdigest())
    if contact.id:
        own = f"contact:{source}:{contact.id}".encode("utf-8", "replace")
        joins.append("contact:" + _join(keyed, own))
    lists = (joins, phone_sha256, email_sha256, phone_md5, email_md5, phone_digits, email_lower)
    if len(email_sha256) < 2:  # only two spellings of one mailbox can repeat a digest
        return Person(*map(tuple, lists))
    return Person(*map(_set, lists))


@lru_cache(maxsize=1024)
def _keyed(key: bytes) -> blake2b:
    """To be copied: taking the key in costs as much as the digest itself."""
    return blake2b(digest_size=16, key=key if len(key) <= blake2b.MAX_KEY_SIZE else sha256(key).digest())


def _join(keyed: blake2b, data: bytes) -> str:
    digest = keyed.copy()
    digest.update(data)
    return digest.hexdigest()


def _set(values: list[str]) -> tuple[str, ...]:
    """Without repeats."""
    return tuple(dict.fromkeys(values))
