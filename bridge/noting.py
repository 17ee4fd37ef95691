"""What goals look at of a lead's texts and contacts, which are not kept: noted at the border, nothing personal. Pure.

Only what some rule of the tenant asks for is noted. A text that holds a phone or an e-mail is ``other``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from urllib.parse import unquote, urlsplit

import phonenumbers

from bridge.model import Clue, Contact, Deal
from bridge.persons import phone_e164

OTHER = "other"
_LONGEST = 100
_PHONE_MOST = 30  # characters of a number with all its signs
_DECODINGS = 4  # of an address inside an address
_TAGS = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")
_TAG = re.compile(r"(?<![a-z])(utm_(?:source|medium|campaign|content|term))=([^&#;\s\"'<>\\]{1,300})", re.I)
_ADDRESS = re.compile(r"https?://[^\s\"'<>\\]+", re.I)
_TYPES = {
    phonenumbers.PhoneNumberType.MOBILE: "mobile",
    phonenumbers.PhoneNumberType.FIXED_LINE: "fixed",
    phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE: "mobile",
    phonenumbers.PhoneNumberType.TOLL_FREE: "toll_free",
    phonenumbers.PhoneNumberType.VOIP: "voip",
}


def noted(deal: Deal, wanted: Collection[str], region: str) -> dict[str, tuple[str, ...]]:
    """The wanted facts of a deal that is still raw; those it tells nothing of are left out.

    Args:
        deal: with contacts and clues.
        wanted: names of facts (``scoring.NOTED``).
        region: ISO 3166, the country of phones written without one.
    """
    found = _of_clues(deal.clues, region) if any(not name.startswith("phone_") for name in wanted) else {}
    if any(name.startswith("phone_") for name in wanted):
        found |= _of_phones(deal.contacts, region)
    return {name: found[name] for name in sorted(wanted) if name in found}


def _of_phones(contacts: Sequence[Contact], region: str) -> dict[str, tuple[str, ...]]:
    phones = [found for one in contacts for text in one.phones if (found := phone_e164(text, region)) is not None]
    told = [_numbering(phone) for phone in dict.fromkeys(phones)]
    named = (("phone_country", [country for country, _ in told]), ("phone_type", [kind for _, kind in told]))
    return {name: tuple(dict.fromkeys(filter(None, values))) for name, values in named if any(values)}


@lru_cache(maxsize=4096)
def _numbering(phone: str) -> tuple[str, str]:
    """Country and type of a number by the numbering plan."""
    parsed = phonenumbers.parse(phone)
    country = phonenumbers.region_code_for_number(parsed) or ""
    return country, _TYPES.get(phonenumbers.number_type(parsed), OTHER)


def _of_clues(clues: Sequence[Clue], region: str) -> dict[str, tuple[str, ...]]:
    """The first tag of each name, one in a field of its own before one in an address; the first page."""
    found: dict[str, str] = {}
    texts = [clue for clue in clues if clue.kind is None]
    for clue in texts:
        name = next((tag for tag in _TAGS if clue.where.casefold().endswith(tag)), "")
        if name and clue.text.strip():
            found.setdefault(name, clue.text)
    for clue in texts:
        for name, value in _TAG.findall(_plainer(clue.text)):
            found.setdefault(name.lower(), unquote(value).replace("+", " "))
    page = next((path for clue in texts if not _is_referrer(clue.where) and (path := _page(clue.text))), "")
    if page:
        found["landing"] = page
    return {name: (_harmless(value, region),) for name, value in found.items()}


def _plainer(text: str) -> str:
    """An address inside an address, opened."""
    for _ in range(2):
        if _TAG.search(text) or "%" not in text:
            break
        text = unquote(text)
    return text


def _is_referrer(where: str) -> bool:
    name = where.casefold()
    return "referer" in name or "referrer" in name


def _page(text: str) -> str:
    """The path of the first address in a text, "/" for a site's first page; "" where there is none."""
    address = _ADDRESS.search(text)
    if address is None:
        return ""
    try:
        return unquote(urlsplit(address[0]).path).casefold() or "/"
    except ValueError:
        return ""


def _harmless(text: str, region: str) -> str:
    """A short text; ``other`` where a person may be in it."""
    plain = whole = text.strip()
    for _ in range(_DECODINGS):
        plain = unquote(plain)
    # Looked at before it is cut: half an address or number is a person's as well.
    is_personal = "@" in plain or phone_e164(plain[: _LONGEST + _PHONE_MOST], region) is not None
    return OTHER if is_personal else whole[:_LONGEST]
