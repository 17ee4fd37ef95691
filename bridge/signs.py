"""What looks odd about a request where it comes in, and what recognises requests of one origin. Pure.

Signs are names and never values: ``phone_invalid`` (phones were given, and none is a number of the numbering plan),
``email_invalid`` (e-mails were given, and none is an address with a sound domain), ``email_disposable`` (the domain of
every e-mail gives mailboxes away for minutes). Origins are keyed digests: a landing page's address may name a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_address

from disposable_email_domains import blocklist

from bridge.model import Clue, Contact

PHONE_INVALID, EMAIL_INVALID, EMAIL_DISPOSABLE = "phone_invalid", "email_invalid", "email_disposable"
HONEYPOT, TOO_FAST = "honeypot", "too_fast"  # a form filled in where people see nothing; faster than people write
FROM_SOURCE = frozenset((HONEYPOT, TOO_FAST))
PAGE, ADDRESS = "page:", "ip:"
_DIGEST = 10  # bytes; among a tenant's pages no two are alike by chance

_LABEL = re.compile(r"(?!-)[^\W_]+(?:-+[^\W_]+)*")
_DOMAIN_MAX, _LABEL_MAX = 253, 63  # RFC 1035, 2.3.4
_URL = re.compile(r"\s*(?:(?:https?:)?//)?(?:www\.)?([^/?#\s@:]+\.[^/?#\s@]+)([^?#\s]*)", re.I)
_LANDING = re.compile(r"ur[li]|page|landing|link|site|сайт|страниц|посадочн|ссылк|адрес")
_REFERRER = re.compile(r"refer{1,2}er")


# --- contacts ----------------------------------------------------------------------------------------------------


def contact_signs(contacts: Sequence[Contact], has_phone: bool, domains: Sequence[str]) -> list[str]:
    """What looks odd about raw contacts of which a valid phone or none, and e-mails of these domains, were read."""
    signs = []
    if not has_phone and _is_given([contact.phones for contact in contacts]):
        signs.append(PHONE_INVALID)
    sound = [domain for domain in domains if is_sound(domain)] if domains else []
    if sound and all(map(is_disposable, sound)):
        signs.append(EMAIL_DISPOSABLE)
    elif not sound and _is_given([contact.emails for contact in contacts]):
        signs.append(EMAIL_INVALID)
    return signs


def _is_given(texts: Iterable[Sequence[str]]) -> bool:
    return any(text.strip() for several in texts for text in several)


@lru_cache(maxsize=8192)
def is_sound(domain: str) -> bool:
    """Whether a mail domain can exist: at least two labels of letters, digits and inner hyphens, the last no number."""
    labels = domain.rstrip(".").split(".")
    if len(labels) < 2 or len(domain) > _DOMAIN_MAX or labels[-1].isdigit() or len(labels[-1]) < 2:
        return False
    return all(len(label) <= _LABEL_MAX and _LABEL.fullmatch(label) for label in labels)


@lru_cache(maxsize=8192)
def is_disposable(domain: str) -> bool:
    """Whether a domain (lower case), or one that it is part of, is on the list of disposable ones."""
    labels = domain.rstrip(".").split(".")
    return any(".".join(labels[start:]) in blocklist for start in range(len(labels) - 1))


# --- origins -----------------------------------------------------------------------------------------------------


def origins(clues: Sequence[Clue], contacts: Sequence[Contact], keyed: blake2b) -> tuple[str, ...]:
    """Digests of the landing page (host and path) and of the IP addresses. ``keyed``: with the tenant's secret."""
    found = []
    page = _landing_page(clues)
    if page:
        found.append(PAGE + _digest(keyed, PAGE + page))
    for contact in contacts:
        for text in contact.addresses:
            address = _address(text)
            if address:
                found.append(ADDRESS + _digest(keyed, ADDRESS + address))
    return tuple(dict.fromkeys(found)) if found else ()


@lru_cache(maxsize=1024)
def _is_landing_place(where: str) -> bool:
    name = where.casefold()
    return _LANDING.search(name) is not None and _REFERRER.search(name) is None


def _landing_page(clues: Sequence[Clue]) -> str:
    """Host and path of the first address in a place where landing pages are; "" without one."""
    for clue in clues:
        if clue.kind is None and _is_landing_place(clue.where):
            found = _URL.match(clue.text)
            if found is not None:
                return f"{found[1].casefold()}{found[2].rstrip('/')}"
    return ""


def _address(text: str) -> str:
    """One IP address in one spelling. Of IPv6 the network: one subscriber has all of it."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return ""
    if address.version == 4:
        return str(address)
    mapped = address.ipv4_mapped
    return address.exploded[:19] if mapped is None else str(mapped)


def _digest(keyed: blake2b, text: str) -> str:
    digest = keyed.copy()
    digest.update(text.encode("utf-8", "replace"))
    return digest.hexdigest()[: 2 * _DIGEST]
